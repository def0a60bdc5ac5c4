//! Reads the log as it grows, and holds all that is shown to it. It keeps what it has read over every crash: what the
//! log once said it must say for ever.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use switchboard::domain::config::Config;
use switchboard::domain::conversation::Status;
use switchboard::domain::invariants::check_at_rest;
use switchboard::domain::words::Wait;
use switchboard::domain::{By, Conversation, Name, Role, Time};
use switchboard::log::Reader;
use switchboard::switchboard::port::{Direction, Relay};
use switchboard::switchboard::record::Entry;

use super::say::DAY;

/// Whose command id, on which conversation.
pub type Key = (String, String, String);

/// What the log says of one event.
pub struct Known {
    pub kind: String,
    pub hash: [u8; 32],
    pub conversation: String,
    /// Who decided, and which verb.
    pub by: String,
    pub verb: String,
    /// The events of the same decision.
    pub decision: (u64, u64),
}

/// A conversation after one of its events.
#[derive(Debug, PartialEq)]
struct Shown {
    status: Value,
    owner: Value,
    epoch: Value,
    seq: Value,
}

/// A session that a timer ended.
struct Silence {
    version: u64,
    at: Time,
    wait_ms: u64,
}

#[derive(Default)]
pub struct Witness {
    pub folded: BTreeMap<String, Conversation>,
    pub config: Config,
    /// By seq, the first at 0.
    pub events: Vec<Known>,
    /// Which copies of which events are owed to whom.
    pub copies: BTreeMap<String, Vec<u64>>,
    /// Which events first bore a command id, and of which session it was.
    pub decided: HashMap<Key, (u64, u64, u32)>,
    /// Every state at the end of a decision, and its seq.
    pub past: Vec<Conversation>,
    /// The ids of conversations in the order in which they came.
    pub ids: Vec<String>,
    /// The earliest moment at which the service that decides was ready.
    pub ready_at: Option<Time>,
    frames: u64,
    hash: Option<[u8; 32]>,
    last_at: Time,
    owners: HashMap<(String, u64), (Option<Name>, u64)>,
    states: HashMap<(String, u64), Shown>,
    closed: HashMap<(String, u32), Option<Time>>,
    silences: HashMap<String, Vec<Silence>>,
}

impl Witness {
    pub fn last_seq(&self) -> u64 {
        self.events.len() as u64
    }

