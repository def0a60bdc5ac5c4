//! Requests as they come over the wire, made into what the switchboard decides on.
//!
//! A pure function of subject, headers and body: what passes is of the right form in every field,
//! what does not is refused with the field's name, what was expected and what came.

use serde_json::Value;
use serde_json::value::RawValue;

use super::canonical;
use super::fields::{Fields, Given, NEXT, bad, check_keys, integration_name, string, wrong};
use super::subjects::{self, Endpoint, Route};
use crate::domain::command::{ChannelCommand, Expected, IntegrationCommand, OperatorCommand, Target};
use crate::domain::config::Document;
use crate::domain::conversation::Status;
use crate::domain::metadata::Patch;
use crate::domain::words::{SentAt, Wait, shown};
use crate::domain::{By, Command, ConversationId, Name, Refusal, Role, Text};
use crate::log::export::pieces::Place;
use crate::switchboard::port::{
    Ask, BODY_BYTES_USUAL, CommandAsk, ListAsk, Moment, PastAsk, PutAsk, RecordedBody, Request, Span,
};

/// Longest body of a request.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest body that puts a configuration: a thousand integrations and channels fit.
pub const CONFIG_BYTES_MAX: usize = 512 * 1024;
/// Longest content of a message: what is larger goes elsewhere, and a link to it here.
pub const CONTENT_BYTES_MAX: usize = 32 * 1024;
/// Longest id of users and messages.
const ID_BYTES_MAX: usize = 256;
/// Longest reason.
const REASON_BYTES_MAX: usize = 512;
/// Longest name of the person behind a caller.
const ACTOR_BYTES_MAX: usize = 128;
/// Longest command id.
const COMMAND_ID_BYTES_MAX: usize = 128;
/// Longest token with which the next page is asked for.
const AFTER_BYTES_MAX: usize = 1024;
/// Most entries of a page.
const LIMIT_MAX: u64 = 1000;
/// Entries of a page where nothing is said.
const LIMIT_DEFAULT: u64 = 100;

/// Fewest bytes of a piece of an export: some lines.
const EXPORT_BYTES_MIN: u64 = 1024;
/// Most bytes of a piece of an export: half of what an answer may take, for its text is quoted.
pub const EXPORT_BYTES_MAX: u64 = 256 * 1024;

/// The headers of a request that mean something here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    /// `Nats-Msg-Id`.
    pub command_id: Option<&'a str>,
    /// `traceparent`.
    pub traceparent: Option<&'a str>,
}

/// Reads a request that came to `endpoint`; `tail` is what stands below its token.
pub fn parse(endpoint: Endpoint, tail: &str, headers: Headers<'_>, body: &[u8]) -> Result<Request, Refusal> {
    check_size(endpoint, body.len())?;
    let route = subjects::parse(endpoint, tail)?;
    let mut fields = Fields::parse(body)?;
    match route {
        Route::Conversation { role: Role::Channel | Role::Integration, name, verb: "state", id } => {
            fields.finish()?;
            Ok(request(By::caller(role_of(endpoint), name, None), Ask::State { id }))
        }
        Route::Conversation { role, name, verb, id } => command(role, name, verb, id, headers, &mut fields),
        Route::List(name) => list(name, fields),
        Route::Put(name) => put(name, headers, fields),
        Route::Export(name) => export(name, fields),
        Route::QueryConversation(id) => query_conversation(id, fields),
        Route::QueryHistory(id) => Ok(query(Ask::from(PastAsk::History { id, span: span(fields)? }))),
        Route::QueryConversations => conversations(fields),
        Route::QueryLog => Ok(query(Ask::from(PastAsk::Log { span: span(fields)? }))),
        Route::QueryConfig => query_config(fields),
    }
}

