//! How much the owner of state does in one go: commands go on in between, and nothing grows without bound.

use crate::switchboard::sizes::PartSizes;

/// The bounds of one step. A simulation makes them small, so that what takes thousands of conversations takes few.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Decisions in one group: more wait in the queue, so that an answer never waits for thousands of others.
    pub group_decisions_max: usize,
    /// Effects in one group: questions and refusals record nothing, and are bounded too.
    pub group_effects_max: usize,
    /// Effects decided and not yet on their way to the server while somebody asks little beside one who asks much, some
    /// fifteen decisions, and twice as many more for each millisecond more that a write takes. Without such a neighbour
    /// groups are full, which costs less.
    pub ahead_effects_max: usize,
    /// Requests that a caller was served lately before it asks much: whoever asks less keeps nobody waiting for long.
    pub much_min: u32,
    /// Bytes in one group, but for the last thing in it: messages at the limit of their size fill it long before the
    /// others do, pages reach half a megabyte, and several groups wait where the server is slow to take them.
    pub group_bytes_max: usize,
    /// Questions about the past that wait for the log: the disk may take its time.
    pub parked_max: usize,
    /// Timers looked at in one go: most of them may have been put off.
    pub timers_max: usize,
    /// Conversations looked at in one go of a round.
    pub round_conversations_max: usize,
    /// Conversations looked at for a page in one step.
    pub page_conversations_max: usize,
    /// A round of keeping states begins when so many conversations changed: a busy one is kept once, however often it
    /// changed meanwhile, and a start after a kill reads so much of the log, in a fraction of a second …
    pub save_changed_min: usize,
    /// … or so long after the last one.
    pub save_every_ms: u64,
    /// Conversations encoded in one step.
    pub save_conversations_max: usize,
    /// How long a round takes over them, and over those that leave memory behind it: at once they would take a core for
    /// some 30 milliseconds, and whoever asks then waits for as long where the machine has little to spare.
    pub save_over_ms: u64,
    /// Conversations awake, each of one or two kilobytes: beyond that those rest that nobody asks for. Long ones, which
    /// never rest, do not count.
    pub awake_max: usize,
    /// Conversations looked at in one step, to see whether they may rest: more than come awake in one.
    pub awake_looks_max: usize,
    /// Steps that a round waits for conversations to rest before it holds decisions back.
    pub save_patience_steps: u32,
    /// The parts in which long conversations are kept.
    pub parts: PartSizes,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            group_decisions_max: 1024,
            group_effects_max: 8 * 1024,
            ahead_effects_max: 32,
            much_min: 1024,
            group_bytes_max: 8 << 20,
            parked_max: 1024,
            timers_max: 512,
            round_conversations_max: 1024,
            page_conversations_max: 1024,
            save_changed_min: 16 * 1024,
            save_every_ms: 2000,
            save_conversations_max: 256,
            save_over_ms: 500,
            awake_max: 32 * 1024,
            awake_looks_max: 2048,
            save_patience_steps: 64,
            parts: PartSizes::default(),
        }
    }
}

impl Limits {
    /// Decisions in a group beyond which nothing more falls due in it: half is for the others.
    pub fn group_timers_max(&self) -> usize {
        self.group_decisions_max.div_ceil(2)
    }

    /// Decisions in a group beyond which a round rests: whatever there is of it and of timers, a quarter is for commands.
    pub fn group_round_max(&self) -> usize {
        (self.group_decisions_max * 3).div_ceil(4)
    }
}
