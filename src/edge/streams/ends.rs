//! Where the streams end: from which event on they are to be filled.
//!
//! The last message of each stream says so, however long ago it came: nothing rests on the server
//! remembering ids. A stream that holds nothing begins behind the last event known to be published.

use super::AFTER_SEQ;
use super::api::{Found, Last};
use crate::edge::message::{Outgoing, Place, seq_in};

/// Where both streams end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ends {
    /// The last event in the stream of events.
    pub event: u64,
    /// The last event of which the inboxes have all copies.
    pub inbox: u64,
    /// The copy at which the inboxes end, where those of its event may not all be there.
    pub part: Option<(u64, String)>,
    /// The id of the last message of the stream of events, where it is of this log.
    pub last_event_id: Option<String>,
    /// The id of the last message of the inboxes.
    pub last_inbox_id: String,
}

impl Ends {
    /// Of what was found at the end of the streams.
    pub fn new(events: &Found, inbox: &Found, log_id: &str, published: u64) -> Ends {
        let mut ends = Ends { event: published, inbox: published, ..Ends::default() };
        if let Some((id, seq)) = place_of(events.last.as_ref(), log_id) {
            ends.event = seq;
            ends.last_event_id = Some(id);
        }
        if let Some((id, seq)) = place_of(inbox.last.as_ref(), log_id) {
            let is_relay = seq_in(log_id, &id).is_none();
            ends.inbox = if is_relay { seq } else { seq - 1 };
            ends.part = (!is_relay).then(|| (seq, id.clone()));
            ends.last_inbox_id = id;
        }
        ends
    }

    /// The same of a log that begins with event `first`: what was before was published before it was removed, and the
    /// inboxes have of it whatever there was to be had.
    pub fn not_before(self, first: u64) -> Ends {
        let removed = first.saturating_sub(1);
        match self.inbox < removed {
            true => {
                tracing::warn!(
                    from_seq = self.inbox + 1,
                    through_seq = removed,
                    "the inboxes end before the first event of the log: copies that they lack of removed events are not made again"
                );
                Ends { inbox: removed, part: self.part.filter(|(seq, _)| *seq > removed), ..self }
            }
            false => self,
        }
    }

    /// The last event that both streams hold whole, for certain.
    pub fn through(&self) -> u64 {
        self.event.min(self.inbox)
    }

    /// Of the messages of event `seq`, those that the streams do not hold.
    pub fn missing(&self, seq: u64, mut all: Vec<Outgoing>) -> Vec<Outgoing> {
        let in_part = self.part.as_ref().filter(|(part, _)| *part == seq).map(|(_, id)| id);
        let mut is_held = seq <= self.inbox || in_part.is_some();
        all.retain(|message| match message.place {
            Place::Event => seq > self.event,
            Place::Standby => false,
            Place::Inbox => {
                let is_missing = !is_held;
                if in_part == Some(&message.id) {
                    is_held = false;
                }
                is_missing
            }
        });
        all
    }
}

/// The id of a message of this log, and the event that it is of, or comes after.
pub fn place_of(last: Option<&Last>, log_id: &str) -> Option<(String, u64)> {
    let last = last?;
    let id = last.header("Nats-Msg-Id").filter(|id| id.starts_with(log_id))?;
    let seq = seq_in(log_id, id).or_else(|| last.header(AFTER_SEQ)?.parse().ok())?;
    Some((id.to_owned(), seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_from_the_log_is_not_looked_for() {
        let ends = Ends { event: 9, inbox: 4, part: Some((5, "id".into())), ..Ends::default() };
        assert_eq!(ends.clone().not_before(1), ends);
        assert_eq!(ends.clone().not_before(5), ends, "event 5 is there, and its copies may be missing");
        let behind = ends.not_before(10);
        assert_eq!((behind.inbox, behind.part.as_ref(), behind.through()), (9, None, 9));
    }

    const LOG: &str = "4b1f6a0e";

    fn found(id: &str, after: Option<&str>) -> Found {
        let mut headers = vec![("Nats-Msg-Id".to_owned(), id.to_owned())];
        headers.extend(after.map(|after| (AFTER_SEQ.to_owned(), after.to_owned())));
        Found { last_sequence: 1, last: Some(Last { headers }) }
    }

    fn nothing() -> Found {
        Found { last_sequence: 9, last: None }
    }

    fn event(seq: u64) -> Vec<Outgoing> {
        let id = format!("{LOG}-{seq}-abababab");
        let copy = |place, receiver: &str| Outgoing {
            place,
            subject: "s".into(),
            id: format!("{id}{receiver}"),
            payload: "".into(),
        };
        vec![
            copy(Place::Event, ""),
            copy(Place::Inbox, "/integration.bot"),
            copy(Place::Inbox, "/channel.web"),
            copy(Place::Standby, "/standby.s"),
        ]
    }

    fn ids(all: &[Outgoing]) -> Vec<&str> {
        all.iter().map(|message| message.id.as_str()).collect()
    }

    #[test]
    fn streams_are_filled_from_where_they_end() {
        let inbox = found("4b1f6a0e-8-abababab/integration.bot", None);
        let ends = Ends::new(&found("4b1f6a0e-9-abababab", None), &inbox, LOG, 3);
        assert_eq!((ends.event, ends.inbox, ends.through()), (9, 7, 7));
        assert_eq!(ends.last_event_id.as_deref(), Some("4b1f6a0e-9-abababab"));
        assert_eq!(ids(&ends.missing(8, event(8))), ["4b1f6a0e-8-abababab/channel.web"]);
        assert_eq!(
            ids(&ends.missing(9, event(9))),
            ["4b1f6a0e-9-abababab/integration.bot", "4b1f6a0e-9-abababab/channel.web"]
        );
        assert_eq!(ends.missing(10, event(10)).len(), 3);
        assert!(ends.missing(7, event(7)).is_empty(), "they hold all of it");
    }

    #[test]
    fn a_relayed_message_says_after_which_event_it_came() {
        let ends = Ends::new(&nothing(), &found("4b1f6a0e-m-77/channel.web", Some("12")), LOG, 20);
        assert_eq!((ends.event, ends.inbox, ends.part), (20, 12, None));
    }

    #[test]
    fn a_stream_without_a_message_of_this_log_begins_behind_what_is_published() {
        for events in [nothing(), found("another-9-abababab", None), found("4b1f6a0e-m-77", None)] {
            let ends = Ends::new(&events, &nothing(), LOG, 20);
            assert_eq!((ends.through(), ends.last_event_id), (20, None));
        }
        let ends = Ends::new(&nothing(), &found("another-m-77/channel.web", Some("12")), LOG, 20);
        assert_eq!((ends.inbox, ends.last_inbox_id.as_str()), (20, ""), "another log's");
    }
}
