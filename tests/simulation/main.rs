//! The whole core under a simulated clock, disk and network, with faults of every kind, from one seed.
//!
//! A run is a list of steps ([`script`]): what clients ask, what the network does with it, what each thread of the
//! service does next, and what breaks. After every step all that was shown is held to the log ([`witness`]); at the
//! end the faults are over and everything settles ([`settling`]). A run that fails is printed as the shortest list of
//! steps that still fails, with the seed that repeats it: see [`random`] for how to steer it.

#[allow(dead_code)]
#[path = "../core/say.rs"]
mod say;

#[path = "../common/progress.rs"]
mod progress;
#[path = "../common/random.rs"]
mod random;

mod clients;
mod life;
mod machine;
mod network;
mod script;
mod settling;
mod shortening;
mod witness;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use progress::Progress;
use script::Script;

/// Runs of one call, and steps of one run, where nothing else is asked for.
const RUNS: u64 = 1000;
const STEPS: u64 = 300;

#[test]
fn whatever_breaks_nothing_that_was_answered_is_lost_and_everything_settles() {
    let seeds = Mutex::new(random::seeds(1, RUNS));
    let (runs, decisions) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(None);
    let progress = Progress::new();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    shortening::quietly(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while failed.lock().unwrap().is_none() {
                        let Some(seed) = seeds.lock().unwrap().next() else { return };
                        let script = Script::of(seed, random::steps(STEPS));
                        match shortening::outcome(&script) {
                            Ok(decided) => decisions.fetch_add(decided, Relaxed),
                            Err(_) => return *failed.lock().unwrap() = Some((seed, script)),
                        };
                        runs.fetch_add(1, Relaxed);
                        progress
                            .tell(|| format!("{} lives, {} decisions", runs.load(Relaxed), decisions.load(Relaxed)));
                    }
                });
            }
        });
    });
    if let Some((seed, script)) = failed.into_inner().unwrap() {
        panic!("{}", shortening::report(seed, script));
    }
    let (runs, decisions) = (runs.into_inner(), decisions.into_inner());
    progress.end(&format!("{runs} simulated lives, {decisions} decisions: nothing lost"));
    assert!(decisions >= 20 * runs, "only {decisions} decisions in {runs} lives");
}
