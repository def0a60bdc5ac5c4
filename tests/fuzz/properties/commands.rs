//! A whole switchboard over a simulated disk: requests as they come over the wire, time, lost power, restarts.
//!
//! The bytes choose what happens next ([`Script`]). What leaves must rest on what the log holds; what the log holds must
//! keep every rule ([`Audit`]) and fold into what is served; and in the end everybody who waits has an answer.

mod asking;
mod watching;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};
use switchboard::domain::{ConversationId, Text, Time};
use switchboard::log::cache::Part;
use switchboard::log::{Cache, Directory, Log, MemoryLog, Outcome, Place, SimulatedDisk};
use switchboard::switchboard::Gauges;
use switchboard::switchboard::core::{self, Core, Save, Saved};
use switchboard::switchboard::fingerprint::Secret;
use switchboard::switchboard::group::{Group, Written};
use switchboard::switchboard::past::{Archive, ReadOutcome, read};
use switchboard::switchboard::port::{Effect, ReadJob};
use switchboard::switchboard::restore::restore;
use uuid::Uuid;

use super::script::Script;
use watching::Watch;

const LOG_ID: Uuid = Uuid::from_u128(7);
const BEGIN: Time = Time(1_800_000_000_000);
/// Choices that are read: a story must be short enough to be looked into.
const BYTES_MAX: usize = 2048;
/// Requests that may wait: few, so that `busy` comes too.
const WAITING_MAX: usize = 16;

pub fn check(bytes: &[u8]) {
    let mut script = Script::new(&bytes[..bytes.len().min(BYTES_MAX)]);
    let mut site = Site::open(SimulatedDisk::default(), BEGIN, Watch::default());
    site.put(&configuration(&mut script));
    site.core.ready(true, site.now);
    while !script.is_over() {
        site = site.happen(&mut script);
    }
    site.run();
    site.watch.check_settled(&site.core);
}

/// Whatever a switchboard needs to run by hand.
struct Site {
    core: Core,
    disk: SimulatedDisk,
    log: MemoryLog,
    now: Time,
    flying: VecDeque<Group>,
    heard: VecDeque<Written>,
    reads: VecDeque<ReadJob>,
    kept: Kept,
    keeping: Option<Save>,
    watch: Watch,
}

impl Site {
    fn open(disk: SimulatedDisk, now: Time, watch: Watch) -> Site {
        let log = MemoryLog::open(&disk, LOG_ID).expect("the log opens");
        let restored = restore(&log.reader(), no_cache(), None, |_| {}).expect("the log can be read");
        let (gauges, kept) = (Arc::new(Gauges::default()), Kept::default());
        let core = Core::new(Secret([3; 32]), Box::new(kept.clone()), gauges, WAITING_MAX, restored);
        let mut site = Site {
            core,
            disk,
            log,
            now,
            flying: VecDeque::new(),
            heard: VecDeque::new(),
            reads: VecDeque::new(),
            kept,
            keeping: None,
            watch,
        };
        site.watch.read_log(&site.log.reader());
        site.watch.check_served(&site.core);
        site
    }

    fn happen(mut self, script: &mut Script<'_>) -> Site {
        match script.below(20) {
            0..10 => self.ask(script),
            10 => self.core.step(self.now),
            11 => drop(self.take()),
            12 => drop(self.write() || self.hear() || self.read() || self.keep()),
            13..15 => self.run(),
            15 | 16 => self.now = Time(self.now.0 + script.pick(&[1, 900, 61_000, 660_000, 3_700_000, 90_000_000])),
            17 => self.now = Time(self.now.0 - script.pick(&[1, 5000])),
            18 => self.core.ready(script.below(3) > 0, self.now),
            _ => return self.restart(script),
        }
        self
    }

    /// The power fails: of what was not synced the first frames may be there, and nobody who waits hears any more.
    fn restart(mut self, script: &mut Script<'_>) -> Site {
        if let Some(group) = self.flying.pop_front().filter(|group| !group.drafts.is_empty()) {
            self.disk.fail_syncs(true);
            self.log.append(&group.drafts, 0).expect_err("a disk that fails takes nothing");
        }
        let Site { core, disk, log, now, mut watch, .. } = self;
        drop((core, log));
        disk.cut_power(usize::from(script.below(3)));
        watch.restarted();
        let mut site = Site::open(disk, now, watch);
        site.core.ready(script.below(2) > 0, site.now);
        site
    }

    /// Goes on until there is nothing to do at this moment.
    fn run(&mut self) {
        for _ in 0..10_000 {
            self.core.step(self.now);
            let mut has_moved = self.take();
            while self.write() || self.hear() || self.read() || self.keep() {
                has_moved = true;
            }
            if !has_moved && !self.core.has_work() {
                self.watch.check_served(&self.core);
                return;
            }
        }
        panic!("the switchboard never comes to rest");
    }

    fn take(&mut self) -> bool {
        let group = self.core.take_group();
        let is_there = group.is_some();
        self.flying.extend(group);
        is_there
    }

