//! What the cache keeps, and when it is trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::super::conformance::group;
use super::super::{DiskLog, Log};
use super::*;

struct Site {
    directory: Arc<Directory>,
    log: DiskLog,
}

impl Site {
    fn open(path: &Path) -> Self {
        let directory = Arc::new(Directory::open_or_create(path).unwrap());
        let log = DiskLog::open(directory.clone()).unwrap();
        Self { directory, log }
    }

    fn cache(&self) -> (Cache, Option<u64>) {
        Cache::open(self.directory.clone(), &self.log.reader()).unwrap()
    }

    fn append(&mut self) {
        let head = self.log.reader().head();
        self.log.append(&group(&head, &[1], head.last_at), 0).unwrap();
    }

    /// A log of two frames, and a cache with one state that has come to the second.
    fn filled(path: &Path) -> (Self, Cache) {
        let mut place = Self::open(path);
        place.append();
        place.append();
        let (cache, through) = place.cache();
        assert_eq!(through, None);
        put(&cache, &place, &[("a", Place::Open, b"state of a")], 2);
        (place, cache)
    }
}

fn put(cache: &Cache, place: &Site, states: &[(&str, Place, &[u8])], frame: u64) {
    cache.put(states.iter().copied(), frame, &place.log.reader()).unwrap();
    cache.tidy().unwrap();
}

fn change_trust(path: &Path, change: impl FnOnce(&mut Trust)) {
    let file = path.join("cache.json");
    let mut trust: Trust = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut trust);
    fs::write(file, serde_json::to_vec(&trust).unwrap()).unwrap();
}

fn ids(rows: impl Iterator<Item = Result<(String, Vec<u8>), LogError>>) -> Vec<String> {
    rows.map(|row| row.unwrap().0).collect()
}

fn open_of(cache: &Cache) -> Vec<(String, Vec<u8>)> {
    cache.scan_open().map(Result::unwrap).collect()
}

#[test]
fn a_state_moves_and_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    put(&cache, &place, &[("a", Place::Closed, b"closed"), ("b", Place::Open, b"open"), ("c", Place::Closed, b"")], 2);
    assert_eq!(cache.closed("a").unwrap(), Some(b"closed".to_vec()));
    assert_eq!(cache.closed("c").unwrap(), Some(Vec::new()));
    assert_eq!(cache.closed("d").unwrap(), None);
    assert_eq!(ids(cache.scan_open()), ["b"]);
    assert_eq!(ids(cache.closed_after(None, 9)), ["a", "c"]);
    put(&cache, &place, &[("a", Place::Open, b"again"), ("e", Place::Closed, b"e"), ("f", Place::Closed, b"f")], 2);
    assert_eq!(ids(cache.scan_open()), ["a", "b"]);
    assert_eq!(ids(cache.closed_after(None, 3)), ["a", "c", "e"], "what was opened again may stand there too");
    assert_eq!(ids(cache.closed_after(Some("c"), 9)), ["e", "f"]);
}

#[test]
fn states_kept_in_several_goes_count_with_the_last() {
    for goes in 1..=3 {
        let dir = tempfile::tempdir().unwrap();
        let (place, cache) = Site::filled(dir.path());
        let go = |id: &'static str| cache.put_states([(id, Place::Open, &b"state"[..])].into_iter()).unwrap();
        ["b", "c", "d"].into_iter().take(goes).for_each(go);
        assert_eq!(ids(cache.scan_open()), ["a"], "{goes} goes");
        drop(cache);
        let (cache, through) = place.cache();
        assert_eq!((through, ids(cache.scan_open())), (Some(2), vec!["a".to_owned()]), "{goes} goes and a kill");
        cache.put_states([("b", Place::Open, &b"state"[..])].into_iter()).unwrap();
        put(&cache, &place, &[("c", Place::Open, b"state")], 2);
        assert_eq!(ids(cache.scan_open()), ["a", "b", "c"]);
    }
}

#[test]
fn a_clean_stop_is_trusted_after_the_machine_was_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    cache.close().unwrap();
    let late = cache.put([("a", Place::Open, &b"late"[..])].into_iter(), 2, &place.log.reader());
    assert!(matches!(late, Err(LogError::Stopped)));
    drop(cache);
    change_trust(dir.path(), |trust| trust.boot_id = Some("earlier".into()));
    let (cache, through) = place.cache();
    assert_eq!(through, Some(2));
    assert_eq!(open_of(&cache), [("a".to_owned(), b"state of a".to_vec())]);
    let trust: Trust = serde_json::from_slice(&fs::read(dir.path().join("cache.json")).unwrap()).unwrap();
    assert!(!trust.clean, "the mark is taken away while it is open");
}

