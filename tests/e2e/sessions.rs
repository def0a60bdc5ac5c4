//! A session from its first message to its end, in each of the ways that it can go.

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn an_end_users_end_closes_at_once_where_nobody_holds_control_or_the_owner_lets_go() {
    let world = World::new().await;
    world.ask("channel.empty.start.a", json!({})).await.applied("conversation.started");
    let closed = world.ask("channel.empty.end.a", json!({"reason": "bye"})).await;
    let closed = closed.applied("conversation.end_requested conversation.closed");
    assert_eq!((&closed["status"], &closed["closed"]["cause"]), (&json!("closed"), &json!("end_user")));
    assert_eq!(closed["closed"]["by"], json!({"role": "channel", "name": "empty", "actor": null}));

    world.begin("b", "bot").await;
    world.ask("integration.bot.offer.b", json!({"to": "agents"})).await.applied("control.offered");
    let closed = world.ask("channel.web.end.b", json!({"last_message_id": "m-9"})).await;
    let events = "conversation.end_requested control.offer_withdrawn control.released conversation.closed";
    let closed = closed.applied(events);
    assert_eq!(closed["closed"]["last_message_id"], "m-9");
    world.ask("channel.web.end.b", json!({})).await.unchanged();
    world.ask("integration.agents.accept.b", json!({})).await.refused("conversation_closed");
    world.end().await;
}

#[tokio::test]
async fn an_owner_that_holds_is_told_and_releases_when_it_is_done() {
    let world = World::new().await;
    world.begin("c", "agents").await;
    let ending = world.ask("channel.web.end.c", json!({})).await.applied("conversation.end_requested");
    assert_eq!((&ending["status"], &ending["waiting_for"]["owner"]), (&json!("ending"), &json!("agents")));
    assert_eq!(ending["waiting_for"]["deadline"], ending["end_requested"]["deadline"]);
    assert_eq!(ending["affordances"]["end_conversation"], false);
    assert!(!world.wire.below("inbox.integration.agents.c.conversation.end_requested").is_empty());
    // It is still open to talk, and what is asked again is so already.
    world.ask("channel.web.end.c", json!({})).await.unchanged();
    world.ask("channel.web.start.c", json!({})).await.unchanged();
    let relayed = world.ask("channel.web.message.c", json!({"content": "one more"})).await.ok();
    assert_eq!(relayed["relayed_to"], "agents");
    world.ask("integration.agents.offer.c", json!({"to": "bot"})).await.refused("conversation_ending");
    let closed = world.ask("integration.agents.release.c", json!({"reason": "solved"})).await;
    let closed = closed.applied("control.released conversation.closed");
    assert_eq!((&closed["closed"]["cause"], &closed["closed"]["by"]["name"]), (&json!("end_user"), &json!("agents")));
    world.ask("integration.agents.release.c", json!({})).await.refused("conversation_closed");
    world.end().await;
}

#[tokio::test]
async fn an_owner_that_passes_leaves_the_end_to_another_and_a_pass_does_not_put_it_off() {
    let world = World::new().await;
    world.begin("c", "closer").await;
    world.ask("integration.closer.offer.c", json!({"to": "bot"})).await.applied("control.offered");
    let ending = world.ask("channel.web.end.c", json!({})).await;
    let ending = ending.applied("conversation.end_requested control.offer_withdrawn control.passed");
    assert_eq!((&ending["status"], &ending["owner"]), (&json!("ending"), &json!("survey")));
    let deadline = ending["waiting_for"]["deadline"].clone();
    let passed = world.ask("integration.survey.pass.c", json!({"to": "agents"})).await.applied("control.passed");
    assert_eq!(passed["waiting_for"]["deadline"], deadline);
    assert_eq!(passed["waiting_for"]["owner"], "agents");
    world.ask("integration.survey.release.c", json!({})).await.refused("not_in_control");
    let closed = world.ask("integration.agents.end.c", json!({})).await;
    closed.applied("control.released conversation.closed");
    // The one who is passed to already: as if it held.
    world.begin("d", "survey").await;
    world.ask("channel.web.end.d", json!({})).await.applied("conversation.end_requested");
    world.ask("operator.ann.end.d", json!({})).await.applied("control.released conversation.closed");
    world.end().await;
}

