//! The journal on a file and on a simulated one: whatever happens to its end, it is what it was at a mark.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::SimulatedCache;
use super::super::medium::Medium;
use super::super::tape::TapeFile;
use super::*;

type Model = BTreeMap<String, Vec<u8>>;

/// So little that it is rewritten every few rounds.
const LATER_BYTES_MIN: u64 = 1 << 10;

fn mark(frame: u64) -> Mark {
    Mark { frame, hash: [frame as u8; 32] }
}

fn at(folder: &Path) -> (Journal, Option<Mark>) {
    Journal::open(Box::new(TapeFile::open(folder).unwrap().with_later_bytes_min(LATER_BYTES_MIN))).unwrap()
}

fn rows(journal: &Journal) -> Vec<(String, Vec<u8>)> {
    let mut rows = journal.rows().unwrap();
    let mut found = Vec::new();
    while let Some((id, head)) = rows.next().unwrap() {
        found.push((id.to_owned(), head.to_vec()));
    }
    found
}

fn is(journal: &Journal, model: &Model) -> bool {
    rows(journal) == model.clone().into_iter().collect::<Vec<_>>()
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A round of changes, as a keeper makes them.
fn change(journal: &mut Journal, model: &mut Model, dice: &mut Dice) {
    for _ in 0..dice.below(12) {
        let id = format!("c{}", dice.below(30));
        if dice.below(3) == 0 {
            journal.is_gone(&id).unwrap();
            model.remove(&id);
        } else {
            let head = vec![dice.below(256) as u8; dice.below(90) as usize];
            journal.open_is(&id, &head).unwrap();
            model.insert(id, head);
        }
    }
}

fn round(journal: &mut Journal, model: &mut Model, dice: &mut Dice, frame: u64) {
    journal.begin().unwrap();
    change(journal, model, dice);
    journal.commit(mark(frame)).unwrap();
    journal.tidy().unwrap();
}

/// A journal that was rewritten, and of the rounds since how long it was, which it was, and what it held.
fn written() -> (TempDir, Vec<(u64, u64, Model)>) {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = at(folder.path());
    let (mut model, mut dice) = (Model::new(), Dice(1));
    let mut ends: Vec<(u64, u64, Model)> = Vec::new();
    for frame in 1.. {
        round(&mut journal, &mut model, &mut dice, frame);
        if journal.end.bytes < ends.last().map_or(0, |(bytes, ..)| *bytes) {
            ends.clear();
        }
        ends.push((journal.end.bytes, frame, model.clone()));
        if journal.sorted.bytes > 0 && ends.len() == 3 {
            break;
        }
    }
    (folder, ends)
}

fn copy(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("open");
    fs::write(&file, bytes).unwrap();
    (folder, file)
}

#[test]
fn the_last_word_on_each_counts_however_often_it_is_rewritten_and_opened() {
    let simulated = SimulatedCache::default();
    let folder = tempfile::tempdir().unwrap();
    let opens: [&dyn Fn() -> (Journal, Option<Mark>); 2] =
        [&|| at(folder.path()), &|| Journal::open(simulated.attach().unwrap().1).unwrap()];
    for open in opens {
        let (mut journal, found) = open();
        assert_eq!(found, None);
        let (mut model, mut dice, mut shrunk) = (Model::new(), Dice(7), 0);
        for frame in 1..300 {
            let before = journal.end.bytes;
            round(&mut journal, &mut model, &mut dice, frame);
            shrunk += u64::from(journal.end.bytes < before);
            assert!(journal.end.bytes < 12_000, "it grows though it holds little: {}", journal.end.bytes);
            if dice.below(4) == 0 {
                let (again, found) = open();
                assert_eq!(found, Some(mark(frame)));
                assert_eq!((again.sorted, again.end), (journal.sorted, journal.end));
                journal = again;
            }
            assert!(is(&journal, &model), "after round {frame}");
        }
        assert!(shrunk > 10, "it was rewritten {shrunk} times");
    }
}

#[test]
fn cut_off_anywhere_it_is_what_it_was_at_the_last_mark_before_and_goes_on_from_there() {
    let (folder, ends) = written();
    let bytes = fs::read(folder.path().join("open")).unwrap();
    for cut in 0..=bytes.len() {
        let (folder, file) = copy(&bytes[..cut]);
        let (mut journal, found) = at(folder.path());
        let before = ends.iter().rev().find(|(end, ..)| *end <= cut as u64);
        assert_eq!(found.map(|mark| mark.frame), before.map(|(_, frame, _)| *frame), "cut at {cut}");
        let mut model = before.map(|(.., model)| model.clone()).unwrap_or_default();
        assert!(is(&journal, &model), "cut at {cut}");
        round(&mut journal, &mut model, &mut Dice(cut as u64), 99);
        let (again, found) = at(folder.path());
        assert_eq!(found.map(|mark| mark.frame), Some(99), "cut at {cut}");
        assert!(is(&again, &model), "cut at {cut}");
        assert_eq!(fs::metadata(file).unwrap().len(), again.end.bytes, "nothing is left behind the mark");
    }
}

#[test]
fn a_bit_that_turns_anywhere_takes_away_what_comes_behind_and_nothing_else() {
    let (folder, ends) = written();
    let mut bytes = fs::read(folder.path().join("open")).unwrap();
    for place in 0..bytes.len() {
        bytes[place] ^= 1 << (place % 8);
        let (folder, _) = copy(&bytes);
        bytes[place] ^= 1 << (place % 8);
        let (journal, found) = at(folder.path());
        let before = ends.iter().rev().find(|(end, ..)| *end <= place as u64);
        assert_eq!(found.map(|mark| mark.frame), before.map(|(_, frame, _)| *frame), "a bit at {place}");
        assert!(is(&journal, &before.map(|(.., model)| model.clone()).unwrap_or_default()), "a bit at {place}");
    }
}

#[test]
fn a_record_that_is_whole_and_not_in_its_place_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = at(folder.path());
    let mut places = vec![0];
    for frame in 1..=4 {
        journal.begin().unwrap();
        journal.open_is("c1", b"the same each time").unwrap();
        journal.commit(mark(frame)).unwrap();
        places.push(journal.end.bytes as usize);
    }
    let bytes = fs::read(folder.path().join("open")).unwrap();
    // The second round is gone, and the others moved up; or it stands there twice.
    let gone = [&bytes[..places[1]], &bytes[places[2]..]].concat();
    let twice = [&bytes[..places[2]], &bytes[places[1]..]].concat();
    for (bytes, frame) in [(gone, 1), (twice, 2)] {
        let (folder, _) = copy(&bytes);
        assert_eq!(at(folder.path()).1, Some(mark(frame)));
    }
}

