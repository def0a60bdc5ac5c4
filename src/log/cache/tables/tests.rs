//! The tables against rows in memory, walked from seeds: opened again, killed, torn, damaged, and where nothing can be written.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use super::super::SimulatedCache;
use super::super::medium::Medium;
use super::*;

/// So small that a few rows make a table, and a few tables are merged.
const SMALL: Sizes = Sizes { memory_bytes: 2 << 10, runs: 2, runs_max: 4, runs_bound: 192, table_bytes: 4 << 10 };

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn open(folder: &TempDir) -> Tables {
    Tables::open_with(folder.path(), SMALL).unwrap()
}

fn id(n: u64) -> String {
    format!("c{n:0>3}")
}

fn part(id: u64, number: u64) -> Vec<u8> {
    [format!("c{id}").as_bytes(), &[0, b'f'], &number.to_be_bytes()].concat()
}

fn rows(shelves: &dyn Shelves, after: Option<&str>) -> Vec<Pair> {
    shelves.closed_after(after).map(Result::unwrap).collect()
}

/// What is left when the process is killed now.
fn killed(folder: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = folder_in(folder.path()).unwrap().unwrap();
    let to = copy.path().join(from.file_name().unwrap());
    fs::create_dir_all(to.join("tables")).unwrap();
    for place in ["", "tables"] {
        for file in fs::read_dir(from.join(place)).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), to.join(place).join(file.file_name())).unwrap();
            }
        }
    }
    copy
}

#[test]
fn the_tables_answer_as_rows_in_memory_do_whenever_they_are_opened_again() {
    for seed in 1..=6 {
        let (folder, mut dice) = (tempfile::tempdir().unwrap(), Dice(seed));
        let (mut tables, (memory, _)) = (open(&folder), SimulatedCache::default().attach().unwrap());
        let (mut made, mut merged) = (0, 0);
        for step in 0..600u64 {
            let (n, value) = (dice.below(150), format!("{step:0>60}").into_bytes());
            let both: [&dyn Shelves; 2] = [&tables, &*memory];
            match dice.below(20) {
                0..=9 => both.iter().for_each(|of| of.insert_closed(&id(n), value.clone()).unwrap()),
                10..=12 => both.iter().for_each(|of| of.insert_part(part(n % 5, step), value.clone()).unwrap()),
                13 => both.iter().for_each(|of| of.set_through(value.clone()).unwrap()),
                14 => tables.tidy().unwrap(),
                15 => {
                    if n & 1 == 0 { tables.sync() } else { tables.flush() }.unwrap();
                    made += usize::from(tables.tree.table_count() > 0);
                    merged += usize::from(tables.tree.level_table_count(6) > Some(0));
                    drop(tables);
                    tables = open(&folder);
                }
                _ => {
                    let [found, expected] = both.map(|of| of.closed(&id(n)).unwrap());
                    assert_eq!(found, expected, "seed {seed}, step {step}, {}", id(n));
                    let (first, last) = (part(n % 5, 0), part(n % 5, n * 4));
                    let [found, expected] = both.map(|of| of.last_part(&first, &last).unwrap());
                    assert_eq!(found, expected, "seed {seed}, step {step}, parts up to {}", n * 4);
                    let exactly = found.map_or(last, |(part, _)| part);
                    let [found, expected] = both.map(|of| of.part(&exactly).unwrap());
                    assert_eq!(found, expected, "seed {seed}, step {step}, a part");
                    let [found, expected] = both.map(|of| (of.through().unwrap(), rows(of, Some(&id(n)))));
                    assert_eq!(found, expected, "seed {seed}, step {step}");
                }
            }
        }
        assert_eq!(rows(&tables, None), rows(&*memory, None));
        let files = fs::read_dir(&tables.folder).unwrap().count();
        assert!(files < 8, "{files} files beside the tables: those of older lists go");
        assert!(made > 0 && merged > 0, "opened again with tables and with merged ones: {made}, {merged}");
    }
}

