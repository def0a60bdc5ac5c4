//! One kit of tests, run against every engine: what a log promises, from outside.

mod damage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tempfile::TempDir;
use uuid::Uuid;

use super::{Directory, DiskLog, Draft, Entry, Head, Log, LogError, MemoryLog, Outcome, Reader, SimulatedDisk};

/// A place where logs of one engine are opened, one after the other.
trait Bench {
    fn new() -> Self;
    fn open(&self) -> Box<dyn Log>;
}

struct OnDisk(TempDir);

impl Bench for OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Box<dyn Log> {
        let directory = Directory::open_or_create(self.0.path()).unwrap();
        Box::new(DiskLog::open(Arc::new(directory)).unwrap())
    }
}

/// The same in volumes of a frame or two.
struct InVolumes(TempDir);

impl Bench for InVolumes {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Box<dyn Log> {
        let directory = Directory::open_or_create(self.0.path()).unwrap();
        Box::new(DiskLog::open_with(Arc::new(directory), 1).unwrap())
    }
}

struct InMemory(SimulatedDisk);

impl Bench for InMemory {
    fn new() -> Self {
        Self(SimulatedDisk::default())
    }

    fn open(&self) -> Box<dyn Log> {
        Box::new(MemoryLog::open(&self.0, Uuid::nil()).unwrap())
    }
}

