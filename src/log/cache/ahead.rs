//! The database of closed conversations, read ahead into the system's memory.
//!
//! Whoever starts a conversation with a new id is looked up among the closed ones, and ids are random: where the system
//! has nothing of the file in memory, after the machine was started or another program needed the space, each takes some
//! eight reads of the disk, one after the other, for which all commands wait. So the file is read once from front to back,
//! in the background. What the system keeps of it is its own to give away when memory is needed.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use rustix::fs::{Advice, fadvise};

/// What is read at once.
const STEP_BYTES: u64 = 4 << 20;

/// Has a file read, unless it is larger than half of that memory; how much was. What is in memory already costs nothing,
/// and it rests as long as a read took, so that the disk stays with those who wait for it.
pub(super) fn read(file: &Path, memory: u64, is_over: impl Fn() -> bool) -> io::Result<u64> {
    let file = File::open(file)?;
    let bytes = file.metadata()?.len();
    if bytes > memory / 2 {
        tracing::info!(
            bytes,
            memory,
            "closed conversations take more than half of the free memory: none are read ahead"
        );
        return Ok(0);
    }
    for begin in (0..bytes).step_by(STEP_BYTES as usize) {
        if is_over() {
            return Ok(begin);
        }
        let begun = Instant::now();
        let end = bytes.min(begin + STEP_BYTES);
        fadvise(&file, begin, NonZeroU64::new(end - begin), Advice::WillNeed)?;
        // The last byte is there when the rest is.
        file.read_at(&mut [0], end - 1)?;
        thread::sleep(begun.elapsed());
    }
    Ok(bytes)
}

/// The memory that programs may still have without another's being put on disk; none where the system does not tell.
pub(super) fn free_memory() -> u64 {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_file_is_read_whole_unless_it_would_take_half_of_the_memory_or_nobody_wants_it_any_more() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("db");
        let bytes = 2 * STEP_BYTES + 1;
        File::create(&file).unwrap().set_len(bytes).unwrap();
        assert_eq!(read(&file, 2 * bytes, || false).unwrap(), bytes);
        assert_eq!(read(&file, 2 * bytes - 1, || false).unwrap(), 0);
        let asked = Cell::new(0);
        assert_eq!(read(&file, 2 * bytes, || asked.replace(asked.get() + 1) == 1).unwrap(), STEP_BYTES);
        assert!(read(&place.path().join("none"), bytes, || false).is_err());
    }

    #[test]
    fn the_system_tells_how_much_memory_is_free() {
        assert!(free_memory() > STEP_BYTES);
    }
}
