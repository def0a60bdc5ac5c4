//! A session in which the two worlds have parted, until its ends are known in both.

use super::outcome::{Difference, Ended, EndsBy, Otherwise, Way};
use crate::domain::{Conversation, ConversationId, Event, Name, Time};

/// What is known of such a session.
pub(super) struct Parted {
    session: u32,
    first: Difference,
    would_begin: bool,
    ended: Option<Ended>,
    would_end: Option<Ended>,
    is_end_certain: bool,
    owner_differed: bool,
}

impl Parted {
    /// One that parts with that difference. Where it ends with it, that end is as certain.
    pub fn with(first: Difference, session: u32, would_begin: bool) -> Parted {
        let is_end_certain = first.uncertain.is_none() && first.instead.iter().any(|e| matches!(e, Event::Closed(_)));
        Parted { session, first, would_begin, ended: None, would_end: None, is_end_certain, owner_differed: false }
    }

    /// Takes in what has become of the conversation in both worlds: the first end counts.
    pub fn keep(&mut self, recorded: Option<&Conversation>, other: Option<&Conversation>) {
        if self.ended.is_none() {
            self.ended = Ended::of(recorded);
        }
        if self.would_begin && self.would_end.is_none() {
            self.would_end = Ended::of(other);
        }
        self.owner_differed |= owner(recorded) != owner(other);
    }

    /// Whether nothing more will be known of it.
    pub fn is_known(&self) -> bool {
        self.ended.is_some() && (self.would_end.is_some() || !self.would_begin)
    }

    /// What there is to tell. `due` is what would end it by itself, where it would still be open.
    pub fn told(self, conversation: ConversationId, channel: Name, due: Option<(Time, EndsBy)>) -> Otherwise {
        let way = match self.would_begin {
            true => Way::between(self.ended.as_ref(), self.would_end.as_ref(), self.owner_differed),
            false => Way::NotBegun,
        };
        Otherwise {
            conversation,
            channel,
            session: self.session,
            way,
            first: self.first,
            ended: self.ended,
            due: due.filter(|_| self.would_begin && self.would_end.is_none()),
            would_end: self.would_end,
            is_end_uncertain: self.would_begin && !self.is_end_certain,
        }
    }
}

fn owner(c: Option<&Conversation>) -> Option<&Name> {
    c.and_then(|c| c.owner.as_ref())
}
