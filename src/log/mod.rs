//! The log: every decision ever taken, in order, never changed.
//!
//! What a log promises, whatever engine stands behind it:
//!
//! 1. `append` returns `Ok` only when the whole group is on stable storage. What it has not said is durable, no reader sees.
//! 2. Entries stand in the order in which they were appended, `seq` is dense from 1, and times never go back.
//! 3. After a crash the log holds everything that was acknowledged, and possibly a run of entries right after it that
//!    were not; whatever a start finds has been synced before the log is handed out.
//! 4. A failed write is never tried again: the log refuses everything afterwards, readers go on, and the next
//!    start finds out what reached the disk.
//! 5. Each entry's hash covers the one before it, and a redacted entry has the hash of the original.
//!
//! The log knows nothing of what its lines mean: each is one JSON object, made by the layer above. Entries are packed
//! into compressed [frames](frame), one key a frame, because one key an entry is several times as slow.
//! Two engines keep these promises: [`DiskLog`], and [`MemoryLog`] for simulations.
//! One kit of tests, `conformance`, runs against both.

mod ahead;
pub mod base;
pub mod cache;
mod codec;
mod compression;
#[cfg(test)]
mod conformance;
pub mod directory;
mod disk;
mod end;
pub mod entry;
mod error;
pub mod export;
pub mod frame;
mod inspection;
mod lock;
mod memory;
mod pack;
mod pages;
mod reader;
mod segments;
mod space;
mod store;
mod syncing;
mod volumes;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

pub use base::{Base, BaseLine, BaseWriter, WrittenBase};
pub use cache::{Cache, Part, Place, SimulatedCache};
pub use directory::Directory;
pub use disk::DiskLog;
pub use entry::{Entry, Hash, LINE_BYTES_MAX, Salt};
pub use error::{Fault, LogError, Problem};
pub use frame::{Frame, Header};
pub use inspection::Inspection;
pub use memory::{MemoryLog, SimulatedDisk};
pub use reader::{Frames, Head, Reader};
pub(crate) use space::free;
pub use volumes::ListedVolume;

/// The log as its one writer sees it.
pub trait Log: Send {
    /// Appends a group of decisions, all of it on stable storage when this returns `Ok`, with one outcome a draft.
    ///
    /// `published_through` is the seq of the last event known to be published; it is kept in the frames' headers,
    /// so that a lost cursor never publishes old events again.
    fn append(&mut self, group: &[Draft], published_through: u64) -> Result<Vec<Outcome>, LogError>;

    /// A view on what is durable, for any number of threads.
    fn reader(&self) -> Reader;

    /// Whether there is space for more; one system call, to be asked once a group.
    fn room(&self) -> Room;

    /// Records how far publication got, and leaves everything on stable storage.
    fn close(self: Box<Self>, published_through: u64) -> Result<(), LogError>;
}

/// One decision on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The conversation that was decided on, for engines whose writers can conflict.
    pub conversation: Arc<str>,
    /// The version of the conversation that was decided on.
    pub version: u64,
    /// The seq of its first event, or of the next event for a decision without events (a note).
    pub first_seq: u64,
    /// How many seqs it takes; none for a note.
    pub events: u32,
    /// When it was decided, in milliseconds since 1970; never less than the entry before.
    pub at: u64,
    /// One JSON object without a newline.
    pub line: Bytes,
    /// Where personal values stand in the line: complete JSON values, ascending, disjoint.
    pub personal: SmallVec<[Range<u32>; 4]>,
    /// Random bytes that keep the hashes of personal values from being guessed.
    /// `None` with personal values says that they are redacted already (an import).
    pub salt: Option<Salt>,
}

/// What became of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is on stable storage, here.
    Durable(Position),
    /// Another writer was first: read the conversation again and decide afresh. Never with one writer.
    Conflict,
    /// It may or may not be recorded: ask the log for the command id. Never with a log on this machine.
    Unknown,
}

/// Where an entry stands, and its link in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The frame that holds it.
    pub frame: u64,
    /// The hash of the entry, which covers everything before it.
    pub hash: Hash,
}

/// Whether there is space for writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Go on.
    Enough,
    /// Refuse what would write: a disk that fills up during a write spoils the log until somebody makes space.
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free.
        needed: u64,
    },
}
