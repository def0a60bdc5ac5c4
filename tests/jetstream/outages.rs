//! JetStream goes away and comes back: commands go on, and then the streams are filled.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::server::Server;
use crate::world::{INBOX, World};

/// JetStream is taken from the account while the server stays: the stream refuses what comes.
#[tokio::test]
async fn while_a_stream_takes_nothing_commands_go_on_and_the_lag_is_shown() {
    let world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    let config = world.api(&format!("STREAM.INFO.{INBOX}"), json!({})).await["config"].clone();
    let mut heard = world.client.subscribe("switchboard.inbox.integration.bot.>").await.unwrap();
    // A sealed or full stream, a lost disk, a server that is busy: all look alike from here.
    let mut other = config.clone();
    other["subjects"] = json!(["elsewhere.>"]);
    assert!(world.api(&format!("STREAM.UPDATE.{INBOX}"), other).await.get("error").is_none());
    for turn in 0..50 {
        let to = if turn % 2 == 0 { "agents" } else { "bot" };
        world.ask("operator.ann.pass.c", json!({"to": to})).await;
        world.ask("channel.web.message.c", json!({"message_id": turn.to_string(), "content": turn})).await;
    }
    timeout(Duration::from_secs(5), heard.next()).await.expect("who listens hears it all the same");
    sleep(Duration::from_millis(300)).await;
    let page = world.readyz().await;
    assert_eq!((&page["ready"], &page["streams"]["in_step"]), (&json!(true), &json!(false)), "{page}");
    assert!(page["streams"]["trouble"].as_str().unwrap().contains("subjects"), "{page}");
    assert!(page["publication"]["lag_events"].as_u64().unwrap() >= 49, "{page}");
    let metrics = world.page("/metrics").await;
    assert!(metrics.contains("switchboard_streams_in_step 0"), "{metrics}");
    assert!(metrics.contains("switchboard_publication_lag_events 5"), "{metrics}");
    assert!(world.api(&format!("STREAM.UPDATE.{INBOX}"), config).await.get("error").is_none());
    world.check_streams().await;
    assert!(world.page("/metrics").await.contains("switchboard_streams_in_step 1"));
    // The messages of the meantime are there too, each after the event that made its receiver the owner.
    let inbox = world.held(INBOX, "switchboard.inbox.integration.bot.c.>").await;
    let said = inbox.iter().filter(|kept| kept.event["type"] == "switchboard.message.received");
    assert_eq!(said.count(), 25);
    for pair in inbox.windows(2).filter(|pair| pair[1].seq().is_none()) {
        assert_eq!(pair[0].event["data"]["epoch"], pair[1].event["data"]["epoch"], "{pair:?}");
    }
}

#[tokio::test]
async fn an_event_that_the_server_has_no_room_for_is_named_and_not_tried_in_a_storm() {
    let world = with_small_messages().await;
    let metadata = json!({"metadata": {"a": "x".repeat(3800)}});
    world.try_ask("channel.web.start.c", metadata, &[], Duration::from_secs(1)).await;
    sleep(Duration::from_secs(2)).await;
    let page = world.readyz().await;
    let trouble = page["streams"]["trouble"].as_str().unwrap_or_default().to_owned();
    assert!(trouble.starts_with("event ") && trouble.contains("max_payload"), "{page}");
    let tries = world.log().matches("the streams are asked where they end").count();
    assert!((2..=6).contains(&tries), "{tries} tries in two seconds");
    assert_eq!(world.log().matches("the streams are not written").count(), 1, "{}", world.log());
}

#[tokio::test]
async fn a_message_that_the_server_has_no_room_for_is_left_out_for_good_and_holds_nothing_up() {
    let mut world = with_small_messages().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    world.ask("channel.web.message.c", json!({"content": "x".repeat(4000)})).await;
    left_out(&world).await;
    // Its place is taken by the next: neither is refused, nor does the service ask where the streams end.
    world.ask("channel.web.message.c", json!({"content": "short"})).await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.in_step().await;
    let said = world.held(INBOX, "switchboard.inbox.integration.bot.c.message.received").await;
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(!world.log().contains("the streams are asked where they end"), "{}", world.log());
    let closing = world.stop().await;
    assert_eq!(closing.code(), Some(0), "{}", world.log());
}

#[tokio::test]
async fn a_message_that_was_left_out_is_not_tried_again_after_an_outage() {
    let mut world = with_small_messages().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    world.ask("channel.web.message.c", json!({"content": "x".repeat(4000)})).await;
    left_out(&world).await;
    world.server.kill();
    world.server.start_again().await;
    world.answering().await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.in_step().await;
    left_out(&world).await;
}

