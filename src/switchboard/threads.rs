//! The plain threads: the owner of state, which decides, and blocks only where it writes by itself ([`super::ways`]);
//! the writer of the log, which blocks in fsync; and the keeper of the cache, for which nobody waits.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::admission::{Admission, Place};
use super::core::{Core, Save, Saved};
use super::gauges::Gauges;
use super::group::Written;
use super::port::{ListJob, Request};
use super::restore::keep;
use super::ways::Ways;
use super::writer::{Outlet, Writer, write_groups};
use crate::domain::{Name, Role, Time};
use crate::log::{Cache, Log, Reader};

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
    outlet: Box<dyn Outlet>,
    clock: Clock,
) -> std::io::Result<(Handle, Threads)> {
    // Whatever has a place has room here, and a little beside it for what the threads tell each other.
    let (inputs, heard) = sync_channel(waiting_max + INPUTS_BESIDE);
    let admission = core.admission();
    let (groups, to_write) = sync_channel(1);
    let (saves, to_keep) = sync_channel(1);
    let reader = log.reader();
    let shared = Arc::new(Mutex::new(Some(Writer::new(log, outlet, gauges, clock.clone()))));
    let mut ways = Ways::new(groups, shared.clone());
    let of_writer = inputs.clone();
    let tell = move |written: Option<Written>| of_writer.send(written.map_or(Input::LogFailed, Input::Written)).is_ok();
    let writer = Builder::new().name("writer".into()).spawn(move || write_groups(&shared, &to_write, tell))?;
    let of_keeper = inputs.clone();
    let keeper =
        Builder::new().name("keeper".into()).spawn(move || keep_states(&cache, &reader, &to_keep, &of_keeper))?;
    let owner = Builder::new().name("owner".into()).spawn(move || {
        let heard = Heard { inputs: heard, max: waiting_max + INPUTS_BESIDE };
        own(core, &heard, &mut ways, &saves, &clock)
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

fn own(mut core: Core, heard: &Heard, ways: &mut Ways, saves: &SyncSender<Save>, clock: &Clock) -> Core {
    let mut stopping_since = None;
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
            ways.give_up(&mut core);
            return core;
        }
        core.step(clock());
        let writes = ways.write(&mut core);
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
    if core.has_work() || core.has_failed() {
        return Duration::ZERO;
    }
    let next = core.next_look().into_iter().chain(core.next_save()).min();
    let until = next.map(|at| Duration::from_millis(at.ms_since(now)));
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
