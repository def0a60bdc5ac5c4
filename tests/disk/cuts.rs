//! The power fails on a disk that keeps what is not synced in any part and order: whatever was durable is there.
//!
//! A log is written by a program of its own, under strace, and written to further by another after that was killed. From
//! what they did to its files, disks are made as they may be found after a cut at some moment, and opened.
//! `SWITCHBOARD_TEST_RUNS` says how many; each goes by a seed.

mod disk;
mod record;

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use switchboard::log::{Directory, DiskLog, Draft, Hash, Head, Log};

use crate::random::{Dice, seeds};
use disk::Disk;
use record::{Call, Step, What};

/// Where the log is to be written, for the program that does so.
const PLACE: &str = "SWITCHBOARD_TEST_CUT_LOG";
/// How many wrote to it before.
const BEFORE: &str = "SWITCHBOARD_TEST_CUT_LOG_BEFORE";
/// How many do.
const PROGRAMS: u64 = 3;

/// How many disks are opened.
const RUNS: u64 = 40;

/// What the database calls a segment.
const SEGMENT_BYTES: usize = 8 << 20;

/// Bytes of lines, in groups: small ones one after the other; and long ones, of which each is written several times. The
/// last program writes more small ones, and no others.
fn groups(before: u64, dice: &mut Dice) -> Vec<Vec<usize>> {
    let (small, long) = if cfg!(feature = "small-volumes") { (60, 9_000) } else { (500, 100_000) };
    if before + 1 == PROGRAMS {
        return vec![vec![20]; 4 * small];
    }
    let mut groups: Vec<Vec<usize>> = (0..small).map(|_| vec![20 + dice.below(200) as usize]).collect();
    groups.push(vec![long; 32]);
    groups.extend((0..6).map(|_| vec![2 * long + dice.below(long as u64) as usize]));
    groups.push(vec![long / 2; 9]);
    groups
}

/// The program that is recorded: it says after each group how many frames are durable, and is killed in the end.
#[test]
#[ignore = "run by the test beside it"]
fn a_log_is_written() {
    let Some(place) = env::var_os(PLACE) else { return };
    let before = env::var(BEFORE).unwrap().parse().unwrap();
    let mut dice = Dice::new(before);
    let mut log = DiskLog::open(Arc::new(Directory::open_or_create(Path::new(&place)).unwrap())).unwrap();
    for lines in groups(before, &mut dice) {
        let head = log.reader().head();
        let drafts: Vec<Draft> =
            lines.iter().zip(head.next_seq..).map(|(bytes, seq)| draft(seq, *bytes, &mut dice)).collect();
        log.append(&drafts, 0).unwrap();
        // Whoever reads what is new has the database write it, here and there.
        let reader = log.reader();
        assert!(reader.frames(head.frames + 1).all(|frame| frame.is_ok()));
        println!("durable {}", reader.head().frames);
    }
    std::process::abort();
}

