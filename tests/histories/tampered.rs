//! The checker must be able to fail: a history that fits, and each way in which it would not.

use serde_json::{Value, json};

use crate::checker::check;
use crate::history::{Attempt, Operation, Page, Said, Seen, Whole, mark};
use crate::log::{CONFIG, Decision, Happened};
use crate::wire::{self, Breaks, Heard, Relayed};

/// The conversation of the story.
const ID: &str = "web-0-0";

/// What clients did, and the log that goes with it.
#[derive(Clone, Default)]
struct Story {
    operations: Vec<Operation>,
    log: Vec<Decision>,
    now: u64,
}

/// An event in a few words: its kind; the status, the owner and who is offered control after it.
type Event = (&'static str, &'static str, Option<&'static str>, Option<&'static str>);

impl Story {
    /// Somebody asks; nothing is answered yet.
    fn asks(&mut self, role: &str, name: &str, verb: &str, body: Value) -> usize {
        self.now += 10;
        self.operations.push(Operation {
            role: role.into(),
            name: name.into(),
            client: self.operations.len(),
            verb: verb.into(),
            conversation: ID.into(),
            id: None,
            body,
            page_before: None,
            attempts: vec![Attempt { sent: self.now, answer: None }],
        });
        self.operations.len() - 1
    }

