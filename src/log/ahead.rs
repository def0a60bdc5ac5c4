//! `log/ahead`: the groups written last, on stable storage before the database is.
//!
//! To bring a group onto stable storage by sled alone takes a flush, which wakes all of its threads and waits for one of
//! them to write, and an fsync of ours behind it. One write to a file of our own, and one fsync, wake nobody: a single
//! command takes a quarter less processor time. So a group is put into the database, in memory, and written here; the
//! database is synced when half of this file is full, beside the groups that go into the other half meanwhile: that begins
//! again from its front once all that stands in it is on stable storage in the database.
//!
//! Each half holds frames, one behind the other, as they stand in the database. A start puts those into the database that
//! it lacks, of the half first that was begun first. What goes behind its end must follow that by number and by hash: so
//! whatever else stands here, of an earlier lap, half written, or of another log, ends them. The first of both was written
//! when the database was synced up to it: where one is missing between the two, the database has lost something, and the
//! start is refused.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::{Fault, LogError, Problem};
use super::frame::{Frame, HEADER_BYTES, Header};
use super::pack::{Packed, parts};
use super::reader::Head;
use super::store::{SEGMENT_BYTES, Store, sync_path};

const FILE: &str = "ahead";

/// What the file takes, all of it from its beginning: a sync of a file that does not grow is one write to the disk, and
/// any other writes the file system's journal too.
pub(super) const AHEAD_BYTES: u64 = if cfg!(feature = "small-volumes") { 8 << 10 } else { 1 << 20 };

/// What sled may write, at most, of what stands in one half.
///
/// All that is in the database and not synced, which is that of two halves, has to be less than a segment: a power cut may
/// leave out any of it, and else that segment from which [sled looks for the end](super::segments), and with it all. More
/// than half of one is left for what nobody counts: whoever reads large values that are new has sled write them once more.
pub(super) const UNSYNCED_BYTES: u64 = 3 << 19;
const _: () = assert!(4 * UNSYNCED_BYTES < SEGMENT_BYTES);

/// sled writes whole pages, and the lists of pages above them: up to six times the bytes of values where these are short,
/// or large, or a database has no stakes.
const TIMES: u64 = 6;

/// And it moves pages out of segments of which little is left: where large values stand beside short ones, that came to
/// 5.6 KiB for each of these.
const AROUND_BYTES: u64 = 8 << 10;

/// The file, for the one that writes to the log.
pub(super) struct Ahead {
    /// None where there is no room for it: then the database is synced for each group.
    file: Option<File>,
    path: PathBuf,
    /// Of a half.
    bytes: u64,
    /// Where the half begins that is written to, how much stands in it, and what sled may write of that.
    from: u64,
    filled: u64,
    unsynced: u64,
    buffer: Vec<u8>,
}

impl Ahead {
    /// The file of a log whose database is on stable storage, with nothing in it.
    pub fn begin(log: &Path, bytes: u64) -> Result<Self, LogError> {
        let path = log.join(FILE);
        let file = match laid_out(&path, bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                tracing::warn!("no room to write ahead of the database: each group takes longer");
                None
            }
            file => Some(file.map_err(|e| LogError::io("lay out", &path, e))?),
        };
        sync_path(log)?;
        let ahead = Self { file, path, bytes: bytes / 2, from: 0, filled: 0, unsynced: 0, buffer: Vec::new() };
        ahead.clear().map_err(LogError::Write)?;
        Ok(ahead)
    }

    /// Whether a group has room in the half that is written to.
    pub fn has_room(&self, group: &Packed) -> bool {
        self.fits(group, self.filled, self.unsynced)
    }

    /// Whether it would have room in the other one.
    pub fn may_turn(&self, group: &Packed) -> bool {
        self.fits(group, 0, 0)
    }

    fn fits(&self, group: &Packed, filled: u64, unsynced: u64) -> bool {
        let has_room = filled + group.bytes() as u64 <= self.bytes;
        self.file.is_some() && has_room && unsynced + written(group.frames.iter().flatten()) <= UNSYNCED_BYTES
    }

    /// Writes a group that has room, on stable storage when this returns.
    pub fn write(&mut self, group: &Packed) -> Result<(), String> {
        let Some(file) = &self.file else { return Err("nothing is written ahead where there is no room".into()) };
        self.buffer.clear();
        group.frames.iter().flatten().for_each(|(_, value)| self.buffer.extend_from_slice(value));
        file.write_all_at(&self.buffer, self.from + self.filled).map_err(|e| self.told("write", &e))?;
        file.sync_data().map_err(|e| self.told("fsync of", &e))?;
        self.filled += self.buffer.len() as u64;
        self.unsynced += written(group.frames.iter().flatten());
        Ok(())
    }

    /// Goes on in the other half: what stands there is in the database, on stable storage.
    pub fn turn(&mut self) {
        (self.from, self.filled, self.unsynced) = (self.bytes - self.from, 0, 0);
    }

    /// Nothing that stands here counts any more, whatever becomes of the database, which is on stable storage.
    pub fn clear(&self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        for half in [0, self.bytes] {
            file.write_all_at(&[0; HEADER_BYTES], half).map_err(|e| self.told("write", &e))?;
        }
        file.sync_data().map_err(|e| self.told("fsync of", &e))
    }

    fn told(&self, what: &str, error: &io::Error) -> String {
        format!("{what} {}: {error}", self.path.display())
    }
}

