//! The journal of open conversations: a file that is added to, and read from front to back at a start.
//!
//! A record says what a conversation is now, or that it is not open any more; the last word on each counts. A mark says
//! up to which frame of the log everything before it is whole. What stands behind the last mark that
//! [reads](super::records) does not count. Any beginning that ends with a mark is as true as the whole: it is what
//! the journal was then, and the log has the rest.
//!
//! It begins with conversations in the order of their ids, each once; whatever came later stands behind them. Once that
//! is a good part of it, the two are merged into another file, which takes its place.

use super::records::{Out, PIECE_BYTES, Point, Records};
use super::tape::Tape;
use crate::log::codec::Fields;
use crate::log::entry::Hash;

const OPEN: u8 = b'o';
const GONE: u8 = b'g';
const MARK: u8 = b'm';

/// The frame up to which everything is kept, and the hash of the log there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub frame: u64,
    pub hash: Hash,
}

/// The journal, for its one writer.
pub(super) struct Journal {
    tape: Box<dyn Tape>,
    /// Up to here it is in order.
    sorted: Point,
    end: Point,
    /// The last mark, where the end is.
    mark: Option<Mark>,
    /// Whether something stands behind the end that does not count.
    has_rest: bool,
    round: Round,
    /// Where a rewriting failed last, for want of room or otherwise.
    failed_at: u64,
    out: Out,
}

/// Where a round has come to: what one that failed has left is never marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Marked,
    Paused,
    Unfinished,
}

impl Journal {
    /// Reads it up to the last mark, which is given back too; what stands behind does not count.
    pub fn open(tape: Box<dyn Tape>) -> Result<(Self, Option<Mark>), String> {
        let (reader, length) = tape.read(0)?;
        let mut records = Records::new(reader, Point::default(), length);
        let (Last { sorted, end, mark: found }, why) = last_mark(&mut records);
        if end.bytes < length {
            let bytes = length - end.bytes;
            tracing::warn!(
                bytes,
                why,
                "the end of what the cache keeps of open conversations does not count: the log has it"
            );
        }
        let out = Out::behind(end);
        let (has_rest, round) = (end.bytes < length, Round::Marked);
        Ok((Self { tape, sorted, end, mark: found, has_rest, round, failed_at: 0, out }, found))
    }

    /// Begins a round, or goes on with one that paused; only [`commit`](Self::commit) makes what it adds count.
    pub fn begin(&mut self) -> Result<(), String> {
        match std::mem::replace(&mut self.round, Round::Unfinished) {
            Round::Marked => {}
            Round::Paused => return Ok(()),
            Round::Unfinished => return Err("an earlier round could not be written".into()),
        }
        if self.has_rest {
            self.tape.cut(self.end.bytes)?;
            self.has_rest = false;
        }
        Ok(())
    }

    /// Adds what a conversation is now.
    pub fn open_is(&mut self, id: &str, head: &[u8]) -> Result<(), String> {
        self.out.row(id, head);
        self.out.write_if(PIECE_BYTES, |bytes| self.tape.append(bytes))
    }

    /// Adds that a conversation is not open any more.
    pub fn is_gone(&mut self, id: &str) -> Result<(), String> {
        self.out.record(GONE, &[id.as_bytes()]);
        self.out.write_if(PIECE_BYTES, |bytes| self.tape.append(bytes))
    }

    /// Says that what was added so far could be written.
    pub fn pause(&mut self) {
        self.round = Round::Paused;
    }

    /// Marks that everything up to that frame is kept: whatever the rest of the cache holds of it is with the system
    /// already.
    pub fn commit(&mut self, mark: Mark) -> Result<(), String> {
        self.out.mark(self.sorted, &mark);
        self.out.write_if(1, |bytes| self.tape.append(bytes))?;
        (self.end, self.mark) = (self.out.at, Some(mark));
        self.round = Round::Marked;
        Ok(())
    }

    /// Rewrites it up to the last mark, if much of it is out of order and no round is under way.
    pub fn tidy(&mut self) -> Result<(), String> {
        let Some(mark) = self.mark.filter(|_| self.round == Round::Marked) else { return Ok(()) };
        // A merge holds in memory what came later, and writes the whole: at a quarter of the rest neither is much.
        let later = self.end.bytes.saturating_sub(self.sorted.bytes.max(self.failed_at));
        let is_due = later > (self.end.bytes / 5).max(self.tape.later_bytes_min());
        if is_due { self.rewrite(&mark) } else { Ok(()) }
    }

