//! A switchboard driven by hand: a clock that stands still until told, a log on a simulated disk, and a writer that
//! writes when it is told to.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;
use switchboard::domain::{By, Conversation, Name, Text, Time};
use switchboard::log::{Cache, Directory, Entry, Head, Log, MemoryLog, SimulatedDisk};
use switchboard::switchboard::core::{Core, Limits, Restored, Save, Saved};
use switchboard::switchboard::fingerprint::Secret;
use switchboard::switchboard::group::{Group, Written};
use switchboard::switchboard::past::{Archive, ReadOutcome, read};
use switchboard::switchboard::port::{
    Answer, Ask, Direction, Effect, ListAsk, Moment, PastAsk, PutAsk, ReadJob, Request, Span,
};
use switchboard::switchboard::restore::{keep, restore_in_parts};
use switchboard::switchboard::{Gauges, PartSizes};
use tempfile::TempDir;

use super::say::{Call, SECOND, anybody, conversation, olga, put};

/// When every test begins.
pub const BEGIN: Time = Time(1_800_000_000_000);

/// Requests that may wait.
pub const WAITING_MAX: usize = 4096;

/// Something that has left the switchboard.
#[derive(Debug, Clone)]
pub enum Left {
    Events {
        conversation: Text,
        seqs: Vec<u64>,
        kinds: Vec<&'static str>,
        inbox: Vec<Name>,
        standby: Vec<Name>,
    },
    Relay {
        conversation: Text,
        direction: Direction,
        to: Name,
        standby: Vec<Name>,
        fingerprint: Option<u64>,
        data: Value,
    },
    Answer {
        to: Text,
        body: Value,
        code: Option<&'static str>,
    },
    Rejection {
        conversation: Text,
        body: Value,
    },
}

/// What a restart finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    /// The cache as it is.
    AsItIs,
    /// No cache: everything is read from the log.
    Nothing,
}

pub struct Site {
    pub core: Core,
    pub now: Time,
    pub gauges: Arc<Gauges>,
    /// What has left, in order.
    pub left: Vec<Left>,
    pub disk: SimulatedDisk,
    pub log: MemoryLog,
    pub cache: Cache,
    /// The frame up to which the cache held everything at the start.
    pub through: Option<u64>,
    /// Whether `run` keeps states when the switchboard asks for it.
    pub keeps: bool,
    /// How long each write takes.
    pub writes_take_ms: u64,
    /// The parts in which long conversations are kept.
    pub sizes: PartSizes,
    pub directory: Arc<Directory>,
    place: TempDir,
    flying: VecDeque<Group>,
    heard: VecDeque<Written>,
    gone: VecDeque<u64>,
    pub reads: VecDeque<ReadJob>,
    pub keeping: Option<Save>,
    asked: u64,
}

impl Site {
    /// A new switchboard under that configuration, ready.
    pub fn new(config: &Value) -> Site {
        Site::of_parts(config, PartSizes::default())
    }

    /// The same with other sizes of what is kept of long conversations.
    pub fn of_parts(config: &Value, sizes: PartSizes) -> Site {
        let mut site = Site::bare_of_parts(sizes);
        assert_eq!(site.put(put(config))["outcome"], "applied");
        site.core.ready(true, site.now);
        site
    }

    /// A new switchboard without any configuration, not ready.
    pub fn bare() -> Site {
        Site::bare_of_parts(PartSizes::default())
    }

    fn bare_of_parts(sizes: PartSizes) -> Site {
        let place = tempfile::tempdir().unwrap();
        let directory = Arc::new(Directory::open_or_create(place.path()).unwrap());
        Site::open(place, directory, SimulatedDisk::default(), BEGIN, sizes)
    }

