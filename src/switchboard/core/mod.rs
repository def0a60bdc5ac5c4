//! The one owner of state: requests in, decisions and effects out, with no clock, disk or thread of its own.
//!
//! While one group is on its way to disk the next is decided on top of it; everything that leaves,
//! answers too, leaves with the group that was open when it came about, so that nothing is shown
//! which is not on stable storage.

mod ahead;
mod archive;
mod commands;
mod counts;
mod limits;
mod pages;
mod put;
mod recording;
mod resting;
mod save;
mod timing;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use ahead::UnderWay;
use bytes::Bytes;
use counts::Counts;
use foldhash::fast::RandomState;

use super::admission::{Admission, Place};
use super::answer::{self, Facts, View};
use super::fingerprint::Secret;
use super::gauges::Gauges;
use super::group::{Group, Written};
use super::port::{Answer, Ask, Effect, Frames, ListJob, PastAsk, PutAsk, Read, ReadJob, Request};
use super::queue::Queue;
use super::rest::Rest;
use super::sheets::Sheets;
use super::slot::Slot;
use crate::domain::decide::check_caller;
use crate::domain::{By, Config, Conversation, ConversationId, Name, Refusal, Role, Text, Time};

pub use archive::Archive;
pub use limits::Limits;
pub use put::{Kept, PutDecided};
pub use save::{ConfigHead, Save, Saved};

/// What a switchboard begins with, read from the log.
#[derive(Debug, Default)]
pub struct Restored {
    /// The configuration, and what belongs to it.
    pub config: put::Kept,
    /// Conversations that are as the cache has them: all that are open and not below.
    pub resting: BTreeMap<ConversationId, Option<Rest>>,
    /// Conversations that are not in the cache, or newer than there.
    pub slots: Vec<Slot>,
    /// The seq that the next event gets.
    pub next_seq: u64,
    /// When the last decision was taken.
    pub last_at: Time,
    /// The last frame of the log.
    pub durable_frame: u64,
}

impl Restored {
    /// The conversations: each with what the cache keeps of it, as it is now.
    pub fn heads(&self) -> impl Iterator<Item = (ConversationId, Vec<u8>)> {
        let head = |rest: &Rest| rest.head().map(<[u8]>::to_vec).unwrap_or_default();
        let resting = self.resting.iter().filter_map(move |(id, rest)| Some((id.clone(), head(rest.as_ref()?))));
        resting.chain(self.slots.iter().map(|slot| (slot.c.id.clone(), slot.to_head())))
    }
}

/// The state of everything, and what waits.
pub struct Core {
    secret: Secret,
    archive: Box<dyn Archive>,
    gauges: Arc<Gauges>,
    limits: Limits,
    config: put::Kept,
    /// The conversations that are awake. Each stands in a box, or a table that was large once would stay so.
    slots: HashMap<ConversationId, Box<Slot>, RandomState>,
    /// Those in the order in which they are looked at, to see whether they may rest; more than once, some may be gone.
    /// A long one is not among them once it was looked at: it stays awake until it is closed and leaves.
    awake: VecDeque<ConversationId>,
    /// Whether the next look at them at once may find more that rest.
    has_to_rest: bool,
    /// All in memory in the order of their ids, for pages and rounds: those at rest, and the place of those awake.
    known: BTreeMap<ConversationId, Option<Rest>>,
    counts: Counts,
    /// When the timers look at which: one look at most for each.
    timers: BTreeSet<(Time, ConversationId)>,
    ready_since: Option<Time>,
    /// A round over all conversations after a change of the configuration: where it has come to.
    round: Option<Option<ConversationId>>,
    admission: Arc<Admission>,
    queue: Queue,
    pages: VecDeque<ListJob>,
    /// Pages whose closed conversations are being read.
    pages_out: usize,
    parked: Vec<Parked>,
    group: Group,
    sheets: Sheets,
    /// Groups on their way to stable storage, and how many effects each has.
    under_way: UnderWay,
    /// The last group known to be there.
    written: u64,
    durable_frame: u64,
    next_seq: u64,
    last_at: Time,
    is_stopping: bool,
    has_failed: bool,
    /// The configuration file, while there is no room to record what it changes.
    file_waiting: Option<(By, Box<PutAsk>)>,
    saving: save::Saving,
    evictions: u64,
}