    /// All open conversations in the order of their ids, as they were marked last.
    pub fn rows(&self) -> Result<Rows, String> {
        let (reader, _) = self.tape.read(0)?;
        let ordered = Records::new(reader, Point::default(), self.sorted.bytes);
        let (reader, _) = self.tape.read(self.sorted.bytes)?;
        let later = Later::read(Records::new(reader, self.sorted, self.end.bytes))?;
        Ok(Rows { ordered, has_ordered: false, is_over: false, later, next: 0 })
    }

    /// Brings it onto stable storage.
    pub fn sync(&self) -> Result<(), String> {
        self.tape.sync()
    }

    /// How long it is once it is rewritten.
    fn live_bytes(&self) -> Result<u64, String> {
        let (mut rows, mut out) = (self.rows()?, Out::default());
        while let Some((id, head)) = rows.next()? {
            out.row(id, head);
            out.buffer.clear();
        }
        out.mark(out.at, &Mark { frame: 0, hash: Hash::default() });
        Ok(out.at.bytes)
    }

    fn rewrite(&mut self, mark: &Mark) -> Result<(), String> {
        // What is written is no longer than what is read, and how much shorter is counted only where that matters.
        if !self.tape.has_room(self.end.bytes) && !self.tape.has_room(self.live_bytes()?) {
            self.failed_at = self.end.bytes;
            return Ok(());
        }
        let mut rows = self.rows()?;
        match merge(&mut rows, &*self.tape, mark) {
            Ok((sorted, out)) => {
                (self.sorted, self.end, self.failed_at) = (sorted, out.at, 0);
                self.out = out;
                Ok(())
            }
            Err(Trouble::Reading(why)) => Err(why),
            // Nothing is lost: the present one goes on.
            Err(Trouble::Writing(why)) => {
                tracing::warn!(why, "what the cache keeps of open conversations could not be rewritten, and grows");
                self.tape.drop_next();
                self.failed_at = self.end.bytes;
                Ok(())
            }
        }
    }
}

/// The last mark, where it ends, and what is in order before it.
#[derive(Default)]
struct Last {
    sorted: Point,
    end: Point,
    mark: Option<Mark>,
}

/// Reads up to the last mark, and why no other follows. Whatever does not read ends it.
fn last_mark(records: &mut Records) -> (Last, String) {
    let mut last = Last::default();
    let why = loop {
        match records.step() {
            Ok(true) => {}
            Ok(false) => break "no mark follows".into(),
            Err(why) => break why,
        }
        if let Ok(Record::Mark { sorted, mark }) = records.record() {
            last = Last { sorted, end: records.at, mark: Some(mark) };
        }
    };
    (last, why)
}

enum Trouble {
    Reading(String),
    Writing(String),
}

/// Writes another journal and puts it in the place of this one.
fn merge(rows: &mut Rows, tape: &dyn Tape, mark: &Mark) -> Result<(Point, Out), Trouble> {
    let mut out = Out::default();
    tape.begin_next().map_err(Trouble::Writing)?;
    while let Some((id, head)) = rows.next().map_err(Trouble::Reading)? {
        out.row(id, head);
        out.write_if(PIECE_BYTES, |bytes| tape.append_next(bytes)).map_err(Trouble::Writing)?;
    }
    let sorted = out.at;
    out.mark(sorted, mark);
    out.write_if(1, |bytes| tape.append_next(bytes)).map_err(Trouble::Writing)?;
    tape.turn().map_err(Trouble::Writing)?;
    Ok((sorted, out))
}

impl Out {
    fn row(&mut self, id: &str, head: &[u8]) {
        // A conversation's id has 128 bytes at most.
        let length = (id.len() as u16).to_be_bytes();
        self.record(OPEN, &[&length, id.as_bytes(), head]);
    }

    fn mark(&mut self, sorted: Point, mark: &Mark) {
        let (bytes, crc) = (sorted.bytes.to_be_bytes(), sorted.crc.to_be_bytes());
        self.record(MARK, &[&bytes, &crc, &mark.frame.to_be_bytes(), &mark.hash]);
    }
}

enum Record<'a> {
    Open { id: &'a [u8], head: &'a [u8] },
    Gone { id: &'a [u8] },
    Mark { sorted: Point, mark: Mark },
}