    fn open(place: TempDir, directory: Arc<Directory>, disk: SimulatedDisk, now: Time, sizes: PartSizes) -> Site {
        let log = MemoryLog::open(&disk, directory.log_id()).unwrap();
        let (cache, through) = Cache::open(directory.clone(), &log.reader()).unwrap();
        let restored = restored(&log, &cache, through, sizes);
        let gauges = Arc::new(Gauges::default());
        let secret = Secret(*directory.key());
        let core = Core::new(secret, Box::new(cache.clone()), gauges.clone(), WAITING_MAX, restored);
        // Whatever nobody asks for at the moment rests, so that every test is one of resting too.
        let core = core.with_limits(Limits { awake_max: 0, parts: sizes, ..Limits::default() });
        Site {
            core,
            now,
            gauges,
            left: Vec::new(),
            disk,
            log,
            cache,
            through,
            keeps: false,
            writes_take_ms: 0,
            sizes,
            directory,
            place,
            flying: VecDeque::new(),
            heard: VecDeque::new(),
            gone: VecDeque::new(),
            reads: VecDeque::new(),
            keeping: None,
            asked: 0,
        }
    }

    /// Kills the switchboard and starts it again: what was on its way is lost. It is not ready.
    pub fn restart(self, cached: Cached) -> Site {
        let Site { core, log, cache, disk, directory, place, now, keeps, sizes, asked, .. } = self;
        drop((core, log, cache));
        disk.cut_power(0);
        if cached == Cached::Nothing {
            std::fs::remove_file(directory.path().join("cache.json")).unwrap();
        }
        Site { keeps, asked, ..Site::open(place, directory, disk, now, sizes) }
    }

    /// What a start would read with no cache at all.
    pub fn restored_from_the_log(&self) -> Restored {
        let place = tempfile::tempdir().unwrap();
        let directory = Arc::new(Directory::create(place.path(), self.directory.log_id()).unwrap());
        let (cache, through) = Cache::open(directory, &self.log.reader()).unwrap();
        restored(&self.log, &cache, through, self.sizes)
    }

    /// What a start would read now, without ending this run. Only between two rounds of keeping.
    pub fn restored_from(&self, through: Option<u64>) -> Restored {
        restored(&self.log, &self.cache, through, self.sizes)
    }

    pub fn head(&self) -> Head {
        self.log.reader().head()
    }

    /// Every entry of the log.
    pub fn entries(&self) -> Vec<Entry> {
        self.log.reader().frames(1).flat_map(|frame| frame.unwrap().entries).collect()
    }

    pub fn archive(&self) -> Archive {
        Archive { reader: self.log.reader(), cache: Some(self.cache.clone()), key: [0; 32] }
    }

    pub fn later(&mut self, ms: u64) -> &mut Site {
        self.now = self.now.plus_ms(ms);
        self
    }

    // Requests

    /// Hands a request over and says where its answer will go.
    pub fn hand(&mut self, by: By, ask: Ask) -> Text {
        self.asked += 1;
        let reply: Text = format!("_INBOX.{}", self.asked).into();
        self.core.request(Request { by, ask, reply: Some(reply.clone()) });
        reply
    }

    /// Hands a command over.
    pub fn send(&mut self, call: Call) -> Text {
        self.asked += 1;
        let reply: Text = format!("_INBOX.{}", self.asked).into();
        self.core.request(call.request(Some(reply.clone())));
        reply
    }

    /// A command and its answer.
    pub fn ask(&mut self, call: Call) -> Value {
        let reply = self.send(call);
        self.run();
        self.answer(&reply).expect("an answer")
    }

    pub fn put(&mut self, ask: PutAsk) -> Value {
        self.question(olga(), Ask::Put(Box::new(ask)))
    }

    pub fn state(&mut self, id: &str) -> Value {
        self.question(anybody(), Ask::State { id: conversation(id) })["conversation"].clone()
    }

    pub fn list(&mut self, ask: ListAsk) -> Value {
        self.question(anybody(), Ask::List(Box::new(ask)))
    }

    pub fn conversation_at(&mut self, id: &str, at: Moment) -> Value {
        self.question(anybody(), Ask::from(PastAsk::Conversation { id: conversation(id), at }))
    }

