//! The streams are made once, as written, and never changed.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::log::{Directory, DiskLog, Log};
use switchboard::tools::screen::Screen;
use switchboard::tools::volumes::{RemoveOptions, Until, remove};

use crate::between;
use crate::server::Server;
use crate::world::{EVENTS, INBOX, World};

#[tokio::test]
async fn streams_are_made_with_every_option_and_found_again() {
    let mut world = World::new().await;
    world.in_step().await;
    for (stream, subject) in [(EVENTS, "switchboard.event.>"), (INBOX, "switchboard.inbox.>")] {
        let config = config_of(&world, stream).await;
        let expected = json!({
            "subjects": [subject], "retention": "limits", "storage": "file", "compression": "s2", "num_replicas": 1,
            "discard": "old", "max_age": 604_800_000_000_000u64, "max_bytes": 4_294_967_296u64, "max_msgs": -1,
            "max_msgs_per_subject": -1, "max_msg_size": -1, "max_consumers": -1, "duplicate_window": 100_000_000u64,
            "deny_delete": false, "deny_purge": false, "allow_direct": true, "allow_rollup_hdrs": false,
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&config[name], value, "{stream}: {name}");
        }
    }
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
    world.start().await;
    world.in_step().await;
    assert_eq!(world.log().matches("made the stream").count(), 2, "{}", world.log());
}

#[tokio::test]
async fn a_stream_that_differs_is_refused_and_left_alone() {
    let mut world = World::new().await;
    world.in_step().await;
    assert_eq!(world.stop().await.code(), Some(0));
    let mut config = config_of(&world, INBOX).await;
    config["max_age"] = json!(3_600_000_000_000u64);
    config["duplicate_window"] = json!(60_000_000_000u64);
    let updated = world.api(&format!("STREAM.UPDATE.{INBOX}"), config).await;
    assert!(updated.get("error").is_none(), "{updated}");
    let said = world.refused().await;
    for text in
        ["SWITCHBOARD_INBOX", "max_age: expected 604800000000000, got 3600000000000", "duplicate_window", "--prefix"]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert_eq!(config_of(&world, INBOX).await["max_age"], 3_600_000_000_000u64);
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let mut world = World::on(server, directory).await;
    let said = world.refused().await;
    assert!(
        said.contains("JetStream is not enabled") && said.contains("-js") && said.contains("--events core"),
        "{said}"
    );
}

#[tokio::test]
async fn a_server_that_lets_two_writers_through_is_refused() {
    let mut world = World::without_service().await;
    world.server.url = between::of_version(&world.server.url, "2.11.9").await;
    let said = world.refused().await;
    assert!(said.contains("expected nats-server 2.12 or later, got 2.11.9"), "{said}");
    let found = world.api(&format!("STREAM.INFO.{EVENTS}"), json!({})).await;
    assert_eq!(found["error"]["err_code"], 10059, "nothing is made there: {found}");
}

#[tokio::test]
async fn a_stream_that_somebody_makes_at_the_same_moment_is_looked_at_like_any_other() {
    let mut world = World::without_service().await;
    let client = world.client.clone();
    let make = async move {
        let config = json!({"name": EVENTS, "subjects": ["switchboard.event.>"], "max_age": 3_600_000_000_000u64});
        let made = client.request(format!("$JS.API.STREAM.CREATE.{EVENTS}"), config.to_string().into()).await.unwrap();
        assert!(!String::from_utf8_lossy(&made.payload).contains("err_code"), "{made:?}");
    };
    world.server.url = between::done_before(&world.server.url, &format!("STREAM.CREATE.{EVENTS}"), make).await;
    let said = world.refused().await;
    assert!(said.contains("max_age: expected 604800000000000, got 3600000000000"), "{said}");
}

#[tokio::test]
async fn a_stream_of_others_on_the_same_subjects_is_refused() {
    let mut world = World::without_service().await;
    world.api("STREAM.CREATE.ALL", json!({"name": "ALL", "subjects": ["switchboard.event.>"]})).await;
    let said = world.refused().await;
    assert!(said.contains("another stream holds its subjects"), "{said}");
}

