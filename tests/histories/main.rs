//! Histories of real clients: they compete for a few conversations while service and server are killed, stopped and
//! started again; afterwards one order of all that they were told must explain it.
//!
//! `SWITCHBOARD_TEST_FAULTS` says how many faults (20), `SWITCHBOARD_TEST_SEED` from which seed, `SWITCHBOARD_BINARY`
//! which build of the program; `SWITCHBOARD_TEST_CUTS` how many power cuts (5, see `power.rs`). The history is kept in
//! `SWITCHBOARD_TEST_KEEP`, a directory, and judged again as `SWITCHBOARD_TEST_HISTORY`, a file.
//!
//! The long forms, on a release build and some minutes each:
//!
//! ```text
//! SWITCHBOARD_BINARY=target/release/switchboard SWITCHBOARD_TEST_FAULTS=200 cargo test --test histories one_order -- --nocapture
//! SWITCHBOARD_BINARY=target/release/switchboard SWITCHBOARD_TEST_CUTS=100 cargo test --test histories power -- --ignored --nocapture
//! ```

mod board;
mod checker;
mod clients;
mod commands;
mod disk;
mod history;
mod judge;
mod listings;
mod log;
#[path = "../common/metadata.rs"]
mod metadata;
#[allow(dead_code, missing_docs, reason = "not all of what it can tell is needed here")]
mod model;
mod nemesis;
mod order;
mod power;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/process.rs"]
mod process;
#[path = "../common/progress.rs"]
mod progress;
mod random;
mod reads;
mod rejections;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/server.rs"]
mod server;
mod site;
mod story;
mod streams;
mod tampered;
mod tampered_lists;
mod timeline;
mod wire;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use checker::Tally;
use clients::Clients;
use history::{Operation, digest_of_event};
use log::Decision;
use nemesis::Done;
use progress::Progress;
use random::Random;
use site::{PATIENCE, Site, ask, output};
use wire::Heard;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_explains_every_answer_whatever_was_killed() {
    live_through(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_explains_every_answer_and_the_streams_hold_every_event_once_whatever_was_killed() {
    live_through(true).await;
}

async fn live_through(is_jetstream: bool) {
    let faults = from_environment("SWITCHBOARD_TEST_FAULTS").unwrap_or(20);
    let seed = from_environment("SWITCHBOARD_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("SWITCHBOARD_TEST_SEED={seed}");
    let (mut random, progress) = (Random(seed), Progress::new());
    let mut site = Site::new(is_jetstream, None).await;
    let mut clients = Clients::start(&site, random.next(), 15).await;
    let mut done = nemesis::rage(&mut site, &mut clients, faults as usize, &mut random, &progress).await;
    if is_jetstream {
        // Filling the streams is heard again by who listens beside them; the order is that of the stream.
        done.breaks.connections = usize::MAX;
    }
    clients.stop().await;
    let served = served(&mut site).await;
    let kept = if is_jetstream { streams::events(&site, served.len()).await } else { served.clone() };
    wait_for_publication(&clients, &served, &done).await;
    clients.heard_until_now().await;
    assert_eq!(site.stop().await.code(), Some(0), "{}", site.log());
    output(&["verify"], &site.data).unwrap();
    let log = log::read(&output(&["export"], &site.data).unwrap());
    let exported: Vec<(u64, u64)> =
        log.iter().flat_map(Decision::numbered).map(|(seq, event)| (seq, event.digest)).collect();
    // A timer may have had a word since.
    assert!(exported.starts_with(&served), "query.log gives {} events, the export {}", served.len(), exported.len());
    assert!(kept.len() >= served.len(), "the stream holds {} events, query.log {}", kept.len(), served.len());
    assert!(exported.starts_with(&kept), "the stream holds {} events, the log {}", kept.len(), exported.len());
    let (operations, heard) = (clients.operations(), clients.wire().heard());
    keep(&operations, &log, &heard);
    let tally = judged(&operations, &log, &heard).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    let (missed, repeats) = wire::check(&heard, &log, done.breaks).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    let (tally, rejected) = tally;
    println!("{:?}\n{tally:#?}\n{rejected:?}", done.faults);
    println!(
        "{} publications, {repeats} of them repeats; {missed} events unheard; {} relays",
        heard.events.len(),
        heard.relays.len()
    );
    progress.end(&format!(
        "{faults} faults, {} requests, {} of them without answer, {} decisions, {} listings, {} rejections: nothing lost",
        tally.requests, tally.unknown, tally.decisions, tally.listings, rejected.published
    ));
    let is_much = tally.decisions > 100 && tally.unknown > 0 && tally.listings > 50 && rejected.surely > 50;
    assert!(is_much, "little was tried");
}

/// One order explains the answers, and what was heard of those that did not come.
fn judged(operations: &[Operation], log: &[Decision], heard: &Heard) -> Result<(Tally, rejections::Tally), String> {
    let (completed, rejected) = rejections::check(operations, log, &heard.rejections, &heard.spans)?;
    Ok((checker::check(&completed, log)?, rejected))
}

/// Every event as `query.log` gives it.
async fn served(site: &mut Site) -> Vec<(u64, u64)> {
    site.answering().await;
    let client = site.connect().await;
    let (mut events, mut from) = (Vec::new(), Some(1));
    while let Some(from_seq) = from {
        let page = ask(&client, "switchboard.query.log", json!({"from_seq": from_seq, "limit": 1000})).await;
        let rows = page["events"].as_array().expect("a page of events").iter();
        events.extend(rows.map(|event: &Value| (event["data"]["seq"].as_u64().unwrap_or(0), digest_of_event(event))));
        from = page["next_seq"].as_u64();
    }
    events
}

/// What is published last is on its way; where nothing was missed, all of it comes.
async fn wait_for_publication(clients: &Clients, served: &[(u64, u64)], done: &Done) {
    let began = Instant::now();
    let last = served.last().map(|(seq, _)| *seq);
    while clients.wire().heard().events.iter().map(|(seq, _)| *seq).max() < last {
        sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < PATIENCE, "event {last:?} is not published, after {done:?}");
    }
}

fn keep(operations: &[Operation], log: &[Decision], heard: &Heard) {
    let Ok(folder) = std::env::var("SWITCHBOARD_TEST_KEEP") else { return };
    let kept = Kept { operations: operations.to_vec(), log: log.to_vec(), heard: heard.clone() };
    let text = serde_json::to_string(&kept).expect("it is JSON");
    std::fs::write(format!("{folder}/history.json"), text).expect("the directory is there");
}

#[test]
fn a_kept_history_is_judged_again() {
    let Ok(file) = std::env::var("SWITCHBOARD_TEST_HISTORY") else { return };
    let text = std::fs::read_to_string(file).expect("a kept history");
    let kept: Kept = serde_json::from_str(&text).expect("a kept history");
    println!("{:#?}", judged(&kept.operations, &kept.log, &kept.heard).unwrap_or_else(|what| panic!("{what}")));
}

/// A history, what the log has of it, and what was published.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    operations: Vec<Operation>,
    log: Vec<Decision>,
    heard: Heard,
}

fn from_environment(name: &str) -> Option<u64> {
    let number = |text: String| text.parse().unwrap_or_else(|_| panic!("{name}: expected a number, got {text}"));
    std::env::var(name).ok().map(number)
}