macro_rules! for_every_engine {
    ($($test:ident)*) => {
        mod disk {
            $(#[test] fn $test() { super::$test::<super::OnDisk>() })*
        }
        mod volumes {
            $(#[test] fn $test() { super::$test::<super::InVolumes>() })*
        }
        mod memory {
            $(#[test] fn $test() { super::$test::<super::InMemory>() })*
        }
    };
}

for_every_engine! {
    what_is_appended_is_read_again
    an_empty_log_has_a_head_and_nothing_else
    a_reopened_log_goes_on_where_it_ended
    the_chain_verifies_from_the_empty_head
    outcomes_say_where_each_entry_stands
    long_entries_come_back_whole
    events_are_found_by_seq
    frames_are_found_by_time
    notes_take_no_seq
    published_through_never_goes_back
    drafts_that_do_not_fit_are_refused_and_nothing_is_written
    redacted_entries_are_taken_with_their_hash
    readers_follow_the_writer
    whoever_stands_back_is_asked_to_before_each_frame
}

/// A decision with a personal value, with enough text that a few dozen fill a frame.
pub fn draft(head: &Head, events: u32, at: u64) -> Draft {
    let noise = uuid::Uuid::new_v4();
    let front = format!(r#"{{"seq":{},"noise":"{noise}","padding":"{}","user":"#, head.next_seq, "x".repeat(700));
    let user = format!(r#""user-{noise}""#);
    let personal = front.len() as u32..(front.len() + user.len()) as u32;
    Draft {
        conversation: "c-1".into(),
        version: 0,
        first_seq: head.next_seq,
        events,
        at,
        line: format!("{front}{user}}}").into(),
        personal: [personal].into_iter().collect(),
        salt: Some(*noise.as_bytes()),
    }
}

/// A draft of so many random ids in hex, which compress to half.
pub fn noisy(head: &Head, at: u64, ids: usize) -> Draft {
    let noise: String = (0..ids).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    Draft { line: format!(r#"{{"noise":"{noise}"}}"#).into(), personal: Default::default(), ..draft(head, 1, at) }
}

/// A group of drafts that follow one another.
pub fn group(head: &Head, events: &[u32], at: u64) -> Vec<Draft> {
    let mut head = head.clone();
    let make = |(n, &events): (usize, &u32)| {
        let draft = draft(&head, events, at + n as u64);
        head.next_seq += u64::from(events);
        draft
    };
    events.iter().enumerate().map(make).collect()
}

fn append(log: &mut dyn Log, events: &[u32], at: u64) -> Vec<Draft> {
    let drafts = group(&log.reader().head(), events, at);
    log.append(&drafts, 0).unwrap();
    drafts
}

fn entries(reader: &Reader) -> Vec<Entry> {
    reader.frames(1).flat_map(|frame| frame.unwrap().entries).collect()
}

fn same(entry: &Entry, draft: &Draft) -> bool {
    (entry.first_seq, entry.events, entry.at, entry.salt) == (draft.first_seq, draft.events, draft.at, draft.salt)
        && entry.line == draft.line
        && entry.personal == draft.personal.as_slice()
}

fn what_is_appended_is_read_again<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    let mut drafts = append(&mut *log, &[2; 100], 1000);
    drafts.extend(append(&mut *log, &[1], 2000));
    let read = entries(&log.reader());
    assert_eq!(read.len(), drafts.len());
    assert!(read.iter().zip(&drafts).all(|(entry, draft)| same(entry, draft)));
    assert!(log.reader().head().frames >= 3, "one frame holds too much");
}

fn an_empty_log_has_a_head_and_nothing_else<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    let reader = log.reader();
    assert_eq!(reader.head(), Head::empty(reader.log_id()));
    assert_eq!(log.append(&[], 0).unwrap(), []);
    assert_eq!(reader.head().frames, 0);
    assert_eq!(reader.frames(1).count(), 0);
    assert_eq!((reader.frame(0), reader.frame(1), reader.header(1)), (Ok(None), Ok(None), Ok(None)));
    assert_eq!((reader.frame_of_seq(1), reader.frame_at(u64::MAX)), (Ok(None), Ok(None)));
}

fn a_reopened_log_goes_on_where_it_ended<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    let mut drafts = append(&mut *log, &[2; 50], 1000);
    let head = log.reader().head();
    log.close(0).unwrap();
    let mut log = bench.open();
    assert_eq!(log.reader().head(), head);
    drafts.extend(append(&mut *log, &[3; 50], 2000));
    drop(log);
    let log = bench.open();
    assert!(entries(&log.reader()).iter().zip(&drafts).all(|(entry, draft)| same(entry, draft)));
    assert_eq!(log.reader().head().next_seq, 1 + 100 + 150);
}

fn whoever_stands_back_is_asked_to_before_each_frame<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    append(&mut *log, &[1; 200], 1000);
    let pauses = Arc::new(AtomicU64::new(0));
    let counted = pauses.clone();
    let reader = log.reader().with_pause(Arc::new(move || counted.store(counted.load(Relaxed) + 1, Relaxed)));
    let mut read = 0;
    for frame in reader.frames(1) {
        read = frame.unwrap().header.frame;
        assert_eq!(pauses.load(Relaxed), read);
    }
    assert!(read >= 3, "one frame holds too much");
    assert_eq!((log.reader().frames(1).count() as u64, pauses.load(Relaxed)), (read, read), "others do not");
}

fn the_chain_verifies_from_the_empty_head<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    for at in 0..5 {
        append(&mut *log, &[1; 60], at * 1000);
    }
    let reader = log.reader();
    let mut head = Head::empty(reader.log_id());
    reader.frames(1).for_each(|frame| head.follow(&frame.unwrap()).unwrap());
    assert_eq!(head, reader.head());
}

fn outcomes_say_where_each_entry_stands<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    append(&mut *log, &[1; 30], 1);
    let drafts = group(&log.reader().head(), &[2; 90], 50);
    let outcomes = log.append(&drafts, 0).unwrap();
    assert_eq!(outcomes.len(), drafts.len());
    for (outcome, draft) in outcomes.iter().zip(&drafts) {
        let Outcome::Durable(position) = outcome else { panic!("{outcome:?}") };
        let frame = log.reader().frame(position.frame).unwrap().unwrap();
        let entry = frame.entries.iter().find(|entry| entry.first_seq == draft.first_seq).unwrap();
        assert_eq!(entry.hash, position.hash);
    }
}

fn long_entries_come_back_whole<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    let mut drafts = group(&log.reader().head(), &[1, 1, 1], 1);
    // Hex of random bytes compresses to half: many parts under one frame.
    let noise: String = (0..60_000).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
    drafts[1].line = format!(r#"{{"noise":"{noise}"}}"#).into();
    drafts[1].personal[0] = 9..20;
    log.append(&drafts, 0).unwrap();
    assert_eq!(log.reader().head().frames, 3, "a long entry has a frame of its own");
    log.close(0).unwrap();
    let log = bench.open();
    let read = entries(&log.reader());
    assert!(read.iter().zip(&drafts).all(|(entry, draft)| same(entry, draft)));
}

fn events_are_found_by_seq<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    for at in 0..6 {
        append(&mut *log, &[0; 3], at * 100);
        append(&mut *log, &[2; 70], at * 100 + 10);
        append(&mut *log, &[0; 2], at * 100 + 90);
    }
    let reader = log.reader();
    let next = reader.head().next_seq;
    for seq in 1..next {
        let number = reader.frame_of_seq(seq).unwrap().unwrap();
        let frame = reader.frame(number).unwrap().unwrap();
        let holds = |entry: &Entry| (entry.first_seq..entry.first_seq + u64::from(entry.events)).contains(&seq);
        assert!(frame.entries.iter().any(holds), "seq {seq} in frame {number}");
    }
    assert_eq!((reader.frame_of_seq(0), reader.frame_of_seq(next)), (Ok(None), Ok(None)));
}

