//! Old volumes that are open because somebody reads them: a few, those used last.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::log::store::Store;

/// Old volumes that are open at once, as many as questions are read at once: fewer would make readers of several
/// volumes close each other's. Each takes memory for its index and for the pages that were read.
pub const VOLUMES_OPEN_MAX: usize = 4;

/// Old volumes that are open.
#[derive(Default)]
pub struct Shelf {
    places: Mutex<Places>,
    /// Held while one is opened, so that nobody opens the same; whoever reads another goes on.
    opening: Mutex<()>,
}

#[derive(Default)]
struct Places {
    /// The one used last stands at the end.
    recent: VecDeque<(u64, Arc<Store>)>,
    /// Those that were put away, and may still be in somebody's hands.
    away: Vec<(u64, Weak<Store>)>,
}

impl Shelf {
    /// The volume of that number, opened where it is not.
    pub fn get(&self, number: u64, folder: &Path) -> Result<Arc<Store>, String> {
        if let Some(store) = self.places().take(number) {
            return Ok(store);
        }
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = self.places().take(number) {
            return Ok(store);
        }
        let store = Arc::new(Store::open_existing(folder).map_err(|e| e.to_string())?);
        self.put(number, store.clone());
        Ok(store)
    }

    /// Puts a volume there that is open, and away the one that was not used for longest.
    pub fn put(&self, number: u64, store: Arc<Store>) {
        let put_away = self.places().put(number, store);
        // Closing takes a while, which nobody need wait for.
        drop(put_away);
    }

    /// How many are open.
    #[cfg(test)]
    pub fn open(&self) -> usize {
        let places = self.places();
        places.recent.len() + places.away.iter().filter(|(_, store)| store.strong_count() > 0).count()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn take(&mut self, number: u64) -> Option<Arc<Store>> {
        if let Some(at) = self.recent.iter().position(|(found, _)| *found == number) {
            let found = self.recent.remove(at)?;
            let store = found.1.clone();
            self.recent.push_back(found);
            return Some(store);
        }
        // Whoever has it in hand still reads it: opened a second time it would be locked.
        let store = self.away.iter().find(|(found, _)| *found == number)?.1.upgrade()?;
        self.put(number, store.clone());
        Some(store)
    }

    fn put(&mut self, number: u64, store: Arc<Store>) -> Option<Arc<Store>> {
        self.recent.push_back((number, store));
        if self.recent.len() <= VOLUMES_OPEN_MAX {
            return None;
        }
        let (number, store) = self.recent.pop_front()?;
        self.away.retain(|(_, store)| store.strong_count() > 0);
        self.away.push((number, Arc::downgrade(&store)));
        Some(store)
    }
}
