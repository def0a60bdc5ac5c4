//! CloudEvents: the envelope around an event's `data`, the same on the wire and in answers about the past.

use std::io::Write;

use super::port::{Direction, Recorded, RecordedEvent, Relay};

/// What comes before the noun and verb in an event's full name.
pub const TYPE_PREFIX: &str = "switchboard.";

/// The id of an event, the same on every publication: log, seq, and the beginning of its entry's hash.
pub fn write_event_id(out: &mut Vec<u8>, log_id: &str, seq: u64, hash: &[u8; 32]) {
    let [a, b, c, d, ..] = hash;
    let _ = write!(out, "{log_id}-{seq}-{a:02x}{b:02x}{c:02x}{d:02x}");
}

/// An event as it is published: its entry's `data`, byte for byte, within the envelope.
pub fn write_event(out: &mut Vec<u8>, log_id: &str, recorded: &Recorded, event: &RecordedEvent) {
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":\"");
    write_event_id(out, log_id, event.seq, &recorded.hash);
    let noun_verb = event.full_name.strip_prefix(TYPE_PREFIX).unwrap_or(event.full_name);
    let (name, subject, at) = (event.full_name, &recorded.conversation, recorded.at);
    let _ = write!(
        out,
        "\",\"source\":\"/switchboard/{log_id}\",\"type\":\"{name}\",\"subject\":\"{subject}\",\"time\":\"{at}\",\
         \"datacontenttype\":\"application/json\",\"dataschema\":\"urn:switchboard:schema:1:{noun_verb}\""
    );
    write_rest(out, recorded.traceparent.as_deref(), &recorded.line[event.data.clone()]);
}

/// A relayed message as it is published, under the id given.
pub fn write_relay(out: &mut Vec<u8>, log_id: &str, relay: &Relay, id: &str) {
    let noun_verb = relay.direction.noun_verb();
    let (subject, at) = (&relay.conversation, relay.at);
    let _ = write!(
        out,
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/switchboard/{log_id}\",\"type\":\"{TYPE_PREFIX}{noun_verb}\",\
         \"subject\":\"{subject}\",\"time\":\"{at}\",\"datacontenttype\":\"application/json\",\
         \"dataschema\":\"urn:switchboard:schema:1:{noun_verb}\""
    );
    write_rest(out, relay.traceparent.as_deref(), &relay.data);
}

fn write_rest(out: &mut Vec<u8>, traceparent: Option<&str>, data: &[u8]) {
    if let Some(traceparent) = traceparent {
        // Checked where it was read: hexadecimal digits and hyphens.
        let _ = write!(out, ",\"traceparent\":\"{traceparent}\"");
    }
    out.extend_from_slice(b",\"data\":");
    out.extend_from_slice(data);
    out.push(b'}');
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
