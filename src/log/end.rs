//! `log.json`: how far the log reached when it was last opened or closed.
//!
//! sled opens a damaged file as well as it can, and may leave out the end of it without a word. What was
//! acknowledged would be gone and its numbers given out again; so the end is noted beside the log, and a log that does
//! not reach it is refused.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::codec::{hex, unhex};
use super::directory::{Directory, write_durably};
use super::entry::Hash;
use super::error::LogError;
use super::reader::{Head, Reader};

/// The end of the log as it was noted.
pub(super) struct End {
    /// Number of the last frame.
    pub frames: u64,
    /// Hash of the last entry.
    pub hash: Hash,
    /// Number of the last volume.
    pub volume: u64,
}

#[derive(Serialize, Deserialize)]
struct Note {
    frames: u64,
    /// Hash of the last entry, in hex: it tells this log from another copy that went another way.
    hash: String,
    /// The folder that must be there; a log from before there were several has one.
    #[serde(default = "first")]
    volume: u64,
}

/// Refuses a log that lacks what it once had.
pub(super) fn check(directory: &Directory, known: &End, log: &Reader) -> Result<(), LogError> {
    let refuse = |why: String| Err(LogError::Shortened { path: directory.path().to_path_buf(), why });
    let frames = known.frames;
    match log.hash_after(frames)? {
        None => refuse(format!("it ends at frame {}, expected {frames} at least", log.head().frames)),
        Some(hash) if hash != known.hash => refuse(format!("its frame {frames} is another")),
        Some(_) => Ok(()),
    }
}

/// How far the log reached when that was last noted.
pub(super) fn known(directory: &Directory) -> Result<Option<End>, LogError> {
    let file = file(directory);
    let unreadable = |why: &str| LogError::Shortened {
        path: directory.path().to_path_buf(),
        why: format!("log.json does not read: {why}"),
    };
    let bytes = match fs::read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|e| LogError::io("read", &file, e))?,
    };
    let end: Note = serde_json::from_slice(&bytes).map_err(|e| unreadable(&e.to_string()))?;
    let hash = unhex(end.hash.as_bytes()).ok_or_else(|| unreadable("hash: expected 64 hex digits"))?;
    Ok(Some(End { frames: end.frames, hash, volume: end.volume }))
}

/// Notes how far the log reaches.
pub(super) fn note(directory: &Directory, head: &Head, volume: u64) -> Result<(), LogError> {
    write_durably(&file(directory), &Note { frames: head.frames, hash: hex(&head.hash), volume })
}

fn first() -> u64 {
    1
}

fn file(directory: &Directory) -> PathBuf {
    directory.path().join("log.json")
}
