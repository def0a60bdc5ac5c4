//! Old volumes that are open because somebody reads them: a few, those used last.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::log::store::Store;

/// Old volumes that are open at once: as many as are read at once, by four questions, publication and a tool. With fewer
/// they would close each other's. Each takes some 30 MB.
pub const VOLUMES_OPEN_MAX: usize = 6;

/// A volume that was not looked at while others were so often is closed when another one is opened: whoever reads through
/// the log is done with it.
const LOOKS_IDLE_MAX: u64 = 1_000;

/// Old volumes that are open.
#[derive(Default)]
pub struct Shelf {
    places: Mutex<Places>,
    /// Held while one is opened, so that nobody opens the same; whoever reads another goes on.
    opening: Mutex<()>,
}

#[derive(Default)]
struct Places {
    /// How often somebody looked at any of them.
    looks: u64,
    open: Vec<Place>,
    /// Those that were put away, and may still be in somebody's hands.
    away: Vec<(u64, Weak<Store>)>,
}

struct Place {
    number: u64,
    looked_at: u64,
    store: Arc<Store>,
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
        let store = Arc::new(Store::open_sealed(folder).map_err(|e| e.to_string())?);
        let put_away = self.places().put(number, store.clone());
        // Closing takes a while, which nobody need wait for.
        drop(put_away);
        Ok(store)
    }

    /// Puts a volume there that was written to until now, and away those that nobody read since the one before.
    pub fn put_full(&self, number: u64, store: Arc<Store>) {
        let mut places = self.places();
        places.looks += LOOKS_IDLE_MAX + 1;
        let put_away = places.put(number, store);
        drop(places);
        drop(put_away);
    }

    /// How many are open.
    #[cfg(test)]
    pub fn open(&self) -> usize {
        let places = self.places();
        places.open.len() + places.away.iter().filter(|(_, store)| store.strong_count() > 0).count()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn take(&mut self, number: u64) -> Option<Arc<Store>> {
        self.looks += 1;
        if let Some(place) = self.open.iter_mut().find(|place| place.number == number) {
            place.looked_at = self.looks;
            return Some(place.store.clone());
        }
        // Whoever has it in hand still reads it: opened a second time it would be locked.
        let store = self.away.iter().find(|(found, _)| *found == number)?.1.upgrade()?;
        self.put(number, store.clone());
        Some(store)
    }

    /// Gives back those that are put away for it.
    fn put(&mut self, number: u64, store: Arc<Store>) -> Vec<Place> {
        let since = self.looks.saturating_sub(LOOKS_IDLE_MAX);
        let mut put_away: Vec<Place> = self.open.extract_if(.., |place| place.looked_at < since).collect();
        if self.open.len() >= VOLUMES_OPEN_MAX {
            let longest = self.open.iter().enumerate().min_by_key(|(_, place)| place.looked_at).map(|(at, _)| at);
            put_away.extend(longest.map(|at| self.open.swap_remove(at)));
        }
        self.open.push(Place { number, looked_at: self.looks, store });
        self.away.retain(|(_, store)| store.strong_count() > 0);
        self.away.extend(put_away.iter().map(|place| (place.number, Arc::downgrade(&place.store))));
        put_away
    }
}
