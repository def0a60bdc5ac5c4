//! What clients ask: mostly what makes sense as things stand, and otherwise anything.

use serde_json::{Map, Value, json};

use crate::board::{Board, CHANNELS};
use crate::history::{Operation, Seen};
use crate::judge::STRANGER;
use crate::log::CONFIG;
use crate::metadata::near_a_bound;
use crate::random::Random;
use crate::timeline::NAMES;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// A channel, by its place in [`CHANNELS`].
    Channel(usize),
    /// An integration of that name; `d` is nobody.
    Integration(&'static str),
    Operator(&'static str),
    /// An operator that changes the configuration.
    Configurer,
    Observer,
}

/// What to ask next.
pub fn next(part: Part, client: usize, board: &Board, random: &mut Random) -> Operation {
    let channel = match part {
        Part::Channel(channel) => channel,
        _ => random.below(CHANNELS.len() as u64) as usize,
    };
    let conversation = board.conversation(channel, random);
    let known = board.known(&conversation);
    let (role, name, (verb, body)) = match part {
        Part::Channel(_) if random.is(2) => ("channel", STRANGER, (random.pick(&["end", "state"]), json!({}))),
        Part::Channel(channel) => ("channel", CHANNELS[channel], channels(channel, known.as_ref(), random)),
        Part::Integration(me) => ("integration", me, integrations(me, known.as_ref(), random)),
        Part::Operator(me) => ("operator", me, operators(random)),
        Part::Configurer => ("operator", "otto", configurers(board, random)),
        Part::Observer => ("query", "observer", observers(board, random)),
    };
    let mut operation = Operation {
        role: role.into(),
        name: name.into(),
        client,
        verb: verb.into(),
        conversation,
        id: None,
        body,
        page_before: None,
        attempts: Vec::new(),
    };
    if part == Part::Configurer {
        operation.conversation = CONFIG.into();
        operation.role = if verb == "put" { "operator".into() } else { "query".into() };
    } else if matches!(role, "channel" | "integration" | "operator") && !matches!(verb, "state" | "list") {
        expect_something(&mut operation.body, known.as_ref(), random);
    }
    operation
}

fn channels(channel: usize, known: Option<&Seen>, random: &mut Random) -> (&'static str, Value) {
    let is_over = known.is_none_or(|seen| seen.status == "closed");
    let starts = if is_over { 30 } else { 6 };
    let ends = if channel == 0 { 14 } else { 3 };
    let verb = random.weighed(&[(starts, "start"), (50, "message"), (ends, "end"), (10, "state")]);
    let body = match verb {
        "start" if random.is(50) => {
            json!({"owner": random.pick(&NAMES), "user": "u", "metadata": facts("channel", None, random)})
        }
        "message" => {
            let mut body = json!({"message_id": format!("m{}", random.below(1000))});
            if random.is(10) {
                body["sent_at"] = json!("2020-01-01T00:00:00Z");
            }
            words(&mut body, random);
            body
        }
        _ => json!({}),
    };
    (verb, body)
}

fn integrations(me: &str, known: Option<&Seen>, random: &mut Random) -> (&'static str, Value) {
    if me == "s" {
        return ("state", json!({}));
    }
    let is_owner = known.is_some_and(|seen| seen.owner.as_deref() == Some(me));
    let offered_to = known.and_then(|seen| seen.whole.as_ref()?.offered_to.as_deref());
    let verb = match () {
        _ if random.is(15) => {
            random.pick(&["pass", "offer", "accept", "decline", "withdraw", "take", "release", "reply", "end"])
        }
        _ if offered_to == Some(me) => random.weighed(&[(60, "accept"), (20, "decline"), (10, "state"), (10, "list")]),
        _ if is_owner => random.weighed(&[
            (20, "pass"),
            (30, "offer"),
            (20, "reply"),
            (8, "release"),
            (4, "withdraw"),
            (4, "end"),
            (8, "state"),
            (6, "list"),
        ]),
        _ => random.weighed(&[(30, "accept"), (20, "take"), (10, "pass"), (20, "state"), (20, "list")]),
    };
    let mut body = match verb {
        "pass" | "offer" => json!({"to": random.pick(&["a", "b", "c", "next", "next", "nobody"])}),
        "list" => json!({"limit": random.pick(&[1, 1, 2, 3, 1000])}),
        _ => json!({}),
    };
    match verb {
        "offer" if random.is(40) => body["expires_in"] = json!("1s"),
        "reply" => words(&mut body, random),
        "pass" | "take" | "accept" | "offer" | "release" if random.is(30) => {
            body["metadata"] = facts(me, known, random)
        }
        _ => {}
    }
    (verb, body)
}

fn operators(random: &mut Random) -> (&'static str, Value) {
    match random.weighed(&[(70, "pass"), (20, "release"), (10, "end")]) {
        "pass" => ("pass", json!({"to": random.pick(&["a", "b", "c", "nobody", "next"])})),
        verb => (verb, json!({"reason": "overruled"})),
    }
}

/// The body says only whether `c` is to be enabled; the whole document is put around it.
fn configurers(board: &Board, random: &mut Random) -> (&'static str, Value) {
    if random.is(30) {
        return ("config", json!({}));
    }
    let mut body = json!({"c": random.is(60)});
    if random.is(50) {
        body["expected_version"] = board.config_version.load(std::sync::atomic::Ordering::Relaxed).into();
    }
    ("put", body)
}

fn observers(board: &Board, random: &mut Random) -> (&'static str, Value) {
    let last = board.last_seq();
    let recent = (last + 1).saturating_sub(random.below(60)).max(1);
    match random.weighed(&[(30, "conversation"), (15, "then"), (20, "history"), (15, "conversations"), (20, "log")]) {
        "then" if last > 0 => ("conversation", json!({"at_seq": recent.min(last)})),
        "history" => ("history", json!({"from_seq": recent, "limit": 1 + random.below(20)})),
        "conversations" => ("conversations", filters(random)),
        "log" => ("log", json!({"from_seq": recent, "limit": 1 + random.below(50)})),
        _ => ("conversation", json!({})),
    }
}

/// What conversations are listed by; closed ones are many, and listed by channel.
fn filters(random: &mut Random) -> Value {
    let mut body = json!({});
    match random.below(8) {
        0..3 => body["status"] = json!(["open", "ending"]),
        3 => body["status"] = json!("ending"),
        4 => body["owner"] = json!(random.pick(&[Some("a"), Some("b"), Some("c"), None])),
        5 => body["offered_to"] = json!(random.pick(&NAMES)),
        6 => body["status"] = json!("closed"),
        _ => {}
    }
    let may_be_closed = body.get("status").is_none_or(|status| status == "closed") && body.get("offered_to").is_none();
    if may_be_closed || random.is(30) {
        body["channel"] = json!(random.pick(&CHANNELS));
    }
    body["limit"] = json!(if may_be_closed { 4 + random.below(40) } else { 1 + random.below(4) });
    body
}

/// What is kept with a conversation: now and then as much as may be, or more.
fn facts(by: &str, known: Option<&Seen>, random: &mut Random) -> Value {
    let whole = known.and_then(|seen| seen.whole.as_ref());
    let (keys, bytes) = whole.map_or((0, 2), |whole| (whole.keys, whole.bytes));
    match random.below(10) {
        0 | 1 => near_a_bound(|end| random.below(end), keys, bytes).into(),
        // What was much makes room again.
        _ if keys > 9 => Map::from_iter((0..66).map(|at| (format!("many{at}"), Value::Null))).into(),
        _ if bytes > 1000 => json!({"long": null}),
        _ => json!({"by": by, "n": random.below(9)}),
    }
}

fn words(body: &mut Value, random: &mut Random) {
    if random.is(70) {
        body["content"] = json!({"text": "hello"});
    }
}

/// What the sender takes the conversation for, now and then something else.
fn expect_something(body: &mut Value, known: Option<&Seen>, random: &mut Random) {
    let (epoch, version) = known.map_or((0, 0), |seen| (seen.epoch, seen.version));
    match random.below(100) {
        0..25 => body["expected_epoch"] = epoch.into(),
        25..40 => body["expected_version"] = version.into(),
        40..42 => body["expected_epoch"] = (epoch + 1).into(),
        _ => {}
    }
}
