//! What is published: ids, headers, and where it goes.

use async_nats::{HeaderMap, HeaderName, HeaderValue, Subject};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StringDeserializer;
use uuid::fmt::Simple;

use super::subjects::Subjects;
use crate::domain::{Name, Refusal};
use crate::switchboard::envelope::{TYPE_PREFIX, event_id, write_event, write_relay};
use crate::switchboard::port::{Direction, Recorded, RecordedEvent, Relay};

/// Bytes of an event around its `data`, about.
const ENVELOPE_BYTES: usize = 512;

/// Characters of an error's text in its header; the body has all of it.
const ERROR_TEXT_CHARS_MAX: usize = 512;

const ERROR_CODE: HeaderName = HeaderName::from_static("Nats-Service-Error-Code");
const ERROR_TEXT: HeaderName = HeaderName::from_static("Nats-Service-Error");
/// What stands in the id of a copy between the event's and the receiver's name.
const INTEGRATION: &str = "/integration.";
const CHANNEL: &str = "/channel.";
const STANDBY: &str = "/standby.";
/// The header lines of each message up to its id. The library writes a name as it stands, so two lines can share one
/// entry: each entry costs a list, a text and a hash for every message.
const HEAD: HeaderName = HeaderName::from_static("Content-Type: application/cloudevents+json\r\nNats-Msg-Id");

/// Of what kind a message's subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// An event's own.
    Event,
    /// The inbox of an integration or a channel.
    Inbox,
    /// That of an integration on standby.
    Standby,
}

/// A CloudEvent on its way to one subject.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Of what kind the subject is.
    pub place: Place,
    /// The subject.
    pub subject: Subject,
    /// The id of this message, a copy's own.
    pub id: String,
    /// What is said, shared by an event and its copies.
    pub payload: Bytes,
}

impl Outgoing {
    /// The headers that every one of them has.
    pub fn headers(&self) -> HeaderMap {
        headers(self.id.clone())
    }

    /// What is published: subject, headers and payload.
    pub fn into_parts(self) -> (Subject, HeaderMap, Bytes) {
        (self.subject, headers(self.id), self.payload)
    }
}

fn headers(id: String) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HEAD, as_it_is(id));
    headers
}

/// A header's value of tokens and digits. Read rather than converted: in what it converts, the library looks for line
/// ends one character after the other, which costs more than all else of the headers.
pub(super) fn as_it_is(text: String) -> HeaderValue {
    debug_assert!(!text.contains(['\r', '\n']), "{text:?}");
    let text: StringDeserializer<serde::de::value::Error> = text.into_deserializer();
    HeaderValue::deserialize(text).expect("a header's value is a text")
}

/// An event and its copies, in the order in which they are published.
pub fn event(subjects: &mut Subjects, log_id: &str, recorded: &Recorded, event: &RecordedEvent) -> Vec<Outgoing> {
    let (conversation, noun_verb) = (&*recorded.conversation, noun_verb(event.full_name));
    let id = event_id(log_id, event.seq, &recorded.hash);
    let bytes = ENVELOPE_BYTES + event.data.len();
    let payload = subjects.payload(bytes, |out| write_event(out, log_id, &id, recorded, event));
    let copy = |place, subject, id| Outgoing { place, subject, id, payload: payload.clone() };
    let mut all = Vec::with_capacity(2 + recorded.inbox.len() + recorded.standby.len());
    all.push(copy(Place::Event, subjects.event(conversation, noun_verb), String::new()));
    for name in &recorded.inbox {
        let subject = subjects.integration_inbox(name, conversation, noun_verb);
        all.push(copy(Place::Inbox, subject, copy_id(&id, INTEGRATION, name)));
    }
    if let Some(name) = &recorded.channel {
        let subject = subjects.channel_inbox(name, conversation, noun_verb);
        all.push(copy(Place::Inbox, subject, copy_id(&id, CHANNEL, name)));
    }
    for name in &recorded.standby {
        let subject = subjects.standby(name, conversation, noun_verb);
        all.push(copy(Place::Standby, subject, copy_id(&id, STANDBY, name)));
    }
    all[0].id = id;
    all
}

/// A relayed message, first for its receiver and then for those on standby.
pub fn relay(subjects: &mut Subjects, log_id: &str, relay: &Relay) -> Vec<Outgoing> {
    let (conversation, noun_verb) = (relay.conversation.as_str(), relay.direction.noun_verb());
    let id = relay_id(log_id, relay.fingerprint);
    let bytes = ENVELOPE_BYTES + relay.data.len();
    let payload = subjects.payload(bytes, |out| write_relay(out, log_id, relay, &id));
    let (subject, receiver) = match relay.direction {
        Direction::Received => (subjects.integration_inbox(&relay.to, conversation, noun_verb), INTEGRATION),
        Direction::Sent => (subjects.channel_inbox(&relay.to, conversation, noun_verb), CHANNEL),
    };
    let mut all = Vec::with_capacity(1 + relay.standby.len());
    let to_receiver = copy_id(&id, receiver, &relay.to);
    all.push(Outgoing { place: Place::Inbox, subject, id: to_receiver, payload: payload.clone() });
    all.extend(relay.standby.iter().map(|name| Outgoing {
        place: Place::Standby,
        subject: subjects.standby(name, conversation, noun_verb),
        id: copy_id(&id, STANDBY, name),
        payload: payload.clone(),
    }));
    all
}

