//! Holds a log to the rules, entry by entry: what was recorded could happen, and is what the events before it say.
//!
//! The log's own chain proves that nothing was changed since it was written; this proves that what was written is right.
//! States stay in memory while it goes, of what is closed only the text that the cache would keep of it.

mod cache;
mod recorded;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::mem;
use std::sync::Arc;

use super::base;
use super::command_ids::CommandIds;
use super::core::{ConfigHead, Kept};
use super::fingerprint::of_command_id;
use super::record::Entry;
use super::restore::fold_by;
use super::sizes::PartSizes;
use super::slot::Slot;
use crate::domain::config::ConfigEvent;
use crate::domain::conversation::Status;
use crate::domain::invariants::{check, check_at_rest};
use crate::domain::words::CONFIG_ID;
use crate::domain::{Config, Conversation, ConversationId, Event, Name, Time};
use crate::log::{self, Reader};

/// A log under examination: what it has come to, and what was counted on the way.
#[derive(Default)]
pub struct Audit {
    config: Config,
    known: Known,
    config_head: ConfigHead,
    held: HashMap<ConversationId, Held>,
    tally: Tally,
    sizes: PartSizes,
}

/// What was found in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events, of conversations and of the configuration.
    pub events: u64,
    /// Decisions: entries with events.
    pub decisions: u64,
    /// Activity noted between events.
    pub notes: u64,
    /// Conversations.
    pub conversations: u64,
    /// Sessions of all conversations.
    pub sessions: u64,
    /// Conversations that are not closed now.
    pub open: u64,
    /// Entries of which personal values were erased.
    pub redacted: u64,
}

/// The first thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The frame that it stands in.
    pub frame: u64,
    /// The event; of a note the event after it.
    pub seq: u64,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {}, seq {}: {}", self.frame, self.seq, self.text)
    }
}

/// Names that the configuration knows.
#[derive(Default)]
struct Known {
    integrations: BTreeSet<Name>,
    channels: BTreeSet<Name>,
}

enum Held {
    /// Open, or of a length that a head alone does not hold.
    Whole(Box<Slot>),
    Closed {
        last_frame: u64,
        head: Box<[u8]>,
    },
}

/// What is wrong, and with which event.
type Wrong = (u64, String);

impl Audit {
    /// An examination of a log whose cache was kept in parts of other sizes.
    pub fn of_parts(sizes: PartSizes) -> Audit {
        Audit { sizes, ..Audit::default() }
    }

    /// An examination of a log from where it begins on: what everything was there is believed.
    pub fn begin(reader: &Reader) -> Result<Audit, String> {
        let mut audit = Audit::default();
        base::lines(reader).try_for_each(|lines| lines.and_then(|(key, lines)| audit.take_base(&key, &lines)))?;
        Ok(audit)
    }

    /// Takes in what the lines of a base under one key say.
    pub fn take_base(&mut self, key: &str, lines: &[Vec<u8>]) -> Result<(), String> {
        if key == CONFIG_ID {
            let kept = base::config_of(lines)?;
            self.known.integrations.extend(kept.config.integrations().cloned());
            self.known.channels.extend(kept.config.channels().cloned());
            self.config = Config::clone(&kept.config);
            self.config_head.file = kept.file;
            return Ok(());
        }
        let slot = base::slot(key, lines, self.sizes)?;
        check_at_rest(&slot.c).map_err(|text| format!("conversation {key} where the log begins: {text}"))?;
        self.count(None, &slot.c);
        self.held.insert(slot.c.id.clone(), Held::of(slot));
        Ok(())
    }

    /// Hands over what everything is now, as the log's base keeps it: of the configuration `kept`, of conversations what
    /// was taken in. `now` is the time of the last entry.
    pub fn write_base<E: From<String>>(&self, kept: &Kept, now: Time, take: &mut base::Take<'_, E>) -> Result<(), E> {
        let mut ids: Vec<&ConversationId> = self.held.keys().collect();
        ids.sort_unstable();
        let (before, after) = ids.split_at(ids.partition_point(|id| id.as_str() < CONFIG_ID));
        self.write_some(before, now, take)?;
        base::write_config(kept, take)?;
        self.write_some(after, now, take)
    }

