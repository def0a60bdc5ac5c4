//! Large worlds at random: many conversations, channels and integrations, a configuration that changes, time that
//! passes. The service is asked over its core, and every answer must be the model's, field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use switchboard::domain::ConversationId;

use super::contract::{Answer, Around, Asked, Integration, OnEnd, Rules, Settings, Verb};
use super::metadata::{bytes_of, near_a_bound};
use super::random::{Dice, seeds, steps};
use super::say::{Call, put};
use super::site::{BEGIN, Site};
use super::talk::{Stage, Stamp, Talk};

const RUNS: u64 = 4;
const STEPS: u64 = 2500;
const CONVERSATIONS: u64 = 16;
const CHANNELS: [&str; 6] = ["multi", "ends", "single", "reopens", "small", "other"];
const INTEGRATIONS: [&str; 8] = ["bot", "agents", "survey", "sales", "night", "listener", "ear", "expert"];
const MINUTE: u64 = 60_000;

/// Every answer that the walks must come to: one that is never seen proves nothing. An offer while ending is too rare
/// here; the small worlds have it.
const ANSWERS: [&str; 14] = [
    "limit_reached",
    "unknown_integration",
    "conversation_not_found",
    "wrong_channel",
    "conversation_closed",
    "stale_version",
    "end_not_allowed",
    "not_in_control",
    "not_allowed",
    "not_offered",
    "invalid_target",
    "metadata_too_large",
    "unchanged",
    "applied",
];

#[test]
fn in_large_worlds_every_answer_is_the_models() {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut runs = 0;
    for seed in seeds(1, RUNS) {
        let walked = std::panic::catch_unwind(|| Town::new(seed).walk(steps(STEPS)));
        let walked = walked.unwrap_or_else(|panic| {
            eprintln!("the walk failed: repeat it with SWITCHBOARD_TEST_SEED={seed}");
            std::panic::resume_unwind(panic)
        });
        walked.into_iter().for_each(|(answer, count)| *seen.entry(answer).or_default() += count);
        runs += 1;
    }
    println!("{runs} runs: {seen:?}");
    let never: Vec<_> = ANSWERS.iter().filter(|answer| !seen.contains_key(**answer)).collect();
    assert!(runs * steps(STEPS) < RUNS * STEPS || never.is_empty(), "never seen: {never:?}");
}

/// A conversation, and what is known of it beside the log.
struct Live {
    talk: Talk,
    active_at: u64,
    last_message: Option<String>,
}

struct Town {
    dice: Dice,
    rules: Rules,
    talks: BTreeMap<String, Live>,
    now: u64,
    site: Site,
    /// How often each answer came.
    seen: BTreeMap<String, u64>,
}

impl Town {
    fn new(seed: u64) -> Town {
        let mut dice = Dice::new(seed);
        let rules = random_rules(&mut dice);
        let site = Site::new(&rules.document());
        Town { dice, rules, talks: BTreeMap::new(), now: BEGIN.0, site, seen: BTreeMap::new() }
    }

    fn walk(mut self, steps: u64) -> BTreeMap<String, u64> {
        for at in 0..steps {
            self.site.left.clear();
            match self.dice.below(100) {
                0..2 => self.configure(),
                2..10 => self.time_passes(),
                _ => self.ask(at),
            }
            if at % 50 == 0 {
                self.check_all();
            }
        }
        self.check_all();
        self.seen
    }

    fn configure(&mut self) {
        // What applied between two configurations within a millisecond has applied to nobody.
        self.passes(1);
        let before = self.rules.clone();
        self.rules = random_rules(&mut self.dice);
        let answer = self.site.put(put(&self.rules.document()));
        assert!(answer["error"].is_null(), "{answer}");
        for live in self.talks.values_mut() {
            live.talk.ruled_anew(&before, &self.rules, self.now);
        }
        for id in self.talks.keys().cloned().collect::<Vec<_>>() {
            self.falls_due(&id, Verb::Removal);
            self.talks.get_mut(&id).expect("it is there").talk.gone.clear();
        }
    }

    fn time_passes(&mut self) {
        let ms = match self.dice.below(24) {
            0 => 86_400_000,
            1 | 2 => 61 * MINUTE,
            3..8 => 9 * MINUTE,
            8..13 => MINUTE,
            _ => self.dice.below(20_000),
        };
        self.passes(ms);
    }

    fn passes(&mut self, ms: u64) {
        self.now += ms;
        self.site.later(ms).run();
        for id in self.talks.keys().cloned().collect::<Vec<_>>() {
            while let Some((at, what)) = self.due(&id).filter(|(at, _)| *at <= self.now) {
                assert!(self.falls_due(&id, what), "{what:?} was due at {at} and nothing came of it");
            }
        }
    }

