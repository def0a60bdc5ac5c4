//! A frame: a run of whole entries, compressed together, behind a fixed header.
//!
//! The header stands uncompressed, so that a search by seq or time reads headers alone. The payload is zstd
//! over plain lines, two an entry: a person with no tool but `zstd -d` can read it, where the format is 2 with the
//! [dictionary](super::compression).
//!
//! | bytes | field (integers big-endian) |
//! |---|---|
//! | 0–1 | `SB` |
//! | 2–3 | format |
//! | 4–7 | entries in the frame |
//! | 8–15 | number of the frame |
//! | 16–23 | first seq |
//! | 24–31 | next seq, after the last entry |
//! | 32–39 | time of the first entry |
//! | 40–47 | time of the last entry |
//! | 48–55 | published through |
//! | 56–87 | hash of the entry before the frame |
//! | 88–91 | bytes of the payload before compression |
//! | 92–95 | bytes of the payload as stored |
//! | 96–99 | CRC-32 of the payload as stored |
//! | 100–103 | CRC-32 of bytes 0–99 |
//!
//! A frame is one value under the key `number`, eight bytes big-endian. Where it is longer than [`PART_BYTES_MAX`],
//! the rest stands in further values under `number` and a part's number in two bytes.

use std::ops::RangeInclusive;

use super::codec::Fields;
use super::compression;
use super::entry::{Entry, Hash, LINE_BYTES_MAX};
use super::error::{Fault, Problem};

/// The formats that this program reads and writes.
pub(super) const FORMATS: RangeInclusive<u16> = compression::PLAIN..=compression::WITH_DICTIONARY;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 104;

/// The longest value under one key: sled writes a page of some 18 values that is over a quarter of a segment into a
/// file of its own, which it never syncs.
pub const PART_BYTES_MAX: usize = 64 << 10;

/// The longest payload before compression: the longest line and what stands beside it.
const RAW_BYTES_MAX: usize = 2 * LINE_BYTES_MAX;

const MAGIC: &[u8; 2] = b"SB";

/// Where the number of the frame stands.
const NUMBER_AT: usize = 8;

/// The fixed part of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How the payload is compressed.
    pub format: u16,
    /// Number of the frame, dense from 1.
    pub frame: u64,
    /// How many entries it holds; none in a frame that only notes how far publication got.
    pub entries: u32,
    /// The seq of its first event, or of the next event where it has none.
    pub first_seq: u64,
    /// The seq after its last event.
    pub next_seq: u64,
    /// Time of its first entry.
    pub first_at: u64,
    /// Time of its last entry.
    pub last_at: u64,
    /// The seq of the last event that was known to be published when it was written.
    pub published_through: u64,
    /// The hash of the last entry before it.
    pub previous: Hash,
    /// Bytes of the payload before compression.
    pub raw_bytes: u32,
    /// Bytes of the payload as stored.
    pub packed_bytes: u32,
    /// Checksum of the payload as stored.
    pub payload_crc: u32,
}

impl Header {
    /// Writes the header's bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.format.to_be_bytes());
        out.extend_from_slice(&self.entries.to_be_bytes());
        for field in [self.frame, self.first_seq, self.next_seq, self.first_at, self.last_at, self.published_through] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&self.previous);
        for field in [self.raw_bytes, self.packed_bytes, self.payload_crc] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }

    /// Reads the header of the frame of that number.
    pub(super) fn read(frame: u64, bytes: &[u8]) -> Result<Self, Fault> {
        let fault = |problem| Fault::new(frame, None, problem);
        let Some((header, _)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(fault(Problem::Length { expected: HEADER_BYTES as u64, found: bytes.len() as u64 }));
        };
        let (covered, crc) = header.split_at(HEADER_BYTES - 4);
        if !covered.starts_with(MAGIC) {
            return Err(fault(Problem::Foreign));
        }
        if crc != crc32fast::hash(covered).to_be_bytes() {
            return Err(fault(Problem::Checksum));
        }
        let mut fields = Fields(&covered[MAGIC.len()..]);
        let format = fields.u16().unwrap_or(0);
        if !FORMATS.contains(&format) {
            return Err(fault(Problem::Format(format)));
        }
        let header = Self::fields(format, &mut fields).ok_or_else(|| fault(Problem::Foreign))?;
        if header.frame != frame {
            return Err(fault(Problem::Number(header.frame)));
        }
        Ok(header)
    }

    /// Reads the header of whatever frame stands there, if there is room for one.
    pub(super) fn any(bytes: &[u8]) -> Option<Result<Self, Fault>> {
        let number = bytes.get(NUMBER_AT..)?.first_chunk()?;
        Some(Self::read(u64::from_be_bytes(*number), bytes))
    }

    fn fields(format: u16, fields: &mut Fields<'_>) -> Option<Self> {
        let entries = fields.u32()?;
        Some(Self {
            format,
            entries,
            frame: fields.u64()?,
            first_seq: fields.u64()?,
            next_seq: fields.u64()?,
            first_at: fields.u64()?,
            last_at: fields.u64()?,
            published_through: fields.u64()?,
            previous: fields.take()?,
            raw_bytes: fields.u32()?,
            packed_bytes: fields.u32()?,
            payload_crc: fields.u32()?,
        })
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.packed_bytes as usize
    }

    fn fault(&self, problem: Problem) -> Fault {
        Fault::new(self.frame, Some(self.first_seq), problem)
    }
}

