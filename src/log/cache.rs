//! The cache of states: a second database, which may be deleted whenever nothing runs, and is rebuilt from the log.
//!
//! Its keys are overwritten, and sled does not keep overwritten keys safe in a power cut. So it is trusted only after
//! a clean stop, or while the machine has not been started again: a kill leaves what was handed to the system.
//! It says how far in the log it has come, always after the states themselves, never before; the hash of that
//! entry says that it is this log, and not an older copy of it. Any doubt wipes it.

use std::fs;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::codec::Fields;
use super::directory::{Directory, write_durably};
use super::error::LogError;
use super::reader::Reader;
use super::store::{Store, careful, sync_path};

/// The format of what the layer above keeps here is part of this number: a change of either wipes old caches.
const FORMAT: u64 = 2;

const THROUGH: &str = "through";

/// Where the state of a conversation is kept: what is open is read at a start, what is closed when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among the open conversations.
    Open,
    /// Among the closed ones.
    Closed,
}

/// What is kept of a long conversation beside its state, in parts that never change once they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Which frames hold its entries.
    Frames = b'f' as isize,
    /// Which command ids decided what.
    CommandIds = b'i' as isize,
    /// When its sessions closed.
    Sessions = b's' as isize,
    /// What it was at some moment of the past.
    Mark = b'm' as isize,
}

/// A handle on the cache, for any number of threads; one of them writes.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    directory: Arc<Directory>,
    store: Store,
    open: sled::Tree,
    closed: sled::Tree,
    parts: sled::Tree,
    closing: AtomicBool,
    /// Something in it was found to be wrong: no close may say that it can be trusted.
    doubted: AtomicBool,
}

impl Cache {
    /// Opens the cache of a data directory, with the number of the frame that it has come to; `None` where it
    /// holds nothing, or was wiped because it could not be trusted.
    pub fn open(directory: Arc<Directory>, log: &Reader) -> Result<(Self, Option<u64>), LogError> {
        match Self::open_trusted(&directory, log) {
            Ok((cache, through)) => Ok((cache, Some(through))),
            Err(why) => {
                if directory.path().join("cache").exists() {
                    tracing::warn!(why, "the cache is not trusted and is built again from the log");
                }
                Ok((Self::fresh(directory)?, None))
            }
        }
    }