    fn due(&self, id: &str) -> Option<(u64, Verb)> {
        let live = &self.talks[id];
        live.talk.due(&self.rules, live.active_at, BEGIN.0)
    }

    fn falls_due(&mut self, id: &str, what: Verb) -> bool {
        let asked = Asked::new("", what);
        let live = &self.talks[id];
        let around = Around { now: self.now, last_message: live.last_message.clone(), open: 0 };
        let Answer::Happens(events) = self.rules.answer(Some(&live.talk), &asked, &around) else { return false };
        let stamp = Stamp {
            at: self.now,
            by: asked.by(),
            user: live.talk.user.clone(),
            last_activity_at: live.active_at,
            last_message: live.last_message.clone(),
        };
        let talk = &mut self.talks.get_mut(id).expect("it is there").talk;
        events.iter().for_each(|event| talk.happened(event, &stamp));
        true
    }

    fn ask(&mut self, at: u64) {
        let (id, asked) = self.random_asked(at);
        let has_words = matches!(asked.verb, Verb::Message | Verb::Reply) && self.dice.one_in(2);
        let got = self.site.ask(Call {
            by: asked.caller(),
            id: ConversationId::parse(&id).expect("an id"),
            command: asked.command(),
            expected: asked.expected(),
            command_id: None,
            content: has_words.then(|| json!("words")),
        });
        let expected = self.answered(&id, &asked, has_words);
        let name = expected["outcome"].as_str().or(expected["error"].as_str()).expect("an outcome");
        *self.seen.entry(name.to_owned()).or_default() += 1;
        assert_eq!(without_seq(got), expected, "{asked:?} of {id}");
    }

    /// The whole answer, but for places in the log and the words of errors.
    fn answered(&mut self, id: &str, asked: &Asked, has_words: bool) -> Value {
        let live = self.talks.get(id);
        let open = |live: &&Live| live.talk.channel == asked.who && live.talk.stage != Stage::Closed;
        let around = Around {
            now: self.now,
            last_message: live.and_then(|live| live.last_message.clone()),
            open: self.talks.values().filter(open).count() as u64,
        };
        let answer = self.rules.answer(live.map(|live| &live.talk), asked, &around);
        let mut said = match &answer {
            Answer::Refused(code) => return self.refused(id, code),
            Answer::Unchanged => json!({"outcome": "unchanged", "events": []}),
            Answer::Happens(events) => {
                let kinds =
                    events.iter().map(|event| format!("switchboard.{}", event["type"].as_str().expect("a type")));
                json!({"outcome": "applied", "events": kinds.collect::<Vec<_>>()})
            }
        };
        self.happens(id, asked, &answer);
        let talk = &self.talks[id].talk;
        if matches!(asked.verb, Verb::Message | Verb::Reply) {
            let receiver = if asked.verb == Verb::Reply { Some(&talk.channel) } else { talk.owner.as_ref() };
            let is_relayed = has_words && answer != Answer::Unchanged;
            said["relayed_to"] = json!(receiver.filter(|_| is_relayed));
        }
        let is_concerned = talk.owner.iter().chain(talk.offer.as_ref().map(|offer| &offer.to)).any(|n| *n == asked.who);
        said["conversation"] = match asked.verb.is_an_integrations() && answer == Answer::Unchanged && !is_concerned {
            true => talk.short(),
            false => talk.shown(&self.rules),
        };
        said
    }

    fn refused(&self, id: &str, code: &str) -> Value {
        let is_told = !matches!(code, "wrong_channel" | "unknown_integration");
        let conversation = self.talks.get(id).filter(|_| is_told).map(|live| live.talk.short());
        json!({"error": code, "conversation": conversation})
    }

    /// Writes down what happened; activity without an event is noted now and then.
    fn happens(&mut self, id: &str, asked: &Asked, answer: &Answer) {
        let events = if let Answer::Happens(events) = answer { &events[..] } else { &[] };
        let starts = events.first().is_some_and(|event| event["type"] == "conversation.started");
        let begins = matches!(asked.verb, Verb::Start | Verb::Message);
        let live = self.talks.entry(id.to_owned()).or_insert_with(|| Live {
            talk: Talk::unborn(id, &asked.who, self.now),
            active_at: self.now,
            last_message: None,
        });
        let is_sign_of_life = begins && (*answer != Answer::Unchanged || live.talk.stage != Stage::Closed);
        if live.talk.stage == Stage::Closed && *answer == Answer::Unchanged {
            return;
        }
        let before = if starts { None } else { live.last_message.take() };
        live.last_message = asked.message.clone().or(before);
        live.active_at = if is_sign_of_life { self.now } else { live.active_at };
        let user = asked.user.clone().or(live.talk.user.clone());
        let stamp = Stamp {
            at: self.now,
            by: asked.by(),
            user,
            last_activity_at: live.active_at,
            last_message: live.last_message.clone(),
        };
        events.iter().for_each(|event| live.talk.happened(event, &stamp));
        let is_new = asked.user.is_some() && asked.user != live.talk.user;
        if events.is_empty() && is_sign_of_life && (is_new || live.talk.is_to_be_noted(&self.rules, self.now)) {
            live.talk.user = stamp.user;
            live.talk.last_activity_at = stamp.last_activity_at;
            live.talk.last_message = stamp.last_message;
        }
    }