    /// It is decided.
    fn decided(&mut self, number: usize, events: &[Event]) {
        let operation = &self.operations[number];
        let last = self.log.last().map_or(0, |decision| decision.last);
        let of_it = |decision: &&Decision| decision.conversation == ID;
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
    fn switched(&mut self, is_on: bool) {
        let last = self.log.last().map_or(0, |decision| decision.last);
        let enabled = Some(("c".into(), is_on));
        let changed = Happened { enabled, ..happened(&("integration.changed", "", None, None), None) };
        self.unasked(CONFIG, "file", vec![changed], last + 1);
    }

    /// The configuration takes from `c` what it held or was offered.
    fn removed(&mut self, event: &Event) {
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
    fn answered(&mut self, number: usize, said: Said) {
        self.now += 10;
        self.operations[number].attempts.last_mut().unwrap().answer = Some((self.now, said));
    }

    /// Somebody asks, it is decided and answered.
    fn does(&mut self, name: &str, verb: &str, body: Value, events: &[Event]) -> usize {
        let role = if name == "web" { "channel" } else { "integration" };
        let number = self.asks(role, name, verb, body);
        self.decided(number, events);
        self.answered(number, self.applied());
        number
    }

    /// Somebody asks, and hears something that is in no log.
    fn hears(&mut self, name: &str, verb: &str, said: Said) -> usize {
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
    fn applied(&self) -> Said {
        let decision = self.log.last().unwrap();
        Said {
            outcome: Some("applied".into()),
            events: decision.numbered().map(|(seq, event)| (seq, event.kind.clone())).collect(),
            ..self.shown()
        }
    }

    /// The state after what was decided last.
    fn shown(&self) -> Said {
        let decision = self.log.last().unwrap();
        let event = decision.events.last().unwrap();
        Said {
            states: vec![Seen {
                id: ID.into(),
                version: event.version,
                epoch: event.epoch,
                seq: decision.last,
                status: event.status.clone().unwrap(),
                owner: event.owner.clone(),
                whole: Some(Whole {
                    session: event.session,
                    channel: "web".into(),
                    offered_to: event.offered_to.clone(),
                    digest: event.version,
                }),
            }],
            ..Said::default()
        }
    }

    fn refused(&self, code: &str, facts: Value) -> Said {
        Said { code: Some(code.into()), facts, ..self.shown() }
    }

    /// All events up to the last.
    fn page(&self) -> Said {
        let events: Vec<(u64, u64)> =
            self.log.iter().flat_map(Decision::numbered).map(|(seq, event)| (seq, event.digest)).collect();
        let head_seq = events.len() as u64;
        Said { page: Some(Page { events, next_seq: None, head_seq }), ..Said::default() }
    }

    fn fails(&self, with: &str) {
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
        digest: 1000 + version,
    }
}

const OFFERED: [Event; 1] = [("control.offered", "open", Some("a"), Some("b"))];
const ACCEPTED: [Event; 1] = [("control.accepted", "open", Some("b"), None)];
const RELEASED: [Event; 1] = [("control.released", "open", None, None)];

/// The places of the story's operations.
const OFFER: usize = 1;
const ACCEPT: usize = 2;
const STATE: usize = 4;
const REPEAT: usize = 2;
const HISTORY: usize = 5;

/// `a` gets the conversation, offers it to `b`, who accepts; `a` is refused; it is read, and the accept repeated.
fn story() -> Story {
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

fn last_answer(story: &mut Story, number: usize) -> &mut Said {
    &mut story.operations[number].attempts.last_mut().unwrap().answer.as_mut().unwrap().1
}

#[test]
fn a_history_that_fits_is_taken() {
    let story = story();
    let tally = check(&story.operations, &story.log).unwrap();
    assert_eq!((tally.decisions, tally.requests, tally.replayed, tally.unknown), (3, 7, 1, 0));
}

#[test]
fn an_unknown_outcome_may_have_been_decided_or_not() {
    let mut story = story();
    let released = story.asks("integration", "b", "release", json!({}));
    check(&story.operations, &story.log).unwrap();
    story.decided(released, &RELEASED);
    assert_eq!(check(&story.operations, &story.log).unwrap().found_decided, 1);
}

#[test]
fn an_applied_event_that_is_lost_is_found() {
    let mut story = story();
    story.operations.truncate(ACCEPT + 1);
    story.log.pop();
    story.fails("answered as applied, and not in the log");
}

#[test]
fn two_answers_that_were_swapped_are_found() {
    let mut story = story();
    let offered = last_answer(&mut story, OFFER).clone();
    story.operations[ACCEPT].attempts.truncate(1);
    let accepted = std::mem::replace(last_answer(&mut story, ACCEPT), offered);
    *last_answer(&mut story, OFFER) = accepted;
    story.fails("answered with");
}

#[test]
fn a_stale_read_is_found() {
    let mut story = story();
    let offered = last_answer(&mut story, OFFER).states.clone();
    last_answer(&mut story, STATE).states = offered;
    story.fails("no place for it");
}

#[test]
fn a_read_of_what_was_not_asked_for_yet_is_found() {
    let mut story = story();
    let read = &mut story.operations[STATE].attempts[0];
    read.sent = 21;
    read.answer.as_mut().unwrap().0 = 22;
    story.fails("no place for it");
}

#[test]
fn a_state_that_the_log_never_had_is_found() {
    let mut story = story();
    last_answer(&mut story, STATE).states[0].owner = Some("a".into());
    story.fails("the log never had it so");
}

#[test]
fn one_version_shown_in_two_ways_is_found() {
    let mut story = story();
    last_answer(&mut story, STATE).states[0].whole.as_mut().unwrap().digest = 77;
    story.fails("was shown otherwise");
}

#[test]
fn a_request_decided_twice_is_found() {
    let mut story = story();
    story.decided(OFFER, &[("control.offered", "open", Some("b"), Some("a"))]);
    story.fails("decided twice");
}

#[test]
fn a_command_id_that_decides_twice_is_found() {
    let mut story = story();
    let again = story.asks("integration", "b", "accept", json!({}));
    story.operations[again].id = Some("k".into());
    story.decided(again, &ACCEPTED);
    story.fails("command id decided twice");
}

#[test]
fn a_repeat_that_does_not_say_so_is_found() {
    let mut story = story();
    let unchanged = Said { outcome: Some("unchanged".into()), ..story.shown() };
    *last_answer(&mut story, REPEAT) = unchanged;
    story.fails("no place for it");
}

#[test]
fn a_refusal_that_is_wrong_for_its_state_is_found() {
    let mut story = story();
    let refused = story.refused("not_in_control", json!({"owner": "b"}));
    story.hears("b", "release", refused);
    story.fails("no place for it");
}

#[test]
fn a_decision_that_the_contract_does_not_allow_is_found() {
    let mut story = story();
    let taken = story.asks("integration", "a", "take", json!({}));
    story.decided(taken, &[("control.passed", "open", Some("a"), None)]);
    story.fails("not_allowed");
}

#[test]
fn a_command_before_what_was_taken_from_an_integration_is_found() {
    let mut story = Story::default();
    story.switched(true);
    let started = [("conversation.started", "open", None, None), ("control.assigned", "open", Some("a"), None)];
    story.does("web", "start", json!({}), &started);
    story.does("a", "offer", json!({"to": "c"}), &[("control.offered", "open", Some("a"), Some("c"))]);
    story.switched(false);
    story.switched(true);
    let mut too_soon = story.clone();
    too_soon.does("c", "accept", json!({}), &[("control.accepted", "open", Some("c"), None)]);
    too_soon.fails("had to be decided before");
    let withdrawn = ("control.offer_withdrawn", "open", Some("a"), None);
    story.removed(&withdrawn);
    story.hears("c", "accept", story.refused("not_offered", Value::Null));
    check(&story.operations, &story.log).unwrap();
    story.removed(&withdrawn);
    story.fails("nothing of that kind falls due");
}

#[test]
fn a_decision_that_nobody_asked_for_is_found() {
    let mut story = story();
    story.log[1].actor = Some("o77".into());
    story.fails("nobody asked for this");
}

#[test]
fn a_decision_before_its_request_is_found() {
    let mut story = story();
    let released = story.asks("integration", "b", "release", json!({}));
    story.decided(released, &RELEASED);
    story.answered(released, story.applied());
    // Somebody saw it before.
    let early = Attempt { sent: story.now - 15, answer: Some((story.now - 14, story.shown())) };
    story.operations[STATE].attempts = vec![early];
    story.operations[released].attempts[0].sent = story.now - 12;
    story.fails("no place for it");
}

#[test]
fn one_clients_commands_decided_in_another_order_than_sent_are_found() {
    let mut story = story();
    for to in ["b", "a"] {
        story.asks("operator", "olga", "pass", json!({"to": to}));
    }
    let (first, second) = (story.operations.len() - 2, story.operations.len() - 1);
    story.decided(second, &[("control.passed", "open", Some("a"), None)]);
    story.decided(first, &[("control.passed", "open", Some("b"), None)]);
    check(&story.operations, &story.log).unwrap();
    story.operations[second].client = story.operations[first].client;
    story.fails("no place for it");
    // Callers take turns, also on one connection.
    let operator = std::mem::replace(&mut story.operations[second].name, "otto".into());
    story.log[3].name = Some("otto".into());
    check(&story.operations, &story.log).unwrap_or_else(|what| panic!("{operator} and another: {what}"));
}

#[test]
fn a_page_that_lacks_an_event_below_the_head_that_it_names_is_found() {
    let mut story = story();
    last_answer(&mut story, HISTORY).page.as_mut().unwrap().events.pop();
    story.fails("expected [");
}

fn heard(story: &Story) -> Heard {
    let events = story.log.iter().flat_map(Decision::numbered).map(|(seq, event)| (seq, event.digest)).collect();
    let relayed = |epoch, owner: &str| Relayed { conversation: ID.into(), epoch, owner: Some(owner.into()) };
    Heard { events, relays: vec![relayed(1, "a"), relayed(2, "b")], ..Heard::default() }
}

#[test]
fn what_was_published_is_held_against_the_log() {
    let story = story();
    let whole = heard(&story);
    let calm = Breaks { connections: 1, outages: 0 };
    let rough = Breaks { connections: 2, outages: 1 };
    let is_taken = |heard: &Heard, breaks| wire::check(heard, &story.log, breaks);
    assert_eq!(is_taken(&whole, calm), Ok((0, 0)));
    let mut again = whole.clone();
    again.events.extend_from_slice(&whole.events[2..]);
    assert_eq!(is_taken(&again, calm), Ok((0, 2)));
    let mut hole = whole.clone();
    hole.events.remove(1);
    assert_eq!(is_taken(&hole, rough), Ok((1, 0)));
    let mut altered = whole.clone();
    altered.events[1].1 += 1;
    let mut swapped = again.clone();
    swapped.events.swap(0, 1);
    let mut to_another = whole.clone();
    to_another.relays[1].owner = Some("a".into());
    for wrong in [hole, altered, swapped, to_another] {
        is_taken(&wrong, calm).expect_err("it does not fit");
    }
}
