//! The row of volumes, whatever becomes of its folders and notes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::Sealed;
use super::shelf::VOLUMES_OPEN_MAX;
use crate::log::conformance::group;
use crate::log::{Directory, DiskLog, Fault, Head, Inspection, Log, LogError, Problem, Reader};

/// Groups that each fill a volume.
const GROUPS: u64 = 6;
const EVENTS: u64 = 5;

fn opened(path: &Path, volume_bytes: u64) -> Result<DiskLog, LogError> {
    let directory = Arc::new(Directory::open_or_create(path)?);
    DiskLog::open_with(directory, volume_bytes)
}

fn open(path: &Path) -> DiskLog {
    opened(path, 1).unwrap()
}

fn refusal(path: &Path) -> LogError {
    opened(path, 1).err().expect("it is refused")
}

fn append(log: &mut DiskLog) {
    let head = log.reader().head();
    log.append(&group(&head, &[1; EVENTS as usize], head.last_at + 100), 0).unwrap();
}

/// A log of one group a volume, the last of which is written to.
fn row(groups: u64) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path());
    (0..groups).for_each(|_| append(&mut log));
    Box::new(log).close(0).unwrap();
    place
}

fn walked(reader: &Reader) -> Result<Head, Fault> {
    let mut head = Head::empty(reader.log_id());
    reader.frames(1).try_for_each(|frame| head.follow(&frame?))?;
    Ok(head)
}

fn inspected(path: &Path) -> Fault {
    let inspection = Inspection::open(Arc::new(Directory::open(path).unwrap())).unwrap();
    let (before, fault) = inspection.reader().before_fault().expect("a fault");
    assert_eq!(walked(&before).unwrap(), before.head(), "what stands before is read");
    fault
}

#[test]
fn a_full_volume_is_sealed_and_the_next_one_goes_on() {
    let place = row(GROUPS);
    let log = open(place.path());
    let sealed = log.volumes().sealed();
    assert_eq!(sealed.len() as u64, GROUPS - 1, "one is written to");
    for (n, sealed) in sealed.iter().enumerate() {
        let n = n as u64;
        assert_eq!((sealed.volume, sealed.first_frame, sealed.end.frames), (n + 1, n + 1, n + 1));
        assert_eq!(
            (sealed.first_seq, sealed.end.next_seq),
            (n * EVENTS + 1, (n + 1) * EVENTS + 1),
            "no group is split"
        );
        assert!(sealed.first_at < sealed.end.last_at && sealed.bytes > 100, "{sealed:?}");
        assert_eq!(log.reader().hash_after(n + 1).unwrap(), Some(sealed.end.hash));
    }
    assert_eq!(walked(&log.reader()).unwrap(), log.reader().head());
}

#[test]
fn a_volume_is_written_until_it_is_full_whatever_starts_there_were() {
    let place = tempfile::tempdir().unwrap();
    for _ in 0..12 {
        append(&mut opened(place.path(), 1_500).unwrap());
    }
    let log = opened(place.path(), 1_500).unwrap();
    let sealed = log.volumes().sealed();
    assert!(!sealed.is_empty() && sealed.len() < 6, "{sealed:?}");
    assert!(sealed.iter().all(|sealed| (1_500..2_500).contains(&sealed.bytes)), "{sealed:?}");
}

#[test]
fn a_start_opens_the_last_volume_only_and_a_search_one_more() {
    let place = row(GROUPS);
    let log = open(place.path());
    let reader = log.reader();
    assert_eq!(reader.hash_after(3).unwrap(), Some(log.volumes().sealed()[2].end.hash));
    assert_eq!(log.volumes().shelf.open(), 0, "notes tell what is asked at a start");
    assert_eq!(reader.frame_of_seq(2 * EVENTS + 3).unwrap(), Some(3));
    assert_eq!(log.volumes().shelf.open(), 1);
    let at = log.volumes().sealed()[2].first_at;
    assert_eq!(reader.frame_at(at).unwrap(), Some(3));
    assert_eq!((reader.frame_at(at - 1).unwrap(), log.volumes().shelf.open()), (Some(2), 1));
}

