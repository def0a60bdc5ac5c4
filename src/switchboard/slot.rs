//! A conversation as the owner of state keeps it: what the log says, and what only matters while it runs.

use super::command_ids::CommandIds;
use super::head;
use super::marks::Marks;
use super::paged::Paged;
use super::sizes::PartSizes;
use crate::domain::timers::Activity;
use crate::domain::{Conversation, ConversationId, Text, Time};
use crate::log::Part;

/// One conversation in memory.
#[derive(Debug)]
pub struct Slot {
    /// As the log has it.
    pub c: Conversation,
    /// The latest activity, noted or not.
    pub activity: Activity,
    /// The last message reported, noted or not.
    pub last_message_id: Option<Text>,
    /// Which command ids decided what.
    pub ids: CommandIds,
    /// The frames of the log that hold its entries, ascending.
    pub frames: Paged<u64>,
    /// What it was now and then.
    pub marks: Marks,
    /// The last group that an entry of it went into.
    pub in_group: u64,
    /// Whether the cache holds something older.
    pub is_dirty: bool,
    /// When the timers look at it next.
    pub looked_at: Option<Time>,
    /// Whether somebody asked for it since it was looked at last, to see whether it may go to rest.
    pub is_touched: bool,
}

/// What is kept beside a conversation while an entry is folded.
pub type Beside = (CommandIds, Paged<u64>, Marks);

impl Slot {
    /// A conversation that was not known before.
    pub fn new(c: Conversation) -> Slot {
        let activity = Activity { at: c.last_activity_at, may_be_later: false };
        let last_message_id = c.last_message_id.clone();
        Slot {
            c,
            activity,
            last_message_id,
            ids: CommandIds::default(),
            frames: Paged::default(),
            marks: Marks::default(),
            in_group: 0,
            is_dirty: false,
            looked_at: None,
            is_touched: false,
        }
    }

    /// As the cache keeps it, besides its parts.
    pub fn to_head(&self) -> Vec<u8> {
        head::written(self)
    }

    /// The parts that the cache has not got, each with its number; it has them after this.
    pub fn parts_to_keep(&mut self) -> Vec<(Part, u64, Vec<u8>)> {
        let of = |part: Part, found: Vec<(u64, Vec<u8>)>| {
            found.into_iter().map(move |(number, bytes)| (part, number, bytes)).collect::<Vec<_>>()
        };
        let mut parts = of(Part::Frames, self.frames.to_keep());
        parts.extend(of(Part::CommandIds, self.ids.decided.to_keep()));
        parts.extend(of(Part::Sessions, self.ids.closed.to_keep()));
        parts.extend(of(Part::Mark, self.marks.to_keep()));
        parts
    }

    /// All parts that the cache is to have, as far as they are known here.
    pub fn parts(&self) -> Vec<(Part, u64, Vec<u8>)> {
        let frames = self.frames.pages().map(|(number, bytes)| (Part::Frames, number, bytes));
        let ids = self.ids.decided.pages().map(|(number, bytes)| (Part::CommandIds, number, bytes));
        let sessions = self.ids.closed.pages().map(|(number, bytes)| (Part::Sessions, number, bytes));
        let marks = self.marks.unkept().iter().map(|(number, bytes)| (Part::Mark, *number, bytes.clone()));
        frames.chain(ids).chain(sessions).chain(marks).collect()
    }

    /// Whether parts of it stand in the cache beside its head.
    pub fn has_parts(&self) -> bool {
        self.frames.has_pages() || self.ids.decided.has_pages() || self.ids.closed.has_pages()
    }

    /// Whether all of it but the parts that the cache has got stands in its head.
    pub fn is_its_head(&self) -> bool {
        !self.has_parts() && self.marks.unkept().is_empty()
    }

    /// From the cache; `part` finds what stands beside the head. There may have been activity that was never noted.
    pub fn from_head(
        id: &ConversationId,
        head: &[u8],
        sizes: PartSizes,
        part: impl Fn(Part, u64) -> Result<Vec<u8>, String>,
    ) -> Result<Slot, String> {
        let head = head::read(id, head)?;
        let page = |kind| {
            let part = &part;
            move |number| part(kind, number)
        };
        let ids =
            CommandIds::restored(head.command_ids, sizes.page_items, page(Part::CommandIds), page(Part::Sessions))?;
        let frames = Paged::restored(head.frames, sizes.page_items, page(Part::Frames))?;
        Ok(Slot::restored(head.conversation, Some((ids, frames, Marks::after(head.entries)))))
    }

    /// The conversation alone, and what is kept beside it, while an entry is folded.
    pub fn split(self) -> (Conversation, Beside) {
        (self.c, (self.ids, self.frames, self.marks))
    }

    /// A conversation folded from the log. There may have been activity that was never noted.
    pub fn restored(c: Conversation, beside: Option<Beside>) -> Slot {
        let mut slot = Slot::new(c);
        (slot.ids, slot.frames, slot.marks) = beside.unwrap_or_default();
        slot.activity.may_be_later = true;
        slot
    }

    /// Takes in that the log holds an entry of it in that frame.
    pub fn is_in_frame(&mut self, frame: u64, sizes: PartSizes) {
        if self.frames.last() != Some(&frame) {
            self.frames.push(frame, sizes.page_items);
        }
    }
}
