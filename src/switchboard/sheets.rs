//! Where lines and answers stand on their way out: many beside each other, in one piece of memory that they share.
//!
//! Each is taken by this thread and given back by another. Apart, each would cost a look at memory that the other has
//! touched last, for the sake of a kilobyte; so it is written where the one before was, and then put on a sheet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::line::Line;

/// Bytes of a sheet: those of some thirty commands. It is free again when all that stands on it has left, which is in order.
const SHEET_BYTES: usize = 64 << 10;
/// What is longer stands alone.
const SHARING_BYTES_MAX: usize = 4 << 10;
/// Sheets that were written full and may be free again: those of a few groups on their way.
const SHEETS_MAX: usize = 64;
/// Bytes that lines usually have.
const LINE_BYTES_USUAL: usize = 4 << 10;

/// The sheet that is written on, and the line that is written again and again.
#[derive(Debug)]
pub struct Sheets {
    line: Option<Line>,
    sheet: BytesMut,
    /// Full ones, the oldest first. What stands on one leaves in order, so the oldest is the first that is free again.
    full: VecDeque<BytesMut>,
}

impl Default for Sheets {
    fn default() -> Sheets {
        Sheets { line: None, sheet: BytesMut::with_capacity(SHEET_BYTES), full: VecDeque::new() }
    }
}

impl Sheets {
    /// A line to be written and handed back.
    pub fn line(&mut self) -> Line {
        self.line.take().unwrap_or_else(|| Line::with_capacity(LINE_BYTES_USUAL))
    }

    /// Takes the line back; gives what was written.
    pub fn keep(&mut self, line: Line) -> Bytes {
        let bytes = line.bytes().len();
        if bytes > SHARING_BYTES_MAX {
            return line.into_bytes().into();
        }
        if self.sheet.capacity() < bytes {
            self.turn();
        }
        self.sheet.extend_from_slice(line.bytes());
        self.line = Some(line);
        self.sheet.split().freeze()
    }

    /// Goes on with another sheet: with the oldest, if all that stood on it has left.
    fn turn(&mut self) {
        let free = self.full.front_mut().is_some_and(|oldest| oldest.try_reclaim(SHEET_BYTES));
        let next = if free { self.full.pop_front() } else { None };
        let full = std::mem::replace(&mut self.sheet, next.unwrap_or_else(|| BytesMut::with_capacity(SHEET_BYTES)));
        if self.full.len() < SHEETS_MAX {
            self.full.push_back(full);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_kept_stays_as_it_was_written_whatever_is_written_after_it() {
        let mut sheets = Sheets::default();
        let text = |number: usize| vec![number as u8; 1 + number * 37 % (SHARING_BYTES_MAX + 100)];
        let mut kept = Vec::new();
        for number in 0..400 {
            let mut line = if number % 2 == 0 { sheets.line().for_sending() } else { sheets.line().for_keeping() };
            line.raw(&text(number));
            kept.push(sheets.keep(line));
        }
        for (number, bytes) in kept.iter().enumerate() {
            assert!(*bytes == text(number), "{number}");
        }
        let shared = |pair: &&[Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
        assert!(kept.windows(2).filter(shared).count() > 200, "they stand beside each other");
    }

    #[test]
    fn a_sheet_is_written_on_again_once_all_that_stood_on_it_has_left() {
        let mut sheets = Sheets::default();
        let write = |sheets: &mut Sheets| {
            let mut line = sheets.line().for_sending();
            line.raw(&[b'x'; SHARING_BYTES_MAX]);
            sheets.keep(line)
        };
        let places = |kept: &[Bytes]| kept.iter().map(|bytes| bytes.as_ptr()).collect::<BTreeSet<_>>();
        // Twice as many as stand on one sheet are on their way at any time.
        let mut on_their_way: VecDeque<Bytes> = (0..32).map(|_| write(&mut sheets)).collect();
        let mut seen = places(on_their_way.make_contiguous());
        for _ in 0..100 {
            for _ in 0..16 {
                on_their_way.pop_front();
                let kept = write(&mut sheets);
                seen.insert(kept.as_ptr());
                on_their_way.push_back(kept);
            }
        }
        assert!(seen.len() <= 4 * 16, "{} places", seen.len());
    }
}