#[test]
fn whoever_reads_through_the_log_holds_few_volumes_open() {
    let place = row(12);
    let log = open(place.path());
    let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    assert_eq!(walked(&log.reader()).unwrap(), log.reader().head());
    assert!(log.volumes().shelf.open() <= VOLUMES_OPEN_MAX);
    if std::env::var_os("NEXTEST").is_some() {
        // A process of its own: nobody else opens files.
        assert!(open_files() <= before + 2 * VOLUMES_OPEN_MAX, "files stay open");
    }
}

/// What is read often stays open, what nobody comes back to does not.
#[test]
fn a_volume_that_nobody_reads_any_more_is_closed() {
    let place = row(5);
    let mut log = open(place.path());
    let reader = log.reader();
    for number in 1..=4 {
        (0..1_500).for_each(|_| assert!(reader.header(number).unwrap().is_some()));
        assert!(log.volumes().shelf.open() <= 2, "after {number}");
    }
    for _ in 0..400 {
        (1..=4).for_each(|number| assert!(reader.header(number).unwrap().is_some()));
    }
    assert_eq!(log.volumes().shelf.open(), 4, "several readers keep theirs");
    for _ in 0..4 {
        append(&mut log);
        log.settle();
    }
    assert_eq!(log.volumes().shelf.open(), 1, "those that were filled later are not kept");
}

#[test]
fn a_volume_is_read_while_it_is_sealed() {
    let place = row(2);
    let mut log = open(place.path());
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (reader, over) = (log.reader(), over.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let last = reader.head().frames;
                    assert!(reader.header(last).unwrap().is_some());
                }
            })
        })
        .collect();
    (0..15).for_each(|_| append(&mut log));
    over.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

/// To close one may take longer than sled's lock is tried for.
#[test]
fn whoever_wants_a_volume_waits_for_who_closes_it() {
    let place = row(3);
    let log = open(place.path());
    // It is nobody's any more, and open until it is dropped.
    let hands = log.volumes().shelf.get(1, &log.volumes().folder_of(1)).unwrap();
    drop(log.volumes().shelf.take_all());
    let closing = Arc::into_inner(hands).unwrap();
    let reader = log.reader();
    let waiting = std::thread::spawn(move || reader.header(1).unwrap().is_some());
    assert!(log.reader().header(2).unwrap().is_some(), "others are opened meanwhile");
    assert!(!waiting.is_finished());
    drop(closing);
    assert!(waiting.join().unwrap());
}

#[test]
fn many_read_in_all_volumes_while_one_writes() {
    let place = row(8);
    let mut log = open(place.path());
    let readers: Vec<_> = (0..8u64)
        .map(|n| {
            let reader = log.reader();
            std::thread::spawn(move || {
                for step in 0..15 {
                    let number = 1 + (n * 5 + step * 3) % 8;
                    assert_eq!(reader.frame(number).unwrap().unwrap().header.frame, number);
                }
            })
        })
        .collect();
    (0..4).for_each(|_| append(&mut log));
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(walked(&log.reader()).unwrap().frames, 12);
}