/// A question about the past of a conversation, waiting until the log holds what was decided before it.
struct Parked {
    after_group: u64,
    by: By,
    reply: Option<Text>,
    ask: PastAsk,
}

impl Core {
    /// A switchboard as the log left it. It is not ready until told so: timers rest.
    pub fn new(
        secret: Secret,
        archive: Box<dyn Archive>,
        gauges: Arc<Gauges>,
        waiting_max: usize,
        restored: Restored,
    ) -> Core {
        let mut core = Core {
            secret,
            archive,
            gauges,
            limits: Limits::default(),
            config: restored.config,
            slots: HashMap::default(),
            awake: VecDeque::new(),
            has_to_rest: false,
            known: restored.resting,
            counts: Counts::default(),
            timers: BTreeSet::new(),
            ready_since: None,
            round: Some(None),
            admission: Arc::new(Admission::new(waiting_max)),
            queue: Queue::default(),
            pages: VecDeque::new(),
            pages_out: 0,
            parked: Vec::new(),
            group: Group::new(1),
            sheets: Sheets::default(),
            under_way: UnderWay::default(),
            written: 0,
            durable_frame: restored.durable_frame,
            next_seq: restored.next_seq,
            last_at: restored.last_at,
            is_stopping: false,
            has_failed: false,
            file_waiting: None,
            saving: save::Saving::default(),
            evictions: 0,
        };
        core.count_resting();
        for slot in restored.slots {
            core.adopt(slot);
        }
        core
    }

    /// Says who may wait.
    pub fn admission(&self) -> Arc<Admission> {
        self.admission.clone()
    }

    /// The same with other bounds.
    pub fn with_limits(mut self, limits: Limits) -> Core {
        self.limits = limits;
        self
    }

    /// Lets a request wait for its turn, or answers that there is no room for it.
    pub fn request(&mut self, request: Request) {
        let name = request.by.name.as_ref().map_or("", Name::as_str);
        match self.admission.admit(request.by.role, name, 0) {
            Some(place) => self.admitted(request, place),
            None => self.refuse(request.by, request.reply, Refusal::Busy, &Facts::default()),
        }
    }

    /// Lets a request that has its place wait for its turn.
    pub fn admitted(&mut self, request: Request, place: Place) {
        match self.is_stopping {
            true => self.refuse(request.by, request.reply, Refusal::Stopping, &Facts::default()),
            false => self.queue.push(request, place),
        }
    }

    /// Whether timers run: they rest while end users cannot be heard.
    pub fn ready(&mut self, ready: bool, now: Time) {
        match (ready, self.ready_since) {
            (true, None) => self.ready_since = Some(now.max(self.last_at)),
            (false, Some(_)) => self.ready_since = None,
            _ => {}
        }
    }

    /// Takes in that a group is on stable storage.
    pub fn written(&mut self, written: Written) {
        self.written = written.number;
        self.under_way.arrived(&written);
        for (owner, frame) in written.frames {
            self.durable_frame = self.durable_frame.max(frame);
            match owner {
                Some(id) => {
                    if let Some(slot) = self.slots.get_mut(&id) {
                        slot.is_in_frame(frame, self.limits.parts);
                    }
                }
                None => self.config.is_in_frame(frame),
            }
        }
        self.unpark();
    }

    /// Takes in that all that leaves of a group has left.
    pub fn gone(&mut self, number: u64) {
        self.under_way.gone(number);
    }

    /// Takes no more requests.
    pub fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Takes in that the log cannot be written any more: nothing can be decided.
    pub fn log_failed(&mut self) {
        self.has_failed = true;
    }

    /// Whether the log failed.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Answers all that waits with the word that the log failed: the last group.
    pub fn give_up(&mut self) -> Option<Group> {
        let mut waiting: Vec<(By, Option<Text>)> = Vec::new();
        while let Some(request) = self.queue.pop(self.last_at, u32::MAX) {
            waiting.push((request.by, request.reply));
        }
        waiting.extend(self.parked.drain(..).map(|parked| (parked.by, parked.reply)));
        waiting.extend(self.pages.drain(..).map(|page| (page.by, page.reply)));
        for (by, reply) in waiting {
            self.refuse(by, reply, Refusal::LogFailed, &Facts::default());
        }
        self.take_group()
    }