/// One message was left out, and no more; the log says so, and it is counted.
async fn left_out(world: &World) {
    assert_eq!(world.log().matches("is left out").count(), 1, "{}", world.log());
    let metrics = world.page("/metrics").await;
    assert!(metrics.contains("switchboard_messages_not_kept_total 1\n"), "{metrics}");
}

/// A service whose server takes what fits into a request, and not what the service adds to it.
async fn with_small_messages() -> World {
    let directory = tempfile::tempdir().unwrap();
    let (store, file) = (directory.path().join("store"), directory.path().join("nats.conf"));
    std::fs::write(&file, "max_payload: 4200").unwrap();
    let arguments = ["-js", "-sd", store.to_str().unwrap(), "-c", file.to_str().unwrap()];
    let server = Server::start_with(directory.path(), &arguments, &[]).await;
    let mut world = World::on(server, directory).await;
    world.start().await;
    world.in_step().await;
    world
}

/// On this rests that events may be published while the streams are behind.
#[tokio::test]
async fn what_names_another_stream_is_heard_and_kept_by_none() {
    let world = World::new().await;
    world.in_step().await;
    let before = world.api("STREAM.INFO.SWITCHBOARD_EVENTS", json!({})).await["state"]["last_seq"].clone();
    let mut heard = world.client.subscribe("switchboard.event.x.>").await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Expected-Stream", "none");
    world.client.publish_with_headers("switchboard.event.x.a.b", headers, "{}".into()).await.unwrap();
    timeout(Duration::from_secs(5), heard.next()).await.expect("it is heard");
    let after = world.api("STREAM.INFO.SWITCHBOARD_EVENTS", json!({})).await["state"]["last_seq"].clone();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_service_that_starts_while_a_stream_was_emptied_goes_on_where_it_was() {
    let mut world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    assert_eq!(world.stop().await.code(), Some(0));
    world.api("STREAM.PURGE.SWITCHBOARD_EVENTS", json!({})).await;
    world.start().await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.in_step().await;
    let kept = world.held("SWITCHBOARD_EVENTS", "switchboard.event.>").await;
    let log = world.log_events().await;
    assert_eq!(kept.iter().filter_map(|kept| kept.seq()).collect::<Vec<_>>(), [log.len() as u64]);
}

#[tokio::test]
async fn what_the_server_lost_of_a_stream_is_added_from_the_log() {
    let mut world = World::new().await;
    let store = world.path().join("store");
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    assert_eq!(world.stop().await.code(), Some(0));
    world.server.kill();
    let copy = world.path().join("copy");
    super::making::copy_directory(&store, &copy);
    world.server.start_again().await;
    world.start().await;
    for to in ["agents", "bot", "agents"] {
        world.ask("operator.ann.pass.c", json!({"to": to})).await;
    }
    world.in_step().await;
    // The service goes on while the server comes back as it was before.
    world.server.kill();
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&copy, &store).unwrap();
    world.server.start_again().await;
    world.answering().await;
    world.ask("operator.ann.pass.c", json!({"to": "bot"})).await;
    world.check_streams().await;
    assert!(world.log().contains("the streams end before what was published"), "{}", world.log());
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_and_given_later_fills_the_streams() {
    let directory = tempfile::tempdir().unwrap();
    let (store, file) = (directory.path().join("store"), directory.path().join("nats.conf"));
    let conf = |denied: &str| {
        let permissions = format!(r#"permissions: {{ publish: {{ deny: ["{denied}"] }} }}"#);
        format!("authorization {{ users: [{{ user: all, password: p, {permissions} }}] }}\nno_auth_user: all")
    };
    std::fs::write(&file, conf("switchboard.event.c.control.passed")).unwrap();
    let arguments = ["-js", "-sd", store.to_str().unwrap(), "-c", file.to_str().unwrap()];
    let mut world = World::on(Server::start_with(directory.path(), &arguments, &[]).await, directory).await;
    world.start().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.ask("operator.ann.pass.c", json!({"to": "bot"})).await;
    let began = std::time::Instant::now();
    loop {
        let page = world.readyz().await;
        let trouble = page["streams"]["trouble"].as_str().unwrap_or_default().to_owned();
        if trouble.contains("switchboard.event.c.control.passed") && trouble.contains("permission") {
            assert_eq!((&page["ready"], &page["streams"]["in_step"]), (&json!(true), &json!(false)), "{page}");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{page}\n{}", world.log());
        sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(world.path().join("nats.conf"), conf("elsewhere")).unwrap();
    world.server.kill();
    world.server.start_again().await;
    world.answering().await;
    world.check_streams().await;
}