/// Each row says which it was.
fn put(tables: &Tables, dice: &mut Dice, number: u64) -> Result<(String, Vec<u8>), String> {
    let (id, value) = (id(dice.below(40)), [&number.to_be_bytes()[..], &[7; 60]].concat());
    tables.insert_closed(&id, value.clone())?;
    Ok((id, value))
}

/// What was put in up to some row, and which that is.
fn beginning(tables: &Tables, all: &[(String, Vec<u8>)]) -> usize {
    let found: BTreeMap<_, _> = rows(tables, None).into_iter().collect();
    let last = found.values().map(|value| u64::from_be_bytes(*value.first_chunk().unwrap()) + 1).max().unwrap_or(0);
    let expected = all[..last as usize].iter().map(|(id, value)| (id.clone().into_bytes(), value.clone()));
    assert_eq!(found, expected.collect(), "up to row {last}");
    for (id, value) in &found {
        let id = str::from_utf8(id).unwrap();
        assert_eq!(tables.closed(id).unwrap().as_ref(), Some(value), "{id} is found as it is listed");
    }
    last as usize
}

#[test]
fn killed_after_any_row_it_has_a_beginning_of_what_was_put_in_and_all_that_was_flushed() {
    let (folder, mut dice, mut all, mut flushed) = (tempfile::tempdir().unwrap(), Dice(7), Vec::new(), 0);
    let tables = open(&folder);
    for number in 0..150 {
        all.push(put(&tables, &mut dice, number).unwrap());
        match dice.below(4) {
            0 => {
                tables.flush().unwrap();
                flushed = all.len();
            }
            1 => tables.tidy().unwrap(),
            _ => {}
        }
        let found = beginning(&open(&killed(&folder)), &all);
        assert!(found >= flushed, "{found} rows, {flushed} were flushed");
    }
    assert!(tables.tree.table_count() > 0);
}

#[test]
fn torn_anywhere_it_has_a_beginning_and_goes_on_behind_it() {
    let (folder, mut dice, mut all) = (tempfile::tempdir().unwrap(), Dice(9), Vec::new());
    let tables = open(&folder);
    // Some rows are in a table, and the last ones in none.
    (0..25).for_each(|number| all.push(put(&tables, &mut dice, number).unwrap()));
    tables.flush().unwrap();
    let length = tables.recent().file.metadata().unwrap().len();
    let in_tables = all.len() - tables.tree.active_memtable().len();
    assert!(in_tables > 0 && length > 0);
    let mut before = in_tables;
    for bytes in (0..=length).step_by(5).chain([length]) {
        let copy = killed(&folder);
        let recent = folder_in(copy.path()).unwrap().unwrap().join(RECENT);
        OpenOptions::new().write(true).open(&recent).unwrap().set_len(bytes).unwrap();
        let torn = open(&copy);
        let found = beginning(&torn, &all);
        assert!((before..=before + 1).contains(&found), "{found} rows in {bytes} bytes, {before} in a few less");
        before = found;
        torn.insert_closed("later", b"later".to_vec()).unwrap();
        torn.sync().unwrap();
        drop(torn);
        assert_eq!(open(&copy).closed("later").unwrap(), Some(b"later".to_vec()));
    }
    assert_eq!(before, all.len());
}

#[test]
fn a_bit_that_turns_in_a_table_is_told_of_and_no_row_is_other_than_it_was() {
    let (folder, mut dice, mut all) = (tempfile::tempdir().unwrap(), Dice(11), BTreeMap::new());
    let tables = open(&folder);
    (0..60).for_each(|number| all.extend([put(&tables, &mut dice, number).unwrap()]));
    tables.make_table(&mut tables.recent()).unwrap();
    drop(tables);
    let mut told_of = 0;
    for turn in 0..400 {
        let copy = killed(&folder);
        let place = folder_in(copy.path()).unwrap().unwrap().join("tables");
        let file = fs::read_dir(place).unwrap().map(|file| file.unwrap().path()).min().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let at = turn * bytes.len() / 400;
        bytes[at] ^= 1 << dice.below(8);
        fs::write(&file, bytes).unwrap();
        let Ok(tables) = Tables::open_with(copy.path(), SMALL) else {
            told_of += 1;
            continue;
        };
        let found: Result<Vec<_>, _> = all.keys().map(|id| tables.closed(id)).collect();
        told_of += usize::from(found.is_err());
        for (id, value) in &all {
            let found = tables.closed(id);
            assert!(
                found.is_err() || found.as_ref().is_ok_and(|found| found.as_ref() == Some(value)),
                "bit at {at}: {id}"
            );
        }
    }
    assert!(told_of > 200, "{told_of} of 400");
}

