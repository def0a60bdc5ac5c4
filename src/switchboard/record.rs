//! One decision as the log keeps it: a line of JSON that holds everything a replay needs.
//!
//! An event's `data` stands in the line exactly as it is published, so that what the wire carried
//! can be read back years later without asking any configuration.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::line::Line;
use super::port::{Recorded, RecordedBody, RecordedEvent, RecordedEvents};
use super::state::write_after;
use crate::domain::config::{ConfigEvent, Settings};
use crate::domain::conversation::{self, Note, Stamp};
use crate::domain::event::{Event, Kind};
use crate::domain::words::CONFIG_ID;
use crate::domain::{By, Config, Conversation, ConversationId, Name, Text, Time};

/// What is recorded of a command besides its events.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Cause<'a> {
    pub by: &'a By,
    pub at: Time,
    pub verb: &'a str,
    pub command_id: Option<&'a Text>,
    /// What the command id is known by; none where nothing is to be found under it.
    pub key: Option<u64>,
    pub digest: Option<u64>,
    pub body: Option<&'a RecordedBody>,
    pub traceparent: Option<&'a Text>,
}

/// A line being written, event by event.
pub struct Writer {
    line: Line,
    events: RecordedEvents,
}

impl Writer {
    /// Begins the line of a decision whose first event is `seq`.
    pub fn begin(line: Line, seq: u64, conversation: &str, cause: &Cause<'_>) -> Writer {
        let mut line = line.for_keeping();
        line.open();
        line.field("seq", &seq);
        line.time("at", cause.at);
        line.token("conversation", conversation);
        line.by("by", cause.by);
        line.key("command");
        write_command(&mut line, cause);
        if let Some(traceparent) = cause.traceparent {
            line.text_or_null("traceparent", Some(traceparent));
        }
        Writer { line, events: RecordedEvents::new() }
    }

    /// Adds who is told of it.
    pub fn told(&mut self, channel: &Name, inbox: &[Name], standby: &[Name]) {
        self.line.token("channel", channel.as_str());
        self.line.list("inbox", inbox, |line, name| line.quoted(name.as_str()));
        self.line.list("standby", standby, |line, name| line.quoted(name.as_str()));
    }

    /// Adds the mark of the configuration file that was applied.
    pub fn file(&mut self, digest: &str) {
        self.line.field("file", digest);
    }

    /// Adds an event of a conversation, which is `c` after it.
    pub fn event(&mut self, event: &Event, c: &Conversation, settings: &Settings, cause: &Cause<'_>) {
        self.event_of(event.kind().full_name(), c.seq, |line| {
            line.field("version", &c.version);
            line.field("epoch", &c.epoch);
            line.field("session", &c.session);
            line.text_or_null("command_id", cause.command_id);
            line.by("by", cause.by);
            line.time("last_activity_at", c.last_activity_at);
            if !names_its_last_message(event.kind()) {
                line.text_or_null("last_message_id", c.last_message_id.as_ref());
            }
            line.key("conversation");
            write_after(line, c, settings);
            write_own(line, event);
        });
    }

    /// Adds an event of the configuration.
    pub fn config_event(&mut self, event: &ConfigEvent, seq: u64, version: u64, cause: &Cause<'_>) {
        self.event_of(event.full_name(), seq, |line| {
            line.field("version", &version);
            line.text_or_null("command_id", cause.command_id);
            line.by("by", cause.by);
            let own = serde_json::to_vec(event).expect("our values are JSON");
            line.raw(b",");
            line.raw(&own[1..own.len() - 1]);
        });
    }

    fn event_of(&mut self, full_name: &'static str, seq: u64, write: impl FnOnce(&mut Line)) {
        if self.events.is_empty() {
            self.line.key("events");
            self.line.raw(b"[");
        } else {
            self.line.raw(b",");
        }
        self.line.open();
        self.line.token("type", full_name);
        self.line.key("data");
        let start = self.line.len();
        self.line.open();
        self.line.field("seq", &seq);
        write(&mut self.line);
        self.line.close();
        self.events.push(RecordedEvent { seq, full_name, data: start..self.line.len() });
        self.line.close();
    }

    /// Ends the line, with its events.
    pub fn finish(mut self) -> (Line, RecordedEvents) {
        if !self.events.is_empty() {
            self.line.raw(b"]");
        }
        self.line.close();
        (self.line, self.events)
    }
}

/// A line for activity between events: it takes no `seq`, and bears that of the next event.
pub fn note_line(line: Line, next_seq: u64, at: Time, id: &ConversationId, note: &Note) -> Line {
    let mut line = line.for_keeping();
    line.open();
    line.field("seq", &next_seq);
    line.time("at", at);
    line.token("conversation", id.as_str());
    line.key("note");
    line.open();
    line.personal_text("user", note.user.as_ref());
    line.time("last_activity_at", note.last_activity_at);
    line.text_or_null("last_message_id", note.last_message_id.as_ref());
    line.close();
    line.close();
    line
}

