//! Bits turn in any file of a data directory: what is served afterwards is right, or the directory is refused, with words.
//!
//! `SWITCHBOARD_TEST_FLIPS` says how many places of each large file are tried.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchboard::log::{Cache, Directory, DiskLog, Log};
use switchboard::switchboard::core::Restored;
use switchboard::switchboard::restore::restore;
use switchboard::tools::export::{ExportOptions, Origin, export};
use tempfile::TempDir;

use super::story;

/// Places of a large file.
const FLIPS: usize = 30;

/// Everything that a start shows: whose the log is, each state, and how the log goes on.
#[derive(Debug, PartialEq)]
struct Shown {
    identity: (String, [u8; 32]),
    states: BTreeMap<String, Vec<u8>>,
    head: String,
}

/// What a start comes to, as the service starts.
fn start(data: &Path) -> Result<Shown, String> {
    let directory = Arc::new(Directory::open_or_create(data).map_err(|error| error.to_string())?);
    let identity = (directory.log_id().to_string(), *directory.key());
    let log = DiskLog::open(directory.clone()).map_err(|error| error.to_string())?;
    let reader = log.reader();
    let (cache, through) = Cache::open(directory, &reader).map_err(|error| error.to_string())?;
    let (cache, restored) = match restore(&reader, &cache, through, |_| {}) {
        Ok(restored) => (cache, restored),
        Err(_) => {
            let cache = cache.start_over().map_err(|error| error.to_string())?;
            let restored = restore(&reader, &cache, None, |_| {})?;
            (cache, restored)
        }
    };
    let head = format!("{:?} {:?} {:?}", reader.head(), restored.config.config, restored.next_seq);
    Ok(Shown { identity, states: states(&cache, &restored)?, head })
}

/// The states in memory, and those that are read when they are asked for: a fault of these is told then.
fn states(cache: &Cache, restored: &Restored) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut states = BTreeMap::new();
    for found in cache.closed_after(None, usize::MAX) {
        let (id, head) = found.map_err(|error| error.to_string())?;
        states.insert(id, head);
    }
    states.extend(restored.heads().map(|(id, head)| (id.to_string(), head)));
    Ok(states)
}

fn exported(data: &Path) -> (String, Result<(), String>) {
    let mut out = Vec::new();
    let options = ExportOptions { origin: Origin::Directory(data.to_owned()), redact: Vec::new() };
    let done = export(&options, &mut out).map_err(|failure| failure.to_string());
    (String::from_utf8(out).unwrap(), done)
}

/// A directory, and what it shows while it is whole.
struct Whole {
    place: TempDir,
    shown: Shown,
    text: String,
}

impl Whole {
    /// As the end of the service leaves it.
    fn stopped() -> Whole {
        let place = tempfile::tempdir().unwrap();
        story::play(&place.path().join("data"));
        Whole::at(place)
    }

    /// As a kill leaves it: whatever was handed to the system.
    fn killed() -> Whole {
        let place = tempfile::tempdir().unwrap();
        let live = story::lived(&place.path().join("live"));
        copy_folder(&place.path().join("live"), &place.path().join("data"));
        drop(live);
        Whole::at(place)
    }

