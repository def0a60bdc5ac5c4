//! The clients: what they ask, again and again, and whether the answers that they get can all be true.

use std::collections::HashMap;

use serde_json::{Value, json};
use switchboard::domain::config::Document;
use switchboard::domain::{By, Time};
use switchboard::switchboard::port::{Ask, ListAsk, Moment, PastAsk, PutAsk, Request, Span};

use super::random::Dice;
use super::say::*;
use super::witness::{Key, Witness, said};

/// What somebody asks.
#[derive(Clone)]
pub enum What {
    Command(Call),
    Put { config: Value, id: Option<String>, is_file: bool },
    State(String),
    List(ListAsk),
    Past(PastAsk),
}

/// One request, sent once; the network may deliver it more often.
pub struct Asked {
    pub by: By,
    pub what: What,
    /// The request that this one repeats, or its own number.
    pub first: usize,
    /// No answer may show anything older than this: version, and the last event.
    floor: (u64, u64),
    /// How many conversations there were in the log when it was asked.
    known: usize,
    pub delivered: u32,
    answered: u32,
    refused: u32,
    /// Its answer reached the client.
    pub is_heard: bool,
    /// The earliest that the clock has shown since it was delivered.
    low: Option<Time>,
}

/// Everything that was ever asked, by number.
#[derive(Default)]
pub struct Clients {
    pub asked: Vec<Asked>,
    /// The newest that any client has seen: of each conversation, and of the whole log.
    seen: HashMap<String, u64>,
    seen_seq: u64,
    relays: HashMap<usize, (u32, Option<u64>)>,
    answered_relays: HashMap<usize, u32>,
}

impl Clients {
    /// Somebody asks something new, or the same again.
    pub fn ask(&mut self, by: By, what: What, again: Option<usize>, known: usize) -> usize {
        let number = self.asked.len();
        let version = conversation_of(&what).and_then(|id| self.seen.get(id)).copied().unwrap_or(0);
        let floor = (version, self.seen_seq);
        let first = again.unwrap_or(number);
        let asked =
            Asked { by, what, first, floor, known, delivered: 0, answered: 0, refused: 0, is_heard: false, low: None };
        self.asked.push(asked);
        number
    }

    /// The request as it is delivered.
    pub fn deliver(&mut self, number: usize, clock: Time) -> Request {
        let asked = &mut self.asked[number];
        asked.delivered += 1;
        asked.low = Some(asked.low.map_or(clock, |low| low.min(clock)));
        let reply = Some(format!("_INBOX.{number}").into());
        match asked.what.clone() {
            What::Command(call) => call.request(reply),
            What::Put { config, id, is_file } => {
                let (by, reply) = if is_file { (By::config(), None) } else { (asked.by.clone(), reply) };
                Request { by, ask: Ask::Put(Box::new(put_of(&config, id.as_deref(), is_file))), reply }
            }
            What::State(id) => Request { by: asked.by.clone(), ask: Ask::State { id: conversation(&id) }, reply },
            What::List(ask) => Request { by: asked.by.clone(), ask: Ask::List(Box::new(ask)), reply },
            What::Past(ask) => Request { by: asked.by.clone(), ask: ask.into(), reply },
        }
    }

    /// The clock was set: what is decided from now on may bear an earlier time.
    pub fn clock_is(&mut self, clock: Time) {
        for asked in self.asked.iter_mut().filter(|asked| asked.answered < asked.delivered) {
            asked.low = asked.low.map(|low| low.min(clock));
        }
    }