#[test]
fn a_bit_that_turns_in_the_list_of_tables_is_told_of_or_nothing_is_other_than_it_was() {
    let (folder, mut dice) = (tempfile::tempdir().unwrap(), Dice(31));
    let (tables, mut number) = (open(&folder), 0);
    let levels =
        |tables: &Tables| tables.tree.current_version().iter_levels().filter(|level| !level.is_empty()).count();
    while levels(&tables) < 2 || tables.tree.current_version().id() & 1 == 0 {
        put(&tables, &mut dice, number).unwrap();
        number += 1;
        if number & 63 == 0 {
            tables.tidy().unwrap();
        }
    }
    tables.sync().unwrap();
    let expected = rows(&tables, None);
    let lists = fs::read_dir(&tables.folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let lists: Vec<_> = lists.filter(|file| file == LIST || file.starts_with('v')).collect();
    assert_eq!(lists.len(), 3, "the list before is there still: {lists:?}");
    drop(tables);
    for list in lists {
        let bytes = fs::read(folder_in(folder.path()).unwrap().unwrap().join(&list)).unwrap();
        let mut copy = killed(&folder);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(folder_in(copy.path()).unwrap().unwrap().join(&list), bytes).unwrap();
            if let Ok(tables) = Tables::open_with(copy.path(), SMALL) {
                assert!(rows(&tables, None) == expected, "bit {bit} of {list}");
                copy = killed(&folder);
            }
        }
    }
}

#[test]
fn one_of_which_a_file_is_gone_is_not_taken_for_an_emptier_one() {
    let (folder, mut dice) = (tempfile::tempdir().unwrap(), Dice(29));
    let tables = open(&folder);
    (0..60).for_each(|number| drop(put(&tables, &mut dice, number).unwrap()));
    tables.sync().unwrap();
    let place = tables.folder.join("tables");
    drop(tables);
    let table = fs::read_dir(place).unwrap().next().unwrap().unwrap();
    let table = format!("tables/{}", table.file_name().display());
    for gone in [LIST, RECENT, &table] {
        let copy = killed(&folder);
        fs::remove_file(folder_in(copy.path()).unwrap().unwrap().join(gone)).unwrap();
        assert!(Tables::open_with(copy.path(), SMALL).is_err(), "without {gone}");
    }
}

#[test]
fn where_no_table_can_be_made_nothing_more_is_put_in_and_what_was_is_found_now_and_later() {
    let (folder, mut dice, mut all) = (tempfile::tempdir().unwrap(), Dice(13), Vec::new());
    let tables = open(&folder);
    all.push(put(&tables, &mut dice, 0).unwrap());
    fs::remove_dir_all(tables.folder.join("tables")).unwrap();
    let mut put_in = || put(&tables, &mut dice, all.len() as u64).map(|row| all.push(row));
    while put_in().is_ok() {}
    assert!(put_in().is_err(), "nor is it tried again");
    assert!(tables.flush().is_err() && tables.sync().is_err());
    // The row at which it failed is there too, though nobody was told so.
    let number = all.len() as u64;
    let failed = (0..40).map(id).filter(|id| {
        let found = tables.closed(id).unwrap();
        found.is_some_and(|value| value.starts_with(&number.to_be_bytes()))
    });
    let failed: Vec<_> = failed.collect();
    assert_eq!(failed.len(), 1);
    all.push((failed[0].clone(), [&number.to_be_bytes()[..], &[7; 60]].concat()));
    assert_eq!(beginning(&tables, &all), all.len());
    drop(tables);
    assert_eq!(beginning(&open(&folder), &all), all.len(), "all were written before the table was begun");
}

