//! What goes into the switchboard and what comes out: requests and effects.
//!
//! The edge turns messages into [`Request`]s and carries out [`Effect`]s, in the order given and
//! never before what they rest on is on stable storage.

use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::paged::Ascending;
use crate::domain::command::Expected;
use crate::domain::config::document::{Document, Faults};
use crate::domain::conversation::Status;
use crate::domain::{By, Command, Conversation, ConversationId, Name, Refusal, Text, Time};
use crate::log::export::pieces::Place;

/// A request whose form is right, on its way to be decided.
#[derive(Debug)]
pub struct Request {
    /// Who asks. A question from the query endpoint comes as an operator without a name: it may see everything.
    pub by: By,
    /// What is asked.
    pub ask: Ask,
    /// Where the answer goes; none where nobody waits for one.
    pub reply: Option<Text>,
}

/// What is asked.
#[derive(Debug)]
pub enum Ask {
    /// To change a conversation.
    Command(Box<CommandAsk>),
    /// To change the configuration.
    Put(Box<PutAsk>),
    /// How a conversation stands now, as a channel or integration may see it, or as a query.
    State {
        /// Which.
        id: ConversationId,
    },
    /// Which conversations there are, page by page.
    List(Box<ListAsk>),
    /// The configuration as it is now.
    Config,
    /// Something of the past, read from the log.
    Past(Box<PastAsk>),
}

impl From<PastAsk> for Ask {
    fn from(ask: PastAsk) -> Ask {
        Ask::Past(Box::new(ask))
    }
}

/// A command of a caller, with what is recorded of it besides what it means.
#[derive(Debug)]
pub struct CommandAsk {
    /// Of which conversation.
    pub id: ConversationId,
    /// What it means.
    pub command: Command,
    /// What the caller knew of the conversation.
    pub expected: Expected,
    /// The caller's id for it.
    pub command_id: Option<Text>,
    /// The body in one canonical form, and as it is recorded: an object without `content`, `actor`, `expected_epoch` and
    /// `expected_version`, personal fields last.
    pub body: RecordedBody,
    /// The words of a message, relayed and never recorded.
    pub content: Option<Box<RawValue>>,
    /// The caller's trace.
    pub traceparent: Option<Text>,
    /// When a relayed message was sent, as the sender wrote it.
    pub sent_at: Option<Text>,
}

/// Bytes of what is recorded of a usual body.
pub const BODY_BYTES_USUAL: usize = 128;

/// The body of a command as the log keeps it, written already, for it travels from thread to thread: fields with plain
/// values, and then `user`, `metadata` and `reason`, where given, which are personal. Before it, in the same piece of
/// memory, stands the whole body in one canonical form: memory taken on one thread and given back on another is dear.
#[derive(Debug, Default, Clone)]
pub struct RecordedBody {
    written: Vec<u8>,
    canonical_bytes: usize,
    personal: SmallVec<[Range<u32>; 3]>,
}

impl RecordedBody {
    /// Nothing recorded yet of a body with that canonical form, which is empty where nobody will ask for it.
    pub fn new(canonical: Vec<u8>) -> RecordedBody {
        RecordedBody { canonical_bytes: canonical.len(), written: canonical, personal: SmallVec::new() }
    }

    /// The whole body in one canonical form, for telling a repeat from another command under the same id.
    pub fn canonical(&self) -> &[u8] {
        &self.written[..self.canonical_bytes]
    }

    /// Adds a field with a plain value, which is JSON on one line. The personal ones come behind all of these.
    pub fn push(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(self.personal.is_empty(), "{key} stands behind a personal value");
        self.write(key, write);
    }

    /// Adds a field with a personal value, which is JSON on one line.
    pub fn push_personal(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let value = self.write(key, write);
        self.personal.push(value);
    }

