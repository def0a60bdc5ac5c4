//! A frame as it is stored. The first byte says what the others are: 0 the stored bytes themselves, 1 the lines within
//! it, around which a frame is made, 2 and more such a frame with a field of its header off by that much.

use switchboard::log::{Head, Log, MemoryLog, Reader, SimulatedDisk};
use uuid::Uuid;

use super::entries::{are_dense, chain, check_entry, drafts};

const LOG_ID: Uuid = Uuid::from_u128(7);

pub fn check(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let stored = if *kind == 0 { rest.to_vec() } else { framed(rest, kind - 1) };
    let disk = SimulatedDisk::default();
    let entries = chain(Head::empty(LOG_ID).hash, b"{}\n{\"seq\":1,\"events\":1,\"at\":1}");
    let mut log = MemoryLog::open(&disk, LOG_ID).expect("an empty log opens");
    log.append(&drafts(&entries), 0).expect("an entry is taken");
    disk.tamper(1, |_| Some(stored));
    match MemoryLog::open(&disk, LOG_ID) {
        Err(fault) => assert!(!fault.to_string().is_empty()),
        Ok(log) => check_read(&log.reader()),
    }
}

/// A frame around lines, as the table in `log::frame` has it; one field of the header is off by `off`.
fn framed(lines: &[u8], off: u8) -> Vec<u8> {
    let head = Head::empty(LOG_ID);
    let entries = chain(head.hash, lines);
    let first = entries.first().map_or((1, 0), |entry| (entry.first_seq, entry.at));
    let last = entries.last().map_or((1, 0), |entry| (entry.first_seq.wrapping_add(u64::from(entry.events)), entry.at));
    let payload = zstd::bulk::compress(lines, 1).expect("bytes are compressed");
    let mut fields = [1, first.0, last.0, first.1, last.1, 0];
    if off > 0 {
        let field = usize::from(off) % fields.len();
        fields[field] = fields[field].wrapping_add(u64::from(off));
    }
    let mut out = b"SB\x00\x01".to_vec();
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    fields.iter().for_each(|field| out.extend_from_slice(&field.to_be_bytes()));
    out.extend_from_slice(&head.hash);
    for field in [lines.len() as u32, payload.len() as u32, crc32fast::hash(&payload)] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&crc32fast::hash(&out).to_be_bytes());
    out.extend_from_slice(&payload);
    out
}

/// A frame that reads holds what its header says, is found by what it holds, and appends as it was.
fn check_read(reader: &Reader) {
    let frame = reader.frame(1).expect("the head was read from it").expect("there is one frame");
    let header = &frame.header;
    assert_eq!(reader.header(1).as_ref(), Ok(&Some(header.clone())));
    assert_eq!(frame.entries.len() as u32, header.entries);
    assert!(are_dense(&frame.entries, header.first_seq, header.first_at));
    assert_eq!(reader.hash_after(1), Ok(Some(frame.hash())));
    for seq in [header.first_seq, header.next_seq, header.next_seq.wrapping_sub(1)] {
        let is_there = seq >= 1 && seq < header.next_seq;
        assert_eq!(reader.frame_of_seq(seq), Ok(is_there.then_some(1)));
    }
    assert_eq!(reader.frame_at(header.first_at), Ok(Some(1)));
    let mut previous = header.previous;
    for entry in &frame.entries {
        check_entry(&previous, entry);
        previous = entry.hash;
    }
    let mut head = Head::empty(LOG_ID);
    if head.follow(&frame).is_ok() && !frame.entries.is_empty() {
        let mut again = MemoryLog::open(&SimulatedDisk::default(), LOG_ID).expect("an empty log opens");
        again.append(&drafts(&frame.entries), header.published_through).expect("what was read can be appended");
        let reader = again.reader();
        let kept: Vec<_> = reader.frames(1).flat_map(|frame| frame.expect("a frame").entries).collect();
        assert_eq!(super::entries::text(&kept), super::entries::text(&frame.entries));
        assert_eq!((reader.head().next_seq, reader.head().hash), (head.next_seq, head.hash));
    }
}
