//! The plain threads: the owner of state, which decides and never blocks; the writer of the log,
//! which blocks in fsync; and the keeper of the cache, for which nobody waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::admission::{Admission, Place};
use super::core::{Core, Save, Saved};
use super::gauges::Gauges;
use super::group::{Group, Written};
use super::port::{Effect, ListJob, Request};
use super::restore::keep;
use crate::domain::{Name, Role, Time};
use crate::log::{Cache, Log, LogError, Outcome, Reader, Room};

/// What the owner hears.
enum Input {
    Request(Request, Place),
    Ready(bool),
    ClosedPage(Box<ListJob>),
    Written(Written),
    Gone(u64),
    Saved,
    SaveFailed,
    LogFailed,
    Stop,
}

/// Tells the time; the only clock that the switchboard has.
pub type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// Takes the effects of one group, in order, on the writer's thread.
pub type Outlet = Box<dyn FnMut(Vec<Effect>) + Send>;

/// How the edge reaches the owner of state. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    inputs: SyncSender<Input>,
    admission: Arc<Admission>,
}

/// The threads of a running switchboard.
pub struct Threads {
    owner: JoinHandle<Core>,
    writer: JoinHandle<Box<dyn Log>>,
    keeper: JoinHandle<()>,
}

/// Inputs heard before anything is decided.
const INPUTS_IN_ONE_GO_MAX: usize = 4096;
/// Inputs that are no requests: each sender of them waits, so a few are enough.
const INPUTS_BESIDE: usize = 256;

/// How long a stop waits for pages that are being read.
const PAGES_WAIT_MS: u64 = 5000;

/// How long, and how often, a group waits for room on a disk that has just filled up: half a minute.
const ROOM_WAIT: Duration = Duration::from_millis(100);
const ROOM_WAITS_MAX: usize = 300;

/// The wait between two looks where nothing falls due.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Handle {
    /// A place for a request of that caller, of so many bytes, if the queue has room for it.
    pub fn admit(&self, role: Role, name: &str, bytes: usize) -> Option<Place> {
        self.admission.admit(role, name, bytes)
    }

    /// Hands over a request that has its place; gives it back where nobody is there any more. Never blocks.
    #[allow(clippy::result_large_err, reason = "what is given back is the request itself")]
    pub fn hand_over(&self, request: Request, place: Place) -> Result<(), Request> {
        match self.inputs.try_send(Input::Request(request, place)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(Input::Request(back, _)) | TrySendError::Disconnected(Input::Request(back, _))) => {
                Err(back)
            }
            Err(_) => unreachable!("what comes back is what was sent"),
        }
    }

    /// Hands a request over; gives it back where the queue is full or nobody is there any more. Never blocks.
    #[allow(clippy::result_large_err, reason = "what is given back is the request itself")]
    pub fn request(&self, request: Request) -> Result<(), Request> {
        match self.admit(request.by.role, request.by.name.as_ref().map_or("", Name::as_str), 0) {
            Some(place) => self.hand_over(request, place),
            None => Err(request),
        }
    }

    /// Says whether the service is ready: timers rest while it is not.
    pub fn ready(&self, ready: bool) {
        let _ = self.inputs.send(Input::Ready(ready));
    }

    /// Hands back a page whose closed conversations were read.
    pub fn closed_page(&self, job: Box<ListJob>) {
        let _ = self.inputs.send(Input::ClosedPage(job));
    }

    /// Says that all that leaves of a group has left. Never blocks: few groups are on their way, so there is always room.
    pub fn gone(&self, number: u64) {
        let _ = self.inputs.try_send(Input::Gone(number));
    }

    /// Takes no more requests, decides what waits, and lets the outlet run dry.
    pub fn stop(&self) {
        let _ = self.inputs.send(Input::Stop);
    }
}

