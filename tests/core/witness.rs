//! Watches a switchboard from outside: what it shows, and what its log holds, and whether the two agree.

use std::collections::HashMap;

use serde_json::Value;
use switchboard::domain::conversation::Status;
use switchboard::domain::invariants::check_at_rest;
use switchboard::domain::{By, Config, Conversation, Name, Text, Time};
use switchboard::switchboard::port::{Direction, Moment};
use switchboard::switchboard::record::Entry;

use super::say::Call;
use super::site::{Left, Site};

/// Whose command id, on which conversation.
type Key = (String, String, String);

#[derive(Default)]
pub struct Witness {
    /// Decisions found in the log.
    pub decisions: u64,
    folded: HashMap<String, Conversation>,
    config: Config,
    frames: u64,
    /// The full name of each event, by seq.
    names: Vec<String>,
    owners: HashMap<(String, u64), Option<Name>>,
    /// Which event first bore a command id, and of which session it was.
    decided: HashMap<Key, (u64, u32)>,
    closed: HashMap<(String, u32), Option<Time>>,
    past: Vec<(String, u64, Conversation)>,
    asked: HashMap<Text, Call>,
    published: Option<u64>,
}

impl Witness {
    pub fn asked(&mut self, reply: Text, call: Call) {
        self.asked.insert(reply, call);
    }

    /// Answers that are owed at a restart never come.
    pub fn restarted(&mut self) {
        self.asked.clear();
        self.published = None;
    }

    /// Reads what the log holds now, then what has left: nothing may be shown that is not there.
    pub fn hear(&mut self, site: &mut Site) {
        self.read_log(site);
        for left in std::mem::take(&mut site.left) {
            match left {
                Left::Events { seqs, kinds, .. } => self.hear_events(&seqs, &kinds),
                Left::Relay { conversation, direction, to, data, .. } => {
                    let epoch = data["epoch"].as_u64().expect("an epoch");
                    let owner = &self.owners[&(conversation.to_string(), epoch)];
                    assert!(direction == Direction::Sent || owner.as_ref() == Some(&to), "relayed to {to}: {owner:?}");
                }
                Left::Answer { to, body, .. } => self.hear_answer(&to, &body),
                Left::Rejection { .. } => {}
            }
        }
    }