#[test]
fn what_is_damaged_after_it_was_opened_is_told_of_and_not_written_again() {
    let (folder, _) = written();
    let (mut journal, _) = at(folder.path());
    let file = folder.path().join("open");
    let mut bytes = fs::read(&file).unwrap();
    bytes[20] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mut rows = journal.rows().unwrap();
    assert!(std::iter::from_fn(|| rows.next().map(|row| row.map(drop)).transpose()).any(|row| row.is_err()));
    let (mut model, mut dice) = (Model::new(), Dice(1));
    let failed = (100..140).find_map(|frame| {
        journal.begin().unwrap();
        change(&mut journal, &mut model, &mut dice);
        journal.commit(mark(frame)).unwrap();
        journal.tidy().err()
    });
    assert!(failed.is_some_and(|why| why.contains("checksum")));
}

#[test]
fn a_round_that_fails_is_never_marked_by_a_later_one() {
    let (folder, ends) = written();
    let (mut journal, _) = at(folder.path());
    journal.begin().unwrap();
    journal.open_is("half", &vec![1; 2 << 20]).unwrap();
    assert!(journal.begin().is_err());
    let (mut journal, found) = at(folder.path());
    let (_, frame, model) = ends.last().unwrap();
    assert_eq!(found, Some(mark(*frame)));
    let mut model = model.clone();
    round(&mut journal, &mut model, &mut Dice(3), 50);
    let (journal, found) = at(folder.path());
    assert_eq!(found, Some(mark(50)));
    assert!(is(&journal, &model), "what was half written is not there");
}

