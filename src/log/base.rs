//! The base of a log whose old volumes were removed: where the log begins now, and what everything was there.
//!
//! `log/base.json` says after which entry it begins; `log/base.N.zst` holds what everything was at the end of volume N, the
//! last one that was removed: lines of a key and one JSON object, in the order of their keys, in zstd frames that hold
//! some kilobytes each; behind them, in a frame that zstd passes over, an index by their first keys. `zstd -dc` shows them.
//!
//! What stands there was folded from the log, and only the log said that it was so: it cannot be made again. So
//! each frame has a checksum, and all lines a digest, and a log whose base does not read is refused. A base counts from
//! the moment when the directory's format says so, see [`removal`](super::volumes); one that is replaced, when its
//! `base.json` is. The log knows nothing of what its lines mean.

mod writer;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::codec::{hex, unhex};
use super::entry::{Hash, LINE_BYTES_MAX};
use super::error::{Fault, LogError, Problem};
use super::reader::Head;
pub use writer::{BaseWriter, WrittenBase};

/// The file that says where a log begins.
pub(super) const NOTE: &str = "base.json";

/// The same while it is written.
pub(super) const NOTE_UNFINISHED: &str = "base.tmp";

/// A frame of lines is closed when it has so many bytes before compression: who looks for one line reads no more.
const FRAME_RAW_BYTES: usize = 64 << 10;

/// The longest frame: nearly full, and then the longest line.
const FRAME_RAW_BYTES_MAX: usize = FRAME_RAW_BYTES + 2 * LINE_BYTES_MAX;

/// The last seq that a base may end with: events are counted on from there, and no log comes so far by counting.
pub(super) const SEQ_MAX: u64 = 1 << 62;

/// Begins a frame that zstd passes over; its length in four bytes follows.
const PASSED_OVER: u32 = 0x184D_2A50;

/// Where a log begins whose old volumes were removed.
pub struct Base {
    note: Note,
    end: Head,
    digest: Hash,
    path: PathBuf,
    file: File,
    frames: Vec<Frame>,
}

/// A line of a base: its key, and its JSON object.
pub type BaseLine = (String, Vec<u8>);

/// A frame of lines, as the index has it.
#[derive(Debug)]
struct Frame {
    first_key: Box<str>,
    at: u64,
    bytes: u32,
    raw_bytes: u32,
    crc: u32,
}

/// `base.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    log_id: String,
    /// The last volume that was removed; none in a directory that such a log was imported into.
    volume: u64,
    /// The last frame, event and entry that were removed.
    frames: u64,
    seq: u64,
    time_ms: u64,
    /// Hash of the last entry, in hex.
    hash: String,
    published_through: u64,
    lines: u64,
    /// Whether personal values of it, or of what it was made from, were erased.
    is_erased: bool,
    /// Of the file with the lines, and of the lines alone.
    bytes: u64,
    index_at: u64,
    index_crc: u32,
    digest: String,
    checksum: String,
}

impl Base {
    /// Reads where the log begins, and the index of what was so there.
    pub(super) fn read(log: &Path, log_id: Uuid) -> Result<Self, LogError> {
        let file = log.join(NOTE);
        let broken = |why: String| LogError::Corrupt(file.clone(), why);
        let bytes = fs::read(&file).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => broken("it is gone, and says where the log begins".into()),
            _ => LogError::io("read", &file, e),
        })?;
        let note: Note = serde_json::from_slice(&bytes).map_err(|e| broken(e.to_string()))?;
        if note.checksum != note.expected_checksum() {
            return Err(broken("its checksum does not match: the file was changed".into()));
        }
        if note.log_id != log_id.to_string() {
            return Err(broken(format!("it is of log {}", note.log_id)));
        }
        Self::of(log, note)
    }

    /// What a note speaks of.
    fn of(log: &Path, note: Note) -> Result<Self, LogError> {
        let broken = |why: &str| LogError::Corrupt(log.join(NOTE), why.into());
        let (end, digest) = note.end().ok_or_else(|| broken("expected a seq, a hash and a digest"))?;
        let path = log.join(lines_name(note.volume));
        let (file, frames) = read_index(&path, &note).map_err(|why| LogError::Corrupt(path.clone(), why))?;
        Ok(Self { note, end, digest, path, file, frames })
    }

    /// The head of the log where it begins: what its first entry follows.
    pub fn end(&self) -> &Head {
        &self.end
    }

    /// The last volume that was removed.
    pub fn volume(&self) -> u64 {
        self.note.volume
    }

    /// How many lines it has.
    pub fn count(&self) -> u64 {
        self.note.lines
    }

    /// Whether personal values were erased from it, or from what it was made of.
    pub fn is_erased(&self) -> bool {
        self.note.is_erased
    }

    /// The hash of its lines.
    pub fn digest(&self) -> &Hash {
        &self.digest
    }

    /// Bytes of the file that holds its lines.
    pub fn bytes(&self) -> u64 {
        self.note.bytes
    }

    /// How many pieces it is read in.
    pub(super) fn pieces(&self) -> u64 {
        self.frames.len() as u64
    }

    /// The lines of one piece.
    pub(super) fn piece(&self, piece: u64) -> Result<Vec<BaseLine>, Fault> {
        let frame = usize::try_from(piece).ok().and_then(|piece| self.frames.get(piece));
        frame.map_or(Ok(Vec::new()), |frame| self.lines_of(frame))
    }

    /// All lines, in the order of their keys. Ends after the first fault.
    pub fn lines(self: &Arc<Self>) -> impl Iterator<Item = Result<BaseLine, Fault>> + use<> {
        let (base, mut is_broken) = (self.clone(), false);
        let mut pieces = (0..self.pieces()).map(move |piece| base.piece(piece));
        let read = std::iter::from_fn(move || {
            let piece = if is_broken { None } else { pieces.next() }?;
            is_broken = piece.is_err();
            Some(piece)
        });
        read.flat_map(|piece| match piece {
            Ok(lines) => lines.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(fault) => vec![Err(fault)],
        })
    }

    /// The lines under a key.
    pub fn get(&self, key: &str) -> Result<Vec<Vec<u8>>, Fault> {
        let first = self.frames.partition_point(|frame| *frame.first_key < *key).saturating_sub(1);
        let mut found = Vec::new();
        for frame in self.frames[first..].iter().take_while(|frame| *frame.first_key <= *key) {
            let lines = self.lines_of(frame)?.into_iter();
            found.extend(lines.filter(|(of, _)| of == key).map(|(_, line)| line));
        }
        Ok(found)
    }

    /// Reads all of it, and holds it to its digest.
    pub fn check(self: &Arc<Self>) -> Result<(), Fault> {
        let (mut digest, mut lines) = (Sha256::new(), 0);
        for line in self.lines() {
            let (key, line) = line?;
            add_to_digest(&mut digest, &key, &line);
            lines += 1;
        }
        let is_same = <Hash>::from(digest.finalize()) == self.digest && lines == self.note.lines;
        if is_same { Ok(()) } else { Err(self.fault(Problem::Checksum)) }
    }

    fn lines_of(&self, frame: &Frame) -> Result<Vec<BaseLine>, Fault> {
        let mut bytes = vec![0; frame.bytes as usize];
        let read = self.file.read_exact_at(&mut bytes, frame.at);
        read.map_err(|e| self.fault(Problem::Storage(e.to_string())))?;
        if crc32fast::hash(&bytes) != frame.crc {
            return Err(self.fault(Problem::Checksum));
        }
        let unpacked = zstd::bulk::decompress(&bytes, frame.raw_bytes as usize);
        let unpacked = unpacked.map_err(|e| self.fault(Problem::Payload(e.to_string())))?;
        let text = str::from_utf8(&unpacked).map_err(|e| self.fault(Problem::Payload(e.to_string())))?;
        let line = |line: &str| {
            let (key, line) = line.split_once(' ')?;
            Some((key.to_owned(), line.as_bytes().to_vec()))
        };
        let lines = text.lines().map(line).collect::<Option<Vec<_>>>();
        lines.ok_or_else(|| self.fault(Problem::Payload("expected lines of a key and an object".into())))
    }

    fn fault(&self, problem: Problem) -> Fault {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let place = Some(format!("log/{name}"));
        Fault { place, ..Fault::new(self.end.frames, Some(self.note.seq), problem) }
    }
}

