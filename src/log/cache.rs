//! The cache of states: a second database and a journal, which may be deleted whenever nothing runs, and are rebuilt
//! from the log.
//!
//! Nobody waits until it is on stable storage, so a power cut may leave anything of it. It is trusted only after
//! a clean stop, or while the machine has not been started again: a kill leaves what was handed to the system.
//! It says how far in the log it has come, always after the states themselves, never before; the hash of that
//! entry says that it is this log, and not an older copy of it. Any doubt wipes it.
//!
//! Open conversations stand in the [journal], which a start reads whole; closed ones, and parts of all, in the database of
//! [tables], where they are looked up. A round writes to the database and hands that to the system; only then the mark in the
//! journal says that it is over. So the database is never behind the journal. Neither is ever behind the mark, and both may
//! be ahead of it: a round takes conversations as they are, some of which went on since the frame that it names. Whoever
//! reads the log from there on passes over what a state knows already.
//!
//! One that stands in both is open: the row in the database is from before it was opened again, or the log behind the mark
//! closes it. A row is therefore never removed, but written over when its conversation closes again.

mod journal;
mod medium;
mod memory;
mod records;
mod tables;
mod tape;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codec::Fields;
use super::directory::Directory;
use super::error::LogError;
use super::reader::Reader;
use journal::{Journal, Mark};
use medium::{Medium, Shelves};
pub use memory::SimulatedCache;

/// The format of what the layer above keeps here is part of this number: a change of either wipes old caches.
const FORMAT: u64 = 6;

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
    medium: Arc<dyn Medium>,
    shelves: Box<dyn Shelves>,
    journal: Mutex<Journal>,
    of: Of,
    closing: AtomicBool,
    /// Something in it was found to be wrong: no close may say that it can be trusted.
    doubted: AtomicBool,
}

/// Which log a cache is of.
#[derive(Clone, Copy)]
struct Of {
    id: Uuid,
    /// Where it begins: what is kept from before old volumes were removed rests on frames that are gone.
    first_frame: u64,
}

impl Of {
    fn log(log: &Reader) -> Of {
        Of { id: log.log_id(), first_frame: log.first_number() }
    }
}

impl Cache {
    /// Opens the cache of a data directory, with the number of the frame that it has come to; `None` where it
    /// holds nothing, or was wiped because it could not be trusted.
    pub fn open(directory: Arc<Directory>, log: &Reader) -> Result<(Self, Option<u64>), LogError> {
        Self::open_on(Arc::new(directory), log)
    }

    /// The same on a simulated cache.
    pub fn open_simulated(cache: &SimulatedCache, log: &Reader) -> Result<(Self, Option<u64>), LogError> {
        Self::open_on(Arc::new(cache.clone()), log)
    }

    fn open_on(medium: Arc<dyn Medium>, log: &Reader) -> Result<(Self, Option<u64>), LogError> {
        match Self::open_where_trusted(&medium, log) {
            Ok((cache, through)) => Ok((cache, Some(through))),
            Err(why) => {
                // Beside a log that holds nothing there is nothing to trust.
                if medium.exists() && log.head().frames > 0 {
                    tracing::warn!(why, "the cache is not trusted and is built again from the log");
                }
                Ok((Self::fresh(medium, Of::log(log))?, None))
            }
        }
    }

