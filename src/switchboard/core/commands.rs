//! One command: what is due before it, whether it is a repeat, what it comes to, and what is told of it.

use std::sync::Arc;

use super::Core;
use super::recording::Live;
use super::timing::schedule;
use crate::domain::command::{ChannelCommand, Due, Expected};
use crate::domain::conversation::{Note, Status};
use crate::domain::decide::{Scene, Verdict, check_caller, decide, is_orphaned};
use crate::domain::{By, Command, Config, Conversation, ConversationId, Event, Name, Refusal, Role, Text, Time};
use crate::switchboard::answer::{self, Applied, Facts};
use crate::switchboard::command_ids::Decided;
use crate::switchboard::fingerprint::{Identity, of_command_id};
use crate::switchboard::line::Line;
use crate::switchboard::port::{Answer, CommandAsk, Direction, Effect, Rejection, Relay};
use crate::switchboard::record::Cause;
use crate::switchboard::slot::Slot;

impl Core {
    /// Decides one command of a caller.
    pub(super) fn command(&mut self, by: By, ask: Box<CommandAsk>, reply: Option<Text>, now: Time) {
        let is_awake = match self.wake(&ask.id) {
            Ok(is_awake) => is_awake,
            Err(error) => return self.archive_failed(by, reply, &error),
        };
        if self.is_storage_full() {
            return self.reject(by, &ask, reply, Refusal::StorageFull, now);
        }
        if let Err(refusal) = check_caller(&by, self.config()) {
            return self.reject(by, &ask, reply, refusal, now);
        }
        if !is_awake && let Err(error) = self.fetch(&ask.id) {
            return self.archive_failed(by, reply, &error);
        }
        self.settle(&ask.id, now);
        let identity = self.identity(&by, &ask);
        let slot = self.slots.get(&ask.id).map(Box::as_ref);
        match identity.and_then(|identity| Some((identity, repeated(slot?, identity, now)?))) {
            Some((identity, decided)) if decided.digest == identity.digest => {
                return self.replay(by, &ask, identity, &decided, reply, now);
            }
            Some(_) => {
                let is_beyond = |judged: &_| matches!(judged, Err(Refusal::LimitReached { .. }));
                let judged = Some(self.judge(&by, &ask, slot, now)).filter(is_beyond);
                let refusal = judged.and_then(Result::err).unwrap_or(Refusal::CommandIdReused);
                return self.reject(by, &ask, reply, refusal, now);
            }
            None => {}
        }
        match self.judge(&by, &ask, slot, now) {
            Err(refusal) => self.reject(by, &ask, reply, refusal, now),
            Ok(verdict) => self.carry_out(by, &ask, verdict, identity, reply, now),
        }
    }

    /// Decides what comes before a command of this conversation: what was removed, and what is due.
    pub(super) fn settle(&mut self, id: &ConversationId, now: Time) {
        let Some(slot) = self.slots.get(id) else { return };
        let (is_orphaned, is_due) = (is_orphaned(&slot.c, &self.config.config), self.due_now(slot, now).is_some());
        if is_orphaned {
            self.fall_due(id, Due::Removal, now);
        }
        if !is_orphaned && !is_due {
            return;
        }
        while let Some(due) = self.slots.get(id).and_then(|slot| self.due_now(slot, now)) {
            if !self.fall_due(id, due, now) {
                return;
            }
        }
    }

    /// Decides what nobody asked for; false where there was nothing to do.
    pub(super) fn fall_due(&mut self, id: &ConversationId, due: Due, now: Time) -> bool {
        let Some(slot) = self.slots.get(id) else { return false };
        let by = if due == Due::Removal { By::config() } else { By::timer() };
        let config = Arc::clone(&self.config.config);
        let last_message_id = slot.last_message_id.clone();
        let scene = Scene {
            id,
            by: &by,
            now,
            config: &config,
            last_message_id: last_message_id.as_ref(),
            open_conversations: 0,
        };
        let verdict = decide(Some(&slot.c), &Command::Due(due), Expected::default(), &scene);
        let Ok(Verdict::Applied(events)) = verdict else { return false };
        let live = Live { user: slot.c.user.clone(), activity_at: slot.activity.at, last_message_id };
        let channel = slot.c.channel.clone();
        let cause = Cause {
            by: &by,
            at: now,
            verb: due.verb(),
            command_id: None,
            key: None,
            digest: None,
            body: None,
            traceparent: None,
        };
        self.record(id, &channel, &events, &cause, &live);
        true
    }

