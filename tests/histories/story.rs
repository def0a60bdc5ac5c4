//! A history in a few words, and the log that goes with it, for tests of the checker.

use serde_json::{Map, Value, json};

use crate::checker::check;
use crate::history::{Attempt, Operation, Page, Said, Seen, Whole, digest_of_metadata, mark};
use crate::log::{CONFIG, Decision, Happened};

/// The conversation of the story.
pub const ID: &str = "web-0-0";

/// What clients did, and the log that goes with it.
#[derive(Clone, Default)]
pub struct Story {
    pub operations: Vec<Operation>,
    pub log: Vec<Decision>,
    pub now: u64,
    /// Which conversation it is about now; none is [`ID`].
    pub other: Option<&'static str>,
}

/// An event in a few words: its kind; the status, the owner and who is offered control after it.
pub type Event = (&'static str, &'static str, Option<&'static str>, Option<&'static str>);

impl Story {
    /// Somebody asks; nothing is answered yet.
    pub fn asks(&mut self, role: &str, name: &str, verb: &str, body: Value) -> usize {
        self.now += 10;
        self.operations.push(Operation {
            role: role.into(),
            name: name.into(),
            client: self.operations.len(),
            verb: verb.into(),
            conversation: self.other.unwrap_or(ID).into(),
            id: None,
            body,
            page_before: None,
            attempts: vec![Attempt { sent: self.now, answer: None }],
        });
        self.operations.len() - 1
    }

    /// It is decided.
    pub fn decided(&mut self, number: usize, events: &[Event]) {
        let operation = &self.operations[number];
        let last = self.log.last().map_or(0, |decision| decision.last);
        let of_it = |decision: &&Decision| decision.conversation == operation.conversation;
        let mut before = self.log.iter().rfind(of_it).and_then(|decision| decision.events.last().cloned());
        let events: Vec<Happened> =
            events.iter().map(|event| before.insert(happened(event, before.as_ref())).clone()).collect();
        self.log.push(Decision {
            last: last + events.len() as u64,
            at: self.now,
            conversation: operation.conversation.clone(),
            role: operation.role.clone(),
            name: Some(operation.name.clone()),
            actor: Some(mark(number)),
            verb: operation.verb.clone(),
            id: operation.id.clone(),
            events,
        });
    }

    /// The configuration enables `c`, or does not.
    pub fn switched(&mut self, is_on: bool) {
        let last = self.log.last().map_or(0, |decision| decision.last);
        let enabled = Some(("c".into(), is_on));
        let changed = Happened { enabled, ..happened(&("integration.changed", "", None, None), None) };
        self.unasked(CONFIG, "file", vec![changed], last + 1);
    }

    /// The configuration takes from `c` what it held or was offered.
    pub fn removed(&mut self, event: &Event) {
        let before = self.log.iter().rfind(|decision| decision.conversation == ID).unwrap().events.last().cloned();
        let last = self.log.last().unwrap().last;
        self.unasked(ID, "removal", vec![happened(event, before.as_ref())], last + 1);
    }

    fn unasked(&mut self, conversation: &str, verb: &str, events: Vec<Happened>, last: u64) {
        self.log.push(Decision {
            last,
            at: self.now,
            conversation: conversation.into(),
            role: "config".into(),
            name: None,
            actor: None,
            verb: verb.into(),
            id: None,
            events,
        });
    }

    /// It is answered.
    pub fn answered(&mut self, number: usize, said: Said) {
        self.now += 10;
        self.operations[number].attempts.last_mut().unwrap().answer = Some((self.now, said));
    }

    /// Somebody asks, it is decided and answered.
    pub fn does(&mut self, name: &str, verb: &str, body: Value, events: &[Event]) -> usize {
        let role = if name == "web" { "channel" } else { "integration" };
        let number = self.asks(role, name, verb, body);
        self.decided(number, events);
        self.answered(number, self.applied());
        number
    }

    /// Somebody asks, and hears something that is in no log.
    pub fn hears(&mut self, name: &str, verb: &str, said: Said) -> usize {
        let role = match name {
            "web" => "channel",
            "observer" => "query",
            _ => "integration",
        };
        let number = self.asks(role, name, verb, json!({"to": "c"}));
        self.answered(number, said);
        number
    }