impl Note {
    fn end(&self) -> Option<(Head, Hash)> {
        let end = Head {
            frames: Some(self.frames).filter(|frames| *frames <= SEQ_MAX)?,
            next_seq: Some(self.seq).filter(|seq| *seq <= SEQ_MAX)? + 1,
            last_at: self.time_ms,
            hash: unhex(self.hash.as_bytes())?,
            published_through: self.published_through,
        };
        Some((end, unhex(self.digest.as_bytes())?))
    }

    fn expected_checksum(&self) -> String {
        let fields = serde_json::to_vec(&Note { checksum: String::new(), ..self.clone() });
        hex(&crc32fast::hash(&fields.expect("plain fields are always JSON")).to_be_bytes())
    }
}

/// The name of the file with the lines.
pub(super) fn lines_name(volume: u64) -> String {
    format!("base.{volume}.zst")
}

/// Of which volume the file with that name has lines.
pub(super) fn volume_of(name: &str) -> Option<u64> {
    name.strip_prefix("base.")?.strip_suffix(".zst")?.parse().ok()
}

/// A line as the digest covers it.
pub(super) fn add_to_digest(digest: &mut Sha256, key: &str, line: &[u8]) {
    for part in [key.as_bytes(), b" ", line, b"\n"] {
        digest.update(part);
    }
}

fn read_index(path: &Path, note: &Note) -> Result<(File, Vec<Frame>), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let bytes = file.metadata().map_err(|e| e.to_string())?.len();
    if bytes != note.bytes || note.index_at > bytes {
        return Err(format!("{bytes} bytes, expected {}", note.bytes));
    }
    let mut index = vec![0; (bytes - note.index_at) as usize];
    file.read_exact_at(&mut index, note.index_at).map_err(|e| e.to_string())?;
    if crc32fast::hash(&index) != note.index_crc {
        return Err("the checksum of its index does not match: the bytes were changed".into());
    }
    let text = index.get(8..).and_then(|text| str::from_utf8(text).ok()).ok_or("its index is none")?;
    let frames = text.lines().map(Frame::read).collect::<Option<Vec<_>>>().ok_or("its index does not read")?;
    let is_within = |frame: &Frame| frame.at.checked_add(frame.bytes.into()).is_some_and(|end| end <= note.index_at);
    if !frames.iter().all(is_within) || !frames.is_sorted_by_key(|frame| &frame.first_key) {
        return Err("its index does not fit its lines".into());
    }
    Ok((file, frames))
}

impl Frame {
    fn read(line: &str) -> Option<Frame> {
        let mut words = line.splitn(5, ' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (at, bytes, raw_bytes, crc) = (number()?, number()?, number()?, number()?);
        let [bytes, raw_bytes, crc] = [bytes, raw_bytes, crc].map(|number| u32::try_from(number).ok());
        let raw_bytes = raw_bytes.filter(|bytes| *bytes as usize <= FRAME_RAW_BYTES_MAX)?;
        Some(Frame { first_key: words.next()?.into(), at, bytes: bytes?, raw_bytes, crc: crc? })
    }
}

#[cfg(test)]
mod tests;