/// What a crash may leave, after each step of a change of volumes: the files as they are then.
#[test]
fn a_crash_between_any_two_steps_of_a_change_of_volumes_is_survived() {
    type Step = (&'static str, fn(&Path));
    let steps: [Step; 8] = [
        ("the next volume is begun", |log| {
            fs::remove_dir_all(log.join("4")).unwrap();
            fs::create_dir(log.join("next")).unwrap();
            fs::write(log.join("next/db"), b"half").unwrap();
            fs::remove_file(log.join("3.json")).unwrap();
        }),
        ("the next volume is made", |log| {
            fs::rename(log.join("4"), log.join("next")).unwrap();
            fs::remove_file(log.join("3.json")).unwrap();
        }),
        ("the note is begun", |log| {
            fs::rename(log.join("4"), log.join("next")).unwrap();
            fs::rename(log.join("3.json"), log.join("3.tmp")).unwrap();
            fs::write(log.join("3.tmp"), b"{").unwrap();
        }),
        ("the note is written", |log| fs::rename(log.join("4"), log.join("next")).unwrap()),
        ("the note is written, and what was ready is gone", |log| fs::remove_dir_all(log.join("4")).unwrap()),
        ("the next volume has its number", |_| {}),
        ("the number reached the disk, the note did not", |log| fs::remove_file(log.join("3.json")).unwrap()),
        ("the same, and the note is half there", |log| {
            fs::remove_file(log.join("3.json")).unwrap();
            fs::write(log.join("3.tmp"), b"{").unwrap();
        }),
    ];
    for (what, leave) in steps {
        let place = row(3);
        let noted = fs::read(place.path().join("log.json")).unwrap();
        let mut log = open(place.path());
        let head = log.reader().head();
        log.turn_over().unwrap();
        assert_eq!(log.volumes().last_number(), 4);
        drop(log);
        fs::write(place.path().join("log.json"), noted).unwrap();
        leave(&place.path().join("log"));
        let mut log = open(place.path());
        assert_eq!(log.reader().head(), head, "{what}");
        append(&mut log);
        append(&mut log);
        assert_eq!(walked(&log.reader()).unwrap(), log.reader().head(), "{what}");
        drop(log);
        let log = open(place.path());
        assert_eq!(walked(&log.reader()).unwrap().frames, 5, "{what}");
        assert_eq!(log.volumes().sealed().len(), 4, "{what}");
        assert!(!place.path().join("log/next").exists(), "{what}");
    }
}

#[test]
fn a_log_of_one_database_is_the_first_volume_where_it_is() {
    let place = row(1);
    let (log, first) = (place.path().join("log"), place.path().join("first"));
    fs::rename(log.join("1"), &first).unwrap();
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&first, &log).unwrap();
    fs::write(place.path().join("log.json"), noted_by_one_database(place.path())).unwrap();
    let mut log = open(place.path());
    (0..3).for_each(|_| append(&mut log));
    assert_eq!(walked(&log.reader()).unwrap().frames, 4);
    Box::new(log).close(0).unwrap();
    let log = open(place.path());
    assert_eq!(walked(&log.reader()).unwrap(), log.reader().head());
    let name = |n: u64| place.path().join("log").join(n.to_string()).exists();
    assert_eq!((name(1), name(2), name(4), place.path().join("log/db").exists()), (false, true, true, true));
    drop(log);
    fs::create_dir(place.path().join("log/1")).unwrap();
    assert!(refusal(place.path()).to_string().contains("both db and 1 are there"));
}

/// `log.json` as it was when a log was one database.
fn noted_by_one_database(path: &Path) -> String {
    let text = fs::read_to_string(path.join("log.json")).unwrap();
    let mut noted: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(noted.as_object_mut().unwrap().remove("volume").is_some());
    noted.to_string()
}

#[test]
fn a_lost_volume_is_named_with_what_was_in_it() {
    for (volume, words) in [(1, "seq 1 to 5"), (3, "seq 11 to 15"), (6, "seq 26 and what follows")] {
        let place = row(GROUPS);
        fs::remove_dir_all(place.path().join(format!("log/{volume}"))).unwrap();
        let refused = refusal(place.path());
        assert!(matches!(refused, LogError::VolumeLost { .. }), "{refused}");
        let refused = refused.to_string();
        assert!(refused.contains(&format!("log/{volume} is gone, and with it {words}")), "{refused}");
        if volume > 1 {
            let fault = inspected(place.path());
            assert_eq!((fault.frame, fault.seq), (volume, Some((volume - 1) * EVENTS + 1)));
            assert!(fault.to_string().contains(words), "{fault}");
        }
    }
}

#[test]
fn a_lost_volume_is_named_without_its_note_too() {
    let place = row(GROUPS);
    fs::remove_dir_all(place.path().join("log/3")).unwrap();
    fs::remove_file(place.path().join("log/3.json")).unwrap();
    assert!(refusal(place.path()).to_string().contains("seq 11 to 15"));
}

#[test]
fn a_lost_last_volume_is_missed_before_the_log_was_ever_closed() {
    let place = row(2);
    let mut log = open(place.path());
    append(&mut log);
    drop(log);
    fs::remove_dir_all(place.path().join("log/3")).unwrap();
    assert!(refusal(place.path()).to_string().contains("log/3 is gone, and with it seq 11 and what follows"));
}

