//! The program's other commands, beside a running service and on a directory that nobody serves.

use serde_json::{Value, json};

use crate::process::run;
use crate::wire::Heard;
use crate::world::World;

#[tokio::test]
async fn what_is_shown_listed_and_replayed_is_the_same_over_nats_and_from_the_directory() {
    let mut world = World::new().await;
    world.ask("channel.web.start.c", json!({"user": "u", "metadata": {"topic": "bill"}})).await.ok();
    world.ask("integration.bot.pass.c", json!({"to": "agents", "reason": "a person"})).await.ok();
    world.begin("d", "bot").await;
    world.ask("channel.web.end.d", json!({})).await.ok();
    let shown = world.run(&["show", "c"]).await.well();
    for word in ["agents", "web", "a person", "open"] {
        assert!(shown.contains(word), "{word} is not in\n{shown}");
    }
    let seq = world.state("c").await["seq"].as_u64().unwrap() - 1;
    let at = seq.to_string();
    let commands: [&[&str]; 8] = [
        &["show", "c", "--format", "json"],
        &["show", "c", "--at", &at, "--format", "json"],
        &["list", "--format", "json"],
        &["list", "--status", "open", "--owner", "agents", "--format", "json"],
        &["replay"],
        &["replay", "--conversation", "c", "--format", "timeline"],
        &["replay", "--type", "control.passed"],
        &["replay", "--from", &at, "--to", &at],
    ];
    let mut over_nats = Vec::new();
    for command in commands {
        over_nats.push(world.run(command).await.well());
    }
    let shown: Value = serde_json::from_str(&over_nats[0]).unwrap();
    assert_eq!(shown["conversation"], world.state("c").await);
    let listed: Value = serde_json::from_str(&over_nats[3]).unwrap();
    assert_eq!(
        (listed["conversations"].as_array().unwrap().len(), &listed["conversations"][0]["id"]),
        (1, &json!("c"))
    );
    let replayed: Vec<Value> = over_nats[4].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(replayed, world.log_events().await);
    assert_eq!((over_nats[6].lines().count(), over_nats[7].lines().count()), (1, 1));
    world.stop().await;
    for (command, over_nats) in commands.iter().zip(over_nats) {
        let mut program = world.program(command);
        program.arg("--data").arg(world.data());
        assert_eq!(run(program).await.well(), over_nats, "{command:?}");
    }
    world.start().await;
    world.end().await;
}

#[tokio::test]
async fn a_timeline_of_some_events_says_nothing_of_who_held_control_for_how_long() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    world.ask("integration.bot.pass.c", json!({"to": "agents"})).await.ok();
    world.ask("operator.ann.end.c", json!({})).await.ok();
    let all = ["replay", "--conversation", "c", "--format", "timeline"];
    let passes = [&all[..], &["--type", "control.passed"]].concat();
    let (whole, some) = (world.run(&all).await.well(), world.run(&passes).await.well());
    assert!(some.lines().all(|line| whole.contains(line)) && some.contains("passed"), "{some}");
    assert_eq!((some.lines().count(), some.lines().any(str::is_empty)), (2, false), "a day and an event: {some}");
    assert!(whole.contains("\ncontrol\n"), "{whole}");
    let seq = (world.state("c").await["seq"].as_u64().unwrap() - 1).to_string();
    for part in [["--from", &seq], ["--to", &seq]] {
        let told = world.run(&[&all[..], &part].concat()).await.well();
        assert!(told.lines().count() > 1 && !told.contains("\ncontrol\n"), "{part:?}: {told}");
    }
    world.end().await;
}

/// Frames that hold notes only fill pages without an event.
#[tokio::test]
async fn a_replay_over_pages_without_events_says_nothing_of_removed_ones() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    for turn in 0..4100 {
        world.ask("channel.web.message.c", json!({"user": format!("u-{turn}")})).await.ok();
    }
    world.begin("d", "bot").await;
    let replayed = world.run(&["replay", "--conversation", "c"]).await;
    assert_eq!((replayed.code, replayed.out.lines().count(), replayed.err.as_str()), (Some(0), 2, ""));
    world.end().await;
}

