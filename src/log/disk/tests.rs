//! Appended, killed, opened again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::conformance::{group, noisy};
use super::super::reader::Head;
use super::*;

const CHILD: &str = "SWITCHBOARD_TEST_LOG";
const VOLUME: &str = "SWITCHBOARD_TEST_LOG_VOLUME";

fn open(path: &Path) -> DiskLog {
    DiskLog::open(Arc::new(Directory::open_or_create(path).unwrap())).unwrap()
}

fn verified(log: &DiskLog) -> Head {
    let mut head = Head::empty(log.reader.log_id());
    log.reader.frames(1).for_each(|frame| head.follow(&frame.unwrap()).unwrap());
    head
}

/// Runs only as a child process of the test below: appends until it is killed, and says what was acknowledged.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let volume_bytes = std::env::var(VOLUME).unwrap().parse().unwrap();
    let directory = Arc::new(Directory::open_or_create(Path::new(&path)).unwrap());
    let mut log = DiskLog::open_with(directory, volume_bytes).unwrap();
    loop {
        let head = log.reader.head();
        let drafts = group(&head, &[2; 40], head.last_at);
        log.append(&drafts, 0).unwrap();
        println!("acknowledged {}", log.reader.head().next_seq);
    }
}

#[test]
fn a_killed_writer_leaves_all_that_it_acknowledged() {
    kill_writers(VOLUME_BYTES, 5);
}

#[test]
fn a_writer_killed_while_it_changes_volumes_leaves_all_that_it_acknowledged() {
    assert!(kill_writers(4_000, 8).volumes.sealed().len() > 3);
}

fn kill_writers(volume_bytes: u64, rounds: usize) -> DiskLog {
    let place = tempfile::tempdir().unwrap();
    let mut known = 1;
    for round in 1..=rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log::disk::tests::child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD, place.path())
            .env(VOLUME, volume_bytes.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // libtest writes its own words before the first of ours, on the same line.
        let acknowledged = |line: String| line.split_once("acknowledged ")?.1.parse().ok();
        known = lines.filter_map(acknowledged).nth(round * 3).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let log = open(place.path());
        assert!(log.reader.head().next_seq >= known, "round {round}");
        assert_eq!(verified(&log), log.reader.head());
    }
    assert!(known > 400);
    open(place.path())
}

#[test]
fn nothing_is_written_beside_the_synced_file() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path());
    for n in 0..60 {
        log.append(&[noisy(&log.reader.head(), n, 8_000)], 0).unwrap();
    }
    drop(log);
    let log = open(place.path());
    assert_eq!(verified(&log).next_seq, 61);
    assert_eq!(fs::read_dir(place.path().join("log/1/blobs")).unwrap().count(), 0);
}

#[test]
fn an_interrupted_open_does_not_spoil_the_next() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path());
    log.append(&group(&log.reader.head(), &[1; 3], 1), 0).unwrap();
    drop(log);
    fs::write(place.path().join("log/1/snap.00000000FFFFFFFF.generating"), b"half").unwrap();
    assert_eq!(open(place.path()).reader.head().next_seq, 4);
}

#[test]
fn a_damaged_database_is_an_error_and_no_panic() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path());
    for n in 0..20 {
        log.append(&group(&log.reader.head(), &[1; 100], n * 100), 0).unwrap();
    }
    let whole = log.reader.head();
    Box::new(log).close(0).unwrap();
    let file = place.path().join("log/1/db");
    let bytes = fs::read(&file).unwrap();
    for at in [10, bytes.len() / 5, bytes.len() / 4, bytes.len() / 3, bytes.len() / 2] {
        let mut damaged = bytes.clone();
        damaged[at..at + 64].fill(0x5a);
        fs::write(&file, &damaged).unwrap();
        let directory = Arc::new(Directory::open(place.path()).unwrap());
        let Ok(log) = DiskLog::open(directory) else { continue };
        let mut head = Head::empty(log.reader.log_id());
        let fault = log.reader.frames(1).find_map(|frame| frame.and_then(|frame| head.follow(&frame)).err());
        assert!(
            fault.is_some() || head.frames < whole.frames || head == whole,
            "damage at {at} reads as something else"
        );
    }
}

#[test]
fn a_log_without_its_end_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path());
    log.append(&group(&log.reader.head(), &[1; 3], 1), 0).unwrap();
    Box::new(log).close(0).unwrap();
    let database = sled::Config::new()
        .path(place.path().join("log/1"))
        .segment_size(super::super::store::SEGMENT_BYTES as usize)
        .open()
        .unwrap();
    database.remove(1u64.to_be_bytes()).unwrap();
    drop(database);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let directory = || Arc::new(Directory::open(place.path()).unwrap());
    assert!(matches!(DiskLog::open(directory()), Err(LogError::Shortened { .. })));
    fs::remove_file(place.path().join("log.json")).unwrap();
    assert_eq!(DiskLog::open(directory()).unwrap().reader.head().frames, 0);
}

#[test]
fn what_stands_after_a_failed_write_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path());
    log.append(&group(&log.reader.head(), &[1], 1), 0).unwrap();
    log.stopped = true;
    let drafts = group(&log.reader.head(), &[1], 2);
    assert!(matches!(log.append(&drafts, 0), Err(LogError::Stopped)));
    assert_eq!(log.reader.frames(1).count(), 1, "readers go on");
    assert!(matches!(Box::new(log).close(9), Err(LogError::Stopped)));
}
