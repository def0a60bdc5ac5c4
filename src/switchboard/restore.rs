//! A start: the states that the cache keeps, and the tail of the log on top of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::base;
use super::core::{ConfigHead, Kept, Restored, Save};
use super::fingerprint::of_command_id;
use super::head;
use super::past::config_now;
use super::record::Entry;
use super::rest::Rest;
use super::sizes::PartSizes;
use super::slot::Slot;
use crate::domain::conversation::Status;
use crate::domain::words::CONFIG_ID;
use crate::domain::{Conversation, ConversationId, Text, Time};
use crate::log::{self, Cache, Part, Place, Reader};

/// Conversations kept in memory before they are handed to the cache, while a long log is read.
const CHANGED_MAX: usize = 100_000;

/// Reads what the switchboard was when it stopped. `through` is the frame up to which the cache holds everything.
/// `progress` hears the number of each frame read.
pub fn restore(
    reader: &Reader,
    cache: &Cache,
    through: Option<u64>,
    progress: impl FnMut(u64),
) -> Result<Restored, String> {
    restore_in_parts(reader, cache, through, CHANGED_MAX, PartSizes::default(), progress)
}

/// The same with another bound on the conversations in memory that are not yet handed to the cache, and other sizes.
pub fn restore_in_parts(
    reader: &Reader,
    cache: &Cache,
    through: Option<u64>,
    changed_max: usize,
    sizes: PartSizes,
    mut progress: impl FnMut(u64),
) -> Result<Restored, String> {
    let head = reader.head();
    let mut tail = Tail {
        cache,
        sizes,
        resting: BTreeMap::new(),
        slots: HashMap::new(),
        config: base::config(reader)?,
        config_cached_through: 0,
        changed: 0,
    };
    match through {
        Some(_) => tail.read_cache(reader)?,
        None => tail.read_base(reader, changed_max)?,
    }
    for frame in reader.frames(through.unwrap_or(0) + 1) {
        let frame = frame.map_err(|fault| fault.to_string())?;
        for entry in &frame.entries {
            tail.take(frame.header.frame, entry)?;
        }
        if tail.changed >= changed_max {
            tail.keep_closed(Some(frame.header.frame), reader)?;
        }
        progress(frame.header.frame);
    }
    Ok(Restored {
        config: tail.config,
        resting: tail.resting,
        slots: tail.slots.into_values().collect(),
        next_seq: head.next_seq,
        last_at: Time(head.last_at),
        durable_frame: head.frames,
    })
}

struct Tail<'a> {
    cache: &'a Cache,
    sizes: PartSizes,
    /// What is as the cache has it.
    resting: BTreeMap<ConversationId, Option<Rest>>,
    slots: HashMap<ConversationId, Slot>,
    config: Kept,
    /// The last frame whose entries of the configuration the cache knew of.
    config_cached_through: u64,
    /// Conversations that are not as the cache has them.
    changed: usize,
}

