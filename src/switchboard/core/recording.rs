//! Recording a decision: events are folded into the state, written as a line, and put into the group.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Core;
use super::save::Saving;
use super::timing::schedule;
use crate::domain::conversation::{Note, Stamp, evolve};
use crate::domain::event::Event;
use crate::domain::timers;
use crate::domain::{Conversation, ConversationId, Name, Text, Time};
use crate::log::Draft;
use crate::switchboard::group::log_name;
use crate::switchboard::line::Line;
use crate::switchboard::port::{Inbox, Recorded};
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
        let mut writer = record::Writer::begin(self.sheets.line(), seq, id.as_str(), cause);
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
        let (line, recorded) = writer.finish();
        if let (true, Some(closed_at)) = (c.session != session, closed_at) {
            slot.ids.session_began(session, closed_at, cause.at, self.limits.parts.page_items);
        }
        self.next_seq += events.len() as u64;
        slot.marks.pass(&slot.c, self.next_seq, self.limits.parts.mark_entries);
        self.last_at = cause.at;
        self.counts.count(&slot.c, status);
        remember(slot, events, cause, seq, self.limits.parts.page_items);
        changed(slot, self.group.number, &mut self.saving);
        schedule(&mut self.timers, slot, &config, self.ready_since, cause.at);
        self.push_draft(Some(id), version, seq, events.len() as u32, cause.at, line);
        self.group.push_recorded(Recorded {
            conversation: id.text(),
            channel: Some(channel.clone()),
            at: cause.at,
            traceparent: cause.traceparent.cloned(),
            inbox,
            standby,
            line: Bytes::new(),
            events: recorded,
            hash: [0; 32],
        });
    }

    /// Records activity of which no event tells.
    pub(super) fn note(&mut self, id: &ConversationId, note: &Note, now: Time) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.c.note(note);
        slot.marks.pass(&slot.c, self.next_seq, self.limits.parts.mark_entries);
        changed(slot, self.group.number, &mut self.saving);
        let version = slot.c.version;
        self.last_at = now;
        let line = record::note_line(self.sheets.line(), self.next_seq, now, id, note);
        self.push_draft(Some(id), version, self.next_seq, 0, now, line);
    }

    /// Puts a line into the group.
    pub(super) fn push_draft(
        &mut self,
        id: Option<&ConversationId>,
        version: u64,
        first_seq: u64,
        events: u32,
        at: Time,
        line: Line,
    ) {
        let conversation = log_name(id);
        let personal = SmallVec::from(line.spans());
        let line = self.sheets.keep(line);
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
}

/// What the switchboard knows of a conversation's end user at the moment of a decision.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub user: Option<Text>,
    pub activity_at: Time,
    pub last_message_id: Option<Text>,
}

fn remember(slot: &mut Slot, events: &[Event], cause: &Cause<'_>, seq: u64, page_items: u64) {
    let Some(key) = cause.key else { return };
    let kinds = events.iter().map(Event::kind);
    let command = (key, cause.digest.unwrap_or_default());
    slot.ids.remember(command, slot.c.session, seq, kinds, page_items);
}

fn changed(slot: &mut Slot, in_group: u64, saving: &mut Saving) {
    slot.in_group = in_group;
    if !slot.is_dirty {
        slot.is_dirty = true;
        saving.changed(slot.c.id.clone());
    }
}

/// Whoever held control or was offered it before, during or after.
fn concerned(before: &Conversation, events: &[Event]) -> Inbox {
    let mut names = Inbox::new();
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
