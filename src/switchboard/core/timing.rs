//! Timers, and rounds over all conversations after a change of the configuration.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::Core;
use crate::domain::command::Due;
use crate::domain::decide::is_orphaned;
use crate::domain::timers::next_due;
use crate::domain::{Config, ConversationId, Time};
use crate::switchboard::slot::Slot;

impl Core {
    /// Decides what is due.
    pub(super) fn run_timers(&mut self, now: Time) {
        if self.timers_rest() {
            return;
        }
        for _ in 0..self.limits.timers_max {
            let is_due = self.timers.first().is_some_and(|(at, _)| *at <= now);
            if !is_due || !self.has_room_below(self.limits.group_timers_max()) {
                return;
            }
            let Some((_, id)) = self.timers.pop_first() else { return };
            if self.is_put_off_at_rest(&id, now) || !self.is_awake(&id) {
                continue;
            }
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.looked_at = None;
            }
            self.settle(&id, now);
            self.schedule(&id, now);
        }
    }

    /// Whether the look at a conversation at rest came early, and is put off without awaking it: after an outage all
    /// looks come early.
    fn is_put_off_at_rest(&mut self, id: &ConversationId, now: Time) -> bool {
        let Some(Some(rest)) = self.known.get_mut(id) else { return false };
        rest.look_at(None);
        let (ready_since, config) = (self.ready_since.unwrap_or(Time(0)), &self.config.config);
        let Ok((c, activity)) = rest.conversation(id) else { return false };
        let due = next_due(&c, activity, config, ready_since).map(|(at, _)| at);
        if is_orphaned(&c, config) || due.is_some_and(|at| at <= now) {
            return false;
        }
        rest.look_at(due);
        self.timers.extend(due.map(|at| (at, id.clone())));
        true
    }

    /// Whether nothing falls due, however late it is.
    pub(super) fn timers_rest(&self) -> bool {
        self.ready_since.is_none() || self.is_storage_full() || self.is_stopping
    }

    /// What is due for a conversation now.
    pub(super) fn due_now(&self, slot: &Slot, now: Time) -> Option<Due> {
        let ready_since = self.ready_since?;
        let (at, due) = next_due(&slot.c, slot.activity, &self.config.config, ready_since)?;
        (at <= now).then_some(due)
    }

    /// Sees to it that the timers look at the conversation in time.
    pub(super) fn schedule(&mut self, id: &ConversationId, now: Time) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        schedule(&mut self.timers, slot, &self.config.config, self.ready_since, now);
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
        let (ready_since, config) = (self.ready_since.unwrap_or(Time(0)), &self.config.config);
        let (mut looked_at, mut last) = (0, None);
        let mut ids: Vec<ConversationId> = Vec::new();
        // What is orphaned is decided: more than there is room for would be decoded again by each step.
        let mut room = self.limits.group_round_max().saturating_sub(self.group.drafts.len());
        let range = self.known.range_mut::<ConversationId, _>((from, Bound::Unbounded));
        for (id, rest) in range.take(self.limits.round_conversations_max) {
            if room == 0 {
                break;
            }
            (looked_at, last) = (looked_at + 1, Some(id));
            // What rests need not be awoken to be looked at another time.
            match rest.as_ref().map(|rest| rest.conversation(id)) {
                Some(Ok((c, activity))) if !is_orphaned(&c, config) => {
                    let due = next_due(&c, activity, config, ready_since).map(|(at, _)| at.max(now));
                    let Some(rest) = rest else { continue };
                    if let Some(look) = sooner(&mut self.timers, id, rest.looked_at(), due) {
                        rest.look_at(look);
                    }
                }
                found => {
                    room -= usize::from(found.is_some());
                    ids.push(id.clone());
                }
            }
        }
        let is_last = looked_at < self.limits.round_conversations_max && room > 0;
        let last = last.cloned();
        match self.look_round(&ids, now) {
            Some(reached) => self.round = Some(reached.cloned().or(after)),
            None if !is_last => self.round = Some(last.or(after)),
            None => {}
        }
    }

    /// The round comes to these; where there is no room for all, to which it came, if to any.
    fn look_round<'a>(&mut self, ids: &'a [ConversationId], now: Time) -> Option<Option<&'a ConversationId>> {
        let mut reached = None;
        for id in ids {
            if !self.has_room_below(self.limits.group_round_max()) {
                return Some(reached);
            }
            if self.is_awake(id) {
                if self.slots.get(id).is_some_and(|slot| is_orphaned(&slot.c, &self.config.config)) {
                    self.fall_due(id, Due::Removal, now);
                }
                self.schedule(id, now);
            }
            reached = Some(id);
        }
        None
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

/// Sees to it that the timers look at the conversation in time. A look may come early, and is then put off.
pub(super) fn schedule(
    timers: &mut BTreeSet<(Time, ConversationId)>,
    slot: &mut Slot,
    config: &Config,
    ready_since: Option<Time>,
    now: Time,
) {
    let ready_since = ready_since.unwrap_or(Time(0));
    let due = next_due(&slot.c, slot.activity, config, ready_since).map(|(at, _)| at.max(now));
    if let Some(look) = sooner(timers, &slot.c.id, slot.looked_at, due) {
        slot.looked_at = look;
    }
}

/// Sees to it that the timers look at a conversation by `due`; says when they do, where that is another time than before.
fn sooner(
    timers: &mut BTreeSet<(Time, ConversationId)>,
    id: &ConversationId,
    look: Option<Time>,
    due: Option<Time>,
) -> Option<Option<Time>> {
    // A look that comes too early is put off when it comes.
    let is_in_time = match (look, due) {
        (Some(look), Some(due)) => look <= due,
        (look, due) => look == due,
    };
    if is_in_time {
        return None;
    }
    if let Some(look) = look {
        timers.remove(&(look, id.clone()));
    }
    timers.extend(due.map(|due| (due, id.clone())));
    Some(due)
}
