//! What is on its way into the streams and not yet acknowledged, in the order in which it was sent.
//!
//! Each message names the sequence after which it belongs, so the server takes it there or not at all. The sequence
//! alone would not do: where somebody else's message takes the place of one of ours, the next of ours fits behind that.
//! So each also names the message before it, while that is under way, and nothing is taken behind one that was refused:
//! what a stream holds of this log is always a beginning of what was sent, whatever was lost or came between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::{Message, StatusCode};
use serde::Deserialize;

use super::pace::Pace;
use super::wanted::Which;

/// Most bytes under way.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long nothing may be stored while something is under way.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// What is under way.
#[derive(Debug, Default)]
pub struct Flight {
    /// How much may be under way.
    pub pace: Pace,
    sent: VecDeque<Sent>,
    /// Since when nothing moves: the first was stored then, or sent when nothing was under way.
    moved: Option<Instant>,
    /// The number of the first of them, and so of those acknowledged before.
    first: u64,
    bytes: usize,
    /// The last sequence of each stream, once everything under way is stored.
    last: [u64; 2],
    /// The number of the last message of each stream, while it may be under way.
    last_number: [Option<u64>; 2],
}

/// Where a message belongs.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub number: u64,
    /// The sequence after which it belongs.
    pub after: u64,
    /// The id of the message that must have that sequence, where it is not known to have it.
    pub behind: Option<String>,
}

#[derive(Debug)]
struct Sent {
    id: String,
    sequence: u64,
    /// The number of the message before it in its stream.
    previous: Option<u64>,
    bytes: usize,
    relay: Option<u64>,
    /// The event of which this is the last message.
    completes: Option<u64>,
    is_stored: bool,
}

/// What has become certain by an acknowledgement.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The last event that the streams now hold whole.
    pub through: Option<u64>,
    /// The relayed messages that they hold.
    pub relays: Vec<u64>,
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    stream: Option<String>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    error: Option<AckError>,
}

#[derive(Deserialize)]
struct AckError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Flight {
    /// Begins behind the last sequence of each stream; what was under way counts no longer.
    pub fn begin(&mut self, last: [u64; 2]) {
        self.first += self.sent.len() as u64;
        self.sent.clear();
        self.bytes = 0;
        self.last = last;
        self.last_number = [None, None];
    }

