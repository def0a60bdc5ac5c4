//! Marks along the life of a long conversation: what it was after every so many of its entries.
//!
//! The cache keeps them, so that a question about its past reads the log from the mark before, and not from its beginning.
//! They are folded from the log like every state, and only hasten the way: without them the answer is the same.

use crate::domain::Conversation;
use crate::log::{Cache, LogError, Part};

/// The marks of one conversation that the cache has not got yet, and the way to the next.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// Entries of the log that are about the conversation.
    entries: u64,
    /// Each with the seq of whatever came next in the log.
    unkept: Vec<(u64, Vec<u8>)>,
}

impl Marks {
    /// Of a conversation that the cache holds, of so many entries.
    pub fn after(entries: u64) -> Marks {
        Marks { entries, unkept: Vec::new() }
    }

    /// How many entries there were.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Takes in that an entry made the conversation what it is; the next event in the log, whosoever, is `next_seq`.
    pub fn pass(&mut self, c: &Conversation, next_seq: u64, mark_entries: u64) {
        self.entries += 1;
        if self.entries.is_multiple_of(mark_entries) {
            let mark = (next_seq, serde_json::to_vec(c).expect("our values are JSON"));
            // Notes get no seq: after many of them the later mark stands in the place of the one before.
            match self.unkept.last_mut() {
                Some(last) if last.0 == next_seq => *last = mark,
                _ => self.unkept.push(mark),
            }
        }
    }

    /// The marks that the cache has not got; it has them after this.
    pub fn to_keep(&mut self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut self.unkept)
    }

    /// The marks that were set since the cache had them.
    pub fn unkept(&self) -> &[(u64, Vec<u8>)] {
        &self.unkept
    }
}

/// What a conversation was, and the seq of the first event in the log that had not happened then.
#[derive(Debug)]
pub struct Mark {
    /// Entries before that seq are in it; so may be notes that bear it, which do no harm a second time.
    pub next_seq: u64,
    /// As it was.
    pub c: Conversation,
}

impl Mark {
    /// The last mark of a conversation with nothing in it from `seq` on.
    pub fn before(cache: &Cache, id: &str, seq: u64) -> Result<Option<Mark>, LogError> {
        let Some((next_seq, state)) = cache.part_up_to(id, Part::Mark, seq)? else { return Ok(None) };
        // What does not read is passed over: the log has it all.
        Ok(serde_json::from_slice(&state).ok().map(|c| Mark { next_seq, c }))
    }
}