    /// Keeps parts of conversations, before the states that rest on them: each with its number among those of its kind.
    pub fn put_parts<'a>(&self, parts: impl Iterator<Item = (&'a str, Part, u64, &'a [u8])>) -> Result<(), LogError> {
        for (id, part, number, bytes) in parts {
            self.checked(self.0.shelves.insert_part(part_key(id, part, number), sealed(bytes)))?;
        }
        Ok(())
    }

    /// A part of a conversation.
    pub fn part(&self, id: &str, part: Part, number: u64) -> Result<Option<Vec<u8>>, LogError> {
        let value = self.checked(self.0.shelves.part(&part_key(id, part, number)))?;
        value.map(|value| self.unseal(&value)).transpose()
    }

    /// The last part of that kind up to that number, and its number.
    pub fn part_up_to(&self, id: &str, part: Part, number: u64) -> Result<Option<(u64, Vec<u8>)>, LogError> {
        let (first, last) = (part_key(id, part, 0), part_key(id, part, number));
        let Some((key, value)) = self.checked(self.0.shelves.last_part(&first, &last))? else { return Ok(None) };
        let number = key.last_chunk().map(|number| u64::from_be_bytes(*number));
        Ok(number.zip(Some(self.unseal(&value)?)))
    }

    /// Keeps states, then notes that all states up to the end of that frame are kept.
    /// One that closes goes from the journal; one that is opened again is added there, and its row in the database stays.
    pub fn put<'a>(
        &self,
        states: impl Iterator<Item = (&'a str, Place, &'a [u8])>,
        frame: u64,
        log: &Reader,
    ) -> Result<(), LogError> {
        let hash = log.hash_after(frame)?.ok_or_else(|| {
            LogError::Draft(format!("the log has no frame {frame} that the cache could have come to"))
        })?;
        self.put_states(states)?;
        let mut journal = self.journal();
        journal.begin().map_err(LogError::Write)?;
        let mut through = frame.to_be_bytes().to_vec();
        through.extend_from_slice(&hash);
        self.checked(self.0.shelves.set_through(sealed(&through)))?;
        self.0.shelves.flush().map_err(LogError::Write)?;
        journal.commit(Mark { frame, hash }).map_err(LogError::Write)
    }

    /// Rewrites what is kept of open conversations, if much of it is out of date, and merges closed ones: for after a
    /// [`put`](Self::put) to which nobody is in a hurry to add.
    pub fn tidy(&self) -> Result<(), LogError> {
        let tidied = self.journal().tidy();
        self.checked(tidied.and_then(|()| self.0.shelves.tidy()))
    }

    /// Keeps states without noting how far it has come: until that is noted a start believes none of them.
    pub fn put_states<'a>(&self, states: impl Iterator<Item = (&'a str, Place, &'a [u8])>) -> Result<(), LogError> {
        if self.0.closing.load(Ordering::Acquire) {
            return Err(LogError::Stopped);
        }
        let mut journal = self.journal();
        journal.begin().map_err(LogError::Write)?;
        for (id, place, state) in states {
            match place {
                Place::Open => journal.open_is(id, state).map_err(LogError::Write)?,
                Place::Closed => {
                    self.checked(self.0.shelves.insert_closed(id, sealed(state)))?;
                    journal.is_gone(id).map_err(LogError::Write)?;
                }
            }
        }
        journal.pause();
        Ok(())
    }

    /// The state of a conversation that is not open: for who has all open ones in memory, where one that was opened again
    /// is found.
    pub fn closed(&self, id: &str) -> Result<Option<Vec<u8>>, LogError> {
        let value = self.checked(self.0.shelves.closed(id))?;
        value.map(|value| self.unseal(&value)).transpose()
    }

    /// The states of all open conversations, in the order of their ids. Ends after the first fault.
    pub fn scan_open(&self) -> impl Iterator<Item = Result<(String, Vec<u8>), LogError>> + use<> {
        let cache = self.clone();
        let (mut rows, fault) = match self.checked(self.journal().rows()) {
            Ok(rows) => (Some(rows), None),
            Err(fault) => (None, Some(Err(fault))),
        };
        let found = std::iter::from_fn(move || {
            let row = rows.as_mut()?.next().map(|row| row.map(|(id, head)| (id.to_owned(), head.to_vec())));
            let row = cache.checked(row);
            if row.is_err() {
                rows = None;
            }
            row.transpose()
        });
        fault.into_iter().chain(found)
    }

    /// The states of closed conversations whose ids come after that one, in the order of their ids. One that was opened
    /// again may be among them.
    pub fn closed_after(
        &self,
        id: Option<&str>,
        limit: usize,
    ) -> impl Iterator<Item = Result<(String, Vec<u8>), LogError>> + use<> {
        let cache = self.clone();
        let mut rows = self.0.shelves.closed_after(id);
        let mut broken = false;
        let rows = std::iter::from_fn(move || {
            if broken {
                return None;
            }
            let row = cache.checked(rows.next().transpose()).transpose()?.and_then(|(id, value)| {
                let id = String::from_utf8(id).map_err(|_| cache.distrust("a key is not text"))?;
                Ok((id, cache.unseal(&value)?))
            });
            broken = row.is_err();
            Some(row)
        });
        rows.take(limit)
    }

    /// Leaves the cache on stable storage and says so: the next start trusts it. Nothing can be put afterwards.
    pub fn close(&self) -> Result<(), LogError> {
        self.0.closing.store(true, Ordering::Release);
        self.0.shelves.sync().inspect_err(|_| self.0.shelves.abandon()).map_err(LogError::Write)?;
        self.journal().sync().map_err(LogError::Write)?;
        if self.0.doubted.load(Ordering::Acquire) {
            return Ok(());
        }
        Trust::now(&*self.0.medium, self.0.of, true).note(&*self.0.medium)
    }

    /// Sees to it that the next start wipes the cache: for who finds that it is not as the log says.
    pub fn doubt(&self) {
        self.0.doubted.store(true, Ordering::Release);
        self.0.medium.clear_trust();
    }

    /// Wipes the cache of a data directory, durably: for who takes away what it rests on.
    pub fn wipe(directory: &Arc<Directory>) -> Result<(), LogError> {
        directory.clear_trust();
        directory.wipe()
    }

    /// Wipes the cache and begins an empty one: for who finds it wanting. Nobody may go on with other handles on the old one:
    /// what they miss there would take the trust in the new one away.
    pub fn start_over(self) -> Result<Self, LogError> {
        Self::fresh(self.0.medium.clone(), self.0.of)
    }

    /// Opens the cache of a data directory as it is, with the number of the frame that it has come to; why not, where
    /// it is not trusted. For tools: [`close`](Self::close) leaves it as trusted as it was.
    pub fn open_trusted(directory: &Arc<Directory>, log: &Reader) -> Result<(Self, u64), String> {
        Self::open_where_trusted(&(Arc::new(directory.clone()) as Arc<dyn Medium>), log)
    }

    fn open_where_trusted(medium: &Arc<dyn Medium>, log: &Reader) -> Result<(Self, u64), String> {
        Trust::read(&**medium)?.check(&**medium, Of::log(log))?;
        Trust::now(&**medium, Of::log(log), false).note(&**medium).map_err(|e| e.to_string())?;
        let (cache, journal) = Self::attach(medium.clone(), Of::log(log)).map_err(|e| e.to_string())?;
        let through = cache.checked(cache.0.shelves.through()).map_err(|e| e.to_string())?;
        let through = cache.unseal(&through.ok_or("it has come nowhere")?).map_err(|e| e.to_string())?;
        let mut fields = Fields(&through);
        let (frame, hash) = fields.u64().zip(fields.take()).ok_or("how far it has come cannot be read")?;
        check_in_log(log, &Mark { frame, hash })?;
        let mark = journal.ok_or("what it keeps of open conversations does not read")?;
        check_in_log(log, &mark)?;
        if mark.frame > frame {
            return Err(format!("its database has come to frame {frame}, expected {} as its journal has", mark.frame));
        }
        Ok((cache, mark.frame))
    }

    fn fresh(medium: Arc<dyn Medium>, of: Of) -> Result<Self, LogError> {
        medium.wipe()?;
        Trust::now(&*medium, of, false).note(&*medium)?;
        Self::attach(medium, of).map(|(cache, _)| cache)
    }

    fn attach(medium: Arc<dyn Medium>, of: Of) -> Result<(Self, Option<Mark>), LogError> {
        let (closing, doubted) = (AtomicBool::new(false), AtomicBool::new(false));
        let (shelves, tape) = medium.attach()?;
        let (journal, mark) = Journal::open(tape).map_err(|why| medium.corrupt(&why))?;
        let journal = Mutex::new(journal);
        Ok((Self(Arc::new(Inner { shelves, journal, medium, of, closing, doubted })), mark))
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.0.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checked<T>(&self, found: Result<T, String>) -> Result<T, LogError> {
        found.map_err(|why| self.distrust(&why))
    }

    fn unseal(&self, value: &[u8]) -> Result<Vec<u8>, LogError> {
        let state =
            value.split_first_chunk().filter(|(crc, state)| u32::from_be_bytes(**crc) == crc32fast::hash(state));
        state.map(|(_, state)| state.to_vec()).ok_or_else(|| self.distrust("a checksum does not match"))
    }

    fn distrust(&self, why: &str) -> LogError {
        self.doubt();
        self.0.medium.corrupt(why)
    }
}

