//! Random numbers that a seed repeats, and the one way in which all random tests are steered from outside.
//!
//! - `SWITCHBOARD_TEST_SEED=n` goes that way and no other: a failure names its own.
//! - `SWITCHBOARD_TEST_RUNS=n` says how many ways are gone, `SWITCHBOARD_TEST_STEPS=n` how far each.
//! - `SWITCHBOARD_TEST_MINUTES=n` goes on until the time is over, each way a new one.

#![allow(dead_code)]

use std::time::{Duration, Instant};

/// Random numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below that one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }

    /// One of these, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, all: &[(T, u64)]) -> T {
        let mut left = self.below(all.iter().map(|(_, weight)| weight).sum());
        for (one, weight) in all {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *one,
            }
        }
        unreachable!("the weights were counted")
    }
}

/// What was asked for from outside.
pub fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: expected a whole number, got {text}")))
}

/// How far to go, where nothing else is asked for.
pub fn steps(usual: u64) -> u64 {
    from_environment("SWITCHBOARD_TEST_STEPS").unwrap_or(usual)
}

/// The seeds of all ways to go: the one asked for, so many from `first` on, or new ones until the time is over.
pub fn seeds(first: u64, usual_runs: u64) -> impl Iterator<Item = u64> + Send {
    let one = from_environment("SWITCHBOARD_TEST_SEED");
    let runs = from_environment("SWITCHBOARD_TEST_RUNS").unwrap_or(usual_runs);
    let minutes = from_environment("SWITCHBOARD_TEST_MINUTES");
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    // A long run goes where no short one has been.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let first = match (one, minutes) {
        (Some(one), _) => one,
        (None, Some(_)) => now.as_millis() as u64,
        (None, None) => first,
    };
    let runs = if one.is_some() { 1 } else { runs };
    (first..).enumerate().map_while(move |(done, seed)| match until {
        Some(until) if one.is_none() => (Instant::now() < until).then_some(seed),
        _ => ((done as u64) < runs).then_some(seed),
    })
}