fn frames_are_found_by_time<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    for n in 1..=9 {
        append(&mut *log, &[if n % 3 == 0 { 0 } else { 1 }], n * 100);
    }
    let reader = log.reader();
    assert_eq!(reader.frame_at(99), Ok(None));
    for n in 1..=9 {
        assert_eq!(reader.frame_at(n * 100), Ok(Some(n)));
        assert_eq!(reader.frame_at(n * 100 + 99), Ok(Some(n)));
    }
    assert_eq!(reader.frame_at(u64::MAX), Ok(Some(9)));
    append(&mut *log, &[1], 900);
    assert_eq!(reader.frame_at(900), Ok(Some(10)), "the last frame of several that begin then");
}

fn notes_take_no_seq<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    append(&mut *log, &[0, 2, 0], 5);
    append(&mut *log, &[0], 9);
    let head = log.reader().head();
    assert_eq!((head.next_seq, head.frames, head.last_at), (3, 2, 9));
    assert_eq!(log.reader().frame_of_seq(2), Ok(Some(1)));
    let seqs: Vec<_> = entries(&log.reader()).iter().map(|entry| (entry.first_seq, entry.events)).collect();
    assert_eq!(seqs, [(1, 0), (1, 2), (3, 0), (3, 0)]);
}

fn published_through_never_goes_back<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    let mut write = |through, at| {
        let drafts = group(&log.reader().head(), &[1], at);
        log.append(&drafts, through).unwrap();
        log.reader().head().published_through
    };
    assert_eq!((write(1, 1), write(3, 2), write(2, 3)), (1, 3, 3));
    log.close(4).unwrap();
    let log = bench.open();
    let head = log.reader().head();
    assert_eq!((head.published_through, head.frames, head.last_at), (4, 4, 3));
    log.close(4).unwrap();
    assert_eq!(bench.open().reader().head(), head, "nothing new to say takes no frame");
    let reader = bench.open().reader();
    let mut walked = Head::empty(reader.log_id());
    reader.frames(1).for_each(|frame| walked.follow(&frame.unwrap()).unwrap());
    assert_eq!(walked, head);
}

