//! The cache against the log: what a start would believe must be what the events say.

use std::collections::HashSet;

use serde_json::Value;

use super::{Audit, Held};
use crate::domain::ConversationId;
use crate::domain::conversation::Status;
use crate::domain::words::CONFIG_ID;
use crate::log::{Cache, LogError, Place};
use crate::switchboard::core::ConfigHead;
use crate::switchboard::head::shown;

impl Audit {
    /// Holds the cache, which has come to that frame, against what the log has come to; says how many states are
    /// the same. Those that changed after that frame are passed over: a start reads them from the log.
    pub fn check_cache(&self, cache: &Cache, through: u64) -> Result<u64, String> {
        let mut same = 0;
        let mut is_config_there = false;
        let closed = cache.closed_after(None, usize::MAX).map(|found| (Place::Closed, found));
        for (place, found) in cache.scan_open().map(|found| (Place::Open, found)).chain(closed) {
            let (id, head) = found.map_err(|error: LogError| error.to_string())?;
            if id == CONFIG_ID {
                is_config_there = true;
                self.check_cached_config(&head, through)?;
            } else {
                same += u64::from(self.check_cached(&id, place, &head, through)?);
                self.check_parts(cache, &id, through)?;
            }
        }
        let expected = self.held.values().filter(|held| held.last_frame() <= through).count() as u64;
        let is_config_due = self.config_head.frames.first().is_some_and(|first| *first <= through);
        if is_config_due && !is_config_there {
            return Err("the configuration is not in the cache".into());
        }
        if same != expected {
            return Err(self.missing(cache, through)?);
        }
        Ok(same)
    }

    /// Whether the state was to be held against the log; a fault where it differs.
    fn check_cached(&self, id: &str, place: Place, head: &[u8], through: u64) -> Result<bool, String> {
        let held = ConversationId::parse(id).ok().and_then(|id| self.held.get_key_value(&id));
        let (id, held) = held.ok_or_else(|| format!("conversation {id} is in the cache, and not in the log"))?;
        if held.last_frame() > through {
            return Ok(false);
        }
        if place != held.place() {
            // One that was opened again: a start goes by what is open.
            if place == Place::Closed {
                return Ok(false);
            }
            return Err(format!("conversation {id} stands in the cache as {place:?}, the log says {:?}", held.place()));
        }
        let folded = held.head();
        if *folded != *head {
            return Err(format!("conversation {id} differs in the cache: {}", difference(id, head, &folded)));
        }
        Ok(true)
    }

    /// What is kept of a long conversation beside its state.
    fn check_parts(&self, cache: &Cache, id: &str, through: u64) -> Result<(), String> {
        let held = ConversationId::parse(id).ok().and_then(|id| self.held.get(&id));
        let Some(Held::Whole(slot)) = held.filter(|held| held.last_frame() <= through) else { return Ok(()) };
        for (part, number, expected) in slot.parts() {
            let found = cache.part(id, part, number).map_err(|error| error.to_string())?;
            if found.as_ref() != Some(&expected) {
                let what = if found.is_some() { "differs" } else { "is missing" };
                return Err(format!("{part:?} {number} of conversation {id} {what} in the cache"));
            }
        }
        Ok(())
    }

    fn check_cached_config(&self, head: &[u8], through: u64) -> Result<(), String> {
        let cached: ConfigHead =
            serde_json::from_slice(head).map_err(|error| format!("the cached configuration does not read: {error}"))?;
        if self.config_head.frames.last().is_some_and(|last| *last > through) {
            return Ok(());
        }
        match cached.frames == self.config_head.frames && cached.file == self.config_head.file {
            true => Ok(()),
            false => Err("the configuration in the cache is not that of the log".into()),
        }
    }

    fn missing(&self, cache: &Cache, through: u64) -> Result<String, String> {
        let open: Result<HashSet<String>, LogError> = cache.scan_open().map(|found| Ok(found?.0)).collect();
        let open = open.map_err(|error| error.to_string())?;
        for (id, held) in self.held.iter().filter(|(_, held)| held.last_frame() <= through) {
            let is_there = match held.place() {
                Place::Open => open.contains(id.as_str()),
                Place::Closed => cache.closed(id.as_str()).map_err(|error| error.to_string())?.is_some(),
            };
            if !is_there {
                return Ok(format!("conversation {id} is not in the cache"));
            }
        }
        Ok("a conversation stands twice in the cache".into())
    }
}

impl Held {
    fn last_frame(&self) -> u64 {
        match self {
            Held::Whole(slot) => slot.frames.last().copied().unwrap_or(0),
            Held::Closed { last_frame, .. } => *last_frame,
        }
    }

    fn place(&self) -> Place {
        match self {
            Held::Whole(slot) if slot.c.status != Status::Closed => Place::Open,
            _ => Place::Closed,
        }
    }

    fn head(&self) -> Vec<u8> {
        match self {
            Held::Whole(slot) => slot.to_head(),
            Held::Closed { head, .. } => head.to_vec(),
        }
    }
}

/// The first field that differs, in words.
fn difference(id: &ConversationId, cached: &[u8], folded: &[u8]) -> String {
    let read = |head| shown(id, head).unwrap_or_default();
    let (cached, folded) = (read(cached), read(folded));
    for part in ["conversation", "command_ids", "frames"] {
        let (Some(cached), Some(folded)) = (cached.get(part), folded.get(part)) else {
            return format!("{part} is missing");
        };
        let fields = folded.as_object().into_iter().flatten();
        for (field, folded) in fields {
            let cached = cached.get(field).unwrap_or(&Value::Null);
            if cached != folded {
                return format!("{part}.{field} is {cached}, the log says {folded}");
            }
        }
        if cached != folded {
            return format!("{part} is {cached}, the log says {folded}");
        }
    }
    "it is written otherwise".into()
}