impl Tail<'_> {
    fn read_cache(&mut self, reader: &Reader) -> Result<(), String> {
        let mut resting = Vec::new();
        for found in self.cache.scan_open() {
            let (id, head) = found.map_err(|error| error.to_string())?;
            if id == CONFIG_ID {
                let head: ConfigHead = serde_json::from_slice(&head).map_err(|error| error.to_string())?;
                self.config.config = Arc::new(config_now(reader, &head.frames)?);
                self.config.file = head.file;
                for frame in &head.frames {
                    self.remember_puts(reader, *frame)?;
                }
                self.config_cached_through = head.frames.last().copied().unwrap_or(0);
                self.config.frames = head.frames;
                continue;
            }
            let id = ConversationId::parse(&id).map_err(|bad| bad.to_string())?;
            head::glance(&head)?;
            if head::has_parts(&head) {
                let slot = read_slot(self.cache, self.sizes, &id, &head)?;
                self.slots.insert(id, slot);
            } else {
                resting.push((id, Some(Rest::found(&head))));
            }
        }
        // At once, and in order, so that the map is as small as may be.
        self.resting = resting.into_iter().collect();
        Ok(())
    }

    /// What everything was where the log begins. The cache has come nowhere before it has all of it.
    fn read_base(&mut self, reader: &Reader, changed_max: usize) -> Result<(), String> {
        for slot in base::slots(reader, self.sizes) {
            let slot = slot?;
            self.slots.insert(slot.c.id.clone(), slot);
            self.changed += 1;
            if self.changed >= changed_max {
                self.keep_closed(None, reader)?;
            }
        }
        Ok(())
    }

    fn remember_puts(&mut self, reader: &Reader, frame: u64) -> Result<(), String> {
        let Some(frame) = reader.frame(frame).map_err(|fault| fault.to_string())? else { return Ok(()) };
        for entry in &frame.entries {
            let line = Entry::parse(&entry.line)?;
            if line.is_config() {
                remember_put(&mut self.config, &line)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, frame: u64, entry: &log::Entry) -> Result<(), String> {
        let line = Entry::parse(&entry.line)?;
        if line.is_config() {
            return self.take_config(frame, &line);
        }
        let id = ConversationId::parse(&line.conversation).map_err(|bad| bad.to_string())?;
        let slot = match self.slots.remove(&id) {
            Some(slot) => Some(slot),
            None => self.known(&id)?,
        };
        // The cache may be newer than the frame up to which it is whole.
        if slot.as_ref().is_some_and(|slot| {
            slot.frames.last() > Some(&frame) || (slot.frames.last() == Some(&frame) && !slot.is_dirty)
        }) {
            self.slots.extend(slot.map(|slot| (id, slot)));
            return Ok(());
        }
        let was_dirty = slot.as_ref().is_some_and(|slot| slot.is_dirty);
        let slot = fold_by(slot, &line, self.sizes, |state| line.fold(state))?;
        if let Some(mut slot) = slot {
            slot.is_in_frame(frame, self.sizes);
            // A mark takes as much room as a conversation.
            let is_marked = slot.marks.entries().is_multiple_of(self.sizes.mark_entries);
            self.changed += usize::from(!was_dirty) + usize::from(is_marked);
            slot.is_dirty = true;
            self.slots.insert(id, slot);
        }
        Ok(())
    }

    /// A conversation as the cache has it.
    fn known(&mut self, id: &ConversationId) -> Result<Option<Slot>, String> {
        if let Some(rest) = self.resting.remove(id).flatten() {
            return rest.awake(id, self.sizes, |part, number| read_part(self.cache, id, part, number)).map(Some);
        }
        // All that are open as the cache has it are in memory.
        let found = self.cache.closed(id.as_str()).map_err(|error| error.to_string())?;
        found.map(|head| read_slot(self.cache, self.sizes, id, &head)).transpose()
    }

    fn take_config(&mut self, frame: u64, line: &Entry<'_>) -> Result<(), String> {
        // As with conversations: the cache may be newer than the frame up to which it is whole.
        if frame <= self.config_cached_through {
            return Ok(());
        }
        base::fold_config(&mut self.config, line)?;
        self.config.is_in_frame(frame);
        Ok(())
    }

    /// Lets closed conversations go to the cache, so that memory holds what is open and not what ever was.
    fn keep_closed(&mut self, through: Option<u64>, reader: &Reader) -> Result<(), String> {
        let mut save = Save { through: through.unwrap_or_default(), ..Save::default() };
        for slot in self.slots.values_mut().filter(|slot| slot.is_dirty) {
            save.take(slot);
        }
        save.states.push((CONFIG_ID.into(), Place::Open, self.config.to_head()));
        match through {
            Some(_) => keep(self.cache, &save, reader)?,
            None => keep_states(self.cache, &save)?,
        }
        let resting = &mut self.resting;
        self.slots.retain(|id, slot| {
            let is_open = slot.c.status != Status::Closed;
            if is_open && slot.is_its_head() {
                resting.insert(id.clone(), Some(Rest::of(slot)));
            }
            is_open && !slot.is_its_head()
        });
        self.changed = 0;
        Ok(())
    }
}

/// Puts states into the cache, and notes how far it has come. The last time before a stop nothing more is done than putting
/// in itself asks for: what is out of date there is little beside what rewriting all of it, and bringing that onto stable
/// storage, would take.
pub fn keep(cache: &Cache, save: &Save, reader: &Reader) -> Result<(), String> {
    keep_states(cache, save)?;
    cache.put(std::iter::empty(), save.through, reader).map_err(|error| error.to_string())?;
    if save.is_last { Ok(()) } else { cache.tidy().map_err(|error| error.to_string()) }
}

fn keep_states(cache: &Cache, save: &Save) -> Result<(), String> {
    let parts = save.parts.iter().map(|(id, part, number, bytes)| (id.as_ref(), *part, *number, bytes.as_slice()));
    cache.put_parts(parts).map_err(|error| error.to_string())?;
    // Neighbours stand on one page of the database: in order, it is read and written once for all of them.
    let mut states: Vec<&(Text, Place, Vec<u8>)> = save.states.iter().collect();
    states.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let states = states.into_iter().map(|(id, place, head)| (id.as_ref(), *place, head.as_slice()));
    cache.put_states(states).map_err(|error| error.to_string())
}

fn read_slot(cache: &Cache, sizes: PartSizes, id: &ConversationId, head: &[u8]) -> Result<Slot, String> {
    Slot::from_head(id, head, sizes, |part, number| read_part(cache, id, part, number))
}

fn read_part(cache: &Cache, id: &ConversationId, part: Part, number: u64) -> Result<Vec<u8>, String> {
    let found = cache.part(id.as_str(), part, number).map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("{part:?} {number} of conversation {id} is not in the cache"))
}

