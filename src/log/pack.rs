//! Packs a group of drafts into frames, ready to be stored under append-only keys.

use super::compression::Squeezer;
use super::entry::{Body, Hash};
use super::error::{LogError, Problem};
use super::frame::{HEADER_BYTES, Header, PART_BYTES_MAX, key};
use super::reader::Head;
use super::{Draft, Outcome, Position};

/// A frame is closed when its lines reach this. Lines of a kilobyte compress some eighteen times among so many, and
/// values of 2–8 KiB are what the database reads back with the least memory.
const FRAME_RAW_BYTES: usize = 64 << 10;

/// Turns drafts into frames; keeps its buffers and its compression contexts.
pub(super) struct Packer {
    squeezer: Squeezer,
    raw: Vec<u8>,
}

/// A group, packed: what to store, and what is so once it is stored.
pub(super) struct Packed {
    /// Frames, each as its keys and values, in order.
    pub frames: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
    /// One a draft.
    pub outcomes: Vec<Outcome>,
    /// The head of the log after the group.
    pub head: Head,
}

impl Packed {
    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.frames.iter().flatten().map(|(_, value)| value.len()).sum()
    }
}

impl Packer {
    pub fn new() -> Self {
        Self { squeezer: Squeezer::new(), raw: Vec::with_capacity(2 * FRAME_RAW_BYTES) }
    }

    /// Packs a group after `head`. The head is left as it is: nothing counts until it is stored.
    pub fn pack(&mut self, head: &Head, group: &[Draft], published_through: u64) -> Result<Packed, LogError> {
        let mut packed = Packed { frames: Vec::new(), outcomes: Vec::with_capacity(group.len()), head: head.clone() };
        packed.head.published_through = head.published_through.max(published_through);
        let mut rest = group;
        while !rest.is_empty() {
            rest = self.frame(&mut packed, rest)?;
        }
        Ok(packed)
    }

    /// A frame without entries, which notes how far publication got.
    pub fn mark(&mut self, head: &Head, published_through: u64) -> Result<Packed, LogError> {
        let mut packed = Packed { frames: Vec::new(), outcomes: Vec::new(), head: head.clone() };
        packed.head.published_through = head.published_through.max(published_through);
        self.raw.clear();
        let header = open(&packed.head, head.last_at);
        self.close(&mut packed, header)?;
        Ok(packed)
    }

    /// Packs one frame from the start of the drafts, and leaves the others.
    fn frame<'a>(&mut self, packed: &mut Packed, drafts: &'a [Draft]) -> Result<&'a [Draft], LogError> {
        self.raw.clear();
        let mut header = open(&packed.head, drafts[0].at);
        let mut rest = drafts;
        while let Some((draft, after)) = rest.split_first() {
            // A long line gets a frame of its own, so that its neighbours are read without it.
            if header.entries > 0 && self.raw.len() + draft.line.len() > 2 * FRAME_RAW_BYTES {
                break;
            }
            let hash = self.entry(&packed.head, draft)?;
            packed.head.pass(draft.events, draft.at, hash);
            packed.outcomes.push(Outcome::Durable(Position { frame: header.frame, hash }));
            header.entries += 1;
            rest = after;
            if self.raw.len() >= FRAME_RAW_BYTES {
                break;
            }
        }
        self.close(packed, header)?;
        Ok(rest)
    }

    fn entry(&mut self, head: &Head, draft: &Draft) -> Result<Hash, LogError> {
        let body = Body::of(draft);
        body.check().map_err(LogError::Draft)?;
        if draft.first_seq != head.next_seq {
            return Err(refused(Problem::Sequence { expected: head.next_seq, found: draft.first_seq }));
        }
        if draft.at < head.last_at {
            return Err(refused(Problem::Time { expected: head.last_at, found: draft.at }));
        }
        body.write(&mut self.raw);
        body.hash(&head.hash).map_err(refused)
    }

    /// Compresses what was gathered and puts the frame behind the others.
    fn close(&mut self, packed: &mut Packed, mut header: Header) -> Result<(), LogError> {
        let (format, payload) = self.squeezer.squeeze(&self.raw).map_err(LogError::Write)?;
        header.format = format;
        header.next_seq = packed.head.next_seq;
        header.last_at = packed.head.last_at;
        header.raw_bytes = self.raw.len() as u32;
        header.packed_bytes = payload.len() as u32;
        header.payload_crc = crc32fast::hash(&payload);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        header.write(&mut bytes);
        bytes.extend_from_slice(&payload);
        packed.frames.push(parts(header.frame, &bytes));
        packed.head.frames = header.frame;
        Ok(())
    }
}

/// The header of the frame after `head`; `close` fills in what only its end can tell.
fn open(head: &Head, first_at: u64) -> Header {
    Header {
        format: 0,
        frame: head.frames + 1,
        entries: 0,
        first_seq: head.next_seq,
        next_seq: head.next_seq,
        first_at,
        last_at: first_at,
        published_through: head.published_through,
        previous: head.hash,
        raw_bytes: 0,
        packed_bytes: 0,
        payload_crc: 0,
    }
}

/// The keys and values under which a frame stands.
pub(super) fn parts(frame: u64, bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let part = |(part, value): (usize, &[u8])| (key(frame, part as u16), value.to_vec());
    bytes.chunks(PART_BYTES_MAX).enumerate().map(part).collect()
}

fn refused(problem: Problem) -> LogError {
    LogError::Draft(problem.to_string())
}
