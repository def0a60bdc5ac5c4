//! What a comparison comes to: the sessions that would have gone otherwise, and how many did not.

use serde::Serialize;

use crate::domain::conversation::Conversation;
use crate::domain::event::EndCause;
use crate::domain::{By, ConversationId, Event, Name, Refusal, Time};

/// A session that would have gone otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otherwise {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Whose conversation.
    pub channel: Name,
    /// Which session of it, as recorded.
    pub session: u32,
    /// In which way it differs as a whole.
    pub way: Way,
    /// Where the two worlds part.
    pub first: Difference,
    /// How it ended; none where it was open at the end of the log.
    pub ended: Option<Ended>,
    /// How it would have ended; none where it would have been open at the end of the log, or would not have begun.
    pub would_end: Option<Ended>,
    /// When it would fall due after the end of the log, if nothing else happened, and whether as inactivity or deadline.
    pub due: Option<(Time, EndsBy)>,
    /// Whether that end rests on what the log does not hold.
    pub is_end_uncertain: bool,
}

impl Otherwise {
    /// Whether something of it rests on what the log does not hold.
    pub fn is_uncertain(&self) -> bool {
        self.is_end_uncertain || self.first.uncertain.is_some()
    }
}

/// The first thing that would have gone otherwise in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The decision that would have been another; of a timer that none recorded, the last event before it.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// When at the latest, where messages that the log does not hold may have put it off that long.
    pub latest: Option<Time>,
    /// Who had asked, or whose timer it would have been.
    pub by: By,
    /// What happened then; empty for nothing.
    pub happened: Vec<Event>,
    /// What would have; empty for nothing.
    pub instead: Vec<Event>,
    /// Why the command would have been refused, where it would.
    pub refusal: Option<Refusal>,
    /// Which settings make the difference, in words.
    pub why: String,
    /// On what it turns that the log does not hold, in words; none where it is certain.
    pub uncertain: Option<String>,
}

/// What ends a session by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum EndsBy {
    Inactivity,
    Deadline,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// When.
    pub at: Time,
    /// Who completed it.
    pub by: By,
    /// Why the end was asked for.
    pub cause: EndCause,
}

impl Ended {
    /// How a conversation ended, if it is closed.
    pub(super) fn of(c: Option<&Conversation>) -> Option<Ended> {
        let closed = c?.closed.as_ref()?;
        Some(Ended { at: closed.at, by: closed.by.clone(), cause: closed.cause })
    }

    fn is_alike(&self, other: &Ended) -> bool {
        self.cause == other.cause && self.by.role == other.by.role && self.by.name == other.by.name
    }
}

/// In which way a session would have gone otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It would have ended earlier, by the same.
    EndedEarlier,
    /// It would have ended later, by the same.
    EndedLater,
    /// It would have been ended by somebody else, or for another cause.
    EndedByAnother,
    /// It ended, and would have been open at the end of the log.
    NotEnded,
    /// It was open at the end of the log, and would have ended.
    EndedToo,
    /// It would not have begun.
    NotBegun,
    /// It would have ended the same, and another would have held control on the way.
    OtherOwner,
    /// It would have ended the same, and something else on the way would have gone otherwise.
    OtherWay,
}

impl Way {
    /// Every way, in the order in which they are counted up.
    pub const ALL: [Way; 8] = [
        Way::EndedEarlier,
        Way::EndedLater,
        Way::EndedByAnother,
        Way::NotEnded,
        Way::EndedToo,
        Way::NotBegun,
        Way::OtherOwner,
        Way::OtherWay,
    ];

    /// The way from one end to the other, of a session that would have begun.
    pub(super) fn between(ended: Option<&Ended>, would_end: Option<&Ended>, owner_differed: bool) -> Way {
        match (ended, would_end) {
            (Some(_), None) => Way::NotEnded,
            (None, Some(_)) => Way::EndedToo,
            (Some(ended), Some(would)) if !ended.is_alike(would) => Way::EndedByAnother,
            (Some(ended), Some(would)) if would.at < ended.at => Way::EndedEarlier,
            (Some(ended), Some(would)) if would.at > ended.at => Way::EndedLater,
            _ if owner_differed => Way::OtherOwner,
            _ => Way::OtherWay,
        }
    }
}

/// What was counted. A session that was reopened counts once more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions that were looked at.
    pub sessions: u64,
    /// How many of them would have gone otherwise, by their way, in the order of [`Way::ALL`].
    pub ways: [u64; Way::ALL.len()],
    /// How many of those are uncertain.
    pub uncertain: u64,
    /// Time of the last entry, if there was one.
    pub last_at: Option<Time>,
}

impl Tally {
    /// How many would have gone otherwise.
    pub fn otherwise(&self) -> u64 {
        self.ways.iter().sum()
    }

    pub(super) fn count(&mut self, otherwise: &Otherwise) {
        if let Some(place) = Way::ALL.iter().position(|way| *way == otherwise.way) {
            self.ways[place] += 1;
        }
        self.uncertain += u64::from(otherwise.is_uncertain());
    }
}
