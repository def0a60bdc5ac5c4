//! What a command costs, in instructions and allocations: the commands that `bench` sends, taken through the service
//! from what came to what leaves, without network, disk and threads.
//!
//! `tests/costs.py` runs it under valgrind and reads what each function named there took with all that it called; so
//! those of this file are never inlined. Without a number it does next to nothing, and shows that it still works.

use std::ops::Range;
use std::sync::Arc;

use switchboard::domain::{ConversationId, Time};
use switchboard::edge::message;
use switchboard::edge::requests::{self, Headers};
use switchboard::edge::subjects::{Endpoint, Subjects};
use switchboard::log::{Draft, Log, MemoryLog, Outcome, Part, SimulatedDisk};
use switchboard::switchboard::Gauges;
use switchboard::switchboard::core::{Archive, Core, Restored};
use switchboard::switchboard::fingerprint::Secret;
use switchboard::switchboard::group::{Group, Written};
use switchboard::switchboard::port::{Effect, Request};
use switchboard::tools::bench::script::{STEPS, Step};

/// Conversations that go through the script side by side: so many commands are decided in one go.
const SIDE_BY_SIDE: u64 = 64;
/// Conversations where no number is given.
const CONVERSATIONS: u64 = 2;
const WAITING_MAX: usize = 4096;
const BEGIN_MS: u64 = 1_800_000_000_000;
const LOG_ID: &str = "4b1f6a0e-0000-4000-8000-000000000000";

const CONFIGURATION: &str = r#"{"config": {
    "settings": {"default_integration": "bot", "multi_conversations": true, "end_user_can_end": true},
    "integration": [{"name": "bot"}, {"name": "orders"}, {"name": "desk", "on_end": {"pass": "survey"}}, {"name": "survey"}]
}}"#;

/// An archive of a switchboard that has just begun.
struct Empty;

impl Archive for Empty {
    fn head(&self, _: &ConversationId) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }

    fn part(&self, id: &ConversationId, part: Part, number: u64) -> Result<Vec<u8>, String> {
        Err(format!("expected to be asked for nothing of {id}, was asked for {part:?} {number}"))
    }

    fn doubt(&self) {}
}

struct Works {
    core: Core,
    log: MemoryLog,
    subjects: Subjects,
    now: Time,
    answers: usize,
}

fn main() {
    let conversations = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(CONVERSATIONS);
    let mut works = Works::new();
    for first in (0..conversations).step_by(SIDE_BY_SIDE as usize) {
        for step in &STEPS {
            works.go(step, first..conversations.min(first + SIDE_BY_SIDE));
        }
    }
    println!("{} commands", works.answers);
}

impl Works {
    fn new() -> Works {
        let log = MemoryLog::open(&SimulatedDisk::default(), LOG_ID.parse().expect("an id")).expect("an empty log");
        let restored = Restored { next_seq: 1, last_at: Time(BEGIN_MS), ..Restored::default() };
        let gauges = Arc::new(Gauges::default());
        let mut core = Core::new(Secret([7; 32]), Box::new(Empty), gauges, WAITING_MAX, restored);
        core.ready(true, Time(BEGIN_MS));
        let mut works = Works { core, log, subjects: Subjects::new("switchboard"), now: Time(BEGIN_MS), answers: 0 };
        let put = requests::parse(Endpoint::Config, "ops.put", Headers::default(), CONFIGURATION.as_bytes());
        works.serve(vec![put.expect("a configuration")]);
        works
    }

    /// One step of so many conversations: as a group of the service that is well used.
    fn go(&mut self, step: &Step, conversations: Range<u64>) {
        let came: Vec<Came> = conversations.map(|number| Came::new(step, number)).collect();
        let requests = came.iter().map(parse).collect();
        self.serve(requests);
    }

    fn serve(&mut self, requests: Vec<Request>) {
        self.now = self.now.plus_ms(1);
        let mut next = own(&mut self.core, requests, self.now);
        while let Some(mut group) = next {
            let written = append(&mut self.log, &group.drafts);
            let (hashes, frames): (Vec<_>, Vec<_>) = written.into_iter().unzip();
            let owners = std::mem::take(&mut group.owners);
            let frames = owners.into_iter().zip(frames).collect();
            let number = group.number;
            self.answers += publish(&mut self.subjects, group, &hashes);
            next = adopt(&mut self.core, Written { number, frames, took_ms: 0 }, self.now);
        }
    }
}

/// What came over the network.
struct Came {
    endpoint: Endpoint,
    tail: String,
    id: String,
    body: &'static str,
}

impl Came {
    fn new(step: &Step, number: u64) -> Came {
        let (role, name) = step.caller.split_once('.').expect("role and name");
        let endpoint = if role == "channel" { Endpoint::Channel } else { Endpoint::Integration };
        let tail = format!("{name}.{}.b7f3a91c-5d2e-4c1a-9e64-{number:012}", step.verb);
        let id = format!("5b1c7e9a-{:04x}-4c1a-9e64-{number:012}", step.body.len());
        Came { endpoint, tail, id, body: step.body }
    }
}

/// From subject, headers and body to a request.
#[inline(never)]
fn parse(came: &Came) -> Request {
    let headers = Headers { command_id: Some(&came.id), traceparent: None };
    let mut request = requests::parse(came.endpoint, &came.tail, headers, came.body.as_bytes()).expect("a request");
    request.reply = Some("_INBOX.4c1a9e645d2e.4711".into());
    request
}

/// What the owner of state does of a group's requests: queue, rules, the lines of the log, the bodies of answers.
#[inline(never)]
fn own(core: &mut Core, requests: Vec<Request>, now: Time) -> Option<Group> {
    requests.into_iter().for_each(|request| core.request(request));
    core.step(now);
    core.take_group()
}

/// What it does once the group is written.
#[inline(never)]
fn adopt(core: &mut Core, written: Written, now: Time) -> Option<Group> {
    core.written(written);
    core.step(now);
    core.take_group()
}

/// Checked, hashed, compressed and in frames; what the database does with those is left out.
#[inline(never)]
fn append(log: &mut MemoryLog, drafts: &[Draft]) -> Vec<([u8; 32], u64)> {
    let place = |outcome| match outcome {
        Outcome::Durable(position) => (position.hash, position.frame),
        Outcome::Conflict | Outcome::Unknown => unreachable!("nobody else writes, and nothing fails"),
    };
    log.append(drafts, 0).expect("it takes all").into_iter().map(place).collect()
}

/// To messages with subject, headers and payload, as the client library takes them; how many answers there were.
#[inline(never)]
fn publish(subjects: &mut Subjects, group: Group, hashes: &[[u8; 32]]) -> usize {
    let mut answers = 0;
    for effect in group.into_effects(hashes) {
        match effect {
            Effect::Recorded(recorded) => {
                let all = recorded.events.iter().flat_map(|event| message::event(subjects, LOG_ID, &recorded, event));
                all.for_each(|message| drop(std::hint::black_box(message.into_parts())));
            }
            Effect::Relay(relay) => {
                let all = message::relay(subjects, LOG_ID, &relay).into_iter();
                all.for_each(|message| drop(std::hint::black_box(message.into_parts())));
            }
            Effect::Answer(answer) => {
                assert!(answer.refusal.is_none(), "{}", String::from_utf8_lossy(&answer.body));
                answers += 1;
            }
            Effect::Rejection(_) | Effect::Read(_) | Effect::Gone(_) => {
                unreachable!("every command goes through, with nobody beside")
            }
        }
    }
    answers
}
