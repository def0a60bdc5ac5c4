//! What processes and directories take, as the system tells it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::log::{Directory, DiskLog, Log};

/// Processor time that a process has used; none where the system does not tell.
pub fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, may have spaces in it.
    let after_name = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The most memory that a process has held, in bytes.
pub fn memory_peak(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// The memory that a process holds, in bytes.
pub fn memory_resident(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, which: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(which))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Bytes that a process has had written to disk; none where the system does not tell.
pub fn written_bytes(pid: u32) -> Option<u64> {
    let told = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    told.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// Bytes of the lines behind an event in the log of a data directory, before they are compressed, but for those that
/// share its frame; nothing may run on it.
pub fn line_bytes(directory: &Path, after: u64) -> Result<u64, String> {
    let directory = Directory::open(directory).map_err(|error| error.to_string())?;
    let log = DiskLog::open(Arc::new(directory)).map_err(|error| error.to_string())?.reader();
    let bytes = |frame| log.header(frame).map(|header| header.map_or(0, |header| u64::from(header.raw_bytes)));
    let first = log.frame_of_seq(after).map_err(|fault| fault.to_string())?.map_or(1, |frame| frame + 1);
    (first..=log.head().frames).map(bytes).sum::<Result<u64, _>>().map_err(|fault| fault.to_string())
}

/// The room that a directory's files take on disk, in bytes.
pub fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
