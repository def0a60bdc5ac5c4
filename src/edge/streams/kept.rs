//! Relayed messages that the inbox stream does not hold yet: the log does not have them, so they are
//! kept here, each in its place among the events, until they are stored.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use async_nats::Subject;
use bytes::Bytes;

use crate::edge::message::Outgoing;

/// Most messages kept: a minute or so of a busy service.
const MESSAGES_MAX: usize = 16 * 1024;
/// Most bytes of them.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Ids remembered, and for how long: a repeat within it is heard again, and kept once. The server would not know it.
const IDS_MAX: usize = 8 * 1024;
const IDS_FOR: Duration = Duration::from_secs(110);

/// A message kept.
#[derive(Debug)]
pub struct Relayed {
    /// Its number.
    pub number: u64,
    /// The last event before it.
    pub after: u64,
    /// The message.
    pub message: Outgoing,
}

/// All of them, in order.
#[derive(Debug, Default)]
pub struct Kept {
    relayed: VecDeque<Relayed>,
    /// How many of them, from the first on, are on their way.
    sent: usize,
    bytes: usize,
    next: u64,
    ids: HashSet<u64>,
    ids_by_age: VecDeque<(Instant, u64)>,
}

/// What became of a message that was to be kept.
#[derive(Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is kept under that number.
    Kept(u64),
    /// It is a repeat of one that is stored, or kept.
    Repeat,
    /// There is no room.
    Full,
}

impl Kept {
    /// Keeps a message behind all others.
    pub fn keep(&mut self, after: u64, message: &Outgoing) -> Keep {
        let mut hasher = DefaultHasher::new();
        message.id.hash(&mut hasher);
        let hash = hasher.finish();
        self.forget_old_ids();
        if self.ids.contains(&hash) {
            return Keep::Repeat;
        }
        if self.relayed.len() >= MESSAGES_MAX || self.bytes + message.payload.len() > BYTES_MAX {
            return Keep::Full;
        }
        self.ids.insert(hash);
        self.ids_by_age.push_back((Instant::now(), hash));
        let number = self.next;
        self.next += 1;
        self.bytes += message.payload.len();
        self.relayed.push_back(Relayed { number, after, message: apart(message) });
        Keep::Kept(number)
    }

    /// The next one to be sent, where it belongs before that event, or before whatever comes next.
    pub fn next_before(&mut self, seq: Option<u64>) -> Option<&Relayed> {
        let next = self.relayed.get(self.sent)?;
        if seq.is_some_and(|seq| next.after >= seq) {
            return None;
        }
        self.sent += 1;
        Some(next)
    }

    /// Nothing is on its way any longer.
    pub fn unsend(&mut self) {
        self.sent = 0;
    }

    /// The stream holds that message.
    pub fn stored(&mut self, number: u64) {
        let Ok(at) = self.relayed.binary_search_by_key(&number, |relayed| relayed.number) else { return };
        if let Some(relayed) = self.relayed.remove(at) {
            self.bytes -= relayed.message.payload.len();
            self.sent -= usize::from(at < self.sent);
        }
    }

    /// The stream holds all up to the message with that id, and all that belong before that event.
    pub fn stored_through(&mut self, id: &str, seq: u64) {
        let named = self.relayed.iter().position(|relayed| relayed.message.id == id).map_or(0, |at| at + 1);
        let before = self.relayed.partition_point(|relayed| relayed.after < seq);
        for relayed in self.relayed.drain(..named.max(before)) {
            self.bytes -= relayed.message.payload.len();
        }
        self.sent = 0;
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.relayed.len()
    }

    fn forget_old_ids(&mut self) {
        let is_full = self.ids_by_age.len() >= IDS_MAX;
        if is_full || self.ids_by_age.front().is_some_and(|(since, _)| since.elapsed() > IDS_FOR) {
            let (_, hash) = self.ids_by_age.pop_front().expect("it is not empty");
            self.ids.remove(&hash);
        }
    }
}

