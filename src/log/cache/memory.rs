//! A cache in memory, for simulations: it can be killed between any two writes, and its power can be cut.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::medium::{Attached, Medium, Pair, Row, Shelves};
use super::tape::Tape;
use crate::log::error::LogError;

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

/// The simulated place of a cache, which outlives the caches that are opened on it. As with the real one, what was
/// flushed survives a kill and nothing that was not synced survives a power cut for certain.
#[derive(Clone, Default)]
pub struct SimulatedCache(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    trust: Option<Vec<u8>>,
    boot: u64,
    exists: bool,
    values: Values,
    /// Writes since the last flush, the oldest first: what they found, to be put back.
    unflushed: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Keys written since the last sync.
    unsynced: Vec<Vec<u8>>,
    /// The journal, the one that is to take its place, and how much of the first was synced.
    journal: Vec<u8>,
    next_journal: Vec<u8>,
    journal_synced: usize,
    writes_left: Option<usize>,
    refuses_one: bool,
    /// So long may another journal be; none: as long as it likes.
    room: Option<u64>,
    /// Writes until the process is dead: whatever it does afterwards never happens.
    writes_to_live: Option<usize>,
    /// Counts the caches opened: a handle on an older one writes nothing.
    attached: u64,
}

impl SimulatedCache {
    /// The process is killed: of the writes since the last flush only the first few are there.
    pub fn kill(&self, kept: usize) {
        let mut state = self.state();
        let lost = state.unflushed.len().saturating_sub(kept);
        for _ in 0..lost {
            let (key, before) = state.unflushed.pop().expect("it was counted");
            restore(&mut state.values, key, before);
        }
        state.unflushed.clear();
        (state.writes_left, state.writes_to_live) = (None, None);
        state.attached += 1;
    }

    /// The power fails: of what was written since the last sync every value may be torn or gone, as `torn` decides,
    /// and the machine starts again.
    pub fn cut_power(&self, mut torn: impl FnMut() -> bool) {
        self.kill(usize::MAX);
        let mut state = self.state();
        for key in std::mem::take(&mut state.unsynced) {
            match (torn(), state.values.get_mut(&key)) {
                (true, Some(value)) if torn() => value.truncate(value.len() / 2),
                (true, _) => drop(state.values.remove(&key)),
                (false, _) => {}
            }
        }
        if state.journal.len() > state.journal_synced && torn() {
            let half = state.journal_synced + (state.journal.len() - state.journal_synced) / 2;
            state.journal.truncate(half);
        }
        state.boot += 1;
    }

    /// Somebody deletes the cache while nothing runs.
    pub fn delete(&self) {
        let mut state = self.state();
        *state = State { boot: state.boot, attached: state.attached + 1, ..State::default() };
    }

    /// Somebody deletes the word that it may be trusted.
    pub fn delete_trust(&self) {
        self.state().trust = None;
    }

    /// What it holds now, to be put back later as an older copy.
    pub fn copy(&self) -> SimulatedCache {
        let state = self.state();
        let copy = State {
            trust: state.trust.clone(),
            boot: state.boot,
            exists: state.exists,
            values: state.values.clone(),
            journal: state.journal.clone(),
            ..State::default()
        };
        SimulatedCache(Arc::new(Mutex::new(copy)))
    }

    /// Puts an older copy in the place of what there is, while nothing runs.
    pub fn put_back(&self, copy: &SimulatedCache) {
        let (mut state, copy) = (self.state(), copy.state());
        *state = State {
            trust: copy.trust.clone(),
            boot: state.boot,
            exists: copy.exists,
            values: copy.values.clone(),
            journal: copy.journal.clone(),
            attached: state.attached + 1,
            ..State::default()
        };
    }

    /// After so many writes more, each fails; `None` takes that back.
    pub fn fail_after(&self, writes: Option<usize>) {
        self.state().writes_left = writes;
    }

    /// There is room for so many bytes of another journal; `None` takes that back.
    pub fn leave_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// The next write of a part fails, and none after it.
    pub fn refuse_one_part(&self) {
        self.state().refuses_one = true;
    }

