//! How the lines of a frame are compressed: zstd, and for short frames zstd with a dictionary.
//!
//! A frame of one decision has nothing to be compressed against but what every decision looks like: that is the
//! dictionary. With it such a frame takes little more than half of the bytes and of the time. In a long frame
//! the first lines do the same for the others, for less time than the dictionary takes.
//!
//! `lines.zdict` is as good as part of every frame that was made with it: it never changes. A better one gets a
//! file and a format of its own. It was trained on lines with all events, most names in them made up, by
//! `zstd --train --maxdict=6144 --dictID=1`; the lines of a frame are read by hand with `zstd -d -D lines.zdict`.

use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use super::error::Problem;

/// Frames compressed on their own.
pub(super) const PLAIN: u16 = 1;

/// Frames compressed with the dictionary.
pub(super) const WITH_DICTIONARY: u16 = 2;

/// Bytes of lines from which on the dictionary costs more time than it is worth: about a dozen decisions.
const DICTIONARY_RAW_BYTES_MAX: usize = 16 << 10;

/// Fast, and the next levels save nothing.
const LEVEL: i32 = 1;

const DICTIONARY: &[u8] = include_bytes!("lines.zdict");

/// Keeps what compressing needs from one frame to the next.
pub(super) struct Squeezer {
    plain: Compressor<'static>,
    with_dictionary: Compressor<'static>,
}

impl Squeezer {
    pub fn new() -> Self {
        static ENCODER: LazyLock<EncoderDictionary<'static>> =
            LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
        let plain = Compressor::new(LEVEL).expect("the compression level is one that zstd has");
        let with_dictionary =
            Compressor::with_prepared_dictionary(&ENCODER).expect("the dictionary is one that zstd has made");
        Self { plain, with_dictionary }
    }

    /// The format and the payload of a frame with these lines.
    pub fn squeeze(&mut self, lines: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let (format, compressor) = match lines.len() {
            0 => return Ok((PLAIN, Vec::new())),
            1..=DICTIONARY_RAW_BYTES_MAX => (WITH_DICTIONARY, &mut self.with_dictionary),
            _ => (PLAIN, &mut self.plain),
        };
        compressor.compress(lines).map(|payload| (format, payload)).map_err(|e| e.to_string())
    }
}

/// Kept by each thread that reads: to make them takes as long as to unpack a short frame.
struct Unpackers {
    plain: Decompressor<'static>,
    with_dictionary: Decompressor<'static>,
}

thread_local!(static UNPACKERS: RefCell<Unpackers> = RefCell::new(Unpackers::new()));

impl Unpackers {
    fn new() -> Self {
        static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));
        let plain = Decompressor::new().expect("there is memory to unpack with");
        let with_dictionary =
            Decompressor::with_prepared_dictionary(&DECODER).expect("the dictionary is one of zstd's");
        Self { plain, with_dictionary }
    }

    fn of(&mut self, format: u16) -> &mut Decompressor<'static> {
        if format == WITH_DICTIONARY { &mut self.with_dictionary } else { &mut self.plain }
    }
}

/// The lines of a payload, of so many bytes.
pub(super) fn unpack(format: u16, payload: &[u8], raw_bytes: usize) -> Result<Vec<u8>, Problem> {
    if payload.is_empty() && raw_bytes == 0 {
        return Ok(Vec::new());
    }
    let unpacked = UNPACKERS.with_borrow_mut(|unpackers| unpackers.of(format).decompress(payload, raw_bytes));
    let raw = unpacked.map_err(|e| Problem::Payload(e.to_string()))?;
    match raw.len() == raw_bytes {
        true => Ok(raw),
        false => Err(Problem::Length { expected: raw_bytes as u64, found: raw.len() as u64 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_frames_come_back_each_in_its_format() {
        let mut squeezer = Squeezer::new();
        let line = br#"{"seq":1,"at":"2031-02-03T04:05:06.789Z","conversation":"c-1"}"#;
        for (times, expected) in [(0, PLAIN), (1, WITH_DICTIONARY), (1000, PLAIN), (2, WITH_DICTIONARY)] {
            let lines = line.repeat(times);
            let (format, payload) = squeezer.squeeze(&lines).unwrap();
            assert_eq!(format, expected, "{times} lines");
            assert_eq!(unpack(format, &payload, lines.len()), Ok(lines));
        }
    }

    #[test]
    fn what_was_made_with_the_dictionary_is_not_read_without_it() {
        let (format, payload) = Squeezer::new().squeeze(br#"{"seq":1}"#).unwrap();
        assert_eq!(format, WITH_DICTIONARY);
        assert!(matches!(unpack(PLAIN, &payload, 9), Err(Problem::Payload(_))));
    }

    #[test]
    fn a_damaged_payload_does_no_harm_to_the_next() {
        let mut squeezer = Squeezer::new();
        for lines in [vec![b'x'; 100], vec![b'x'; 100_000]] {
            let (format, payload) = squeezer.squeeze(&lines).unwrap();
            assert!(unpack(format, &payload[..payload.len() - 1], lines.len()).is_err());
            assert!(unpack(format, &payload, lines.len() - 1).is_err());
            assert_eq!(unpack(format, &payload, lines.len()), Ok(lines));
        }
    }

    /// Every log has frames that only these bytes unpack.
    #[test]
    fn the_dictionary_is_the_one_that_it_always_was() {
        assert_eq!((DICTIONARY.len(), crc32fast::hash(DICTIONARY)), (6144, 0x7866_2f0e));
    }
}
