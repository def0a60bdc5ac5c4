//! An export piece by piece: what a running service hands out of it, one answer at a time.
//!
//! The pieces one after the other are the text that an export of the stopped directory gives, up to the frame that
//! was the last when the first piece was asked for. Nothing is kept between two pieces: where the next one starts, and
//! what the last line must say, stands in the [`Place`] that goes to and fro. So an export outlives a restart.

use std::fmt;

use super::{BaseHead, BaseLine, Exporter, end_line, hex, json_line, write_entry, write_state};
use crate::log::error::Fault;
use crate::log::reader::Head;
use crate::log::{Base, Reader};

/// Frames looked at for one piece; those that only note how far publication got hold no text.
const FRAMES_MAX: usize = 4096;

/// Where a piece starts. The export is counted in units of text: the first line, then each frame, then the last line.
/// Where the log begins with a base, the pieces of that and the line that ends it stand before the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    unit: u64,
    /// Bytes of the unit that came with the piece before.
    skip: u64,
    /// Entries of the units before it, and how many of them without their personal values.
    entries: u64,
    redacted: u64,
    /// The last frame of the export.
    through: u64,
    /// The first frame of the log. Once old volumes are removed the units are others, and the entries from there on.
    first: u64,
}

/// A run of an export's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text. It may begin and end within a line.
    pub text: String,
    /// Where the next piece starts; none after the last line.
    pub next: Option<Place>,
    /// The seq of the last event of the whole export.
    pub through_seq: u64,
}

/// Why there is no piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPiece {
    /// The place is not one of this log.
    Astray,
    /// The log is not what was written.
    Fault(Fault),
}

impl From<Fault> for NoPiece {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Place {
    /// The beginning of an export of everything that is durable now.
    pub fn begin(reader: &Reader) -> Place {
        let (through, first) = (reader.head().frames, reader.first_number());
        Place { unit: 0, skip: 0, entries: 0, redacted: 0, through, first }
    }

    /// Whether it is the beginning of an export.
    pub fn is_begin(&self) -> bool {
        self.unit == 0 && self.skip == 0
    }

    /// Reads a place as it was written.
    pub fn parse(text: &str) -> Option<Place> {
        let numbers: Option<Vec<u64>> = text.splitn(7, '.').map(|number| number.parse().ok()).collect();
        let (numbers, first) = numbers?.split_first_chunk().map(|(numbers, rest)| (*numbers, rest.first().copied()))?;
        let [unit, skip, entries, redacted, through] = numbers;
        let place = Place { unit, skip, entries, redacted, through, first: first.unwrap_or(1) };
        // Only as it was written: no plus sign, no zeros in front, nothing behind.
        (place.to_string() == text).then_some(place)
    }

    fn after(self, part: &Part) -> Result<Place, NoPiece> {
        // Whoever asks may have made the numbers up.
        let sum = |one: u64, other: u64| one.checked_add(other).ok_or(NoPiece::Astray);
        let (entries, redacted) = (sum(self.entries, part.entries)?, sum(self.redacted, part.redacted)?);
        Ok(Place { unit: sum(self.unit, 1)?, skip: 0, entries, redacted, ..self })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}.{}", self.unit, self.skip, self.entries, self.redacted, self.through)?;
        if self.first > 1 { write!(f, ".{}", self.first) } else { Ok(()) }
    }
}