/// Tables that came last, and that it is time to merge.
fn with_runs(folder: &TempDir, dice: &mut Dice) -> (Tables, Vec<(String, Vec<u8>)>) {
    let (tables, mut all) = (open(folder), Vec::new());
    while tables.runs().unwrap() < 2 {
        all.push(put(&tables, dice, all.len() as u64).unwrap());
    }
    tables.sync().unwrap();
    (tables, all)
}

fn files(tables: &Tables) -> Vec<fs::DirEntry> {
    fs::read_dir(tables.folder.join("tables")).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_merge_for_which_there_is_no_room_leaves_nothing_behind_and_is_tried_again_when_more_tables_came() {
    let (folder, mut dice) = (tempfile::tempdir().unwrap(), Dice(17));
    let (tables, mut all) = with_runs(&folder, &mut dice);
    let before = files(&tables).len();
    // There is room for the tables, and none for the list of them.
    let list = tables.folder.join(format!("v{}", tables.tree.current_version().id() + 1));
    std::os::unix::fs::symlink("/dev/full", &list).unwrap();
    let first = tables.tree.next_table_id();
    tables.tidy().unwrap();
    assert!(tables.tree.next_table_id() > first, "it did not come to a table");
    assert_eq!(files(&tables).len(), before, "tables that are on no list");
    assert_eq!(beginning(&tables, &all), all.len());
    fs::remove_file(&list).unwrap();
    assert!(!tables.merge(&mut tables.recent()).unwrap(), "no more tables came");
    assert_eq!(beginning(&open(&killed(&folder)), &all), all.len());
    (0..200).for_each(|_| all.push(put(&tables, &mut dice, all.len() as u64).unwrap()));
    assert!(tables.runs().unwrap() < 4, "it is tried again");
    assert_eq!(beginning(&tables, &all), all.len());
}

#[test]
fn a_merge_that_cannot_read_what_it_merges_is_told_of() {
    let (folder, mut dice) = (tempfile::tempdir().unwrap(), Dice(37));
    let (tables, _) = with_runs(&folder, &mut dice);
    files(&tables).iter().for_each(|file| fs::remove_file(file.path()).unwrap());
    assert!(tables.tidy().is_err());
}

#[test]
fn more_tables_than_the_tree_can_count_are_never_made() {
    let (folder, mut dice, mut all) = (tempfile::tempdir().unwrap(), Dice(41), Vec::new());
    let never = Sizes { runs: u8::MAX, runs_max: usize::MAX, runs_bound: 9, ..SMALL };
    let tables = Tables::open_with(folder.path(), never).unwrap();
    let mut put_in = Ok(());
    while put_in.is_ok() && all.len() < 2_000 {
        let value = [&(all.len() as u64).to_be_bytes()[..], &[7; 60]].concat();
        all.push((id(dice.below(40)), value.clone()));
        put_in = tables.insert_closed(&all[all.len() - 1].0, value);
    }
    assert!(put_in.is_err() && put(&tables, &mut dice, 0).is_err(), "nor is it tried again");
    assert_eq!(tables.runs(), Ok(9));
    assert!(Sizes::default().runs_bound < 255);
    assert_eq!(beginning(&open(&killed(&folder)), &all), all.len());
}

#[test]
fn who_looks_up_waits_neither_for_others_nor_for_one_who_changes_the_tables() {
    let (folder, (began, begun), (go, gate)) = (tempfile::tempdir().unwrap(), mpsc::channel(), mpsc::channel::<()>());
    let tables = open(&folder);
    let gate = Mutex::new(gate);
    *tables.look.write().unwrap() = Arc::new(move |_| {
        began.send(()).unwrap();
        let _ = gate.lock().unwrap().recv();
        Ok(None)
    });
    let (answered, answer) = mpsc::channel();
    std::thread::scope(|scope| {
        let tables = &tables;
        scope.spawn(|| tables.closed("slow"));
        begun.recv().unwrap();
        scope.spawn(move || {
            tables.look_anew();
            answered.send(tables.closed("quick")).unwrap();
        });
        let found = answer.recv_timeout(Duration::from_secs(60));
        drop(go);
        assert!(found.expect("it waits for the slow one").unwrap().is_none());
    });
}

#[test]
fn killed_between_a_table_and_the_end_of_what_it_was_made_of_both_are_there_and_agree() {
    let (folder, mut dice, mut all) = (tempfile::tempdir().unwrap(), Dice(43), Vec::new());
    let tables = open(&folder);
    (0..40).for_each(|number| all.push(put(&tables, &mut dice, number).unwrap()));
    let (path, bytes) = (tables.folder.join(RECENT), tables.recent().out.at.bytes);
    assert!(bytes > 0);
    let is_synced = tables.tree.get_version_history_lock();
    let recent = std::thread::scope(|scope| {
        let making = scope.spawn(|| tables.make_table(&mut tables.recent()));
        let is_written = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            fs::metadata(&path).unwrap().len() == bytes
        });
        let recent = fs::read(&path).unwrap();
        drop(is_synced);
        making.join().unwrap().unwrap();
        assert!(is_written, "{} of {bytes} bytes are written before the table is made", recent.len());
        recent
    });
    let copy = killed(&folder);
    let place = folder_in(copy.path()).unwrap().unwrap().join(RECENT);
    assert_eq!(fs::metadata(&place).unwrap().len(), 0);
    fs::write(place, recent).unwrap();
    assert_eq!(beginning(&open(&copy), &all), all.len());
}

