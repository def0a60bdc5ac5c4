//! A base read back as it was written, or refused; and a log that goes on behind one.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::log::conformance::group;
use crate::log::{Directory, DiskLog, Inspection, Log, Reader};

/// Groups that each fill a volume, and events of each.
const GROUPS: u64 = 5;
const EVENTS: u64 = 4;

fn open(path: &Path) -> Result<DiskLog, LogError> {
    DiskLog::open_with(Arc::new(Directory::open_or_create(path)?), 1)
}

fn refusal(path: &Path) -> String {
    open(path).err().expect("it is refused").to_string()
}

fn append(log: &mut DiskLog) {
    let head = log.reader().head();
    log.append(&group(&head, &[1; EVENTS as usize], head.last_at + 100), 0).unwrap();
}

/// A log of one group a volume.
fn log_of(groups: u64) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path()).unwrap();
    (0..groups).for_each(|_| append(&mut log));
    Box::new(log).close(0).unwrap();
    place
}

fn lines(count: u64) -> Vec<BaseLine> {
    (0..count)
        .map(|n| (format!("c-{:05}", n / 3), format!(r#"{{"n":{n},"x":"{}"}}"#, "y".repeat(200)).into()))
        .collect()
}

/// Writes the base of the log without its volumes up to that one. Nothing counts yet.
fn prepared(path: &Path, volume: u64) -> Head {
    prepared_with(path, volume, 2000)
}

fn prepared_with(path: &Path, volume: u64, count: u64) -> Head {
    let log = open(path).unwrap();
    let end = log.listed().unwrap().into_iter().find(|listed| listed.number == volume).unwrap().end;
    drop(log);
    let mut writer = BaseWriter::begin(&Directory::open(path).unwrap(), volume).unwrap();
    lines(count).iter().for_each(|(key, line)| writer.add(key, line).unwrap());
    writer.finish(&end, false).unwrap();
    end
}

fn commit(path: &Path) {
    Directory::open(path).unwrap().begin_with_base().unwrap();
}

fn walked(reader: &Reader) -> Result<Head, Fault> {
    let mut head = reader.beginning();
    reader.frames(1).try_for_each(|frame| head.follow(&frame?))?;
    Ok(head)
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.join("log")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !["next", "ahead"].contains(&name.as_str()));
    names.sort();
    names
}

fn copied(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to.path()).status();
    assert!(copied.unwrap().success());
    to
}

#[test]
fn a_log_goes_on_where_its_base_ends() {
    let place = log_of(GROUPS);
    let whole = open(place.path()).unwrap().reader().head();
    let end = prepared(place.path(), 2);
    commit(place.path());
    let mut log = open(place.path()).unwrap();
    let reader = log.reader();
    assert_eq!((reader.beginning(), reader.head()), (end.clone(), whole.clone()));
    assert_eq!(walked(&reader), Ok(whole));
    assert_eq!(names(place.path()), ["3", "3.json", "4", "4.json", "5", "base.2.zst", "base.json"]);
    let first = 2 * EVENTS + 1;
    assert_eq!((reader.first_seq(), reader.first_number()), (first, 3));
    assert_eq!((reader.frame_of_seq(first - 1), reader.frame_of_seq(first)), (Ok(None), Ok(Some(3))));
    assert_eq!(reader.frame(2).unwrap_err().problem, Problem::Removed(first));
    assert_eq!((reader.hash_after(2), reader.hash_after(1)), (Ok(Some(end.hash)), Ok(None)));
    assert_eq!((reader.frame_at(end.last_at), reader.frame_at(u64::MAX)), (Ok(None), Ok(Some(GROUPS))));
    append(&mut log);
    assert_eq!(walked(&reader), Ok(reader.head()));
}

#[test]
fn what_is_kept_in_a_base_is_found_by_key_and_in_order() {
    let place = log_of(2);
    prepared(place.path(), 1);
    commit(place.path());
    let reader = open(place.path()).unwrap().reader();
    let base = reader.base().unwrap();
    assert!(base.pieces() > 3 && base.count() == 2000);
    assert_eq!(base.check(), Ok(()));
    let expected = lines(2000);
    assert_eq!(base.lines().collect::<Result<Vec<_>, _>>().unwrap(), expected);
    for (key, _) in expected.iter().step_by(7) {
        let under: Vec<_> = expected.iter().filter(|(of, _)| of == key).map(|(_, line)| line.clone()).collect();
        assert_eq!(base.get(key).unwrap(), under, "{key}");
    }
    for key in ["", "a", "c-00000x", "c-99999"] {
        assert!(base.get(key).unwrap().is_empty());
    }
}

#[test]
fn lines_that_are_none_are_refused() {
    let place = log_of(2);
    let mut writer = BaseWriter::begin(&Directory::open(place.path()).unwrap(), 1).unwrap();
    writer.add("b", b"{}").unwrap();
    for (key, line) in [("a", "{}"), ("c d", "{}"), ("", "{}"), ("c", "{\n}"), ("c", "text")] {
        assert!(writer.add(key, line.as_bytes()).is_err(), "{key:?} {line:?}");
    }
    let long = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
    let refused = writer.add("c", long(LINE_BYTES_MAX + 1).as_bytes()).unwrap_err().to_string();
    assert!(refused.contains("4194305 bytes under c, expected 4194304 at most"), "{refused}");
    writer.add("c", long(LINE_BYTES_MAX).as_bytes()).unwrap();
}

/// What a disk keeps otherwise than it was written is found while the volumes are still there.
#[test]
fn a_base_that_does_not_read_back_is_not_noted_and_leaves_nothing() {
    let place = log_of(2);
    let (all, end) = (names(place.path()), open(place.path()).unwrap().reader().head());
    let file = place.path().join("log/base.1.zst");
    let written = |damage: &dyn Fn(&Path)| {
        let mut writer = BaseWriter::begin(&Directory::open(place.path()).unwrap(), 1).unwrap();
        lines(2000).iter().for_each(|(key, line)| writer.add(key, line).unwrap());
        damage(&file);
        writer.finish(&end, false)
    };
    let refused = written(&|file| {
        let mut bytes = fs::read(file).unwrap();
        bytes[100] ^= 1;
        fs::write(file, bytes).unwrap();
    });
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("log/base.1.zst: the checksum does not match"), "{refused}");
    assert!(written(&|file| fs::remove_file(file).unwrap()).unwrap_err().to_string().contains("base.1.zst"));
    assert_eq!(names(place.path()), all);
    written(&|_| {}).unwrap();
    assert_eq!(names(place.path()).len(), all.len() + 2);
}

