//! A line now and then, for whoever waits for a long test and lets it speak (`--nocapture`).

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often there is a line.
const EVERY: Duration = Duration::from_secs(10);

/// How far something has come.
pub struct Progress {
    began: Instant,
    told: Mutex<Instant>,
}

impl Progress {
    /// Nothing is done yet.
    pub fn new() -> Progress {
        let now = Instant::now();
        Progress { began: now, told: Mutex::new(now) }
    }

    /// Says how far it has come, unless that was said a moment ago.
    pub fn tell(&self, how_far: impl FnOnce() -> String) {
        let mut told = self.told.lock().unwrap();
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            println!("{}, after {} s", how_far(), self.began.elapsed().as_secs());
        }
    }

    /// Says what was tried, when it is over.
    pub fn end(&self, what: &str) {
        println!("{what}, in {} s", self.began.elapsed().as_secs());
    }
}
