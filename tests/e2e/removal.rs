//! Old volumes are removed while the service is stopped, and it goes on as if they were there.

use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::log::{Directory, DiskLog, Log};

use crate::process::run;
use crate::world::World;

/// The next start writes to another volume: by itself one would be full after millions of events.
fn seal(world: &World) {
    let directory = Arc::new(Directory::open(&world.data()).unwrap());
    let mut log = DiskLog::open(directory).unwrap();
    log.seal().unwrap();
    let published = log.reader().head().published_through;
    Box::new(log).close(published).unwrap();
}

async fn live_before(arguments: &[&str]) -> (World, Value) {
    let mut world = World::with(crate::world::USUAL, arguments).await;
    let first = world.ask_as("k-1", "channel.web.start.open", json!({"user": "u"})).await.ok();
    world.begin("ended", "bot").await;
    world.ask("integration.bot.end.ended", json!({})).await.ok();
    world.ask("channel.whatsapp.start.thread", json!({"user": "w"})).await.ok();
    world.ask("operator.ann.end.thread", json!({})).await.ok();
    world.caught_up().await;
    assert_eq!(world.stop().await.code(), Some(0));
    seal(&world);
    (world, first)
}

async fn run_on(world: &World, arguments: &[&str]) -> crate::process::Ran {
    let mut program = world.program(arguments);
    program.arg("--data").arg(world.data());
    run(program).await
}

#[tokio::test]
async fn a_service_goes_on_after_old_volumes_were_removed() {
    let (mut world, first) = live_before(&[]).await;
    let file = world.path().join("old.ndjson");
    let name = file.display().to_string();
    let before = run_on(&world, &["list", "--format", "json"]).await.well();
    let refused = run_on(&world, &["volumes", "remove", "--through", "1"]).await;
    assert_eq!((refused.code, refused.err.contains("--export FILE")), (Some(64), true), "{}", refused.err);
    let told = run_on(&world, &["volumes", "remove", "--through", "1", "--export", &name]).await.well();
    assert!(told.contains("freed"), "{told}");
    assert!(run(world.program(&["verify", &name])).await.well().contains("conversations"));
    assert!(run_on(&world, &["volumes", "list"]).await.well().contains("removed"));
    assert_eq!(run_on(&world, &["list", "--format", "json"]).await.well(), before);
    world.start().await;
    let replayed = world.ask_as("k-1", "channel.web.start.open", json!({"user": "u"})).await.ok();
    assert_eq!((&replayed["replayed"], &replayed["events"]), (&json!(true), &first["events"]));
    world.ask_as("k-1", "channel.web.start.open", json!({"user": "v"})).await.refused("command_id_reused");
    world.ask("integration.bot.pass.open", json!({"to": "agents"})).await.applied("control.passed");
    world.ask("integration.bot.end.ended", json!({})).await.unchanged();
    let again = world.ask("channel.whatsapp.start.thread", json!({"user": "w"})).await.ok();
    assert_eq!(again["conversation"]["session"], 2, "{again}");
    let first_seq = again["conversation"]["seq"].as_u64().unwrap() - 2;
    let past = world.ask("query.conversation.open", json!({"at_seq": first_seq - 1})).await.refused("bad_request");
    assert!(past["message"].as_str().unwrap().contains("were removed from the log"), "{past}");
    world.ask("query.history.open", json!({"from_seq": 1})).await.refused("bad_request");
    let history = world.ask("query.history.open", json!({})).await.ok();
    assert_eq!(history["events"][0]["type"], "switchboard.control.passed", "{history}");
    let shown = world.run(&["show", "open"]).await.well();
    assert!(shown.contains("its first 2 events were removed"), "{shown}");
    for (conversation, removed) in [("open", "the first 2 events were removed"), ("ended", "events were removed")] {
        let replayed = world.run(&["replay", "--conversation", conversation]).await;
        assert!(replayed.code == Some(0) && replayed.err.contains(removed), "{conversation}: {}", replayed.err);
        let some = world.run(&["replay", "--conversation", conversation, "--type", "control.passed"]).await;
        assert_eq!(some.err, "", "{conversation}");
    }
    says_what_was_removed(&world).await;
    let backup = world.run(&["export"]).await.well();
    let states = world.run(&["list", "--format", "json"]).await.well();
    world.kill().await;
    std::fs::remove_dir_all(world.data().join("cache")).unwrap();
    world.start().await;
    assert_eq!(world.run(&["list", "--format", "json"]).await.well(), states);
    assert_eq!(world.stop().await.code(), Some(0));
    assert_eq!(run_on(&world, &["export"]).await.well(), backup);
    assert!(run_on(&world, &["verify"]).await.well().contains("what was before is removed"));
}

/// Also where only a part is asked for that may have begun before; and periods of control are drawn of a whole past only.
async fn says_what_was_removed(world: &World) {
    let (begins, events) = ("the log begins with seq", "were removed from the log");
    for (arguments, note) in [
        (&["--to", "1"][..], begins),
        (&["--to", "2100-01-01T00:00:00Z"], begins),
        (&["--conversation", "_config"], begins),
        (&["--conversation", "open", "--to", "1"], events),
        (&["--conversation", "open", "--to", "2100-01-01T00:00:00Z"], events),
    ] {
        let replayed = world.run(&[&["replay"][..], arguments].concat()).await;
        assert!(replayed.code == Some(0) && replayed.err.contains(note), "{arguments:?}: {}", replayed.err);
    }
    for command in [&["show", "open"][..], &["replay", "--conversation", "open", "--format", "timeline"]] {
        let told = world.run(command).await.well();
        assert!(told.contains("passed to agents") && !told.contains("\ncontrol\n"), "{command:?}: {told}");
    }
}

#[tokio::test]
async fn a_log_without_its_base_is_not_served() {
    let (mut world, _) = live_before(&[]).await;
    run_on(&world, &["volumes", "remove", "--before", "2100-01-01T00:00:00Z", "--without-export"]).await.well();
    let base = world.data().join("log/base.json");
    let text = std::fs::read(&base).unwrap();
    std::fs::remove_file(&base).unwrap();
    for command in [&["verify"][..], &["list"], &["export"]] {
        let refused = run_on(&world, command).await;
        assert!(refused.code != Some(0) && refused.err.contains("base.json"), "{command:?}: {}", refused.err);
    }
    world.launch();
    assert_eq!(world.gone().await.code(), Some(1));
    std::fs::write(&base, text).unwrap();
    world.start().await;
    assert_eq!(world.stop().await.code(), Some(0));
}
