//! Keeping states in the cache, so that a start reads them and the tail of the log, and what is closed may leave memory.
//!
//! Only what is on stable storage in the log may stand in the cache. A round therefore keeps each
//! conversation at a moment when nothing of it is on its way to disk; for those that never rest
//! it holds new decisions back for the one write that is under way.

use serde::{Deserialize, Serialize};

use super::put::{Kept, PutDecided};
use super::{Core, Limits};
use crate::domain::conversation::Status;
use crate::domain::words::CONFIG_ID;
use crate::domain::{ConversationId, Text, Time};
use crate::log::{Part, Place};
use crate::switchboard::rest::Rest;
use crate::switchboard::slot::Slot;

/// Rounds in a row after which nothing leaves memory because somebody reads a page, which would have to start over.
const PUT_OFF_MAX: u32 = 8;

/// States to be kept in the cache.
#[derive(Debug, Default)]
pub struct Save {
    /// Each conversation, where it belongs, and its state.
    pub states: Vec<(Text, Place, Vec<u8>)>,
    /// Parts of conversations that are kept once, each with its number.
    pub parts: Vec<(Text, Part, u64, Vec<u8>)>,
    /// The frame up to which the cache holds everything afterwards.
    pub through: u64,
    /// Whether it is for a stop, which waits for it.
    pub is_last: bool,
}

/// A round is kept.
#[derive(Debug)]
pub struct Saved;

/// Where the keeping of states has come to.
#[derive(Debug, Default)]
pub struct Saving {
    /// Changed since they were kept last.
    changed: Vec<ConversationId>,
    /// Kept, or read from the cache: what is closed of them may leave memory.
    unchanged: Vec<ConversationId>,
    /// Those of them that are looked at now, a bounded step at a time.
    pub(super) leaving: Vec<ConversationId>,
    round: Option<Round>,
    /// How fast these go, or the round, whichever there is: never both.
    pub(super) pace: Pace,
    is_being_kept: bool,
    is_config_kept_through: usize,
    last_at: Time,
    is_last: bool,
    is_broken: bool,
    evictions_put_off: u32,
}

/// Goes through many conversations evenly, over a while: nobody waits for that, and all would wait for what it takes at
/// once, where there is little to spare.
#[derive(Debug, Default)]
pub(super) struct Pace {
    began: Time,
    all: usize,
    done: usize,
    /// When more are due, where nothing is until then.
    next_at: Option<Time>,
}

#[derive(Debug, Default)]
struct Round {
    todo: Vec<ConversationId>,
    restless: Vec<ConversationId>,
    steps: u32,
    save: Save,
}

/// What the cache keeps of the configuration: its events are read from the log.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ConfigHead {
    /// The frames that hold its entries.
    pub frames: Vec<u64>,
    /// What the last file that was applied is told by.
    pub file: Option<String>,
}

impl Saving {
    /// Notes that a conversation is no longer as it was kept.
    pub fn changed(&mut self, id: ConversationId) {
        self.changed.push(id);
    }

    /// Notes that a conversation was read from the cache.
    pub fn loaded(&mut self, id: ConversationId) {
        self.unchanged.push(id);
    }

    /// Whether a round has something to do at once; the last one begins without waiting for its time.
    pub fn has_work(&self) -> bool {
        let is_due = self.pace.next_at.is_none();
        match &self.round {
            Some(round) => !round.todo.is_empty() && is_due,
            None if !self.leaving.is_empty() => is_due,
            None => self.is_last && !self.is_being_kept && !self.is_broken && !self.changed.is_empty(),
        }
    }

    /// Whether nothing but conversations that wait for their group to be written keep a round from its end.
    pub fn has_restless(&self) -> bool {
        self.round.as_ref().is_some_and(|round| round.todo.is_empty() && !round.restless.is_empty())
    }

    /// When it goes on, where it has nothing to do until then.
    pub fn next_at(&self) -> Option<Time> {
        let has_todo = !self.leaving.is_empty() || self.round.as_ref().is_some_and(|round| !round.todo.is_empty());
        self.pace.next_at.filter(|_| has_todo)
    }

