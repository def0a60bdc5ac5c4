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
use super::reader::Reader;

#[derive(Serialize, Deserialize)]
struct End {
    frames: u64,
    /// Hash of the last entry, in hex: it tells this log from another copy that went another way.
    hash: String,
}

/// Refuses a log that lacks what it once had, then notes how far it reaches now.
pub(super) fn check(directory: &Directory, log: &Reader) -> Result<(), LogError> {
    let refuse = |why: String| Err(LogError::Shortened { path: directory.path().to_path_buf(), why });
    if let Some((frames, known)) = known(directory)? {
        match log.hash_after(frames)? {
            None => return refuse(format!("it ends at frame {}, expected {frames} at least", log.head().frames)),
            Some(hash) if hash != known => return refuse(format!("its frame {frames} is another")),
            Some(_) => {}
        }
    }
    note(directory, log)
}

/// The frame that the log reached when that was last noted, and the hash of the last entry there.
pub(super) fn known(directory: &Directory) -> Result<Option<(u64, Hash)>, LogError> {
    let file = file(directory);
    let unreadable = |why: &str| LogError::Shortened {
        path: directory.path().to_path_buf(),
        why: format!("log.json does not read: {why}"),
    };
    let bytes = match fs::read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|e| LogError::io("read", &file, e))?,
    };
    let end: End = serde_json::from_slice(&bytes).map_err(|e| unreadable(&e.to_string()))?;
    let hash = unhex(end.hash.as_bytes()).ok_or_else(|| unreadable("hash: expected 64 hex digits"))?;
    Ok(Some((end.frames, hash)))
}

/// Notes how far the log reaches.
pub(super) fn note(directory: &Directory, log: &Reader) -> Result<(), LogError> {
    let head = log.head();
    write_durably(&file(directory), &End { frames: head.frames, hash: hex(&head.hash) })
}

fn file(directory: &Directory) -> PathBuf {
    directory.path().join("log.json")
}
