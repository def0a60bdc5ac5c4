//! A conversation as the owner of state keeps it: what the log says, and what only matters while it runs.

use serde::{Deserialize, Serialize};

use super::command_ids::CommandIds;
use crate::domain::timers::Activity;
use crate::domain::{Conversation, Text, Time};

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
    pub frames: Vec<u64>,
    /// The last group that an entry of it went into.
    pub in_group: u64,
    /// Whether the cache holds something older.
    pub is_dirty: bool,
    /// When the timers look at it next.
    pub looked_at: Option<Time>,
}

/// What the cache keeps of a conversation.
#[derive(Serialize, Deserialize)]
struct Head<C, I, F> {
    conversation: C,
    command_ids: I,
    frames: F,
}

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
            frames: Vec::new(),
            in_group: 0,
            is_dirty: false,
            looked_at: None,
        }
    }

    /// As the cache keeps it.
    pub fn to_head(&self) -> Vec<u8> {
        let head = Head { conversation: &self.c, command_ids: &self.ids, frames: &self.frames };
        serde_json::to_vec(&head).expect("our values are JSON")
    }

    /// From the cache. There may have been activity that was never noted.
    pub fn from_head(head: &[u8]) -> Result<Slot, String> {
        let head: Head<Conversation, CommandIds, Vec<u64>> =
            serde_json::from_slice(head).map_err(|error| format!("expected a conversation in the cache: {error}"))?;
        let mut slot = Slot::new(head.conversation);
        slot.ids = head.command_ids.restored();
        slot.frames = head.frames;
        slot.activity.may_be_later = true;
        Ok(slot)
    }

    /// The conversation alone, and what is kept beside it, while an entry is folded.
    pub fn split(self) -> (Conversation, (CommandIds, Vec<u64>)) {
        (self.c, (self.ids, self.frames))
    }

    /// A conversation folded from the log. There may have been activity that was never noted.
    pub fn restored(c: Conversation, beside: Option<(CommandIds, Vec<u64>)>) -> Slot {
        let mut slot = Slot::new(c);
        (slot.ids, slot.frames) = beside.unwrap_or_default();
        slot.activity.may_be_later = true;
        slot
    }

    /// Takes in that the log holds an entry of it in that frame.
    pub fn is_in_frame(&mut self, frame: u64) {
        if self.frames.last() != Some(&frame) {
            self.frames.push(frame);
        }
    }
}
