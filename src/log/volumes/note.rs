//! `log/N.json`: what a sealed volume holds, so that nobody has to open it to know.
//!
//! It is written when the volume is full, before the next one begins, and covered by a checksum. It says nothing that
//! the volume does not: one that is gone is made again from the volume, one that was changed is refused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::log::codec::{hex, unhex};
use crate::log::directory::write_durably;
use crate::log::error::LogError;
use crate::log::reader::Head;

/// A volume that nothing is written to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Number of the volume, dense from 1.
    pub volume: u64,
    /// Number of its first frame.
    pub first_frame: u64,
    /// The seq of its first event.
    pub first_seq: u64,
    /// Time of its first entry.
    pub first_at: u64,
    /// The head of the log where it ends.
    pub end: Head,
    /// About how many bytes its frames have.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Note {
    volume: u64,
    log_id: String,
    frames: Span,
    /// `last` is one less than `first` where it holds no event.
    seqs: Span,
    times_ms: Span,
    published_through: u64,
    bytes: u64,
    /// Hash of the last entry, in hex.
    hash: String,
    checksum: String,
}

#[derive(Serialize, Deserialize)]
struct Span {
    first: u64,
    last: u64,
}

impl Sealed {
    /// Writes the note, on stable storage when this returns.
    pub fn write(&self, log: &Path, log_id: Uuid) -> Result<(), LogError> {
        let mut note = Note {
            volume: self.volume,
            log_id: log_id.to_string(),
            frames: Span { first: self.first_frame, last: self.end.frames },
            seqs: Span { first: self.first_seq, last: self.end.next_seq - 1 },
            times_ms: Span { first: self.first_at, last: self.end.last_at },
            published_through: self.end.published_through,
            bytes: self.bytes,
            hash: hex(&self.end.hash),
            checksum: String::new(),
        };
        note.checksum = note.expected_checksum();
        write_durably(&path(log, self.volume), &note)
    }

    /// Reads the note of a volume; none where there is none.
    pub fn read(log: &Path, log_id: Uuid, volume: u64) -> Result<Option<Self>, LogError> {
        let file = path(log, volume);
        let bytes = match fs::read(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|e| LogError::io("read", &file, e))?,
        };
        let broken = |why: String| LogError::Note(file.clone(), why);
        let note: Note = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
        if note.checksum != note.expected_checksum() {
            return Err(broken("its checksum does not match: the file was changed".into()));
        }
        if (note.volume, note.log_id.as_str()) != (volume, log_id.to_string().as_str()) {
            return Err(broken(format!("it is of volume {} of log {}", note.volume, note.log_id)));
        }
        note.sealed().map(Some).ok_or_else(|| broken("hash: expected 64 hex digits".into()))
    }
}

impl Note {
    fn sealed(&self) -> Option<Sealed> {
        let end = Head {
            frames: self.frames.last,
            next_seq: self.seqs.last + 1,
            last_at: self.times_ms.last,
            hash: unhex(self.hash.as_bytes())?,
            published_through: self.published_through,
        };
        Some(Sealed {
            volume: self.volume,
            first_frame: self.frames.first,
            first_seq: self.seqs.first,
            first_at: self.times_ms.first,
            end,
            bytes: self.bytes,
        })
    }

    fn expected_checksum(&self) -> String {
        let fields = format!(
            "{} {} {} {} {} {} {} {} {} {} {}",
            self.volume,
            self.log_id,
            self.frames.first,
            self.frames.last,
            self.seqs.first,
            self.seqs.last,
            self.times_ms.first,
            self.times_ms.last,
            self.published_through,
            self.bytes,
            self.hash
        );
        hex(&crc32fast::hash(fields.as_bytes()).to_be_bytes())
    }
}

/// Where the note of a volume is.
pub fn path(log: &Path, volume: u64) -> PathBuf {
    log.join(format!("{volume}.json"))
}