    /// Does what there is to do, as far as the group has room.
    pub fn step(&mut self, clock: Time) {
        let now = clock.max(self.last_at);
        self.queue.look(now);
        self.put_waiting_file(now);
        self.run_timers(now);
        self.continue_round(now);
        while self.has_room() {
            let Some(request) = self.queue.pop(now, self.limits.much_min) else { break };
            self.serve(request, now);
        }
        self.queue.free_places();
        self.continue_pages();
        self.continue_leaving(clock);
        self.continue_saving(clock);
        self.let_rest();
        self.show_gauges();
    }

    /// The group to be written now, if there is one; the next begins.
    pub fn take_group(&mut self) -> Option<Group> {
        if self.group.is_empty() {
            return None;
        }
        self.group.tells_when_gone = self.queue.serves_the_small();
        self.under_way.began(&self.group);
        let next = self.group.next();
        Some(std::mem::replace(&mut self.group, next))
    }

    /// Whether there is more to do at once.
    pub fn has_work(&self) -> bool {
        (!self.queue.is_empty() && self.has_room())
            || (!self.pages.is_empty() && self.has_room_for_page())
            || self.goes_round()
            || self.has_to_rest
            || self.saving.has_work()
            || (self.saving.has_restless() && self.all_is_written())
    }

    /// Whether no group is on its way to stable storage.
    pub fn all_is_written(&self) -> bool {
        self.written + 1 == self.group.number
    }

