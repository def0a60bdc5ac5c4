//! Each receiver finds a consumer of its own, made by the service.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::world::{EVENTS, INBOX, World};

#[tokio::test]
async fn receivers_of_the_configuration_and_channels_that_come_have_a_consumer_each() {
    let world = World::new().await;
    for name in ["integration-bot", "integration-agents", "integration-listener"] {
        let config = consumer(&world, INBOX, name).await;
        let subjects = format!("switchboard.inbox.integration.{}.>", name.strip_prefix("integration-").unwrap());
        assert_eq!(config["filter_subject"], subjects.as_str(), "{config}");
        let fields = (&config["ack_policy"], &config["deliver_policy"], &config["inactive_threshold"]);
        assert_eq!(fields, (&json!("explicit"), &json!("all"), &json!(691_200_000_000_000u64)), "{config}");
        assert!(config.get("deliver_subject").is_none(), "{config}");
    }
    assert_eq!(consumer(&world, EVENTS, "observer").await["filter_subject"], "switchboard.event.>");
    // A channel need not be in the configuration, and names may hold what subjects may.
    world.ask("channel.w:e+b@1~=.start.c", json!({})).await;
    let config = consumer(&world, INBOX, "channel-w:e+b@1~=").await;
    assert_eq!(config["filter_subject"], "switchboard.inbox.channel.w:e+b@1~=.>");
    assert_eq!(world.fetch(INBOX, "channel-w:e+b@1~=", true).await.len(), 2);
}

#[tokio::test]
async fn who_comes_by_a_put_has_a_consumer_and_who_goes_can_still_read_the_last() {
    let world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    consumer(&world, INBOX, "integration-agents").await;
    let config = json!({"integration": [{"name": "bot"}, {"name": "late"}]});
    world.ask("config.ann.put", json!({"config": config})).await;
    consumer(&world, INBOX, "integration-late").await;
    world.in_step().await;
    let last = world.fetch(INBOX, "integration-agents", true).await;
    assert_eq!(last.last().unwrap().event["type"], "switchboard.control.released", "{last:?}");
}

#[tokio::test]
async fn a_consumer_stays_as_somebody_set_it_and_one_that_is_gone_is_made_again() {
    let mut world = World::new().await;
    let mut config = consumer(&world, INBOX, "integration-bot").await;
    config["max_ack_pending"] = json!(1);
    let subject = format!("CONSUMER.CREATE.{INBOX}.integration-bot.switchboard.inbox.integration.bot.>");
    let set = world.api(&subject, json!({"stream_name": INBOX, "config": config, "action": "update"})).await;
    assert_eq!(set["config"]["max_ack_pending"], 1, "{set}");
    consumer(&world, INBOX, "integration-agents").await;
    world.api(&format!("CONSUMER.DELETE.{INBOX}.integration-agents"), json!({})).await;
    // Under the name of one of ours somebody reads everything.
    world.api(&format!("CONSUMER.DELETE.{INBOX}.integration-listener"), json!({})).await;
    let wide = json!({"durable_name": "integration-listener", "ack_policy": "explicit", "filter_subject": "switchboard.inbox.>"});
    let subject = format!("CONSUMER.CREATE.{INBOX}.integration-listener.switchboard.inbox.>");
    world.api(&subject, json!({"stream_name": INBOX, "config": wide})).await;
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
    world.start().await;
    consumer(&world, INBOX, "integration-agents").await;
    assert_eq!(consumer(&world, INBOX, "integration-bot").await["max_ack_pending"], 1);
    let log = world.log();
    assert!(log.contains("a consumer reads something else") && log.contains("integration-listener"), "{log}");
}

/// The configuration of a consumer, as soon as it is there.
async fn consumer(world: &World, stream: &str, name: &str) -> Value {
    let began = Instant::now();
    loop {
        let found = world.api(&format!("CONSUMER.INFO.{stream}.{name}"), json!({})).await;
        if found.get("error").is_none() {
            return found["config"].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{name}: {found}\n{}", world.log());
        sleep(Duration::from_millis(20)).await;
    }
}