/// The piece that starts there, of that many bytes at most. `key` is the secret of the directory.
pub fn piece(reader: &Reader, key: &[u8; 32], start: Place, bytes_max: usize) -> Result<Piece, NoPiece> {
    if start.first != reader.first_number() {
        return Err(NoPiece::Astray);
    }
    let end = head_at(reader, start.through)?;
    let through_seq = end.next_seq - 1;
    let (mut place, mut text) = (start, String::new());
    for _ in 0..FRAMES_MAX {
        let part = Part::read(reader, key, &place, &end)?;
        let skip = usize::try_from(place.skip).map_err(|_| NoPiece::Astray)?;
        let rest = part.text.get(skip..).ok_or(NoPiece::Astray)?;
        let room = bytes_max.saturating_sub(text.len());
        if rest.len() > room {
            let cut = rest.floor_char_boundary(room);
            text.push_str(&rest[..cut]);
            place.skip += cut as u64;
            break;
        }
        text.push_str(rest);
        if place.unit == last_unit(reader, place.through) {
            return Ok(Piece { text, next: None, through_seq });
        }
        place = place.after(&part)?;
    }
    Ok(Piece { text, next: Some(place), through_seq })
}

/// The text of one frame.
#[derive(Default)]
struct Part {
    text: String,
    entries: u64,
    redacted: u64,
}

impl Part {
    fn read(reader: &Reader, key: &[u8; 32], place: &Place, end: &Head) -> Result<Part, NoPiece> {
        let (mut text, mut part) = (Vec::new(), Part::default());
        let (of_base, last) = (units_of_base(reader), last_unit(reader, place.through));
        match (place.unit, reader.base()) {
            (0, base) => drop(Exporter::begin(reader.log_id(), base.is_some(), &mut text)),
            (unit, Some(base)) if unit < of_base => {
                base.piece(unit - 1)?.iter().for_each(|(key, line)| write_state(key, line, &mut text));
            }
            (unit, Some(base)) if unit == of_base => json_line(&line_of(base), &mut text),
            (unit, _) if unit < last => {
                let frame = unit - of_base - 1 + reader.first_number();
                for entry in reader.frame(frame)?.ok_or(NoPiece::Astray)?.entries {
                    write_entry(&entry, &mut text);
                    part.entries += 1;
                    part.redacted += u64::from(entry.is_redacted());
                }
            }
            (unit, base) if unit == last => {
                let is_erased = place.redacted > 0 || base.is_some_and(|base| base.is_erased());
                let key = (!is_erased).then_some(key);
                json_line(
                    &end_line(end, place.entries, key, base.map(|base| line_of(base).hash()).as_ref()),
                    &mut text,
                );
            }
            _ => return Err(NoPiece::Astray),
        }
        part.text = String::from_utf8(text).expect("an entry was read as UTF-8");
        Ok(part)
    }
}

fn line_of(base: &Base) -> BaseLine {
    let (end, erased) = (base.end(), base.is_erased());
    let (lines, digest) = (base.count(), hex(base.digest()));
    BaseLine { base: BaseHead { seq: end.next_seq - 1, at: end.last_at, hash: hex(&end.hash), lines, erased, digest } }
}

/// The pieces of the base, and the line that ends it.
fn units_of_base(reader: &Reader) -> u64 {
    reader.base().map_or(0, |base| base.pieces() + 1)
}

/// The unit after the frame with which the export ends.
fn last_unit(reader: &Reader, through: u64) -> u64 {
    units_of_base(reader) + (through + 1).saturating_sub(reader.first_number()) + 1
}