    /// Whether it did not come to that.
    pub fn is_to_refuse_one_part(&self) -> bool {
        self.state().refuses_one
    }

    /// After so many writes more the process is dead, though it does not know: nothing that it does then happens.
    /// To be followed by [`kill`](Self::kill).
    pub fn die_after(&self, writes: usize) {
        self.state().writes_to_live = Some(writes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_alive(&self) -> bool {
        self.writes_to_live != Some(0)
    }

    /// One write more: whether it happens; of the last before death, and of one that fails, a part may.
    fn write(&mut self) -> Result<Written, String> {
        if !self.is_alive() {
            return Ok(Written::Not);
        }
        self.writes_to_live = self.writes_to_live.map(|left| left - 1);
        match &mut self.writes_left {
            Some(0) => return Err("the simulated cache fails".into()),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(if self.is_alive() { Written::Whole } else { Written::InPart })
    }
}

enum Written {
    Whole,
    InPart,
    Not,
}

fn restore(values: &mut Values, key: Vec<u8>, before: Option<Vec<u8>>) {
    match before {
        Some(value) => drop(values.insert(key, value)),
        None => drop(values.remove(&key)),
    }
}

impl Medium for SimulatedCache {
    fn trust(&self) -> Result<Vec<u8>, String> {
        self.state().trust.clone().ok_or_else(|| "there is no word of trust".into())
    }

    fn set_trust(&self, text: &[u8]) -> Result<(), LogError> {
        let mut state = self.state();
        if state.is_alive() {
            state.trust = Some(text.to_vec());
        }
        Ok(())
    }

    fn clear_trust(&self) {
        let mut state = self.state();
        if state.is_alive() {
            state.trust = None;
        }
    }

    fn boot_id(&self) -> Option<String> {
        Some(self.state().boot.to_string())
    }

    fn exists(&self) -> bool {
        self.state().exists
    }

    fn wipe(&self) -> Result<(), LogError> {
        let mut state = self.state();
        if !state.is_alive() {
            return Ok(());
        }
        state.values.clear();
        state.unflushed.clear();
        state.unsynced.clear();
        state.journal.clear();
        state.journal_synced = 0;
        state.exists = false;
        Ok(())
    }

    fn attach(&self) -> Result<Attached, LogError> {
        let mut state = self.state();
        state.exists = true;
        state.attached += 1;
        // No open may rest on what a power cut could take away afterwards: it is not trusted then, whatever is there.
        if state.is_alive() {
            state.unflushed.clear();
            state.unsynced.clear();
        }
        let open = Open { medium: self.clone(), number: state.attached };
        Ok((Box::new(open.clone()), Box::new(open)))
    }

    fn corrupt(&self, why: &str) -> LogError {
        LogError::Corrupt(PathBuf::from("simulated cache"), why.to_owned())
    }
}

#[derive(Clone)]
struct Open {
    medium: SimulatedCache,
    number: u64,
}

impl Open {
    fn write(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
        let mut state = self.medium.state();
        if state.attached != self.number || matches!(state.write()?, Written::Not) {
            return Ok(());
        }
        let before = state.values.insert(key.clone(), value);
        state.unsynced.push(key.clone());
        state.unflushed.push((key, before));
        Ok(())
    }
}

impl Shelves for Open {
    fn closed(&self, id: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.medium.state().values.get(&closed_key(id)).cloned())
    }

    fn insert_closed(&self, id: &str, value: Vec<u8>) -> Result<(), String> {
        self.write(closed_key(id), value)
    }

    fn closed_after(&self, id: Option<&str>) -> Box<dyn Iterator<Item = Row> + Send> {
        let medium = self.medium.clone();
        let mut after = closed_key(id.unwrap_or_default());
        Box::new(std::iter::from_fn(move || {
            let state = medium.state();
            let range = (Bound::Excluded(after.clone()), Bound::Unbounded);
            let (found, value) = state.values.range::<Vec<u8>, _>(range).next()?;
            let id = found.strip_prefix(&[CLOSED])?;
            after.clone_from(found);
            Some(Ok((id.to_vec(), value.clone())))
        }))
    }

    fn insert_part(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
        if std::mem::take(&mut self.medium.state().refuses_one) {
            return Err("the simulated cache refuses a part".into());
        }
        self.write(part_key(&key), value)
    }

    fn part(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.medium.state().values.get(&part_key(key)).cloned())
    }

    fn last_part(&self, first: &[u8], last: &[u8]) -> Result<Option<Pair>, String> {
        let state = self.medium.state();
        let found = state.values.range(part_key(first)..=part_key(last)).next_back();
        Ok(found.map(|(key, value)| (key[1..].to_vec(), value.clone())))
    }

    fn through(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(self.medium.state().values.get(THROUGH).cloned())
    }

    fn set_through(&self, value: Vec<u8>) -> Result<(), String> {
        self.write(THROUGH.to_vec(), value)
    }

    fn flush(&self) -> Result<(), String> {
        let mut state = self.medium.state();
        if state.is_alive() {
            state.unflushed.clear();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), String> {
        let mut state = self.medium.state();
        if state.writes_left == Some(0) {
            return Err("the simulated cache fails".into());
        }
        if state.is_alive() {
            state.unflushed.clear();
            state.unsynced.clear();
        }
        Ok(())
    }

    fn tidy(&self) -> Result<(), String> {
        Ok(())
    }

    fn abandon(&self) {}
}

impl Tape for Open {
    fn read(&self, from: u64) -> Result<(Box<dyn Read + Send>, u64), String> {
        let state = self.medium.state();
        let rest = state.journal.get(from as usize..).unwrap_or_default().to_vec();
        Ok((Box::new(Cursor::new(rest)), state.journal.len() as u64))
    }

    fn append(&self, bytes: &[u8]) -> Result<(), String> {
        self.add(bytes, |state| &mut state.journal)
    }

    fn cut(&self, bytes: u64) -> Result<(), String> {
        self.change(|state| state.journal.truncate(bytes as usize))
    }

    fn sync(&self) -> Result<(), String> {
        self.change(|state| state.journal_synced = state.journal.len())
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.medium.state().room.is_none_or(|room| bytes <= room)
    }

    fn begin_next(&self) -> Result<(), String> {
        self.change(|state| state.next_journal.clear())
    }

    fn append_next(&self, bytes: &[u8]) -> Result<(), String> {
        self.add(bytes, |state| &mut state.next_journal)
    }

    fn turn(&self) -> Result<(), String> {
        self.change(|state| {
            state.journal = std::mem::take(&mut state.next_journal);
            state.journal_synced = 0;
        })
    }

    fn drop_next(&self) {
        self.medium.state().next_journal.clear();
    }

    fn later_bytes_min(&self) -> u64 {
        2 << 10
    }
}

impl Open {
    fn add(&self, bytes: &[u8], to: impl FnOnce(&mut State) -> &mut Vec<u8>) -> Result<(), String> {
        let mut state = self.medium.state();
        if state.attached != self.number {
            return Ok(());
        }
        let written = state.write();
        let length = match written {
            Ok(Written::Whole) => bytes.len(),
            Ok(Written::InPart) | Err(_) => bytes.len() / 2,
            Ok(Written::Not) => 0,
        };
        to(&mut state).extend_from_slice(&bytes[..length]);
        written.map(drop)
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), String> {
        let mut state = self.medium.state();
        if state.attached != self.number {
            return Ok(());
        }
        if matches!(state.write()?, Written::Whole | Written::InPart) {
            change(&mut state);
        }
        Ok(())
    }
}

const THROUGH: &[u8] = &[9];
const CLOSED: u8 = 2;

fn part_key(key: &[u8]) -> Vec<u8> {
    [&[3], key].concat()
}

fn closed_key(id: &str) -> Vec<u8> {
    let mut key = vec![CLOSED];
    key.extend_from_slice(id.as_bytes());
    key
}
