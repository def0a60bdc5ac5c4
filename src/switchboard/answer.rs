//! The bodies of answers.

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::line::Line;
use super::state::{SHORT_FIELDS, write_short, write_state};
use crate::domain::command::Expected;
use crate::domain::config::Settings;
use crate::domain::{By, Config, Conversation, Name, Refusal, Text, Time};
use crate::log::export::pieces::Piece;

/// What the answers to commands begin with, and no others.
const OUTCOME: &[u8] = br#"{"outcome""#;

/// What a command came to, for its answer.
#[derive(Debug, Default)]
pub struct Applied<'a> {
    /// Whether anything was done, rather than found to be so.
    pub is_applied: bool,
    /// Whether it was done for an earlier request under the same id.
    pub is_replayed: bool,
    /// For a message: who received it, if anybody.
    pub relayed_to: Option<Option<&'a Name>>,
    /// The events: their seq and full name.
    pub events: Told,
}

/// Events, by their seq and full name: usually one or two.
pub type Told = SmallVec<[(u64, &'static str); 2]>;

/// How much of a conversation an answer shows.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// All of it, under the settings of its channel.
    Whole(&'a Settings),
    /// The six fields of errors: the caller is not concerned.
    Short,
}

/// The answer to a command.
pub fn command(line: Line, applied: &Applied<'_>, c: &Conversation, view: View<'_>) -> Line {
    let mut line = line.for_sending();
    line.open();
    outcome(&mut line, applied);
    if let Some(relayed_to) = applied.relayed_to {
        line.field("relayed_to", &relayed_to);
    }
    line.key("conversation");
    match view {
        View::Whole(settings) => write_state(&mut line, c, settings),
        View::Short => write_short(&mut line, c),
    }
    events(&mut line, &applied.events);
    line.close();
    line
}

/// What is answered where the answer is more than the server takes: the asker would wait for nothing otherwise.
pub fn fitting(answer: &[u8], bytes_max: usize) -> (Vec<u8>, Option<Refusal>) {
    match shortened(answer, bytes_max) {
        Some(shorter) => (shorter, None),
        None => {
            let refusal = Refusal::AnswerTooLarge { bytes: answer.len() };
            (error_body(&refusal, &Facts::default()), Some(refusal))
        }
    }
}

/// Of the answer to a command what cannot be asked for later, in so many bytes: its outcome, the six fields of errors, and
/// as many of its events as fit. None where it is no answer to a command.
fn shortened(answer: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut answer: Map<String, Value> =
        serde_json::from_slice(answer.strip_prefix(OUTCOME).and(Some(answer))?).ok()?;
    answer.remove("config");
    if let Some(Value::Object(conversation)) = answer.get_mut("conversation") {
        conversation.retain(|field, _| SHORT_FIELDS.contains(&field.as_str()));
    }
    loop {
        let written = serde_json::to_vec(&answer).ok()?;
        match answer.get_mut("events") {
            Some(Value::Array(events)) if written.len() > bytes_max && !events.is_empty() => {
                events.truncate(events.len() / 2)
            }
            _ => return Some(written),
        }
    }
}

/// The answer to a new configuration.
pub fn put(applied: &Applied<'_>, config: &Config) -> Vec<u8> {
    let mut line = Line::with_capacity(1024);
    line.open();
    outcome(&mut line, applied);
    line.field("config", &config.to_json());
    line.field("version", &config.version());
    events(&mut line, &applied.events);
    line.close();
    line.into_bytes()
}

/// The answer to a question for one conversation.
pub fn state(c: &Conversation, settings: &Settings) -> Vec<u8> {
    let mut line = Line::with_capacity(1024);
    line.open();
    line.key("conversation");
    write_state(&mut line, c, settings);
    line.close();
    line.into_bytes()
}

/// One conversation of a page.
pub fn row(c: &Conversation, settings: &Settings) -> Vec<u8> {
    let mut line = Line::with_capacity(1024);
    write_state(&mut line, c, settings);
    line.into_bytes()
}

/// A page of conversations.
pub fn page(rows: &[Vec<u8>], next: Option<&str>) -> Vec<u8> {
    let mut line = Line::with_capacity(64 + rows.iter().map(Vec::len).sum::<usize>());
    line.open();
    line.list("conversations", rows, |line, row| line.raw(row));
    line.field("next", &next);
    line.close();
    line.into_bytes()
}

/// The answer to a question for the configuration.
pub fn config(config: &Config) -> Vec<u8> {
    let mut line = Line::with_capacity(1024);
    line.open();
    line.field("config", &config.to_json());
    line.field("version", &config.version());
    line.close();
    line.into_bytes()
}

/// A piece of an export.
pub fn export(piece: &Piece) -> Vec<u8> {
    let mut line = Line::with_capacity(128 + piece.text.len() * 5 / 4);
    line.open();
    line.field("text", &piece.text);
    line.field("next", &piece.next.map(|place| place.to_string()));
    line.field("through_seq", &piece.through_seq);
    line.close();
    line.into_bytes()
}

/// What an error says besides its code and message.
#[derive(Debug, Default, Clone, Copy)]
pub struct Facts<'a> {
    /// The conversation, where there is one that the caller may hear of.
    pub conversation: Option<&'a Conversation>,
    /// What the caller expected.
    pub expected: Option<Expected>,
    /// The version of the configuration, where that was expected otherwise.
    pub config_version: Option<(Option<u64>, u64)>,
}

/// The body of an error.
pub fn error_body(refusal: &Refusal, facts: &Facts<'_>) -> Vec<u8> {
    let mut line = Line::with_capacity(256);
    line.open();
    line.key("error");
    error(&mut line, refusal, facts);
    line.close();
    line.into_bytes()
}

/// A refused command, for those who watch.
pub fn rejection(
    at: Time,
    by: &By,
    verb: &str,
    conversation: &str,
    command_id: Option<&Text>,
    refusal: &Refusal,
    facts: &Facts<'_>,
) -> Vec<u8> {
    let mut line = Line::with_capacity(512);
    line.open();
    line.time("at", at);
    line.by("by", by);
    line.token("verb", verb);
    line.token("conversation", conversation);
    line.field("command_id", &command_id);
    line.key("error");
    error(&mut line, refusal, facts);
    line.close();
    line.into_bytes()
}

fn outcome(line: &mut Line, applied: &Applied<'_>) {
    line.token("outcome", if applied.is_applied { "applied" } else { "unchanged" });
    if applied.is_replayed {
        line.field("replayed", &true);
    }
}

fn events(line: &mut Line, events: &[(u64, &'static str)]) {
    line.list("events", events, |line, (seq, full_name)| {
        line.open();
        line.field("seq", seq);
        line.token("type", full_name);
        line.close();
    });
}

fn error(line: &mut Line, refusal: &Refusal, facts: &Facts<'_>) {
    line.open();
    line.field("code", refusal.code());
    line.field("message", &refusal.message());
    match refusal {
        Refusal::NotInControl { owner } => line.field("owner", owner),
        Refusal::LimitReached { limit } => line.field("limit", limit),
        Refusal::SettingsConflict(unmet) => line.field("requirements", unmet),
        Refusal::BadConfiguration(faults) => line.field("faults", faults),
        Refusal::StaleVersion => stale(line, facts),
        _ => {}
    }
    if let Some(c) = facts.conversation {
        line.key("conversation");
        write_short(line, c);
    }
    line.close();
}

fn stale(line: &mut Line, facts: &Facts<'_>) {
    if let Some((expected, version)) = facts.config_version {
        line.field("expected_version", &expected);
        line.field("version", &version);
        return;
    }
    let expected = facts.expected.unwrap_or_default();
    if let Some(epoch) = expected.epoch {
        line.field("expected_epoch", &epoch);
    }
    if let Some(version) = expected.version {
        line.field("expected_version", &version);
    }
    line.field("epoch", &facts.conversation.map_or(0, |c| c.epoch));
    line.field("version", &facts.conversation.map_or(0, |c| c.version));
}
