//! Records in a file that is only added to: each bears the checksum of all that stands before it, so nothing is ever read
//! that is damaged, moved, or left over from before. Any beginning that reads is what the file was once.

use std::io::{BufReader, Read};

/// Records are handed to the system in pieces of about this size.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Before the content of a record: how long that is, and the checksum.
const HEADER_BYTES: usize = 8;

/// A place in the file, and the checksum of everything before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Point {
    pub bytes: u64,
    pub crc: u32,
}

/// Records on their way to the file, and where the last of them ends.
#[derive(Default)]
pub(super) struct Out {
    pub buffer: Vec<u8>,
    pub at: Point,
}

impl Out {
    /// Goes on behind what is there.
    pub fn behind(at: Point) -> Self {
        Self { buffer: Vec::new(), at }
    }

    /// Adds a record.
    pub fn record(&mut self, kind: u8, fields: &[&[u8]]) {
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
        self.buffer.push(kind);
        fields.iter().for_each(|field| self.buffer.extend_from_slice(field));
        let (header, content) = self.buffer[begin..].split_at_mut(HEADER_BYTES);
        let length = (content.len() as u32).to_be_bytes();
        self.at.crc = running(self.at.crc, length, content);
        self.at.bytes += (HEADER_BYTES + content.len()) as u64;
        header[..4].copy_from_slice(&length);
        header[4..].copy_from_slice(&self.at.crc.to_be_bytes());
    }

    /// Writes what waits, if it is so much.
    pub fn write_if(&mut self, bytes: usize, write: impl FnOnce(&[u8]) -> Result<(), String>) -> Result<(), String> {
        if self.buffer.len() >= bytes {
            write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

fn running(crc: u32, length: [u8; 4], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(&length);
    hasher.update(content);
    hasher.finalize()
}

/// Records read one after the other, each checked.
pub(super) struct Records {
    reader: BufReader<Box<dyn Read + Send>>,
    pub at: Point,
    pub until: u64,
    content: Vec<u8>,
}

impl Records {
    /// Those between two places.
    pub fn new(reader: Box<dyn Read + Send>, at: Point, until: u64) -> Self {
        Self { reader: BufReader::with_capacity(PIECE_BYTES / 4, reader), at, until, content: Vec::new() }
    }

    /// Goes on to the next record; whether there is one.
    pub fn step(&mut self) -> Result<bool, String> {
        if self.at.bytes == self.until {
            return Ok(false);
        }
        let unread = |error: std::io::Error| error.to_string();
        let mut header = [0; HEADER_BYTES];
        self.reader.read_exact(&mut header).map_err(unread)?;
        let [a, b, c, d, crc @ ..] = header;
        let length = [a, b, c, d];
        let bytes = HEADER_BYTES as u64 + u64::from(u32::from_be_bytes(length));
        // Before so much is reserved for it.
        if bytes > self.until - self.at.bytes {
            return Err("a record is longer than what is left".into());
        }
        self.content.resize(u32::from_be_bytes(length) as usize, 0);
        self.reader.read_exact(&mut self.content).map_err(unread)?;
        let found = running(self.at.crc, length, &self.content);
        if found != u32::from_be_bytes(crc) {
            return Err("a checksum does not match".into());
        }
        self.at = Point { bytes: self.at.bytes + bytes, crc: found };
        Ok(true)
    }

    /// The kind of the record, and its fields.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}
