//! Recording a decision: events are folded into the state, written as a line, and put into the group.

use std::sync::Arc;

use super::Core;
use crate::domain::conversation::{Note, Stamp, evolve};
use crate::domain::event::Event;
use crate::domain::timers;
use crate::domain::{Conversation, ConversationId, Name, Text, Time};
use crate::log::Draft;
use crate::switchboard::group::log_name;
use crate::switchboard::port::Recorded;
use crate::switchboard::record::{self, Cause};
use crate::switchboard::slot::Slot;

impl Core {
    /// Records what was decided of a conversation: it is so from now on, and told once it is on stable storage.
    pub(super) fn record(
        &mut self,
        id: &ConversationId,
        channel: &Name,
        events: &[Event],
        cause: &Cause<'_>,
        live: &Live,
    ) {
        let seq = self.next_seq;
        if !self.slots.contains_key(id) {
            self.known.insert(id.clone(), None);
            self.put_awake(Slot::new(Conversation::unborn(id, channel, cause.at)));
        }
        let slot = self.slots.get_mut(id).expect("it was put there");
        let c = &mut slot.c;
        let (version, session, closed_at) = (c.version, c.session, c.closed.as_ref().map(|closed| closed.at));
        let status = (version > 0).then_some(c.status);
        let inbox = concerned(c, events);
        let config = Arc::clone(&self.config.config);
        let standby: Vec<Name> = config.standbys().filter(|name| !inbox.contains(name)).cloned().collect();
        let mut writer = record::Writer::begin(seq, id.as_str(), cause);
        writer.told(channel, &inbox, &standby);
        for (at, event) in events.iter().enumerate() {
            let stamp = Stamp {
                seq: seq + at as u64,
                at: cause.at,
                by: cause.by,
                user: live.user.as_ref(),
                last_activity_at: live.activity_at,
                last_message_id: live.last_message_id.as_ref(),
            };
            evolve(c, event, &stamp);
            writer.event(event, c, config.settings(channel), cause);
        }
        // A command that closes tells of a message too, and a reopening goes on from there.
        slot.last_message_id.clone_from(&live.last_message_id);
        let (line, personal, recorded) = writer.finish();
        if let (true, Some(closed_at)) = (c.session != session, closed_at) {
            slot.ids.session_began(session, closed_at, cause.at, self.limits.parts.page_items);
        }
        self.next_seq += events.len() as u64;
        slot.marks.pass(&slot.c, self.next_seq, self.limits.parts.mark_entries);
        self.last_at = cause.at;
        self.count(id, status);
        self.remember(id, events, cause, seq);
        self.push_draft(Some(id), version, seq, events.len() as u32, cause.at, line, personal);
        self.group.push_recorded(Recorded {
            conversation: id.text(),
            channel: Some(channel.clone()),
            at: cause.at,
            traceparent: cause.traceparent.cloned(),
            inbox,
            standby,
            line: Vec::new(),
            events: recorded,
            hash: [0; 32],
        });
        self.changed(id);
        self.schedule(id, cause.at);
    }

    /// Records activity of which no event tells.
    pub(super) fn note(&mut self, id: &ConversationId, note: &Note, now: Time) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.c.note(note);
        slot.marks.pass(&slot.c, self.next_seq, self.limits.parts.mark_entries);
        let version = slot.c.version;
        self.last_at = now;
        let (line, personal) = record::note_line(self.next_seq, now, id, note);
        self.push_draft(Some(id), version, self.next_seq, 0, now, line, personal);
        self.changed(id);
    }

    /// Puts a line into the group.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn push_draft(
        &mut self,
        id: Option<&ConversationId>,
        version: u64,
        first_seq: u64,
        events: u32,
        at: Time,
        line: Vec<u8>,
        personal: Vec<std::ops::Range<u32>>,
    ) {
        let conversation = log_name(id);
        let salt = (!personal.is_empty()).then(|| self.secret.salt(first_seq, at.0, &conversation));
        self.group.bytes += line.len();
        self.group.drafts.push(Draft { conversation, version, first_seq, events, at: at.0, line, personal, salt });
        self.group.owners.push(id.cloned());
    }

    /// Whether activity at this moment is to be noted.
    pub(super) fn is_to_be_noted(&self, slot: &Slot, user: Option<&Text>, now: Time) -> bool {
        let user_changed = user.is_some() && slot.c.user.as_ref() != user;
        user_changed || timers::is_to_be_noted(&slot.c, now, &self.config.config)
    }

    fn remember(&mut self, id: &ConversationId, events: &[Event], cause: &Cause<'_>, seq: u64) {
        let (Some(key), Some(slot)) = (cause.key, self.slots.get_mut(id)) else { return };
        let kinds = events.iter().map(Event::kind);
        let command = (key, cause.digest.unwrap_or_default());
        slot.ids.remember(command, slot.c.session, seq, kinds, self.limits.parts.page_items);
    }

    fn changed(&mut self, id: &ConversationId) {
        let number = self.group.number;
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.in_group = number;
        if !slot.is_dirty {
            slot.is_dirty = true;
            self.saving.changed(id.clone());
        }
    }
}

/// What the switchboard knows of a conversation's end user at the moment of a decision.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub user: Option<Text>,
    pub activity_at: Time,
    pub last_message_id: Option<Text>,
}

/// Whoever held control or was offered it before, during or after.
fn concerned(before: &Conversation, events: &[Event]) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::with_capacity(4);
    let mut add = |name: Option<&Name>| {
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name.clone());
        }
    };
    add(before.owner.as_ref());
    add(before.offer.as_ref().map(|offer| &offer.to));
    for event in events {
        event.names().into_iter().for_each(&mut add);
    }
    names
}
