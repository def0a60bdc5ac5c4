//! What was written ahead of the database, whatever a kill or a power cut leaves of both.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::conformance::{group, noisy};
use super::super::end::REACHED;
use super::super::{Directory, DiskLog, Fault, Head, Inspection, Log, LogError, Reader};
use super::{AHEAD_BYTES, FILE};

fn opened(path: &Path, bytes: u64) -> Result<DiskLog, LogError> {
    DiskLog::open_ahead(Arc::new(Directory::open_or_create(path)?), bytes)
}

fn append(log: &mut DiskLog, events: usize) {
    let head = log.reader().head();
    log.append(&group(&head, &vec![1; events], head.last_at), 0).unwrap();
}

/// The files as a kill at this moment would leave them.
fn killed(path: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(path, copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_folder(&path, &to),
            false => drop(fs::copy(&path, &to).unwrap()),
        }
    }
}

/// What tells a start how far the log reached.
fn forget_the_end(path: &Path) {
    fs::remove_file(path.join(REACHED)).unwrap();
}

fn ahead(path: &Path) -> std::path::PathBuf {
    path.join("log").join(FILE)
}

fn walked(reader: &Reader) -> Result<Head, Fault> {
    let mut head = Head::empty(reader.log_id());
    reader.frames(1).try_for_each(|frame| head.follow(&frame?))?;
    Ok(head)
}

#[test]
fn what_a_kill_leaves_holds_all_that_was_acknowledged_though_the_database_lacked_it() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), AHEAD_BYTES).unwrap();
    (1..=20).for_each(|events| append(&mut log, events));
    let left = killed(place.path());
    let without = killed(place.path());
    fs::remove_file(ahead(without.path())).unwrap();
    assert!(matches!(opened(without.path(), AHEAD_BYTES), Err(LogError::Shortened { .. })), "it counts");
    forget_the_end(without.path());
    assert_eq!(opened(without.path(), AHEAD_BYTES).unwrap().reader().head().frames, 0, "it was there alone");
    for _ in 0..3 {
        let log = opened(left.path(), AHEAD_BYTES).unwrap();
        assert_eq!(log.reader().head(), walked(&log.reader()).unwrap());
        assert_eq!(log.reader().head().frames, 20);
        // What it found is in the database before the file begins anew.
        let again = killed(left.path());
        assert_eq!(walked(&opened(again.path(), AHEAD_BYTES).unwrap().reader()).unwrap().frames, 20);
    }
}

#[test]
fn a_log_without_room_ahead_of_it_holds_all_that_was_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), 0).unwrap();
    for frames in 1..=5 {
        append(&mut log, 3);
        let left = killed(place.path());
        assert_eq!(walked(&opened(left.path(), 0).unwrap().reader()).unwrap().frames, frames);
    }
}

/// An older copy of the database, say: whoever puts the right one back has lost nothing.
#[test]
fn a_database_that_lacks_what_it_held_is_refused_and_what_stands_ahead_stays() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), AHEAD_BYTES).unwrap();
    append(&mut log, 1);
    let older = killed(place.path());
    drop(opened(older.path(), AHEAD_BYTES).unwrap());
    append(&mut log, 2);
    // Once in each half, so that nothing of before is left.
    for events in [3, 4] {
        log.sync().unwrap();
        append(&mut log, events);
    }
    for has_note in [true, false] {
        let left = killed(place.path());
        if !has_note {
            forget_the_end(left.path());
        }
        let put_back = |from: &Path| fs::copy(from.join("log/1/db"), left.path().join("log/1/db")).unwrap();
        put_back(older.path());
        for _ in 0..2 {
            let refused = opened(left.path(), AHEAD_BYTES).err().expect("it is refused").to_string();
            assert!(
                refused.contains("ends at frame 1, and log/ahead") && refused.contains("begins with 3"),
                "{refused}"
            );
        }
        put_back(place.path());
        assert_eq!(opened(left.path(), AHEAD_BYTES).unwrap().reader().head(), log.reader().head());
    }
}

#[test]
fn what_a_later_release_wrote_ahead_is_named_and_stays() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), AHEAD_BYTES).unwrap();
    append(&mut log, 1);
    let left = killed(place.path());
    let whole = fs::read(ahead(left.path())).unwrap();
    let mut later = whole.clone();
    later[3] = 9;
    let crc = crc32fast::hash(&later[..100]);
    later[100..104].copy_from_slice(&crc.to_be_bytes());
    fs::write(ahead(left.path()), &later).unwrap();
    let refused = opened(left.path(), AHEAD_BYTES).err().expect("it is refused").to_string();
    assert!(refused.contains("frame format 9"), "{refused}");
    assert_eq!(fs::read(ahead(left.path())).unwrap(), later);
}

#[test]
fn a_log_of_many_laps_holds_all_that_was_acknowledged_whenever_it_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), 6_000).unwrap();
    for n in 1..=60 {
        let head = log.reader().head();
        match n % 20 {
            0 => drop(log.append(&[noisy(&head, head.last_at, 500)], 0).unwrap()),
            7 => drop(log.append(&[noisy(&head, head.last_at, 100)], 0).unwrap()),
            _ => append(&mut log, n as usize % 5 + 1),
        }
        let left = killed(place.path());
        forget_the_end(left.path());
        let found = opened(left.path(), 6_000).unwrap().reader();
        assert_eq!(found.head(), log.reader().head(), "after group {n}");
        assert_eq!(walked(&found).unwrap(), found.head());
    }
}