/// Whether a body of so many bytes may come to `endpoint`.
pub fn check_size(endpoint: Endpoint, bytes: usize) -> Result<(), Refusal> {
    let bytes_max = if endpoint == Endpoint::Config { CONFIG_BYTES_MAX } else { BODY_BYTES_MAX };
    if bytes > bytes_max { Err(Refusal::TooLarge { bytes_max, bytes }) } else { Ok(()) }
}

fn role_of(endpoint: Endpoint) -> Role {
    if endpoint == Endpoint::Channel { Role::Channel } else { Role::Integration }
}

fn request(by: By, ask: Ask) -> Request {
    Request { by, ask, reply: None }
}

/// A question of somebody who may ask everything, and so has no name.
fn query(ask: Ask) -> Request {
    request(By { role: Role::Operator, name: None, actor: None }, ask)
}

fn command(
    role: Role,
    name: Name,
    verb: &'static str,
    id: ConversationId,
    headers: Headers<'_>,
    fields: &mut Fields<'_>,
) -> Result<Request, Refusal> {
    let command_id = command_id(headers)?;
    // Nothing is told apart by a body that came without a command id.
    let canonical = command_id.as_ref().map(|_| canonical::object(fields.all(), BODY_BYTES_USUAL)).unwrap_or_default();
    let mut body = Body { fields, recorded: RecordedBody::new(canonical), content: None, sent_at: None };
    let command = match role {
        Role::Channel => Command::Channel(body.channel_command(verb)?),
        Role::Integration => Command::Integration(body.integration_command(verb)?),
        _ => Command::Operator(body.operator_command(verb)?),
    };
    let expected =
        Expected { epoch: body.fields.count("expected_epoch", 0)?, version: body.fields.count("expected_version", 0)? };
    let actor = actor(body.fields)?;
    body.fields.finish()?;
    let ask = CommandAsk {
        id,
        command,
        expected,
        command_id,
        body: body.recorded,
        content: body.content,
        traceparent: traceparent(headers),
        sent_at: body.sent_at,
    };
    Ok(request(By::caller(role, name, actor), Ask::Command(Box::new(ask))))
}

/// A command's body being read: what the command needs, and what the log keeps of it.
struct Body<'f, 'a> {
    fields: &'f mut Fields<'a>,
    recorded: RecordedBody,
    content: Option<Box<RawValue>>,
    sent_at: Option<Text>,
}

impl Body<'_, '_> {
    fn channel_command(&mut self, verb: &str) -> Result<ChannelCommand, Refusal> {
        Ok(match verb {
            "start" => ChannelCommand::Start {
                owner: self.name("owner")?,
                continued_from: self.text("continued_from")?,
                user: self.user()?,
                metadata: self.metadata()?,
            },
            "message" => {
                self.content()?;
                let message_id = self.text("message_id")?;
                ChannelCommand::Message { message_id, sent_at: self.sent_at()?, user: self.user()? }
            }
            _ => ChannelCommand::End { last_message_id: self.text("last_message_id")?, reason: self.reason()? },
        })
    }

    fn integration_command(&mut self, verb: &str) -> Result<IntegrationCommand, Refusal> {
        Ok(match verb {
            "pass" => {
                IntegrationCommand::Pass { to: self.target()?, reason: self.reason()?, metadata: self.metadata()? }
            }
            "offer" => IntegrationCommand::Offer {
                to: self.target()?,
                expires_in_ms: self.expires_in_ms()?,
                reason: self.reason()?,
                metadata: self.metadata()?,
            },
            "accept" => IntegrationCommand::Accept { metadata: self.metadata()? },
            "decline" => IntegrationCommand::Decline { reason: self.reason()? },
            "withdraw" => IntegrationCommand::Withdraw,
            "take" => IntegrationCommand::Take { reason: self.reason()?, metadata: self.metadata()? },
            "release" => IntegrationCommand::Release {
                last_message_id: self.text("last_message_id")?,
                reason: self.reason()?,
                metadata: self.metadata()?,
            },
            "reply" => {
                self.content()?;
                IntegrationCommand::Reply { message_id: self.text("message_id")? }
            }
            _ => IntegrationCommand::End { last_message_id: self.text("last_message_id")?, reason: self.reason()? },
        })
    }

