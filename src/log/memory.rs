//! A log in memory, for simulations: the same frames under the same keys, on a disk whose power can be cut.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::error::LogError;
use super::pack::{Packed, Packer};
use super::reader::{Reader, Values};
use super::{Draft, Log, Outcome, Room};

/// A log on a simulated disk.
pub struct MemoryLog {
    disk: SimulatedDisk,
    packer: Packer,
    reader: Reader,
    stopped: bool,
}

impl MemoryLog {
    /// Opens the log that the disk holds. As after a real start, all that is found is synced first.
    pub fn open(disk: &SimulatedDisk, log_id: Uuid) -> Result<Self, LogError> {
        disk.sync()?;
        let reader = Reader::open(Arc::new(disk.clone()), log_id)?;
        Ok(Self { disk: disk.clone(), packer: Packer::new(), reader, stopped: false })
    }

    fn store(&mut self, packed: &Packed) -> Result<(), LogError> {
        self.stopped = true;
        self.disk.write(packed);
        self.disk.sync()?;
        self.reader.adopt(packed.head.clone());
        self.stopped = false;
        Ok(())
    }
}

impl Log for MemoryLog {
    fn append(&mut self, group: &[Draft], published_through: u64) -> Result<Vec<Outcome>, LogError> {
        if self.stopped {
            return Err(LogError::Stopped);
        }
        let packed = self.packer.pack(&self.reader.head(), group, published_through)?;
        if let Room::Full { free, needed } = self.room() {
            return Err(LogError::Full { free, needed });
        }
        self.store(&packed)?;
        Ok(packed.outcomes)
    }

    fn reader(&self) -> Reader {
        self.reader.clone()
    }

    fn room(&self) -> Room {
        match self.disk.state().full {
            true => Room::Full { free: 0, needed: 1 },
            false => Room::Enough,
        }
    }

    fn close(mut self: Box<Self>, published_through: u64) -> Result<(), LogError> {
        if self.stopped {
            return Err(LogError::Stopped);
        }
        let head = self.reader.head();
        match published_through > head.published_through {
            true => self.packer.mark(&head, published_through).and_then(|packed| self.store(&packed)),
            false => Ok(()),
        }
    }
}

/// A simulated disk, which outlives the logs that are opened on it.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys that are written and not synced, a list a frame.
    unsynced: Vec<Vec<Vec<u8>>>,
    sync_fails: bool,
    full: bool,
}

impl SimulatedDisk {
    /// Cuts the power: of the frames that were not synced, only the first few are there afterwards.
    pub fn cut_power(&self, frames_kept: usize) {
        let mut state = self.state();
        let unsynced = std::mem::take(&mut state.unsynced);
        for key in unsynced.into_iter().skip(frames_kept).flatten() {
            state.values.remove(&key);
        }
        state.sync_fails = false;
    }

    /// The process is killed: what it wrote is still there, and still not synced.
    pub fn kill(&self) {
        self.state().sync_fails = false;
    }

    /// Makes every sync fail, or work again.
    pub fn fail_syncs(&self, fail: bool) {
        self.state().sync_fails = fail;
    }

    /// Fills the disk up, or makes space.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    /// Frames that are written and not synced.
    pub fn unsynced(&self) -> usize {
        self.state().unsynced.len()
    }

    /// The last frame that a power cut leaves there for certain.
    pub fn stable_frames(&self) -> u64 {
        let state = self.state();
        let last = state.values.last_key_value().and_then(|(key, _)| key.first_chunk());
        let last = last.map_or(0, |number| u64::from_be_bytes(*number));
        last - state.unsynced.len() as u64
    }

    /// Changes a stored frame, to see that it is found out; `None` removes it.
    pub fn tamper(&self, frame: u64, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
        let mut state = self.state();
        let key = frame.to_be_bytes().to_vec();
        if let Some(changed) = state.values.remove(&key).and_then(change) {
            state.values.insert(key, changed);
        }
    }

    fn write(&self, packed: &Packed) {
        let mut state = self.state();
        for frame in &packed.frames {
            state.unsynced.push(frame.iter().map(|(key, _)| key.clone()).collect());
            state.values.extend(frame.iter().cloned());
        }
    }

    fn sync(&self) -> Result<(), LogError> {
        let mut state = self.state();
        if state.sync_fails {
            return Err(LogError::Write("the simulated disk fails".into()));
        }
        state.unsynced.clear();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Values for SimulatedDisk {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.state().values.get(key).cloned())
    }

    fn last_key(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(self.state().values.last_key_value().map(|(key, _)| key.clone()))
    }
}
