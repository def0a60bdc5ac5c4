//! Runs scripts, and makes one that fails as short as it gets.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use super::script::{Script, Step};
use super::world::{Told, World};

/// How long a script is shortened.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panics off stderr meanwhile; what they said is kept for [`outcome`].
pub fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| SAID.with(|said| *said.borrow_mut() = info.to_string())));
    let result = work();
    panic::set_hook(before);
    result
}

/// How many decisions a run came to, or why it failed.
pub fn outcome(script: &Script) -> Result<u64, String> {
    let run = panic::catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::run(script, None);
        world.settle();
        world.witness.past.len() as u64
    }));
    run.map_err(|_| SAID.with(|said| said.borrow().clone()))
}

/// What to print of a script that fails.
pub fn report(seed: u64, script: Script) -> String {
    let steps = script.steps.len();
    let (script, why) = quietly(|| {
        let why = outcome(&script).expect_err("the same script fails again: a run depends on nothing else");
        shorten(script, why)
    });
    let told = quietly(|| story(&script));
    format!(
        "seed {seed} fails: {why}\n\nthe shortest way there, under {:?}:\n\n{}\n\n\
         repeat it with SWITCHBOARD_TEST_SEED={seed} SWITCHBOARD_TEST_STEPS={steps}",
        script.setup,
        told.join("\n")
    )
}

/// Leaves out as many steps as possible, ever smaller runs of them, while it still fails.
fn shorten(mut script: Script, mut why: String) -> (Script, String) {
    let until = Instant::now() + PATIENCE;
    let mut width = script.steps.len().div_ceil(2);
    while width > 0 && Instant::now() < until {
        let before = script.steps.len();
        let mut end = before;
        while end > 0 && Instant::now() < until {
            let start = end.saturating_sub(width);
            let steps: Vec<Step> = [&script.steps[..start], &script.steps[end..]].concat();
            let shorter = Script { setup: script.setup, steps };
            if let Err(said) = outcome(&shorter) {
                (script, why) = (shorter, said);
            }
            end = start;
        }
        width = if width == 1 && script.steps.len() < before { 1 } else { width / 2 };
    }
    (script, why)
}

/// The steps, and what each came to.
fn story(script: &Script) -> Vec<String> {
    let told = Told::default();
    let _ = panic::catch_unwind(AssertUnwindSafe(|| World::run(script, Some(told.clone())).settle()));
    told.take()
}
