//! Whether the data directory's file system has space, and the reserve that is given back where it has none.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::Room;
use super::directory::Directory;
use super::error::LogError;

/// Writes are refused below this: some segments of the log, some tables of the cache, and what an open writes.
pub(super) const ROOM_BYTES_MIN: u64 = 48 << 20;

/// What a start needs, and what the disk can give back for it. Far below the room for writes, so that no write eats it.
pub(super) const RESERVE_BYTES: u64 = 16 << 20;

/// The free space of the data directory's file system, and the reserve.
pub(super) struct Space {
    directory: Arc<Directory>,
}

impl Space {
    /// Gives the reserve back where space is short, and takes it where there is plenty.
    pub fn open(directory: Arc<Directory>) -> Result<Self, LogError> {
        let space = Self { directory };
        let (reserve, free) = (space.directory.path().join("reserve"), space.free());
        if free < RESERVE_BYTES && reserve.exists() {
            tracing::warn!(
                free,
                needed = ROOM_BYTES_MIN,
                "no space for the log: the reserve is given back so that it opens"
            );
            fs::remove_file(&reserve).map_err(|e| LogError::io("remove", &reserve, e))?;
        } else if free >= ROOM_BYTES_MIN + RESERVE_BYTES && !reserve.exists() {
            fill(&reserve, RESERVE_BYTES).map_err(|e| LogError::io("fill", &reserve, e))?;
        }
        Ok(space)
    }

    pub fn room(&self) -> Room {
        match self.free() {
            free if free < ROOM_BYTES_MIN => Room::Full { free, needed: ROOM_BYTES_MIN },
            _ => Room::Enough,
        }
    }

    /// Refuses a group that might fill the disk up. sled writes a value more than once as its page fills.
    pub fn admit(&self, bytes: u64) -> Result<(), LogError> {
        let (free, needed) = (self.free(), ROOM_BYTES_MIN / 2 + 4 * bytes);
        if free < needed { Err(LogError::Full { free, needed }) } else { Ok(()) }
    }

    fn free(&self) -> u64 {
        free(self.directory.path())
    }
}

/// The free space of a file system. One that does not tell counts as empty: what cannot be known must not stop the service.
pub(crate) fn free(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Allocates a file of that many bytes; zeros do where the file system cannot allocate.
fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_err() {
        io::copy(&mut io::repeat(0).take(bytes), &mut file)?;
    }
    file.sync_all()
}
