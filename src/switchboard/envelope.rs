//! CloudEvents: the envelope around an event's `data`, the same on the wire and in answers about the past.

use bytes::BufMut;

use super::port::{Direction, Recorded, RecordedEvent, Relay};
use crate::domain::Time;

/// What comes before the noun and verb in an event's full name.
pub const TYPE_PREFIX: &str = "switchboard.";

/// The id of an event, the same on every publication: log, seq, and the beginning of its entry's hash.
pub fn event_id(log_id: &str, seq: u64, hash: &[u8; 32]) -> String {
    let mut id = String::with_capacity(log_id.len() + 1 + SEQ_DIGITS_MAX + 1 + 8);
    id.push_str(log_id);
    id.push('-');
    push_decimal(&mut id, seq);
    id.push('-');
    hash[..4].iter().for_each(|byte| push_hex(&mut id, *byte));
    id
}

/// An event as it is published, under its id: its entry's `data`, byte for byte, within the envelope.
pub fn write_event(out: &mut impl BufMut, log_id: &str, id: &str, recorded: &Recorded, event: &RecordedEvent) {
    let noun_verb = event.full_name.strip_prefix(TYPE_PREFIX).unwrap_or(event.full_name);
    write_begin(out, log_id, id, noun_verb, &recorded.conversation, recorded.at);
    write_rest(out, recorded.traceparent.as_deref(), &recorded.line[event.data.clone()]);
}

/// A relayed message as it is published, under the id given.
pub fn write_relay(out: &mut impl BufMut, log_id: &str, relay: &Relay, id: &str) {
    write_begin(out, log_id, id, relay.direction.noun_verb(), relay.conversation.as_str(), relay.at);
    write_rest(out, relay.traceparent.as_deref(), &relay.data);
}

/// In none of the parts is anything to be escaped: they are tokens, names of ours, and times.
fn write_begin(out: &mut impl BufMut, log_id: &str, id: &str, noun_verb: &str, subject: &str, at: Time) {
    let at = at.written();
    let parts = [
        r#"{"specversion":"1.0","id":""#,
        id,
        r#"","source":"/switchboard/"#,
        log_id,
        r#"","type":""#,
        TYPE_PREFIX,
        noun_verb,
        r#"","subject":""#,
        subject,
        r#"","time":""#,
        at.as_str(),
        r#"","datacontenttype":"application/json","dataschema":"urn:switchboard:schema:1:"#,
        noun_verb,
        "\"",
    ];
    parts.iter().for_each(|part| out.put_slice(part.as_bytes()));
}

fn write_rest(out: &mut impl BufMut, traceparent: Option<&str>, data: &[u8]) {
    if let Some(traceparent) = traceparent {
        // Checked where it was read: hexadecimal digits and hyphens.
        for part in [",\"traceparent\":\"", traceparent, "\""] {
            out.put_slice(part.as_bytes());
        }
    }
    out.put_slice(b",\"data\":");
    out.put_slice(data);
    out.put_u8(b'}');
}

const SEQ_DIGITS_MAX: usize = 20;

fn push_decimal(text: &mut String, mut number: u64) {
    let mut digits = [0; SEQ_DIGITS_MAX];
    let mut at = SEQ_DIGITS_MAX;
    while number > 0 || at == SEQ_DIGITS_MAX {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits[at..].iter().for_each(|digit| text.push(char::from(*digit)));
}

fn push_hex(text: &mut String, byte: u8) {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    text.push(digit(byte >> 4));
    text.push(digit(byte & 0xf));
}

impl Direction {
    /// The noun and verb of a message that goes this way.
    pub fn noun_verb(self) -> &'static str {
        match self {
            Direction::Received => "message.received",
            Direction::Sent => "message.sent",
        }
    }
}