    /// Keeps parts of conversations, before the states that rest on them: each with its number among those of its kind.
    pub fn put_parts<'a>(&self, parts: impl Iterator<Item = (&'a str, Part, u64, &'a [u8])>) -> Result<(), LogError> {
        for (id, part, number, bytes) in parts {
            self.run(|| self.0.parts.insert(part_key(id, part, number), sealed(bytes)))?;
        }
        Ok(())
    }

    /// A part of a conversation.
    pub fn part(&self, id: &str, part: Part, number: u64) -> Result<Option<Vec<u8>>, LogError> {
        let value = self.run(|| self.0.parts.get(part_key(id, part, number)))?;
        value.map(|value| self.unseal(&value)).transpose()
    }

    /// The last part of that kind up to that number, and its number.
    pub fn part_up_to(&self, id: &str, part: Part, number: u64) -> Result<Option<(u64, Vec<u8>)>, LogError> {
        let range = part_key(id, part, 0)..=part_key(id, part, number);
        let Some((key, value)) = self.run(|| self.0.parts.range(range).next_back().transpose())? else {
            return Ok(None);
        };
        let number = key.last_chunk().map(|number| u64::from_be_bytes(*number));
        Ok(number.zip(Some(self.unseal(&value)?)))
    }

    /// Keeps states, then notes that all states up to the end of that frame are kept.
    /// A state moves: it stands in one place after this.
    pub fn put<'a>(
        &self,
        states: impl Iterator<Item = (&'a str, Place, &'a [u8])>,
        frame: u64,
        log: &Reader,
    ) -> Result<(), LogError> {
        if self.0.closing.load(Ordering::Acquire) {
            return Err(LogError::Stopped);
        }
        let hash = log.hash_after(frame)?.ok_or_else(|| {
            LogError::Draft(format!("the log has no frame {frame} that the cache could have come to"))
        })?;
        for (id, place, state) in states {
            let (to, from) = match place {
                Place::Open => (&self.0.open, &self.0.closed),
                Place::Closed => (&self.0.closed, &self.0.open),
            };
            // First there, then gone from here: a reader finds it in one of the two.
            self.run(|| to.insert(id, sealed(state)))?;
            self.run(|| from.remove(id))?;
        }
        self.0.store.flush().map_err(LogError::Write)?;
        let mut through = frame.to_be_bytes().to_vec();
        through.extend_from_slice(&hash);
        self.run(|| self.0.store.db.insert(THROUGH, sealed(&through))).map(drop)
    }

    /// The state of a conversation, and where it stands.
    pub fn get(&self, id: &str) -> Result<Option<(Place, Vec<u8>)>, LogError> {
        // Once more among the open: it may have moved there between the two looks.
        for place in [Place::Open, Place::Closed, Place::Open] {
            if let Some(value) = self.run(|| self.tree(place).get(id))? {
                return self.unseal(&value).map(|state| Some((place, state)));
            }
        }
        Ok(None)
    }

    /// The state of a closed conversation: one look, for who has all open ones in memory.
    pub fn closed(&self, id: &str) -> Result<Option<Vec<u8>>, LogError> {
        let value = self.run(|| self.tree(Place::Closed).get(id))?;
        value.map(|value| self.unseal(&value)).transpose()
    }

    /// The states of all open conversations, in the order of their ids. Ends after the first fault.
    pub fn scan_open(&self) -> impl Iterator<Item = Result<(String, Vec<u8>), LogError>> + use<> {
        self.scan(Place::Open, None)
    }

    /// The states of closed conversations whose ids come after that one, in the order of their ids.
    pub fn closed_after(
        &self,
        id: Option<&str>,
        limit: usize,
    ) -> impl Iterator<Item = Result<(String, Vec<u8>), LogError>> + use<> {
        self.scan(Place::Closed, id).take(limit)
    }

    /// Leaves the cache on stable storage and says so: the next start trusts it. Nothing can be put afterwards.
    pub fn close(&self) -> Result<(), LogError> {
        self.0.closing.store(true, Ordering::Release);
        self.0.store.sync().inspect_err(|_| self.0.store.abandon()).map_err(LogError::Write)?;
        if self.0.doubted.load(Ordering::Acquire) {
            return Ok(());
        }
        write_durably(&trust_file(&self.0.directory), &Trust::now(&self.0.directory, true))
    }

    /// Sees to it that the next start wipes the cache: for who finds that it is not as the log says.
    pub fn doubt(&self) {
        self.0.doubted.store(true, Ordering::Release);
        let _ = fs::remove_file(trust_file(&self.0.directory));
    }

    /// Wipes the cache and begins an empty one: for who finds it wanting. Other handles go on with the old one.
    pub fn start_over(self) -> Result<Self, LogError> {
        Self::fresh(self.0.directory.clone())
    }

    /// Opens the cache of a data directory as it is, with the number of the frame that it has come to; why not, where
    /// it is not trusted. For tools: [`close`](Self::close) leaves it as trusted as it was.
    pub fn open_trusted(directory: &Arc<Directory>, log: &Reader) -> Result<(Self, u64), String> {
        Trust::read(directory)?.check(directory)?;
        write_durably(&trust_file(directory), &Trust::now(directory, false)).map_err(|e| e.to_string())?;
        let cache = Self::attach(directory.clone()).map_err(|e| e.to_string())?;
        let through = cache.run(|| cache.0.store.db.get(THROUGH)).map_err(|e| e.to_string())?;
        let through = cache.unseal(&through.ok_or("it has come nowhere")?).map_err(|e| e.to_string())?;
        let mut fields = Fields(&through);
        let (frame, hash) = fields.u64().zip(fields.take()).ok_or("how far it has come cannot be read")?;
        match log.hash_after(frame).map_err(|e| e.to_string())? {
            Some(found) if found == hash => Ok((cache, frame)),
            Some(_) => Err(format!("it has come to another frame {frame}: it is of another copy of the log")),
            None => {
                tracing::error!(
                    cache = frame,
                    log = log.head().frames,
                    "the cache has seen more frames than the log has: the end of the log may be lost"
                );
                Err(format!("it has come to frame {frame}, the log only to {}", log.head().frames))
            }
        }
    }

    /// The old directory is moved away first, so that a crash never leaves half of it, and an old handle does no harm.
    fn fresh(directory: Arc<Directory>) -> Result<Self, LogError> {
        let (path, old) = (directory.path().join("cache"), directory.path().join("cache.old"));
        let remove = |path: &std::path::Path| match path.exists() {
            true => fs::remove_dir_all(path).map_err(|e| LogError::io("remove", path, e)),
            false => Ok(()),
        };
        remove(&old)?;
        if path.exists() {
            fs::rename(&path, &old).map_err(|e| LogError::io("rename", &path, e))?;
            sync_path(directory.path())?;
            remove(&old)?;
        }
        write_durably(&trust_file(&directory), &Trust::now(&directory, false))?;
        Self::attach(directory)
    }

    fn attach(directory: Arc<Directory>) -> Result<Self, LogError> {
        let path = directory.path().join("cache");
        let store = Store::open(&path)?;
        let tree = |name| careful(|| store.db.open_tree(name)).map_err(|why| LogError::Corrupt(path.clone(), why));
        let (open, closed, parts) = (tree("open")?, tree("closed")?, tree("parts")?);
        Ok(Self(Arc::new(Inner {
            directory,
            store,
            open,
            closed,
            parts,
            closing: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
        })))
    }

    fn scan(
        &self,
        place: Place,
        after: Option<&str>,
    ) -> impl Iterator<Item = Result<(String, Vec<u8>), LogError>> + use<> {
        let cache = self.clone();
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes().to_vec()));
        let mut rows = self.tree(place).range((start, Bound::Unbounded));
        let mut broken = false;
        std::iter::from_fn(move || {
            if broken {
                return None;
            }
            let row = cache.run(|| rows.next().transpose()).transpose()?.and_then(|(id, value)| {
                let id = String::from_utf8(id.to_vec()).map_err(|_| cache.distrust("a key is not text"))?;
                Ok((id, cache.unseal(&value)?))
            });
            broken = row.is_err();
            Some(row)
        })
    }

    fn tree(&self, place: Place) -> &sled::Tree {
        match place {
            Place::Open => &self.0.open,
            Place::Closed => &self.0.closed,
        }
    }

    fn run<T>(&self, work: impl FnOnce() -> sled::Result<T>) -> Result<T, LogError> {
        careful(work).map_err(|why| self.distrust(&why))
    }

    fn unseal(&self, value: &[u8]) -> Result<Vec<u8>, LogError> {
        let state =
            value.split_first_chunk().filter(|(crc, state)| u32::from_be_bytes(**crc) == crc32fast::hash(state));
        state.map(|(_, state)| state.to_vec()).ok_or_else(|| self.distrust("a checksum does not match"))
    }

    fn distrust(&self, why: &str) -> LogError {
        self.doubt();
        LogError::Corrupt(self.0.directory.path().join("cache"), why.to_owned())
    }
}