/// A message in memory of its own: as a piece of what was written with it, it would hold all of that.
fn apart(message: &Outgoing) -> Outgoing {
    let Outgoing { place, subject, id, payload } = message;
    Outgoing {
        place: *place,
        subject: Subject::from(subject.as_str()),
        id: id.clone(),
        payload: Bytes::copy_from_slice(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::message::Place;

    fn message(id: &str) -> Outgoing {
        Outgoing { place: Place::Inbox, subject: "s".into(), id: id.into(), payload: "abc".into() }
    }

    fn kept() -> Kept {
        let mut kept = Kept::default();
        for (at, (after, id)) in [(4, "a"), (4, "b"), (6, "c")].into_iter().enumerate() {
            assert_eq!(kept.keep(after, &message(id)), Keep::Kept(at as u64));
        }
        kept
    }

    fn next(kept: &mut Kept, before: Option<u64>) -> Option<String> {
        kept.next_before(before).map(|relayed| relayed.message.id.clone())
    }

    #[test]
    fn messages_are_sent_in_their_place_among_the_events() {
        let mut kept = kept();
        assert_eq!(next(&mut kept, Some(4)), None);
        assert_eq!(next(&mut kept, Some(5)).as_deref(), Some("a"));
        assert_eq!(next(&mut kept, Some(5)).as_deref(), Some("b"));
        assert_eq!(next(&mut kept, Some(5)), None);
        kept.stored(0);
        assert_eq!(next(&mut kept, None).as_deref(), Some("c"));
        kept.unsend();
        assert_eq!(next(&mut kept, None).as_deref(), Some("b"));
    }

    #[test]
    fn what_the_stream_holds_is_not_kept() {
        let mut some = kept();
        some.stored_through("a", 4);
        assert_eq!(next(&mut some, None).as_deref(), Some("b"));
        let mut some = kept();
        some.stored_through("log-5-ab/channel.web", 5);
        assert_eq!((some.len(), next(&mut some, None).as_deref()), (1, Some("c")));
    }

    #[test]
    fn a_repeat_is_known_and_room_is_bounded() {
        let mut kept = kept();
        assert_eq!(kept.keep(7, &message("a")), Keep::Repeat);
        let large = Outgoing { payload: vec![0; BYTES_MAX].into(), ..message("large") };
        assert_eq!(kept.keep(7, &large), Keep::Full);
        for at in kept.len()..MESSAGES_MAX {
            assert_eq!(kept.keep(7, &message(&at.to_string())), Keep::Kept(at as u64));
        }
        assert_eq!(kept.keep(7, &message("one more")), Keep::Full);
    }

    #[test]
    fn a_message_kept_does_not_hold_what_was_written_beside_it() {
        let mut subjects = crate::edge::subjects::Subjects::new("p");
        let payload = subjects.payload(3, |out| out.extend_from_slice(b"abc"));
        let message = Outgoing { payload, subject: subjects.rejection("c", "pass"), ..message("a") };
        let mut kept = Kept::default();
        kept.keep(1, &message);
        let of_its_own = &kept.relayed[0].message;
        assert_eq!((&of_its_own.payload, &of_its_own.subject), (&message.payload, &message.subject));
        assert!(of_its_own.payload.is_unique() && !message.payload.is_unique());
    }

    #[test]
    fn what_is_stored_leaves_its_room_to_others() {
        let mut kept = kept();
        assert_eq!(kept.bytes, 9);
        kept.stored(0);
        assert_eq!(kept.bytes, 6);
        kept.stored_through("c", 4);
        assert_eq!((kept.bytes, kept.len()), (0, 0));
    }

    #[test]
    fn ids_are_remembered_up_to_a_bound() {
        let mut kept = Kept::default();
        for at in 0..=IDS_MAX {
            assert_eq!(kept.keep(1, &message(&at.to_string())), Keep::Kept(at as u64));
            kept.stored(at as u64);
        }
        assert_eq!(kept.ids.len(), IDS_MAX);
        assert_eq!(kept.keep(1, &message(&IDS_MAX.to_string())), Keep::Repeat);
        assert_eq!(kept.keep(1, &message("0")), Keep::Kept(IDS_MAX as u64 + 1), "it was forgotten");
    }
}
