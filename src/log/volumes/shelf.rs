//! Old volumes that are open because somebody reads them: a few, those used last.
//!
//! A volume is open once at most, as its database is locked: each has a slot, in which one opens it and the others
//! wait, also for whoever closes it. Nobody waits for another volume than the one that he wants.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use crate::log::error::LogError;
use crate::log::store::{Store, quietly};

/// Old volumes that are open at once: as many as are read at once, by four questions, publication and a tool. With fewer
/// they would close each other's. Each takes some 30 MB.
pub const VOLUMES_OPEN_MAX: usize = 6;

/// A volume that was not looked at while others were so often is closed when another one is opened: whoever reads through
/// the log is done with it.
const LOOKS_IDLE_MAX: u64 = 1_000;

/// sled lets go of its lock a little after it was closed, which on a slow disk is not soon: two seconds each.
const LOCK_TRIES: u32 = 15;

/// Old volumes that are open.
#[derive(Default)]
pub struct Shelf {
    places: Mutex<Places>,
}

/// An old volume that is open, until nobody has it any more.
pub struct Volume {
    store: Option<Arc<Store>>,
    slot: Arc<Slot>,
}

/// Where a volume is opened and closed.
#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    /// Being closed, where nobody has it.
    Open(Weak<Volume>),
}

#[derive(Default)]
struct Places {
    /// How often somebody looked at any of them.
    looks: u64,
    open: Vec<Place>,
    /// Of those that were ever open.
    slots: BTreeMap<u64, Arc<Slot>>,
}

struct Place {
    number: u64,
    looked_at: u64,
    volume: Arc<Volume>,
}

impl Shelf {
    /// The volume of that number, opened where it is not.
    pub fn get(&self, number: u64, folder: &Path) -> Result<Arc<Volume>, String> {
        let mut places = self.places();
        if let Some(volume) = places.look_at(number) {
            return Ok(volume);
        }
        let slot = places.slot(number);
        drop(places);
        let volume = slot.open(folder)?;
        let put_away = self.places().put(number, volume.clone());
        // Closing takes a while, which nobody else need wait for.
        drop(put_away);
        Ok(volume)
    }

    /// Puts a volume there that was written to until now. Gives back those that nobody read since the one before: to be
    /// dropped, which may take a while.
    pub fn put_full(&self, number: u64, store: Arc<Store>) -> Vec<Arc<Volume>> {
        let mut places = self.places();
        places.looks += LOOKS_IDLE_MAX + 1;
        let volume = places.slot(number).fill(store);
        places.put(number, volume)
    }

    /// Closes a volume and opens it again, unless somebody has it. What that writes is on stable storage afterwards.
    pub fn open_anew(&self, number: u64, folder: &Path) -> Result<(), String> {
        let closed = self.places().remove(number);
        drop(closed);
        self.get(number, folder)?.store().sync()
    }

    /// Puts all away.
    #[cfg(test)]
    pub fn take_all(&self) -> Vec<Arc<Volume>> {
        self.places().open.drain(..).map(|place| place.volume).collect()
    }

    /// How many are open.
    #[cfg(test)]
    pub fn open(&self) -> usize {
        self.places().slots.values().filter(|slot| matches!(*slot.state(), State::Open(_))).count()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn look_at(&mut self, number: u64) -> Option<Arc<Volume>> {
        self.looks += 1;
        let place = self.open.iter_mut().find(|place| place.number == number)?;
        place.looked_at = self.looks;
        Some(place.volume.clone())
    }

    fn slot(&mut self, number: u64) -> Arc<Slot> {
        self.slots.entry(number).or_default().clone()
    }

    fn remove(&mut self, number: u64) -> Option<Place> {
        let at = self.open.iter().position(|place| place.number == number)?;
        Some(self.open.swap_remove(at))
    }

    /// Gives back those that are put away for it.
    fn put(&mut self, number: u64, volume: Arc<Volume>) -> Vec<Arc<Volume>> {
        // Somebody may have put it there meanwhile.
        if self.look_at(number).is_some() {
            return Vec::new();
        }
        let since = self.looks.saturating_sub(LOOKS_IDLE_MAX);
        let mut put_away: Vec<Place> = self.open.extract_if(.., |place| place.looked_at < since).collect();
        if self.open.len() >= VOLUMES_OPEN_MAX {
            let longest = self.open.iter().enumerate().min_by_key(|(_, place)| place.looked_at).map(|(at, _)| at);
            put_away.extend(longest.map(|at| self.open.swap_remove(at)));
        }
        self.open.push(Place { number, looked_at: self.looks, volume });
        put_away.into_iter().map(|place| place.volume).collect()
    }
}

impl Slot {
    /// The volume, which is somebody's, or opened.
    fn open(self: Arc<Self>, folder: &Path) -> Result<Arc<Volume>, String> {
        let mut state = self.state();
        while let State::Open(volume) = &*state {
            match volume.upgrade() {
                Some(volume) => return Ok(volume),
                None => state = self.closed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        let store = Some(Arc::new(open_patiently(folder).map_err(|e| e.to_string())?));
        let volume = Arc::new(Volume { store, slot: self.clone() });
        *state = State::Open(Arc::downgrade(&volume));
        Ok(volume)
    }

    /// The volume, which is open already.
    fn fill(self: Arc<Self>, store: Arc<Store>) -> Arc<Volume> {
        let volume = Arc::new(Volume { store: Some(store), slot: self.clone() });
        *self.state() = State::Open(Arc::downgrade(&volume));
        volume
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Volume {
    /// What it is read from.
    pub fn store(&self) -> &Store {
        self.store.as_deref().expect("it is there until the drop")
    }
}

impl Drop for Volume {
    /// Closing writes, and panics where the disk does not take it: what was sealed has long been on it.
    fn drop(&mut self) {
        let store = self.store.take();
        if let Err(why) = quietly(|| drop(store)) {
            tracing::warn!(why, "an old volume of the log could not be closed well");
        }
        *self.slot.state() = State::Closed;
        self.slot.closed.notify_all();
    }
}

fn open_patiently(folder: &Path) -> Result<Store, LogError> {
    let mut tries = 1;
    loop {
        match Store::open_sealed(folder) {
            Err(LogError::InUse(_)) if tries < LOCK_TRIES => tries += 1,
            opened => return opened,
        }
    }
}