fn drafts_that_do_not_fit_are_refused_and_nothing_is_written<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    append(&mut *log, &[2; 3], 100);
    let head = log.reader().head();
    let changes: [fn(&mut Draft); 7] = [
        |d| d.first_seq += 1,
        |d| d.at = 99,
        |d| d.line = [&d.line[..], b"\n"].concat().into(),
        |d| d.line = b"[1]".as_slice().into(),
        |d| d.line = [&d.line[..5], b"\n", &d.line[5..]].concat().into(),
        |d| d.personal[0].end += 2,
        |d| d.salt = None,
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut drafts = group(&head, &[1, 1], 200);
        change(&mut drafts[1]);
        let refused = log.append(&drafts, 0).unwrap_err();
        assert!(matches!(refused, LogError::Draft(_)) && refused.is_harmless(), "change {n}: {refused}");
        assert_eq!(log.reader().head(), head);
    }
    append(&mut *log, &[1], 200);
}

fn redacted_entries_are_taken_with_their_hash<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    append(&mut *log, &[2; 80], 100);
    let original = log.reader();
    let copy = B::new();
    let mut log_copy = copy.open();
    if log_copy.reader().log_id() != original.log_id() {
        return redacted_into_a_directory_of_the_same_id(&original);
    }
    copy_redacted(&original, &mut *log_copy);
}

fn redacted_into_a_directory_of_the_same_id(original: &Reader) {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::create(&place.path().join("copy"), original.log_id()).unwrap();
    copy_redacted(original, &mut DiskLog::open(Arc::new(directory)).unwrap());
}

fn copy_redacted(original: &Reader, copy: &mut dyn Log) {
    for (n, mut entry) in entries(original).into_iter().enumerate() {
        if n % 2 == 0 {
            entry.redact();
        }
        let outcome = copy.append(&[entry.clone().into_draft("c-1".into(), 0)], 0).unwrap();
        assert!(matches!(outcome[0], Outcome::Durable(position) if position.hash == entry.hash));
    }
    assert_eq!(copy.reader().head().hash, original.head().hash);
    assert_eq!(entries(&copy.reader()).iter().filter(|entry| entry.is_redacted()).count(), 40);
}

fn readers_follow_the_writer<B: Bench>() {
    let bench = B::new();
    let mut log = bench.open();
    let reader = log.reader();
    let follower = std::thread::spawn(move || {
        let mut head = Head::empty(reader.log_id());
        while head.next_seq <= 2000 {
            reader.frames(head.frames + 1).for_each(|frame| head.follow(&frame.unwrap()).unwrap());
            std::thread::yield_now();
        }
        head
    });
    for at in 0..20 {
        append(&mut *log, &[2; 50], at * 100);
    }
    assert_eq!(follower.join().unwrap(), log.reader().head());
}

#[test]
fn a_power_cut_takes_only_what_was_not_acknowledged() {
    for kept in 0..4 {
        let bench = InMemory::new();
        let mut log = bench.open();
        append(&mut *log, &[2; 100], 1000);
        let head = log.reader().head();
        bench.0.fail_syncs(true);
        let drafts = group(&head, &[1; 400], 2000);
        let failed = log.append(&drafts, 0).unwrap_err();
        assert!(!failed.is_harmless());
        assert_eq!(log.reader().head(), head, "nobody sees what is not durable");
        bench.0.fail_syncs(false);
        assert!(matches!(log.append(&drafts, 0), Err(LogError::Stopped)), "a failed sync is never retried");
        assert!(bench.0.unsynced() > 3);
        bench.0.cut_power(kept);
        let log = bench.open();
        assert_eq!(log.reader().head().frames, head.frames + kept as u64);
        let mut walked = Head::empty(Uuid::nil());
        log.reader().frames(1).for_each(|frame| walked.follow(&frame.unwrap()).unwrap());
        assert_eq!(walked, log.reader().head());
    }
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on() {
    let bench = InMemory::new();
    let mut log = bench.open();
    append(&mut *log, &[1], 1);
    bench.0.fill(true);
    let drafts = group(&log.reader().head(), &[1], 2);
    let full = log.append(&drafts, 0).unwrap_err();
    assert!(matches!(full, LogError::Full { .. }) && full.is_harmless());
    assert_eq!(entries(&log.reader()).len(), 1);
    bench.0.fill(false);
    log.append(&drafts, 0).unwrap();
}