    pub fn config_at(&mut self, at: Moment) -> Value {
        self.question(anybody(), Ask::from(PastAsk::Config { at }))
    }

    pub fn history(&mut self, id: &str, span: Span) -> Value {
        self.question(anybody(), Ask::from(PastAsk::History { id: Some(conversation(id)), span }))
    }

    pub fn log_of(&mut self, span: Span) -> Value {
        self.question(anybody(), Ask::from(PastAsk::Log { span }))
    }

    pub fn question(&mut self, by: By, ask: Ask) -> Value {
        let reply = self.hand(by, ask);
        self.run();
        self.answer(&reply).expect("an answer")
    }

    // What has left

    pub fn answer(&self, reply: &str) -> Option<Value> {
        let mut answers = self.left.iter().filter_map(|left| match left {
            Left::Answer { to, body, .. } if **to == *reply => Some(body.clone()),
            _ => None,
        });
        let answer = answers.next();
        assert!(answers.next().is_none(), "{reply} is answered twice");
        answer
    }

    /// The kinds of events that left for a conversation, without what all names begin with.
    pub fn kinds(&self, id: &str) -> Vec<&'static str> {
        let mut all = Vec::new();
        for left in &self.left {
            if let Left::Events { conversation, kinds, .. } = left
                && **conversation == *id
            {
                all.extend(kinds.iter().map(|kind| kind.trim_start_matches("switchboard.")));
            }
        }
        all
    }

    pub fn relays(&self) -> Vec<(Direction, String, Option<u64>)> {
        let relay = |left: &Left| match left {
            Left::Relay { direction, to, fingerprint, .. } => Some((*direction, to.to_string(), *fingerprint)),
            _ => None,
        };
        self.left.iter().filter_map(relay).collect()
    }

    pub fn served(&self, id: &str) -> Conversation {
        self.core.conversation(&conversation(id)).expect("a conversation in memory").into_owned()
    }

    // The parts of a run

    /// Goes on until there is nothing to do at this moment.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            self.step();
            let mut moved = false;
            while self.take() {
                moved = true;
            }
            while self.write() || self.hear() || self.hear_of_gone() || self.read() {
                moved = true;
            }
            moved |= self.keeps && self.keep();
            if !moved && !self.core.has_work() {
                return;
            }
        }
        panic!("the switchboard never comes to rest");
    }

    pub fn step(&mut self) {
        self.core.step(self.now);
    }

    /// The open group is on its way to the writer.
    pub fn take(&mut self) -> bool {
        let group = self.core.take_group();
        let is_there = group.is_some();
        self.flying.extend(group);
        is_there
    }

    /// The writer writes one group; what waited for it leaves.
    pub fn write(&mut self) -> bool {
        let Some(group) = self.flying.pop_front() else { return false };
        assert!(self.try_write(group), "the log takes what is appended");
        true
    }

    /// The writer writes all groups but the last.
    pub fn write_but_one(&mut self) {
        while self.flying.len() > 1 {
            self.write();
        }
        while self.hear() {}
    }

    fn try_write(&mut self, group: Group) -> bool {
        let outcomes = match group.drafts.is_empty() {
            true => Vec::new(),
            false => match self.log.append(&group.drafts, 0) {
                Ok(outcomes) => outcomes,
                Err(_) => return false,
            },
        };
        let positions: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                switchboard::log::Outcome::Durable(position) => position,
                other => panic!("one writer alone got {other:?}"),
            })
            .collect();
        let frames = group.owners.iter().cloned().zip(positions.iter().map(|position| position.frame)).collect();
        self.heard.push_back(Written { number: group.number, frames, took_ms: self.writes_take_ms });
        let hashes: Vec<_> = positions.iter().map(|position| position.hash).collect();
        for effect in group.into_effects(&hashes) {
            self.leave(effect);
        }
        true
    }

    /// The disk fails under the group that the writer has: frames are written, but for these the power fails first.
    pub fn fail_write(&mut self, frames_kept: usize) {
        let Some(group) = self.flying.pop_front() else { return };
        self.disk.fail_syncs(true);
        let is_written = !group.drafts.is_empty() && self.try_write(group);
        assert!(!is_written, "no group is written by a disk that fails");
        self.disk.cut_power(frames_kept);
    }

    /// Of what was decided only the first few entries reach the disk, as if the rest had come a moment later.
    pub fn lose_after(&mut self, entries: usize) {
        let mut group = self.core.take_group().expect("something was decided");
        group.drafts.truncate(entries);
        group.owners.truncate(entries);
        group.effects.clear();
        assert!(self.try_write(group), "the log takes what is appended");
    }

    /// Whether a group is on its way to the writer.
    pub fn is_flying(&self) -> bool {
        !self.flying.is_empty()
    }

    /// The owner of state hears that a group is written.
    pub fn hear(&mut self) -> bool {
        let Some(written) = self.heard.pop_front() else { return false };
        self.core.written(written);
        true
    }

    /// The owner of state hears that all of a group has left.
    pub fn hear_of_gone(&mut self) -> bool {
        let Some(number) = self.gone.pop_front() else { return false };
        self.core.gone(number);
        true
    }

    /// One question is read from the log or the cache.
    pub fn read(&mut self) -> bool {
        let Some(job) = self.reads.pop_front() else { return false };
        match read(job, &self.archive()) {
            ReadOutcome::Answer(answer) => self.leave(Effect::Answer(answer)),
            ReadOutcome::Closed(job) => self.core.closed_page(*job),
            ReadOutcome::Nothing => {}
        }
        true
    }

    /// States go to the cache, if it is time.
    pub fn keep(&mut self) -> bool {
        self.begin_keeping() && self.end_keeping()
    }

    /// Everything that is closed leaves memory, everything else is kept as it is.
    pub fn keep_everything(&mut self) -> &mut Site {
        for _ in 0..3 {
            self.later(3 * SECOND).run();
            self.keep();
        }
        self
    }

    pub fn begin_keeping(&mut self) -> bool {
        if self.keeping.is_none() {
            self.keeping = self.core.take_save();
        }
        self.keeping.is_some()
    }

    pub fn end_keeping(&mut self) -> bool {
        let Some(save) = self.keeping.take() else { return false };
        keep(&self.cache, &save, &self.log.reader()).unwrap();
        self.core.saved(Saved, self.now);
        true
    }

    fn leave(&mut self, effect: Effect) {
        let json = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
        let left = match effect {
            Effect::Recorded(recorded) => Left::Events {
                conversation: recorded.conversation,
                seqs: recorded.events.iter().map(|event| event.seq).collect(),
                kinds: recorded.events.iter().map(|event| event.full_name).collect(),
                inbox: recorded.inbox.to_vec(),
                standby: recorded.standby,
            },
            Effect::Relay(relay) => Left::Relay {
                conversation: relay.conversation.text(),
                direction: relay.direction,
                to: relay.to,
                standby: relay.standby,
                fingerprint: relay.fingerprint,
                data: json(&relay.data),
            },
            Effect::Answer(Answer { to, body, refusal, .. }) => {
                Left::Answer { to, body: json(&body), code: refusal.map(|refusal| refusal.code()) }
            }
            Effect::Rejection(rejection) => {
                Left::Rejection { conversation: rejection.conversation, body: json(&rejection.body) }
            }
            Effect::Read(job) => return self.reads.push_back(*job),
            Effect::Gone(number) => return self.gone.push_back(number),
        };
        self.left.push(left);
    }
}

fn restored(log: &MemoryLog, cache: &Cache, through: Option<u64>, sizes: PartSizes) -> Restored {
    restore_in_parts(&log.reader(), cache, through, usize::MAX, sizes, |_| {}).unwrap()
}
