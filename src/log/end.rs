//! `log.json`: how far the log reached when it was last opened or closed; `log.reached`: how far since then.
//!
//! sled opens a damaged file as well as it can, and may leave out the end of it without a word. What was
//! acknowledged would be gone and its numbers given out again; so the end is noted beside the log, and a log that does
//! not reach it is refused.
//!
//! The second is written after each group and never synced: that costs next to nothing. A kill leaves it as it is. A power
//! cut may leave an older one, or one that does not read and does not count. So it says which `log.json` it was written
//! under and counts with that one only: whoever deletes or changes the first has done so with both.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::codec::{hex, unhex};
use super::directory::{Directory, write_durably};
use super::entry::Hash;
use super::error::LogError;
use super::reader::{Head, Reader};

/// Counts only beside the `log.json` under which it was written.
pub(super) const REACHED: &str = "log.reached";

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
    let end = End { frames: end.frames, hash, volume: end.volume };
    Ok(Some(match Reached::read(directory, (end.frames, end.hash)) {
        Some((frames, hash)) if frames > end.frames => End { frames, hash, ..end },
        _ => end,
    }))
}

/// Notes how far the log reaches.
pub(super) fn note(directory: &Directory, head: &Head, volume: u64) -> Result<(), LogError> {
    write_durably(&file(directory), &Note { frames: head.frames, hash: hex(&head.hash), volume })
}

fn first() -> u64 {
    1
}

/// A frame, and the hash of the last entry there.
type Place = (u64, Hash);

/// `log.reached`: a line of so many bytes, always written over the one before.
pub(super) struct Reached {
    file: File,
    /// What `log.json` says.
    since: Place,
}

impl Reached {
    /// Notes from now on how far the log of that directory reaches; `log.json` says where it is now.
    pub fn open(directory: &Directory, head: &Head) -> Result<Self, LogError> {
        let path = directory.path().join(REACHED);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|e| LogError::io("open", &path, e))?;
        let mut reached = Self { file, since: (0, Hash::default()) };
        reached.begin(head);
        Ok(reached)
    }

    /// Goes on under another `log.json`, which says where the log is now.
    pub fn begin(&mut self, head: &Head) {
        self.since = (head.frames, head.hash);
        self.note(head);
    }

    /// Notes how far the log reaches. A note that fails leaves the one before, which is as true.
    pub fn note(&self, head: &Head) {
        let _ = self.file.write_all_at(line(self.since, (head.frames, head.hash)).as_bytes(), 0);
    }

    /// What was noted, where it reads and was noted under that `log.json`.
    fn read(directory: &Directory, since: Place) -> Option<Place> {
        let text = fs::read_to_string(directory.path().join(REACHED)).ok()?;
        let mut words = text.split(' ').skip(2);
        let reached = (words.next()?.parse().ok()?, unhex(words.next()?.as_bytes())?);
        (text == line(since, reached)).then_some(reached)
    }
}

fn line(since: Place, reached: Place) -> String {
    let place = |(frames, hash): Place| format!("{frames:020} {}", hex(&hash));
    let text = format!("{} {}", place(since), place(reached));
    format!("{text} {}\n", hex(&crc32fast::hash(text.as_bytes()).to_be_bytes()))
}

fn file(directory: &Directory) -> PathBuf {
    directory.path().join("log.json")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn how_far_the_log_reached_counts_only_beside_the_end_under_which_it_was_noted() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open_or_create(place.path()).unwrap();
        let head = |frames| Head { frames, ..Head::empty(Uuid::nil()) };
        let known = || known(&directory).unwrap().map(|end| end.frames);
        note(&directory, &head(3), 1).unwrap();
        let mut reached = Reached::open(&directory, &head(3)).unwrap();
        reached.note(&head(9));
        assert_eq!(known(), Some(9));
        // Somebody goes on with a shorter log, and the power fails before the other file is on the disk.
        note(&directory, &head(5), 1).unwrap();
        assert_eq!(known(), Some(5));
        reached.begin(&head(5));
        reached.note(&head(6));
        assert_eq!(known(), Some(6));
        fs::remove_file(file(&directory)).unwrap();
        assert_eq!(known(), None, "it is accepted as it is");
    }

    /// It is the only word of how long the log was, so it is not to be passed over.
    #[test]
    fn a_note_that_does_not_read_is_refused_with_what_is_wrong() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open_or_create(place.path()).unwrap();
        let digits = "ab".repeat(31);
        for (text, what) in [
            ("", "EOF"),
            ("not JSON", "expected"),
            (r#"{"frames":1}"#, "missing field `hash`"),
            (&format!(r#"{{"frames":1,"hash":"{digits}"}}"#), "expected 64 hex digits"),
        ] {
            fs::write(file(&directory), text).unwrap();
            let refused = known(&directory).map(|end| end.map(|end| end.frames)).unwrap_err().to_string();
            assert!(refused.contains("log.json does not read") && refused.contains(what), "{text:?}: {refused}");
        }
    }
}
