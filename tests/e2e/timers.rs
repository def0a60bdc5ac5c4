//! What falls due happens never early, also where the service was away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

const SHORT: &str = r#"
[settings]
default_integration = "bot"
multi_conversations = true
end_user_can_end = true
inactivity_timeout = "1s"
release_deadline = "1s"
[[integration]]
name = "bot"
[[integration]]
name = "agents"
on_end = "hold"
inactivity_timeout = "never"
"#;

#[tokio::test]
async fn silence_an_open_offer_and_an_owner_who_does_not_release_each_come_to_their_end() {
    let world = World::with(SHORT, &[]).await;
    world.begin("silent", "bot").await;
    world.begin("held", "agents").await;
    world
        .ask("integration.agents.offer.held", json!({"to": "bot", "expires_in": "1s"}))
        .await
        .applied("control.offered");
    world.begin("ending", "agents").await;
    world.ask("channel.web.end.ending", json!({})).await.applied("conversation.end_requested");

    let closed = world.event("silent", "conversation.closed").await.json();
    let started = world.event("silent", "conversation.started").await.json();
    assert_eq!((&closed["data"]["cause"], &closed["data"]["by"]), (&json!("inactivity"), &json!({"role": "timer"})));
    assert_between(&started["time"], &closed["time"], 1000, 1100);
    assert_eq!(
        causes(&world, "silent"),
        [json!("default"), json!("inactivity"), json!("inactivity"), json!("inactivity")]
    );

    let withdrawn = world.event("held", "control.offer_withdrawn").await.json();
    let offered = world.event("held", "control.offered").await.json();
    assert_eq!(withdrawn["data"]["cause"], "expired");
    assert_between(&offered["time"], &withdrawn["time"], 1000, 1000);

    let closed = world.event("ending", "conversation.closed").await.json();
    let requested = world.event("ending", "conversation.end_requested").await.json();
    let released = world.event("ending", "control.released").await.json();
    assert_eq!((&released["data"]["cause"], &closed["data"]["cause"]), (&json!("deadline"), &json!("end_user")));
    assert_between(&requested["time"], &closed["time"], 1000, 1000);
    // For people who hold a conversation there is no timeout.
    assert_eq!(world.state("held").await["status"], "open");
    world.end().await;
}

/// What a loaded machine may add.
const LATE_MS: i64 = 3000;

fn assert_between(from: &Value, to: &Value, least_ms: i64, most_ms: i64) {
    let passed = ms(to.as_str().unwrap()) - ms(from.as_str().unwrap());
    assert!((least_ms..=most_ms + LATE_MS).contains(&passed), "{passed} ms, expected {least_ms} to {most_ms}");
}

fn ms(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
}

fn causes(world: &World, conversation: &str) -> Vec<Value> {
    let events = world.wire.below(&format!("event.{conversation}."));
    let causes = events.iter().map(|heard| heard.json()["data"]["cause"].clone());
    causes
        .filter(|cause| !cause.is_null())
        .map(|cause| if cause == "start" { json!("default") } else { cause })
        .collect()
}

#[tokio::test]
async fn whoever_writes_keeps_the_conversation_open_and_whoever_replies_does_not() {
    let world = World::with(SHORT, &[]).await;
    world.begin("writing", "bot").await;
    world.begin("replying", "bot").await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        world.ask("channel.web.message.writing", json!({"content": "still here"})).await.ok();
        world.ask("integration.bot.reply.replying", json!({"content": "are you there?"})).await;
    }
    assert_eq!(world.state("replying").await["status"], "closed");
    let state = world.state("writing").await;
    assert_eq!(state["status"], "open", "{state:#}");
    let closed = world.event("writing", "conversation.closed").await.json();
    assert_between(&state["last_activity_at"], &closed["time"], 1000, 1300);
    world.end().await;
}

#[tokio::test]
async fn what_fell_due_while_the_service_was_away_waits_until_callers_had_their_time() {
    let mut world = World::with(SHORT, &[]).await;
    world.begin("silent", "bot").await;
    world.begin("ending", "agents").await;
    world.ask("channel.web.end.ending", json!({})).await.applied("conversation.end_requested");
    world.begin("offering", "agents").await;
    world
        .ask("integration.agents.offer.offering", json!({"to": "bot", "expires_in": "1s"}))
        .await
        .applied("control.offered");
    world.kill().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.start().await;
    // The caller who was kept away can still do what was to be done in time.
    world.ask("integration.bot.accept.offering", json!({})).await.applied("control.accepted");
    world.said(" ready ", 2).await;
    let log = world.log();
    let ready =
        log.lines().rfind(|line| line.contains(" ready ")).and_then(|line| line.split_whitespace().next()).unwrap();
    let ready = json!(ready);
    for conversation in ["silent", "ending"] {
        let closed = world.event(conversation, "conversation.closed").await.json();
        assert_between(&ready, &closed["time"], 1000, 2100);
    }
    world.end().await;
}

#[tokio::test]
async fn what_is_due_by_the_time_of_a_command_is_decided_before_it() {
    let world = World::with(SHORT, &[]).await;
    world.begin("c", "agents").await;
    world.ask("integration.agents.offer.c", json!({"to": "bot", "expires_in": "1s"})).await.applied("control.offered");
    world.signal("STOP");
    let accept = world.ask("integration.bot.accept.c", json!({}));
    let wake = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        world.signal("CONT");
    };
    let (answer, ()) = futures_util::future::join(accept, wake).await;
    answer.refused("not_offered");
    world.event("c", "control.offer_withdrawn").await;
    world.end().await;
}