    fn at(place: TempDir) -> Whole {
        let data = place.path().join("data");
        let copy = place.path().join("copy");
        copy_folder(&data, &copy);
        let (shown, (text, done)) = (start(&copy).unwrap(), exported(&copy));
        done.unwrap();
        assert!(shown.states.len() >= story::CONVERSATIONS.len());
        fs::remove_dir_all(copy).unwrap();
        fs::remove_file(data.join("reserve")).unwrap();
        Whole { place, shown, text }
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place.path().join("data").join(folder)).unwrap();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
        files.sort();
        files
    }

    fn files_below(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place.path().join("data").join(folder)).unwrap().map(Result::unwrap);
        let folders = entries.filter(|entry| entry.path().is_dir());
        let below = folders.map(|entry| format!("{folder}/{}", entry.file_name().to_string_lossy()));
        self.files(folder).into_iter().chain(below.flat_map(|folder| self.files_below(&folder))).collect()
    }

    fn has(&self, folder: &str) -> bool {
        self.place.path().join("data").join(folder).exists()
    }

    /// Turns one bit after the other, each in a copy of its own.
    fn turn(&self, file: &Path, places: impl Iterator<Item = usize>) -> Told {
        let data = self.place.path().join("data");
        let name = file.strip_prefix(&data).unwrap();
        let bytes = fs::read(file).unwrap();
        let mut told = Told::default();
        for place in places {
            let copy = self.place.path().join("copy");
            copy_folder(&data, &copy);
            let mut turned = bytes.clone();
            turned[place] ^= 1 << (place % 8);
            fs::write(copy.join(name), turned).unwrap();
            let what = format!("a bit of {} at {place}", name.display());
            let (text, done) = exported(&copy);
            match &done {
                Ok(()) => assert!(text == self.text, "{what}: the export differs, and nobody says so"),
                Err(words) => {
                    assert!(!words.is_empty() && self.text.starts_with(whole_lines(&text)), "{what}: {words}")
                }
            }
            match start(&copy) {
                Ok(shown) => assert_eq!(shown, self.shown, "{what}: something else is served, and nobody says so"),
                Err(words) => {
                    assert!(words.contains("copy") || words.contains("frame"), "{what}: {words} names no place");
                    told.refused += 1;
                }
            }
            told.turned += 1;
            told.faults += usize::from(done.is_err());
            fs::remove_dir_all(copy).unwrap();
        }
        told
    }
}

/// How often something was turned, and what came of it.
#[derive(Debug, Default)]
struct Told {
    turned: usize,
    refused: usize,
    faults: usize,
}

fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |end| end + 1)]
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Places where something stands, spread over the file.
fn places(file: &Path) -> Vec<usize> {
    places_of(file, 1)
}

/// The same of one of so many files.
fn places_of(file: &Path, files: usize) -> Vec<usize> {
    let bytes = fs::read(file).unwrap();
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let wanted = std::env::var("SWITCHBOARD_TEST_FLIPS").map_or(FLIPS, |text| text.parse().expect("a number"));
    let step = (written.len() * files / wanted.max(1)).max(1);
    written.into_iter().step_by(step).collect()
}

#[test]
fn a_bit_that_turns_in_a_small_file_is_refused_or_does_no_harm() {
    for whole in [Whole::stopped(), Whole::killed()] {
        let files = whole.files("");
        assert_eq!(files.len(), 4, "{files:?}");
        for file in files {
            let told = whole.turn(&file, places(&file).into_iter());
            assert!(told.turned >= FLIPS / 2, "{told:?}");
            let is_spare = file.ends_with("cache.json") || file.ends_with("log.reached");
            assert_eq!(
                told.refused > 0,
                !is_spare,
                "{} {told:?}: the cache is built again, a note that does not read counts for nothing",
                file.display()
            );
        }
    }
}

#[test]
fn a_bit_that_turns_in_the_log_is_refused_with_its_place_or_does_no_harm() {
    // What was written last stands in a file of its own until the database is synced.
    for (whole, log) in [(Whole::stopped(), "db"), (Whole::killed(), "ahead")] {
        let (mut of_logs, mut faults) = (0, 0);
        let is_there = |folder: &String| whole.has(folder);
        let volumes: Vec<_> = (1..).map(|number| format!("log/{number}")).take_while(is_there).collect();
        for file in volumes.iter().flat_map(|folder| whole.files(folder)).chain(whole.files("log")) {
            let told = whole.turn(&file, places_of(&file, volumes.len()).into_iter());
            if file.ends_with(log) {
                (of_logs, faults) = (of_logs + told.turned, faults + told.faults);
            }
        }
        // Where they are small, the database may be synced a moment before the kill: each holds what the other has lost.
        let is_in_both = log == "ahead" && cfg!(feature = "small-volumes");
        assert!(is_in_both || faults >= of_logs / 4, "{faults} of {of_logs}: most of these files is the log");
    }
}

#[test]
fn a_bit_that_turns_in_the_cache_does_no_harm() {
    for whole in [Whole::stopped(), Whole::killed()] {
        let files = whole.files_below("cache");
        assert!(files.iter().any(|file| file.ends_with("recent")), "{files:?}");
        for file in files {
            let told = whole.turn(&file, places(&file).into_iter());
            assert_eq!(told.faults, 0, "an export needs no cache: {told:?}");
        }
    }
}