    /// Frames that were read.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    pub fn last_at(&self) -> Time {
        self.last_at
    }

    /// After a crash, whatever was durable is still there, unchanged.
    pub fn check_nothing_is_lost(&self, reader: &Reader) {
        assert!(reader.head().frames >= self.frames, "the log lost what was on stable storage");
        if let Some(hash) = self.hash {
            assert_eq!(reader.hash_after(self.frames).unwrap(), Some(hash), "the log became another");
        }
    }

    pub fn read_log(&mut self, reader: &Reader) {
        let head = reader.head();
        assert!(head.published_through <= self.last_seq().max(head.next_seq - 1), "published before it was recorded");
        if head.frames == self.frames {
            return;
        }
        for frame in reader.frames(self.frames + 1) {
            let frame = frame.unwrap();
            self.frames = frame.header.frame;
            for entry in &frame.entries {
                assert_eq!(entry.first_seq, self.last_seq() + 1, "I4: seq is dense");
                let line = Entry::parse(&entry.line).unwrap();
                assert!(line.at >= self.last_at, "time goes back in the log");
                self.last_at = line.at;
                self.know(&line, entry.hash);
                match line.is_config() {
                    true => line.fold_config(&mut self.config).unwrap(),
                    false => self.fold(&line),
                }
                self.hash = Some(entry.hash);
            }
        }
        assert_eq!(head.next_seq, self.last_seq() + 1);
    }

    fn know(&mut self, line: &Entry<'_>, hash: [u8; 32]) {
        let decision = (line.seq, line.seq + line.events.len() as u64);
        let verb = line.command.as_ref().map_or(String::new(), |command| command.verb.clone());
        let by = line.by.as_ref().map_or(String::new(), said);
        for event in &line.events {
            let (kind, conversation) = (event.full_name.to_string(), line.conversation.to_string());
            self.events.push(Known { kind, hash, conversation, by: by.clone(), verb: verb.clone(), decision });
        }
    }

    fn fold(&mut self, line: &Entry<'_>) {
        let id = line.conversation.to_string();
        let before = self.folded.remove(&id);
        if before.is_none() {
            self.ids.push(id.clone());
        }
        if let Some(c) = &before {
            self.check_timer(c, line);
        }
        let (version, epoch, session) = before.as_ref().map_or((0, 0, 0), |c| (c.version, c.epoch, c.session));
        let mut concerned: BTreeSet<Name> = before.iter().flat_map(holders).collect();
        let mut state = before;
        for at in 0..line.events.len() {
            line.fold_event(at, &mut state).unwrap();
            let c = state.as_ref().expect("a conversation");
            concerned.extend(holders(c));
            self.owners.entry((id.clone(), c.epoch)).or_insert((c.owner.clone(), c.seq));
        }
        line.fold_note(&mut state);
        let c = state.expect("a conversation");
        assert_eq!(c.version, version + line.events.len() as u64, "I4: versions are dense");
        assert!(c.epoch >= epoch && c.session >= session, "I4: epoch and session only grow");
        check_at_rest(&c).unwrap();
        if !line.events.is_empty() {
            self.owe_copies(line, &concerned);
            self.remember(line, &c);
            self.states.insert((id.clone(), c.version), shown(&serde_json::to_value(&c).unwrap()));
            self.past.push(c.clone());
        }
        self.folded.insert(id, c);
    }

    /// Whoever held control or was offered it before, during or after is told, and the others on standby.
    fn owe_copies(&mut self, line: &Entry<'_>, concerned: &BTreeSet<Name>) {
        assert_eq!(&line.inbox.iter().cloned().collect::<BTreeSet<_>>(), concerned, "who is concerned");
        let standby = self.config.standbys().filter(|name| !concerned.contains(*name));
        let mut owed: Vec<String> = concerned.iter().map(|name| format!("inbox of {name}")).collect();
        owed.extend(standby.map(|name| format!("standby of {name}")));
        owed.extend(line.channel.iter().map(|name| format!("inbox of channel {name}")));
        for to in owed {
            let seqs = line.seq..line.seq + line.events.len() as u64;
            self.copies.entry(to).or_default().extend(seqs);
        }
    }

    /// One command id, one decision, as long as it is remembered.
    fn remember(&mut self, line: &Entry<'_>, c: &Conversation) {
        let id = line.conversation.to_string();
        let command_id = line.command.as_ref().and_then(|command| command.id.as_ref());
        if let (Some(by), Some(command_id)) = (&line.by, command_id) {
            let key = (said(by), id.clone(), command_id.to_string());
            if let Some((seq, _, session)) = self.decided.get(&key) {
                let closed_at = self.closed.get(&(id.clone(), *session)).copied().flatten();
                let is_remembered = closed_at.is_none_or(|at| line.at.ms_since(at) < DAY);
                assert!(!is_remembered, "I7: {key:?} decided at {seq} and again at {}", line.seq);
            }
            self.decided.insert(key, (line.seq, line.events.len() as u64, c.session));
        }
        self.closed.insert((id, c.session), c.closed.as_ref().map(|closed| closed.at));
    }

    // Timers

    /// How long that conversation may rest, and since when that is so.
    fn rest(&self, c: &Conversation) -> Option<(u64, Time)> {
        match self.config.inactivity(c.owner.as_ref(), &c.channel) {
            (Wait::Ms(wait_ms), since) => Some((wait_ms, since)),
            (Wait::Never, _) => None,
        }
    }

    /// Nothing falls due early.
    fn check_timer(&mut self, c: &Conversation, line: &Entry<'_>) {
        if line.by.as_ref().is_none_or(|by| by.role != Role::Timer) {
            return;
        }
        let verb = line.command.as_ref().map_or("", |command| command.verb.as_str());
        let due = match verb {
            "deadline" => {
                let request = c.end_requested.as_ref();
                request.and_then(|request| Some((request.deadline?, request.deadline?.ms_since(request.at))))
            }
            "offer_expiry" => {
                let offer = c.offer.as_ref();
                offer.and_then(|offer| Some((offer.expires_at?, offer.expires_at?.ms_since(offer.offered_at))))
            }
            _ => self.rest(c).map(|(wait_ms, since)| {
                (c.last_activity_at.max(c.owner_changed_at).max(since).plus_ms(wait_ms), wait_ms)
            }),
        };
        let (due, wait_ms) = due.unwrap_or_else(|| panic!("{verb} fell due and nothing was to"));
        assert!(line.at >= due, "{verb} at {}, due at {due}", line.at);
        let ready_at = self.ready_at.expect("timers rest until the service is ready");
        let not_before = ready_at.plus_ms(wait_ms.min(60_000));
        assert!(line.at >= not_before, "{verb} at {}, made up too soon after {ready_at}", line.at);
        if let ("inactivity", Some((wait_ms, _))) = (verb, self.rest(c)) {
            let silence = Silence { version: c.version + 1, at: line.at, wait_ms };
            self.silences.entry(c.id.to_string()).or_default().push(silence);
        }
    }

    /// There was activity, not before that moment, when the conversation had that version: what ended it for silence
    /// afterwards came late enough.
    pub fn was_active(&self, id: &str, version: u64, not_before: Time) {
        for silence in self.silences.get(id).into_iter().flatten().filter(|silence| silence.version > version) {
            let due = not_before.plus_ms(silence.wait_ms);
            assert!(silence.at >= due, "{id} ended for silence at {}, active at {not_before} or later", silence.at);
        }
    }

    /// Nothing that was due is late, and nothing is held by who is gone, once all that could be done at `now` is done.
    pub fn check_nothing_is_late(&self, now: Time, ready_since: Time) {
        let late = |due: Time, wait_ms: u64| now > due.max(ready_since.plus_ms(wait_ms.min(60_000)));
        for c in self.folded.values().filter(|c| c.status != Status::Closed) {
            for name in holders(c) {
                assert!(self.config.enabled(&name).is_some(), "{} rests on {name}, which is gone", c.id);
            }
            if let Some((request, deadline)) = c.end_requested.as_ref().and_then(|r| Some((r, r.deadline?))) {
                assert!(!late(deadline, deadline.ms_since(request.at)), "{} closes late: {deadline}", c.id);
            }
            if let Some((offer, expiry)) = c.offer.as_ref().and_then(|offer| Some((offer, offer.expires_at?))) {
                assert!(!late(expiry, expiry.ms_since(offer.offered_at)), "the offer of {} expires late", c.id);
            }
            if let (Status::Open, Some((wait_ms, since))) = (c.status, self.rest(c)) {
                // Activity is noted at most one tenth later, and a start adds another.
                let noted = c.last_activity_at.plus_ms(wait_ms / 10);
                let due = noted.max(c.owner_changed_at).max(since).plus_ms(wait_ms + wait_ms.div_ceil(10));
                assert!(!late(due, wait_ms), "{} is silent since {noted} and still open at {now}", c.id);
            }
        }
    }

    // What is shown

    /// I6: a state that is shown is one that the log holds.
    pub fn check_shown(&self, c: &Value) {
        let id = c["id"].as_str().expect("an id");
        let version = c["version"].as_u64().expect("a version");
        let known = self.states.get(&(id.to_owned(), version));
        let known = known.unwrap_or_else(|| panic!("I6: {id} at version {version} is shown, the log has no such"));
        assert_eq!(known, &shown(c), "I6: {id} is shown as the log never had it");
    }

    /// What an answer says of events is so in the log.
    pub fn check_events(&self, events: &[Value]) {
        for event in events {
            // An answer to a command tells of events, one to a question shows them as published.
            let seq = event["seq"].as_u64().or(event["data"]["seq"].as_u64()).expect("a seq");
            let known = self.events.get(seq as usize - 1);
            let known = known.unwrap_or_else(|| panic!("I6: event {seq} is answered and not in the log"));
            assert_eq!(known.kind, event["type"].as_str().expect("a type"), "I6: event {seq}");
        }
    }

    /// A relay goes to or from who held control then, after the event that gave it.
    pub fn check_relay(&self, relay: &Relay, data: &Value, sent_through: u64) {
        let epoch = data["epoch"].as_u64().expect("an epoch");
        let known = self.owners.get(&(relay.conversation.to_string(), epoch));
        let (owner, seq) = known.unwrap_or_else(|| panic!("I6: relayed under epoch {epoch}, not in the log"));
        let holder = match relay.direction {
            Direction::Received => relay.to.to_string(),
            Direction::Sent => data["by"]["name"].as_str().expect("a name").to_owned(),
        };
        assert_eq!(owner.as_ref().map(Name::as_str), Some(holder.as_str()), "relayed past the owner");
        assert!(*seq <= sent_through, "relayed before event {seq}, which gave control");
    }

    /// I5: while nothing is on its way, folding the log gives what is served.
    pub fn check_served<'a>(&self, served: impl Iterator<Item = Cow<'a, Conversation>>, config: &Config) {
        assert_eq!(*config, self.config, "I5: the configuration");
        let mut missing: BTreeSet<&str> = self.folded.keys().map(String::as_str).collect();
        for c in served {
            assert_eq!(Some(&*c), self.folded.get(c.id.as_str()), "I5");
            missing.remove(c.id.as_str());
        }
        for id in missing {
            assert_eq!(self.folded[id].status, Status::Closed, "I5: {id} is not in memory");
        }
    }
}

/// Role and name.
pub fn said(by: &By) -> String {
    format!("{:?} {}", by.role, by.name.as_ref().map_or("", |name| name.as_str()))
}

fn holders(c: &Conversation) -> impl Iterator<Item = Name> + use<> {
    let offered = c.offer.as_ref().map(|offer| offer.to.clone());
    c.owner.clone().into_iter().chain(offered)
}

fn shown(c: &Value) -> Shown {
    let field = |name: &str| c[name].clone();
    Shown { status: field("status"), owner: field("owner"), epoch: field("epoch"), seq: field("seq") }
}
