//! What is seen from outside: the log as it grows, and what leaves.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use switchboard::domain::conversation::Status;
use switchboard::domain::invariants::check_at_rest;
use switchboard::domain::{Config, Conversation, ConversationId};
use switchboard::log::Reader;
use switchboard::switchboard::audit::Audit;
use switchboard::switchboard::core::Core;
use switchboard::switchboard::envelope::{write_event, write_relay};
use switchboard::switchboard::port::{Answer, Effect, Recorded};
use switchboard::switchboard::record::Entry;

#[derive(Default)]
pub struct Watch {
    audit: Audit,
    frames: u64,
    folded: HashMap<ConversationId, Conversation>,
    config: Config,
    /// The full name of each event of the log, by seq.
    names: Vec<String>,
    /// The last event that was published since the start.
    published: Option<u64>,
    asked: u64,
    waiting: HashSet<String>,
}

impl Watch {
    /// Somebody will wait for an answer there.
    pub fn expect_answer(&mut self) -> u64 {
        self.asked += 1;
        self.waiting.insert(format!("_INBOX.{}", self.asked));
        self.asked
    }

    /// Answers that were owed never come.
    pub fn restarted(&mut self) {
        self.waiting.clear();
        self.published = None;
    }

    /// Takes in what the log has come to hold: every rule is kept.
    pub fn read_log(&mut self, reader: &Reader) {
        for frame in reader.frames(self.frames + 1) {
            let frame = frame.expect("a frame reads");
            self.frames = frame.header.frame;
            for entry in &frame.entries {
                self.audit.take(self.frames, entry).unwrap_or_else(|finding| panic!("{finding}"));
                let line = Entry::parse(&entry.line).expect("an entry reads");
                self.names.extend(line.events.iter().map(|event| event.full_name.to_string()));
                match line.is_config() {
                    true => line.fold_config(&mut self.config).expect("a configuration"),
                    false => self.fold(&line),
                }
            }
        }
        assert_eq!(reader.head().next_seq, self.names.len() as u64 + 1, "I4: seq is dense");
    }

    fn fold(&mut self, line: &Entry<'_>) {
        let id = ConversationId::parse(&line.conversation).expect("an id");
        let mut state = self.folded.remove(&id);
        line.fold(&mut state).expect("a conversation");
        let c = state.expect("a conversation");
        check_at_rest(&c).expect("I1 and I2");
        self.folded.insert(id, c);
    }

    /// What leaves rests on what the log holds.
    pub fn hear(&mut self, effect: Effect) {
        match effect {
            Effect::Recorded(recorded) => self.hear_events(&recorded),
            Effect::Relay(relay) => {
                let mut out = Vec::new();
                write_relay(&mut out, "log", &relay, "id");
                let sent = json(&out);
                let c = &self.folded[&relay.conversation];
                assert!(sent["data"]["epoch"].as_u64().expect("an epoch") <= c.epoch, "I6: {sent}");
                assert!(!relay.standby.contains(&relay.to), "{} gets the message twice", relay.to);
            }
            Effect::Answer(answer) => self.hear_answer(&answer),
            Effect::Rejection(rejection) => drop(json(&rejection.body)),
            Effect::Read(_) | Effect::Gone(_) => unreachable!("neither is heard outside"),
        }
    }

    fn hear_events(&mut self, recorded: &Recorded) {
        for event in &recorded.events {
            assert_eq!(self.names[event.seq as usize - 1], event.full_name, "I6");
            assert!(self.published.is_none_or(|last| last + 1 == event.seq), "{} left out of order", event.seq);
            self.published = Some(event.seq);
            let mut out = Vec::new();
            write_event(&mut out, "log", "id", recorded, event);
            let sent = json(&out);
            assert_eq!(sent["data"]["seq"], event.seq);
            assert_eq!(sent["subject"], *recorded.conversation);
        }
    }

    fn hear_answer(&mut self, answer: &Answer) {
        assert!(self.waiting.remove(&*answer.to), "{} is answered, and nobody waits there", answer.to);
        let body = json(&answer.body);
        for c in [&body["conversation"], &body["error"]["conversation"]].into_iter().filter(|c| c.is_object()) {
            let folded = &self.folded[c["id"].as_str().expect("an id")];
            assert!(c["version"].as_u64().expect("a version") <= folded.version, "I6: {c} is not in the log");
        }
        let code = body["error"]["code"].as_str();
        assert_eq!(code, answer.refusal.as_ref().map(|refusal| refusal.code()));
        if let Some(refusal) = &answer.refusal {
            assert!((400..600).contains(&refusal.status()));
            assert!(!matches!(refusal.code(), "log_failed" | "storage_full"), "{body}");
        }
    }

    /// I5: while nothing is on its way, folding the log gives what is served.
    pub fn check_served(&self, core: &Core) {
        if !core.is_idle() {
            return;
        }
        assert_eq!(*core.config(), self.config, "I5");
        for served in core.conversations() {
            assert_eq!(Some(&*served), self.folded.get(&served.id), "I5");
        }
        for (id, folded) in &self.folded {
            assert!(core.conversation(id).is_some() || folded.status == Status::Closed, "I5: {id} is forgotten");
        }
    }

    /// In the end everybody who waits has an answer.
    pub fn check_settled(&self, core: &Core) {
        assert!(core.is_idle(), "something is still on its way");
        self.check_served(core);
        assert!(self.waiting.is_empty(), "no answer came to {:?}", self.waiting);
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("what leaves is JSON")
}