/// Refuses what has come to a place that the log has not got.
fn check_in_log(log: &Reader, mark: &Mark) -> Result<(), String> {
    let frame = mark.frame;
    match log.hash_after(frame).map_err(|e| e.to_string())? {
        Some(found) if found == mark.hash => Ok(()),
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

/// `cache.json`: whether the cache may be trusted.
#[derive(Serialize, Deserialize)]
struct Trust {
    format: u64,
    log_id: String,
    /// The first frame of the log then.
    #[serde(default = "first_of_all")]
    first_frame: u64,
    /// The system's run in which the cache was last open.
    boot_id: Option<String>,
    /// Whether it was brought onto stable storage and not opened since.
    clean: bool,
}

impl Trust {
    fn now(medium: &dyn Medium, of: Of, clean: bool) -> Self {
        let (log_id, first_frame) = (of.id.to_string(), of.first_frame);
        Self { format: FORMAT, log_id, first_frame, boot_id: medium.boot_id(), clean }
    }

    fn read(medium: &dyn Medium) -> Result<Self, String> {
        serde_json::from_slice(&medium.trust()?).map_err(|e| format!("cache.json: {e}"))
    }

    fn note(&self, medium: &dyn Medium) -> Result<(), LogError> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain fields are always JSON");
        text.push(b'\n');
        medium.set_trust(&text)
    }

    fn check(&self, medium: &dyn Medium, of: Of) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {}, expected {FORMAT}", self.format));
        }
        if self.log_id != of.id.to_string() {
            return Err("it is of another log".into());
        }
        if self.first_frame != of.first_frame {
            return Err("it is from before old volumes of the log were removed".into());
        }
        let same_boot = self.boot_id.is_some() && self.boot_id == medium.boot_id();
        if !self.clean && !same_boot {
            return Err("the machine was started again without a clean stop of the service".into());
        }
        Ok(())
    }
}

fn first_of_all() -> u64 {
    1
}

/// No id holds the byte that ends it here.
fn part_key(id: &str, part: Part, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.len() + 10);
    key.extend_from_slice(id.as_bytes());
    key.extend_from_slice(&[0, part as u8]);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut value = crc32fast::hash(bytes).to_be_bytes().to_vec();
    value.extend_from_slice(bytes);
    value
}

#[cfg(test)]
mod tests;
