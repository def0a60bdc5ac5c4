//! How a sled database is opened, synced and kept from panicking; the volumes of the log stand on this.
//!
//! sled 0.34.7 is used as it was measured, not as it is documented:
//! its flush is no fsync, so `sync` follows it with one of our own; a kill while it opens leaves a file that makes
//! every later open fail, so that file is removed first; it never syncs its directories; it panics over damaged
//! pages; and its background flusher swallows errors, so there is none.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use super::error::LogError;
use super::frame::key;
use super::pages;
use super::reader::Values;
use super::segments;

/// sled writes what is over a quarter of a segment into files that it never syncs, so segments are the largest that it
/// takes comfortably. Fixed for the life of a database.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;

/// More does not make it faster and shows in resident memory.
const CACHE_BYTES: u64 = 24 << 20;

/// sled lets go of its lock a little after the last handle is gone.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// An open database.
pub(super) struct Store {
    pub db: sled::Db,
    /// A second handle on the database's file: syncing it syncs what sled has written.
    file: File,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the database in a directory. All that it holds is on stable storage when this returns.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let store = Self::attach(path)?;
        for part in [path.join("conf"), path.join("blobs"), path.to_path_buf()] {
            sync_path(&part)?;
        }
        sync_path(path.parent().unwrap_or(path))?;
        store.sync().inspect_err(|_| store.abandon()).map_err(LogError::Write)?;
        Ok(store)
    }

    /// Opens a database that has long been on stable storage, and makes none.
    pub fn open_sealed(path: &Path) -> Result<Self, LogError> {
        match path.join("db").exists() {
            true => Self::attach(path),
            false => Err(LogError::Corrupt(path.to_path_buf(), "its file db is gone".into())),
        }
    }

    fn attach(path: &Path) -> Result<Self, LogError> {
        remove_unfinished_snapshots(path)?;
        // Whoever has just let go of it may still write.
        segments::check(path).or_else(|_| {
            thread::sleep(LOCK_PAUSE * 20);
            segments::check(path)
        })?;
        let db = open_patiently(path)?;
        let file = path.join("db");
        let file = OpenOptions::new().write(true).open(&file).map_err(|e| LogError::io("open", &file, e))?;
        Ok(Self { db, file, path: path.to_path_buf() })
    }

    /// Says that the folder has another name now.
    pub fn moved(self, path: &Path) -> Self {
        Self { path: path.to_path_buf(), ..self }
    }

    /// Brings everything that was written onto stable storage.
    pub fn sync(&self) -> Result<(), String> {
        self.flush()?;
        self.file.sync_data().map_err(|e| format!("fsync of {}: {e}", self.path.join("db").display()))
    }

    /// Hands everything that was written to the system: it survives a kill, not a power cut.
    pub fn flush(&self) -> Result<(), String> {
        careful(|| self.db.flush()).map(drop)
    }

    /// Stores a frame, for the most part in memory at first. After a crash the database holds all that was stored up to
    /// some moment, so whole frames up to one of them. Only a frame of several parts needs a batch, which costs a write
    /// more.
    pub fn put(&self, frame: u64, parts: &[(Vec<u8>, Vec<u8>)], first_of_volume: u64) -> Result<(), String> {
        careful(|| self.stake_out(frame, frame == first_of_volume))?;
        match parts {
            [(key, value)] => careful(|| self.db.insert(key, value.as_slice())).map(drop),
            parts => {
                let mut batch = sled::Batch::default();
                parts.iter().for_each(|(key, value)| batch.insert(key.as_slice(), value.as_slice()));
                careful(|| self.db.apply_batch(batch))
            }
        }
    }

    /// Spreads the frames that come over pages of their own, before the first of a page is stored.
    fn stake_out(&self, frame: u64, is_first: bool) -> sled::Result<()> {
        let Some((mut stakes, shown)) = pages::before(frame, is_first) else { return Ok(()) };
        if !is_first && !self.db.contains_key(shown)? {
            return Ok(());
        }
        stakes.try_for_each(|stake| match self.db.contains_key(&stake)? {
            true => Ok(()),
            false => self.db.insert(stake, sled::IVec::default()).map(drop),
        })
    }

    /// Whether a frame is there.
    pub fn holds(&self, frame: u64) -> Result<bool, String> {
        careful(|| self.db.contains_key(key(frame, 0)))
    }

    /// The first key of a frame.
    pub fn first_key(&self) -> Result<Option<Vec<u8>>, String> {
        let first = careful(|| self.db.iter().keys().find(is_of_frame).transpose());
        first.map(|first| first.map(|key| key.to_vec()))
    }

    /// Never closes the database: after a failed write, closing it would write and sync again, and panic.
    pub fn abandon(&self) {
        std::mem::forget(self.db.clone());
    }
}

impl Values for Store {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        careful(|| self.db.get(key)).map(|value| value.map(|value| value.to_vec()))
    }

    fn last_key(&self) -> Result<Option<Vec<u8>>, String> {
        let last = careful(|| self.db.iter().keys().rev().find(is_of_frame).transpose());
        last.map(|last| last.map(|key| key.to_vec()))
    }
}

fn is_of_frame(key: &sled::Result<sled::IVec>) -> bool {
    !key.as_ref().is_ok_and(|key| pages::is_stake(key))
}

/// Runs what may find damaged pages; a panic of sled becomes an error.
pub(super) fn careful<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    quietly(work)?.map_err(|e| e.to_string())
}

/// Makes a file's or a directory's own entry durable.
pub(super) fn sync_path(path: &Path) -> Result<(), LogError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| LogError::io("sync", path, e))
}

/// Has a file read from the disk next: where a sync of it failed, the system may go on showing what never got there.
pub(super) fn read_from_disk(file: &Path) -> Result<(), LogError> {
    if !file.exists() {
        return Ok(());
    }
    let open = File::open(file).map_err(|e| LogError::io("open", file, e))?;
    open.sync_data().map_err(|e| LogError::io("sync", file, e))?;
    // Some file systems keep nothing that could be let go of.
    let _ = rustix::fs::fadvise(&open, 0, None, rustix::fs::Advice::DontNeed);
    Ok(())
}

/// Runs something that reports damage by panicking, and keeps the panic off stderr.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let worker = thread::current().name().is_some_and(|name| name.starts_with("sled-io"));
            if !worker && !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(outer);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        text.unwrap_or("panic").lines().next().unwrap_or_default().to_owned()
    })
}

fn open_patiently(path: &Path) -> Result<sled::Db, LogError> {
    let config = sled::Config::new()
        .path(path)
        .segment_size(SEGMENT_BYTES as usize)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    for _ in 0..LOCK_TRIES {
        match quietly(|| config.open()) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(e))) if is_locked(&e) => thread::sleep(LOCK_PAUSE),
            Ok(Err(sled::Error::Io(e))) => return Err(LogError::io("open", path, e)),
            Ok(Err(e)) => return Err(LogError::Corrupt(path.to_path_buf(), e.to_string())),
            Err(panic) => return Err(LogError::Corrupt(path.to_path_buf(), panic)),
        }
    }
    Err(LogError::InUse(path.to_path_buf()))
}

fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().contains("could not acquire lock")
}

fn remove_unfinished_snapshots(path: &Path) -> Result<(), LogError> {
    let files = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files.map_err(|e| LogError::io("list", path, e))?,
    };
    for file in files {
        let file = file.map_err(|e| LogError::io("list", path, e))?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(file.path()).map_err(|e| LogError::io("remove", &file.path(), e))?;
        }
    }
    Ok(())
}