    fn write_some<E: From<String>>(
        &self,
        ids: &[&ConversationId],
        now: Time,
        take: &mut base::Take<'_, E>,
    ) -> Result<(), E> {
        for (id, held) in ids.iter().filter_map(|id| self.held.get_key_value(*id)) {
            held.look(id, self.sizes, |slot| base::write_slot(slot, now, take))??;
        }
        Ok(())
    }

    /// Refuses a base that says something else than what was handed over for it.
    pub fn check_base(&self, base: &Arc<log::Base>, kept: &Kept, now: Time) -> Result<(), String> {
        let (mut count, mut has_config) = (0, false);
        for lines in base::by_key(Some(base)) {
            let (key, lines) = lines?;
            if key == CONFIG_ID {
                base::check_config(kept, &lines)?;
                has_config = true;
                continue;
            }
            let id = ConversationId::parse(&key).map_err(|bad| bad.to_string())?;
            let held = self.held.get(&id).ok_or_else(|| format!("expected no conversation {id}"))?;
            held.look(&id, self.sizes, |slot| base::check_slot(slot, &lines, now, self.sizes))??;
            count += 1;
        }
        let is_whole = has_config && count == self.held.len();
        if is_whole { Ok(()) } else { Err(format!("{count} conversations read back, expected {}", self.held.len())) }
    }

    /// Holds the next entry to the rules, and takes it in. After a finding the audit is over.
    pub fn take(&mut self, frame: u64, entry: &log::Entry) -> Result<(), Finding> {
        let found = |(seq, text)| Finding { frame, seq, text };
        let line = Entry::parse(&entry.line).map_err(|text| found((entry.first_seq, text)))?;
        let taken = recorded::check_entry(&line, entry).and_then(|()| match line.is_config() {
            true => self.take_config(frame, &line),
            false => self.take_conversation(frame, entry, &line),
        });
        taken.map_err(found)?;
        self.tally.events += u64::from(entry.events);
        self.tally.decisions += u64::from(entry.events > 0);
        self.tally.notes += u64::from(line.note.is_some());
        self.tally.redacted += u64::from(entry.is_redacted());
        Ok(())
    }

    /// What was counted.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn take_config(&mut self, frame: u64, line: &Entry<'_>) -> Result<(), Wrong> {
        for at in 0..line.events.len() {
            let wrong = |text| (line.seq + at as u64, text);
            let event = line.fold_config_event(at, &mut self.config).map_err(wrong)?;
            self.known.take(&event).map_err(wrong)?;
            recorded::check_config(line, at, &self.config).map_err(wrong)?;
        }
        if self.config_head.frames.last() != Some(&frame) {
            self.config_head.frames.push(frame);
        }
        if line.file.is_some() {
            self.config_head.file.clone_from(&line.file);
        }
        Ok(())
    }

    fn take_conversation(&mut self, frame: u64, entry: &log::Entry, line: &Entry<'_>) -> Result<(), Wrong> {
        let wrong = |text| (line.seq, text);
        let id = ConversationId::parse(&line.conversation).map_err(|bad| wrong(bad.to_string()))?;
        let slot = self.held.remove(&id).map(|held| held.slot(&id, self.sizes)).transpose().map_err(wrong)?;
        if let Some(slot) = &slot {
            check_command_id(slot, line).map_err(wrong)?;
        }
        let before = slot.as_ref().map(|slot| (slot.c.session, slot.c.status));
        let config = &self.config;
        let slot = fold_by(slot, line, self.sizes, |state| hold_to_rules(state, line, entry, config))?;
        let mut slot = slot.ok_or_else(|| wrong(format!("a note of {id}, which has not begun")))?;
        slot.is_in_frame(frame, self.sizes);
        self.count(before, &slot.c);
        self.held.insert(id, Held::of(slot));
        Ok(())
    }

    fn count(&mut self, before: Option<(u32, Status)>, after: &Conversation) {
        let (session, status) = before.unwrap_or((0, Status::Closed));
        self.tally.conversations += u64::from(before.is_none());
        self.tally.sessions += u64::from(after.session - session);
        match (status == Status::Closed, after.status == Status::Closed) {
            (true, false) => self.tally.open += 1,
            (false, true) => self.tally.open -= 1,
            _ => {}
        }
    }
}

