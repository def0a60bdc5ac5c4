//! What a journal stands on: a file that is only added to, until another takes its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::log::error::LogError;
use crate::log::space::{ROOM_BYTES_MIN, free};
use crate::log::store::sync_path;

const FILE: &str = "open";
const NEXT: &str = "open.next";

/// What came later than what is in order, before a journal is rewritten: below this a start reads it in no time.
const LATER_BYTES_MIN: u64 = 16 << 20;

/// Bytes, read from the beginning and added at the end.
pub(super) trait Tape: Send + Sync {
    /// What stands on it behind so many bytes, and how long the whole is.
    fn read(&self, from: u64) -> Result<(Box<dyn Read + Send>, u64), String>;
    /// Adds at the end. With the system when this returns: it survives a kill. Where it fails, a part may be there.
    fn append(&self, bytes: &[u8]) -> Result<(), String>;
    /// Takes away what stands behind so many bytes.
    fn cut(&self, bytes: u64) -> Result<(), String>;
    /// Brings it onto stable storage.
    fn sync(&self) -> Result<(), String>;
    /// Whether there is room for another of so many bytes.
    fn has_room(&self, bytes: u64) -> bool;
    /// Begins another one, with nothing on it.
    fn begin_next(&self) -> Result<(), String>;
    /// Adds to the other one.
    fn append_next(&self, bytes: &[u8]) -> Result<(), String>;
    /// Puts the other one in the place of this, at once and whole.
    fn turn(&self) -> Result<(), String>;
    /// Does away with the other one.
    fn drop_next(&self);
    /// So much may stand out of order at least.
    fn later_bytes_min(&self) -> u64;
}

/// `open` in the folder of a cache.
pub(super) struct TapeFile {
    folder: PathBuf,
    files: Mutex<Files>,
    later_bytes_min: u64,
}

struct Files {
    present: Arc<File>,
    next: Option<File>,
}

/// Reads from a place of its own, whatever is written meanwhile, and whatever takes the name of the file.
struct From {
    file: Arc<File>,
    at: u64,
}

impl Read for From {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl TapeFile {
    /// Opens it, or makes an empty one; what a kill left of another one goes.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let (path, next) = (folder.join(FILE), folder.join(NEXT));
        if next.exists() {
            fs::remove_file(&next).map_err(|e| LogError::io("remove", &next, e))?;
        }
        let present = open(&path, false).map_err(|e| LogError::io("open", &path, e))?;
        let files = Mutex::new(Files { present: Arc::new(present), next: None });
        Ok(Self { folder: folder.to_path_buf(), files, later_bytes_min: LATER_BYTES_MIN })
    }

    #[cfg(test)]
    pub fn with_later_bytes_min(self, later_bytes_min: u64) -> Self {
        Self { later_bytes_min, ..self }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tape for TapeFile {
    fn read(&self, from: u64) -> Result<(Box<dyn Read + Send>, u64), String> {
        let file = self.files().present.clone();
        let length = file.metadata().map_err(told("read"))?.len();
        Ok((Box::new(From { file, at: from }), length))
    }

    fn append(&self, bytes: &[u8]) -> Result<(), String> {
        (&*self.files().present).write_all(bytes).map_err(told("write"))
    }

    fn cut(&self, bytes: u64) -> Result<(), String> {
        self.files().present.set_len(bytes).map_err(told("cut"))
    }

    fn sync(&self) -> Result<(), String> {
        self.files().present.sync_all().map_err(told("fsync of"))?;
        sync_path(&self.folder).map_err(|error| error.to_string())
    }

    fn has_room(&self, bytes: u64) -> bool {
        free(&self.folder) >= bytes + ROOM_BYTES_MIN
    }

    fn begin_next(&self) -> Result<(), String> {
        self.files().next = Some(open(&self.folder.join(NEXT), true).map_err(told("begin another"))?);
        Ok(())
    }

    fn append_next(&self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.files().next {
            Some(next) => next.write_all(bytes).map_err(told("write another")),
            None => Err("no other file was begun".into()),
        }
    }

    fn turn(&self) -> Result<(), String> {
        let mut files = self.files();
        let next = files.next.take().ok_or("no other file was begun")?;
        fs::rename(self.folder.join(NEXT), self.folder.join(FILE)).map_err(told("replace"))?;
        files.present = Arc::new(next);
        Ok(())
    }

    fn drop_next(&self) {
        self.files().next = None;
        let _ = fs::remove_file(self.folder.join(NEXT));
    }

    fn later_bytes_min(&self) -> u64 {
        self.later_bytes_min
    }
}

fn open(path: &Path, is_new: bool) -> io::Result<File> {
    if is_new && path.exists() {
        fs::remove_file(path)?;
    }
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn told(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what} the file {FILE}: {error}")
}
