//! What writes groups into the log and lets leave what rests on them.
//!
//! Its thread does that beside the owner of state, which decides the next group meanwhile. Where there is little to do,
//! waking that thread and being woken by it costs more than it gains: then the owner writes a small group itself, as
//! long as nobody else writes. What comes meanwhile waits, as it would have waited for that write in any case.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::gauges::Gauges;
use super::group::{Group, Written};
use super::port::Effect;
use super::threads::Clock;
use crate::domain::Time;
use crate::log::{Log, LogError, Outcome, Room};

/// Takes the effects of one group, in order, on the thread that wrote it.
pub trait Outlet: Send {
    /// Takes them; waits where there is no room.
    fn take(&mut self, effects: Vec<Effect>);

    /// Whether the next will be taken without waiting.
    fn has_room(&self) -> bool;
}

/// The log, and what is behind it.
pub struct Writer {
    log: Box<dyn Log>,
    outlet: Box<dyn Outlet>,
    gauges: Arc<Gauges>,
    clock: Clock,
    has_failed: bool,
}

/// The writer, for the two threads that write in turn; its own takes it away at its end.
pub type Shared = Arc<Mutex<Option<Writer>>>;

/// Why a group was not written.
pub enum Unwritten {
    /// Nothing of it was: that might wait for room on the disk, or for those who take what leaves.
    NotNow(Box<Group>),
    /// The log failed: whoever waits for the group has been told.
    Failed,
}

type Positions = Vec<(u64, [u8; 32])>;

/// How long, and how often, a group waits for room on a disk that has just filled up: half a minute.
const ROOM_WAIT: Duration = Duration::from_millis(100);
const ROOM_WAITS_MAX: usize = 300;

/// How often it is looked for room where nothing is written.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl<F: FnMut(Vec<Effect>) + Send> Outlet for F {
    fn take(&mut self, effects: Vec<Effect>) {
        self(effects);
    }

    fn has_room(&self) -> bool {
        true
    }
}

/// Writes groups as they come, until nobody sends any more, and gives the log back. Tells what became of each: nothing
/// where the log failed.
pub fn write_groups(
    writer: &Shared,
    groups: &Receiver<Group>,
    mut tell: impl FnMut(Option<Written>) -> bool,
) -> Box<dyn Log> {
    const WHOLE: &str = "whoever writes beside this thread ends it by a panic";
    writer.lock().expect(WHOLE).as_ref().inspect(|writer| writer.look_for_room());
    loop {
        match groups.recv_timeout(LOOK_EVERY) {
            Ok(group) => {
                let written = writer.lock().expect(WHOLE).as_mut().and_then(|writer| writer.write(group));
                let has_failed = written.is_none();
                // Whatever comes after a failure hears the same, though nobody may be left to be told of it.
                if !tell(written) && !has_failed {
                    break;
                }
            }
            // A full disk stops timers too, and then nothing may ever come that asks again.
            Err(RecvTimeoutError::Timeout) => {
                writer.lock().expect(WHOLE).as_ref().inspect(|writer| writer.look_for_room());
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    writer.lock().expect(WHOLE).take().expect("nobody else takes it away").log
}

impl Writer {
    /// What writes into that log.
    pub fn new(log: Box<dyn Log>, outlet: Box<dyn Outlet>, gauges: Arc<Gauges>, clock: Clock) -> Writer {
        Writer { log, outlet, gauges, clock, has_failed: false }
    }

    /// Writes a group where nothing but the disk's usual way is to be waited for.
    pub fn write_at_once(&mut self, group: Group) -> Result<Written, Unwritten> {
        if !self.outlet.has_room() {
            return Err(Unwritten::NotNow(Box::new(group)));
        }
        let begun = (self.clock)();
        match self.append(&group) {
            Err(LogError::Full { .. }) => Err(Unwritten::NotNow(Box::new(group))),
            appended => self.settle(group, appended, begun).ok_or(Unwritten::Failed),
        }
    }

    /// Writes a group; none is written where the log has failed. Where another program has just filled the disk, which
    /// nothing foresees, nothing was written: the group, and everything behind it, waits for room, for a while.
    fn write(&mut self, group: Group) -> Option<Written> {
        let begun = (self.clock)();
        let mut appended = self.append(&group);
        for _ in 0..ROOM_WAITS_MAX {
            if !matches!(appended, Err(LogError::Full { .. })) {
                break;
            }
            std::thread::sleep(ROOM_WAIT);
            appended = self.append(&group);
        }
        self.settle(group, appended, begun)
    }

    /// Lets leave what rests on a group, or the word that the log failed.
    fn settle(&mut self, mut group: Group, appended: Result<Positions, LogError>, begun: Time) -> Option<Written> {
        let positions = match appended {
            Ok(positions) => positions,
            Err(error) => {
                self.fail(&error);
                self.outlet.take(group.into_failure());
                return None;
            }
        };
        let (number, took_ms) = (group.number, (self.clock)().ms_since(begun));
        let frames =
            std::mem::take(&mut group.owners).into_iter().zip(positions.iter().map(|(frame, _)| *frame)).collect();
        if let Some(draft) = group.drafts.last() {
            Gauges::set(&self.gauges.durable_through, draft.first_seq + u64::from(draft.events) - 1);
            self.gauges.groups.fetch_add(1, Ordering::Relaxed);
            self.gauges.decisions.fetch_add(group.drafts.len() as u64, Ordering::Relaxed);
        }
        let hashes: Vec<[u8; 32]> = positions.iter().map(|(_, hash)| *hash).collect();
        self.outlet.take(group.into_effects(&hashes));
        Some(Written { number, frames, took_ms })
    }

    fn fail(&mut self, error: &LogError) {
        if !self.has_failed {
            tracing::error!(%error, "the log could not be written: the service stops, and the outcome of what was under way is unknown");
        }
        self.has_failed = true;
        self.gauges.log_failed.store(true, Ordering::Relaxed);
    }

    /// Appends the group's decisions; none is on stable storage unless all are.
    fn append(&mut self, group: &Group) -> Result<Positions, LogError> {
        if self.has_failed {
            return Err(LogError::Stopped);
        }
        self.look_for_room();
        if group.drafts.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = self.log.append(&group.drafts, self.gauges.published_through.load(Ordering::Relaxed));
        let outcomes = outcomes.inspect_err(|error| {
            if matches!(error, LogError::Full { .. }) {
                self.gauges.storage_full.store(true, Ordering::Relaxed);
            }
        })?;
        let durable = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Durable(position) => Ok((position.frame, position.hash)),
            // With one owner of state nobody else can have been first, and a local log knows what it wrote.
            Outcome::Conflict | Outcome::Unknown => Err(LogError::Stopped),
        });
        durable.collect()
    }

    fn look_for_room(&self) {
        let room = self.log.room();
        let is_full = matches!(room, Room::Full { .. });
        if self.gauges.storage_full.swap(is_full, Ordering::Relaxed) == is_full {
            return;
        }
        match room {
            Room::Full { free, needed } => {
                tracing::error!(
                    free,
                    needed,
                    "no room on the disk: nothing is recorded until there is some; queries go on"
                );
            }
            Room::Enough => tracing::info!("there is room on the disk again: commands are taken"),
        }
    }
}