/// What a crash leaves between two steps of a removal, and what a start makes of it.
#[test]
fn a_removal_that_was_interrupted_is_undone_before_its_moment_and_done_after_it() {
    let place = log_of(GROUPS);
    let whole = open(place.path()).unwrap().reader().head();
    let all = names(place.path());
    let before = copied(place.path());
    let mut writer = BaseWriter::begin(&Directory::open(before.path()).unwrap(), 2).unwrap();
    writer.add("c", b"{}").unwrap();
    std::mem::forget(writer);
    fs::write(before.path().join("log/base.tmp"), "half").unwrap();
    let lines_only = copied(before.path());
    prepared(place.path(), 2);
    let noted = copied(place.path());
    for place in [&before, &lines_only, &noted] {
        let log = open(place.path()).unwrap();
        assert_eq!((walked(&log.reader()), log.reader().first_seq()), (Ok(whole.clone()), 1));
        drop(log);
        assert_eq!(names(place.path()), all, "nothing is left of it");
    }
    prepared(place.path(), 2);
    commit(place.path());
    let gone: [&[&str]; 5] = [&[], &["1/db"], &["1"], &["1", "1.json"], &["1", "1.json", "2"]];
    for gone in gone {
        let place = copied(place.path());
        for name in gone {
            let path = place.path().join("log").join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        let inspection = Inspection::open(Arc::new(Directory::open(place.path()).unwrap())).unwrap();
        assert_eq!(walked(inspection.reader()).unwrap(), whole, "looked at after {gone:?}");
        drop(inspection);
        let log = open(place.path()).unwrap();
        assert_eq!(walked(&log.reader()), Ok(whole.clone()), "after {gone:?}");
        drop(log);
        assert_eq!(names(place.path()), ["3", "3.json", "4", "4.json", "5", "base.2.zst", "base.json"]);
    }
}

/// The note of the next base takes the place of the one before: that is the moment.
#[test]
fn a_base_that_follows_another_counts_with_its_note() {
    let place = log_of(GROUPS);
    let whole = open(place.path()).unwrap().reader().head();
    prepared(place.path(), 1);
    commit(place.path());
    drop(open(place.path()).unwrap());
    let first = fs::read(place.path().join("log/base.json")).unwrap();
    let lines = fs::read(place.path().join("log/base.1.zst")).unwrap();
    prepared(place.path(), 3);
    let undone = copied(place.path());
    fs::write(undone.path().join("log/base.json"), &first).unwrap();
    for (place, first_frame) in [(&undone, 2), (&place, 4)] {
        assert_eq!(fs::read(place.path().join("log/base.1.zst")).unwrap(), lines);
        let log = open(place.path()).unwrap();
        assert_eq!((walked(&log.reader()), log.reader().first_number()), (Ok(whole.clone()), first_frame));
        drop(log);
        assert_eq!(names(place.path()).iter().filter(|name| name.ends_with(".zst")).count(), 1);
    }
}

/// Whoever copies a log piece by piece learns that old volumes were removed meanwhile.
#[test]
fn pieces_of_an_export_do_not_go_on_over_a_removal() {
    use crate::log::export::pieces::{NoPiece, Place, piece};
    let place = log_of(GROUPS);
    let reader = open(place.path()).unwrap().reader();
    let key = [7; 32];
    let middle = piece(&reader, &key, Place::begin(&reader), 1000).unwrap().next.unwrap();
    drop(reader);
    let mut before = middle;
    for volume in [2, 3] {
        prepared(place.path(), volume);
        commit(place.path());
        let reader = open(place.path()).unwrap().reader();
        for old in [middle, before] {
            assert_eq!(piece(&reader, &key, old, 1000), Err(NoPiece::Astray), "{old} without {volume}");
        }
        let (mut next, mut pieces) = (Some(Place::begin(&reader)), 0);
        while let Some(start) = next {
            assert_eq!(Place::parse(&start.to_string()), Some(start), "{start}");
            before = start;
            (next, pieces) = (piece(&reader, &key, start, 1000).unwrap().next, pieces + 1);
        }
        assert!(pieces > 5);
    }
}

/// What stands in `log` itself is the first volume of a log from before there were several.
#[test]
fn a_first_volume_beside_the_others_is_removed_too() {
    let place = log_of(3);
    for entry in fs::read_dir(place.path().join("log/1")).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), place.path().join("log").join(entry.file_name())).unwrap();
    }
    fs::remove_dir(place.path().join("log/1")).unwrap();
    prepared(place.path(), 1);
    commit(place.path());
    let log = open(place.path()).unwrap();
    assert_eq!(walked(&log.reader()), Ok(log.reader().head()));
    drop(log);
    assert_eq!(names(place.path()), ["2", "2.json", "3", "base.1.zst", "base.json"]);
}