#[test]
fn what_a_kill_left_of_a_rewriting_goes() {
    let (folder, ends) = written();
    fs::write(folder.path().join("open.next"), fs::read(folder.path().join("open")).unwrap().split_at(100).0).unwrap();
    let (journal, _) = at(folder.path());
    assert!(is(&journal, &ends.last().unwrap().2));
    assert!(!folder.path().join("open.next").exists());
}

#[test]
fn a_disk_without_room_says_so_and_the_rounds_before_stay() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join("open")).unwrap();
    let (mut journal, _) = at(folder.path());
    journal.begin().unwrap();
    journal.open_is("c1", b"one").unwrap();
    let why = journal.commit(mark(1)).unwrap_err();
    assert!(why.contains("No space left"), "{why}");
    assert!(journal.begin().is_err(), "nothing is added behind what may be half there");
}

#[test]
fn a_rewriting_for_which_there_is_no_room_is_left_and_the_present_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // A folder stands where the other file would be made.
    let (mut journal, _) = at(folder.path());
    fs::create_dir(folder.path().join("open.next")).unwrap();
    let (mut model, mut dice) = (Model::new(), Dice(5));
    for frame in 1..60 {
        round(&mut journal, &mut model, &mut dice, frame);
        assert!(is(&journal, &model));
    }
    assert_eq!(journal.sorted, Point::default(), "it was never rewritten");
    fs::remove_dir(folder.path().join("open.next")).unwrap();
    for frame in 60..90 {
        round(&mut journal, &mut model, &mut dice, frame);
    }
    assert!(journal.sorted.bytes > 0 && is(&journal, &model));
}

/// The same conversations again and again: nearly all of it is out of date.
fn rounds_over(journal: &mut Journal, frames: std::ops::Range<u64>) {
    for frame in frames {
        journal.begin().unwrap();
        (0..10).for_each(|n| journal.open_is(&format!("c{n}"), &[frame as u8; 200]).unwrap());
        journal.commit(mark(frame)).unwrap();
        journal.tidy().unwrap();
    }
}

#[test]
fn a_rewriting_needs_room_for_what_is_left_of_it_and_no_more() {
    let simulated = SimulatedCache::default();
    let (mut journal, _) = Journal::open(simulated.attach().unwrap().1).unwrap();
    simulated.leave_room(Some(0));
    rounds_over(&mut journal, 1..40);
    let (whole, live) = (journal.end.bytes, journal.live_bytes().unwrap());
    assert!(journal.sorted.bytes == 0 && whole > 30 * live, "it grows where there is no room");
    for (room, is_enough) in [(live - 1, false), (live, true)] {
        simulated.leave_room(Some(room));
        journal.failed_at = 0;
        journal.tidy().unwrap();
        assert_eq!(journal.end.bytes == live, is_enough, "room for {room}, {live} are left");
    }
    assert_eq!(rows(&journal).len(), 10);
}

/// A disk that gives up.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::from_raw_os_error(5))
    }
}

#[test]
fn why_it_ends_is_told_and_a_broken_disk_is_not_taken_for_a_torn_end() {
    let (folder, ends) = written();
    let bytes = fs::read(folder.path().join("open")).unwrap();
    let (first, length) = (ends[0].0 as usize, bytes.len() as u64);
    let until = |rest: Box<dyn Read + Send>, length| {
        let reader = std::io::Cursor::new(bytes[..first + 4].to_vec()).chain(rest);
        let (last, why) = last_mark(&mut Records::new(Box::new(reader), Point::default(), length));
        (last.mark, why)
    };
    let (found, why) = until(Box::new(Broken), length);
    assert_eq!(found, Some(mark(ends[0].1)));
    assert!(why.contains("os error 5"), "{why}");
    let (found, why) = until(Box::new(std::io::empty()), first as u64 + 4);
    assert_eq!(found, Some(mark(ends[0].1)));
    assert!(!why.contains("os error"), "{why}");
    let (_, why) = last_mark(&mut Records::new(Box::new(&b""[..]), Point::default(), 0));
    assert_eq!(why, "no mark follows");
}
