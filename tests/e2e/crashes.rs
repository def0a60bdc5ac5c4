//! What was answered is there, whatever became of the process.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::process::PATIENCE;
use crate::wire::{Heard, Wire};
use crate::world::{USUAL, World};

#[tokio::test]
async fn after_a_kill_what_may_not_have_been_published_is_published_under_the_same_ids() {
    let mut world = World::new().await;
    for round in 1..=2 {
        let begin = |at: usize| async move { format!("channel.web.start.c{round}-{at}") };
        let subjects = join_all((0..50).map(begin)).await;
        join_all(subjects.iter().map(|subject| world.ask(subject, json!({})))).await;
        let before = everything(&world).await;
        world.kill().await;
        world.start().await;
        assert_eq!(everything(&world).await, before, "all states are what they were");
        // Each event's later publications are held against its first.
        let (events, publications) = (world.wire.events().len(), world.wire.below("event.").len());
        assert!(publications > events, "{publications} publications of {events} events");
    }
    world.end().await;
}

/// The configuration and all states.
async fn everything(world: &World) -> [Value; 2] {
    let config = world.ask("query.config", json!({})).await.ok();
    [config, world.ask("query.conversations", json!({"limit": 1000})).await.ok()]
}

#[tokio::test]
async fn what_follows_from_a_removal_is_gone_on_with_after_a_kill() {
    let mut world = World::new().await;
    let ids: Vec<String> = (0..300).map(|at| format!("c{at}")).collect();
    join_all(ids.iter().map(|id| world.begin(id, "survey"))).await;
    let mut put = world.ask("query.config", json!({})).await.ok();
    for integration in put["config"]["integration"].as_array_mut().unwrap() {
        if integration["name"] == "survey" {
            integration["enabled"] = json!(false);
        }
    }
    let answer = world.ask("config.ann.put", json!({"config": put["config"]})).await;
    assert_eq!(answer.events(), "integration.changed");
    world.kill().await;
    world.start().await;
    for id in &ids {
        let released = world.event(id, "control.released").await.json();
        assert_eq!(
            (&released["data"]["cause"], &released["data"]["by"]),
            (&json!("integration_removed"), &json!({"role": "config"}))
        );
    }
    world.end().await;
}

/// What a caller was answered: the state of its conversation, and each event of it.
#[derive(Default)]
struct Answered {
    state: Value,
    events: BTreeMap<u64, Value>,
    /// The command that was under way.
    unanswered: Option<(String, String, Value)>,
}

#[tokio::test]
async fn a_kill_under_load_loses_nothing_that_was_answered() {
    let mut world = World::new().await;
    let kill = async {
        world.until("there is load", |wire| wire.count().borrow().to_owned() > 3000).await;
        world.signal("KILL");
    };
    let callers = join_all((0..40).map(|at| call(&world, at)));
    let (callers, ()) = futures_util::future::join(callers, kill).await;
    world.kill().await;
    world.start().await;
    let log = world.log_events().await;
    for (at, event) in log.iter().enumerate() {
        assert_eq!(event["data"]["seq"], at + 1, "the log is dense");
    }
    let answered: usize = callers.iter().map(|caller| caller.events.len()).sum();
    assert!(answered > 100 && callers.iter().any(|caller| caller.unanswered.is_some()), "{answered} were answered");
    for caller in &callers {
        for (seq, kind) in &caller.events {
            assert_eq!(&log[*seq as usize - 1]["type"], kind, "event {seq} was answered");
        }
        let id = caller.state["id"].as_str().unwrap();
        let then = world.ask(&format!("query.conversation.{id}"), json!({"at_seq": caller.state["seq"]})).await;
        assert_eq!(then.ok()["conversation"], caller.state, "the state that was answered");
        settle(&world, caller).await;
    }
    world.end().await;
}

/// Passes control to and fro until nobody answers any more.
async fn call(world: &World, at: usize) -> Answered {
    let mut answered = Answered::default();
    for turn in 0.. {
        let (subject, body) = match turn {
            0 => (format!("channel.web.start.c{at}"), json!({"user": at.to_string()})),
            _ if turn % 2 == 0 => {
                (format!("operator.ann.pass.c{at}"), json!({"to": "bot", "reason": turn.to_string()}))
            }
            _ => (format!("operator.ann.pass.c{at}"), json!({"to": "agents"})),
        };
        let command_id = format!("k{turn}");
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", command_id.as_str());
        let sent = world
            .send(&format!("switchboard.{subject}"), headers, body.to_string().into(), Duration::from_secs(3))
            .await;
        let Some(answer) = sent.map(|heard| heard.json()) else {
            answered.unanswered = Some((command_id, subject, body));
            break;
        };
        assert_eq!(answer["outcome"], "applied", "{answer}");
        for event in answer["events"].as_array().unwrap() {
            answered.events.insert(event["seq"].as_u64().unwrap(), event["type"].clone());
        }
        answered.state = answer["conversation"].clone();
    }
    answered
}