impl Held {
    fn of(slot: Slot) -> Held {
        match slot.c.status {
            Status::Closed if slot.is_its_head() => Held::Closed {
                last_frame: slot.frames.last().copied().unwrap_or(0),
                head: slot.to_head().into_boxed_slice(),
            },
            _ => Held::Whole(Box::new(slot)),
        }
    }

    fn slot(self, id: &ConversationId, sizes: PartSizes) -> Result<Slot, String> {
        match self {
            Held::Whole(slot) => Ok(*slot),
            Held::Closed { head, .. } => of_head(id, &head, sizes),
        }
    }

    fn look<T>(&self, id: &ConversationId, sizes: PartSizes, look: impl FnOnce(&Slot) -> T) -> Result<T, String> {
        match self {
            Held::Whole(slot) => Ok(look(slot)),
            Held::Closed { head, .. } => of_head(id, head, sizes).map(|slot| look(&slot)),
        }
    }
}

fn of_head(id: &ConversationId, head: &[u8], sizes: PartSizes) -> Result<Slot, String> {
    Slot::from_head(id, head, sizes, |part, number| Err(format!("{part:?} {number} of a short conversation")))
}

impl Known {
    /// Whether the event fits the names that are known before it.
    fn take(&mut self, event: &ConfigEvent) -> Result<(), String> {
        let (fits, name) = match event {
            ConfigEvent::SettingsChanged(_) => return Ok(()),
            ConfigEvent::IntegrationRegistered(i) => (self.integrations.insert(i.name.clone()), &i.name),
            ConfigEvent::IntegrationChanged(i) => (self.integrations.contains(&i.name), &i.name),
            ConfigEvent::IntegrationRemoved { name } => (self.integrations.remove(name), name),
            ConfigEvent::ChannelRegistered(c) => (self.channels.insert(c.name.clone()), &c.name),
            ConfigEvent::ChannelChanged(c) => (self.channels.contains(&c.name), &c.name),
            ConfigEvent::ChannelRemoved { name } => (self.channels.remove(name), name),
        };
        let is_new = matches!(event, ConfigEvent::IntegrationRegistered(_) | ConfigEvent::ChannelRegistered(_));
        let found = if is_new { "was registered before" } else { "is not registered" };
        if fits { Ok(()) } else { Err(format!("I3: {} of {name}, which {found}", event.full_name())) }
    }
}

/// I7: what a command id decided is not decided again while it is remembered.
fn check_command_id(slot: &Slot, line: &Entry<'_>) -> Result<(), String> {
    let (Some(by), Some(command)) = (&line.by, &line.command) else { return Ok(()) };
    let Some(id) = command.id.as_ref().filter(|_| !line.events.is_empty()) else { return Ok(()) };
    let key = of_command_id(by, &line.conversation, id);
    let closed_at: Option<Time> = slot.c.closed.as_ref().map(|closed| closed.at);
    let ids: &CommandIds = &slot.ids;
    match ids.find(key, slot.c.session, closed_at, line.at) {
        Some(decided) => Err(format!("I7: command id {id:?} decided already at seq {}", decided.first_seq)),
        None => Ok(()),
    }
}

/// Folds the line's events in one by one, each held to the invariants and against what was recorded of it.
fn hold_to_rules(
    state: &mut Option<Conversation>,
    line: &Entry<'_>,
    entry: &log::Entry,
    config: &Config,
) -> Result<(), Wrong> {
    line.fold_note(state);
    for at in 0..line.events.len() {
        let wrong = |text| (line.seq + at as u64, text);
        let before = state.clone();
        let event: Event = line.fold_event(at, state).map_err(wrong)?;
        let Some(after) = state.as_ref() else { continue };
        check(before.as_ref(), &event, after).map_err(wrong)?;
        recorded::check_event(line, at, &event, after, entry.is_redacted(), config).map_err(wrong)?;
    }
    match state.as_ref().filter(|_| !line.events.is_empty()) {
        Some(c) => check_at_rest(c).map_err(|text| (line.seq + line.events.len() as u64 - 1, text)),
        None => Ok(()),
    }
}

/// About what a closed conversation takes while the log is examined, besides its text.
const _: () = assert!(mem::size_of::<Held>() <= 32, "a closed conversation is held in little more than its text");