#[test]
fn without_a_clean_stop_only_the_same_boot_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    drop(cache);
    let (cache, through) = place.cache();
    assert_eq!(through, Some(2));
    drop(cache);
    change_trust(dir.path(), |trust| trust.boot_id = Some("earlier".into()));
    let (cache, through) = place.cache();
    assert_eq!((through, open_of(&cache)), (None, Vec::new()));
}

#[test]
fn a_cache_of_another_log_format_or_time_is_wiped() {
    let changes: [fn(&mut Trust); 4] = [
        |trust| trust.format += 1,
        |trust| trust.log_id = "other".into(),
        |trust| trust.first_frame = 7,
        |trust| trust.boot_id = None,
    ];
    for change in changes {
        let dir = tempfile::tempdir().unwrap();
        let (place, cache) = Site::filled(dir.path());
        drop(cache);
        change_trust(dir.path(), change);
        assert_eq!(place.cache().1, None);
    }
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    drop(cache);
    fs::remove_file(dir.path().join("cache.json")).unwrap();
    assert_eq!(place.cache().1, None);
}

/// The data directory's log was put back from a copy: the cache knows frames that are gone, or others.
#[test]
fn a_cache_that_knows_another_log_is_wiped() {
    for frames_after in [1, 3] {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (place, cache) = Site::filled(one.path());
        cache.close().unwrap();
        let id = place.directory.log_id();
        drop((place, cache));
        let directory = Arc::new(Directory::create(two.path(), id).unwrap());
        let mut place = Site { log: DiskLog::open(directory.clone()).unwrap(), directory };
        (0..frames_after).for_each(|_| place.append());
        fs::rename(one.path().join("cache"), two.path().join("cache")).unwrap();
        fs::rename(one.path().join("cache.json"), two.path().join("cache.json")).unwrap();
        assert_eq!(place.cache().1, None);
    }
}

#[test]
fn a_wrong_checksum_is_an_error_and_wipes() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    cache.0.shelves.insert_closed("a", b"\0\0\0\0state of a".to_vec()).unwrap();
    assert!(matches!(cache.closed("a"), Err(LogError::Corrupt(..))));
    assert!(cache.closed_after(None, 9).next().unwrap().is_err());
    drop(cache);
    assert_eq!(place.cache().1, None);
}

#[test]
fn a_damaged_database_is_wiped() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    cache.close().unwrap();
    drop(cache);
    std::thread::sleep(std::time::Duration::from_millis(50));
    for file in fs::read_dir(dir.path().join("cache")).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::write(file.path(), b"this is no database, and longer than a checksum").unwrap();
        }
    }
    let (cache, through) = place.cache();
    assert_eq!(through, None);
    put(&cache, &place, &[("b", Place::Open, b"b")], 2);
}

#[test]
fn starting_over_leaves_nothing_and_can_be_filled() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    let old = cache.clone();
    let cache = cache.start_over().unwrap();
    assert_eq!(open_of(&cache), Vec::new());
    assert_eq!(ids(old.scan_open()), ["a"], "an old handle goes on");
    put(&cache, &place, &[("b", Place::Open, b"b")], 1);
    drop((old, cache));
    assert_eq!(place.cache().1, Some(1));
}

#[test]
fn the_cache_never_runs_ahead_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    let ahead = cache.put([("a", Place::Open, &b"x"[..])].into_iter(), 3, &place.log.reader());
    assert!(matches!(ahead, Err(LogError::Draft(_))));
}

#[test]
fn a_database_that_is_behind_the_journal_is_wiped_and_one_that_is_ahead_is_not() {
    for (database, journal, through) in [(1, 2, None), (2, 1, Some(1))] {
        let dir = tempfile::tempdir().unwrap();
        let (place, cache) = Site::filled(dir.path());
        put(&cache, &place, &[("b", Place::Open, b"b")], database);
        let of_database = cache.0.shelves.through().unwrap().unwrap();
        put(&cache, &place, &[("b", Place::Open, b"later")], journal);
        cache.0.shelves.set_through(of_database).unwrap();
        cache.close().unwrap();
        drop(cache);
        assert_eq!(place.cache().1, through);
    }
}

#[test]
fn a_cache_without_its_journal_or_with_one_of_another_log_is_wiped() {
    let other = tempfile::tempdir().unwrap();
    let (_, cache) = Site::filled(other.path());
    cache.close().unwrap();
    for put_there in [None, Some(other.path().join("cache/open"))] {
        let dir = tempfile::tempdir().unwrap();
        let (place, cache) = Site::filled(dir.path());
        cache.close().unwrap();
        drop(cache);
        let journal = dir.path().join("cache/open");
        match put_there {
            None => fs::remove_file(journal).unwrap(),
            Some(other) => drop(fs::copy(other, journal).unwrap()),
        }
        assert_eq!(place.cache().1, None);
    }
}