    fn check_all(&mut self) {
        for (id, live) in &self.talks {
            let mut got = self.site.state(id);
            got.as_object_mut().expect("a conversation").remove("seq");
            assert_eq!(got, live.talk.shown(&self.rules), "{id}");
        }
    }

    // What is asked

    fn random_asked(&mut self, at: u64) -> (String, Asked) {
        let dice = &mut self.dice;
        let channel = dice.pick(&CHANNELS);
        // Where nothing is taken after the close, new conversations come.
        let era = if matches!(channel, "multi" | "ends" | "small") { at / 60 } else { 0 };
        let id = format!("{channel}-{}-{era}", dice.below(CONVERSATIONS / 4));
        let talk = self.talks.get(&id).map(|live| &live.talk);
        let caller = if dice.one_in(40) { "multi" } else { channel };
        let verb = random_verb(dice, talk);
        let me = random_integration(dice, talk);
        let who = match verb {
            verb if verb.is_a_channels() => caller,
            verb if verb.is_an_integrations() => me.as_str(),
            _ => "olga",
        };
        let mut asked = Asked::new(who, verb);
        let targets = [&INTEGRATIONS[..], &["next", "nobody"]].concat();
        match verb {
            Verb::Pass | Verb::Offer | Verb::OrderPass => asked.to = Some(dice.pick(&targets).to_owned()),
            Verb::Start if dice.one_in(3) => asked.to = Some(dice.pick(&INTEGRATIONS).to_owned()),
            _ => {}
        }
        let held = talk.map(|talk| talk.metadata.clone()).unwrap_or_default();
        self.say_more(&mut asked, at, &held);
        let talk = self.talks.get(&id).map(|live| &live.talk);
        let (epoch, version) = talk.map_or((0, 0), |talk| (talk.epoch, talk.version));
        match self.dice.below(16) {
            0 => asked.epoch = Some(epoch + self.dice.below(2)),
            1 => asked.version = Some(version + self.dice.below(2)),
            _ => {}
        }
        (id, asked)
    }

    /// What the verb may carry besides.
    fn say_more(&mut self, asked: &mut Asked, at: u64, held: &Map<String, Value>) {
        let (dice, now) = (&mut self.dice, self.now);
        use Verb::*;
        let mut some = |text: &str| dice.one_in(2).then(|| format!("{text}{at}"));
        if matches!(asked.verb, Message | EndUser | Release | Reply | End) {
            asked.message = some("m");
        }
        if matches!(
            asked.verb,
            EndUser | Pass | Offer | Decline | Take | Release | End | OrderPass | OrderRelease | OrderEnd
        ) {
            asked.reason = some("because ");
        }
        if asked.verb == Start {
            asked.continued_from = some("from-");
        }
        if matches!(asked.verb, Start | Message) && dice.one_in(4) {
            asked.user = Some(format!("u{}", dice.below(3)));
        }
        if asked.verb == Message && dice.one_in(6) {
            asked.sent_at = Some(now - dice.below(20 * MINUTE));
        }
        if asked.verb == Offer && dice.one_in(2) {
            asked.expires_in = Some(dice.pick(&[1000, 30_000, 10 * MINUTE]));
        }
        if matches!(asked.verb, Start | Pass | Offer | Accept | Take | Release) {
            asked.metadata = random_metadata(dice, held);
        }
    }
}

fn random_verb(dice: &mut Dice, talk: Option<&Talk>) -> Verb {
    use Verb::*;
    match (talk.is_some(), dice.below(36)) {
        (false, 0..30) | (true, 0..3) => dice.pick(&[Start, Message]),
        (_, 3..9) => Message,
        (_, 9 | 10) => EndUser,
        (_, 11..14) => Pass,
        (_, 14..18) => Offer,
        (_, 18..21) => Accept,
        (_, 21) => Decline,
        (_, 22) => Withdraw,
        (_, 23) => Take,
        (_, 24 | 25) => Release,
        (_, 26..28) => Reply,
        (_, 28) => End,
        _ => dice.pick(&[OrderPass, OrderPass, OrderRelease, OrderEnd, Accept, Release]),
    }
}