/// The head of the log where it ends with that frame.
fn head_at(reader: &Reader, frame: u64) -> Result<Head, NoPiece> {
    let mut head = reader.beginning();
    if frame < head.frames || frame > reader.head().frames {
        return Err(NoPiece::Astray);
    }
    if frame > head.frames {
        head.next_seq = reader.header(frame)?.ok_or(NoPiece::Astray)?.next_seq;
        head.hash = reader.hash_after(frame)?.ok_or(NoPiece::Astray)?;
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Draft, Log, MemoryLog, SimulatedDisk};

    const KEY: [u8; 32] = [7; 32];

    fn draft(seq: u64, text: &str, salt: Option<[u8; 16]>) -> Draft {
        let line = format!("{{\"conversation\":\"c\",\"user\":\"{text}\"}}");
        let value = 27..line.len() as u32 - 1;
        Draft {
            conversation: "c".into(),
            version: seq - 1,
            first_seq: seq,
            events: 1,
            at: seq,
            line: line.into(),
            personal: [value].into_iter().collect(),
            salt,
        }
    }

    fn log(entries: u64) -> MemoryLog {
        let mut log = MemoryLog::open(&SimulatedDisk::default(), uuid::Uuid::from_u128(1)).unwrap();
        for seq in 1..=entries {
            log.append(&[draft(seq, "žluťoučký \\\" kůň", Some([1; 16]))], 0).unwrap();
        }
        log
    }

    fn whole(reader: &Reader, bytes_max: usize) -> (String, usize) {
        let (mut text, mut place, mut pieces) = (String::new(), Some(Place::begin(reader)), 0);
        while let Some(start) = place {
            let piece = piece(reader, &KEY, Place::parse(&start.to_string()).unwrap(), bytes_max).unwrap();
            assert!(piece.text.len() <= bytes_max);
            text.push_str(&piece.text);
            (place, pieces) = (piece.next, pieces + 1);
        }
        (text, pieces)
    }

    fn exported(reader: &Reader) -> String {
        let mut out = Vec::new();
        let mut exporter = Exporter::begin(reader.log_id(), false, &mut out);
        let entries = reader.frames(1).flat_map(|frame| frame.unwrap().entries);
        entries.for_each(|entry| exporter.entry(&entry, &mut out));
        exporter.end(Some(&KEY), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pieces_of_any_length_make_up_the_export() {
        for entries in [0, 1, 40] {
            let reader = log(entries).reader();
            let expected = exported(&reader);
            for bytes_max in [5, 100, 333, 1 << 20] {
                let (text, pieces) = whole(&reader, bytes_max);
                assert_eq!(text, expected, "{entries} entries in pieces of {bytes_max}");
                assert!(pieces > expected.len() / bytes_max);
            }
        }
    }

    #[test]
    fn what_comes_later_is_not_in_it() {
        let mut log = log(3);
        let reader = log.reader();
        let expected = exported(&reader);
        let first = piece(&reader, &KEY, Place::begin(&reader), 100).unwrap();
        log.append(&[draft(4, "later", Some([1; 16]))], 0).unwrap();
        let second = piece(&reader, &KEY, first.next.unwrap(), 1 << 20).unwrap();
        assert_eq!(first.text + &second.text, expected);
        assert_eq!((second.next, second.through_seq), (None, 3));
    }

    #[test]
    fn the_secret_stays_behind_where_values_were_erased() {
        let mut log = log(1);
        let erased = format!("redacted:{}", "0f".repeat(32));
        log.append(&[draft(2, &erased, None)], 0).unwrap();
        let (text, _) = whole(&log.reader(), 50);
        assert!(!text.contains("\"key\"") && text == exported(&log.reader()), "{text}");
    }

    #[test]
    fn a_place_of_another_log_is_none_of_this_one() {
        let reader = log(2).reader();
        for text in [
            "",
            "1",
            "1.0.0.0",
            "1.0.0.0.2.1",
            "1.0.0.0.2.0",
            "1.0.0.0.2.5.5",
            "1.0.0.0.2.",
            "+1.0.0.0.2",
            "01.0.0.0.2",
            "a.0.0.0.2",
            "-1.0.0.0.2",
        ] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
        for text in ["1.0.0.0.9", "4.0.0.0.2", "1.999999.0.0.2", "1.18446744073709551615.0.0.2", "1.0.0.0.2.5"] {
            let place = Place::parse(text).unwrap();
            assert_eq!(piece(&reader, &KEY, place, 100), Err(NoPiece::Astray), "{text}");
        }
        // Within a character.
        let (text, _) = whole(&reader, 1 << 20);
        let line = text.lines().nth(1).unwrap();
        let skip = line.find('ž').unwrap() + 1;
        let place = Place::parse(&format!("1.{skip}.0.0.2")).unwrap();
        assert_eq!(piece(&reader, &KEY, place, 100), Err(NoPiece::Astray));
    }
}
