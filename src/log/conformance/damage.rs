//! Every kind of damage to a stored log is found, with its place.

use std::io::Read;

use super::*;
use crate::log::{Fault, Problem, frame};

fn log_of(frames: u64) -> (SimulatedDisk, Reader) {
    let bench = InMemory::new();
    let mut log = bench.open();
    for at in 1..=frames {
        append(&mut *log, &[1, 1], at * 10);
    }
    (bench.0, log.reader())
}

fn first_fault(reader: &Reader) -> Option<Fault> {
    let mut head = Head::empty(Uuid::nil());
    reader.frames(1).find_map(|frame| frame.and_then(|frame| head.follow(&frame)).err())
}

#[test]
fn every_changed_byte_is_found() {
    let (disk, reader) = log_of(3);
    let mut whole = Vec::new();
    disk.tamper(2, |bytes| {
        whole = bytes;
        Some(whole.clone())
    });
    assert_eq!(first_fault(&reader), None);
    for at in 0..whole.len() {
        disk.tamper(2, |mut bytes| {
            bytes[at] ^= 0x10;
            Some(bytes)
        });
        assert_eq!(first_fault(&reader).map(|fault| fault.frame), Some(2), "byte {at}");
        disk.tamper(2, |_| Some(whole.clone()));
    }
    disk.tamper(2, |bytes| Some(bytes[..bytes.len() - 1].to_vec()));
    assert!(matches!(first_fault(&reader), Some(Fault { frame: 2, problem: Problem::Length { .. }, .. })));
}

/// Somebody who mends every checksum is found out by the chain, in the frame that follows.
#[test]
fn an_entry_written_anew_breaks_the_chain() {
    let (disk, reader) = log_of(3);
    let frame = reader.frame(2).unwrap().unwrap();
    let mut raw = Vec::new();
    for mut entry in frame.entries {
        let at = entry.line.iter().position(|byte| *byte == b'x').unwrap();
        entry.line[at] = b'y';
        entry.write(&mut raw);
    }
    let payload = zstd::bulk::compress(&raw, 1).unwrap();
    let mut header = frame.header;
    header.packed_bytes = payload.len() as u32;
    header.payload_crc = crc32fast::hash(&payload);
    let mut forged = Vec::new();
    header.write(&mut forged);
    forged.extend_from_slice(&payload);
    disk.tamper(2, |_| Some(forged));
    let fault = first_fault(&reader).unwrap();
    assert_eq!((fault.frame, fault.seq, fault.problem), (3, Some(5), Problem::Chain));
}

#[test]
fn swapped_and_lost_frames_are_found() {
    let (disk, reader) = log_of(4);
    let mut second = None;
    disk.tamper(2, |bytes| {
        second = Some(bytes);
        None
    });
    let fault = first_fault(&reader).unwrap();
    assert_eq!((fault.frame, fault.problem), (2, Problem::Missing));
    let mut third = None;
    disk.tamper(3, |bytes| {
        third = Some(bytes);
        second.clone()
    });
    let fault = reader.frame(3).unwrap_err();
    assert_eq!((fault.frame, fault.problem), (3, Problem::Number(2)));
}

/// What stands behind a fault may be of a log that went another way.
#[test]
fn reading_ends_with_the_first_fault() {
    let (disk, reader) = log_of(4);
    disk.tamper(2, |bytes| Some(bytes[..10].to_vec()));
    let read: Vec<_> = reader.frames(1).map(|frame| frame.map(|frame| frame.header.frame).map_err(|_| ())).collect();
    assert_eq!(read, [Ok(1), Err(())]);
}

#[test]
fn a_short_payload_is_plain_lines_to_whoever_has_the_dictionary() {
    let (disk, reader) = log_of(1);
    let mut lines = Vec::new();
    disk.tamper(1, |bytes| {
        let dictionary = include_bytes!("../lines.zdict");
        let payload = &bytes[frame::HEADER_BYTES..];
        zstd::stream::read::Decoder::with_dictionary(payload, dictionary).unwrap().read_to_end(&mut lines).unwrap();
        Some(bytes)
    });
    let entries = entries(&reader);
    let text = String::from_utf8(lines).unwrap();
    let texts: Vec<_> = text.lines().collect();
    assert_eq!(texts.len(), 4);
    assert_eq!(texts[0].as_bytes(), entries[0].line);
    assert!(texts.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}
