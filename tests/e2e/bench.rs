//! `bench`: it measures the real service, counts what it counts, and leaves nothing behind.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use switchboard::log::{Directory, DiskLog, Log};
use switchboard::tools::bench::aged::{self, Age};
use switchboard::tools::bench::script::CONFIGURATION;

use crate::process::{Ran, exit, run, run_within, signal};
use crate::server::binary;

/// Short rounds: what is looked at is that figures are there, not how high they are.
const SHORT: [&str; 7] = ["--round", "1s", "--rounds", "1", "--conversations", "50", "--nats-server"];

/// How long it may take, which is longer than anything else here.
const PATIENCE: Duration = Duration::from_secs(120);

async fn bench(data: &Path, more: &[&str]) -> Ran {
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SWITCHBOARD_")) {
        program.env_remove(name);
    }
    program.arg("bench").args(SHORT).arg(binary()).arg("--data").arg(data).args(more);
    run_within(PATIENCE, program).await
}

#[tokio::test]
async fn the_service_is_measured_beside_all_others_and_refuses_nothing_of_the_script() {
    let data = tempfile::tempdir().unwrap();
    let told = bench(data.path(), &["--in-flight", "4", "--format", "json"]).await.well();
    let told: Value = serde_json::from_str(&told).unwrap();
    let lines = told["lines"].as_array().unwrap();
    assert_eq!((lines.len(), told["left_out"].as_array().unwrap().len()), (1, 0), "{told}");
    for line in lines {
        for target in ["service", "floor", "jetstream", "jetstream_always"] {
            assert!(line[target]["commands_per_second"].as_f64().unwrap() > 0.0, "{target}: {told}");
            assert_eq!((&line[target]["refused"], &line[target]["unanswered"]), (&0.into(), &0.into()), "{told}");
            assert!(line[target]["latency_us"]["p50"].as_u64().unwrap() > 0, "{target}: {told}");
        }
    }
    // A conversation that goes through the script records eleven events, and more than one is published of each.
    assert!(told["messages_of_a_conversation"].as_u64().unwrap() > 22, "{told}");
    assert!(told["events"].as_u64().unwrap() > 11, "{told}");
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "something is left behind");
}

#[tokio::test]
async fn a_log_is_aged_before_the_rounds_and_the_start_on_it_is_measured() {
    let data = tempfile::tempdir().unwrap();
    let load = ["--in-flight", "4", "--beside", "none", "--format", "json"];
    let young: Value = serde_json::from_str(&bench(data.path(), &load).await.well()).unwrap();
    let old = [&load[..], &["--aged", "30000", "--open", "40"]].concat();
    let told: Value = serde_json::from_str(&bench(data.path(), &old).await.well()).unwrap();
    assert_eq!((&young["aged"], &told["aged"]["open"]), (&Value::Null, &40.into()), "{told}");
    let [events, disk, start, memory] = ["events", "disk_bytes", "start_us", "memory_bytes"]
        .map(|name| told["aged"][name].as_u64().unwrap_or_else(|| panic!("{name} is not in {told}")));
    // No more than a conversation and the configuration beyond what was asked for.
    assert!((30_000 - 11..30_000 + 11).contains(&events), "{told}");
    assert!(told["events"].as_u64().unwrap() < events, "what was filled counts as measured: {told}");
    assert!([disk, start, memory].iter().all(|figure| *figure > 0), "{told}");
    let line = |told: &Value| told["line_bytes"].as_f64().unwrap() / told["events"].as_f64().unwrap();
    assert!(line(&told) < 2.0 * line(&young), "{told}\n{young}");
    let before = told["disk_bytes_before"].as_u64().unwrap();
    assert!(disk <= before && told["disk_bytes"].as_u64().unwrap() < before, "what was filled is no growth: {told}");
    assert_eq!(told["lines"][0]["service"]["refused"], 0, "{told}");
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "something is left behind");
}

#[tokio::test]
async fn a_filled_directory_is_whole_and_as_old_as_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let program = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        program.args(arguments).arg("--data").arg(&data);
        run_within(PATIENCE, program)
    };
    let configuration = place.path().join("switchboard.toml");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let age = Age { events: 3000, open: 40 };
    aged::filled(data.clone(), configuration, age, true).await.unwrap();
    program(&["verify"]).await.well();
    let listed: Value = serde_json::from_str(&program(&["list", "--format", "json"]).await.well()).unwrap();
    let of = |status: &str| {
        let all = listed["conversations"].as_array().unwrap().iter();
        all.filter(|conversation| conversation["status"] == status).count()
    };
    assert_eq!((of("open"), of("ending")), (40, 0), "{listed}");
    let replayed = program(&["replay"]).await.well();
    assert!((3000 - 11..3000 + 11).contains(&replayed.lines().count()), "{}", replayed.lines().count());
    let closed = replayed.lines().filter(|line| line.contains("conversation.closed")).count();
    assert!(closed > 200, "{closed} conversations were closed");
    let directory = Arc::new(Directory::open(&data).unwrap());
    let head = DiskLog::open(directory).unwrap().reader().head();
    assert_eq!(head.published_through, head.next_seq - 1, "a service would publish it: nobody is to hear of it later");
}

#[tokio::test]
async fn a_fill_that_is_interrupted_leaves_nothing_behind() {
    let data = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    program.args(["bench", "--aged", "4000000", "--nats-server"]).arg(binary()).arg("--data").arg(data.path());
    let mut program = program.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let fills = |entry: std::fs::DirEntry| entry.path().join("data/log/1").exists();
    let began = std::time::Instant::now();
    while !std::fs::read_dir(data.path()).unwrap().flatten().any(fills) {
        assert!(began.elapsed() < PATIENCE, "nothing is filled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    signal(program.id(), "INT");
    assert_eq!(exit(&mut program).await.code(), Some(1));
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "something is left behind");
}

#[tokio::test]
async fn what_has_no_room_on_the_disk_is_not_begun() {
    let place = tempfile::tempdir().unwrap();
    let age = Age { events: u64::MAX, open: 0 };
    let configuration = place.path().join("switchboard.toml");
    let refused = aged::filled(place.path().join("data"), configuration, age, true).await.unwrap_err();
    assert!(refused.contains("bytes free") && refused.contains("--data DIR"), "{refused}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "something was begun");
}

#[tokio::test]
async fn a_table_shows_what_was_measured_and_what_was_left_out_is_named() {
    let data = tempfile::tempdir().unwrap();
    let table = bench(data.path(), &["--in-flight", "2", "--rate", "50", "--beside", "floor"]).await.well();
    for word in ["2 in flight", "50 a second", "of floor", "p99", "fdatasync"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    let faults = bench(data.path(), &["--in-flight", "0", "--beside", "tape", "--rate", "x"]).await;
    assert_eq!((faults.code, faults.err.lines().count()), (Some(64), 4), "{}", faults.err);
    let mut missing = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    missing.args(["bench", "--nats-server", "/no/such/server"]);
    let missing = run(missing).await;
    assert_eq!((missing.code, missing.err.contains("/no/such/server")), (Some(1), true), "{}", missing.err);
}