impl Records {
    fn record(&self) -> Result<Record<'_>, String> {
        parse(self.content()).ok_or_else(|| "a record cannot be read".into())
    }
}

fn parse(content: &[u8]) -> Option<Record<'_>> {
    let (kind, rest) = content.split_first()?;
    let mut fields = Fields(rest);
    match *kind {
        OPEN => {
            let length = fields.u16()?;
            let (id, head) = fields.0.split_at_checked(length.into())?;
            Some(Record::Open { id, head })
        }
        GONE => Some(Record::Gone { id: rest }),
        MARK => {
            let sorted = Point { bytes: fields.u64()?, crc: fields.u32()? };
            Some(Record::Mark { sorted, mark: Mark { frame: fields.u64()?, hash: fields.take()? } })
        }
        _ => None,
    }
}

/// What came later than what is in order: the last word on each conversation, sorted; in one piece, which goes back to
/// the system at once.
struct Later {
    bytes: Vec<u8>,
    words: Vec<Word>,
}

/// Where a word stands: its id, and its head behind that, if it is not that it is gone.
#[derive(Clone, Copy)]
struct Word {
    id: usize,
    head: usize,
    end: usize,
    is_open: bool,
}

impl Later {
    fn read(mut records: Records) -> Result<Self, String> {
        let room = records.until - records.at.bytes;
        let mut later = Self { bytes: Vec::with_capacity(room as usize), words: Vec::new() };
        while records.step()? {
            let (id, head) = match records.record()? {
                Record::Open { id, head } => (id, Some(head)),
                Record::Gone { id } => (id, None),
                Record::Mark { .. } => continue,
            };
            let begin = later.bytes.len();
            later.bytes.extend_from_slice(id);
            later.bytes.extend_from_slice(head.unwrap_or_default());
            let (head, is_open) = (begin + id.len(), head.is_some());
            later.words.push(Word { id: begin, head, end: later.bytes.len(), is_open });
        }
        let Self { bytes, words } = &mut later;
        let id = |word: &Word| &bytes[word.id..word.head];
        // Those of one conversation stay in the order in which they came.
        words.sort_by(|a, b| id(a).cmp(id(b)));
        words.dedup_by(|later, kept| {
            let is_same = id(later) == id(kept);
            if is_same {
                *kept = *later;
            }
            is_same
        });
        Ok(later)
    }

    fn id(&self, at: usize) -> Option<&[u8]> {
        self.words.get(at).map(|word| &self.bytes[word.id..word.head])
    }
}

/// Open conversations in the order of their ids.
pub(super) struct Rows {
    ordered: Records,
    /// Whether the record that was read there is the next.
    has_ordered: bool,
    is_over: bool,
    later: Later,
    next: usize,
}

impl Rows {
    /// The next one, and its head.
    pub fn next(&mut self) -> Result<Option<(&str, &[u8])>, String> {
        let (id, head) = match self.advance()? {
            Some(Side::Ordered) => match self.ordered.record()? {
                Record::Open { id, head } => (id, head),
                _ => return Err("something else stands among open conversations".into()),
            },
            Some(Side::Later(word)) => (&self.later.bytes[word.id..word.head], &self.later.bytes[word.head..word.end]),
            None => return Ok(None),
        };
        let id = std::str::from_utf8(id).map_err(|_| "a key is not text")?;
        Ok(Some((id, head)))
    }

    fn advance(&mut self) -> Result<Option<Side>, String> {
        loop {
            if !self.has_ordered && !self.is_over {
                self.has_ordered = self.ordered.step()?;
                self.is_over = !self.has_ordered;
            }
            let ordered = match self.has_ordered.then(|| self.ordered.record()).transpose()? {
                Some(Record::Open { id, .. }) => Some(id),
                Some(_) => return Err("something else stands among open conversations".into()),
                None => None,
            };
            let later = self.later.id(self.next);
            if ordered.is_some_and(|ordered| later.is_none_or(|later| ordered < later)) {
                self.has_ordered = false;
                return Ok(Some(Side::Ordered));
            }
            if ordered.is_some() && ordered == later {
                self.has_ordered = false;
            }
            let Some(word) = self.later.words.get(self.next).copied() else { return Ok(None) };
            self.next += 1;
            if word.is_open {
                return Ok(Some(Side::Later(word)));
            }
        }
    }
}

enum Side {
    Ordered,
    Later(Word),
}

#[cfg(test)]
mod tests;
