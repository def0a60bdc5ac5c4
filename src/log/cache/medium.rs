//! What a cache stands on: a database and a journal beside the log, or simulated ones.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::tables::Tables;
use super::tape::{Tape, TapeFile};
use crate::log::directory::{Directory, write_bytes_durably};
use crate::log::error::LogError;
use crate::log::store::sync_path;

/// A key and a value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// A row of the cache: an id and a value.
pub(super) type Row = Result<Pair, String>;

/// An open cache: its database, and what its journal stands on.
pub(super) type Attached = (Box<dyn Shelves>, Box<dyn Tape>);

/// Where a cache may stand, whether or not there is one.
pub(super) trait Medium: Send + Sync {
    /// What was noted last about whether the cache may be trusted.
    fn trust(&self) -> Result<Vec<u8>, String>;
    /// Notes that, on stable storage when this returns.
    fn set_trust(&self, text: &[u8]) -> Result<(), LogError>;
    /// Takes that away.
    fn clear_trust(&self);
    /// Tells one run of the machine from the next; none where that cannot be known.
    fn boot_id(&self) -> Option<String>;
    /// Whether there is a cache, trusted or not.
    fn exists(&self) -> bool;
    /// Puts what there is out of the way: afterwards there is no cache. An old handle writes nothing into the next one; but
    /// it must not be asked any more, as it finds its files gone, and takes the trust in the cache away.
    fn wipe(&self) -> Result<(), LogError>;
    /// Opens the cache, or makes an empty one.
    fn attach(&self) -> Result<Attached, LogError>;
    /// What is wrong, and where.
    fn corrupt(&self, why: &str) -> LogError;
}

/// The database: closed conversations, parts of all, and how far it has come.
pub(super) trait Shelves: Send + Sync {
    fn closed(&self, id: &str) -> Result<Option<Vec<u8>>, String>;
    fn insert_closed(&self, id: &str, value: Vec<u8>) -> Result<(), String>;
    /// The closed ones after that id, in the order of their ids.
    fn closed_after(&self, id: Option<&str>) -> Box<dyn Iterator<Item = Row> + Send>;
    fn insert_part(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), String>;
    fn part(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;
    /// The last part between two keys, both included, and its key.
    fn last_part(&self, first: &[u8], last: &[u8]) -> Result<Option<Pair>, String>;
    fn through(&self) -> Result<Option<Vec<u8>>, String>;
    fn set_through(&self, value: Vec<u8>) -> Result<(), String>;
    /// Hands everything to the system: it survives a kill, not a power cut, and precedes what comes later.
    fn flush(&self) -> Result<(), String>;
    /// Brings everything onto stable storage.
    fn sync(&self) -> Result<(), String>;
    /// Puts what is there in better order, for a while, if it is time: for who has one.
    fn tidy(&self) -> Result<(), String>;
    /// Never writes again: after a failure nobody knows what is there.
    fn abandon(&self);
}

/// `cache/` and `cache.json` of a data directory.
impl Medium for Arc<Directory> {
    fn trust(&self) -> Result<Vec<u8>, String> {
        fs::read(self.path().join("cache.json")).map_err(|e| format!("cache.json: {e}"))
    }

    fn set_trust(&self, text: &[u8]) -> Result<(), LogError> {
        write_bytes_durably(&self.path().join("cache.json"), text)
    }

    fn clear_trust(&self) {
        let _ = fs::remove_file(self.path().join("cache.json"));
    }

    fn boot_id(&self) -> Option<String> {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
    }

    fn exists(&self) -> bool {
        self.path().join("cache").exists()
    }

    /// The old directory is moved away first, so that a crash never leaves half of it.
    fn wipe(&self) -> Result<(), LogError> {
        let (path, old) = (self.path().join("cache"), self.path().join("cache.old"));
        let remove = |path: &Path| match path.exists() {
            true => fs::remove_dir_all(path).map_err(|e| LogError::io("remove", path, e)),
            false => Ok(()),
        };
        remove(&old)?;
        if path.exists() {
            fs::rename(&path, &old).map_err(|e| LogError::io("rename", &path, e))?;
            sync_path(self.path())?;
            remove(&old)?;
        }
        Ok(())
    }

    fn attach(&self) -> Result<Attached, LogError> {
        let path = self.path().join("cache");
        fs::create_dir_all(&path).map_err(|e| LogError::io("create", &path, e))?;
        let attached = (Box::new(Tables::open(&path)?), Box::new(TapeFile::open(&path)?));
        sync_path(&path)?;
        sync_path(self.path())?;
        Ok((attached.0, attached.1))
    }

    fn corrupt(&self, why: &str) -> LogError {
        LogError::Corrupt(self.path().join("cache"), why.to_owned())
    }
}
