//! The volumes for who looks after the disk: what each holds, and what it takes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Volumes;
use crate::log::error::LogError;
use crate::log::reader::{Head, Reader};

/// A volume of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVolume {
    /// Its number.
    pub number: u64,
    /// Number of its first frame.
    pub first_frame: u64,
    /// The seq of its first event.
    pub first_seq: u64,
    /// Time of its first entry; none where it is empty.
    pub first_at: Option<u64>,
    /// The head of the log where it ends.
    pub end: Head,
    /// Bytes that its files take on the disk.
    pub bytes: u64,
    /// Whether nothing is written to it any more.
    pub is_sealed: bool,
}

impl Volumes {
    /// The volumes in order.
    pub fn listed(&self, reader: &Reader) -> Result<Vec<ListedVolume>, LogError> {
        let bytes = |number| disk_bytes(&self.folder_of(number)).map_err(|e| LogError::io("measure", &self.log, e));
        let mut listed = Vec::new();
        for sealed in self.sealed() {
            listed.push(ListedVolume {
                number: sealed.volume,
                first_frame: sealed.first_frame,
                first_seq: sealed.first_seq,
                first_at: Some(sealed.first_at),
                end: sealed.end,
                bytes: bytes(sealed.volume)?,
                is_sealed: true,
            });
        }
        let (number, first_frame) = (self.last_number(), self.last_first_frame());
        let before = listed.last().map_or_else(|| reader.beginning(), |before| before.end.clone());
        let first_at = reader.header(first_frame)?.map(|first| first.first_at);
        let (end, bytes) = (reader.head(), bytes(number)?);
        let first_seq = before.next_seq;
        listed.push(ListedVolume { number, first_frame, first_seq, first_at, end, bytes, is_sealed: false });
        Ok(listed)
    }
}

/// Bytes on the disk of a volume's files. The first of an old log stands beside the folders of the others.
fn disk_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && !entry.file_name().to_string_lossy().ends_with(".json") {
            bytes += metadata.blocks() * 512;
        }
    }
    Ok(bytes)
}
