//! A conversation at rest: nothing of it is on its way, and nobody has asked for it while others were asked for.
//!
//! Then memory holds it as one piece of bytes, a tenth of what it takes awake: when the timers look at it next, whether
//! the cache has it as it is, what is known of its end user and not in the log, and the head that the cache keeps.

use serde::{Deserialize, Serialize};

use super::head::{self, Glance};
use super::sizes::PartSizes;
use super::slot::Slot;
use crate::domain::timers::Activity;
use crate::domain::{Conversation, ConversationId, Text, Time};
use crate::log::Part;

/// Stands where the timers do not look at it.
const NO_LOOK: u64 = u64::MAX;
/// Where it stands whether the cache holds something older: behind the look.
const DIRTY_AT: usize = 8;

/// The bytes of a conversation at rest.
#[derive(Debug, Clone)]
pub struct Rest(Box<[u8]>);

/// What is known and not in the log; nothing where it is as in the log.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Live {
    may_be_later: bool,
    activity_at: Option<Time>,
    last_message_id: Option<Option<Text>>,
}

impl Rest {
    /// A conversation as it is. What was not kept of its parts is not in it.
    pub fn of(slot: &Slot) -> Rest {
        let live = Live {
            may_be_later: slot.activity.may_be_later,
            activity_at: (slot.activity.at != slot.c.last_activity_at).then_some(slot.activity.at),
            last_message_id: (slot.last_message_id != slot.c.last_message_id).then(|| slot.last_message_id.clone()),
        };
        let mut rest = Rest::written(&live, &head::written(slot));
        rest.look_at(slot.looked_at);
        rest.set_dirty(slot.is_dirty);
        rest
    }

    /// As a start finds it in the cache: there may have been activity that was never noted.
    pub fn found(head: &[u8]) -> Rest {
        Rest::written(&Live { may_be_later: true, ..Live::default() }, head)
    }

    /// Awake again; `part` finds what stands in the cache beside the head.
    pub fn awake(
        &self,
        id: &ConversationId,
        sizes: PartSizes,
        part: impl Fn(Part, u64) -> Result<Vec<u8>, String>,
    ) -> Result<Slot, String> {
        let (live, head) = self.parts()?;
        let mut slot = Slot::from_head(id, head, sizes, part)?;
        slot.activity = live.activity(&slot.c);
        if let Some(last_message_id) = live.last_message_id {
            slot.last_message_id = last_message_id;
        }
        slot.looked_at = self.looked_at();
        slot.is_dirty = self.is_dirty();
        Ok(slot)
    }

    /// The conversation as the log has it, and its latest activity.
    pub fn conversation(&self, id: &ConversationId) -> Result<(Conversation, Activity), String> {
        let (live, head) = self.parts()?;
        let c = head::conversation(id, head)?;
        let activity = live.activity(&c);
        Ok((c, activity))
    }

    /// What can be seen of it without reading it whole.
    pub fn glance(&self) -> Result<Glance<'_>, String> {
        head::glance(self.head()?)
    }

    /// What the cache keeps of it.
    pub fn head(&self) -> Result<&[u8], String> {
        self.parts().map(|(_, head)| head)
    }

    /// When the timers look at it next.
    pub fn looked_at(&self) -> Option<Time> {
        let look = self.0.first_chunk().map_or(NO_LOOK, |look| u64::from_le_bytes(*look));
        (look != NO_LOOK).then_some(Time(look))
    }

    /// Says when the timers look at it next.
    pub fn look_at(&mut self, at: Option<Time>) {
        if let Some(look) = self.0.first_chunk_mut() {
            *look = at.map_or(NO_LOOK, |at| at.0).to_le_bytes();
        }
    }

    /// Whether the cache holds something older.
    pub fn is_dirty(&self) -> bool {
        self.0.get(DIRTY_AT).is_some_and(|dirty| *dirty != 0)
    }

    /// Says whether the cache holds something older.
    pub fn set_dirty(&mut self, is_dirty: bool) {
        if let Some(dirty) = self.0.get_mut(DIRTY_AT) {
            *dirty = u8::from(is_dirty);
        }
    }

    fn written(live: &Live, head: &[u8]) -> Rest {
        let mut bytes = Vec::with_capacity(64 + head.len());
        bytes.extend_from_slice(&NO_LOOK.to_le_bytes());
        bytes.push(u8::from(false));
        let mut bytes = postcard::to_extend(live, bytes).expect("our values can be written");
        bytes.extend_from_slice(head);
        Rest(bytes.into_boxed_slice())
    }

    fn parts(&self) -> Result<(Live, &[u8]), String> {
        let live = self.0.get(DIRTY_AT + 1..).ok_or("expected a conversation at rest")?;
        postcard::take_from_bytes(live).map_err(|error| format!("expected a conversation at rest: {error}"))
    }
}

impl Live {
    fn activity(&self, c: &Conversation) -> Activity {
        Activity { at: self.activity_at.unwrap_or(c.last_activity_at), may_be_later: self.may_be_later }
    }
}