#[tokio::test]
async fn a_log_that_is_older_than_the_streams_is_refused() {
    let mut world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    assert_eq!(world.stop().await.code(), Some(0));
    let copy = world.path().join("copy");
    copy_directory(&world.data(), &copy);
    world.start().await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.in_step().await;
    assert_eq!(world.stop().await.code(), Some(0));
    std::fs::remove_dir_all(world.data()).unwrap();
    std::fs::rename(copy, world.data()).unwrap();
    let said = world.refused().await;
    assert!(said.contains("it is an older copy") && said.contains("delete both streams"), "{said}");
    let last_start = said.rsplit("log opened").next().unwrap();
    assert!(!last_start.contains("ready"), "it is refused before anybody is served:\n{last_start}");
}

/// What was removed from the log was in the streams; streams that lost it cannot be filled.
#[tokio::test]
async fn streams_go_on_after_old_volumes_were_removed_and_are_refused_where_they_lack_them() {
    let mut world = World::new().await;
    let store = world.path().join("store");
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    assert_eq!(world.stop().await.code(), Some(0));
    world.server.kill();
    let copy = world.path().join("copy");
    copy_directory(&store, &copy);
    world.server.start_again().await;
    world.start().await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.in_step().await;
    assert_eq!(world.stop().await.code(), Some(0));
    remove_all_that_may_be(&world.data());
    world.start().await;
    world.ask("operator.ann.pass.c", json!({"to": "bot"})).await;
    world.in_step().await;
    let log = world.ask("query.log", json!({})).await;
    assert_eq!(log["events"].as_array().unwrap().len(), 1, "{log}");
    let kept = world.held(EVENTS, "switchboard.event.>").await;
    let seqs: Vec<u64> = kept.iter().filter_map(|kept| kept.seq()).collect();
    let expected: Vec<u64> = (1..=log["head_seq"].as_u64().unwrap()).collect();
    assert_eq!((seqs, &kept.last().unwrap().event), (expected, &log["events"][0]));
    let copies = world.held(INBOX, "switchboard.inbox.channel.>").await;
    assert!(copies.iter().filter_map(|copy| copy.seq()).is_sorted_by(|one, next| one < next), "a copy is there twice");
    assert_eq!(world.stop().await.code(), Some(0));
    world.server.kill();
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&copy, &store).unwrap();
    world.server.start_again().await;
    let said = world.refused().await;
    assert!(said.contains("they cannot be filled; delete both streams"), "{said}");
}

/// All that was recorded so far, but the volume that is written to.
fn remove_all_that_may_be(data: &Path) {
    let mut log = DiskLog::open(Arc::new(Directory::open(data).unwrap())).unwrap();
    log.seal().unwrap();
    let published = log.reader().head().published_through;
    Box::new(log).close(published).unwrap();
    let options = RemoveOptions { until: Until::Volume(1), export: None };
    remove(data, &options, &mut Vec::new(), Screen::unbounded()).unwrap();
}

/// Whoever may publish to an inbox may put something behind our last message.
#[tokio::test]
async fn a_foreign_message_at_the_end_of_a_stream_is_passed_over() {
    let mut world = World::new().await;
    world.ask("channel.web.start.c", json!({})).await;
    world.in_step().await;
    // Its cursor is behind the streams: it is told by what they hold, not by what it noted.
    world.kill();
    for id in ["", "another-9-abababab/channel.web", "4b1f6a0e-m-77/channel.web"] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        let subject = "switchboard.inbox.channel.web.c.message.sent";
        world.client.publish_with_headers(subject, headers, r#"{"data":{}}"#.into()).await.unwrap();
    }
    world.client.flush().await.unwrap();
    world.start().await;
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await;
    world.check_streams().await;
    assert!(world.log().contains("foreign=3"), "{}", world.log());
}

async fn config_of(world: &World, stream: &str) -> Value {
    world.api(&format!("STREAM.INFO.{stream}"), json!({})).await["config"].clone()
}

/// Copies a directory and all that is in it.
pub fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_directory(&path, &target),
            false => drop(std::fs::copy(&path, &target).unwrap()),
        }
    }
}
