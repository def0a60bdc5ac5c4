//! What can go wrong with a log, each with what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a log could not be opened or written.
#[derive(Debug)]
pub enum LogError {
    /// There is no log in this directory.
    NoLog(PathBuf),
    /// There is a log in this directory already, where a new one was wanted.
    Exists(PathBuf),
    /// Something else is where a new log was wanted.
    NotEmpty(PathBuf, String),
    /// An import into this directory did not come to its end.
    Unfinished(PathBuf),
    /// There are records, but what says whose they are is gone.
    MetadataLost(PathBuf),
    /// The metadata cannot be read.
    MetadataBroken(PathBuf, String),
    /// The metadata is from before volumes were removed: what is in the directory now begins with a base.
    BeforeBase {
        /// The file that says where the log begins.
        note: PathBuf,
        /// The format that the metadata has.
        found: u64,
        /// The format that it had then.
        expected: u64,
    },
    /// Another release made this directory.
    Format {
        /// The directory.
        path: PathBuf,
        /// The format it has.
        found: u64,
        /// The newest format that this program reads; it reads all before.
        expected: u64,
    },
    /// The database was made with another segment size, which is fixed for its life.
    SegmentSize {
        /// The directory.
        path: PathBuf,
        /// What its metadata says.
        found: u64,
        /// What this program uses.
        expected: u64,
    },
    /// Another process has the directory open.
    InUse(PathBuf),
    /// The directory cannot be written.
    ReadOnly(PathBuf),
    /// The database does not open.
    Corrupt(PathBuf, String),
    /// The log lacks the end that it once had.
    Shortened {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A volume of the log is gone.
    VolumeLost {
        /// Its folder.
        path: PathBuf,
        /// The first event that is gone with it.
        first_seq: u64,
        /// The last event that is gone with it, where that is known.
        last_seq: Option<u64>,
    },
    /// The note of what a volume holds is not what was written.
    Note(PathBuf, String),
    /// A record of the log is not what was written.
    Fault(Fault),
    /// A file operation failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no space; nothing was written, and the log goes on.
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free.
        needed: u64,
    },
    /// A draft that does not fit the log; nothing was written, and the log goes on.
    Draft(String),
    /// A write failed; what became of the group is unknown until the log is opened again.
    Write(String),
    /// A write failed earlier, and the log has refused everything since.
    Stopped,
}

/// How errors say that there is no room on the disk.
const WANT_OF_ROOM: [&str; 4] = ["StorageFull", "QuotaExceeded", "No space left on device", "Disk quota exceeded"];

impl LogError {
    /// Whether the log still takes writes after this.
    pub fn is_harmless(&self) -> bool {
        matches!(self, LogError::Full { .. } | LogError::Draft(_))
    }