#[tokio::test]
async fn a_list_of_those_that_wait_says_first_for_whom() {
    let world = World::new().await;
    world.begin("c", "agents").await;
    world.ask("channel.web.end.c", json!({})).await.ok();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let waiting = world.run(&["list", "--waiting", "1s"]).await.well();
    let words: Vec<&str> = waiting.split_whitespace().collect();
    assert_eq!(words[..3], ["conversation", "waiting", "for"], "{waiting}");
    assert!(waiting.lines().nth(1).is_some_and(|line| line.starts_with("c ") && line.contains("agents")), "{waiting}");
    world.end().await;
}

#[tokio::test]
async fn an_empty_value_among_others_in_a_variable_is_told_by_its_name_and_a_whole_empty_variable_is_none() {
    let told = async |line: &str, variable: &str, value: &str| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
        program.args(line.split(' ')).args(["--data", "/no/such/directory"]).env(variable, value);
        let ran = run(program).await;
        (ran.code, ran.err.contains(&format!("{variable}: expected a value, got an empty one")))
    };
    for (line, variable) in
        [("export", "SWITCHBOARD_REDACT"), ("replay", "SWITCHBOARD_TYPE"), ("bench", "SWITCHBOARD_BESIDE")]
    {
        for value in [",", "c-1,", ",c-1", "c-1,,c-2"] {
            assert_eq!(told(line, variable, value).await, (Some(64), true), "{line} {variable}={value}");
        }
    }
    for (line, variable) in [("export", "SWITCHBOARD_REDACT"), ("replay", "SWITCHBOARD_TYPE")] {
        assert_eq!(told(line, variable, "").await, (Some(1), false), "{line} {variable}=");
    }
}

#[tokio::test]
async fn an_operator_commands_from_the_shell() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let passed =
        world.run(&["operator", "pass", "c", "--to", "agents", "--as", "ann", "--reason", "stuck"]).await.well();
    assert!(passed.contains("control passed"), "{passed}");
    let event = world.event("c", "control.passed").await.json();
    assert_eq!((&event["data"]["by"]["name"], &event["data"]["reason"]), (&json!("ann"), &json!("stuck")));
    let again = world.run(&["operator", "pass", "c", "--to", "agents", "--as", "ann"]).await.well();
    assert!(again.contains("unchanged"), "{again}");
    world.run(&["operator", "release", "c", "--as", "ann"]).await.well();
    world.run(&["operator", "end", "c", "--as", "ann"]).await.well();
    assert_eq!(world.state("c").await["status"], "closed");
    let refused = world.run(&["operator", "pass", "c", "--to", "bot", "--as", "ann"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("conversation_closed"), "{}", refused.err);
    let unknown = world.run(&["show", "unknown"]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("conversation_not_found"), "{}", unknown.err);
    let missing = world.run(&["operator", "pass", "c"]).await;
    assert_eq!((missing.code, missing.err.contains("--to")), (Some(64), true), "{}", missing.err);
    world.end().await;
}

#[tokio::test]
async fn a_replay_is_published_below_another_prefix_and_never_below_one_that_is_served() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    for (own, served) in [("switchboard", "switchboard"), ("other", "switchboard")] {
        let refused = world.run(&["replay", "--publish", served, "--prefix", own]).await;
        assert_eq!((refused.code, refused.err.contains("--publish")), (Some(64), true), "{}", refused.err);
    }
    // Who listens below the prefix, as everybody does who waits for the replay, serves nothing there.
    world.run(&["replay", "--conversation", "c", "--publish", "again"]).await.well();
    world.caught_up().await;
    let replayed = world.wire.all().into_iter().filter(|heard| heard.subject.starts_with("again.event.c."));
    let replayed: Vec<Heard> = replayed.collect();
    let originals = world.wire.below("event.c.");
    assert_eq!((replayed.len(), originals.len()), (2, 2));
    for (replayed, original) in replayed.iter().zip(originals) {
        assert_eq!(replayed.json(), original.json());
        assert_eq!(replayed.header("Nats-Msg-Id"), original.header("Nats-Msg-Id"));
    }
    world.end().await;
}
