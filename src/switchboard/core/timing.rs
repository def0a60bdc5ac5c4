//! Timers, and rounds over all conversations after a change of the configuration.

use std::cmp::Reverse;
use std::ops::Bound;

use super::Core;
use crate::domain::command::Due;
use crate::domain::decide::is_orphaned;
use crate::domain::timers::next_due;
use crate::domain::{ConversationId, Time};

impl Core {
    /// Decides what is due.
    pub(super) fn run_timers(&mut self, now: Time) {
        if self.timers_rest() {
            return;
        }
        for _ in 0..self.limits.timers_max {
            let is_due = self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now);
            if !is_due || !self.has_room_below(self.limits.group_timers_max()) {
                return;
            }
            let Some(Reverse((at, id))) = self.timers.pop() else { return };
            match self.slots.get_mut(&id) {
                // What was put off meanwhile has another look to come.
                Some(slot) if slot.looked_at == Some(at) => slot.looked_at = None,
                _ => continue,
            }
            self.settle(&id, now);
            self.schedule(&id, now);
        }
    }

    /// Whether nothing falls due, however late it is.
    pub(super) fn timers_rest(&self) -> bool {
        self.ready_since.is_none() || self.is_storage_full() || self.is_stopping
    }

    /// What is due for a conversation now.
    pub(super) fn due_now(&self, id: &ConversationId, now: Time) -> Option<Due> {
        let ready_since = self.ready_since?;
        let slot = self.slots.get(id)?;
        let (at, due) = next_due(&slot.c, slot.activity, &self.config.config, ready_since)?;
        (at <= now).then_some(due)
    }

    /// Sees to it that the timers look at the conversation in time. A look may come early, and is then put off.
    pub(super) fn schedule(&mut self, id: &ConversationId, now: Time) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let ready_since = self.ready_since.unwrap_or(Time(0));
        let Some((at, _)) = next_due(&slot.c, slot.activity, &self.config.config, ready_since) else { return };
        let at = at.max(now);
        if slot.looked_at.is_none_or(|look| at < look) {
            slot.looked_at = Some(at);
            self.timers.push(Reverse((at, id.clone())));
        }
    }

    /// Drops looks at what has been put off or is gone, once they are more than half.
    pub(super) fn forget_old_looks(&mut self) {
        if self.timers.len() > 2 * self.slots.len() + self.limits.looks_spare {
            let slots = &self.slots;
            self.timers.retain(|Reverse((at, id))| slots.get(id).is_some_and(|slot| slot.looked_at == Some(*at)));
        }
    }

    /// Begins a round: what is held by integrations that are gone is released, and timers are set anew.
    pub(super) fn begin_round(&mut self) {
        self.round = Some(None);
    }

    /// Goes on with the round, a bounded step at a time.
    pub(super) fn continue_round(&mut self, now: Time) {
        if !self.goes_round() {
            return;
        }
        let Some(after) = self.round.take() else { return };
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let ids: Vec<ConversationId> = self
            .order
            .range::<ConversationId, _>((from, Bound::Unbounded))
            .take(self.limits.round_conversations_max)
            .cloned()
            .collect();
        let mut reached = None;
        for id in &ids {
            if !self.has_room_below(self.limits.group_round_max()) {
                break;
            }
            if self.slots.get(id).is_some_and(|slot| is_orphaned(&slot.c, &self.config.config)) {
                self.fall_due(id, Due::Removal, now);
            }
            self.schedule(id, now);
            reached = Some(id.clone());
        }
        let is_over = ids.len() < self.limits.round_conversations_max && reached.as_ref() == ids.last();
        if !is_over {
            self.round = Some(reached.or(after));
        }
    }

    /// Whether the round goes on, and this group has room for it.
    pub(super) fn goes_round(&self) -> bool {
        let rests = self.is_storage_full() || self.is_stopping;
        self.round.is_some() && !rests && self.has_room_below(self.limits.group_round_max())
    }

    pub(super) fn is_storage_full(&self) -> bool {
        self.gauges.storage_full.load(std::sync::atomic::Ordering::Relaxed)
    }
}
