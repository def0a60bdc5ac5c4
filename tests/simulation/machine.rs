//! The machine: its clock, its disk, and the switchboard that runs on it, a step of a thread at a time.
//!
//! [`Process`] does what the threads and the publisher of the service do, in the same order, but each only when told
//! to: hear an input, take a turn, write a group, keep a round, carry effects out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use switchboard::domain::Time;
use switchboard::log::{Cache, Log, LogError, MemoryLog, Outcome, Reader, Room, SimulatedCache, SimulatedDisk};
use switchboard::switchboard::core::{Core, Limits, Restored, Save, Saved};
use switchboard::switchboard::fingerprint::Secret;
use switchboard::switchboard::group::{Group, Written};
use switchboard::switchboard::past::{Archive, ReadOutcome, read, recorded_from};
use switchboard::switchboard::port::{Answer, Effect, ListJob, ReadJob, Recorded, Relay, Request};
use switchboard::switchboard::publication::Publication;
use switchboard::switchboard::restore::{keep, restore_in_parts};
use switchboard::switchboard::{Gauges, PartSizes};
use uuid::Uuid;

pub const LOG_ID: Uuid = Uuid::from_u128(0x51_4d);

/// How a run is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub limits: Limits,
    /// Groups that may be on their way to the disk.
    pub flying_max: usize,
    pub waiting_max: usize,
    /// Conversations that a start holds before it hands them to the cache.
    pub changed_max: usize,
    pub conversations: u64,
}

/// What survives the process.
pub struct Machine {
    pub disk: SimulatedDisk,
    pub cache: SimulatedCache,
    pub clock: Time,
    /// An older copy of the cache.
    pub old_cache: Option<SimulatedCache>,
}

/// What the owner of state hears, in one line.
pub enum Input {
    Request(Box<Request>),
    Ready(bool),
    ClosedPage(Box<ListJob>),
    Written(Written),
    Gone(u64),
    Saved,
    SaveFailed,
    LogFailed,
    Stop,
}