    /// The answer to what was decided last.
    pub fn applied(&self) -> Said {
        let decision = self.log.last().unwrap();
        Said {
            outcome: Some("applied".into()),
            events: decision.numbered().map(|(seq, event)| (seq, event.kind.clone())).collect(),
            ..self.shown()
        }
    }

    /// The state after what was decided last.
    pub fn shown(&self) -> Said {
        let decision = self.log.last().unwrap();
        let event = decision.events.last().unwrap();
        Said {
            states: vec![Seen {
                id: decision.conversation.clone(),
                version: event.version,
                epoch: event.epoch,
                seq: decision.last,
                status: event.status.clone().unwrap(),
                owner: event.owner.clone(),
                whole: Some(Whole {
                    session: event.session,
                    channel: "web".into(),
                    offered_to: event.offered_to.clone(),
                    metadata: digest_of_metadata(None),
                    keys: 0,
                    bytes: 2,
                    digest: event.version,
                }),
            }],
            ..Said::default()
        }
    }

    pub fn refused(&self, code: &str, facts: Value) -> Said {
        Said { code: Some(code.into()), facts, ..self.shown() }
    }

    /// All events up to the last.
    pub fn page(&self) -> Said {
        let events: Vec<(u64, u64)> =
            self.log.iter().flat_map(Decision::numbered).map(|(seq, event)| (seq, event.digest)).collect();
        let head_seq = events.len() as u64;
        Said { page: Some(Page { events, next_seq: None, head_seq }), ..Said::default() }
    }

    pub fn fails(&self, with: &str) {
        let what = check(&self.operations, &self.log).expect_err("it does not fit");
        assert!(what.contains(with), "expected {with:?}, got {what}");
    }
}

fn happened((kind, status, owner, offered_to): &Event, before: Option<&Happened>) -> Happened {
    let (version, epoch, session) = before.map_or((0, 0, 0), |event| (event.version, event.epoch, event.session));
    let changes_owner = ["control.assigned", "control.accepted", "control.passed", "control.released"].contains(kind);
    Happened {
        kind: format!("switchboard.{kind}"),
        version: version + 1,
        epoch: epoch + u64::from(changes_owner),
        session: session + u64::from(*kind == "conversation.started"),
        status: Some((*status).into()),
        owner: owner.map(str::to_owned),
        offered_to: offered_to.map(str::to_owned),
        due: None,
        enabled: None,
        metadata: Map::new(),
        digest: 1000 + version,
    }
}

pub const OFFERED: [Event; 1] = [("control.offered", "open", Some("a"), Some("b"))];
pub const ACCEPTED: [Event; 1] = [("control.accepted", "open", Some("b"), None)];
pub const RELEASED: [Event; 1] = [("control.released", "open", None, None)];

/// The places of the story's operations.
pub const OFFER: usize = 1;
pub const ACCEPT: usize = 2;
pub const STATE: usize = 4;
pub const REPEAT: usize = 2;
pub const HISTORY: usize = 5;

/// `a` gets the conversation, offers it to `b`, who accepts; `a` is refused; it is read, and the accept repeated.
pub fn story() -> Story {
    let mut story = Story::default();
    let started = [("conversation.started", "open", None, None), ("control.assigned", "open", Some("a"), None)];
    story.does("web", "start", json!({}), &started);
    story.does("a", "offer", json!({"to": "b"}), &OFFERED);
    let accept = story.asks("integration", "b", "accept", json!({}));
    story.operations[accept].id = Some("k".into());
    story.decided(accept, &ACCEPTED);
    story.answered(accept, story.applied());
    let refused = story.refused("not_in_control", json!({"owner": "b"}));
    story.hears("a", "pass", refused);
    story.hears("web", "state", story.shown());
    story.hears("observer", "history", story.page());
    story.operations[HISTORY].body = json!({"limit": 1000});
    story.now += 10;
    let replayed = Said { replayed: true, ..story.applied() };
    story.now += 10;
    let again = Attempt { sent: story.now, answer: Some((story.now + 5, replayed)) };
    story.operations[REPEAT].attempts.push(again);
    story
}

pub fn last_answer(story: &mut Story, number: usize) -> &mut Said {
    &mut story.operations[number].attempts.last_mut().unwrap().answer.as_mut().unwrap().1
}