    /// The service sends an answer, which may still be lost.
    pub fn check_answer(&mut self, to: &str, body: &Value, code: Option<&str>, witness: &mut Witness) {
        let number = number_of(to);
        let asked = &mut self.asked[number];
        asked.answered += 1;
        asked.refused += u32::from(code.is_some_and(|code| code != "log_failed"));
        assert!(asked.answered <= asked.delivered, "{to} is answered more often than it was asked");
        assert_eq!(code, body["error"]["code"].as_str());
        let shown = [&body["conversation"], &body["error"]["conversation"]];
        let rows = body["conversations"].as_array().into_iter().flatten();
        let is_of_the_past = matches!(asked.what, What::Past(_));
        for c in shown.into_iter().filter(|c| c.is_object()).chain(rows) {
            witness.check_shown(c);
            let is_old = c["version"].as_u64().expect("a version") < asked.floor.0;
            let is_asked = conversation_of(&asked.what) == c["id"].as_str();
            assert!(is_of_the_past || !is_asked || !is_old, "{to} shows what was overtaken before it was asked: {c}");
        }
        witness.check_events(body["events"].as_array().map_or(&[], Vec::as_slice));
        if let Some(head_seq) = body["head_seq"].as_u64() {
            assert!(head_seq <= witness.last_seq(), "I6: {head_seq} is not in the log");
            assert!(head_seq >= asked.floor.1, "{to} does not show event {} seen before", asked.floor.1);
        }
        if code.is_none() {
            check_whole(asked, body, witness);
        }
        if let What::Command(call) = asked.what.clone() {
            self.check_command(number, &call, body, code, witness);
        }
    }

    fn check_command(&mut self, number: usize, call: &Call, body: &Value, code: Option<&str>, witness: &mut Witness) {
        let asked = &self.asked[number];
        if code.is_none() && body["relayed_to"].is_string() {
            let answered = self.answered_relays.entry(asked.first).or_default();
            *answered += 1;
            let relayed = self.relays.get(&asked.first).map_or(0, |(count, _)| *count);
            assert!(*answered <= relayed, "request {number} is answered before it was relayed");
        }
        let version = body["conversation"]["version"].as_u64();
        if let (None, true, Some(version), Some(low)) = (code, call.command.may_begin(), version, asked.low)
            && body["conversation"]["status"] != "closed"
            && body["replayed"].is_null()
        {
            witness.was_active(call.id.as_str(), version, low);
        }
        let events = body["events"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(first) = events.first().and_then(|event| event["seq"].as_u64()) else { return };
        let known = &witness.events[first as usize - 1];
        let last = first + events.len() as u64;
        assert_eq!(known.decision, (first, last), "the answer tells the whole decision");
        let decided = (known.by.as_str(), known.verb.as_str(), known.conversation.as_str());
        assert_eq!(decided, (said(&call.by).as_str(), call.command.verb(), call.id.as_str()), "somebody else's events");
        if let Some(key) = key_of(call) {
            let (seq, count, _) = witness.decided[&key];
            assert_eq!((first, last), (seq, seq + count), "I7: {key:?} is answered otherwise than it was decided");
        }
    }

    /// The answer reaches its client.
    pub fn hear(&mut self, to: &str, body: &Value, code: Option<&str>) {
        let asked = &mut self.asked[number_of(to)];
        asked.is_heard |= !matches!(code, Some("log_failed" | "busy" | "storage_full"));
        let shown = [&body["conversation"], &body["error"]["conversation"]];
        let rows = body["conversations"].as_array().into_iter().flatten();
        for c in shown.into_iter().filter(|c| c.is_object()).chain(rows) {
            let seen = self.seen.entry(c["id"].as_str().expect("an id").to_owned()).or_default();
            *seen = (*seen).max(c["version"].as_u64().expect("a version"));
            self.seen_seq = self.seen_seq.max(c["seq"].as_u64().expect("a seq"));
        }
    }

    /// A message is relayed; its words say which request it was.
    pub fn relayed(&mut self, data: &Value, fingerprint: Option<u64>) {
        let words = data["content"]["text"].as_str().expect("words");
        let first: usize = words.trim_start_matches("words ").parse().expect("a number");
        let known = self.relays.entry(first).or_insert((0, fingerprint));
        known.0 += 1;
        assert_eq!(known.1, fingerprint, "a repeat is relayed under the same id");
        let What::Command(call) = &self.asked[first].what else { panic!("only messages are relayed") };
        assert_eq!(call.command_id.is_some(), fingerprint.is_some());
    }

    /// A request that was only ever refused recorded nothing.
    pub fn check_refused_did_nothing(&self, witness: &Witness) {
        let mut only_refused: HashMap<Key, bool> = HashMap::new();
        for asked in &self.asked {
            let What::Command(call) = &asked.what else { continue };
            let Some(key) = key_of(call) else { continue };
            *only_refused.entry(key).or_insert(true) &= asked.refused == asked.delivered;
        }
        for (key, _) in only_refused.into_iter().filter(|(_, only_refused)| *only_refused) {
            assert!(!witness.decided.contains_key(&key), "{key:?} was refused, and decided");
        }
    }
}

/// A page leaves nothing out that was there when it was asked for.
fn check_whole(asked: &Asked, body: &Value, witness: &Witness) {
    match &asked.what {
        What::List(_) => {
            let rows = body["conversations"].as_array().expect("rows");
            let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
            assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "a page out of order: {ids:?}");
            let is_on_it = |id: &&String| body["next"].as_str().is_none_or(|last| id.as_str() <= last);
            for id in witness.ids[..asked.known].iter().filter(is_on_it) {
                assert!(ids.binary_search(&id.as_str()).is_ok(), "{id} is not on the page {ids:?}");
            }
        }
        What::Past(PastAsk::History { id: Some(id), .. }) if body["next_seq"].is_null() => {
            let events = body["events"].as_array().expect("events").len() as u64;
            assert!(events >= asked.floor.0, "{id} has {events} events, {} were seen", asked.floor.0);
        }
        _ => {}
    }
}

