//! Data directories, and what the commands say of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use switchboard::log::{Directory, DiskLog, Draft, Entry, Log};
use switchboard::switchboard::Archive;
use switchboard::switchboard::paged::Ascending;
use switchboard::switchboard::past::answer_past;
use switchboard::switchboard::port::{Frames, PastAsk, Span};
use switchboard::tools::export::{ExportOptions, Origin, export};
use switchboard::tools::failure::Failure;
use switchboard::tools::import::{ImportOptions, import};
use switchboard::tools::screen::Screen;
use switchboard::tools::verify::{VerifyOptions, verify};
use tempfile::TempDir;

use super::say::conversation;
use super::story;

const SEGMENT_BYTES: usize = 8 << 20;

/// A data directory that goes with the test.
pub struct Place {
    pub path: PathBuf,
    _folder: TempDir,
}

impl Place {
    /// A place where nothing is yet.
    pub fn empty() -> Place {
        let folder = tempfile::tempdir().unwrap();
        Place { path: folder.path().join("data"), _folder: folder }
    }

    /// The story's log.
    pub fn of_story() -> Place {
        let place = Place::empty();
        story::play(&place.path);
        place
    }

    /// A log of these entries, chained anew: a switchboard that records what it should not.
    pub fn of(entries: &[Entry]) -> Place {
        let place = Place::empty();
        let directory = Arc::new(Directory::create(&place.path, uuid::Uuid::from_u128(1)).unwrap());
        let mut log = DiskLog::open(directory.clone()).unwrap();
        for entry in entries {
            let draft = Draft { personal: Default::default(), salt: None, ..entry.clone().into_draft("c".into(), 0) };
            log.append(&[draft], 0).unwrap();
        }
        Box::new(log).close(0).unwrap();
        directory.finish(None).unwrap();
        place
    }

    pub fn entries(&self) -> Vec<Entry> {
        let log = DiskLog::open(Arc::new(Directory::open(&self.path).unwrap())).unwrap();
        log.reader().frames(1).flat_map(|frame| frame.unwrap().entries).collect()
    }

    /// The events as they are published, or answered to who asks for them.
    pub fn events(&self) -> Vec<Value> {
        let log = DiskLog::open(Arc::new(Directory::open(&self.path).unwrap())).unwrap();
        let archive = Archive { reader: log.reader(), cache: None, key: [0; 32] };
        let ask = PastAsk::Log { span: Span { limit: 1000, ..Span::default() } };
        let frames = Frames { conversation: Ascending::default(), config: Ascending::default(), through: 0 };
        let page: Value = serde_json::from_slice(&answer_past(&ask, &frames, &archive).unwrap()).unwrap();
        assert!(page["next_seq"].is_null(), "the story fits one page");
        page["events"].as_array().unwrap().clone()
    }

    /// Frames of the log, counted without reading them.
    pub fn frames(&self) -> u64 {
        let count = |db: &sled::Db| db.iter().keys().filter(|key| key.as_ref().unwrap().len() == 8).count() as u64;
        self.volumes().iter().map(|volume| open(volume, count)).sum()
    }

    /// Changes a stored frame; `None` removes it.
    pub fn tamper(&self, frame: u64, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
        let key = frame.to_be_bytes();
        let holds = |volume: &PathBuf| open(volume, |db| db.contains_key(key).unwrap());
        let volume = self.volumes().into_iter().find(holds).expect("a volume with the frame");
        open(&volume, |db| {
            match change(db.get(key).unwrap().unwrap().to_vec()) {
                Some(changed) => db.insert(key, changed).unwrap(),
                None => db.remove(key).unwrap(),
            };
            db.flush().unwrap();
        });
    }

    /// The folders of the log's volumes.
    pub fn volumes(&self) -> Vec<PathBuf> {
        let volume = |number: u64| self.path.join("log").join(number.to_string());
        (1..).map(volume).take_while(|folder| folder.exists()).collect()
    }

    /// What `verify` writes, and what it found.
    pub fn verify(&self) -> (String, Result<(), String>) {
        let mut out = Vec::new();
        let verified = verify(&VerifyOptions { data: self.path.clone() }, &mut out, Screen::unbounded());
        (String::from_utf8(out).unwrap(), verified.map_err(found))
    }

    /// What `verify` found, which must be something.
    pub fn finding(&self) -> String {
        self.verify().1.unwrap_err()
    }

    pub fn assert_good(&self) -> String {
        let (told, verified) = self.verify();
        assert_eq!(verified, Ok(()), "{told}");
        told
    }

    pub fn export(&self, redact: &[&str]) -> (String, Result<(), Failure>) {
        let mut out = Vec::new();
        let redact = redact.iter().map(|id| conversation(id)).collect();
        let exported = export(&ExportOptions { origin: Origin::Directory(self.path.clone()), redact }, &mut out);
        (String::from_utf8(out).unwrap(), exported)
    }

    pub fn exported(&self) -> String {
        let (text, exported) = self.export(&[]);
        exported.unwrap();
        text
    }
}

/// Imports into a new place.
pub fn imported(text: &str) -> Place {
    let place = Place::empty();
    import_into(&place.path, text, None).unwrap();
    place
}

pub fn import_into(path: &Path, text: &str, publish_from: Option<u64>) -> Result<String, Failure> {
    import_bytes(path, text.as_bytes(), publish_from)
}

pub fn import_bytes(path: &Path, text: &[u8], publish_from: Option<u64>) -> Result<String, Failure> {
    import_with(ImportOptions { data: path.to_owned(), publish_from, cut: false }, text)
}

pub fn import_with(options: ImportOptions, mut text: &[u8]) -> Result<String, Failure> {
    let mut out = Vec::new();
    import(&options, &mut text, &mut out, Screen::unbounded())?;
    Ok(String::from_utf8(out).unwrap())
}

/// What was found, and nothing else in the way.
pub fn found(failure: Failure) -> String {
    assert_eq!(failure.exit_code(), 2, "{failure}");
    failure.to_string()
}

pub fn open<T>(path: &Path, work: impl FnOnce(&sled::Db) -> T) -> T {
    let config = sled::Config::new().path(path).segment_size(SEGMENT_BYTES).flush_every_ms(None);
    for _ in 0..200 {
        if let Ok(db) = config.open() {
            return work(&db);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{} is still in use", path.display())
}