/// Something on its way from the service to the server.
#[derive(Debug, Clone)]
pub enum Sent {
    Event { seq: u64, kind: &'static str, hash: [u8; 32] },
    Copy { to: String, seq: u64 },
    Relay(Arc<Relay>),
    Answer { to: String, body: Arc<Vec<u8>>, code: Option<&'static str> },
    Fence { through: u64 },
}

pub struct Process {
    pub core: Core,
    pub log: MemoryLog,
    pub cache: Cache,
    pub gauges: Arc<Gauges>,
    pub inputs: VecDeque<Input>,
    pub is_linked: bool,
    /// The latest time that it was told.
    pub latest: Time,
    pub is_ready_since: Option<Time>,
    /// The earliest moment at which it was ready.
    pub ready_at: Option<Time>,
    pub is_stopping: bool,
    publication: Publication,
    setup: Setup,
    flying: VecDeque<Group>,
    waits_for_room: usize,
    outlet: VecDeque<Vec<Effect>>,
    reads: VecDeque<ReadJob>,
    saving: Option<Save>,
    has_failed: bool,
    is_owner_gone: bool,
    /// What it sends, for whoever carries it on.
    pub sent: Vec<Sent>,
}

/// What a start read.
pub struct Opened {
    pub log: MemoryLog,
    pub cache: Cache,
    pub restored: Restored,
}

impl Machine {
    pub fn new(clock: Time) -> Machine {
        Machine { disk: SimulatedDisk::default(), cache: SimulatedCache::default(), clock, old_cache: None }
    }

    /// What a start does before anything is served.
    pub fn open(&self, setup: &Setup) -> Result<Opened, String> {
        let log = MemoryLog::open(&self.disk, LOG_ID).map_err(|error| error.to_string())?;
        let reader = log.reader();
        let (cache, through) = Cache::open_simulated(&self.cache, &reader).map_err(|error| error.to_string())?;
        let sizes = setup.limits.parts;
        match restore_in_parts(&reader, &cache, through, setup.changed_max, sizes, |_| {}) {
            Ok(restored) => Ok(Opened { log, cache, restored }),
            Err(_) if through.is_some() => {
                let cache = cache.start_over().map_err(|error| error.to_string())?;
                let restored = restore_in_parts(&reader, &cache, None, setup.changed_max, sizes, |_| {})?;
                Ok(Opened { log, cache, restored })
            }
            Err(why) => Err(why),
        }
    }

    /// What a start without any cache would read.
    pub fn restored_from_the_log(reader: &Reader, sizes: PartSizes) -> (Cache, Restored) {
        let (cache, through) = Cache::open_simulated(&SimulatedCache::default(), reader).unwrap();
        let restored = restore_in_parts(reader, &cache, through, usize::MAX, sizes, |_| {}).unwrap();
        (cache, restored)
    }
}

impl Process {
    pub fn start(setup: &Setup, opened: Opened, now: Time) -> Process {
        let Opened { log, cache, restored, .. } = opened;
        let gauges = Arc::new(Gauges::default());
        let head = log.reader().head();
        Gauges::set(&gauges.durable_through, head.next_seq - 1);
        Gauges::set(&gauges.published_through, head.published_through);
        let secret = Secret([7; 32]);
        let core = Core::new(secret, Box::new(cache.clone()), gauges.clone(), setup.waiting_max, restored);
        Process {
            core: core.with_limits(setup.limits),
            log,
            cache,
            gauges,
            inputs: VecDeque::new(),
            is_linked: false,
            latest: now.max(Time(head.last_at)),
            is_ready_since: None,
            ready_at: None,
            is_stopping: false,
            publication: Publication::new(head.published_through),
            setup: *setup,
            flying: VecDeque::new(),
            waits_for_room: 0,
            outlet: VecDeque::new(),
            reads: VecDeque::new(),
            saving: None,
            has_failed: false,
            is_owner_gone: false,
            sent: Vec::new(),
        }
    }

    pub fn archive(&self) -> Archive {
        Archive { reader: self.log.reader(), cache: Some(self.cache.clone()), key: [7; 32] }
    }

    /// The owner hears one input.
    pub fn hear(&mut self, now: Time) -> bool {
        if self.is_owner_gone {
            return false;
        }
        let Some(input) = self.inputs.pop_front() else { return false };
        self.latest = self.latest.max(now);
        match input {
            Input::Request(request) => self.core.request(*request),
            Input::Ready(ready) => {
                self.core.ready(ready, now);
                if ready {
                    self.ready_at = Some(self.ready_at.map_or(now, |at| at.min(now)));
                }
                self.is_ready_since = ready.then_some(self.is_ready_since.unwrap_or(self.latest));
            }
            Input::ClosedPage(job) => self.core.closed_page(*job),
            Input::Written(written) => self.core.written(written),
            Input::Gone(number) => self.core.gone(number),
            Input::Saved => self.core.saved(Saved, now),
            Input::SaveFailed => self.core.save_failed(),
            Input::LogFailed => self.core.log_failed(),
            Input::Stop => {
                self.core.stop();
                self.is_stopping = true;
            }
        }
        true
    }

    /// The owner takes a turn.
    pub fn turn(&mut self, now: Time) {
        if self.is_owner_gone {
            return;
        }
        self.latest = self.latest.max(now);
        if self.core.has_failed() {
            while self.hear(now) {}
            self.flying.extend(self.core.give_up());
            self.is_owner_gone = true;
            return;
        }
        self.core.step(now);
        if self.flying.len() < self.setup.flying_max {
            self.flying.extend(self.core.take_group());
        }
        if let Some(save) = self.core.take_save() {
            assert!(self.saving.is_none(), "one round at a time is under way");
            self.saving = Some(save);
        }
        if self.is_stopping && self.core.is_idle() && !self.core.awaits_pages() {
            self.core.save_all();
            self.is_owner_gone = self.core.is_saved();
        }
    }

    /// The writer writes one group.
    pub fn write(&mut self) -> bool {
        self.look_for_room();
        if self.has_failed {
            let failed = self.flying.drain(..).map(Group::into_failure);
            self.outlet.extend(failed);
            return false;
        }
        let Some(group) = self.flying.pop_front() else { return false };
        match self.append(&group) {
            Ok(positions) => {
                self.waits_for_room = 0;
                if let Some(draft) = group.drafts.last() {
                    Gauges::set(&self.gauges.durable_through, draft.first_seq + u64::from(draft.events) - 1);
                }
                let number = group.number;
                let frames = group.owners.iter().cloned().zip(positions.iter().map(|(frame, _)| *frame)).collect();
                let hashes: Vec<_> = positions.iter().map(|(_, hash)| *hash).collect();
                self.outlet.push_back(group.into_effects(&hashes));
                self.inputs.push_back(Input::Written(Written { number, frames, took_ms: 0 }));
            }
            Err(LogError::Full { .. }) if self.waits_for_room < 8 => {
                self.waits_for_room += 1;
                self.gauges.storage_full.store(true, Relaxed);
                self.flying.push_front(group);
                return false;
            }
            Err(_) => {
                self.has_failed = true;
                self.gauges.log_failed.store(true, Relaxed);
                self.outlet.push_back(group.into_failure());
                self.inputs.push_back(Input::LogFailed);
            }
        }
        true
    }

    pub fn look_for_room(&mut self) {
        let is_full = matches!(self.log.room(), Room::Full { .. });
        self.gauges.storage_full.store(is_full, Relaxed);
    }

    fn append(&mut self, group: &Group) -> Result<Vec<(u64, [u8; 32])>, LogError> {
        if group.drafts.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = self.log.append(&group.drafts, self.gauges.published_through.load(Relaxed))?;
        let position = |outcome| match outcome {
            Outcome::Durable(position) => (position.frame, position.hash),
            other => panic!("one writer alone got {other:?}"),
        };
        Ok(outcomes.into_iter().map(position).collect())
    }

    /// The keeper keeps the round that is under way.
    pub fn keep(&mut self) -> bool {
        let Some(save) = self.saving.take() else { return false };
        match keep(&self.cache, &save, &self.log.reader()) {
            Ok(()) => self.inputs.push_back(Input::Saved),
            Err(_) => self.inputs.push_back(Input::SaveFailed),
        }
        true
    }

    /// One question is read from the log or the cache.
    pub fn read(&mut self) -> bool {
        let Some(job) = self.reads.pop_front() else { return false };
        match read(job, &self.archive()) {
            ReadOutcome::Answer(answer) => self.answer(answer),
            ReadOutcome::Closed(job) => self.inputs.push_back(Input::ClosedPage(job)),
            ReadOutcome::Nothing => {}
        }
        true
    }

    // The publisher

    /// There is a connection: what was recorded and is not proved to be published goes first.
    pub fn link(&mut self) {
        self.is_linked = true;
        let durable = self.gauges.durable_through.load(Relaxed);
        let Some(wanted) = self.publication.connected(durable) else { return };
        let (from, through) = wanted.into_inner();
        let decisions: Vec<Recorded> = recorded_from(&self.archive(), from, through).map(Result::unwrap).collect();
        decisions.iter().for_each(|recorded| self.recorded(recorded));
    }

    /// What one group came to is carried out.
    pub fn publish(&mut self) -> bool {
        let Some(effects) = self.outlet.pop_front() else { return false };
        for effect in effects {
            match effect {
                Effect::Recorded(recorded) => self.recorded(&recorded),
                Effect::Relay(relay) => self.send(Sent::Relay(Arc::new(relay))),
                Effect::Answer(answer) => self.answer(answer),
                Effect::Rejection(_) => {}
                Effect::Read(job) => self.reads.push_back(*job),
                Effect::Gone(number) => self.inputs.push_back(Input::Gone(number)),
            }
        }
        true
    }

    /// It is asked how far publication got.
    pub fn fence(&mut self) {
        if let Some(through) = self.publication.unproved() {
            self.send(Sent::Fence { through });
        }
    }

    /// The answer to that.
    pub fn confirmed(&mut self, through: u64) {
        let proved = self.publication.proved(through);
        self.gauges.published_through.fetch_max(proved, Relaxed);
    }

    /// Through which event all is sent on this connection.
    pub fn sent_through(&self) -> u64 {
        self.publication.sent_through()
    }

    fn recorded(&mut self, recorded: &Recorded) {
        if !self.is_linked {
            return;
        }
        for event in &recorded.events {
            if !self.publication.is_for_sending(event.seq) {
                continue;
            }
            self.sent.push(Sent::Event { seq: event.seq, kind: event.full_name, hash: recorded.hash });
            let inbox = recorded.inbox.iter().map(|name| format!("inbox of {name}"));
            let channel = recorded.channel.iter().map(|name| format!("inbox of channel {name}"));
            let standby = recorded.standby.iter().map(|name| format!("standby of {name}"));
            let copies = inbox.chain(channel).chain(standby).map(|to| Sent::Copy { to, seq: event.seq });
            self.sent.extend(copies);
            self.publication.sent(event.seq);
        }
    }

    fn answer(&mut self, answer: Answer) {
        let Answer { to, body, refusal, .. } = answer;
        let code = refusal.map(|refusal| refusal.code());
        self.send(Sent::Answer { to: to.to_string(), body: Arc::new(body.to_vec()), code });
    }

    fn send(&mut self, sent: Sent) {
        if self.is_linked {
            self.sent.push(sent);
        }
    }

    // The end

    /// Whether nothing moves any more, though time passes.
    pub fn is_over(&self) -> bool {
        self.is_owner_gone && self.flying.is_empty() && self.outlet.is_empty() && self.saving.is_none()
    }

    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// What the service does after the threads have ended; it may be killed in the middle of that.
    pub fn close(self, is_killed: bool) {
        let Process { log, cache, gauges, core, .. } = self;
        drop(core);
        if gauges.log_failed.load(Relaxed) {
            return;
        }
        if Box::new(log).close(gauges.published_through.load(Relaxed)).is_ok() && !is_killed {
            let _ = cache.close();
        }
    }
}
