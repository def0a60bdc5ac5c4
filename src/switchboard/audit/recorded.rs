//! What stands in a line against what the events say: every field that the switchboard puts there itself.

use serde::Deserialize;

use crate::domain::conversation::{Affordances, EndRequest, Offer, Status};
use crate::domain::metadata::Patch;
use crate::domain::{By, Config, Conversation, Event, Name, Text, Time};
use crate::log;
use crate::switchboard::record::Entry;

use super::Wrong;

/// Holds the line against what the log knows of it.
pub fn check_entry(line: &Entry<'_>, entry: &log::Entry) -> Result<(), Wrong> {
    let wrong = |text| (entry.first_seq, text);
    equal("seq", &line.seq, &entry.first_seq).map_err(wrong)?;
    equal("at", &line.at, &Time(entry.at)).map_err(wrong)?;
    equal("events", &(line.events.len() as u64), &u64::from(entry.events)).map_err(wrong)?;
    let is_something = !line.events.is_empty() || line.note.is_some() || line.file.is_some();
    let is_one_thing = line.events.is_empty() || line.note.is_none();
    if !is_something || !is_one_thing {
        return Err(wrong("expected events, or a note, or the mark of a configuration file".into()));
    }
    if !line.events.is_empty() && (line.by.is_none() || line.command.is_none()) {
        return Err(wrong("expected by and command beside events".into()));
    }
    Ok(())
}

/// Holds an event's `data` against the conversation after it.
pub fn check_event(
    line: &Entry<'_>,
    at: usize,
    event: &Event,
    c: &Conversation,
    is_redacted: bool,
    config: &Config,
) -> Result<(), String> {
    let data: Data = read(line, at)?;
    check_common(line, at, data.seq, data.command_id.as_ref(), &data.by)?;
    equal("version", &data.version, &c.version)?;
    equal("epoch", &data.epoch, &c.epoch)?;
    equal("session", &data.session, &c.session)?;
    let after = &data.conversation;
    equal("conversation.status", &after.status, &c.status)?;
    equal("conversation.owner", &after.owner, &c.owner)?;
    equal("conversation.channel", &after.channel, &c.channel)?;
    if let Some(channel) = &line.channel {
        equal("channel", channel, &c.channel)?;
    }
    check_offer(after.offer.as_ref(), c.offer.as_deref(), is_redacted)?;
    check_request(after.end_requested.as_ref(), c.end_requested.as_deref(), is_redacted)?;
    equal("conversation.affordances", &after.affordances, &c.affordances(config.settings(&c.channel)))?;
    match event {
        Event::Closed(closed) => equal("duration_ms", &closed.duration_ms, &line.at.ms_since(c.started_at)),
        _ => Ok(()),
    }
}

/// Holds an event's `data` against the configuration after it.
pub fn check_config(line: &Entry<'_>, at: usize, config: &Config) -> Result<(), String> {
    let data: ConfigData = read(line, at)?;
    check_common(line, at, data.seq, data.command_id.as_ref(), &data.by)?;
    equal("version", &data.version, &config.version())
}

#[derive(Deserialize)]
struct Data {
    seq: u64,
    version: u64,
    epoch: u64,
    session: u32,
    command_id: Option<Text>,
    by: By,
    conversation: After,
}

#[derive(Deserialize)]
struct After {
    status: Status,
    owner: Option<Name>,
    offer: Option<RecordedOffer>,
    channel: Name,
    end_requested: Option<EndRequest>,
    affordances: Affordances,
}

#[derive(Deserialize)]
struct RecordedOffer {
    to: Name,
    by: By,
    reason: Option<Text>,
    metadata: Patch,
    expires_at: Option<Time>,
}

#[derive(Deserialize)]
struct ConfigData {
    seq: u64,
    version: u64,
    command_id: Option<Text>,
    by: By,
}

fn read<'a, T: Deserialize<'a>>(line: &Entry<'a>, at: usize) -> Result<T, String> {
    let event = &line.events[at];
    serde_json::from_str(event.data.get()).map_err(|error| format!("expected the data of {}: {error}", event.full_name))
}

fn check_common(line: &Entry<'_>, at: usize, seq: u64, command_id: Option<&Text>, by: &By) -> Result<(), String> {
    equal("seq", &seq, &(line.seq + at as u64))?;
    equal("command_id", &command_id, &line.command.as_ref().and_then(|command| command.id.as_ref()))?;
    equal("by", &Some(by), &line.by.as_ref())
}

fn check_offer(recorded: Option<&RecordedOffer>, offer: Option<&Offer>, is_redacted: bool) -> Result<(), String> {
    let (Some(recorded), Some(offer)) = (recorded, offer) else {
        return equal("conversation.offer", &recorded.map(|offer| &offer.to), &offer.map(|offer| &offer.to));
    };
    equal("conversation.offer.to", &recorded.to, &offer.to)?;
    equal("conversation.offer.by", &recorded.by, &offer.by)?;
    equal("conversation.offer.expires_at", &recorded.expires_at, &offer.expires_at)?;
    equal_text("conversation.offer.reason", &recorded.reason, &offer.reason, is_redacted)?;
    if is_redacted { Ok(()) } else { equal("conversation.offer.metadata", &recorded.metadata, &offer.metadata) }
}

fn check_request(recorded: Option<&EndRequest>, request: Option<&EndRequest>, is_redacted: bool) -> Result<(), String> {
    let (Some(recorded), Some(request)) = (recorded, request) else {
        return equal("conversation.end_requested", &recorded, &request);
    };
    equal_text("conversation.end_requested.reason", &recorded.reason, &request.reason, is_redacted)?;
    let without_reason = |request: &EndRequest| EndRequest { reason: None, ..request.clone() };
    equal("conversation.end_requested", &without_reason(recorded), &without_reason(request))
}

/// What was erased is another text each time it stands somewhere: only whether it is there can be held against.
fn equal_text(field: &str, recorded: &Option<Text>, folded: &Option<Text>, is_redacted: bool) -> Result<(), String> {
    match is_redacted {
        true => equal(field, &recorded.is_some(), &folded.is_some()),
        false => equal(field, recorded, folded),
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(field: &str, recorded: &T, folded: &T) -> Result<(), String> {
    if recorded == folded {
        return Ok(());
    }
    Err(format!("I5: {field} is recorded as {recorded:?}, the events before say {folded:?}"))
}
