//! What happens in a run, as data: a list of steps, each with the seed of its own randomness, so that a step that is
//! left out changes no other. Which faults there are is drawn a run at a time: a run without crashes goes deeper
//! into everything else than one with all faults at once.

use switchboard::switchboard::PartSizes;
use switchboard::switchboard::core::Limits;

use super::machine::Setup;
use super::random::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    // Clients and network
    Ask,
    AskAgain,
    Question,
    Deliver,
    DeliverLate,
    DeliverTwice,
    LoseRequest,
    Arrive,
    LoseAnswer,
    Proof,
    LinkUp,
    LinkLost,
    // The service's threads
    Hear,
    Turn,
    Write,
    Keep,
    Read,
    Publish,
    Fence,
    Ready,
    Rest,
    // Time, configuration, end and beginning
    TimePasses,
    ClockJumps,
    Configure,
    Stop,
    Start,
    StartIsKilled,
    StartIsCut,
    // The machine
    Kill,
    KillInWrite,
    KillInKeep,
    PowerCut,
    SyncFails,
    DiskFull,
    DiskFree,
    CacheFails,
    CacheGone,
    CacheOld,
}

#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub kind: Kind,
    pub seed: u64,
}

/// Everything that a run is.
#[derive(Debug, Clone)]
pub struct Script {
    pub setup: Setup,
    pub steps: Vec<Step>,
}

/// What goes on in every run.
const USUAL: [(Kind, u64); 18] = [
    (Kind::Ask, 40),
    (Kind::Question, 6),
    (Kind::Deliver, 45),
    (Kind::Arrive, 12),
    (Kind::Proof, 4),
    (Kind::LinkUp, 12),
    (Kind::Hear, 30),
    (Kind::Turn, 30),
    (Kind::Write, 20),
    (Kind::Keep, 5),
    (Kind::Read, 5),
    (Kind::Publish, 20),
    (Kind::Fence, 4),
    (Kind::Ready, 4),
    (Kind::Rest, 4),
    (Kind::TimePasses, 9),
    (Kind::Configure, 2),
    (Kind::Start, 20),
];

/// What some runs have, and how often then.
const FAULTS: [(Kind, u64); 20] = [
    (Kind::AskAgain, 15),
    (Kind::DeliverLate, 15),
    (Kind::DeliverTwice, 6),
    (Kind::LoseRequest, 4),
    (Kind::LoseAnswer, 6),
    (Kind::LinkLost, 3),
    (Kind::ClockJumps, 3),
    (Kind::Stop, 2),
    (Kind::StartIsKilled, 3),
    (Kind::StartIsCut, 3),
    (Kind::Kill, 2),
    (Kind::KillInWrite, 3),
    (Kind::KillInKeep, 4),
    (Kind::PowerCut, 2),
    (Kind::SyncFails, 1),
    (Kind::DiskFull, 2),
    (Kind::DiskFree, 6),
    (Kind::CacheFails, 2),
    (Kind::CacheGone, 2),
    (Kind::CacheOld, 4),
];

impl Script {
    pub fn of(seed: u64, steps: u64) -> Script {
        let mut dice = Dice::new(seed);
        let setup = setup(&mut dice);
        let mut weights = USUAL.to_vec();
        weights.extend(FAULTS.into_iter().filter(|_| dice.one_in(2)));
        if dice.one_in(4) {
            slow_down(&mut weights, Kind::Write);
        }
        if dice.one_in(4) {
            slow_down(&mut weights, Kind::Keep);
        }
        if dice.one_in(6) {
            slow_down(&mut weights, Kind::Publish);
        }
        let steps = (0..steps).map(|_| Step { kind: dice.weighted(&weights), seed: dice.next() }).collect();
        Script { setup, steps }
    }
}

fn slow_down(weights: &mut [(Kind, u64)], kind: Kind) {
    weights.iter_mut().filter(|(which, _)| *which == kind).for_each(|(_, weight)| *weight = weight.div_ceil(8));
}

/// Small bounds in most runs, so that few conversations do what takes thousands.
fn setup(dice: &mut Dice) -> Setup {
    let mut limits = Limits::default();
    if dice.below(4) > 0 {
        limits = Limits {
            group_decisions_max: dice.pick(&[1, 2, 5, 1024]),
            group_effects_max: dice.pick(&[2, 5, 8192]),
            ahead_effects_max: dice.pick(&[1, 3, 32]),
            much_min: dice.pick(&[1, 1024]),
            group_bytes_max: dice.pick(&[1, 4096, 8 << 20]),
            parked_max: dice.pick(&[1, 3, 1024]),
            timers_max: dice.pick(&[1, 2, 512]),
            round_conversations_max: dice.pick(&[1, 2, 1024]),
            page_conversations_max: dice.pick(&[1, 3, 1024]),
            save_changed_min: dice.pick(&[1, 3, 8192]),
            save_every_ms: dice.pick(&[0, 2000]),
            save_conversations_max: dice.pick(&[1, 2, 256]),
            save_over_ms: dice.pick(&[0, 3, 2000]),
            awake_max: dice.pick(&[0, 1, 3, 1024]),
            awake_looks_max: dice.pick(&[1, 3, 1024]),
            save_patience_steps: dice.pick(&[0, 2, 64]),
            parts: PartSizes::default(),
        };
    }
    if dice.below(4) > 0 {
        limits.parts = PartSizes { page_items: dice.pick(&[1, 2, 3, 7]), mark_entries: dice.pick(&[1, 2, 5]) };
    }
    Setup {
        limits,
        flying_max: dice.pick(&[1, 2, 4, 16]),
        waiting_max: dice.pick(&[4, 64, 4096]),
        changed_max: dice.pick(&[1, 3, 100_000]),
        conversations: dice.pick(&[1, 2, 5]),
    }
}
