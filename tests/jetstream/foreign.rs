//! Somebody else publishes on the subjects of the streams while the service runs: nothing of ours is lost, twice, or out of order.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{INBOX, World};

/// Where others publish.
const SUBJECTS: [&str; 2] = ["switchboard.event.note.by.admin", "switchboard.inbox.channel.web.note.by.admin"];
/// How often one of them comes in between ours.
const IN_BETWEEN: usize = 5;
/// How long it may take until they do.
const PATIENCE: Duration = Duration::from_secs(120);
/// More than are asked for at once.
const MANY: usize = 2500;

/// It takes the place of the first message of the next decision, and the second would fit behind it.
#[tokio::test]
async fn a_message_of_others_before_a_decision_of_several_events_costs_none_of_them() {
    let world = World::new().await;
    world.in_step().await;
    for turn in 0..12 {
        let id = if turn / 2 % 2 == 1 { format!("id-of-its-own-{turn}") } else { String::new() };
        publish(&world, SUBJECTS[turn % 2], &id).await;
        world.ask(&format!("channel.web.start.c{turn}"), json!({})).await;
        world.ask(&format!("channel.web.end.c{turn}"), json!({})).await;
        world.in_step().await;
    }
    world.check_streams().await;
    assert!(world.log().contains("somebody else publishes there"), "{}", world.log());
}

#[tokio::test]
async fn messages_of_others_under_load_leave_every_event_and_message_once_and_in_order() {
    let mut world = World::new().await;
    world.in_step().await;
    let is_enough = AtomicBool::new(false);
    let callers = async { join_all((0..16).map(|at| call(&world, format!("c{at}"), &is_enough))).await };
    let others = async {
        let began = Instant::now();
        for count in 0.. {
            let id = if count % 3 == 0 { format!("other-{count}") } else { String::new() };
            publish(&world, SUBJECTS[count % 2], &id).await;
            sleep(Duration::from_millis(15)).await;
            let came = world.log().matches("the streams are asked where they end").count();
            if came >= IN_BETWEEN {
                return is_enough.store(true, Relaxed);
            }
            assert!(began.elapsed() < PATIENCE, "{count} messages of others came in between {came} times");
        }
    };
    let (messages, ()) = tokio::join!(callers, others);
    world.check_streams().await;
    let inbox = world.held(INBOX, "switchboard.inbox.integration.>").await;
    for (at, count) in messages.into_iter().enumerate() {
        let of =
            |event: &&Value| event["type"] == "switchboard.message.received" && event["subject"] == format!("c{at}");
        let heard = inbox.iter().map(|kept| &kept.event).filter(of);
        let heard: Vec<u64> = heard.filter_map(|event| event["data"]["content"].as_u64()).collect();
        assert_eq!(heard, (0..count).collect::<Vec<u64>>(), "the messages of c{at}");
    }
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
}

/// Passes and messages by turns, until it is enough; how many messages.
async fn call(world: &World, id: String, is_enough: &AtomicBool) -> u64 {
    world.ask(&format!("channel.web.start.{id}"), json!({})).await;
    for (turn, to) in (0..).zip(["agents", "bot"].into_iter().cycle()) {
        world.ask(&format!("operator.ann.pass.{id}"), json!({"to": to})).await;
        world.ask(&format!("channel.web.message.{id}"), json!({"content": turn})).await;
        if is_enough.load(Relaxed) {
            world.ask(&format!("operator.ann.end.{id}"), json!({})).await;
            return turn + 1;
        }
    }
    unreachable!("it is enough some time")
}

#[tokio::test]
async fn our_last_message_is_found_behind_thousands_of_others() {
    let mut world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    world.kill();
    for at in 0..MANY {
        publish(&world, SUBJECTS[at % 2], "").await;
    }
    world.start().await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.check_streams().await;
    assert!(world.log().contains(&format!("foreign={}", MANY / 2)), "{}", world.log());
    // And while it runs.
    for at in 0..MANY {
        publish(&world, SUBJECTS[at % 2], "").await;
    }
    world.ask("channel.web.end.c", json!({})).await;
    world.check_streams().await;
}

/// On this rests that nothing is stored behind a message that was refused.
#[tokio::test]
async fn the_server_takes_a_message_only_behind_the_one_that_it_names() {
    let mut world = World::without_service().await;
    for (name, subjects) in [("A", "a.>"), ("B", "b.>")] {
        let config = json!({"name": name, "subjects": [subjects], "duplicate_window": 100_000_000});
        let made = world.api(&format!("STREAM.CREATE.{name}"), config).await;
        assert!(made.get("error").is_none(), "{made}");
    }
    assert_eq!(put(&world, "a.x", "one", 0, None).await["seq"], 1);
    assert_eq!(put(&world, "b.x", "other", 0, None).await["seq"], 1, "the streams know nothing of each other");
    assert_eq!(put(&world, "a.x", "two", 1, Some("one")).await["seq"], 2);
    for (id, sequence) in [("", 3), ("an-id-of-its-own", 4)] {
        publish(&world, "a.x", id).await;
        let refused = put(&world, "a.x", "three", sequence, Some("two")).await;
        assert_eq!(refused["error"]["err_code"], 10070, "{refused}");
    }
    world.server.kill();
    world.server.start_again().await;
    let refused = put(&world, "a.x", "three", 4, Some("two")).await;
    assert_eq!(refused["error"]["err_code"], 10070, "not after a restart either: {refused}");
    assert_eq!(put(&world, "a.x", "three", 4, None).await["seq"], 5);
    let purged = world.api("STREAM.PURGE.A", json!({})).await;
    assert_eq!(purged["success"], true, "{purged}");
    assert_eq!(put(&world, "a.x", "four", 5, None).await["seq"], 6, "an emptied stream counts on");
}

/// Puts a message into a stream; what the stream says to it.
async fn put(world: &World, subject: &str, id: &str, after: u64, behind: Option<&str>) -> Value {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    headers.insert("Nats-Expected-Last-Sequence", after.to_string());
    if let Some(behind) = behind {
        headers.insert("Nats-Expected-Last-Msg-Id", behind);
    }
    for _ in 0..600 {
        // Nobody answers while the server is on its way back.
        if let Ok(answer) = world.client.request_with_headers(subject.to_owned(), headers.clone(), "{}".into()).await {
            return serde_json::from_slice(&answer.payload).unwrap();
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("no stream takes {subject}");
}

/// Publishes as anybody may who has the permission, and waits until a stream has it.
async fn publish(world: &World, subject: &str, id: &str) {
    let mut headers = HeaderMap::new();
    if !id.is_empty() {
        headers.insert("Nats-Msg-Id", id);
    }
    let body = r#"{"data":{}}"#;
    let taken = world.client.request_with_headers(subject.to_owned(), headers, body.into()).await.expect("it is taken");
    assert!(!String::from_utf8_lossy(&taken.payload).contains("err_code"), "{taken:?}");
}
