//! `log.json`: how far the log reached when it was last opened or closed.
//!
//! sled opens a damaged file as well as it can, and may leave out the end of it without a word. What was
//! acknowledged would be gone and its numbers given out again; so the end is noted beside the log, and a log that does
//! not reach it is refused.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::codec::hex;
use super::directory::{Directory, write_durably};
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
    let file = file(directory);
    let refuse = |why: String| Err(LogError::Shortened { path: directory.path().to_path_buf(), why });
    let known: Option<End> = match fs::read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(LogError::io("read", &file, e)),
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(end) => Some(end),
            Err(e) => return refuse(format!("log.json does not read: {e}")),
        },
    };
    if let Some(end) = known {
        match log.hash_after(end.frames)? {
            None => return refuse(format!("it ends at frame {}, expected {} at least", log.head().frames, end.frames)),
            Some(hash) if hex(&hash) != end.hash => return refuse(format!("its frame {} is another", end.frames)),
            Some(_) => {}
        }
    }
    note(directory, log)
}

/// Notes how far the log reaches.
pub(super) fn note(directory: &Directory, log: &Reader) -> Result<(), LogError> {
    let head = log.head();
    write_durably(&file(directory), &End { frames: head.frames, hash: hex(&head.hash) })
}

fn file(directory: &Directory) -> PathBuf {
    directory.path().join("log.json")
}
