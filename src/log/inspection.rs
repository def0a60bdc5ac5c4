//! A log opened to be looked through, however damaged: nothing is refused, nothing is noted, and nothing is written but
//! what the database lacks of what a kill left ahead of it.
//!
//! A start refuses a log that lacks its end or whose last frame does not read. Whoever looks for the fault, or saves
//! what stands before it, must get further.

use std::sync::Arc;

use super::ahead;
use super::directory::Directory;
use super::end::{self, End};
use super::error::{Fault, LogError, Problem};
use super::reader::{Head, Reader};
use super::space::Space;
use super::volumes::{Opening, Volumes};

/// A data directory's log, as it is.
pub struct Inspection {
    reader: Reader,
    volumes: Arc<Volumes>,
    known_end: Option<End>,
}

impl Inspection {
    /// Opens the log of a data directory.
    pub fn open(directory: Arc<Directory>) -> Result<Self, LogError> {
        let known_end = end::known(&directory)?;
        let log_id = directory.log_id();
        Space::open(directory.clone())?;
        let volumes = Arc::new(Volumes::open(&directory, Opening::Inspected, known_end.as_ref())?);
        let frames_min = known_end.as_ref().map_or(0, |end| end.frames).max(volumes.frames_min());
        put_in_what_is_ahead(&directory, &volumes);
        let reader = Reader::inspect(volumes.clone(), log_id, frames_min)?;
        Ok(Self { reader, volumes, known_end })
    }

    /// Its frames, those that are missing among them: each of these is a fault when it is read.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Holds what was noted of a volume, where one ends there, to the head that every frame was followed to.
    pub fn check_note(&self, head: &Head) -> Result<(), Fault> {
        self.volumes.check_note(head, &self.reader)
    }

    /// Takes the head that every frame was followed to; a fault where something else was noted of the log's end.
    pub fn conclude(&self, head: &Head) -> Result<(), Fault> {
        self.reader.adopt(head.clone());
        match &self.known_end {
            Some(end) if end.frames == head.frames && end.hash != head.hash => {
                Err(Fault::new(end.frames, Some(head.next_seq.saturating_sub(1)), Problem::End))
            }
            _ => self.volumes.check_notes_read(),
        }
    }
}

/// Where the end of the database does not read, nothing can follow it.
fn put_in_what_is_ahead(directory: &Directory, volumes: &Arc<Volumes>) {
    let Ok(store) = volumes.last() else { return };
    let Ok(reader) = Reader::open(volumes.clone(), directory.log_id()) else { return };
    if let Err(error) = ahead::put_in(&directory.log_path(), &store, volumes.last_first_frame(), reader.head()) {
        if matches!(error, LogError::Write(_)) {
            store.abandon();
        }
        tracing::warn!(%error, "what was written last could not be looked at");
    }
}