#[test]
fn a_volume_that_goes_while_the_log_is_open_is_a_fault_and_is_not_made_anew() {
    let place = row(GROUPS);
    let log = open(place.path());
    fs::remove_dir_all(place.path().join("log/2")).unwrap();
    let fault = log.reader().frame(2).unwrap_err();
    assert!(fault.to_string().contains("its file db is gone"), "{fault}");
    assert!(!place.path().join("log/2").exists());
    assert_eq!(log.reader().frame(3).unwrap().unwrap().header.frame, 3, "others are read");
}

#[test]
fn a_note_that_does_not_follow_the_one_before_is_refused() {
    let place = row(GROUPS);
    let sealed = open(place.path()).volumes().sealed();
    for change in [|sealed: &mut Sealed| sealed.first_frame += 1, |sealed: &mut Sealed| sealed.first_seq -= 1] {
        let mut other = sealed[2].clone();
        change(&mut other);
        other.write(&place.path().join("log"), log_id(place.path())).unwrap();
        let refused = refusal(place.path()).to_string();
        assert!(refused.contains("log/3.json cannot be read (it begins with frame"), "{refused}");
    }
}

#[test]
fn a_lost_note_is_made_again_as_it_was() {
    let place = row(GROUPS);
    for volume in [1, 4, 5] {
        let note = place.path().join(format!("log/{volume}.json"));
        let before = fs::read(&note).unwrap();
        fs::remove_file(&note).unwrap();
        let inspection = Inspection::open(Arc::new(Directory::open(place.path()).unwrap())).unwrap();
        assert!(inspection.reader().before_fault().is_none() && !note.exists(), "looking writes nothing");
        drop(inspection);
        drop(open(place.path()));
        assert_eq!(fs::read(&note).unwrap(), before);
    }
}

#[test]
fn a_changed_note_is_refused_by_its_name_or_says_the_same() {
    let place = row(3);
    let note = place.path().join("log/2.json");
    let text = fs::read(&note).unwrap();
    let mut refused = 0;
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1 << (at % 6);
        fs::write(&note, changed).unwrap();
        match Sealed::read(&place.path().join("log"), log_id(place.path()), 2) {
            Ok(sealed) => {
                fs::write(&note, &text).unwrap();
                assert_eq!(sealed, Sealed::read(&place.path().join("log"), log_id(place.path()), 2).unwrap());
            }
            Err(_) if refused > 0 => refused += 1,
            Err(_) => {
                let words = refusal(place.path()).to_string();
                assert!(words.contains("log/2.json cannot be read") && words.contains("delete it"), "{words}");
                refused += 1;
            }
        }
    }
    assert!(refused > text.len() / 2, "{refused} of {}", text.len());
}

fn log_id(path: &Path) -> uuid::Uuid {
    Directory::open(path).unwrap().log_id()
}

#[test]
fn a_volume_in_the_place_of_another_is_refused() {
    let place = row(GROUPS);
    let log = place.path().join("log");
    let swap = |a: &str, b: &str| {
        fs::rename(log.join(a), log.join("aside")).unwrap();
        fs::rename(log.join(b), log.join(a)).unwrap();
        fs::rename(log.join("aside"), log.join(b)).unwrap();
    };
    // Nobody looks into old volumes at a start; whoever reads finds it out.
    swap("2", "3");
    let fault = walked(&open(place.path()).reader()).unwrap_err();
    assert_eq!((fault.frame, fault.problem, fault.place.as_deref()), (2, Problem::Missing, Some("log/2/db")));
    swap("2", "3");
    let another = row(GROUPS);
    fs::rename(log.join("6"), log.join("aside")).unwrap();
    fs::rename(another.path().join("log/6"), log.join("6")).unwrap();
    assert!(matches!(refusal(place.path()), LogError::Fault(Fault { frame: 6, problem: Problem::Chain, .. })));
    fs::remove_dir_all(log.join("6")).unwrap();
    fs::rename(log.join("aside"), log.join("6")).unwrap();
    swap("2.json", "3.json");
    assert!(refusal(place.path()).to_string().contains("2.json cannot be read (it is of volume 3"));
}