/// As it was written before there were halves.
#[test]
fn a_lap_that_goes_on_behind_the_middle_holds_all_that_was_acknowledged() {
    const BYTES: u64 = 12_000;
    let frames = |half: &[u8]| {
        let (mut rest, mut frames) = (half, Vec::new());
        while let Some((_, bytes, after)) = super::next(rest).unwrap() {
            frames.extend_from_slice(bytes);
            rest = after;
        }
        frames
    };
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), BYTES).unwrap();
    let lap = loop {
        append(&mut log, 2);
        let written = fs::read(ahead(place.path())).unwrap();
        let (first, second) = written.split_at(written.len() / 2);
        let mut lap = [frames(first), frames(second)].concat();
        if lap.len() > written.len() * 3 / 4 {
            lap.resize(written.len(), 0);
            break lap;
        }
    };
    let left = killed(place.path());
    forget_the_end(left.path());
    fs::write(ahead(left.path()), lap).unwrap();
    assert_eq!(walked(&opened(left.path(), BYTES).unwrap().reader()).unwrap(), log.reader().head());
}

/// Half of a group may be there, or its end and not its beginning, or what stood there before.
#[test]
fn what_was_written_by_half_ends_the_log_before_it() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), AHEAD_BYTES).unwrap();
    let mut heads = vec![log.reader().head()];
    for events in 1..=6 {
        append(&mut log, events);
        heads.push(log.reader().head());
    }
    let left = killed(place.path());
    forget_the_end(left.path());
    let whole = fs::read(ahead(left.path())).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut found_heads = Vec::new();
    for at in (0..end).step_by(37) {
        for (from, byte) in [(at, 0), (at, 0x5a)] {
            let copy = killed(left.path());
            let mut damaged = whole.clone();
            damaged[from..(from + 64).min(end)].fill(byte);
            fs::write(ahead(copy.path()), damaged).unwrap();
            let found = opened(copy.path(), AHEAD_BYTES).unwrap().reader();
            assert!(heads.contains(&found.head()), "damage at {at} reads as something else");
            assert_eq!(walked(&found).unwrap(), found.head());
            found_heads.push(found.head().frames);
        }
    }
    assert!(found_heads.is_sorted());
    found_heads.dedup();
    assert_eq!(found_heads, [0, 1, 2, 3, 4, 5], "what stands before the damage is there");
}

/// The numbers go on, the history is another.
#[test]
fn what_another_log_wrote_ahead_is_not_put_in() {
    let logs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for place in &logs {
        let mut log = opened(place.path(), AHEAD_BYTES).unwrap();
        append(&mut log, 3);
        Box::new(log).close(0).unwrap();
    }
    let mut log = opened(logs[0].path(), AHEAD_BYTES).unwrap();
    append(&mut log, 2);
    fs::copy(ahead(killed(logs[0].path()).path()), ahead(logs[1].path())).unwrap();
    let other = opened(logs[1].path(), AHEAD_BYTES).unwrap();
    assert_eq!((other.reader().head().frames, walked(&other.reader()).unwrap()), (1, other.reader().head()));
}

#[test]
fn after_a_stop_the_database_alone_is_the_log() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), AHEAD_BYTES).unwrap();
    append(&mut log, 3);
    let head = log.reader().head();
    Box::new(log).close(0).unwrap();
    let written = fs::read(ahead(place.path())).unwrap();
    assert_eq!((written.len() as u64, &written[..8]), (AHEAD_BYTES, &[0; 8][..]));
    fs::remove_file(ahead(place.path())).unwrap();
    assert_eq!(opened(place.path(), AHEAD_BYTES).unwrap().reader().head(), head);
}

#[test]
fn who_looks_through_what_a_kill_left_sees_what_was_written_last() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), AHEAD_BYTES).unwrap();
    (1..=5).for_each(|events| append(&mut log, events));
    let left = killed(place.path());
    for _ in 0..2 {
        let inspection = Inspection::open(Arc::new(Directory::open(left.path()).unwrap())).unwrap();
        assert!(inspection.reader().before_fault().is_none());
        assert_eq!(walked(inspection.reader()).unwrap(), log.reader().head());
    }
    assert_eq!(opened(left.path(), AHEAD_BYTES).unwrap().reader().head(), log.reader().head());
}

/// Its numbers are those of frames that stand in a sealed volume.
#[test]
fn what_was_written_ahead_of_a_volume_that_is_sealed_is_in_it() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), AHEAD_BYTES).unwrap();
    append(&mut log, 3);
    // As long as somebody has it, it is not closed, which would write it.
    let _held = log.volumes().last().unwrap();
    log.seal().unwrap();
    for _ in 0..2 {
        let left = killed(place.path());
        assert_eq!(walked(&opened(left.path(), AHEAD_BYTES).unwrap().reader()).unwrap(), log.reader().head());
        append(&mut log, 1);
    }
}
