//! A log opened to be looked through, however damaged: nothing is refused, nothing is noted, nothing is written.
//!
//! A start refuses a log that lacks its end or whose last frame does not read. Whoever looks for the fault, or saves
//! what stands before it, must get further.

use std::sync::Arc;

use super::directory::{Directory, Space};
use super::end;
use super::entry::Hash;
use super::error::{Fault, LogError, Problem};
use super::reader::{Head, Reader};
use super::store::Store;

/// A data directory's log, as it is.
pub struct Inspection {
    reader: Reader,
    known_end: Option<(u64, Hash)>,
}

impl Inspection {
    /// Opens the log of a data directory.
    pub fn open(directory: Arc<Directory>) -> Result<Self, LogError> {
        let known_end = end::known(&directory)?;
        let path = directory.log_path()?;
        let log_id = directory.log_id();
        Space::open(directory)?;
        let store = Arc::new(Store::open(&path)?);
        let reader = Reader::inspect(store, log_id, known_end.map_or(0, |(frames, _)| frames))?;
        Ok(Self { reader, known_end })
    }

    /// Its frames, those that are missing among them: each of these is a fault when it is read.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Takes the head that every frame was followed to; a fault where something else was noted of the log's end.
    pub fn conclude(&self, head: &Head) -> Result<(), Fault> {
        self.reader.adopt(head.clone());
        match self.known_end {
            Some((frames, hash)) if frames == head.frames && hash != head.hash => {
                Err(Fault { frame: frames, seq: Some(head.next_seq.saturating_sub(1)), problem: Problem::End })
            }
            _ => Ok(()),
        }
    }
}