    fn write(&mut self) -> bool {
        let Some(group) = self.flying.pop_front() else { return false };
        let outcomes = match group.drafts.is_empty() {
            true => Vec::new(),
            false => self.log.append(&group.drafts, 0).expect("what was decided can be recorded"),
        };
        let position = |outcome| match outcome {
            Outcome::Durable(position) => position,
            other => panic!("one writer alone got {other:?}"),
        };
        let positions: Vec<_> = outcomes.into_iter().map(position).collect();
        let frames = group.owners.iter().cloned().zip(positions.iter().map(|position| position.frame)).collect();
        self.heard.push_back(Written { number: group.number, frames, took_ms: 0 });
        self.watch.read_log(&self.log.reader());
        let hashes: Vec<_> = positions.iter().map(|position| position.hash).collect();
        for effect in group.into_effects(&hashes) {
            match effect {
                Effect::Read(job) => self.reads.push_back(*job),
                Effect::Gone(number) => self.core.gone(number),
                effect => self.watch.hear(effect),
            }
        }
        true
    }

    fn hear(&mut self) -> bool {
        let Some(written) = self.heard.pop_front() else { return false };
        self.core.written(written);
        true
    }

    /// States are handed over to be kept, or are kept.
    fn keep(&mut self) -> bool {
        match self.keeping.take() {
            Some(save) => {
                self.kept.take(save);
                self.core.saved(Saved, self.now);
                true
            }
            None => {
                self.keeping = self.core.take_save();
                self.keeping.is_some()
            }
        }
    }

    fn read(&mut self) -> bool {
        let Some(job) = self.reads.pop_front() else { return false };
        let archive = Archive { reader: self.log.reader(), cache: Some(no_cache().clone()), key: [7; 32] };
        match read(job, &archive) {
            ReadOutcome::Answer(answer) => self.watch.hear(Effect::Answer(answer)),
            ReadOutcome::Closed(job) => self.core.closed_page(*job),
            ReadOutcome::Nothing => {}
        }
        true
    }
}

/// Closed conversations that have left memory; a restart finds none, and reads the log.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Shelves>>);

#[derive(Default)]
struct Shelves {
    heads: HashMap<Text, Vec<u8>>,
    parts: HashMap<(Text, u8, u64), Vec<u8>>,
}

impl Kept {
    fn take(&self, save: Save) {
        let mut shelves = self.0.lock().expect("nobody panics while it is held");
        for (id, part, number, bytes) in save.parts {
            shelves.parts.insert((id, part as u8, number), bytes);
        }
        let heads = &mut shelves.heads;
        for (id, place, head) in save.states {
            match place {
                Place::Closed => drop(heads.insert(id, head)),
                Place::Open => drop(heads.remove(&id)),
            }
        }
    }
}

impl core::Archive for Kept {
    fn head(&self, id: &ConversationId) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.lock().expect("nobody panics while it is held").heads.get(id.as_str()).cloned())
    }

    fn part(&self, id: &ConversationId, part: Part, number: u64) -> Result<Vec<u8>, String> {
        let found =
            self.0.lock().expect("nobody panics while it is held").parts.get(&(id.text(), part as u8, number)).cloned();
        found.ok_or_else(|| format!("{part:?} {number} of {id} is not kept"))
    }

    fn doubt(&self) {
        panic!("what was kept does not read");
    }
}

/// A cache in which nothing is ever kept.
fn no_cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(|| {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Arc::new(Directory::open_or_create(place.path()).expect("a data directory"));
        let log = MemoryLog::open(&SimulatedDisk::default(), directory.log_id()).expect("an empty log opens");
        Cache::open(directory, &log.reader()).expect("a cache").0
    })
}

fn configuration(script: &mut Script<'_>) -> Value {
    let mut config = json!({
        "settings": {
            "default_integration": "bot",
            "multi_conversations": true,
            "end_user_can_end": true,
            "inactivity_timeout": "1h",
            "release_deadline": script.pick(&["10m", "never"]),
        },
        "integration": [
            {"name": "bot", "next": "agents", "inactivity_timeout": script.pick(&["10m", "never"])},
            {"name": "agents", "on_end": "hold", "can_take": true, "inactivity_timeout": "never"},
            {"name": "survey", "on_end": "hold", "enabled": script.below(4) > 0},
            {"name": "listener", "standby": true},
        ],
        "channel": [
            {"name": "thread", "multi_conversations": false, "end_user_can_end": false},
            {"name": "reopening", "multi_conversations": false, "end_user_can_end": false, "reopen": true},
            {"name": "small", "open_conversations_max": 1},
        ],
    });
    if script.below(3) > 0 {
        config["integration"][0]["on_end"] = script.pick(&[true, false]).then(|| json!({"pass": "survey"})).into();
    }
    if script.below(4) == 0 {
        config["integration"].as_array_mut().expect("a list").pop();
    }
    config
}
