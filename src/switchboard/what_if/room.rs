//! How many conversations of each channel would be open in the other world, as far as is known.

use std::collections::HashMap;

use super::twin::{Rules, Twin};
use crate::domain::{Config, Name};

/// Open conversations by channel.
#[derive(Default)]
pub(super) struct Room {
    counts: HashMap<Name, Count>,
}

#[derive(Default, Clone, Copy)]
struct Count {
    open: u64,
    surely_open: u64,
}

impl Room {
    /// Counts a conversation as it is now.
    pub fn enter(&mut self, twin: &Twin) {
        let (is_open, is_sure) = twin.is_open();
        let count = self.counts.entry(twin.channel().clone()).or_default();
        count.open += u64::from(is_open);
        count.surely_open += u64::from(is_sure);
    }

    /// Takes a conversation out of the count that it was entered into.
    pub fn leave(&mut self, twin: &Twin) {
        let (is_open, is_sure) = twin.is_open();
        if let Some(count) = self.counts.get_mut(twin.channel()) {
            count.open -= u64::from(is_open);
            count.surely_open -= u64::from(is_sure);
        }
    }

    /// What a conversation of that channel is decided by.
    pub fn rules<'a>(&self, recorded: &'a Config, other: &'a Config, channel: &Name) -> Rules<'a> {
        let count = self.counts.get(channel).copied().unwrap_or_default();
        Rules { recorded, other, open: count.open, surely_open: count.surely_open }
    }
}
