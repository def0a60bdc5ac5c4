//! How far is decided ahead of what is written and has left: full groups cost least, and keep waiting whoever asks little
//! beside one who asks much.

use std::collections::VecDeque;

use super::Core;
use crate::switchboard::group::{Group, Written};

/// A write that takes longer waits for something else than the disk's usual way, such as for room.
const WRITE_MS_MAX: u64 = 32;

/// The groups on their way to stable storage, and to the server where the owner is told of that.
#[derive(Debug, Default)]
pub struct UnderWay {
    groups: VecDeque<OnItsWay>,
    /// How long the last two took to get there.
    took_ms: [u64; 2],
}

#[derive(Debug)]
struct OnItsWay {
    number: u64,
    effects: usize,
    tells_when_gone: bool,
}

impl UnderWay {
    /// Takes in that a group is on its way.
    pub fn began(&mut self, group: &Group) {
        let Group { number, tells_when_gone, .. } = *group;
        self.groups.push_back(OnItsWay { number, effects: group.effects.len(), tells_when_gone });
    }

    /// Takes in that a group is on stable storage.
    pub fn arrived(&mut self, written: &Written) {
        self.groups.retain(|group| group.number > written.number || group.tells_when_gone);
        // A group of questions alone is not written at all.
        if !written.frames.is_empty() {
            self.took_ms = [self.took_ms[1], written.took_ms];
        }
    }

    /// Takes in that a group, and all before it, has left.
    pub fn gone(&mut self, number: u64) {
        self.groups.retain(|group| group.number > number);
    }
}

impl Core {
    /// How long the slower of the last two writes took.
    pub fn last_writes_ms(&self) -> u64 {
        self.under_way.took_ms.into_iter().max().unwrap_or(0)
    }

    /// Effects in the group beyond which it is decided too far ahead of what has left, where it has room for so many
    /// decisions: whoever asks little finds before it all that was decided of who asks much.
    pub(super) fn effects_ahead_max(&self, decisions: usize) -> usize {
        // At a stop all that waits is decided, and nobody may be left who says that something has left.
        if !self.queue.serves_the_small() || self.is_stopping {
            return usize::MAX;
        }
        let under_way: usize = self.under_way.groups.iter().map(|group| group.effects).sum();
        // On a slow disk everybody waits for the write: more may be decided meanwhile, but less than makes it longer by as
        // much. One write that took long is chance.
        let took_ms = self.under_way.took_ms.into_iter().min().unwrap_or(0).clamp(1, WRITE_MS_MAX);
        let ahead_max = self.limits.ahead_effects_max * (2 * took_ms as usize - 1);
        let left = ahead_max.saturating_sub(under_way);
        (left * decisions).div_ceil(self.limits.group_decisions_max)
    }
}
