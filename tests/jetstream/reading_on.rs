//! Each receiver finds a consumer of its own, made by the service.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::between;
use crate::world::{EVENTS, INBOX, World};

/// As many as the server lists at once.
const LISTED_MAX: usize = 256;

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
    // And under that of another the server publishes wherever that somebody liked.
    world.api(&format!("CONSUMER.DELETE.{EVENTS}.observer"), json!({})).await;
    let pushing = json!({"durable_name": "observer", "ack_policy": "explicit", "filter_subject": "switchboard.event.>", "deliver_subject": "elsewhere"});
    let subject = format!("CONSUMER.CREATE.{EVENTS}.observer.switchboard.event.>");
    world.api(&subject, json!({"stream_name": EVENTS, "config": pushing})).await;
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
    world.start().await;
    consumer(&world, INBOX, "integration-agents").await;
    assert_eq!(consumer(&world, INBOX, "integration-bot").await["max_ack_pending"], 1);
    said(&world, r#"a consumer reads something else than it should: delete it, and it is made again as it should be stream="SWITCHBOARD_INBOX" consumer="integration-listener""#).await;
    said(&world, r#"consumer="observer""#).await;
}

/// The server lists so many at once, and no more.
#[tokio::test]
async fn consumers_are_known_though_many_of_others_are_listed_before_them() {
    let mut world = World::new().await;
    for name in ["integration-agents", "integration-bot", "integration-listener"] {
        consumer(&world, INBOX, name).await;
    }
    said(&world, "made=").await;
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
    for n in 0..LISTED_MAX {
        let config = json!({"durable_name": format!("a{n}"), "ack_policy": "none", "mem_storage": true});
        let made = world
            .api(&format!("CONSUMER.DURABLE.CREATE.{INBOX}.a{n}"), json!({"stream_name": INBOX, "config": config}))
            .await;
        assert!(made.get("error").is_none(), "{made}");
    }
    world.api(&format!("CONSUMER.DELETE.{INBOX}.integration-listener"), json!({})).await;
    world.start().await;
    consumer(&world, INBOX, "integration-listener").await;
    said(&world, "made consumers, with which receivers read on where they were made=1").await;
}

#[tokio::test]
async fn a_consumer_that_somebody_makes_at_the_same_moment_stays_as_it_is() {
    let mut world = World::without_service().await;
    let (client, subject) =
        (world.client.clone(), format!("CONSUMER.CREATE.{INBOX}.integration-bot.switchboard.inbox.integration.bot.>"));
    let create = format!("$JS.API.{subject}");
    let make = async move {
        let config = json!({
            "durable_name": "integration-bot", "ack_policy": "explicit", "max_ack_pending": 1,
            "filter_subject": "switchboard.inbox.integration.bot.>",
        });
        let body = json!({"stream_name": INBOX, "config": config}).to_string();
        let made = client.request(create, body.into()).await.unwrap();
        assert!(!String::from_utf8_lossy(&made.payload).contains("err_code"), "{made:?}");
    };
    world.server.url = between::done_before(&world.server.url, &subject, make).await;
    world.start().await;
    consumer(&world, INBOX, "integration-listener").await;
    assert_eq!(consumer(&world, INBOX, "integration-bot").await["max_ack_pending"], 1);
    said(&world, "made consumers, with which").await;
    assert!(!world.log().contains("not all consumers"), "{}", world.log());
}

/// Waits until the service has said that.
async fn said(world: &World, text: &str) {
    let began = Instant::now();
    while !world.log().contains(text) {
        assert!(began.elapsed() < Duration::from_secs(30), "{text}:\n{}", world.log());
        sleep(Duration::from_millis(20)).await;
    }
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