    /// Whether all that is wrong is that there is no room on the disk.
    pub fn is_for_want_of_room(&self) -> bool {
        match self {
            LogError::Full { .. } => true,
            LogError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            // Only the words of an error are kept: those of sled, or the system's own.
            LogError::Write(why) => WANT_OF_ROOM.iter().any(|words| why.contains(words)),
            _ => false,
        }
    }

    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => LogError::ReadOnly(path),
            io::ErrorKind::StorageFull => LogError::Full { free: 0, needed: super::space::ROOM_BYTES_MIN },
            _ => LogError::Io { doing, path, source },
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLog(path) => write!(
                f,
                "no log in {}: expected switchboard.json and log/ there, name the data directory of a switchboard",
                path.display()
            ),
            Self::Exists(path) => write!(f, "{} holds a log already: name an empty or new directory", path.display()),
            Self::NotEmpty(path, name) => {
                write!(f, "{} is not empty, it has {name:?}: name an empty or new directory", path.display())
            }
            Self::Unfinished(path) => write!(
                f,
                "{} holds an import that did not come to its end: remove the directory and import again",
                path.display()
            ),
            Self::MetadataLost(path) => write!(
                f,
                "{} has records but no switchboard.json: restore that file from a copy of the directory",
                path.display()
            ),
            Self::MetadataBroken(path, why) => {
                write!(f, "{} cannot be read ({why}): restore it from a copy", path.display())
            }
            Self::BeforeBase { note, found, expected } => write!(
                f,
                "{} is there and switchboard.json has format {found}, expected {expected}: it is a copy from before volumes \
                 were removed; restore the one that was made after, or set format to {expected} in it and delete its checksum",
                note.display()
            ),
            Self::Format { path, found, expected } => write!(
                f,
                "{} has format {found}, expected 1 to {expected}: use the release of switchboard that wrote it, or export there and import here",
                path.display()
            ),
            Self::SegmentSize { path, found, expected } => write!(
                f,
                "{} was made with segment size {found}, expected {expected}: export with the release that wrote it and import here",
                path.display()
            ),
            Self::InUse(path) => {
                write!(f, "{} is in use by a running switchboard: stop it, or ask it with --nats URL", path.display())
            }
            Self::ReadOnly(path) => write!(
                f,
                "{} cannot be written: check its owner, its mode and how it is mounted; a log is opened for writing even to be read",
                path.display()
            ),
            Self::Corrupt(path, why) => write!(
                f,
                "{} does not open, part of it is damaged ({why}): restore the data directory from a copy, or import an export into a new one",
                path.display()
            ),
            Self::Shortened { path, why } => write!(
                f,
                "the log in {} lacks records that it had ({why}): restore the data directory from a copy; \
                 to go on without them, delete log.json there",
                path.display()
            ),
            Self::VolumeLost { path, first_seq, last_seq } => {
                write!(f, "{} is gone, and with it seq {first_seq} ", path.display())?;
                match last_seq {
                    Some(last) => write!(f, "to {last}")?,
                    None => f.write_str("and what follows")?,
                }
                f.write_str(": restore that folder, or the data directory, from a copy")
            }
            Self::Note(path, why) => write!(
                f,
                "{} cannot be read ({why}): restore it from a copy, or delete it, and the next start makes it again from its volume",
                path.display()
            ),
            Self::Fault(fault) => fault.fmt(f),
            Self::Io { doing, path, .. } => write!(f, "cannot {doing} {}", path.display()),
            Self::Full { free, needed } => write!(
                f,
                "no space for the log: {free} bytes free, expected {needed} at least: make space or move the data directory"
            ),
            Self::Draft(why) => write!(f, "the log refuses an entry: {why}"),
            Self::Write(why) => write!(
                f,
                "the log could not be written ({why}): its end is unknown until the next start reads it again"
            ),
            Self::Stopped => f.write_str("the log takes nothing after a failed write: start again"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Fault> for LogError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A place where the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The frame.
    pub frame: u64,
    /// The first seq that is in doubt, where it is known.
    pub seq: Option<u64>,
    /// The file that holds the frame, within the data directory, where there are files.
    pub place: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl Fault {
    pub(super) fn new(frame: u64, seq: Option<u64>, problem: Problem) -> Self {
        Self { frame, seq, place: None, problem }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {}", self.frame)?;
        if let Some(seq) = self.seq {
            write!(f, ", seq {seq}")?;
        }
        if let Some(place) = &self.place {
            write!(f, " in {place}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for Fault {}

/// What is wrong with a frame or an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The frame is gone.
    Missing,
    /// Not a frame of a switchboard.
    Foreign,
    /// A frame of another release.
    Format(u16),
    /// Fewer or more bytes than the header says.
    Length {
        /// Bytes there should be.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A checksum does not match.
    Checksum,
    /// The frame was removed with old volumes, and the log begins with that seq.
    Removed(u64),
    /// Another frame stands here.
    Number(u64),
    /// The payload cannot be unpacked.
    Payload(String),
    /// An entry or what stands beside it cannot be read.
    Entry(String),
    /// A redacted value is not one.
    Redaction,
    /// The link to the entry before does not match: something was changed, lost or reordered.
    Chain,
    /// A gap or an overlap.
    Sequence {
        /// The seq that should follow.
        expected: u64,
        /// The seq that stands there.
        found: u64,
    },
    /// Time goes back.
    Time {
        /// The time that it may not be before.
        expected: u64,
        /// The time that stands there.
        found: u64,
    },
    /// The note of a volume says something else than what is in it.
    Note,
    /// The log ends as another copy of it does.
    End,
    /// The database cannot be read.
    Storage(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing, expected a frame"),
            Self::Foreign => f.write_str("not a frame of a switchboard"),
            Self::Format(found) => {
                write!(f, "frame format {found}, expected {} at most: use a newer release", super::frame::FORMATS.end())
            }
            Self::Length { expected, found } => write!(f, "{found} bytes, expected {expected}"),
            Self::Checksum => f.write_str("the checksum does not match: the bytes were changed"),
            Self::Removed(first_seq) => {
                write!(f, "it was removed with the volumes before it, the log begins with seq {first_seq}")
            }
            Self::Number(found) => write!(f, "frame {found} stands here"),
            Self::Payload(why) => write!(f, "the payload does not unpack: {why}"),
            Self::Entry(why) => write!(f, "the entry does not read: {why}"),
            Self::Redaction => f.write_str("a redacted value, expected \"redacted:\" and 64 hex digits"),
            Self::Chain => {
                f.write_str("the hash of the entry before does not match: an entry was changed, lost or moved")
            }
            Self::Sequence { expected, found } => write!(f, "seq {found}, expected {expected}"),
            Self::Time { expected, found } => write!(f, "time {found}, expected {expected} or later"),
            Self::Note => f.write_str(
                "the note of a volume says something else than what is in it: restore it from a copy, or delete it, and the next start makes it again",
            ),
            Self::End => f.write_str(
                "the last entry that log.json knows of is another: the log went another way, as a copy does",
            ),
            Self::Storage(why) => write!(f, "the database cannot be read: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_room_is_known_by_whatever_tells_of_it() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let error = || io::Error::from(kind);
            assert!(LogError::Write(format!("{:?}", error())).is_for_want_of_room(), "{kind:?}");
            assert!(
                LogError::Io { doing: "write", path: "f".into(), source: error() }.is_for_want_of_room(),
                "{kind:?}"
            );
        }
        // ENOSPC and EDQUOT, as the system words them.
        for (code, is_room) in [(28, true), (122, true), (5, false)] {
            let told = format!("fsync of log/1/db: {}", io::Error::from_raw_os_error(code));
            assert_eq!(LogError::Write(told).is_for_want_of_room(), is_room, "{code}");
        }
    }
}