    fn hear_events(&mut self, seqs: &[u64], kinds: &[&'static str]) {
        for (seq, kind) in seqs.iter().zip(kinds) {
            assert_eq!(self.names[*seq as usize - 1], *kind);
            assert!(self.published.is_none_or(|last| last + 1 == *seq), "{seq} after {:?}", self.published);
            self.published = Some(*seq);
        }
    }

    fn hear_answer(&mut self, to: &Text, body: &Value) {
        let shown = [&body["conversation"], &body["error"]["conversation"]];
        for c in shown.into_iter().filter(|c| c.is_object()) {
            let folded = &self.folded[c["id"].as_str().expect("an id")];
            assert!(c["version"].as_u64().expect("a version") <= folded.version, "I6: {c} is not in the log");
            assert!(c["seq"].as_u64().expect("a seq") <= folded.seq, "I6: {c} is not in the log");
        }
        let Some(call) = self.asked.remove(to) else { return };
        let Some(events) = body["events"].as_array().filter(|events| !events.is_empty()) else { return };
        for event in events {
            let seq = event["seq"].as_u64().expect("a seq");
            assert_eq!(self.names[seq as usize - 1], event["type"].as_str().expect("a type"), "I6: {body}");
        }
        if let Some(command_id) = &call.command_id {
            let first = self.decided[&key(&call.by, call.id.as_str(), command_id)].0;
            assert_eq!(events[0]["seq"], first, "I7: {body}");
        }
    }

    fn read_log(&mut self, site: &Site) {
        for frame in site.archive().reader.frames(self.frames + 1) {
            let frame = frame.unwrap();
            self.frames = frame.header.frame;
            for entry in &frame.entries {
                assert_eq!(entry.first_seq, self.names.len() as u64 + 1, "I4: seq is dense");
                let line = Entry::parse(&entry.line).unwrap();
                self.names.extend(line.events.iter().map(|event| event.full_name.to_string()));
                match line.is_config() {
                    true => line.fold_config(&mut self.config).unwrap(),
                    false => self.fold(&line),
                }
            }
        }
    }

    fn fold(&mut self, line: &Entry<'_>) {
        let id = line.conversation.to_string();
        let mut state = self.folded.remove(&id);
        let (version, epoch) = state.as_ref().map_or((0, 0), |c| (c.version, c.epoch));
        let session = state.as_ref().map_or(0, |c| c.session);
        line.fold(&mut state).unwrap();
        let c = state.expect("a conversation");
        assert_eq!(c.version, version + line.events.len() as u64, "I4: versions are dense");
        assert!(c.epoch >= epoch && c.session >= session, "I4");
        check_at_rest(&c).unwrap();
        if !line.events.is_empty() {
            self.decisions += 1;
            assert_eq!(c.seq, self.names.len() as u64);
            for data in line.events.iter().map(|event| serde_json::from_str::<Value>(event.data.get()).unwrap()) {
                let owner = data["conversation"]["owner"].as_str().map(|name| Name::parse(name).unwrap());
                self.owners.insert((id.clone(), data["epoch"].as_u64().unwrap()), owner);
            }
            self.remember(line, &c);
            self.past.push((id.clone(), c.seq, c.clone()));
        }
        self.folded.insert(id, c);
    }

    /// One command id, one decision, as long as it is remembered.
    fn remember(&mut self, line: &Entry<'_>, c: &Conversation) {
        let id = line.conversation.to_string();
        let command_id = line.command.as_ref().and_then(|command| command.id.as_ref());
        if let (Some(by), Some(command_id)) = (&line.by, command_id) {
            let key = key(by, &id, command_id);
            if let Some((seq, session)) = self.decided.get(&key) {
                let closed_at = self.closed.get(&(id.clone(), *session)).copied().flatten();
                let is_remembered = closed_at.is_none_or(|at| line.at.ms_since(at) < super::say::DAY);
                assert!(!is_remembered, "I7: {key:?} decided at {seq} and again at {}", line.seq);
            }
            self.decided.insert(key, (line.seq, c.session));
        }
        self.closed.insert((id, c.session), c.closed.as_ref().map(|closed| closed.at));
    }

    /// I5: while nothing is on its way, folding the log gives what is served.
    pub fn check_served(&self, site: &Site) {
        assert_eq!(*site.core.config(), self.config, "I5");
        for served in site.core.conversations() {
            assert_eq!(Some(&*served), self.folded.get(served.id.as_str()), "I5");
        }
        for (id, folded) in &self.folded {
            let is_there = site.core.conversation(&folded.id).is_some();
            assert!(is_there || folded.status == Status::Closed, "I5: {id} is {:?} and not in memory", folded.status);
        }
    }

    /// I8: what every conversation was after each decision can still be read.
    pub fn check_past(&self, site: &mut Site) {
        for (id, seq, then) in self.past.iter().rev().step_by(self.past.len() / 50 + 1) {
            let shown = site.conversation_at(id, Moment::Seq(*seq))["conversation"].clone();
            assert_eq!(shown["version"], then.version);
            assert_eq!(shown["owner"].as_str(), then.owner.as_ref().map(Name::as_str));
            assert_eq!(shown["last_message_id"].as_str(), then.last_message_id.as_deref());
            assert_eq!(shown["metadata"], serde_json::to_value(&then.metadata).unwrap());
        }
    }
}

fn key(by: &By, id: &str, command_id: &str) -> Key {
    let name = by.name.as_ref().map_or("", |name| name.as_str());
    (format!("{:?} {name}", by.role), id.to_owned(), command_id.to_owned())
}