    /// Whether there is room for more.
    pub fn has_room(&self) -> bool {
        self.sent.len() < self.pace.window() && self.bytes < BYTES_MAX
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Takes a message up; where it belongs.
    pub fn add(&mut self, which: Which, id: &str, bytes: usize, relay: Option<u64>) -> Slot {
        let number = self.first + self.sent.len() as u64;
        let previous = self.last_number[which as usize].replace(number);
        let behind = previous.and_then(|previous| Some(self.under_way(previous)?.id.clone()));
        let last = &mut self.last[which as usize];
        let after = *last;
        *last += 1;
        self.bytes += bytes;
        if self.sent.is_empty() {
            self.moved = Some(Instant::now());
        }
        let (id, sequence) = (id.to_owned(), *last);
        self.sent.push_back(Sent { id, sequence, previous, bytes, relay, completes: None, is_stored: false });
        Slot { number, after, behind }
    }

    /// Takes the last message back out, which was not sent after all.
    pub fn take_back(&mut self, which: Which) {
        if let Some(sent) = self.sent.pop_back() {
            self.bytes -= sent.bytes;
            self.last[which as usize] -= 1;
            self.last_number[which as usize] = sent.previous;
        }
    }

    /// The message of that number; none where all up to it is stored.
    fn under_way(&self, number: u64) -> Option<&Sent> {
        self.sent.get(number.checked_sub(self.first)? as usize)
    }

    /// All messages of that event are sent; true where none of them, nor any before, is under way.
    pub fn completes(&mut self, seq: u64) -> bool {
        match self.sent.back_mut() {
            Some(last) => last.completes = Some(seq),
            None => return true,
        }
        false
    }

    /// Whether nothing was stored for too long. How old a message is says nothing: many may be before it.
    pub fn is_late(&self) -> bool {
        !self.sent.is_empty() && self.moved.is_some_and(|moved| moved.elapsed() > ACK_WAIT)
    }

    /// As if nothing had been stored for too long.
    #[cfg(test)]
    pub fn be_late(&mut self) {
        self.moved = Instant::now().checked_sub(ACK_WAIT * 2);
    }

    /// Reads the acknowledgement of message `number`. What was not taken, or at another place, is a fault;
    /// a message that the stream held before is stored all the same.
    pub fn acknowledged(&mut self, number: u64, message: &Message) -> (Stored, Result<(), String>) {
        let mut stored = Stored::default();
        let Some(at) = number.checked_sub(self.first) else { return (stored, Ok(())) };
        let Some(sent) = self.sent.get_mut(at as usize) else { return (stored, Ok(())) };
        let outcome = match read(message) {
            // No stream says it: somebody has the service answer there.
            Ok(ack) if ack.stream.is_none() => Ok(()),
            Ok(ack) if ack.seq == sent.sequence => {
                sent.is_stored = true;
                Ok(())
            }
            Ok(ack) if ack.duplicate => {
                stored.relays.extend(sent.relay);
                sent.relay.iter().for_each(|_| self.pace.stored());
                Err(format!("message {} is there already, at {}", sent.sequence, ack.seq))
            }
            Ok(ack) => Err(format!("expected a message at {}, got it at {}", sent.sequence, ack.seq)),
            Err(fault) => Err(fault),
        };
        while let Some(sent) = self.sent.pop_front_if(|sent| sent.is_stored) {
            self.first += 1;
            self.bytes -= sent.bytes;
            self.moved = Some(Instant::now());
            self.pace.stored();
            stored.through = sent.completes.or(stored.through);
            stored.relays.extend(sent.relay);
        }
        (stored, outcome)
    }
}

fn read(message: &Message) -> Result<Ack, String> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err("no stream took a message: JetStream is away".into());
    }
    let ack: Ack = serde_json::from_slice(&message.payload)
        .map_err(|error| format!("an acknowledgement could not be read: {error}"))?;
    match ack.error {
        Some(error) if error.err_code > 0 => Err(format!("{} (code {})", error.description, error.err_code)),
        _ => Ok(ack),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pace::MESSAGES_MAX;
    use super::*;

    fn ack(text: &str) -> Message {
        Message {
            subject: "a".into(),
            reply: None,
            payload: text.to_owned().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn add(flight: &mut Flight, which: Which, relay: Option<u64>) -> (u64, u64) {
        let slot = flight.add(which, "id", 5, relay);
        (slot.number, slot.after)
    }

    fn under_way() -> Flight {
        let mut flight = Flight::default();
        flight.begin([10, 20]);
        assert_eq!(add(&mut flight, Which::Events, None), (0, 10));
        assert_eq!(add(&mut flight, Which::Inbox, None), (1, 20));
        assert!(!flight.completes(7));
        assert_eq!(add(&mut flight, Which::Inbox, Some(3)), (2, 21));
        flight
    }

    #[test]
    fn an_event_counts_when_all_before_it_is_acknowledged() {
        let mut flight = under_way();
        let (stored, outcome) = flight.acknowledged(1, &ack(r#"{"stream":"I","seq":21}"#));
        assert_eq!((stored, outcome), (Stored::default(), Ok(())));
        let (stored, _) = flight.acknowledged(0, &ack(r#"{"stream":"E","seq":11}"#));
        assert_eq!(stored, Stored { through: Some(7), relays: vec![] });
        let (stored, _) = flight.acknowledged(2, &ack(r#"{"stream":"I","seq":22}"#));
        assert_eq!(stored, Stored { through: None, relays: vec![3] });
        assert!(flight.is_empty() && flight.completes(8));
        assert_eq!(flight.bytes, 0, "there is room for as much again");
    }

    #[test]
    fn what_the_server_refused_or_had_before_is_a_fault() {
        let mut flight = under_way();
        let error = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 9"},"seq":0}"#;
        let (_, outcome) = flight.acknowledged(0, &ack(error));
        assert_eq!(outcome.unwrap_err(), "wrong last sequence: 9 (code 10071)");
        let (stored, outcome) = flight.acknowledged(2, &ack(r#"{"stream":"I","seq":3,"duplicate":true}"#));
        assert_eq!(stored.relays, [3]);
        assert!(outcome.is_err());
        let (stored, outcome) = flight.acknowledged(1, &ack(r#"{"stream":"I","seq":30}"#));
        assert_eq!(
            (stored, outcome.unwrap_err().as_str()),
            (Stored::default(), "expected a message at 21, got it at 30")
        );
        let nobody = Message { status: Some(StatusCode::NO_RESPONDERS), ..ack("") };
        assert!(flight.acknowledged(0, &nobody).1.unwrap_err().contains("JetStream is away"));
    }

    #[test]
    fn what_no_stream_says_is_no_acknowledgement() {
        let mut flight = under_way();
        for answer in
            [r#"{"outcome":"applied","seq":11}"#, r#"{"error":{"code":"bad_request","status":400}}"#, r#"{"seq":11}"#]
        {
            assert_eq!(flight.acknowledged(0, &ack(answer)), (Stored::default(), Ok(())), "{answer}");
        }
        assert_eq!(flight.sent.iter().filter(|sent| !sent.is_stored).count(), 3, "all are still under way");
    }

    #[test]
    fn late_acknowledgements_of_an_earlier_beginning_count_no_longer() {
        let mut flight = under_way();
        flight.begin([11, 20]);
        assert_eq!(flight.bytes, 0);
        let (stored, outcome) = flight.acknowledged(1, &ack(r#"{"stream":"I","seq":21}"#));
        assert_eq!((stored, outcome), (Stored::default(), Ok(())));
        assert_eq!(add(&mut flight, Which::Inbox, None), (3, 20));
    }

    #[test]
    fn a_message_is_late_when_nothing_was_stored_for_long() {
        let mut flight = under_way();
        flight.be_late();
        assert!(flight.is_late());
        let _ = flight.acknowledged(0, &ack(r#"{"stream":"E","seq":11}"#));
        assert!(!flight.is_late(), "the others are as old, and their turn comes");
        flight.begin([11, 20]);
        flight.be_late();
        assert!(!flight.is_late());
        flight.add(Which::Inbox, "id", 1, None);
        assert!(!flight.is_late());
    }

    #[test]
    fn what_was_not_sent_leaves_its_place_to_the_next() {
        let mut flight = under_way();
        assert_eq!(add(&mut flight, Which::Inbox, None), (3, 22));
        flight.take_back(Which::Inbox);
        assert_eq!(add(&mut flight, Which::Inbox, None), (3, 22));
        assert_eq!(add(&mut flight, Which::Events, None), (4, 11));
    }

    #[test]
    fn a_message_names_the_one_before_it_in_its_stream_while_that_is_under_way() {
        let mut flight = Flight::default();
        let behind = |flight: &mut Flight, which, id| flight.add(which, id, 1, None).behind;
        assert_eq!(behind(&mut flight, Which::Events, "e1"), None, "it is the first");
        assert_eq!(behind(&mut flight, Which::Inbox, "i1"), None, "it is the first of the other stream");
        assert_eq!(behind(&mut flight, Which::Events, "e2").as_deref(), Some("e1"));
        assert_eq!(behind(&mut flight, Which::Inbox, "i2").as_deref(), Some("i1"));
        flight.take_back(Which::Inbox);
        assert_eq!(behind(&mut flight, Which::Inbox, "i3").as_deref(), Some("i1"), "the second was not sent");
        let _ = flight.acknowledged(2, &ack(r#"{"stream":"E","seq":2}"#));
        assert_eq!(
            behind(&mut flight, Which::Events, "e3").as_deref(),
            Some("e2"),
            "what is before it is not stored yet"
        );
        for (number, answer) in [r#"{"stream":"E","seq":1}"#, r#"{"stream":"I","seq":1}"#].iter().enumerate() {
            let _ = flight.acknowledged(number as u64, &ack(answer));
        }
        assert_eq!(behind(&mut flight, Which::Inbox, "i4").as_deref(), Some("i3"));
        for (number, answer) in
            [(3, r#"{"stream":"I","seq":2}"#), (4, r#"{"stream":"E","seq":3}"#), (5, r#"{"stream":"I","seq":3}"#)]
        {
            assert_eq!(flight.acknowledged(number, &ack(answer)).1, Ok(()));
        }
        assert!(flight.is_empty());
        assert_eq!(behind(&mut flight, Which::Events, "e4"), None, "all before it is stored: its place says enough");
        flight.begin([7, 7]);
        assert_eq!(behind(&mut flight, Which::Events, "e4"), None, "where the stream ends was asked");
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let mut flight = Flight::default();
        for _ in 0..MESSAGES_MAX {
            flight.add(Which::Events, "id", 1, None);
        }
        assert!(!flight.has_room());
        flight.begin([0, 0]);
        flight.add(Which::Inbox, "id", BYTES_MAX, None);
        assert!(!flight.has_room());
    }
}