/// The `seq` in the id of an event or its copy; none where it is of another log, or a relayed message.
pub fn seq_in(log_id: &str, id: &str) -> Option<u64> {
    let rest = id.strip_prefix(log_id)?.strip_prefix('-')?;
    rest.split_once('-')?.0.parse().ok()
}

fn noun_verb(full_name: &str) -> &str {
    full_name.strip_prefix(TYPE_PREFIX).unwrap_or(full_name)
}

/// The id of a relayed message: of its command id, or random without one.
fn relay_id(log_id: &str, fingerprint: Option<u64>) -> String {
    match fingerprint {
        Some(fingerprint) => [log_id, "-m-", &format!("{fingerprint:016x}")].concat(),
        None => [log_id, "-m-", uuid::Uuid::new_v4().simple().encode_lower(&mut [0; Simple::LENGTH])].concat(),
    }
}

fn copy_id(id: &str, receiver: &str, name: &Name) -> String {
    [id, receiver, name.as_str()].concat()
}

/// The headers of an error. The library panics on line ends in a header's value.
pub fn error_headers(refusal: &Refusal) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ERROR_CODE, refusal.status().to_string());
    let text: String = refusal.message().chars().take(ERROR_TEXT_CHARS_MAX).collect();
    headers.insert(ERROR_TEXT, text.replace(|c: char| c.is_control(), " "));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ConversationId, Time};

    #[test]
    fn the_text_of_an_error_is_one_line_in_its_header() {
        let headers = error_headers(&Refusal::BadRequest("a\r\nForged: b".into()));
        assert_eq!(headers.get("Nats-Service-Error").unwrap().as_str(), "a  Forged: b");
        assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "400");
        let long = error_headers(&Refusal::BadRequest("é".repeat(2 * ERROR_TEXT_CHARS_MAX)));
        assert_eq!(long.get("Nats-Service-Error").unwrap().as_str().chars().count(), ERROR_TEXT_CHARS_MAX);
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn told(all: &[Outgoing]) -> Vec<(Place, &str, &str)> {
        all.iter().map(|message| (message.place, message.subject.as_str(), message.id.as_str())).collect()
    }

    #[test]
    fn an_event_goes_to_its_own_subject_first_and_then_to_each_who_is_told() {
        let recorded = Recorded {
            conversation: "c".into(),
            channel: Some(name("x")),
            at: Time(0),
            traceparent: None,
            inbox: [name("x")].into_iter().collect(),
            standby: vec![name("s")],
            line: "{}".into(),
            events: [RecordedEvent { seq: 7, full_name: "switchboard.control.passed", data: 0..2 }]
                .into_iter()
                .collect(),
            hash: [0xab; 32],
        };
        let all = event(&mut Subjects::new("p"), "log", &recorded, &recorded.events[0]);
        assert_eq!(
            told(&all),
            [
                (Place::Event, "p.event.c.control.passed", "log-7-abababab"),
                (Place::Inbox, "p.inbox.integration.x.c.control.passed", "log-7-abababab/integration.x"),
                (Place::Inbox, "p.inbox.channel.x.c.control.passed", "log-7-abababab/channel.x"),
                (Place::Standby, "p.standby.s.c.control.passed", "log-7-abababab/standby.s"),
            ]
        );
    }

    #[test]
    fn a_relayed_message_goes_to_its_receiver_first_and_then_to_those_on_standby() {
        for (direction, subject, receiver) in [
            (Direction::Received, "p.inbox.integration.x.c.message.received", "integration"),
            (Direction::Sent, "p.inbox.channel.x.c.message.sent", "channel"),
        ] {
            let relayed = Relay {
                direction,
                conversation: ConversationId::parse("c").unwrap(),
                to: name("x"),
                standby: vec![name("s")],
                fingerprint: Some(1),
                at: Time(0),
                traceparent: None,
                data: "{}".into(),
            };
            let (all, id) = (relay(&mut Subjects::new("p"), "log", &relayed), "log-m-0000000000000001");
            let standby = format!("p.standby.s.c.{}", direction.noun_verb());
            let (to_receiver, to_standby) = (format!("{id}/{receiver}.x"), format!("{id}/standby.s"));
            assert_eq!(told(&all), [(Place::Inbox, subject, &*to_receiver), (Place::Standby, &*standby, &*to_standby)]);
        }
    }

    #[test]
    fn a_message_keeps_its_id_where_its_command_had_one() {
        assert_eq!(relay_id("log", Some(0x1f)), "log-m-000000000000001f");
        assert_ne!(relay_id("log", None), relay_id("log", None));
    }

    #[test]
    fn a_copy_says_for_whom_it_is() {
        assert_eq!(copy_id("log-1-ab", INTEGRATION, &name("bot")), "log-1-ab/integration.bot");
    }

    #[test]
    fn an_id_says_which_event_of_which_log_it_is() {
        let log_id = "4b1f6a0e-0000-4000-8000-000000000000";
        let id = event_id(log_id, 1042, &[0xab; 32]);
        assert_eq!(seq_in(log_id, &id), Some(1042));
        assert_eq!(seq_in(log_id, &copy_id(&id, CHANNEL, &name("web-1"))), Some(1042));
        assert_eq!(seq_in(log_id, &relay_id(log_id, Some(7))), None);
        assert_eq!(seq_in("another", &id), None);
        assert_eq!(seq_in(&log_id.replace('4', "5"), &id), None);
    }
}