/// The number of a request, as its reply subject has it.
pub fn number_of(reply: &str) -> usize {
    reply.trim_start_matches("_INBOX.").parse().expect("one of our own")
}

fn conversation_of(what: &What) -> Option<&str> {
    match what {
        What::Command(call) => Some(call.id.as_str()),
        What::State(id) => Some(id),
        What::Past(PastAsk::History { id: Some(id), .. }) => Some(id.as_str()),
        _ => None,
    }
}

fn key_of(call: &Call) -> Option<Key> {
    let command_id = call.command_id.as_ref()?;
    Some((said(&call.by), call.id.to_string(), command_id.to_string()))
}

fn put_of(config: &Value, id: Option<&str>, is_file: bool) -> PutAsk {
    PutAsk {
        document: Document::parse(config),
        canonical: config.to_string().into_bytes(),
        expected_version: None,
        command_id: id.map(Into::into),
        traceparent: None,
        is_file,
    }
}

// What clients think of

/// Requests after which new conversations come.
const ERA_REQUESTS: usize = 25;

/// The configuration of every run's beginning.
pub fn usual() -> Value {
    json!({
        "settings": {
            "default_integration": "bot", "multi_conversations": true, "end_user_can_end": true,
            "inactivity_timeout": "1h", "release_deadline": "10m"
        },
        "integration": [
            {"name": "bot", "next": "agents", "inactivity_timeout": "10m"},
            {"name": "agents", "on_end": "hold", "can_take": true, "inactivity_timeout": "never"},
            {"name": "survey", "on_end": "hold"},
            {"name": "listener", "standby": true}
        ],
        "channel": [
            {"name": "thread", "multi_conversations": false, "end_user_can_end": false},
            {"name": "reopening", "multi_conversations": false, "end_user_can_end": false, "reopen": true},
            {"name": "small", "open_conversations_max": 2}
        ]
    })
}

pub fn random_config(dice: &mut Dice) -> Value {
    let mut config = usual();
    for (at, n) in [(1, 4), (2, 3)] {
        if dice.one_in(n) {
            config["integration"][at]["enabled"] = json!(false);
        }
    }
    if dice.one_in(4) {
        config["integration"].as_array_mut().expect("integrations").pop();
    }
    if dice.one_in(4) {
        config["settings"]["default_integration"] = Value::Null;
        config["settings"].as_object_mut().expect("settings").remove("default_integration");
    }
    config["integration"][0]["inactivity_timeout"] = dice.pick(&[json!("10m"), json!("1m"), json!("never")]);
    config["integration"][0]["on_end"] = dice.pick(&[json!("release"), json!("hold"), json!({"pass": "survey"})]);
    config["settings"]["release_deadline"] = dice.pick(&[json!("10m"), json!("1m"), json!("never")]);
    config["settings"]["inactivity_timeout"] = dice.pick(&[json!("1h"), json!("30m")]);
    config
}

