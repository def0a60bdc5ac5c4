//! `bench`: it measures the real service, counts what it counts, and leaves nothing behind.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Ran, run, run_within};
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