/// The key of a part of a frame. The first part has no number, the usual frame no other part.
pub(super) fn key(frame: u64, part: u16) -> Vec<u8> {
    let mut key = frame.to_be_bytes().to_vec();
    if part > 0 {
        key.extend_from_slice(&part.to_be_bytes());
    }
    key
}

/// A run of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the header says, checked against the entries.
    pub header: Header,
    /// The entries, in order.
    pub entries: Vec<Entry>,
}

impl Frame {
    /// Unpacks the frame of that number, checking everything that can be checked within it.
    pub(super) fn read(frame: u64, bytes: &[u8]) -> Result<Self, Fault> {
        let header = Header::read(frame, bytes)?;
        if bytes.len() != header.frame_bytes() {
            return Err(
                header.fault(Problem::Length { expected: header.frame_bytes() as u64, found: bytes.len() as u64 })
            );
        }
        let payload = &bytes[HEADER_BYTES..];
        if crc32fast::hash(payload) != header.payload_crc {
            return Err(header.fault(Problem::Checksum));
        }
        let raw = unpack(&header, payload).map_err(|problem| header.fault(problem))?;
        let entries = Self::entries(&header, &raw)?;
        Ok(Self { header, entries })
    }

    /// The hash of its last entry, or of the one before where it holds none.
    pub fn hash(&self) -> Hash {
        self.entries.last().map_or(self.header.previous, |entry| entry.hash)
    }

    fn entries(header: &Header, raw: &[u8]) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::with_capacity(header.entries.min(1 << 16) as usize);
        let (mut hash, mut seq, mut at) = (header.previous, header.first_seq, header.first_at);
        let mut rest = str::from_utf8(raw).map_err(|e| header.fault(Problem::Payload(e.to_string())))?;
        while !rest.is_empty() {
            let fault = |problem| Fault::new(header.frame, Some(seq), problem);
            let (line, beside, after) =
                two_lines(rest).ok_or_else(|| fault(Problem::Entry("expected two lines".into())))?;
            let entry = Entry::read(&hash, line.as_bytes(), beside.as_bytes()).map_err(fault)?;
            follows(seq, at, &entry).map_err(fault)?;
            let next = seq.checked_add(u64::from(entry.events));
            seq = next.ok_or_else(|| fault(Problem::Entry("more events than can be numbered".into())))?;
            (hash, at, rest) = (entry.hash, entry.at, after);
            entries.push(entry);
        }
        let found = [entries.len() as u64, seq, at];
        if found != [u64::from(header.entries), header.next_seq, header.last_at] {
            return Err(header.fault(Problem::Entry(format!(
                "entries, next seq and time are {found:?}, the header says otherwise"
            ))));
        }
        Ok(entries)
    }
}

/// Whether an entry may stand where that seq is next and that time was last.
pub(super) fn follows(seq: u64, at: u64, entry: &Entry) -> Result<(), Problem> {
    if entry.first_seq != seq {
        return Err(Problem::Sequence { expected: seq, found: entry.first_seq });
    }
    if entry.at < at {
        return Err(Problem::Time { expected: at, found: entry.at });
    }
    Ok(())
}

fn unpack(header: &Header, payload: &[u8]) -> Result<Vec<u8>, Problem> {
    match header.raw_bytes as usize {
        raw_bytes @ ..=RAW_BYTES_MAX => compression::unpack(header.format, payload, raw_bytes),
        raw_bytes => Err(Problem::Payload(format!("{raw_bytes} bytes, expected {RAW_BYTES_MAX} at most"))),
    }
}

fn two_lines(text: &str) -> Option<(&str, &str, &str)> {
    let (first, rest) = text.split_once('\n')?;
    let (second, rest) = rest.split_once('\n')?;
    Some((first, second, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second frame of a log of the first release: one decision of two events.
    const FIRST_FORMAT: &[u8] = include_bytes!("../../tests/archive/fixtures/frame.v1");

    #[test]
    fn a_frame_of_the_first_format_is_read_for_good() {
        let frame = Frame::read(2, FIRST_FORMAT).unwrap();
        assert_eq!((frame.header.format, frame.header.entries, frame.header.next_seq), (1, 1, 8));
        let entry = &frame.entries[0];
        assert!(entry.line.starts_with(br#"{"seq":6,"at":"2026-11-22T20:42:40.711Z","#));
        assert_eq!(entry.hash[..4], [0xee, 0xe9, 0x76, 0xfc]);
    }

    #[test]
    fn a_frame_of_a_later_format_is_named() {
        let mut later = FIRST_FORMAT.to_vec();
        later[3] = 3;
        let crc = crc32fast::hash(&later[..HEADER_BYTES - 4]);
        later[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
        let fault = Frame::read(2, &later).unwrap_err();
        assert_eq!(fault.problem, Problem::Format(3));
        assert!(fault.to_string().contains("frame format 3, expected 2 at most: use a newer release"), "{fault}");
    }
}
