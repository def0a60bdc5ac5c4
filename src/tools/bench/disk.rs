//! What the disk can do at best: one small write after another, each on stable storage before the next.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Bytes of one write: about what a group of a few commands takes in the log.
const WRITE_BYTES: usize = 4096;

/// Appends small writes to a file in `directory` for so long, each followed by `fdatasync`; takes in their microseconds.
pub fn measure(directory: &Path, time: Duration, taken: &mut Histogram<u64>) -> io::Result<()> {
    let path = directory.join("disk");
    let mut file = File::create(&path)?;
    let written = write_for(&mut file, time, taken);
    std::fs::remove_file(&path)?;
    written
}

fn write_for(file: &mut File, time: Duration, taken: &mut Histogram<u64>) -> io::Result<()> {
    let bytes = [0x5a; WRITE_BYTES];
    let began = Instant::now();
    while began.elapsed() < time {
        let at = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        taken.saturating_record(at.elapsed().as_micros() as u64);
    }
    Ok(())
}
