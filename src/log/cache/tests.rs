//! What the cache keeps, and when it is trusted.

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

#[test]
fn a_state_moves_and_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (place, cache) = Site::filled(dir.path());
    put(&cache, &place, &[("a", Place::Closed, b"closed"), ("b", Place::Open, b"open"), ("c", Place::Closed, b"")], 2);
    assert_eq!(cache.get("a").unwrap(), Some((Place::Closed, b"closed".to_vec())));
    assert_eq!(cache.get("c").unwrap(), Some((Place::Closed, Vec::new())));
    assert_eq!(cache.get("d").unwrap(), None);
    assert_eq!(ids(cache.scan_open()), ["b"]);
    put(&cache, &place, &[("a", Place::Open, b"again"), ("e", Place::Closed, b"e"), ("f", Place::Closed, b"f")], 2);
    assert_eq!(ids(cache.scan_open()), ["a", "b"]);
    assert_eq!(ids(cache.closed_after(None, 2)), ["c", "e"]);
    assert_eq!(ids(cache.closed_after(Some("c"), 9)), ["e", "f"]);
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
    assert_eq!(cache.get("a").unwrap(), Some((Place::Open, b"state of a".to_vec())));
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
    assert_eq!((through, cache.get("a").unwrap()), (None, None));
}

#[test]
fn a_cache_of_another_log_format_or_time_is_wiped() {
    let changes: [fn(&mut Trust); 3] =
        [|trust| trust.format += 1, |trust| trust.log_id = "other".into(), |trust| trust.boot_id = None];
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
    cache.0.shelves.insert(Place::Open, "a", b"\0\0\0\0state of a".to_vec()).unwrap();
    assert!(matches!(cache.get("a"), Err(LogError::Corrupt(..))));
    assert!(cache.scan_open().next().unwrap().is_err());
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
    assert_eq!(cache.get("a").unwrap(), None);
    assert!(old.get("a").unwrap().is_some(), "an old handle goes on");
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