#[test]
fn a_base_that_is_lost_or_of_another_log_is_refused_with_its_place() {
    let place = log_of(3);
    prepared(place.path(), 1);
    commit(place.path());
    drop(open(place.path()).unwrap());
    let other = log_of(3);
    prepared_with(other.path(), 1, 1990);
    commit(other.path());
    let file = |path: &Path, name: &str| path.join("log").join(name);
    for name in ["base.json", "base.1.zst"] {
        let lost = copied(place.path());
        fs::remove_file(file(lost.path(), name)).unwrap();
        assert!(refusal(lost.path()).contains(name), "{}", refusal(lost.path()));
        let swapped = copied(place.path());
        fs::copy(file(other.path(), name), file(swapped.path(), name)).unwrap();
        assert!(refusal(swapped.path()).contains(name), "{}", refusal(swapped.path()));
    }
}

/// A base of the same log that ends elsewhere than its first volume begins.
#[test]
fn a_base_that_the_first_volume_does_not_follow_is_refused_with_the_place() {
    let place = log_of(4);
    let mut end = prepared(place.path(), 1);
    end.hash[0] ^= 1;
    let mut writer = BaseWriter::begin(&Directory::open(place.path()).unwrap(), 1).unwrap();
    writer.add("c", b"{}").unwrap();
    writer.finish(&end, false).unwrap();
    commit(place.path());
    let all = names(place.path());
    let refused = refusal(place.path());
    assert!(refused.starts_with("frame 2, seq 5 in log/2/db: the hash of the entry before"), "{refused}");
    assert_eq!(names(place.path()), all, "nothing is taken away for a base that does not fit");
    let older = log_of(4);
    let end = prepared(older.path(), 1);
    let mut writer = BaseWriter::begin(&Directory::open(older.path()).unwrap(), 2).unwrap();
    writer.add("c", b"{}").unwrap();
    writer.finish(&end, false).unwrap();
    commit(older.path());
    let all = names(older.path());
    let refused = refusal(older.path());
    assert!(refused.contains("3.json") && refused.contains("expected 2 and 5"), "{refused}");
    assert_eq!(names(older.path()), all);
}