/// The command that was under way is repeated under its id: it is done once, whether or not it was recorded.
async fn settle(world: &World, caller: &Answered) {
    let Some((command_id, subject, body)) = &caller.unanswered else { return };
    let settled = world.ask_as(command_id, subject, body.clone()).await.applied("control.passed");
    assert_eq!(settled["version"], caller.state["version"].as_u64().unwrap() + 1, "{subject} was done once");
}

#[tokio::test]
async fn a_service_that_is_told_to_stop_answers_what_it_has_taken() {
    let mut world = World::new().await;
    let commands = 3000;
    let first = world.wire.next_on("_INBOX.stop.0");
    for at in 0..commands {
        let subject = format!("switchboard.channel.web.start.c{at}");
        world.client.publish_with_reply(subject, format!("_INBOX.stop.{at}"), "".into()).await.unwrap();
    }
    world.client.flush().await.unwrap();
    // A slow machine would be told to stop before it has taken any.
    timeout(PATIENCE, first).await.expect("an answer in time").unwrap();
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
    world.caught_up().await;
    let answers = world.wire.all().into_iter().filter(|heard| heard.subject.starts_with("_INBOX.stop."));
    let applied = answers.filter(|answer| answer.json()["outcome"] == "applied").count();
    let published = world.wire.below("event.").len();
    world.start().await;
    let started =
        world.log_events().await.iter().filter(|event| event["type"] == "switchboard.conversation.started").count();
    assert_eq!((applied, started), (started, started), "what is recorded is answered, and the other way round");
    assert!(started > 0);
    assert_eq!(world.wire.below("event.").len(), published, "nothing was left to be published");
    world.end().await;
}

/// Each reads through the whole log, so those that are told to wait would keep it for long.
#[tokio::test]
async fn questions_that_wait_to_be_read_at_a_stop_are_answered_that_it_is_busy() {
    const QUESTIONS: usize = 500;
    let mut world = World::new().await;
    for at in 0..1000 {
        world.client.publish(format!("switchboard.channel.web.start.c{at}"), "".into()).await.unwrap();
    }
    world.begin("last", "bot").await;
    // So that none is read before the service hears that it is to stop.
    world.signal("STOP");
    let body = json!({"types": ["switchboard.conversation.closed"]}).to_string();
    for at in 0..QUESTIONS {
        let reply = format!("_INBOX.read.{at}");
        world.client.publish_with_reply("switchboard.query.log", reply, body.clone().into()).await.unwrap();
    }
    world.client.flush().await.unwrap();
    world.signal("TERM");
    world.signal("CONT");
    assert_eq!(world.gone().await.code(), Some(0), "{}", world.log());
    world.caught_up().await;
    let answers: Vec<Value> =
        world.wire.all().iter().filter(|heard| heard.subject.starts_with("_INBOX.read.")).map(Heard::json).collect();
    // Not because the service stops: all of them were taken before.
    let is_busy = |answer: &&Value| answer["error"]["message"].as_str().is_some_and(|text| text.contains("is full"));
    let busy = answers.iter().filter(is_busy).count();
    let read = answers.iter().filter(|answer| answer["events"] == json!([])).count();
    assert_eq!(read + busy, QUESTIONS, "each is answered: {read} read, {busy} busy");
    assert!(busy > 0, "all were waited for");
    world.start().await;
    world.end().await;
}

#[tokio::test]
async fn a_full_queue_answers_busy_and_leaves_other_callers_their_turn() {
    let world = World::with(USUAL, &["--queue", "8"]).await;
    let commands = 3000;
    for at in 0..commands {
        let subject = format!("switchboard.channel.web.start.c{at}");
        world.client.publish_with_reply(subject, format!("_INBOX.full.{at}"), "".into()).await.unwrap();
    }
    let answers = |wire: &Wire| {
        wire.all().into_iter().filter(|heard| heard.subject.starts_with("_INBOX.full.")).collect::<Vec<_>>()
    };
    world
        .until("all are answered", |wire| {
            wire.count().borrow().to_owned() >= 2 * commands && answers(wire).len() == commands
        })
        .await;
    let answers = answers(&world.wire);
    let busy = answers.iter().filter(|answer| answer.json()["error"]["code"] == "busy").count();
    assert!(busy > 0, "a queue of eight was never full");
    let log = world.log_events().await;
    let started = log.iter().filter(|event| event["type"] == "switchboard.conversation.started").count();
    assert_eq!(started, commands - busy);
    assert!(world.wire.below("rejection.").is_empty(), "what is busy is counted only");
    world.end().await;
}
