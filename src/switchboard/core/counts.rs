//! How many conversations there are, counted as they change.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::domain::conversation::Status;
use crate::domain::{Conversation, Name};

/// The counts.
#[derive(Debug, Default)]
pub struct Counts {
    open_of: HashMap<Name, u64, RandomState>,
    ending: u64,
}

impl Counts {
    /// Conversations of a channel that are not closed.
    pub fn open_of(&self, channel: &Name) -> u64 {
        self.open_of.get(channel).copied().unwrap_or(0)
    }

    /// Conversations that are not closed.
    pub fn open(&self) -> u64 {
        self.open_of.values().sum()
    }

    /// Conversations whose end was requested and is not complete.
    pub fn ending(&self) -> u64 {
        self.ending
    }

    /// Counts a conversation that was `before`, or was not.
    pub fn count(&mut self, c: &Conversation, before: Option<Status>) {
        self.ending = self.ending.saturating_sub(u64::from(before == Some(Status::Ending)));
        self.ending += u64::from(c.status == Status::Ending);
        let was_open = before.is_some_and(|status| status != Status::Closed);
        let is_open = c.status != Status::Closed;
        if was_open != is_open {
            let open = self.open_of.entry(c.channel.clone()).or_default();
            *open = if is_open { *open + 1 } else { open.saturating_sub(1) };
        }
    }

    /// Counts one at rest.
    pub fn count_resting(&mut self, status: Status, channel: &str) {
        self.ending += u64::from(status == Status::Ending);
        if status == Status::Closed {
            return;
        }
        match self.open_of.get_mut(channel) {
            Some(open) => *open += 1,
            None => self.open_of.extend(Name::parse(channel).ok().map(|name| (name, 1))),
        }
    }
}