    fn write(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> Range<u32> {
        let begin: &[u8] = match self.fields().is_empty() {
            true => {
                self.written.reserve(BODY_BYTES_USUAL);
                b"\""
            }
            false => b",\"",
        };
        for part in [begin, key.as_bytes(), b"\":"] {
            self.written.extend_from_slice(part);
        }
        let start = self.fields().len() as u32;
        write(&mut self.written);
        start..self.fields().len() as u32
    }

    /// The fields as they stand between the braces of an object.
    pub fn fields(&self) -> &[u8] {
        &self.written[self.canonical_bytes..]
    }

    /// Where the personal values stand in them.
    pub fn personal(&self) -> &[Range<u32>] {
        &self.personal
    }
}

/// A whole configuration to be put in the place of today's.
#[derive(Debug)]
pub struct PutAsk {
    /// What was written, or what is wrong with it.
    pub document: Result<Document, Faults>,
    /// The whole body, or the whole file, in one canonical form: what a repeat, or a file, is told apart by.
    pub canonical: Vec<u8>,
    /// The version that the caller knew.
    pub expected_version: Option<u64>,
    /// The caller's id for it.
    pub command_id: Option<Text>,
    /// The caller's trace.
    pub traceparent: Option<Text>,
    /// Whether it is the configuration file, which is applied only where it differs from the last one that was.
    pub is_file: bool,
}

/// Which conversations are asked for. Each filter narrows; an absent one lets all through.
#[derive(Debug, Clone, Default)]
pub struct ListAsk {
    /// In one of these states; empty lets all through.
    pub status: Vec<Status>,
    /// Held by that one; `Some(None)` is nobody.
    pub owner: Option<Option<Name>>,
    /// Offered to that one.
    pub offered_to: Option<Name>,
    /// Held by or offered to that one: an integration's own list.
    pub concerning: Option<Name>,
    /// Of that channel.
    pub channel: Option<Name>,
    /// Of that end user.
    pub user: Option<Text>,
    /// Ending, and waiting for a release since before that.
    pub waiting_before: Option<Time>,
    /// Without activity since before that.
    pub idle_before: Option<Time>,
    /// Only ids after this one.
    pub after: Option<Text>,
    /// At most so many.
    pub limit: usize,
}

/// A question about the past.
#[derive(Debug, Clone)]
pub enum PastAsk {
    /// A conversation as it was.
    Conversation {
        /// Which.
        id: ConversationId,
        /// When.
        at: Moment,
    },
    /// The configuration as it was.
    Config {
        /// When.
        at: Moment,
    },
    /// The events of one conversation (or, none, of the configuration).
    History {
        /// Which; none is the configuration.
        id: Option<ConversationId>,
        /// Which of them.
        span: Span,
    },
    /// The events of everything.
    Log {
        /// Which of them.
        span: Span,
    },
    /// The log as text, piece by piece.
    Export {
        /// Where the piece starts; none is the beginning.
        after: Option<Place>,
        /// Its bytes, at most.
        limit: usize,
    },
}

/// A moment of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After the last whole decision up to that event.
    Seq(u64),
    /// After the last whole decision up to that time.
    Time(Time),
}

/// Which events are asked for.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Span {
    pub from_seq: Option<u64>,
    /// Inclusive.
    pub to_seq: Option<u64>,
    pub from: Option<Time>,
    /// Inclusive.
    pub to: Option<Time>,
    /// Full names; empty lets all through.
    pub types: Vec<String>,
    /// Only what that caller did.
    pub by: Option<String>,
    pub limit: usize,
}

/// What is to be done outside, in this order, resting only on what is on stable storage.
#[derive(Debug)]
pub enum Effect {
    /// Events were recorded: publish each, and its copies.
    Recorded(Recorded),
    /// A message is to reach the owner, or the end user.
    Relay(Relay),
    /// An answer.
    Answer(Answer),
    /// A command was refused: tell those who watch.
    Rejection(Rejection),
    /// A question about the past is to be read from the log, off this thread.
    Read(Box<ReadJob>),
    /// All that leaves of that group has left: tell the owner of state.
    Gone(u64),
}

impl Effect {
    /// About as many bytes as it takes, besides what all of them do.
    pub fn bytes(&self) -> usize {
        match self {
            Effect::Recorded(recorded) => recorded.line.len(),
            Effect::Relay(relay) => relay.data.len(),
            Effect::Answer(answer) => answer.body.len(),
            Effect::Rejection(rejection) => rejection.body.len(),
            Effect::Read(_) | Effect::Gone(_) => 0,
        }
    }
}