    /// Whether nothing waits and nothing is on its way to disk.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.pages.is_empty()
            && self.parked.is_empty()
            && self.group.is_empty()
            && self.all_is_written()
    }

    /// Whether pages are being read outside that will be handed back.
    pub fn awaits_pages(&self) -> bool {
        self.pages_out > 0
    }

    /// When the keeping of states goes on, where that has nothing to do until then.
    pub fn next_save(&self) -> Option<Time> {
        self.saving.next_at()
    }

    /// When something falls due, where timers run.
    pub fn next_look(&self) -> Option<Time> {
        if self.timers_rest() || !self.has_room_below(self.limits.group_timers_max()) {
            return None;
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// The configuration now.
    pub fn config(&self) -> &Config {
        &self.config.config
    }

    fn has_room(&self) -> bool {
        self.has_room_below(self.limits.group_decisions_max) && self.parked.len() < self.limits.parked_max
    }

    /// Whether the group has room, and fewer decisions than that.
    fn has_room_below(&self, decisions: usize) -> bool {
        self.group.drafts.len() < decisions
            && self.group.effects.len() + self.parked.len() < self.limits.group_effects_max
            && self.group.bytes < self.limits.group_bytes_max
            && self.group.effects.len() < self.effects_ahead_max(decisions)
            && !self.saving.is_waiting(self.limits.save_patience_steps)
    }

    fn serve(&mut self, request: Request, now: Time) {
        let Request { by, ask, reply } = request;
        match ask {
            Ask::Command(ask) => self.command(by, ask, reply, now),
            Ask::Put(ask) => self.put(by, *ask, reply, now),
            Ask::State { id } => self.state(by, &id, reply),
            Ask::List(ask) => self.list(by, *ask, reply),
            Ask::Config => self.answer(by, reply, answer::config(&self.config.config)),
            Ask::Past(ask) => self.past(by, *ask, reply),
        }
    }

    fn state(&mut self, by: By, id: &ConversationId, reply: Option<Text>) {
        let found = match check_caller(&by, self.config()) {
            Err(refusal) => return self.refuse(by, reply, refusal, &Facts::default()),
            Ok(()) => self.load(id),
        };
        if let Err(error) = found {
            return self.archive_failed(by, reply, &error);
        }
        let Some(slot) = self.slots.get(id) else {
            return self.refuse(by, reply, Refusal::ConversationNotFound, &Facts::default());
        };
        let config = &self.config.config;
        let refusal = match (by.role, &by.name) {
            (Role::Channel, name) if name.as_ref() != Some(&slot.c.channel) => Some(Refusal::WrongChannel),
            (Role::Integration, Some(name)) => {
                let may_see = slot.c.concerns(name) || config.standbys().any(|standby| standby == name);
                let text = "the conversation is neither held by nor offered to this integration";
                (!may_see).then_some(Refusal::NotAllowed(text))
            }
            _ => None,
        };
        match refusal {
            Some(refusal) => self.refuse(by, reply, refusal, &Facts::default()),
            None => {
                let body = answer::state(&slot.c, config.settings(&slot.c.channel));
                self.answer(by, reply, body);
            }
        }
    }

    /// Reads of one conversation's past wait until all that was decided of it, and of the configuration under
    /// which it is shown, is in the log.
    fn past(&mut self, by: By, ask: PastAsk, reply: Option<Text>) {
        let after_group = match &ask {
            PastAsk::Conversation { id, .. } | PastAsk::History { id: Some(id), .. } => match self.load(id) {
                Err(error) => return self.archive_failed(by, reply, &error),
                // Of one that was asked for as it was, the log says first whether there was such a moment.
                Ok(()) if !self.slots.contains_key(id) && matches!(&ask, PastAsk::History { .. }) => {
                    return self.refuse(by, reply, Refusal::ConversationNotFound, &Facts::default());
                }
                Ok(()) => self.slots.get(id).map_or(0, |slot| slot.in_group).max(self.config.in_group),
            },
            PastAsk::Config { .. } | PastAsk::History { id: None, .. } => self.config.in_group,
            PastAsk::Log { .. } | PastAsk::Export { .. } => 0,
        };
        self.parked.push(Parked { after_group, by, reply, ask });
        self.unpark();
    }

    fn unpark(&mut self) {
        let written = self.written;
        let (ready, waiting): (Vec<Parked>, Vec<Parked>) =
            self.parked.drain(..).partition(|parked| parked.after_group <= written);
        self.parked = waiting;
        for Parked { by, reply, ask, .. } in ready {
            let frames = match &ask {
                PastAsk::Conversation { id, .. } | PastAsk::History { id: Some(id), .. } => {
                    // It may have left memory while the question waited.
                    if let Err(error) = self.load(id) {
                        self.archive_failed(by, reply, &error);
                        continue;
                    }
                    self.slots.get(id).map(|slot| slot.frames.snapshot())
                }
                PastAsk::Config { .. } | PastAsk::History { id: None, .. } | PastAsk::Log { .. } => None,
                PastAsk::Export { .. } => None,
            };
            let frames = Frames {
                conversation: frames.unwrap_or_default(),
                config: self.config.frames.iter().copied().collect(),
                through: self.durable_frame,
            };
            self.group.push(Effect::Read(Box::new(ReadJob { by, reply, read: Read::Past(ask, frames) })));
        }
    }

    fn answer(&mut self, by: By, reply: Option<Text>, body: impl Into<Bytes>) {
        if let Some(to) = reply {
            self.group.push(Effect::Answer(Answer { to, by, body: body.into(), refusal: None }));
        }
    }

    fn refuse(&mut self, by: By, reply: Option<Text>, refusal: Refusal, facts: &Facts<'_>) {
        if let Some(to) = reply {
            let body = answer::error_body(&refusal, facts).into();
            self.group.push(Effect::Answer(Answer { to, by, body, refusal: Some(refusal) }));
        }
    }

    fn archive_failed(&mut self, by: By, reply: Option<Text>, error: &str) {
        tracing::error!(error, "a conversation could not be read from the cache");
        self.refuse(by, reply, Refusal::LogFailed, &Facts::default());
    }

    fn view<'a>(&'a self, by: &By, c: &Conversation) -> View<'a> {
        match (by.role, &by.name) {
            (Role::Integration, Some(name)) if !c.concerns(name) => View::Short,
            _ => View::Whole(self.config.config.settings(&c.channel)),
        }
    }

    fn show_gauges(&self) {
        Gauges::set(&self.gauges.open, self.counts.open());
        Gauges::set(&self.gauges.ending, self.counts.ending());
        Gauges::set(&self.gauges.queued, self.queue.len() as u64);
    }
}