#[test]
fn whoever_looks_holds_notes_to_their_volumes_and_reads_on() {
    let place = row(GROUPS);
    let note = place.path().join("log/3.json");
    let text = fs::read_to_string(&note).unwrap();
    let sealed = open(place.path()).volumes().sealed();
    let examined = || {
        let inspection = Inspection::open(Arc::new(Directory::open(place.path()).unwrap())).unwrap();
        let mut head = Head::empty(inspection.reader().log_id());
        let mut notes = Ok(());
        for frame in inspection.reader().frames(1) {
            head.follow(&frame.unwrap()).unwrap();
            notes = notes.and(inspection.check_note(&head));
        }
        assert_eq!(head.frames, GROUPS, "all of it is read");
        inspection.conclude(&head).and(notes)
    };
    assert_eq!(examined(), Ok(()));
    for change in [|sealed: &mut Sealed| sealed.end.hash[0] ^= 1, |sealed: &mut Sealed| sealed.first_at += 1] {
        let mut other = sealed[2].clone();
        change(&mut other);
        other.write(&place.path().join("log"), log_id(place.path())).unwrap();
        let fault = examined().unwrap_err();
        assert_eq!((fault.frame, fault.problem, fault.place.as_deref()), (3, Problem::Note, Some("log/3.json")));
    }
    for changed in [text.replace("seqs", "seas"), text.replace("\"last\": 3", "\"last\": 4")] {
        assert_ne!(changed, text);
        fs::write(&note, changed).unwrap();
        assert!(examined().unwrap_err().to_string().contains("log/3.json cannot be read"));
    }
}

/// What is written would go on where the copy ends, under numbers that were given before.
#[test]
fn a_copy_of_an_old_volume_in_the_place_of_the_last_is_refused() {
    for copied in [3, 5] {
        let place = row(GROUPS);
        let log = place.path().join("log");
        fs::remove_dir_all(log.join("6")).unwrap();
        copy(&log.join(copied.to_string()), &log.join("6"));
        for note in ["log.json", "log.reached"] {
            let refused = refusal(place.path());
            let fault = matches!(refused, LogError::Fault(Fault { frame: 6, problem: Problem::Number(found), .. }) if found == copied);
            assert!(fault, "{copied}: {refused}");
            assert_eq!(inspected(place.path()).frame, 6, "{copied}");
            fs::remove_file(place.path().join(note)).unwrap();
        }
    }
}

#[test]
fn a_log_does_not_reach_further_than_its_volumes_whatever_their_notes_say() {
    let place = row(GROUPS);
    let reader = open(place.path()).reader();
    reader.adopt(Head { frames: 3, ..Head::empty(reader.log_id()) });
    assert_eq!((reader.hash_after(4).unwrap(), reader.hash_after(5).unwrap()), (None, None));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match file.file_type().unwrap().is_dir() {
            true => copy(&file.path(), &to.join(file.file_name())),
            false => drop(fs::copy(file.path(), to.join(file.file_name())).unwrap()),
        }
    }
}

#[test]
fn damage_in_an_old_volume_is_named_with_its_file() {
    let place = row(GROUPS);
    let file = place.path().join("log/2/db");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(2).position(|window| window == b"SB").unwrap();
    bytes[at + 60] ^= 4;
    fs::write(&file, bytes).unwrap();
    let fault = walked(&open(place.path()).reader()).unwrap_err();
    assert_eq!((fault.frame, fault.place.as_deref()), (2, Some("log/2/db")));
    assert_eq!(inspected(place.path()).frame, 2);
}

#[test]
fn a_volume_that_cannot_be_made_keeps_nobody_from_writing() {
    let place = tempfile::tempdir().unwrap();
    let mut log = opened(place.path(), 6_000).unwrap();
    let in_the_way = place.path().join("log/next");
    fs::write(&in_the_way, b"").unwrap();
    (0..20).for_each(|_| append(&mut log));
    assert_eq!(log.volumes().last_number(), 1);
    fs::remove_file(&in_the_way).unwrap();
    (0..20).for_each(|_| append(&mut log));
    assert!(log.volumes().last_number() > 1, "it is made once it can be");
    assert_eq!(walked(&log.reader()).unwrap(), log.reader().head());
}