/// What a line makes of a conversation, as `fold` folds it in, and of what is kept beside it.
pub(super) fn fold_by<E>(
    slot: Option<Slot>,
    line: &Entry<'_>,
    sizes: PartSizes,
    fold: impl FnOnce(&mut Option<Conversation>) -> Result<(), E>,
) -> Result<Option<Slot>, E> {
    let (mut state, rest) = match slot {
        Some(slot) => {
            let (c, rest) = slot.split();
            (Some(c), Some(rest))
        }
        None => (None, None),
    };
    let before = state.as_ref().map(|c| (c.session, c.closed.as_ref().map(|closed| closed.at)));
    fold(&mut state)?;
    let Some(c) = state else { return Ok(None) };
    let mut slot = Slot::restored(c, rest);
    slot.marks.pass(&slot.c, line.seq + line.events.len() as u64, sizes.mark_entries);
    if let Some((session, Some(closed_at))) = before
        && slot.c.session != session
    {
        slot.ids.session_began(session, closed_at, line.at, sizes.page_items);
    }
    if let (Some(by), Some(command)) = (&line.by, &line.command)
        && let (Some(id), false) = (&command.id, line.events.is_empty())
    {
        let key = of_command_id(by, &line.conversation, id);
        let command = (key, line.digest().unwrap_or_default());
        slot.ids.remember(command, slot.c.session, line.seq, line.kinds(), sizes.page_items);
    }
    Ok(Some(slot))
}

pub(super) fn remember_put(kept: &mut Kept, line: &Entry<'_>) -> Result<(), String> {
    let (Some(by), Some(command)) = (&line.by, &line.command) else { return Ok(()) };
    let Some(id) = command.id.as_ref().filter(|_| !line.events.is_empty()) else { return Ok(()) };
    let key = of_command_id(by, CONFIG_ID, id);
    kept.remember(key, line.digest().unwrap_or_default(), line.names()?);
    Ok(())
}
