//! A switchboard on a real directory, driven by hand: asked, answered from stable storage, stopped.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use switchboard::domain::{By, Time};
use switchboard::edge::requests::{self, Headers};
use switchboard::edge::subjects::Endpoint;
use switchboard::log::{Cache, Directory, DiskLog, Log, Outcome};
use switchboard::switchboard::Gauges;
use switchboard::switchboard::core::{Core, Saved};
use switchboard::switchboard::fingerprint::Secret;
use switchboard::switchboard::group::{Group, Written};
use switchboard::switchboard::port::{Ask, Effect, PutAsk, Request};
use switchboard::switchboard::restore::{keep, restore};

use super::say::{Call, anybody, conversation, olga, put};

/// When every log begins.
pub const BEGIN: Time = Time(1_800_000_000_000);

pub struct Live {
    core: Core,
    log: Box<dyn Log>,
    cache: Cache,
    now: Time,
    answer: Option<Value>,
}

impl Live {
    /// Serves the directory from that moment on, or from the last entry of its log.
    pub fn open(path: &Path, now: Time) -> Live {
        let directory = Arc::new(Directory::open_or_create(path).unwrap());
        let log = DiskLog::open(directory.clone()).unwrap();
        let (cache, through) = Cache::open(directory.clone(), &log.reader()).unwrap();
        let restored = restore(&log.reader(), &cache, through, |_| {}).unwrap();
        let now = now.max(restored.last_at);
        let secret = Secret(*directory.key());
        let mut core = Core::new(secret, Box::new(cache.clone()), Arc::new(Gauges::default()), 100, restored);
        core.ready(true, now);
        Live { core, log: Box::new(log), cache, now, answer: None }
    }

    pub fn later(&mut self, ms: u64) -> &mut Live {
        self.now = self.now.plus_ms(ms);
        self.run();
        self
    }

    /// Lets time go by, with every timer at its moment.
    pub fn go_by(&mut self, ms: u64) -> &mut Live {
        let until = self.now.plus_ms(ms);
        while let Some(at) = self.core.next_look().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.run();
        }
        self.now = until;
        self.run();
        self
    }

    pub fn now(&self) -> Time {
        self.now
    }

    /// What the wire brings: subject without its prefix, and body.
    pub fn wire(&mut self, subject: &str, body: &Value) -> Value {
        let (endpoint, tail) = subject.split_once('.').expect("an endpoint and what stands below it");
        let endpoint = match endpoint {
            "channel" => Endpoint::Channel,
            "integration" => Endpoint::Integration,
            _ => Endpoint::Operator,
        };
        let body = serde_json::to_vec(body).unwrap();
        let mut request = requests::parse(endpoint, tail, Headers::default(), &body).unwrap();
        request.reply = Some("_INBOX.1".into());
        self.core.request(request);
        self.answered()
    }

    pub fn ask(&mut self, call: Call) -> Value {
        self.core.request(call.request(Some("_INBOX.1".into())));
        self.answered()
    }

    /// A command that is carried out.
    pub fn go(&mut self, call: Call) -> Value {
        let answer = self.ask(call);
        assert_eq!(answer["outcome"], "applied", "{answer}");
        answer
    }

    pub fn put(&mut self, config: &Value) -> Value {
        self.question(olga(), Ask::Put(Box::new(put(config))))
    }

    /// The same under a command id.
    pub fn put_as(&mut self, command_id: &str, config: &Value) -> Value {
        let ask = PutAsk { command_id: Some(command_id.into()), ..put(config) };
        self.question(olga(), Ask::Put(Box::new(ask)))
    }

    pub fn state(&mut self, id: &str) -> Value {
        self.question(anybody(), Ask::State { id: conversation(id) })["conversation"].clone()
    }

    /// Everything is kept and closed, as at the end of the service.
    pub fn stop(mut self) {
        self.core.stop();
        self.core.save_all();
        while !self.core.is_saved() {
            self.run();
        }
        let head = self.log.reader().head();
        self.log.close(head.next_seq - 1).unwrap();
        self.cache.close().unwrap();
    }

    fn question(&mut self, by: By, ask: Ask) -> Value {
        self.core.request(Request { by, ask, reply: Some("_INBOX.1".into()) });
        self.answered()
    }

    fn answered(&mut self) -> Value {
        self.run();
        self.answer.take().expect("an answer")
    }

    fn run(&mut self) {
        loop {
            self.core.step(self.now);
            let group = self.core.take_group();
            let is_moving = group.is_some();
            group.into_iter().for_each(|group| self.write(group));
            if let Some(save) = self.core.take_save() {
                keep(&self.cache, &save, &self.log.reader()).unwrap();
                self.core.saved(Saved, self.now);
            } else if !is_moving && !self.core.has_work() {
                return;
            }
        }
    }

    fn write(&mut self, group: Group) {
        let outcomes = self.log.append(&group.drafts, 0).unwrap();
        let positions = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Durable(position) => position,
            other => panic!("one writer alone got {other:?}"),
        });
        let positions: Vec<_> = positions.collect();
        let frames = group.owners.iter().cloned().zip(positions.iter().map(|position| position.frame)).collect();
        self.core.written(Written { number: group.number, frames, took_ms: 0 });
        let hashes: Vec<_> = positions.iter().map(|position| position.hash).collect();
        for effect in group.into_effects(&hashes) {
            if let Effect::Answer(answer) = effect {
                self.answer = Some(serde_json::from_slice(&answer.body).unwrap());
            }
        }
    }
}