    fn operator_command(&mut self, verb: &str) -> Result<OperatorCommand, Refusal> {
        Ok(match verb {
            "pass" => OperatorCommand::Pass { to: self.target()?, reason: self.reason()? },
            "release" => OperatorCommand::Release { reason: self.reason()? },
            _ => OperatorCommand::End { reason: self.reason()? },
        })
    }

    fn text(&mut self, key: &'static str) -> Result<Option<Text>, Refusal> {
        let given = self.fields.text(key, ID_BYTES_MAX)?;
        Ok(given.map(|given| self.keep(key, given.raw, given.value)))
    }

    fn name(&mut self, key: &'static str) -> Result<Option<Name>, Refusal> {
        let given = self.fields.integration(key)?;
        Ok(given.map(|given| self.keep(key, given.raw, given.value)))
    }

    fn target(&mut self) -> Result<Target, Refusal> {
        let parse = |text: &str| match text {
            NEXT => Ok(Target::Next),
            name => Name::parse(name).map(Target::Name).map_err(|bad| bad.to_string()),
        };
        let given = self.fields.read("to", parse)?;
        let given = given.ok_or_else(|| bad("to: expected the name of an integration, got nothing".into()))?;
        Ok(self.keep("to", given.raw, given.value))
    }

    fn expires_in_ms(&mut self) -> Result<Option<u64>, Refusal> {
        let given = self.fields.read("expires_in", Wait::parse)?;
        Ok(given.and_then(|given| self.keep("expires_in", given.raw, given.value).ms()))
    }

    fn sent_at(&mut self) -> Result<Option<SentAt>, Refusal> {
        let given = self.fields.read("sent_at", |text| Ok((SentAt::parse(text)?, Text::from(text))))?;
        let Some(given) = given else { return Ok(None) };
        let (sent_at, text) = self.keep("sent_at", given.raw, given.value);
        self.sent_at = Some(text);
        Ok(Some(sent_at))
    }

    fn user(&mut self) -> Result<Option<Text>, Refusal> {
        let given = self.fields.text("user", ID_BYTES_MAX)?;
        Ok(given.map(|given| self.keep_personal("user", given.raw, given.value)))
    }

    fn reason(&mut self) -> Result<Option<Text>, Refusal> {
        let given = self.fields.text("reason", REASON_BYTES_MAX)?;
        Ok(given.map(|given| self.keep_personal("reason", given.raw, given.value)))
    }

    fn metadata(&mut self) -> Result<Patch, Refusal> {
        let Some(Given { value, .. }) = self.fields.patch("metadata")? else { return Ok(Patch::default()) };
        // Not as it was written, which may be any number of spaces.
        let write = |out: &mut Vec<u8>| serde_json::to_writer(out, &value).expect("our values are JSON");
        self.recorded.push_personal("metadata", write);
        Ok(value)
    }

    fn content(&mut self) -> Result<(), Refusal> {
        let Some(raw) = self.fields.raw("content") else { return Ok(()) };
        let bytes = raw.get().len();
        if bytes > CONTENT_BYTES_MAX {
            return Err(bad(format!("content: expected at most {CONTENT_BYTES_MAX} bytes, got {bytes}")));
        }
        self.content = Some(raw.to_owned());
        Ok(())
    }

    /// Keeps a text for the log as it was written. An entry is one line: a line feed stands between two tokens only, for
    /// strings must escape it.
    fn keep<T>(&mut self, key: &'static str, raw: &RawValue, value: T) -> T {
        self.recorded.push(key, |out| out.extend_from_slice(raw.get().as_bytes()));
        value
    }

    fn keep_personal<T>(&mut self, key: &'static str, raw: &RawValue, value: T) -> T {
        self.recorded.push_personal(key, |out| out.extend_from_slice(raw.get().as_bytes()));
        value
    }
}