/// One decision, recorded: what is published of it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The conversation, or `_config`.
    pub conversation: Text,
    /// Whose conversation; none for the configuration.
    pub channel: Option<Name>,
    /// When it was decided.
    pub at: Time,
    /// The trace of the command that caused it.
    pub traceparent: Option<Text>,
    /// The integrations concerned.
    pub inbox: Inbox,
    /// The integrations on standby.
    pub standby: Vec<Name>,
    /// The line in the log, which holds each event's `data`.
    pub line: Bytes,
    /// The events, and where in the line their `data` stands.
    pub events: RecordedEvents,
    /// The entry's hash.
    pub hash: [u8; 32],
}

/// Who is told of a decision: usually one or two.
pub type Inbox = SmallVec<[Name; 2]>;

/// The events of a decision: usually one or two.
pub type RecordedEvents = SmallVec<[RecordedEvent; 2]>;

/// One event of a decision.
#[derive(Debug, Clone)]
pub struct RecordedEvent {
    /// Its place in the whole log.
    pub seq: u64,
    /// Its full name.
    pub full_name: &'static str,
    /// Where in the line its `data` stands.
    pub data: Range<usize>,
}

/// A message between end user and owner.
#[derive(Debug)]
pub struct Relay {
    /// Whether it goes from the end user to the owner, or the other way.
    pub direction: Direction,
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Who receives it.
    pub to: Name,
    /// The integrations on standby.
    pub standby: Vec<Name>,
    /// A fingerprint of caller, conversation and command id; none without a command id.
    pub fingerprint: Option<u64>,
    /// When it was taken.
    pub at: Time,
    /// The caller's trace.
    pub traceparent: Option<Text>,
    /// The event's `data`, encoded.
    pub data: Bytes,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the end user to the owner: `message.received`.
    Received,
    /// From the owner to the end user: `message.sent`.
    Sent,
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// Where it goes.
    pub to: Text,
    /// Which endpoint asked, for the counters.
    pub by: By,
    /// The body.
    pub body: Bytes,
    /// Why it is an error, if it is one.
    pub refusal: Option<Refusal>,
}

/// A refused command, for those who watch.
#[derive(Debug)]
pub struct Rejection {
    /// Of which conversation, or `_config`.
    pub conversation: Text,
    /// Which verb.
    pub verb: &'static str,
    /// The message.
    pub body: Vec<u8>,
}

/// A question about the past, ready to be read.
#[derive(Debug)]
pub struct ReadJob {
    /// Who asked.
    pub by: By,
    /// Where the answer goes.
    pub reply: Option<Text>,
    /// What is to be read.
    pub read: Read,
}

/// What is to be read.
#[derive(Debug)]
pub enum Read {
    /// Something of the past, and where in the log it is found.
    Past(PastAsk, Frames),
    /// The closed conversations of a page, from the cache: to be handed back with [`super::Handle::closed_page`].
    Closed(Box<ListJob>),
}

/// The frames of the log that hold what a question is about.
#[derive(Debug, Clone)]
pub struct Frames {
    /// Those with entries of the conversation.
    pub conversation: Ascending,
    /// Those with entries of the configuration.
    pub config: Ascending,
    /// The frame up to which both were looked for: later ones may hold more.
    pub through: u64,
}

/// Most closed conversations looked through for one page: a filter that lets little through gives short pages, not long
/// waits.
pub const PAGE_CLOSED_MAX: usize = 50_000;

/// A page of conversations being put together.
#[derive(Debug)]
pub struct ListJob {
    /// Who asked.
    pub by: By,
    /// Where the answer goes.
    pub reply: Option<Text>,
    /// What was asked.
    pub ask: ListAsk,
    /// The rows so far.
    pub rows: Vec<Vec<u8>>,
    /// The closed conversations that match, found in the cache, by id.
    pub closed: Vec<Conversation>,
    /// The id up to which the cache was looked through; none where to its end.
    pub closed_through: Option<Text>,
    /// How many were looked at there for this page.
    pub looked_at: usize,
    /// Why the cache could not be asked.
    pub fault: Option<Refusal>,
    /// The eviction count at which the cache was asked.
    pub evictions: u64,
}