#[tokio::test]
async fn a_single_thread_starts_over_with_the_next_session() {
    let world = World::new().await;
    let first =
        world.ask("channel.whatsapp.message.c", json!({"user": "u", "message_id": "m-1", "content": "hi"})).await;
    let first = first.applied("conversation.started control.assigned");
    assert_eq!(first["affordances"]["end_conversation"], false);
    world.ask("channel.whatsapp.end.c", json!({})).await.refused("end_not_allowed");
    world
        .ask("integration.bot.pass.c", json!({"to": "agents", "metadata": {"topic": "bill"}}))
        .await
        .applied("control.passed");
    let closed = world.ask("integration.agents.end.c", json!({})).await;
    let closed = closed.applied("conversation.end_requested control.released conversation.closed");
    assert_eq!(closed["affordances"]["send_message"], true);
    world.ask("integration.agents.end.c", json!({})).await.unchanged();
    world.ask("integration.bot.end.c", json!({})).await.refused("conversation_closed");
    // A provider's late repeat of a message from before the close begins nothing.
    let late = json!({"message_id": "m-1", "sent_at": "2026-01-01T00:00:00Z", "content": "hi"});
    world.ask("channel.whatsapp.message.c", late).await.unchanged();
    let second = world.ask("channel.whatsapp.message.c", json!({"content": "me again"})).await;
    let second = second.applied("conversation.started control.assigned");
    assert_eq!((&second["session"], &second["owner"], &second["user"]), (&json!(2), &json!("bot"), &json!("u")));
    assert_eq!((&second["metadata"], &second["version"]), (&json!({}), &json!(8)));
    world.end().await;
}

#[tokio::test]
async fn a_message_after_the_close_reopens_starts_over_or_is_refused_as_the_channel_is_set() {
    let world = World::new().await;
    world
        .ask("channel.reopening.start.r", json!({"metadata": {"k": "v"}}))
        .await
        .applied("conversation.started control.assigned");
    world
        .ask("operator.ann.end.r", json!({}))
        .await
        .applied("conversation.end_requested control.released conversation.closed");
    world.ask("channel.reopening.start.r", json!({})).await.unchanged();
    let reopened = world.ask("channel.reopening.message.r", json!({"content": "wait"})).await;
    let reopened = reopened.applied("conversation.reopened control.assigned");
    assert_eq!((&reopened["session"], &reopened["metadata"]), (&json!(1), &json!({"k": "v"})));
    assert_eq!((&reopened["closed"], &reopened["end_requested"]), (&Value::Null, &Value::Null));

    world.begin("m", "bot").await;
    world
        .ask("channel.web.end.m", json!({}))
        .await
        .applied("conversation.end_requested control.released conversation.closed");
    let refused = world.ask("channel.web.message.m", json!({"content": "hello?"})).await.refused("conversation_closed");
    assert_eq!(refused["conversation"]["status"], "closed");
    world.ask("channel.web.start.m", json!({})).await.refused("conversation_closed");
    let other = world.ask("channel.web.start.m2", json!({"continued_from": "m"})).await;
    assert_eq!(other.applied("conversation.started control.assigned")["continued_from"], "m");
    world.end().await;
}

#[tokio::test]
async fn a_target_that_is_disabled_when_the_end_comes_is_as_if_the_owner_released() {
    let world = World::new().await;
    world.begin("c", "closer").await;
    let mut put = world.ask("query.config", json!({})).await.ok();
    for integration in put["config"]["integration"].as_array_mut().unwrap() {
        if integration["name"] == "survey" {
            integration["enabled"] = json!(false);
        }
    }
    world.ask("config.ann.put", json!({"config": put["config"]})).await.ok();
    let closed = world.ask("channel.web.end.c", json!({})).await;
    closed.applied("conversation.end_requested control.released conversation.closed");
    let released = world.event("c", "control.released").await.json();
    assert_eq!(released["data"]["cause"], "end_target_missing");
    world.end().await;
}

#[tokio::test]
async fn a_channel_has_no_more_open_conversations_than_it_may() {
    let config = "[[channel]]\nname = \"small\"\nopen_conversations_max = 2\n";
    let world = World::with(config, &[]).await;
    world.ask("channel.small.start.a", json!({})).await.applied("conversation.started");
    world.ask("channel.small.start.b", json!({})).await.applied("conversation.started");
    world.ask("channel.small.message.c", json!({})).await.refused("limit_reached");
    world.ask("channel.web.start.c", json!({})).await.applied("conversation.started");
    world.ask("operator.ann.end.a", json!({})).await.applied("conversation.end_requested conversation.closed");
    world.ask("channel.small.start.d", json!({})).await.applied("conversation.started");
    world.end().await;
}
