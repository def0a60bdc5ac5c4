//! A conversation as bytes, as few as may be: so the cache keeps it, and so it rests in memory.
//!
//! They do not say what they are, nor whose: the id stands beside them. Another order of fields in `Conversation`,
//! `Offer`, `EndRequest`, `Close`, `By`, `Head`, `End`, `IdsEnd`, `Decided` or `Closed`, or of variants in `Status`,
//! `Role`, `EndCause` or `Kind`, is therefore another format of the cache.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command_ids::{Closed, Decided, IdsEnd};
use super::paged::End;
use super::slot::Slot;
use crate::domain::conversation::Status;
use crate::domain::{Conversation, ConversationId, Time};

/// What is kept of a conversation, besides the parts of it that are long and do not change.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head<C, I, F> {
    /// As the log has it.
    pub conversation: C,
    /// Which command ids decided what.
    pub command_ids: I,
    /// The frames of the log that hold its entries.
    pub frames: F,
    /// How many entries there are.
    pub entries: u64,
}

/// A head that was read.
pub type ReadHead = Head<Conversation, IdsEnd<Vec<Decided>, Vec<Closed>>, End<Vec<u64>>>;

/// What can be seen of a conversation without reading it whole: the fields of [`Conversation`] behind its id, in
/// their order, up to whether control is offered.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Glance<'a> {
    session: u32,
    /// Its channel.
    pub channel: &'a str,
    /// Its end user.
    pub user: Option<&'a str>,
    continued_from: Option<&'a str>,
    /// How far its session has come.
    pub status: Status,
    /// Who holds control.
    pub owner: Option<&'a str>,
    owner_changed_at: u64,
    owner_seq: u64,
    owner_accepted: bool,
    last_owner: Option<&'a str>,
    /// The last activity noted in the log or carried by an event.
    pub last_activity_at: Time,
    /// Whether control is offered to somebody: of what may be there, the first byte says whether it is.
    pub is_offered: bool,
}

/// The head of a conversation.
pub fn written(slot: &Slot) -> Vec<u8> {
    let head = Head {
        conversation: &slot.c,
        command_ids: slot.ids.end(),
        frames: slot.frames.end(),
        entries: slot.marks.entries(),
    };
    let mut bytes = postcard::to_extend(&head, Vec::with_capacity(256)).expect("our values can be written");
    // The id comes first, and whoever has the head has the id: in its place stands whether there is more beside it.
    bytes[0] = u8::from(slot.has_parts());
    bytes.drain(1..name(&slot.c.id).len());
    bytes
}

/// Whether the conversation has parts beside its head.
pub fn has_parts(head: &[u8]) -> bool {
    head.first().is_some_and(|first| *first != 0)
}

/// Reads a head.
pub fn read(id: &ConversationId, head: &[u8]) -> Result<ReadHead, String> {
    let mut head: ReadHead = read_beginning(id, head)?;
    head.conversation.id = id.clone();
    Ok(head)
}

/// The conversation alone.
pub fn conversation(id: &ConversationId, head: &[u8]) -> Result<Conversation, String> {
    let mut c: Conversation = read_beginning(id, head)?;
    c.id = id.clone();
    Ok(c)
}

/// What can be seen without reading it whole.
pub fn glance(head: &[u8]) -> Result<Glance<'_>, String> {
    postcard::take_from_bytes(head.get(1..).unwrap_or_default()).map(|(glance, _)| glance).map_err(unread)
}

/// The head for people: each field under its name.
pub fn shown(id: &ConversationId, head: &[u8]) -> Result<Value, String> {
    serde_json::to_value(read(id, head)?).map_err(|error| error.to_string())
}

fn read_beginning<T: DeserializeOwned>(id: &ConversationId, head: &[u8]) -> Result<T, String> {
    let mut bytes = name(id);
    bytes.extend_from_slice(head.get(1..).unwrap_or_default());
    postcard::take_from_bytes(&bytes).map(|(read, _)| read).map_err(unread)
}

fn name(id: &ConversationId) -> Vec<u8> {
    postcard::to_extend(id, Vec::with_capacity(512)).expect("a text can be written")
}

fn unread(error: postcard::Error) -> String {
    format!("expected a conversation in the cache: {error}")
}