    fn identity(&self, by: &By, ask: &CommandAsk) -> Option<Identity> {
        let key = of_command_id(by, ask.id.as_str(), ask.command_id.as_ref()?);
        Some(Identity { key, digest: self.secret.of_body(ask.command.verb(), ask.body.canonical()) })
    }

    fn judge(&self, by: &By, ask: &CommandAsk, slot: Option<&Slot>, now: Time) -> Result<Verdict, Refusal> {
        let open_conversations = match (&by.name, ask.command.may_begin()) {
            (Some(channel), true) => self.counts.open_of(channel),
            _ => 0,
        };
        let scene = Scene {
            id: &ask.id,
            by,
            now,
            config: &self.config.config,
            last_message_id: slot.and_then(|slot| slot.last_message_id.as_ref()),
            open_conversations,
        };
        decide(slot.map(|slot| &slot.c), &ask.command, ask.expected, &scene)
    }

    fn carry_out(
        &mut self,
        by: By,
        ask: &CommandAsk,
        verdict: Verdict,
        identity: Option<Identity>,
        reply: Option<Text>,
        now: Time,
    ) {
        let (is_applied, events) = match verdict {
            Verdict::Applied(events) => (true, events),
            Verdict::Unchanged => (false, Vec::new()),
        };
        let slot = self.slots.get(&ask.id).map(Box::as_ref);
        let is_sign_of_life = is_sign_of_life(ask, slot, is_applied);
        let starts_over = events.iter().any(|event| matches!(event, Event::Started(_)));
        let live = live(ask, slot, is_sign_of_life, starts_over, now);
        let first_seq = self.next_seq;
        if events.is_empty() {
            if is_sign_of_life {
                self.note_if_due(&ask.id, &live, ask.command.user(), now);
            }
        } else {
            let channel = match (slot, &by.name) {
                (Some(slot), _) => slot.c.channel.clone(),
                (None, Some(name)) => name.clone(),
                (None, None) => return,
            };
            let cause = Cause {
                by: &by,
                at: now,
                verb: ask.command.verb(),
                command_id: ask.command_id.as_ref(),
                key: identity.map(|identity| identity.key),
                digest: identity.map(|identity| identity.digest),
                body: Some(&ask.body),
                traceparent: ask.traceparent.as_ref(),
            };
            self.record(&ask.id, &channel, &events, &cause, &live);
        }
        self.keep_live(&ask.id, &live, is_sign_of_life);
        let relayed_to =
            ask.command.is_message().then(|| if is_applied { self.relay(&by, ask, identity, now) } else { None });
        let applied = Applied {
            is_applied,
            is_replayed: false,
            relayed_to: relayed_to.as_ref().map(Option::as_ref),
            events: (first_seq..).zip(events.iter().map(|event| event.kind().full_name())).collect(),
        };
        self.tell(by, &ask.id, &applied, reply);
    }

    fn note_if_due(&mut self, id: &ConversationId, live: &Live, user: Option<&Text>, now: Time) {
        let Some(slot) = self.slots.get(id) else { return };
        if self.is_to_be_noted(slot, user, now) {
            let note = Note {
                user: live.user.clone(),
                last_activity_at: live.activity_at,
                last_message_id: live.last_message_id.clone(),
            };
            self.note(id, &note, now);
        }
    }