    /// Whether decisions are held back until what is under way is written.
    pub fn is_waiting(&self, patience_steps: u32) -> bool {
        let waits =
            |round: &Round| round.steps > patience_steps && !(round.todo.is_empty() && round.restless.is_empty());
        self.round.as_ref().is_some_and(waits)
    }
}

impl Pace {
    /// Begins with so many.
    pub fn begin(&mut self, all: usize, now: Time) {
        *self = Pace { began: now, all, done: 0, next_at: None };
    }

    /// How many are due now, of which all are then done: few enough for one step.
    pub fn take(&mut self, now: Time, limits: &Limits) -> usize {
        let most = limits.save_conversations_max;
        // Few are done in one step; and it goes by the clock itself, which holds nothing up where it was put back.
        let are_due = match now < self.began || self.all <= most {
            true => most,
            false => {
                let passed = now.ms_since(self.began) + 1;
                let reached = (self.all as u64).saturating_mul(passed) / limits.save_over_ms.max(1);
                (reached as usize).saturating_sub(self.done).min(most)
            }
        };
        self.done += are_due;
        self.next_at = (are_due < most).then(|| now.plus_ms(1));
        are_due
    }

    /// Waits no longer.
    pub fn go_on(&mut self) {
        self.next_at = None;
    }
}

impl Core {
    /// What is to be kept now, once a round is complete.
    pub fn take_save(&mut self) -> Option<Save> {
        let is_config_kept = self.config.in_group <= self.written;
        let is_complete = |round: &Round| round.todo.is_empty() && round.restless.is_empty() && is_config_kept;
        // A full disk is for the log alone; but a stop tries, and waits for no room.
        let may_keep = !self.saving.is_being_kept && (self.saving.is_last || !self.is_storage_full());
        if !may_keep || !self.saving.round.as_ref().is_some_and(is_complete) {
            return None;
        }
        let mut save = self.saving.round.take()?.save;
        if self.config.frames.len() != self.saving.is_config_kept_through {
            self.saving.is_config_kept_through = self.config.frames.len();
            save.states.push((CONFIG_ID.into(), Place::Open, self.config.to_head()));
        }
        save.is_last = self.saving.is_last;
        self.saving.is_being_kept = true;
        Some(save)
    }

    /// Takes in that the round is kept: what is closed and unchanged leaves memory.
    pub fn saved(&mut self, _: Saved, now: Time) {
        self.saving.is_being_kept = false;
        self.saving.last_at = now;
        // A page under way would have to start over. One that begins later finds in the cache whatever leaves until the next
        // round is kept.
        let is_put_off = self.has_pages() && self.saving.evictions_put_off < PUT_OFF_MAX;
        self.saving.evictions_put_off = if is_put_off { self.saving.evictions_put_off + 1 } else { 0 };
        self.evictions += u64::from(!is_put_off);
        if self.saving.is_last {
            // A stop waits for nobody to leave, and no round begins for them.
            self.saving.unchanged.clear();
        } else if !is_put_off {
            let unchanged = std::mem::take(&mut self.saving.unchanged);
            self.saving.leaving.extend(unchanged);
            self.saving.pace.begin(self.saving.leaving.len(), now);
        }
    }

    /// Takes in that the cache cannot be written: nothing is kept any more, and the next start reads the log instead.
    pub fn save_failed(&mut self) {
        self.saving.is_broken = true;
        self.saving.round = None;
    }

    /// Keeps everything that is not kept yet, before the end; on a full disk the next start reads the log instead.
    pub fn save_all(&mut self) {
        self.saving.is_last = true;
        self.saving.leaving.clear();
        self.saving.pace.go_on();
        if self.is_storage_full() {
            self.save_failed();
        }
    }

    /// Whether everything is kept.
    pub fn is_saved(&self) -> bool {
        let is_kept = self.saving.changed.is_empty() && self.saving.round.is_none() && !self.saving.is_being_kept;
        is_kept || self.saving.is_broken
    }