fn random_integration(dice: &mut Dice, talk: Option<&Talk>) -> String {
    let owner = talk.and_then(|talk| talk.owner.clone());
    let offered = talk.and_then(|talk| Some(talk.offer.as_ref()?.to.clone()));
    let likely = if dice.one_in(2) { offered.or(owner) } else { owner };
    likely.filter(|_| dice.below(5) > 0).unwrap_or_else(|| dice.pick(&INTEGRATIONS).to_owned())
}

fn random_metadata(dice: &mut Dice, held: &Map<String, Value>) -> Map<String, Value> {
    if dice.one_in(12) {
        return near_a_bound(|end| dice.below(end), held.len(), bytes_of(held));
    }
    let mut metadata = Map::new();
    for _ in 0..dice.below(3) {
        let value = match dice.below(5) {
            0 => Value::Null,
            1 => json!(dice.below(100)),
            2 => json!(0.5 * dice.below(9) as f64),
            3 => json!(dice.one_in(2)),
            _ => json!(format!("v{}", dice.below(9))),
        };
        metadata.insert(format!("k{}", dice.below(6)), value);
    }
    // What was much makes room again.
    if dice.one_in(3) {
        metadata.extend(held.keys().filter(|key| !key.starts_with('k')).map(|key| (key.clone(), Value::Null)));
    }
    metadata
}

/// A configuration; the timeouts of integrations and of channels are never the same, so that it shows whose applies.
fn random_rules(dice: &mut Dice) -> Rules {
    let mut integrations: BTreeMap<String, Integration> = BTreeMap::new();
    let there: Vec<&str> = INTEGRATIONS.into_iter().filter(|_| dice.below(12) > 0).collect();
    let there = if there.is_empty() { vec!["bot"] } else { there };
    for name in &there {
        let mut other = || dice.pick(&there).to_owned();
        let (next, target) = (other(), other());
        integrations.insert(
            (*name).to_owned(),
            Integration {
                next: Some(next).filter(|_| dice.below(3) > 0),
                on_end: dice.pick(&[OnEnd::Release, OnEnd::Hold, OnEnd::Hold, OnEnd::Hold, OnEnd::Pass(target)]),
                standby: matches!(*name, "listener" | "ear"),
                can_take: dice.one_in(2),
                timeout: dice.pick(&[None, None, Some(None), Some(Some(10 * MINUTE)), Some(Some(20 * MINUTE))]),
                enabled: dice.below(12) > 0,
            },
        );
    }
    let common = random_settings(dice, &there, "other");
    // What a channel does not say of its own is as for all.
    let of_channel = |name: &&str| {
        let settings = random_settings(dice, &there, name);
        let default = settings.default.clone().or(common.default.clone());
        ((*name).to_owned(), Settings { default, ..settings })
    };
    let mut channels: BTreeMap<String, Settings> = CHANNELS[..5].iter().map(of_channel).collect();
    // One that comes and goes: what applies to it meanwhile is what applies to all.
    channels.retain(|name, _| name != "reopens" || there.len() % 2 == 0);
    Rules { settings: common, channels, integrations }
}

fn random_settings(dice: &mut Dice, there: &[&str], channel: &str) -> Settings {
    let (multi, reopen) = match channel {
        "multi" | "ends" | "small" => (true, false),
        "single" => (false, false),
        _ => (dice.one_in(2), true),
    };
    Settings {
        default: (dice.below(4) > 0).then(|| dice.pick(there).to_owned()),
        multi,
        reopen,
        user_can_end: matches!(channel, "ends" | "small") && dice.below(8) > 0,
        legacy_csat: dice.one_in(2),
        timeout: dice.pick(&[Some(60 * MINUTE), Some(90 * MINUTE)]),
        deadline: dice.pick(&[None, Some(MINUTE), Some(10 * MINUTE)]),
        open_max: if channel == "small" { 2 } else { 10_000_000 },
    }
}

/// An answer without places in the log, and of an error only its code and its conversation.
fn without_seq(mut body: Value) -> Value {
    if let Some(error) = body.get("error") {
        let mut conversation = error["conversation"].clone();
        if let Some(fields) = conversation.as_object_mut() {
            fields.remove("seq");
        }
        return json!({"error": error["code"], "conversation": conversation});
    }
    body["conversation"].as_object_mut().expect("a conversation").remove("seq");
    let kinds: Vec<Value> =
        body["events"].as_array().expect("events").iter().map(|event| event["type"].clone()).collect();
    body["events"] = json!(kinds);
    body
}
