//! Who may wait: decided before a request is read, so that a flood costs little and starves nobody.
//!
//! A caller may have waiting three times what is free: alone it gets three quarters of all, and however many
//! flood, there is room left for whoever comes next. Count and bytes are bounded in the same way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

use crate::domain::Role;

/// Bytes of requests that may wait, as they came: read, they take about three times as much memory.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many times what is free a caller may have.
const SHARE: usize = 3;
/// Callers remembered before those that have nothing waiting are looked for.
const CALLERS_MIN: usize = 1024;

/// The room for requests that wait.
#[derive(Debug)]
pub struct Admission {
    requests_max: usize,
    bytes_max: usize,
    all: Arc<Load>,
    callers: Mutex<Callers>,
}

/// The place of one request among those that wait; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    bytes: usize,
    all: Arc<Load>,
    own: Arc<Load>,
}

/// What waits, of one caller or of all.
#[derive(Debug, Default)]
struct Load {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Callers {
    loads: HashMap<Role, HashMap<Box<str>, Arc<Load>, RandomState>, RandomState>,
    count: usize,
    forget_at: usize,
}

impl Admission {
    /// Room for so many requests, and for bytes as named above.
    pub fn new(requests_max: usize) -> Admission {
        Admission::with_bytes(requests_max, WAITING_BYTES_MAX)
    }

    fn with_bytes(requests_max: usize, bytes_max: usize) -> Admission {
        Admission { requests_max, bytes_max, all: Arc::default(), callers: Mutex::default() }
    }

    /// A place for a request of that caller, if there is one.
    pub fn admit(&self, role: Role, name: &str, bytes: usize) -> Option<Place> {
        let own = self.callers.lock().unwrap_or_else(PoisonError::into_inner).load(role, name);
        let fits = |own: usize, all: usize, more: usize, max: usize| {
            all + more <= max && (own == 0 || own + more <= SHARE * (max - all - more))
        };
        let has_room = fits(own.requests.load(Relaxed), self.all.requests.load(Relaxed), 1, self.requests_max)
            && fits(own.bytes.load(Relaxed), self.all.bytes.load(Relaxed), bytes, self.bytes_max);
        has_room.then(|| {
            own.add(bytes);
            self.all.add(bytes);
            Place { bytes, all: self.all.clone(), own }
        })
    }
}

impl Callers {
    fn load(&mut self, role: Role, name: &str) -> Arc<Load> {
        let loads = self.loads.entry(role).or_default();
        if let Some(load) = loads.get(name) {
            return load.clone();
        }
        let load = Arc::<Load>::default();
        loads.insert(name.into(), load.clone());
        self.count += 1;
        if self.count > self.forget_at.max(CALLERS_MIN) {
            self.forget_idle();
        }
        load
    }

    /// Anybody may come under any name, so names are kept only while something of theirs waits.
    fn forget_idle(&mut self) {
        for loads in self.loads.values_mut() {
            loads.retain(|_, load| Arc::strong_count(load) > 1);
        }
        self.count = self.loads.values().map(HashMap::len).sum();
        self.forget_at = 2 * self.count;
    }
}

impl Load {
    fn add(&self, bytes: usize) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.requests.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.own.remove(self.bytes);
        self.all.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn fill(admission: &Admission, name: &str, bytes: usize) -> Vec<Place> {
        std::iter::from_fn(|| admission.admit(Role::Channel, name, bytes)).collect()
    }

    #[test]
    fn one_caller_alone_gets_three_quarters() {
        for (max, share) in [(1, 1), (2, 1), (4, 3), (8, 6), (16_384, 12_288)] {
            assert_eq!(fill(&Admission::new(max), "flood", 0).len(), share, "of {max}");
        }
    }

    #[test]
    fn however_many_flood_there_is_room_for_whoever_comes_next() {
        let admission = Admission::new(1024);
        let mut floods: Vec<VecDeque<Place>> = (0..20).map(|_| VecDeque::new()).collect();
        for served in 0..20_000 {
            for (n, flood) in floods.iter_mut().enumerate() {
                flood.extend(fill(&admission, &format!("flood {n}"), 0));
            }
            floods[served % 20].pop_front();
            // The first to come had it all, and gives it back as it is served.
            let is_settled = served > 10_000;
            assert!(!is_settled || admission.admit(Role::Channel, "calm", 0).is_some(), "after {served} were served");
        }
        assert!(floods.iter().all(|flood| flood.len() > 10), "they have as much as each other");
        assert!(admission.admit(Role::Integration, "flood 0", 0).is_some(), "a name in another role is another caller");
    }

    #[test]
    fn bytes_are_shared_like_places_and_both_come_back() {
        let admission = Admission::with_bytes(1000, 800);
        let flood = fill(&admission, "flood", 100);
        assert_eq!(flood.len(), 6);
        assert!(admission.admit(Role::Channel, "calm", 201).is_none());
        let calm = admission.admit(Role::Channel, "calm", 200).unwrap();
        assert!(admission.admit(Role::Channel, "late", 1).is_none());
        drop((flood, calm));
        assert_eq!(fill(&admission, "flood", 100).len(), 6);
    }

    #[test]
    fn callers_with_nothing_waiting_are_forgotten() {
        let admission = Admission::new(16);
        let kept = admission.admit(Role::Channel, "kept", 0).unwrap();
        (0..10 * CALLERS_MIN).for_each(|n| drop(admission.admit(Role::Channel, &n.to_string(), 0)));
        assert!(admission.callers.lock().unwrap().count <= CALLERS_MIN + 1);
        assert_eq!(fill(&admission, "kept", 0).len(), 11, "it keeps its place: {kept:?}");
    }
}