/// States as they are after each of some rounds, in which conversations close and are opened again.
fn rounds() -> Vec<Vec<(String, Place, Vec<u8>)>> {
    let of = |round: usize| {
        let ids = (0..6).filter(move |id| !(round + id).is_multiple_of(3));
        let place = move |id: usize| if (round * 5 + id * 7) % 4 < 2 { Place::Closed } else { Place::Open };
        ids.map(move |id| (format!("c{id}"), place(id), format!("{round:0>99}").into_bytes())).collect()
    };
    (1..=14).map(of).collect()
}

/// Whatever a start finds: what is open is as it was at the mark, and what was closed then is there, as it was or newer.
fn check_found(simulated: &SimulatedCache, reader: &Reader) -> Option<u64> {
    let (cache, through) = Cache::open_simulated(simulated, reader).unwrap();
    let mut expected = BTreeMap::new();
    for states in rounds().into_iter().take(through.unwrap_or(0) as usize) {
        expected.extend(states.into_iter().map(|(id, place, state)| (id, (place, state))));
    }
    let is_open = |place: Place| place == Place::Open;
    let open = expected.iter().filter(|(_, (place, _))| is_open(*place));
    let open: Vec<_> = open.map(|(id, (_, state))| (id.clone(), state.clone())).collect();
    assert_eq!(open_of(&cache), open, "open up to {through:?}");
    for (id, (_, state)) in expected.iter().filter(|(_, (place, _))| !is_open(*place)) {
        let found = cache.closed(id).unwrap().unwrap_or_else(|| panic!("{id} is neither open nor closed"));
        assert!(found >= *state, "{id} is older than {through:?}");
    }
    through
}

fn put_all(cache: &Cache, reader: &Reader) -> usize {
    let put = |(frame, states): (u64, Vec<(String, Place, Vec<u8>)>)| {
        let states = states.iter().map(|(id, place, state)| (id.as_str(), *place, state.as_slice()));
        cache.put(states, frame, reader).is_ok_and(|()| cache.tidy().is_ok())
    };
    (1..).zip(rounds()).map(put).filter(|is_put| *is_put).count()
}

fn long_log(path: &Path) -> Site {
    let mut site = Site::open(path);
    rounds().iter().for_each(|_| site.append());
    site
}

#[test]
fn killed_between_any_two_writes_it_has_every_conversation_at_one_mark() {
    let dir = tempfile::tempdir().unwrap();
    let site = long_log(dir.path());
    let mut found = BTreeSet::new();
    for kept in [0, 1, 2, usize::MAX] {
        let mut before = None;
        for writes in 0..200 {
            let simulated = SimulatedCache::default();
            let (cache, _) = Cache::open_simulated(&simulated, &site.log.reader()).unwrap();
            simulated.die_after(writes);
            put_all(&cache, &site.log.reader());
            simulated.kill(kept);
            let through = check_found(&simulated, &site.log.reader());
            assert!(through >= before, "killed after {writes} writes it has come to {through:?}, not to {before:?}");
            before = through;
            found.insert(through);
        }
        assert_eq!(before, Some(rounds().len() as u64), "what was put survives a kill");
    }
    assert_eq!(found.len(), rounds().len() + 1, "killed in every round: {found:?}");
}

#[test]
fn failing_at_any_write_it_goes_no_further_and_has_every_conversation_at_one_mark() {
    let dir = tempfile::tempdir().unwrap();
    let site = long_log(dir.path());
    let mut found = BTreeSet::new();
    for writes in 0..200 {
        let simulated = SimulatedCache::default();
        let (cache, _) = Cache::open_simulated(&simulated, &site.log.reader()).unwrap();
        simulated.fail_after(Some(writes));
        let put = put_all(&cache, &site.log.reader());
        // There is room again, and nobody may go on behind what is half written.
        simulated.fail_after(None);
        assert!(put == rounds().len() || put_all(&cache, &site.log.reader()) == 0);
        let _ = cache.close();
        drop(cache);
        if writes & 1 == 0 {
            simulated.cut_power(|| true);
        }
        let through = check_found(&simulated, &site.log.reader());
        assert!(through.is_none() || through.is_some_and(|through| through >= put as u64), "{put} rounds, {through:?}");
        found.insert(through);
    }
    assert_eq!(found.len(), rounds().len() + 1, "failed in every round: {found:?}");
}