fn put(name: Name, headers: Headers<'_>, mut fields: Fields<'_>) -> Result<Request, Refusal> {
    let command_id = command_id(headers)?;
    let canonical = command_id.as_ref().map(|_| canonical::object(fields.all(), 0)).unwrap_or_default();
    let raw =
        fields.raw("config").ok_or_else(|| bad("config: expected the whole configuration, got nothing".into()))?;
    let expected_version = fields.count("expected_version", 0)?;
    let actor = actor(&mut fields)?;
    fields.finish()?;
    let config: Value = check_keys(raw.get())
        .and_then(|()| serde_json::from_str(raw.get()))
        .map_err(|error| bad(format!("config: {error}")))?;
    if !config.is_object() {
        return Err(wrong("config", "an object", raw));
    }
    let ask = PutAsk {
        document: Document::parse(&config),
        canonical,
        expected_version,
        command_id,
        traceparent: traceparent(headers),
        is_file: false,
    };
    Ok(request(By::caller(Role::Operator, name, actor), Ask::Put(Box::new(ask))))
}

fn list(name: Name, mut fields: Fields<'_>) -> Result<Request, Refusal> {
    let ask = ListAsk {
        limit: limit(&mut fields)?,
        after: after(&mut fields)?,
        concerning: Some(name.clone()),
        ..ListAsk::default()
    };
    fields.finish()?;
    Ok(request(By::caller(Role::Integration, name, None), Ask::List(Box::new(ask))))
}

/// A piece of an export. Its text may double in length as it is quoted, and fits into an answer all the same.
fn export(name: Name, mut fields: Fields<'_>) -> Result<Request, Refusal> {
    let place = |text: &str| {
        Place::parse(text).ok_or_else(|| "expected the \"next\" of the piece before, as it came".to_owned())
    };
    let after = fields.read("after", place)?.map(|given| given.value);
    let limit = fields.whole("limit", EXPORT_BYTES_MIN, EXPORT_BYTES_MAX)?.unwrap_or(EXPORT_BYTES_MAX) as usize;
    fields.finish()?;
    Ok(request(By::caller(Role::Operator, name, None), Ask::from(PastAsk::Export { after, limit })))
}

fn conversations(mut fields: Fields<'_>) -> Result<Request, Refusal> {
    let ask = ListAsk {
        status: statuses(&mut fields)?,
        owner: owner(&mut fields)?,
        offered_to: fields.integration("offered_to")?.map(|given| given.value),
        concerning: None,
        channel: fields.name("channel")?.map(|given| given.value),
        user: fields.text("user", ID_BYTES_MAX)?.map(|given| given.value),
        waiting_before: fields.time("waiting_before")?,
        idle_before: fields.time("idle_before")?,
        after: after(&mut fields)?,
        limit: limit(&mut fields)?,
    };
    fields.finish()?;
    Ok(query(Ask::List(Box::new(ask))))
}

fn statuses(fields: &mut Fields<'_>) -> Result<Vec<Status>, Refusal> {
    let Some(raw) = fields.raw("status") else { return Ok(Vec::new()) };
    let one = serde_json::from_str(raw.get()).map(|one| vec![one]);
    let statuses = one.or_else(|_| serde_json::from_str::<Vec<Status>>(raw.get()));
    let statuses = statuses.ok().filter(|statuses| !statuses.is_empty());
    statuses.ok_or_else(|| wrong("status", "\"open\", \"ending\", \"closed\", or a list of these", raw))
}

/// The owner asked for: null is nobody, which is not the same as not asking.
fn owner(fields: &mut Fields<'_>) -> Result<Option<Option<Name>>, Refusal> {
    let Some(raw) = fields.raw("owner") else { return Ok(None) };
    if raw.get() == "null" {
        return Ok(Some(None));
    }
    let text = string(raw).ok_or_else(|| wrong("owner", "the name of an integration, or null for nobody", raw))?;
    let name = integration_name(&text).map_err(|fault| bad(format!("owner: {fault}")))?;
    Ok(Some(Some(name)))
}