/// Whether the event says itself under which message it stands: an end is noted where it was asked for, though
/// messages may have come since. What stands there is then not the conversation's last one.
fn names_its_last_message(kind: Kind) -> bool {
    matches!(kind, Kind::EndRequested | Kind::Closed)
}

fn write_command(line: &mut Line, cause: &Cause<'_>) {
    line.open();
    line.token("verb", cause.verb);
    if let Some(id) = cause.command_id {
        line.text_or_null("id", Some(id));
    }
    if let Some(digest) = cause.digest {
        line.digest("digest", digest);
    }
    if let Some(body) = cause.body {
        line.key("body");
        line.open();
        line.fields(body.fields(), body.personal());
        line.close();
    }
    line.close();
}

/// The fields that an event has of its own.
fn write_own(line: &mut Line, event: &Event) {
    match event {
        Event::Started(e) => {
            line.personal("metadata", &e.metadata);
            line.text_or_null("continued_from", e.continued_from.as_ref());
        }
        Event::Reopened(e) => {
            line.personal("metadata", &e.metadata);
            line.text_or_null("continued_from", e.continued_from.as_ref());
        }
        Event::Assigned(e) => {
            line.token("to", e.to.as_str());
            line.field("cause", &e.cause);
            line.personal("metadata", &e.metadata);
        }
        Event::Passed(e) => {
            line.token_or_null("from", e.from.as_ref().map(Name::as_str));
            line.token("to", e.to.as_str());
            line.field("cause", &e.cause);
            line.personal_text("reason", e.reason.as_ref());
            line.personal("metadata", &e.metadata);
        }
        Event::Offered(e) => {
            line.token("from", e.from.as_str());
            line.token("to", e.to.as_str());
            line.field("expires_at", &e.expires_at);
            line.personal_text("reason", e.reason.as_ref());
            line.personal("metadata", &e.metadata);
        }
        Event::OfferWithdrawn(e) => {
            line.token("to", e.to.as_str());
            line.field("cause", &e.cause);
            line.personal_text("reason", e.reason.as_ref());
        }
        Event::Accepted(e) => {
            line.token("from", e.from.as_str());
            line.token("to", e.to.as_str());
            line.personal("metadata", &e.metadata);
        }
        Event::Released(e) => {
            line.token("from", e.from.as_str());
            line.field("cause", &e.cause);
            line.personal_text("reason", e.reason.as_ref());
            line.personal("metadata", &e.metadata);
        }
        Event::EndRequested(e) => {
            line.field("cause", &e.cause);
            line.personal_text("reason", e.reason.as_ref());
            line.field("on_end", &e.on_end);
            line.field("deadline", &e.deadline);
            line.text_or_null("last_message_id", e.last_message_id.as_ref());
        }
        Event::Closed(e) => {
            line.field("cause", &e.cause);
            line.text_or_null("last_message_id", e.last_message_id.as_ref());
            line.field("duration_ms", &e.duration_ms);
        }
    }
}

/// A line, read back.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Entry<'a> {
    pub seq: u64,
    pub at: Time,
    #[serde(borrow)]
    pub conversation: std::borrow::Cow<'a, str>,
    pub by: Option<By>,
    #[serde(borrow)]
    pub command: Option<EntryCommand<'a>>,
    pub traceparent: Option<Text>,
    pub channel: Option<Name>,
    #[serde(default)]
    pub inbox: Vec<Name>,
    #[serde(default)]
    pub standby: Vec<Name>,
    pub file: Option<String>,
    pub note: Option<Note>,
    #[serde(borrow, default)]
    pub events: Vec<EntryEvent<'a>>,
}

/// The command of a line.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct EntryCommand<'a> {
    pub verb: String,
    pub id: Option<Text>,
    pub digest: Option<String>,
    #[serde(borrow)]
    pub body: Option<&'a RawValue>,
}

/// An event of a line.
#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct EntryEvent<'a> {
    #[serde(rename = "type", borrow)]
    pub full_name: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub data: &'a RawValue,
}

#[derive(Deserialize)]
struct Envelope {
    seq: u64,
    by: By,
    last_activity_at: Time,
    last_message_id: Option<Text>,
    conversation: AfterEvent,
}

#[derive(Deserialize)]
struct AfterEvent {
    channel: Name,
    user: Option<Text>,
}

impl<'a> Entry<'a> {
    /// Reads a line of the log.
    pub fn parse(line: &'a [u8]) -> Result<Entry<'a>, String> {
        let entry: Entry<'_> =
            serde_json::from_slice(line).map_err(|error| format!("expected an entry of the log: {error}"))?;
        let is_numbered = entry.seq.checked_add(entry.events.len() as u64).is_some();
        is_numbered.then_some(entry).ok_or_else(|| "expected an entry whose events can be numbered".into())
    }

    /// Whether it is about the configuration.
    pub fn is_config(&self) -> bool {
        self.conversation == CONFIG_ID
    }

    /// The digest by which a repeat of the command is told from another command.
    pub fn digest(&self) -> Option<u64> {
        let digest = self.command.as_ref()?.digest.as_ref()?;
        u64::from_str_radix(digest, 16).ok()
    }

    /// The kinds of its events.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.events.iter().filter_map(|event| Kind::from_full_name(&event.full_name))
    }