/// `cache.json`: whether the cache may be trusted.
#[derive(Serialize, Deserialize)]
struct Trust {
    format: u64,
    log_id: String,
    /// The system's run in which the cache was last open.
    boot_id: Option<String>,
    /// Whether it was brought onto stable storage and not opened since.
    clean: bool,
}

impl Trust {
    fn now(directory: &Directory, clean: bool) -> Self {
        Self { format: FORMAT, log_id: directory.log_id().to_string(), boot_id: boot_id(), clean }
    }

    fn read(directory: &Directory) -> Result<Self, String> {
        let bytes = fs::read(trust_file(directory)).map_err(|e| format!("cache.json: {e}"))?;
        serde_json::from_slice(&bytes).map_err(|e| format!("cache.json: {e}"))
    }

    fn check(&self, directory: &Directory) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {}, expected {FORMAT}", self.format));
        }
        if self.log_id != directory.log_id().to_string() {
            return Err("it is of another log".into());
        }
        let same_boot = self.boot_id.is_some() && self.boot_id == boot_id();
        if !self.clean && !same_boot {
            return Err("the machine was started again without a clean stop of the service".into());
        }
        Ok(())
    }
}

/// No id holds the byte that ends it here.
fn part_key(id: &str, part: Part, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.len() + 10);
    key.extend_from_slice(id.as_bytes());
    key.extend_from_slice(&[0, part as u8]);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn trust_file(directory: &Directory) -> std::path::PathBuf {
    directory.path().join("cache.json")
}

fn boot_id() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut value = crc32fast::hash(bytes).to_be_bytes().to_vec();
    value.extend_from_slice(bytes);
    value
}

#[cfg(test)]
mod tests;
