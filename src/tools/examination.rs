//! A data directory looked through from its first frame on, the chain followed, for as far as it holds.
//!
//! `verify` and `export` walk here; a log that a start would refuse is read all the same, up to its first fault.

use std::path::Path;
use std::sync::Arc;

use super::failure::{Failure, chain};
use super::progress::Progress;
use crate::log::{Cache, Directory, Frame, Head, Inspection, LogError, Reader};

/// A data directory under examination; locked while it is.
pub struct Examination {
    directory: Arc<Directory>,
    log: Inspection,
    /// How far the chain was followed.
    pub head: Head,
}

/// Why a walk ended before the end of the log.
#[derive(Debug)]
pub enum Halt {
    /// The log is not as it must be from here on.
    Fault(String),
    /// Whoever took the frames could not go on.
    Failure(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Halt {
        Halt::Failure(failure)
    }
}

impl From<Halt> for Failure {
    fn from(halt: Halt) -> Failure {
        match halt {
            Halt::Fault(text) => Failure::Found(text),
            Halt::Failure(failure) => failure,
        }
    }
}

impl Examination {
    /// Opens a data directory that holds a log, and of which no switchboard runs.
    pub fn open(path: &Path) -> Result<Examination, Failure> {
        let directory = Arc::new(Directory::open(path).map_err(failure)?);
        let log = Inspection::open(directory.clone()).map_err(failure)?;
        let head = log.reader().beginning();
        Ok(Examination { directory, log, head })
    }

    /// The log, however damaged.
    pub fn reader(&self) -> &Reader {
        self.log.reader()
    }

    /// Whose log it is, and its secret.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Walks through the log: each frame that follows the one before is handed on.
    pub fn walk(&mut self, mut take: impl FnMut(Frame) -> Result<(), Halt>) -> Result<(), Halt> {
        let reader = self.log.reader();
        // A wrong note keeps nobody from what is in the volumes.
        let mut notes = Ok(());
        let progress = Progress::new(Some(reader.head().frames), "frame");
        for frame in reader.frames(1) {
            let next_seq = self.head.next_seq;
            let followed = frame.and_then(|frame| self.head.follow(&frame).map(|()| frame));
            let frame = followed.map_err(|mut fault| {
                fault.seq.get_or_insert(next_seq);
                Halt::Fault(reader.placed(fault).to_string())
            })?;
            take(frame)?;
            notes = notes.and_then(|()| self.log.check_note(&self.head));
            progress.reached(self.head.frames);
        }
        progress.finish();
        self.log.conclude(&self.head).and(notes).map_err(|fault| Halt::Fault(fault.to_string()))
    }

    /// The cache beside the log, and the frame that it has come to; why there is none that would be believed. Once the
    /// log was walked through.
    pub fn cache(&self) -> Result<(Cache, u64), String> {
        if !self.directory.path().join("cache").exists() {
            return Err("none".into());
        }
        Cache::open_trusted(&self.directory, self.log.reader()).map_err(|why| format!("not trusted ({why})"))
    }
}

/// A directory whose records are damaged was found to be; anything else is in the way of looking.
pub(super) fn failure(error: LogError) -> Failure {
    match error {
        LogError::Fault(_)
        | LogError::Corrupt(..)
        | LogError::Shortened { .. }
        | LogError::VolumeLost { .. }
        | LogError::Note(..)
        | LogError::MetadataBroken(..)
        | LogError::BeforeBase { .. }
        | LogError::MetadataLost(_) => Failure::Found(chain(&error)),
        error => Failure::Fault(Box::new(error)),
    }
}