    /// Begins a round when it is time, and goes on with it a bounded step at a time.
    pub(super) fn continue_saving(&mut self, now: Time) {
        // What leaves is judged by the round before: what this one takes is not in the cache yet.
        let is_free = self.saving.round.is_none() && !self.saving.is_being_kept && self.saving.leaving.is_empty();
        if is_free && self.is_time_to_save(now) {
            let todo = std::mem::take(&mut self.saving.changed);
            let states = Vec::with_capacity(todo.len());
            self.saving.pace.begin(todo.len(), now);
            let save = Save { states, through: self.durable_frame, ..Save::default() };
            self.saving.round = Some(Round { todo, save, ..Round::default() });
        }
        let Some(mut round) = self.saving.round.take() else { return };
        if round.todo.is_empty() {
            round.todo = std::mem::take(&mut round.restless);
        }
        // Those that never rest hold decisions up in the end: they are not waited for, nor is anything at a stop.
        let looks = match round.steps > 0 || self.saving.is_last {
            true => self.limits.save_conversations_max,
            false => self.saving.pace.take(now, &self.limits),
        };
        for _ in 0..looks {
            let Some(id) = round.todo.pop() else { break };
            match self.slots.get_mut(&id) {
                Some(slot) if slot.in_group > self.written => {
                    round.restless.push(id);
                    continue;
                }
                Some(slot) => round.save.take(slot),
                None => match self.known.get_mut(&id) {
                    Some(Some(rest)) => {
                        if let Err(error) = round.save.take_resting(&id, rest) {
                            tracing::error!(error, "a conversation at rest does not read, and is not kept");
                            self.archive.doubt();
                            continue;
                        }
                    }
                    _ => continue,
                },
            }
            self.saving.unchanged.push(id);
        }
        if round.todo.is_empty() {
            round.steps += u32::from(!round.restless.is_empty());
            self.saving.pace.go_on();
        }
        self.saving.round = Some(round);
    }

    fn is_time_to_save(&self, now: Time) -> bool {
        let passed = now.ms_since(self.saving.last_at);
        let is_due = passed >= self.limits.save_every_ms || now < self.saving.last_at || self.saving.is_last;
        let has_changes =
            !self.saving.changed.is_empty() || self.config.frames.len() != self.saving.is_config_kept_through;
        let has_leavers = !self.saving.unchanged.is_empty();
        self.durable_frame > 0
            && !self.saving.is_broken
            && !self.is_storage_full()
            && ((is_due && (has_changes || has_leavers)) || self.saving.changed.len() >= self.limits.save_changed_min)
    }
}

impl Save {
    /// Adds a conversation as it is now.
    pub fn take(&mut self, slot: &mut Slot) {
        let place = if slot.c.status == Status::Closed { Place::Closed } else { Place::Open };
        let id = slot.c.id.text();
        let parts = slot.parts_to_keep().into_iter();
        self.parts.extend(parts.map(|(part, number, bytes)| (id.clone(), part, number, bytes)));
        self.states.push((id, place, slot.to_head()));
        slot.is_dirty = false;
    }

    /// Adds a conversation at rest, of which there is nothing but its head.
    fn take_resting(&mut self, id: &ConversationId, rest: &mut Rest) -> Result<(), String> {
        let (status, head) = (rest.glance()?.status, rest.head()?.to_vec());
        let place = if status == Status::Closed { Place::Closed } else { Place::Open };
        self.states.push((id.text(), place, head));
        rest.set_dirty(false);
        Ok(())
    }
}

impl Kept {
    /// As the cache keeps it.
    pub fn to_head(&self) -> Vec<u8> {
        let head = ConfigHead { frames: self.frames.clone(), file: self.file.clone() };
        serde_json::to_vec(&head).expect("our values are JSON")
    }

    /// Remembers what a command id decided.
    pub fn remember(&mut self, key: u64, digest: u64, events: Vec<(u64, &'static str)>) {
        self.ids.insert(key, PutDecided { digest, events });
    }
}
