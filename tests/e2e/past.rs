//! Every state that was ever served is shown again, over NATS and from the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::domain::{ConversationId, Time};
use switchboard::log::{Directory, DiskLog, Log};
use switchboard::switchboard::port::Moment;
use switchboard::tools::directory::DirectoryArchive;
use switchboard::tools::source::Question;

use crate::world::{USUAL, World};

const STEPS: u64 = 300;

/// Random numbers that are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }
}

/// A command that is carried out more often than not.
async fn something(world: &World, dice: &mut Dice, last: &mut BTreeMap<String, Value>) -> Value {
    let (channel, id) = match dice.below(9) {
        0..5 => ("web", format!("c-{}", dice.below(6))),
        5 | 6 => ("whatsapp", format!("w-{}", dice.below(2))),
        _ => ("reopening", format!("r-{}", dice.below(2))),
    };
    let name = |of: &Value| of.as_str().map(str::to_owned);
    let known = last.get(&id).and_then(|c| name(&c["offer"]["to"]).or(name(&c["owner"])));
    let me = known.filter(|_| dice.below(4) > 0).unwrap_or_else(|| dice.pick(&["bot", "agents", "closer"]).into());
    let to = dice.pick(&["bot", "agents", "closer", "survey"]);
    let (subject, body) = match dice.below(14) {
        0 | 1 => (format!("channel.{channel}.start.{id}"), json!({"user": "žofie", "metadata": {"n": dice.below(9)}})),
        2 | 3 => (format!("channel.{channel}.message.{id}"), json!({"message_id": format!("m{}", dice.below(99))})),
        4 => (format!("channel.{channel}.end.{id}"), json!({"last_message_id": "m1", "reason": "enough"})),
        5 | 6 => (format!("integration.{me}.pass.{id}"), json!({"to": to, "metadata": {"by": me}})),
        7 => (format!("integration.{me}.offer.{id}"), json!({"to": to, "expires_in": "1h"})),
        8 => (format!("integration.{me}.accept.{id}"), json!({})),
        9 => (format!("integration.agents.take.{id}"), json!({"reason": "mine"})),
        10 => (format!("integration.{me}.release.{id}"), json!({})),
        11 => (format!("integration.{me}.end.{id}"), json!({})),
        12 => (format!("operator.ann.{}.{id}", dice.pick(&["release", "end"])), json!({})),
        _ => (format!("operator.ann.pass.{id}"), json!({"to": to})),
    };
    let answer = world.ask(&subject, body).await.heard.json();
    if !answer["conversation"].is_null() {
        last.insert(id, answer["conversation"].clone());
    }
    answer
}

/// Another configuration: what end users are shown depends on it.
async fn configure(world: &World, can_end: bool) {
    let text = USUAL.replacen("end_user_can_end = true", &format!("end_user_can_end = {can_end}"), 1);
    let file = world.config_file();
    std::fs::write(&file, text).unwrap();
    world.signal("HUP");
    let changed = json!({"types": ["switchboard.settings.changed"]});
    let is_new = |page: &Value| {
        let last = page["events"].as_array().unwrap().last().unwrap()["data"].clone();
        last["end_user_can_end"] == json!(can_end)
    };
    while !is_new(&world.ask("query.history._config", changed.clone()).await.ok()) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn every_state_that_was_served_is_shown_again_by_its_seq_and_by_its_time() {
    let seed = std::env::var("SWITCHBOARD_TEST_SEED").ok().map_or(1, |text| text.parse().expect("a number"));
    let mut dice = Dice(seed);
    let mut world = World::new().await;
    let (mut served, mut last): (BTreeMap<u64, Value>, _) = (BTreeMap::new(), BTreeMap::new());
    for step in 0..STEPS {
        if step % 60 == 30 {
            configure(&world, step % 120 != 30).await;
        }
        let answer = something(&world, &mut dice, &mut last).await;
        if answer["events"].as_array().is_some_and(|events| !events.is_empty()) {
            let state = answer["conversation"].clone();
            served.insert(state["seq"].as_u64().unwrap(), state);
        }
    }
    assert!(served.len() as u64 > STEPS / 5, "only {} states, seed {seed}", served.len());
    for (seq, state) in &served {
        let id = state["id"].as_str().unwrap();
        let shown = world.ask(&format!("query.conversation.{id}"), json!({"at_seq": seq})).await.ok();
        assert_eq!(shown["conversation"], *state, "over NATS at seq {seq}, seed {seed}");
    }
    let times: BTreeMap<u64, Time> = world
        .log_events()
        .await
        .iter()
        .map(|event| (event["data"]["seq"].as_u64().unwrap(), Time::parse(event["time"].as_str().unwrap()).unwrap()))
        .collect();
    world.stop().await;
    check_directory(&world, &served, &times, seed);
    world.start().await;
    world.end().await;
}

fn check_directory(world: &World, served: &BTreeMap<u64, Value>, times: &BTreeMap<u64, Time>, seed: u64) {
    let noted = noted(world);
    let mut archive = DirectoryArchive::open(&world.data()).unwrap();
    let mut at = |state: &Value, moment: Moment| -> Value {
        let id = ConversationId::parse(state["id"].as_str().unwrap()).unwrap();
        let body = archive.answer(&Question::Conversation { id, at: Some(moment) }).unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["conversation"].clone()
    };
    let mut by_time = 0;
    for (seq, state) in served {
        assert_eq!(at(state, Moment::Seq(*seq)), *state, "from the directory at seq {seq}, seed {seed}");
        // A time names a state where nothing else happened in the same millisecond, and nothing was noted without an event.
        let time = times[seq];
        if times.get(&(seq + 1)).is_none_or(|next| *next > time) && !noted.contains(&time) {
            assert_eq!(at(state, Moment::Time(time)), *state, "from the directory at {time}, seed {seed}");
            by_time += 1;
        }
    }
    assert!(by_time > served.len() / 4, "only {by_time} by time, seed {seed}");
}

/// The times at which something was recorded that is no event: that somebody was active, or who writes.
fn noted(world: &World) -> BTreeSet<Time> {
    let log = DiskLog::open(Arc::new(Directory::open(&world.data()).unwrap())).unwrap();
    let entries = log.reader().frames(1).flat_map(|frame| frame.unwrap().entries);
    entries.filter(|entry| entry.events == 0).map(|entry| Time(entry.at)).collect()
}