pub fn random_question(dice: &mut Dice, id: String, now: Time, last_seq: u64) -> What {
    let limit = 1 + dice.below(20) as usize;
    let span = Span { limit, ..Span::default() };
    let at = match dice.one_in(2) {
        true => Moment::Seq(dice.below(last_seq + 2)),
        false => Moment::Time(Time(now.0 - dice.below(HOUR))),
    };
    match dice.below(7) {
        0 | 1 => What::State(id),
        2 => What::List(ListAsk { limit, ..ListAsk::default() }),
        3 => What::Past(PastAsk::Conversation { id: conversation(&id), at }),
        4 => What::Past(PastAsk::History { id: Some(conversation(&id)), span }),
        5 => What::Past(PastAsk::Log { span: Span { from_seq: Some(1 + dice.below(last_seq + 1)), ..span } }),
        _ => What::Past(PastAsk::Config { at }),
    }
}

/// Something that somebody might ask; `number` marks its words, `holders` are those who likely may, `version` and
/// `epoch` are those of now.
pub fn random_call(dice: &mut Dice, id: &str, number: usize, holders: &[String], now: (u64, u64)) -> Call {
    let (version, epoch) = now;
    let own = channel(channel_of(id));
    let by = if dice.one_in(30) { channel("web") } else { own };
    let anybody = dice.pick(&["bot", "agents", "survey", "listener"]);
    let me = match holders.is_empty() || dice.one_in(5) {
        true => integration(anybody),
        false => integration(&dice.pick(holders)),
    };
    let to = dice.pick(&["bot", "agents", "survey", "next", "nobody"]);
    let words = format!("words {number}");
    let metadata = json!({"n": dice.below(100), "half": 0.1 * dice.below(100) as f64});
    let verbs = if version == 0 && dice.below(8) > 0 { 8 } else { 24 };
    let mut call = match dice.below(verbs) {
        0..3 => start(id).by(by).metadata(metadata),
        3..5 => message(id).by(by),
        5..9 => message(id).by(by).message_id(&format!("m{number}")).content(&words),
        9 => end(id).by(by),
        10..12 => pass(me, id, to).metadata(json!({"by": dice.below(9), "n": null})),
        12..14 => offer(me, id, to, dice.pick(&[None, Some(5 * SECOND), Some(HOUR)])),
        14 | 15 => accept(me, id).metadata(json!({"accepted": true})),
        16 => decline(me, id),
        17 => withdraw(me, id),
        18 => take(me, id),
        19 => release(me, id),
        20 => reply(me, id).message_id(&format!("r{number}")).content(&words),
        21 => finish(me, id),
        22 => overrule_pass(id, to),
        _ => dice.pick(&[overrule_release(id), overrule_end(id)]),
    };
    call = match dice.below(20) {
        0..12 => call.command_id(&format!("i{number}")),
        12 => call.command_id(&format!("i{}", dice.below(8))),
        _ => call,
    };
    match dice.below(15) {
        0 => call.epoch(epoch),
        1 => call.version(version + dice.below(2)),
        _ => call,
    }
}

/// The channel to which a conversation belongs.
pub fn channel_of(id: &str) -> &str {
    id.split('-').next().expect("ids begin with their channel")
}

/// One of a few conversations; those that stay closed give way to new ones as time goes on.
pub fn random_id(dice: &mut Dice, conversations: u64, asked: usize) -> String {
    let of = dice.pick(&["web", "thread", "reopening", "small"]);
    let era = if dice.one_in(8) { 0 } else { asked / ERA_REQUESTS };
    match of {
        "web" | "small" => format!("{of}-{}-{era}", dice.below(conversations)),
        _ => format!("{of}-{}", dice.below(conversations)),
    }
}
