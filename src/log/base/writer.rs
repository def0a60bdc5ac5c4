//! Writes a base: the lines first, then what says where the log begins. Nothing counts before the directory says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Base, FRAME_RAW_BYTES, Frame, NOTE, NOTE_UNFINISHED, Note, PASSED_OVER, add_to_digest, lines_name};
use crate::log::codec::hex;
use crate::log::directory::{Directory, write_durably};
use crate::log::entry::{Hash, LINE_BYTES_MAX};
use crate::log::error::LogError;
use crate::log::reader::Head;
use crate::log::store::sync_path;

/// Lines are short and alike: the next levels take longer and save little.
const LEVEL: i32 = 3;

/// A base being written.
pub struct BaseWriter {
    log: PathBuf,
    log_id: String,
    volume: u64,
    path: PathBuf,
    unnoted: Unnoted,
    file: File,
    at: u64,
    raw: Vec<u8>,
    first_key: String,
    last_key: String,
    frames: Vec<Frame>,
    digest: Sha256,
    lines: u64,
}

/// A base whose lines are on stable storage and read as they were written. It counts for nothing yet.
pub struct WrittenBase {
    log: PathBuf,
    note: Note,
    base: Arc<Base>,
    unnoted: Unnoted,
}

/// Takes the lines away that no note came to speak of: where a disk is full they would keep it so.
struct Unnoted(Option<PathBuf>);

impl BaseWriter {
    /// Begins the base of a log without its volumes up to that one.
    pub fn begin(directory: &Directory, volume: u64) -> Result<Self, LogError> {
        let log = directory.log_path();
        std::fs::create_dir_all(&log).map_err(|e| LogError::io("create", &log, e))?;
        let path = log.join(lines_name(volume));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(|e| LogError::io("create", &path, e))?;
        Ok(Self {
            log,
            log_id: directory.log_id().to_string(),
            volume,
            unnoted: Unnoted(Some(path.clone())),
            path,
            file,
            at: 0,
            raw: Vec::new(),
            first_key: String::new(),
            last_key: String::new(),
            frames: Vec::new(),
            digest: Sha256::new(),
            lines: 0,
        })
    }

    /// Adds a line: one JSON object. Keys ascend; several lines may have one key.
    pub fn add(&mut self, key: &str, line: &[u8]) -> Result<(), LogError> {
        let is_key = !key.is_empty() && !key.contains([' ', '\n', '\r']) && *key >= *self.last_key;
        let is_line = line.starts_with(b"{") && !line.contains(&b'\n');
        if line.len() > LINE_BYTES_MAX {
            return Err(LogError::Draft(format!(
                "{} bytes under {key}, expected {LINE_BYTES_MAX} at most",
                line.len()
            )));
        }
        if !is_key || !is_line {
            return Err(LogError::Draft(format!("expected the next key and one line of JSON, got {key:?}")));
        }
        if self.raw.is_empty() {
            self.first_key = key.into();
        }
        add_to_digest(&mut self.digest, key, line);
        for part in [key.as_bytes(), b" ", line, b"\n"] {
            self.raw.extend_from_slice(part);
        }
        self.lines += 1;
        self.last_key = key.into();
        if self.raw.len() >= FRAME_RAW_BYTES { self.close_frame() } else { Ok(()) }
    }

    /// The hash of the lines so far.
    pub fn digest(&self) -> Hash {
        self.digest.clone().finalize().into()
    }

    /// Writes all of it, as the base of a log that goes on after `end`. It counts once the directory says that there is
    /// one.
    pub fn finish(self, end: &Head, is_erased: bool) -> Result<(), LogError> {
        self.written(end, is_erased)?.note()
    }

    /// Brings the lines onto stable storage, and reads them back.
    pub fn written(mut self, end: &Head, is_erased: bool) -> Result<WrittenBase, LogError> {
        if !self.raw.is_empty() {
            self.close_frame()?;
        }
        let (index_at, index, digest) = (self.at, self.index(), self.digest());
        self.write(&index)?;
        self.file.sync_all().map_err(|e| LogError::io("sync", &self.path, e))?;
        sync_path(&self.log)?;
        let mut note = Note {
            log_id: self.log_id,
            volume: self.volume,
            frames: end.frames,
            seq: end.next_seq - 1,
            time_ms: end.last_at,
            hash: hex(&end.hash),
            published_through: end.published_through,
            lines: self.lines,
            is_erased,
            bytes: self.at,
            index_at,
            index_crc: crc32fast::hash(&index),
            digest: hex(&digest),
            checksum: String::new(),
        };
        note.checksum = note.expected_checksum();
        let base = Base::of(&self.log, note.clone()).map(Arc::new)?;
        base.check()?;
        Ok(WrittenBase { log: self.log, note, base, unnoted: self.unnoted })
    }

    fn close_frame(&mut self) -> Result<(), LogError> {
        let packed = zstd::bulk::compress(&self.raw, LEVEL).map_err(|e| LogError::io("compress", &self.path, e))?;
        self.frames.push(Frame {
            first_key: self.first_key.as_str().into(),
            at: self.at,
            bytes: packed.len() as u32,
            raw_bytes: self.raw.len() as u32,
            crc: crc32fast::hash(&packed),
        });
        self.raw.clear();
        self.write(&packed)
    }

    fn index(&self) -> Vec<u8> {
        let mut text = String::new();
        for Frame { first_key, at, bytes, raw_bytes, crc } in &self.frames {
            text.push_str(&format!("{at} {bytes} {raw_bytes} {crc} {first_key}\n"));
        }
        let mut index = PASSED_OVER.to_le_bytes().to_vec();
        index.extend_from_slice(&(text.len() as u32).to_le_bytes());
        index.extend_from_slice(text.as_bytes());
        index
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.file.write_all(bytes).map_err(|e| LogError::io("write", &self.path, e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

impl WrittenBase {
    /// What is read from it.
    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// Writes the note, in the place of the one before.
    pub fn note(mut self) -> Result<(), LogError> {
        let noted = write_durably(&self.log.join(NOTE), &self.note);
        if noted.is_err() {
            let _ = fs::remove_file(self.log.join(NOTE_UNFINISHED));
        }
        // It may have come into its place before something failed.
        if noted.is_ok() || !self.is_another_there() {
            self.unnoted.0 = None;
        }
        noted
    }

    fn is_another_there(&self) -> bool {
        match fs::read(self.log.join(NOTE)) {
            Ok(note) => serde_json::from_slice(&note).is_ok_and(|note: Note| note.checksum != self.note.checksum),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

impl Drop for Unnoted {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
