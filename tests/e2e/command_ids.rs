//! A command id stands for one command: a repeat is answered again, and nothing is done twice.

use futures_util::future::join_all;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_time_and_records_nothing() {
    let mut world = World::new().await;
    let begin = json!({"user": "u"});
    let first = world.ask_as("k-1", "channel.web.start.c", begin.clone()).await.ok();
    assert!(first.get("replayed").is_none());
    world.ask("integration.bot.pass.c", json!({"to": "agents"})).await.applied("control.passed");
    let replayed = world.ask_as("k-1", "channel.web.start.c", begin.clone()).await.ok();
    assert_eq!((&replayed["replayed"], &replayed["events"]), (&json!(true), &first["events"]));
    assert_eq!((&replayed["outcome"], &replayed["conversation"]["owner"]), (&json!("applied"), &json!("agents")));
    // Another body, or another verb, under the same id is a mistake; the same JSON written otherwise is not.
    world.ask_as("k-1", "channel.web.start.c", json!({"user": "v"})).await.refused("command_id_reused");
    world.ask_as("k-1", "channel.web.end.c", begin).await.refused("bad_request");
    world.ask_as("k-1", "channel.web.end.c", json!({})).await.refused("command_id_reused");
    let spaced = br#" { "user" : "\u0075" } "#.to_vec();
    let spaced = world.ask_with("channel.web.start.c", &[("Nats-Msg-Id", "k-1")], spaced).await.ok();
    assert_eq!(spaced["replayed"], true);
    // The id is of this caller, on this conversation.
    world.ask_as("k-1", "channel.web.start.d", json!({})).await.applied("conversation.started control.assigned");
    world.ask_as("k-1", "integration.agents.pass.c", json!({"to": "bot"})).await.applied("control.passed");
    // Who is not concerned any more is told no more than an error would tell.
    world.ask("integration.bot.pass.c", json!({"to": "survey"})).await.applied("control.passed");
    let brief = world.ask_as("k-1", "integration.agents.pass.c", json!({"to": "bot"})).await.ok();
    assert_eq!(brief["conversation"].as_object().unwrap().len(), 6, "{brief}");
    // It holds over restarts, whether the service stopped or was killed.
    assert_eq!(world.stop().await.code(), Some(0));
    world.start().await;
    assert_eq!(world.ask_as("k-1", "channel.web.start.c", json!({"user": "u"})).await.ok()["replayed"], true);
    world.kill().await;
    world.start().await;
    assert_eq!(world.ask_as("k-1", "channel.web.start.c", json!({"user": "u"})).await.ok()["events"], first["events"]);
    world.ask_as("k-1", "channel.web.start.c", json!({"user": "v"})).await.refused("command_id_reused");
    world.end().await;
}

#[tokio::test]
async fn what_recorded_nothing_is_decided_afresh_when_it_is_repeated() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    world.ask_as("k", "integration.agents.release.c", json!({})).await.refused("not_in_control");
    world.ask("integration.bot.pass.c", json!({"to": "agents"})).await.applied("control.passed");
    world.ask_as("k", "integration.agents.release.c", json!({})).await.applied("control.released");
    let replayed = world.ask_as("k", "integration.agents.release.c", json!({})).await.ok();
    assert_eq!(replayed["replayed"], true);
    world.ask_as("u", "operator.ann.release.c", json!({})).await.unchanged();
    world.ask_as("u", "operator.ann.release.c", json!({"reason": "other"})).await.unchanged();
    world.end().await;
}

#[tokio::test]
async fn repeats_that_are_under_way_at_once_are_one_command() {
    let world = World::new().await;
    let body = || json!({"owner": "agents"});
    let answers = join_all((0..50).map(|_| world.ask_as("k", "channel.web.start.c", body()))).await;
    let first = answers.iter().filter(|answer| answer.ok().get("replayed").is_none()).count();
    assert_eq!(first, 1, "one of them did it");
    for answer in &answers {
        answer.applied("conversation.started control.assigned");
    }
    assert_eq!(world.state("c").await["version"], 2);
    // Of several that contradict each other one wins, and the others are told.
    let targets = ["bot", "survey", "closer"];
    let pass = |to: &'static str| world.ask_as("p", "integration.agents.pass.c", json!({"to": to}));
    let answers = join_all(targets.into_iter().map(pass)).await;
    let applied = answers.iter().filter(|answer| answer.heard.json()["outcome"] == "applied").count();
    assert_eq!(applied, 1);
    answers.iter().skip(1).for_each(|answer| drop(answer.refused("command_id_reused")));
    world.end().await;
}

#[tokio::test]
async fn a_repeated_message_relays_again_under_the_same_id_to_the_owner_of_now() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let message = || json!({"message_id": "m-1", "content": {"text": "hi"}});
    assert_eq!(world.ask_as("m", "channel.web.message.c", message()).await.ok()["relayed_to"], "bot");
    world.ask("integration.bot.pass.c", json!({"to": "agents"})).await.applied("control.passed");
    assert_eq!(world.ask_as("m", "channel.web.message.c", message()).await.ok()["relayed_to"], "agents");
    let first = world.wire.below("inbox.integration.bot.c.message.received").remove(0).json();
    let second = world.wire.below("inbox.integration.agents.c.message.received").remove(0).json();
    assert_eq!(first["id"], second["id"]);
    assert_ne!(first["data"]["epoch"], second["data"]["epoch"]);
    assert_eq!(world.ask_as("r", "integration.agents.reply.c", json!({"content": 1})).await.ok()["relayed_to"], "web");
    world.ask("integration.agents.pass.c", json!({"to": "bot"})).await.applied("control.passed");
    world.ask_as("r", "integration.agents.reply.c", json!({"content": 1})).await.refused("not_in_control");
    world.end().await;
}

#[tokio::test]
async fn a_command_id_is_printable_ascii_of_at_most_128_bytes() {
    let world = World::new().await;
    world.ask_as(&"k".repeat(128), "channel.web.start.c", json!({})).await.ok();
    for wrong in [&*"k".repeat(129), "", "schlüssel"] {
        let refused = world.ask_as(wrong, "channel.web.start.d", json!({})).await.refused("bad_request");
        assert!(refused["message"].as_str().unwrap().contains("Nats-Msg-Id"), "{refused}");
    }
    world.end().await;
}