/// Starts the threads.
pub fn start(
    core: Core,
    log: Box<dyn Log>,
    cache: Cache,
    gauges: Arc<Gauges>,
    waiting_max: usize,
    outlet: Outlet,
    clock: Clock,
) -> std::io::Result<(Handle, Threads)> {
    // Whatever has a place has room here, and a little beside it for what the threads tell each other.
    let (inputs, heard) = sync_channel(waiting_max + INPUTS_BESIDE);
    let admission = core.admission();
    let (groups, to_write) = sync_channel(1);
    let (saves, to_keep) = sync_channel(1);
    let reader = log.reader();
    let (of_writer, of_writers_clock) = (inputs.clone(), clock.clone());
    let writer = Builder::new()
        .name("writer".into())
        .spawn(move || write_groups(log, &to_write, &of_writer, &gauges, outlet, &of_writers_clock))?;
    let of_keeper = inputs.clone();
    let keeper =
        Builder::new().name("keeper".into()).spawn(move || keep_states(&cache, &reader, &to_keep, &of_keeper))?;
    let owner = Builder::new().name("owner".into()).spawn(move || {
        let heard = Heard { inputs: heard, max: waiting_max + INPUTS_BESIDE };
        own(core, &heard, &groups, &saves, &clock)
    })?;
    Ok((Handle { inputs, admission }, Threads { owner, writer, keeper }))
}

impl Threads {
    /// Waits until all is written and kept, and gives the log back to be closed.
    pub fn join(self) -> std::thread::Result<Box<dyn Log>> {
        self.owner.join()?;
        self.keeper.join()?;
        self.writer.join()
    }
}

/// What comes to the owner, and how much of it may wait.
struct Heard {
    inputs: Receiver<Input>,
    max: usize,
}

fn own(mut core: Core, heard: &Heard, groups: &SyncSender<Group>, saves: &SyncSender<Save>, clock: &Clock) -> Core {
    let mut stopping_since = None;
    let mut writes = true;
    loop {
        let wait = wait(&core, clock());
        match heard.inputs.recv_timeout(wait) {
            Ok(input) => stopping_since = stopping_since.or(hear(&mut core, input, clock)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return core,
        }
        for _ in 0..INPUTS_IN_ONE_GO_MAX {
            let Ok(input) = heard.inputs.try_recv() else { break };
            stopping_since = stopping_since.or(hear(&mut core, input, clock));
        }
        if core.has_failed() {
            // All that found a place: more may come for ever.
            for input in heard.inputs.try_iter().take(heard.max) {
                hear(&mut core, input, clock);
            }
            if let Some(group) = core.give_up() {
                let _ = groups.send(group);
            }
            return core;
        }
        core.step(clock());
        // What is decided during a write goes into one group, which costs and takes as long as one: so the next is handed
        // over when the last one is written. Then there is always room for it.
        if core.is_written()
            && let Some(group) = core.take_group()
        {
            writes = groups.try_send(group).is_ok();
        }
        if let Some(save) = core.take_save() {
            // One round at a time is under way, so there is always room.
            let _ = saves.try_send(save);
        }
        if !writes {
            return core;
        }
        let Some(since) = stopping_since else { continue };
        // Whoever reads a page may be gone already, so that is not waited for for ever.
        let is_over = !core.awaits_pages() || clock().ms_since(since) > PAGES_WAIT_MS;
        if core.is_idle() && is_over {
            core.save_all();
            if core.is_saved() {
                return core;
            }
        }
    }
}

fn wait(core: &Core, now: Time) -> Duration {
    if core.has_work() {
        return Duration::ZERO;
    }
    let until = core.next_look().map(|at| Duration::from_millis(at.ms_since(now)));
    until.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)
}

/// Takes one input in; the time, where it is the one to stop.
fn hear(core: &mut Core, input: Input, clock: &Clock) -> Option<Time> {
    match input {
        Input::Request(request, place) => core.admitted(request, place),
        Input::Ready(ready) => core.ready(ready, clock()),
        Input::ClosedPage(job) => core.closed_page(*job),
        Input::Written(written) => core.written(written),
        Input::Gone(number) => core.gone(number),
        Input::Saved => core.saved(Saved, clock()),
        Input::SaveFailed => core.save_failed(),
        Input::LogFailed => core.log_failed(),
        Input::Stop => {
            core.stop();
            return Some(clock());
        }
    }
    None
}