fn draft(first_seq: u64, bytes: usize, dice: &mut Dice) -> Draft {
    let text: String =
        (0..bytes).map(|_| (b'0' + dice.below(64) as u8) as char).map(|c| if c == '\\' { '/' } else { c }).collect();
    let line = format!(r#"{{"text":"{text}"}}"#).into();
    let conversation = "c".into();
    Draft {
        conversation,
        version: first_seq,
        first_seq,
        events: 1,
        at: 1,
        line,
        personal: Default::default(),
        salt: None,
    }
}

#[test]
fn whatever_a_disk_keeps_of_what_is_not_synced_all_that_was_durable_is_there() {
    let place = tempfile::tempdir().unwrap();
    // As strace names it.
    let place = place.path().canonicalize().unwrap();
    let (data, trace) = (place.join("data"), place.join("trace"));
    let mut steps = Vec::new();
    if !(0..PROGRAMS).all(|before| record(&data, before, &trace, &mut steps)) {
        return;
    }
    let whole = hashes(&data).unwrap();
    assert!(whole.len() > 60);
    assert_less_than_a_segment_is_unsynced(&steps, &data);
    for seed in seeds(1, RUNS) {
        let mut dice = Dice::new(seed);
        let (disk, durable) = lived_through(up_to_some_moment(&steps, &mut dice), &data);
        let found = place.join("found");
        disk.cut(&mut dice, &found);
        match hashes(&found) {
            Ok(hashes) => {
                assert!(
                    hashes.len() >= durable,
                    "seed {seed}: {durable} frames were durable, {} are there",
                    hashes.len()
                );
                assert_eq!(hashes, whole[..hashes.len()], "seed {seed}");
            }
            Err(error) => assert_eq!(durable, 0, "seed {seed}: {error}"),
        }
        std::fs::remove_dir_all(&found).unwrap();
    }
}

/// Were it more, the database could take a hole before it for written: then all of it is gone.
fn assert_less_than_a_segment_is_unsynced(steps: &[Step], data: &Path) {
    let mut disk = Disk::new(data);
    for step in steps {
        disk.step(step);
        if let Step::Begins(Call { what: What::Write(file, ..), .. }) = step
            && file.ends_with("db")
        {
            let unsynced = disk.unsynced(file);
            assert!(unsynced < SEGMENT_BYTES, "{unsynced} bytes of {} are not synced", file.display());
        }
    }
}

/// Takes in what the program does; false where nobody may look into processes, which is said.
fn record(data: &Path, before: u64, trace: &Path, steps: &mut Vec<Step>) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-xx", "-s", "33554432", "-e", "signal=none", "-e"]);
    strace.arg(format!("trace={}", record::CALLS)).arg("-o").arg(trace).arg(env::current_exe().unwrap());
    strace.args(["--exact", "cuts::a_log_is_written", "--ignored", "--nocapture"]);
    strace.env(PLACE, data).env(BEFORE, before.to_string());
    match strace.stdout(Stdio::null()).stderr(Stdio::piped()).output() {
        Ok(_) if data.join("log").exists() => {
            record::read(trace, data, steps);
            true
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            eprintln!("left out: strace may not look into processes ({})", said.trim());
            false
        }
        Err(error) => {
            eprintln!("left out: strace does not run ({error})");
            false
        }
    }
}

/// The steps up to some moment: for the most part one at which more happens than that a group is written ahead.
fn up_to_some_moment<'a>(steps: &'a [Step], dice: &mut Dice) -> &'a [Step] {
    let is_rare = |step: &Step| match step {
        Step::Begins(call) => !call.what.is_of(&["ahead", "log.reached"]),
        Step::Ends(_) => false,
    };
    let moment = dice.below(steps.len() as u64) as usize;
    let rare = steps[moment..].iter().position(is_rare).filter(|_| !dice.one_in(4));
    // Before it, while it is on its way, or after it.
    let moment = rare.map_or(moment, |further| moment + further + dice.below(3) as usize);
    &steps[..moment.min(steps.len())]
}

/// The disk then, and how many frames were durable.
fn lived_through(steps: &[Step], data: &Path) -> (Disk, usize) {
    let (mut disk, mut durable) = (Disk::new(data), 0);
    for step in steps {
        disk.step(step);
        if let Step::Begins(Call { what: What::Says(said), .. }) = step
            && let Some(frames) = said.trim().strip_prefix("durable ")
        {
            durable = frames.parse().unwrap();
        }
    }
    (disk, durable)
}

/// The hash after each frame, of a log that opens and reads to its end.
fn hashes(data: &Path) -> Result<Vec<Hash>, String> {
    let directory = Arc::new(Directory::open(data).map_err(|error| error.to_string())?);
    let log = DiskLog::open(directory).map_err(|error| error.to_string())?;
    let reader = log.reader();
    let mut head = Head::empty(reader.log_id());
    let hash = |frame: Result<_, _>| head.follow(&frame?).map(|()| head.hash);
    reader.frames(1).map(hash).collect::<Result<_, _>>().map_err(|error| error.to_string())
}