fn query_conversation(id: ConversationId, mut fields: Fields<'_>) -> Result<Request, Refusal> {
    let moment = moment(&mut fields)?;
    Ok(query(match moment {
        Some(at) => Ask::from(PastAsk::Conversation { id, at }),
        None => Ask::State { id },
    }))
}

fn query_config(mut fields: Fields<'_>) -> Result<Request, Refusal> {
    let moment = moment(&mut fields)?;
    Ok(query(match moment {
        Some(at) => Ask::from(PastAsk::Config { at }),
        None => Ask::Config,
    }))
}

fn moment(fields: &mut Fields<'_>) -> Result<Option<Moment>, Refusal> {
    let seq = fields.count("at_seq", 1)?;
    let time = fields.time("at")?;
    fields.finish()?;
    match (seq, time) {
        (Some(_), Some(_)) => Err(bad("at: expected at_seq or at, got both".into())),
        (Some(seq), None) => Ok(Some(Moment::Seq(seq))),
        (None, time) => Ok(time.map(Moment::Time)),
    }
}

fn span(mut fields: Fields<'_>) -> Result<Span, Refusal> {
    let span = Span {
        from_seq: fields.count("from_seq", 1)?,
        to_seq: fields.count("to_seq", 1)?,
        from: fields.time("from")?,
        to: fields.time("to")?,
        types: fields.strings("types")?.unwrap_or_default(),
        by: fields.name("by")?.map(|given| given.value.to_string()),
        limit: limit(&mut fields)?,
    };
    fields.finish()?;
    match span.types.iter().find(|name| !is_full_name(name)) {
        Some(wrong) => {
            Err(bad(format!("types: expected full names such as switchboard.control.passed, got {:?}", shown(wrong))))
        }
        None => Ok(span),
    }
}

fn is_full_name(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    text.strip_prefix("switchboard.")
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(noun, verb)| is_word(noun) && is_word(verb))
}

fn limit(fields: &mut Fields<'_>) -> Result<usize, Refusal> {
    Ok(fields.whole("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT) as usize)
}

fn after(fields: &mut Fields<'_>) -> Result<Option<Text>, Refusal> {
    let after = fields.read("after", |text| match text.len() {
        1..=AFTER_BYTES_MAX => Ok(Text::from(text)),
        bytes => Err(format!("expected the \"next\" of the page before, got {bytes} bytes")),
    })?;
    Ok(after.map(|given| given.value))
}

fn actor(fields: &mut Fields<'_>) -> Result<Option<Text>, Refusal> {
    Ok(fields.text("actor", ACTOR_BYTES_MAX)?.map(|given| given.value))
}

fn command_id(headers: Headers<'_>) -> Result<Option<Text>, Refusal> {
    let Some(id) = headers.command_id else { return Ok(None) };
    let is_id = (1..=COMMAND_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_id {
        return Err(bad(format!(
            "header Nats-Msg-Id: expected 1 to {COMMAND_ID_BYTES_MAX} printable ASCII characters, got {} bytes",
            id.len()
        )));
    }
    Ok(Some(id.into()))
}

/// The caller's trace; what is not of the W3C's form is no trace, and no reason to refuse a command.
fn traceparent(headers: Headers<'_>) -> Option<Text> {
    let text = headers.traceparent?;
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        let is_hex =
            |part: &&str| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(is_hex)
    };
    let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    // A version to come may have more parts: its first four are those of today, and go on as of today's version.
    let is_whole = version != "00" || parts.next().is_none();
    let is_trace = is_whole && version != "ff" && !is_zero(trace) && !is_zero(span);
    is_trace.then(|| format!("00-{trace}-{span}-{flags}").into())
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
