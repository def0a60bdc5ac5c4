//! Who was away finds what it missed.

use std::time::Duration;

use serde_json::json;

use crate::world::{EVENTS, INBOX, World};

#[tokio::test]
async fn a_bot_that_was_offline_finds_its_whole_inbox_in_order() {
    let mut world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.ask("channel.web.message.c", json!({"message_id": "m-1", "content": "hello"})).await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.ask("channel.web.message.c", json!({"content": "not for the bot"})).await;
    world.in_step().await;
    let expected = ["conversation.started", "control.assigned", "message.received", "control.passed"];
    assert_eq!(verbs(&world.fetch(INBOX, "integration-bot", true).await), expected);
    // Over a restart too, and nothing of it comes again.
    world.kill();
    world.start().await;
    world.ask("operator.ann.pass.c", json!({"to": "bot"})).await;
    world.ask("channel.web.message.c", json!({"content": "are you there?"})).await;
    world.in_step().await;
    let missed = world.fetch(INBOX, "integration-bot", true).await;
    assert_eq!(verbs(&missed), ["control.passed", "message.received"]);
    assert_eq!(missed[1].headers["Switchboard-After-Seq"], missed[0].seq().unwrap().to_string());
    world.check_streams().await;
    // Each has said where it belongs, so the server could not have taken it anywhere else.
    for stream in [EVENTS, INBOX] {
        for (at, kept) in world.held(stream, "switchboard.>").await.iter().enumerate() {
            assert_eq!(kept.headers["Nats-Expected-Last-Sequence"], at.to_string(), "{kept:?}");
        }
    }
}

fn verbs(kept: &[crate::world::Kept]) -> Vec<String> {
    kept.iter().map(|kept| kept.event["type"].as_str().unwrap().replace("switchboard.", "")).collect()
}

#[tokio::test]
async fn each_receiver_has_its_own_copy_and_a_repeat_is_kept_once() {
    let world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    for _ in 0..3 {
        let headers = [("Nats-Msg-Id", "k-1")];
        let body = json!({"content": "once"});
        world.try_ask("channel.web.message.c", body, &headers, Duration::from_secs(5)).await.unwrap();
    }
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.check_streams().await;
    let passed = world.held(INBOX, "switchboard.inbox.*.*.c.control.passed").await;
    assert_eq!(passed.len(), 3, "for the bot, the agents and the channel");
    assert_eq!(world.held(INBOX, "switchboard.inbox.integration.bot.c.message.received").await.len(), 1);
    assert!(
        world.held(EVENTS, "switchboard.event._config.>").await.len() >= 3,
        "the configuration's events are kept too"
    );
}

#[tokio::test]
async fn a_repeat_that_the_stream_holds_from_before_a_restart_does_not_stop_it() {
    let mut world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    let message = || {
        world.try_ask(
            "channel.web.message.c",
            json!({"content": "hi"}),
            &[("Nats-Msg-Id", "k-1")],
            Duration::from_secs(5),
        )
    };
    message().await.unwrap();
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.ask("operator.ann.pass.c", json!({"to": "bot"})).await;
    world.in_step().await;
    world.kill();
    world.start().await;
    world.in_step().await;
    world
        .try_ask("channel.web.message.c", json!({"content": "hi"}), &[("Nats-Msg-Id", "k-1")], Duration::from_secs(5))
        .await
        .unwrap();
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.check_streams().await;
    let said = world.held(INBOX, "switchboard.inbox.integration.bot.c.message.received").await;
    assert_eq!(said.len(), 2, "ids of messages are forgotten with a restart");
    assert_eq!(said[0].id(), said[1].id(), "whoever reads knows it by its id");
}

/// Whoever asks for messages may name any subject for the answer.
#[tokio::test]
async fn a_status_of_the_server_on_a_subject_of_commands_is_no_command() {
    let world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    let config = json!({"durable_name": "none", "ack_policy": "none", "filter_subject": "switchboard.event.nothing.>"});
    world.api(&format!("CONSUMER.CREATE.{EVENTS}"), json!({"stream_name": EVENTS, "config": config})).await;
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.none");
    let fetch = json!({"batch": 1, "no_wait": true}).to_string();
    world.client.publish_with_reply(next, "switchboard.operator.ann.end.c", fetch.into()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.ask("query.conversation.c", json!({})).await["conversation"]["status"], "open");
}