    /// Its events: their seq and full name.
    pub fn names(&self) -> Result<Vec<(u64, &'static str)>, String> {
        let name = |(at, event): (usize, &EntryEvent<'_>)| {
            let seq = self.seq + at as u64;
            let full_name = known_name(&event.full_name).ok_or_else(|| unknown(&event.full_name, seq))?;
            Ok((seq, full_name))
        };
        self.events.iter().enumerate().map(name).collect()
    }

    /// Folds its events, or its note, into the conversation.
    pub fn fold(&self, state: &mut Option<Conversation>) -> Result<(), String> {
        self.fold_note(state);
        (0..self.events.len()).try_for_each(|at| self.fold_event(at, state).map(drop))
    }

    /// Folds its note into the conversation, if it is one.
    pub fn fold_note(&self, state: &mut Option<Conversation>) {
        if let (Some(note), Some(c)) = (&self.note, state.as_mut()) {
            c.note(note);
        }
    }

    /// Folds one of its events into the conversation, and gives it.
    pub fn fold_event(&self, at: usize, state: &mut Option<Conversation>) -> Result<Event, String> {
        let EntryEvent { full_name, data } = &self.events[at];
        let seq = self.seq + at as u64;
        let kind = Kind::from_full_name(full_name).ok_or_else(|| unknown(full_name, seq))?;
        let wrong = |error| format!("expected the data of {full_name} at seq {seq}: {error}");
        let event = Event::from_data(kind, data.get()).map_err(wrong)?;
        let envelope: Envelope = serde_json::from_str(data.get()).map_err(wrong)?;
        let id = ConversationId::parse(&self.conversation).map_err(|bad| bad.to_string())?;
        if state.is_none() && kind != Kind::Started {
            return Err(format!("expected {id} to begin with conversation.started, got {full_name} at seq {seq}"));
        }
        let channel = &envelope.conversation.channel;
        let c = state.get_or_insert_with(|| Conversation::unborn(&id, channel, self.at));
        // A close comes with what led to it, and the event before it has told of the last message.
        let last_message_id = if kind == Kind::Closed { c.last_message_id.clone() } else { envelope.last_message_id };
        let stamp = Stamp {
            seq: envelope.seq,
            at: self.at,
            by: &envelope.by,
            user: envelope.conversation.user.as_ref(),
            last_activity_at: envelope.last_activity_at,
            last_message_id: last_message_id.as_ref(),
        };
        conversation::evolve(c, &event, &stamp);
        Ok(event)
    }

    /// Folds its events into the configuration.
    pub fn fold_config(&self, config: &mut Config) -> Result<(), String> {
        (0..self.events.len()).try_for_each(|at| self.fold_config_event(at, config).map(drop))
    }

    /// Folds one of its events into the configuration, and gives it.
    pub fn fold_config_event(&self, at: usize, config: &mut Config) -> Result<ConfigEvent, String> {
        let EntryEvent { full_name, data } = &self.events[at];
        let seq = self.seq + at as u64;
        let event = ConfigEvent::from_data(full_name, data.get())
            .map_err(|error| format!("expected the data of {full_name} at seq {seq}: {error}"))?
            .ok_or_else(|| unknown(full_name, seq))?;
        config.evolve(&event, seq, self.at);
        Ok(event)
    }

    /// What is published of it, for publication after a crash; none where nothing is.
    pub fn recorded(&self, line: &'a [u8], hash: [u8; 32]) -> Result<Option<Recorded>, String> {
        if self.events.is_empty() {
            return Ok(None);
        }
        let mut events = RecordedEvents::with_capacity(self.events.len());
        for ((seq, full_name), entry_event) in self.names()?.into_iter().zip(&self.events) {
            let text = entry_event.data.get();
            let start = text.as_ptr() as usize - line.as_ptr() as usize;
            events.push(RecordedEvent { seq, full_name, data: start..start + text.len() });
        }
        Ok(Some(Recorded {
            conversation: self.conversation.as_ref().into(),
            channel: self.channel.clone(),
            at: self.at,
            traceparent: self.traceparent.clone(),
            inbox: self.inbox.iter().cloned().collect(),
            standby: self.standby.clone(),
            line: Bytes::copy_from_slice(line),
            events,
            hash,
        }))
    }
}

fn unknown(full_name: &str, seq: u64) -> String {
    format!(
        "event {full_name} at seq {seq} is not known to this version: use the version that wrote it, or a later one"
    )
}

const CONFIG_NAMES: [&str; 7] = [
    "switchboard.settings.changed",
    "switchboard.integration.registered",
    "switchboard.integration.changed",
    "switchboard.integration.removed",
    "switchboard.channel.registered",
    "switchboard.channel.changed",
    "switchboard.channel.removed",
];

/// The name of a kind of event that is known to this version.
pub(super) fn known_name(full_name: &str) -> Option<&'static str> {
    let config = CONFIG_NAMES.into_iter().find(|name| *name == full_name);
    config.or_else(|| Kind::from_full_name(full_name).map(Kind::full_name))
}
