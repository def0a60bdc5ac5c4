//! Rest: what nobody asks for stands in memory as bytes, and awakes when somebody does or when it falls due.

use std::borrow::Cow;

use super::Core;
use crate::domain::conversation::Status;
use crate::domain::{Conversation, ConversationId, Time};
use crate::switchboard::rest::Rest;
use crate::switchboard::slot::Slot;

impl Core {
    /// The conversation as the log has it, if it is in memory.
    pub fn conversation(&self, id: &ConversationId) -> Option<Cow<'_, Conversation>> {
        let (id, rest) = self.known.get_key_value(id)?;
        self.seen(id, rest.as_ref()).ok().flatten()
    }

    /// The conversations in memory.
    pub fn conversations(&self) -> impl Iterator<Item = Cow<'_, Conversation>> {
        self.known.iter().filter_map(|(id, rest)| self.seen(id, rest.as_ref()).ok().flatten())
    }

    /// Whether a conversation in memory is at rest.
    pub fn is_resting(&self, id: &ConversationId) -> bool {
        self.known.get(id).is_some_and(Option::is_some)
    }

    /// Brings a conversation into memory and awakes it, if it is known at all.
    pub(super) fn load(&mut self, id: &ConversationId) -> Result<(), String> {
        match self.wake(id)? {
            true => Ok(()),
            false => self.fetch(id),
        }
    }

    /// Takes in what the archive has of a conversation that is not in memory, if it is known at all.
    pub(super) fn fetch(&mut self, id: &ConversationId) -> Result<(), String> {
        if let Some(head) = self.archive.head(id)? {
            let slot =
                Slot::from_head(id, &head, self.limits.parts, |part, number| self.archive.part(id, part, number));
            self.adopt(slot.inspect_err(|_| self.archive.doubt())?);
        }
        Ok(())
    }

    /// Takes in a conversation that was not in memory.
    pub(super) fn adopt(&mut self, slot: Slot) {
        let id = slot.c.id.clone();
        match slot.is_dirty {
            true => self.saving.changed(id.clone()),
            false => self.saving.loaded(id.clone()),
        }
        self.known.insert(id.clone(), None);
        self.counts.count(&slot.c, None);
        self.put_awake(slot);
        self.schedule(&id, self.last_at);
    }

    /// Awakes a conversation, if it is in memory; says whether it is.
    pub(super) fn wake(&mut self, id: &ConversationId) -> Result<bool, String> {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.is_touched = true;
            return Ok(true);
        }
        let Some(rest) = self.known.get_mut(id) else { return Ok(false) };
        if let Some(resting) = rest {
            let slot = resting.awake(id, self.limits.parts, |part, number| self.archive.part(id, part, number));
            let mut slot = slot.inspect_err(|_| self.archive.doubt())?;
            slot.is_touched = true;
            *rest = None;
            self.put_awake(slot);
        }
        Ok(true)
    }

    /// Awakes a conversation whose turn it is; whether that was possible.
    pub(super) fn is_awake(&mut self, id: &ConversationId) -> bool {
        match self.wake(id) {
            Ok(is_there) => is_there,
            Err(error) => {
                tracing::error!(error, "a conversation could not be read from the cache: nothing falls due for it");
                false
            }
        }
    }

    /// Counts what rests at a start. The round that follows looks at what is due.
    pub(super) fn count_resting(&mut self) {
        for rest in self.known.values().flatten() {
            let Ok(seen) = rest.glance() else { continue };
            self.counts.count_resting(seen.status, seen.channel);
        }
    }

    /// Takes a conversation in that is awake.
    pub(super) fn put_awake(&mut self, slot: Slot) {
        let id = slot.c.id.clone();
        self.awake.push_back(id.clone());
        self.slots.insert(id, Box::new(slot));
    }

    /// Lets rest what has been awake longest and nobody asks for, where more are awake than should be.
    pub(super) fn let_rest(&mut self) {
        // Looks in a row at what only waits for the disk: to go on with those at once would be in vain.
        let (mut in_vain, looks_max) = (0, self.limits.awake_looks_max);
        for _ in 0..looks_max {
            if self.awake.len() <= self.limits.awake_max || in_vain >= self.awake.len() {
                break;
            }
            let Some(id) = self.awake.pop_front() else { break };
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            // It never rests: to look at it again and again would leave no look for those that may.
            if slot.has_parts() {
                continue;
            }
            let is_asked_for = std::mem::take(&mut slot.is_touched);
            let may_rest = slot.in_group <= self.written && slot.is_its_head();
            in_vain = if may_rest || is_asked_for { 0 } else { in_vain + 1 };
            if is_asked_for || !may_rest {
                self.awake.push_back(id);
                continue;
            }
            self.known.insert(id.clone(), Some(Rest::of(slot)));
            self.slots.remove(&id);
        }
        self.has_to_rest = self.awake.len() > self.limits.awake_max && in_vain < self.awake.len().min(looks_max);
    }

    /// Goes on with letting go of what is kept, unchanged and closed.
    pub(super) fn continue_leaving(&mut self, now: Time) {
        if self.saving.leaving.is_empty() {
            return;
        }
        for _ in 0..self.saving.pace.take(now, &self.limits) {
            let Some(id) = self.saving.leaving.pop() else { break };
            let Some((is_on_its_way, look)) = self.may_leave(&id) else { continue };
            if is_on_its_way {
                self.saving.loaded(id);
                continue;
            }
            if let Some(look) = look {
                self.timers.remove(&(look, id.clone()));
            }
            self.known.remove(&id);
            self.slots.remove(&id);
        }
        if self.saving.leaving.is_empty() {
            self.saving.pace.go_on();
        }
    }

    /// Of a conversation that is closed and as the cache has it: whether anything of it is on its way, and when the timers
    /// look at it.
    fn may_leave(&self, id: &ConversationId) -> Option<(bool, Option<Time>)> {
        if let Some(slot) = self.slots.get(id) {
            let leaves = !slot.is_dirty && slot.c.status == Status::Closed;
            return leaves.then_some((slot.in_group > self.written, slot.looked_at));
        }
        let rest = self.known.get(id)?.as_ref()?;
        let leaves = !rest.is_dirty() && rest.glance().is_ok_and(|seen| seen.status == Status::Closed);
        leaves.then(|| (false, rest.looked_at()))
    }

    /// The conversation as the log has it, found already.
    pub(super) fn seen<'a>(
        &'a self,
        id: &ConversationId,
        rest: Option<&Rest>,
    ) -> Result<Option<Cow<'a, Conversation>>, String> {
        let Some(rest) = rest else { return Ok(self.slots.get(id).map(|slot| Cow::Borrowed(&slot.c))) };
        let found = rest.conversation(id).inspect_err(|_| self.archive.doubt());
        found.map(|(c, _)| Some(Cow::Owned(c)))
    }
}