    fn keep_live(&mut self, id: &ConversationId, live: &Live, is_sign_of_life: bool) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.c.status == Status::Closed && !is_sign_of_life {
            return;
        }
        slot.last_message_id.clone_from(&live.last_message_id);
        if is_sign_of_life {
            slot.activity.at = live.activity_at;
            slot.activity.may_be_later = false;
            // Nothing is unknown any more: what is due may be due sooner than it seemed.
            schedule(&mut self.timers, slot, &self.config.config, self.ready_since, live.activity_at);
        }
    }

    /// Passes the words of a message on, fenced by control: to the owner of now, or from it.
    fn relay(&mut self, by: &By, ask: &CommandAsk, identity: Option<Identity>, now: Time) -> Option<Name> {
        let content = ask.content.as_ref()?;
        let c = &self.slots.get(&ask.id)?.c;
        let (direction, to) = match by.role {
            Role::Channel => (Direction::Received, c.owner.clone()?),
            _ => (Direction::Sent, c.channel.clone()),
        };
        let is_aside = |name: &&Name| c.owner.as_ref() != Some(*name);
        let standby = self.config.config.standbys().filter(is_aside).cloned().collect();
        let data = relay_data(self.sheets.line(), by, ask, c, content.get());
        let relay = Relay {
            direction,
            conversation: ask.id.clone(),
            to: to.clone(),
            standby,
            fingerprint: identity.map(|identity| identity.key),
            at: now,
            traceparent: ask.traceparent.clone(),
            data: self.sheets.keep(data),
        };
        self.group.push(Effect::Relay(relay));
        Some(to)
    }

    /// Answers a repeat as it was answered first, with the conversation as it is now.
    fn replay(
        &mut self,
        by: By,
        ask: &CommandAsk,
        identity: Identity,
        decided: &Decided,
        reply: Option<Text>,
        now: Time,
    ) {
        let is_message = matches!(ask.command, Command::Channel(ChannelCommand::Message { .. }));
        let relayed_to = is_message.then(|| self.relay(&by, ask, Some(identity), now));
        let applied = Applied {
            is_applied: true,
            is_replayed: true,
            relayed_to: relayed_to.as_ref().map(Option::as_ref),
            events: decided.events().map(|(seq, kind)| (seq, kind.full_name())).collect(),
        };
        self.tell(by, &ask.id, &applied, reply);
    }

    fn tell(&mut self, by: By, id: &ConversationId, applied: &Applied<'_>, reply: Option<Text>) {
        if reply.is_none() {
            return;
        }
        let line = self.sheets.line();
        let Some(slot) = self.slots.get(id) else { return };
        let was_done_now = applied.is_applied && !applied.is_replayed;
        let view = match was_done_now {
            true => answer::View::Whole(self.config.config.settings(&slot.c.channel)),
            false => self.view(&by, &slot.c),
        };
        let body = answer::command(line, applied, &slot.c, view);
        let body = self.sheets.keep(body);
        self.answer(by, reply, body);
    }

    fn reject(&mut self, by: By, ask: &CommandAsk, reply: Option<Text>, refusal: Refusal, now: Time) {
        let slot = self.slots.get(&ask.id).filter(|slot| may_hear(&by, &slot.c, self.config()));
        let conversation = slot.map(|slot| &slot.c);
        let facts = Facts { conversation, expected: Some(ask.expected), config_version: None };
        let verb = ask.command.verb();
        let body = reply.as_ref().map(|_| answer::error_body(&refusal, &facts));
        if !refusal.is_only_counted() {
            let id = ask.command_id.as_ref();
            let body = answer::rejection(now, &by, verb, ask.id.as_str(), id, &refusal, &facts);
            self.group.push(Effect::Rejection(Rejection { conversation: ask.id.text(), verb, body }));
        }
        if let (Some(to), Some(body)) = (reply, body) {
            self.group.push(Effect::Answer(Answer { to, by, body: body.into(), refusal: Some(refusal) }));
        }
    }
}

fn repeated(slot: &Slot, identity: Identity, now: Time) -> Option<Decided> {
    slot.ids.find(identity.key, slot.c.session, slot.c.closed.as_ref().map(|closed| closed.at), now).copied()
}

/// Whether the end user showed up: a `start` does it too, where the conversation is open.
fn is_sign_of_life(ask: &CommandAsk, slot: Option<&Slot>, is_applied: bool) -> bool {
    let is_open = slot.is_none_or(|slot| slot.c.status != Status::Closed);
    ask.command.may_begin() && (is_applied || is_open)
}

fn live(ask: &CommandAsk, slot: Option<&Slot>, is_sign_of_life: bool, starts_over: bool, now: Time) -> Live {
    let known = slot.filter(|_| !starts_over);
    let said = ask.command.last_message_id();
    Live {
        user: ask.command.user().or(slot.and_then(|slot| slot.c.user.as_ref())).cloned(),
        activity_at: if is_sign_of_life { now } else { slot.map_or(now, |slot| slot.activity.at) },
        last_message_id: said.or(known.and_then(|slot| slot.last_message_id.as_ref())).cloned(),
    }
}

/// Whether a refusal may tell the caller of the conversation: not a channel to which it does not belong, nor an
/// integration that is not configured.
fn may_hear(by: &By, c: &Conversation, config: &Config) -> bool {
    match (by.role, &by.name) {
        (Role::Channel, name) => name.as_ref() == Some(&c.channel),
        (Role::Integration, Some(name)) => config.enabled(name).is_some(),
        _ => true,
    }
}

fn relay_data(line: Line, by: &By, ask: &CommandAsk, c: &Conversation, content: &str) -> Line {
    let mut line = line.for_sending();
    line.open();
    line.field("epoch", &c.epoch);
    line.field("session", &c.session);
    line.by("by", by);
    line.field("message_id", &ask.command.last_message_id());
    line.field("user", &c.user);
    line.field("sent_at", &ask.sent_at);
    line.key("content");
    line.raw(content.as_bytes());
    line.close();
    line
}