fn write_groups(
    mut log: Box<dyn Log>,
    to_write: &Receiver<Group>,
    inputs: &SyncSender<Input>,
    gauges: &Gauges,
    mut outlet: Outlet,
    clock: &Clock,
) -> Box<dyn Log> {
    look_for_room(log.as_ref(), gauges);
    loop {
        let mut group = match to_write.recv_timeout(LOOK_EVERY) {
            Ok(group) => group,
            Err(RecvTimeoutError::Timeout) => {
                // A full disk stops timers too, and then nothing may ever come that asks again.
                look_for_room(log.as_ref(), gauges);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return log,
        };
        let begun = clock();
        let positions = match append_when_there_is_room(log.as_mut(), &group, gauges) {
            Ok(positions) => positions,
            Err(error) => {
                tracing::error!(%error, "the log could not be written: the service stops, and the outcome of what was under way is unknown");
                gauges.log_failed.store(true, Ordering::Relaxed);
                outlet(group.into_failure());
                let _ = inputs.send(Input::LogFailed);
                // What the owner decided meanwhile, and what still waits, hears the same until it has given up.
                to_write.iter().for_each(|group| outlet(group.into_failure()));
                return log;
            }
        };
        let (number, took_ms) = (group.number, clock().ms_since(begun));
        let frames =
            std::mem::take(&mut group.owners).into_iter().zip(positions.iter().map(|(frame, _)| *frame)).collect();
        if let Some(draft) = group.drafts.last() {
            Gauges::set(&gauges.durable_through, draft.first_seq + u64::from(draft.events) - 1);
            gauges.groups.fetch_add(1, Ordering::Relaxed);
            gauges.decisions.fetch_add(group.drafts.len() as u64, Ordering::Relaxed);
        }
        let hashes: Vec<[u8; 32]> = positions.iter().map(|(_, hash)| *hash).collect();
        outlet(group.into_effects(&hashes));
        if inputs.send(Input::Written(Written { number, frames, took_ms })).is_err() {
            return log;
        }
    }
}

fn look_for_room(log: &dyn Log, gauges: &Gauges) {
    let room = log.room();
    let is_full = matches!(room, Room::Full { .. });
    if gauges.storage_full.swap(is_full, Ordering::Relaxed) == is_full {
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

/// Appends a group. Where another program has just filled the disk, which nothing foresees, nothing was written: the
/// group, and everything behind it, waits for room, for a while.
fn append_when_there_is_room(
    log: &mut dyn Log,
    group: &Group,
    gauges: &Gauges,
) -> Result<Vec<(u64, [u8; 32])>, LogError> {
    let mut waits = 0;
    loop {
        match append(log, group, gauges) {
            Err(LogError::Full { .. }) if waits < ROOM_WAITS_MAX => {
                gauges.storage_full.store(true, Ordering::Relaxed);
                waits += 1;
                std::thread::sleep(ROOM_WAIT);
            }
            appended => return appended,
        }
    }
}

/// Appends the group's decisions; none is on stable storage unless all are.
fn append(log: &mut dyn Log, group: &Group, gauges: &Gauges) -> Result<Vec<(u64, [u8; 32])>, LogError> {
    look_for_room(log, gauges);
    if group.drafts.is_empty() {
        return Ok(Vec::new());
    }
    let outcomes = log.append(&group.drafts, gauges.published_through.load(Ordering::Relaxed))?;
    let durable = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Durable(position) => Ok((position.frame, position.hash)),
        // With one owner of state nobody else can have been first, and a local log knows what it wrote.
        Outcome::Conflict | Outcome::Unknown => Err(LogError::Stopped),
    });
    durable.collect()
}

fn keep_states(cache: &Cache, reader: &Reader, to_keep: &Receiver<Save>, inputs: &SyncSender<Input>) {
    while let Ok(save) = to_keep.recv() {
        if let Err(error) = keep(cache, &save, reader) {
            // Nothing is lost: the next start reads more of the log. What is closed stays in memory.
            tracing::error!(error, "the cache could not be written");
            let _ = inputs.send(Input::SaveFailed);
            return;
        }
        if inputs.send(Input::Saved).is_err() {
            return;
        }
    }
}