#[test]
fn who_looks_up_does_not_wait_for_a_list_of_tables_that_is_being_synced() {
    let (folder, mut dice, mut all) = (tempfile::tempdir().unwrap(), Dice(19), Vec::new());
    let tables = open(&folder);
    (0..60).for_each(|number| all.push(put(&tables, &mut dice, number).unwrap()));
    let is_synced = tables.tree.get_version_history_lock();
    let (answered, answer) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| answered.send((tables.closed("never"), tables.closed(&all[0].0))).unwrap());
        let found = answer.recv_timeout(Duration::from_secs(60));
        drop(is_synced);
        let (never, first) = found.expect("it waits for the lock");
        assert!(never.unwrap().is_none() && first.unwrap().is_some());
    });
}

#[test]
fn an_id_that_was_never_there_is_answered_without_a_read() {
    let (folder, mut dice) = (tempfile::tempdir().unwrap(), Dice(23));
    let tables = open(&folder);
    (0..400).for_each(|number| drop(put(&tables, &mut dice, number).unwrap()));
    tables.make_table(&mut tables.recent()).unwrap();
    drop(tables);
    let tables = open(&folder);
    assert!(tables.tree.table_count() > 0);
    // No file can be opened any more, and none is.
    fs::remove_dir_all(tables.folder.join("tables")).unwrap();
    let unanswered = (0..1_000).filter(|n| tables.closed(&format!("c0{n}never")).is_err()).count();
    assert!(unanswered < 50, "{unanswered} of 1000 had to be read");
    assert!(tables.closed("c001").is_err(), "what is there has to be read");
}

#[test]
fn a_wiped_one_is_never_taken_for_another_and_writes_nothing_into_it() {
    let (folder, mut dice) = (tempfile::tempdir().unwrap(), Dice(47));
    let old = open(&folder);
    put(&old, &mut dice, 0).unwrap();
    old.flush().unwrap();
    fs::remove_dir_all(&old.folder).unwrap();
    let new = open(&folder);
    assert_ne!(old.folder, new.folder);
    let failed = (1..2_000).find(|number| put(&old, &mut dice, *number).is_err());
    assert!(failed.is_some(), "where is the table?");
    assert!(old.flush().is_err() && old.sync().is_err());
    assert!(rows(&new, None).is_empty());
    drop((old, new));
    assert!(rows(&open(&folder), None).is_empty());
}