/// As when one file is restored from a copy that was made before the removal.
#[test]
fn with_older_metadata_a_log_with_a_base_is_refused_and_nothing_is_taken_away() {
    let place = log_of(GROUPS);
    let file = place.path().join("switchboard.json");
    let older = fs::read_to_string(&file).unwrap();
    prepared(place.path(), 2);
    commit(place.path());
    let whole = open(place.path()).unwrap().reader().head();
    let (newer, all) = (fs::read_to_string(&file).unwrap(), names(place.path()));
    fs::write(&file, &older).unwrap();
    for _ in 0..2 {
        let refused = refusal(place.path());
        assert!(refused.contains("log/base.json is there and switchboard.json has format 4, expected 5"), "{refused}");
        assert_eq!(names(place.path()), all);
    }
    let inspected = Inspection::open(Arc::new(Directory::open(place.path()).unwrap()));
    assert!(inspected.err().unwrap().to_string().contains("base.json is there"));
    // What the message says to do.
    let checksum = older.lines().find(|line| line.contains("\"checksum\"")).unwrap();
    let edited = older.replace("\"format\": 4", "\"format\": 5").replace(&format!(",\n{checksum}"), "");
    assert!(!edited.contains("checksum"));
    for metadata in [edited, newer] {
        fs::write(&file, metadata).unwrap();
        assert_eq!(walked(&open(place.path()).unwrap().reader()).as_ref(), Ok(&whole));
    }
}

#[test]
fn changed_bits_of_a_base_are_found() {
    let place = log_of(2);
    prepared(place.path(), 1);
    commit(place.path());
    drop(open(place.path()).unwrap());
    for name in ["base.json", "base.1.zst"] {
        let file = place.path().join("log").join(name);
        let bytes = fs::read(&file).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 60) {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            fs::write(&file, &changed).unwrap();
            let found = open(place.path()).map(|log| log.reader().base().unwrap().check());
            // White space between the fields of the note means nothing.
            let is_harmless = name == "base.json" && bytes[at].is_ascii_whitespace();
            assert!(is_harmless || !matches!(found, Ok(Ok(()))), "byte {at} of {name}");
        }
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&file, &bytes[..length]).unwrap();
            let found = open(place.path()).map(|log| log.reader().base().unwrap().check());
            assert!(length == bytes.len() - 1 && name == "base.json" || found.is_err(), "{length} bytes of {name}");
        }
        fs::write(&file, &bytes).unwrap();
    }
}