/// What sled may write, at most, of values that it is given.
pub(super) fn written<'a>(values: impl IntoIterator<Item = &'a (Vec<u8>, Vec<u8>)>) -> u64 {
    values.into_iter().map(|(_, value)| TIMES * value.len() as u64 + AROUND_BYTES).sum()
}

/// Whether something was written ahead since the last stop: then the database may not be as it seems.
pub(super) fn is_used(log: &Path) -> bool {
    let written = fs::read(log.join(FILE)).unwrap_or_default();
    halves(&written).iter().any(|half| half.iter().take(HEADER_BYTES).any(|byte| *byte != 0))
}

/// The half that was begun first, and the other one. What goes on behind the middle is read on: a lap of before there were
/// halves does.
fn halves(written: &[u8]) -> [&[u8]; 2] {
    let second = &written[written.len() / 2..];
    let begins = |half: &[u8]| match Header::any(half)? {
        Ok(header) => Some(header.frame),
        Err(fault) => matches!(fault.problem, Problem::Format(_)).then_some(fault.frame),
    };
    match (begins(written), begins(second)) {
        (Some(one), Some(other)) if other < one => [second, written],
        (None, Some(_)) => [second, written],
        _ => [written, second],
    }
}

/// Puts what a log's database lacks of what was written ahead of it into the last volume, which begins with that frame,
/// and gives back the head of the log then. None of it is in the database on stable storage by that.
pub(super) fn put_in(log: &Path, store: &Store, first_of_volume: u64, head: Head) -> Result<Head, LogError> {
    let path = log.join(FILE);
    let written = match sync_path(&path).and_then(|()| fs::read(&path).map_err(|e| LogError::io("read", &path, e))) {
        Err(_) if !path.exists() => return Ok(head),
        written => written?,
    };
    let (before, mut head) = (head.frames, head);
    for half in halves(&written) {
        head = put_in_half(log, store, first_of_volume, head, half)?;
    }
    if head.frames > before {
        tracing::info!(frames = head.frames - before, "the database lacked what was written last: it is put in");
    }
    Ok(head)
}

fn put_in_half(log: &Path, store: &Store, first_of_volume: u64, head: Head, half: &[u8]) -> Result<Head, LogError> {
    let (mut head, mut rest, mut unsynced) = (head, half, 0);
    while let Some((header, bytes, after)) = next(rest)? {
        let is_first = rest.len() == half.len();
        if is_first && header.frame > head.frames + 1 {
            return Err(lost(log, head.frames, header.frame));
        }
        rest = after;
        let is_known = header.frame < first_of_volume || store.holds(header.frame).map_err(LogError::Write)?;
        if is_known {
            continue;
        }
        let Ok(frame) = Frame::read(header.frame, bytes) else { break };
        if header.frame > head.frames && head.follow(&frame).is_err() {
            tracing::warn!(frame = header.frame, after = head.frames, "what stands ahead does not follow the database");
            break;
        }
        let parts = parts(header.frame, bytes);
        unsynced += self::written(&parts);
        // A half never holds more; a lap of before there were halves may.
        if unsynced > UNSYNCED_BYTES {
            store.sync().map_err(LogError::Write)?;
            unsynced = 0;
        }
        store.put(header.frame, &parts, first_of_volume).map_err(LogError::Write)?;
    }
    Ok(head)
}

/// A frame by its header, its bytes, and what stands behind it.
type Found<'a> = (Header, &'a [u8], &'a [u8]);

/// The frame at the front; refused where a later release wrote it.
fn next(bytes: &[u8]) -> Result<Option<Found<'_>>, Fault> {
    let header = match Header::any(bytes) {
        Some(Err(fault)) if matches!(fault.problem, Problem::Format(_)) => return Err(fault),
        Some(Ok(header)) => header,
        _ => return Ok(None),
    };
    let split = bytes.split_at_checked(header.frame_bytes());
    Ok(split.map(|(frame, rest)| (header, frame, rest)))
}

fn lost(log: &Path, frames: u64, first: u64) -> LogError {
    let path = log.parent().unwrap_or(log).to_path_buf();
    LogError::Shortened {
        path,
        why: format!(
            "its database ends at frame {frames}, and log/{FILE}, what was written after it, begins with {first}"
        ),
    }
}

fn laid_out(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let zeros = [0; 4096];
    // Page by page: what the system takes in one piece counts as written whole whenever a byte of it is.
    let length = file.metadata()?.len().min(bytes);
    file.set_len(length)?;
    for at in (length..bytes).step_by(zeros.len()) {
        file.write_all_at(&zeros[..zeros.len().min((bytes - at) as usize)], at)?;
    }
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests;
