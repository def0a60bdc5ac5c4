//! `operator`: overrules who holds control, under the operator's own name.

use std::io::{self, Write};
use std::time::Duration;

use async_nats::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::failure::Failure;
use super::nats::{Access, Answer, Connection, NatsError};
use super::screen::Screen;
use super::source::{SourceError, refusal};
use super::state::State;
use super::words;
use crate::domain::{ConversationId, Name};

/// How long a command's answer may take before it is sent again.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How often a command is sent: under one command id it is carried out once.
const ATTEMPTS_MAX: u32 = 3;
/// How long to wait where the service is busy.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorOptions {
    /// Where NATS is.
    pub access: Access,
    /// Under which name.
    pub operator: Name,
    /// The person behind it.
    pub actor: Option<String>,
    /// What is to be done.
    pub verb: Verb,
    /// To which conversation.
    pub id: ConversationId,
    /// Why.
    pub reason: Option<String>,
}

/// What an operator can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Give control to an integration.
    Pass {
        /// To which.
        to: Name,
    },
    /// Take control from whoever holds it.
    Release,
    /// End the session now.
    End,
}

impl Verb {
    fn word(&self) -> &'static str {
        match self {
            Verb::Pass { .. } => "pass",
            Verb::Release => "release",
            Verb::End => "end",
        }
    }
}

#[derive(Deserialize)]
struct Reply {
    outcome: String,
    conversation: Value,
    events: Vec<RecordedEvent>,
}

#[derive(Deserialize)]
struct RecordedEvent {
    seq: u64,
    #[serde(rename = "type")]
    full_name: String,
}

/// Carries out what an operator asks for, and tells what happened.
pub fn run(options: &OperatorOptions) -> Result<(), Failure> {
    let mut connection = Connection::open(&options.access)?;
    let command_id = uuid::Uuid::new_v4().to_string();
    let answer = send(&mut connection, options, &command_id)?;
    let reply: Reply = serde_json::from_slice(&answer.body).map_err(SourceError::Unreadable)?;
    let mut out = io::stdout().lock();
    for line in happened(&reply) {
        writeln!(out, "{line}")?;
    }
    writeln!(out)?;
    State::new(&reply.conversation).write(&mut out, Screen::of_stdout(), super::now())?;
    Ok(())
}

/// Sends the command until it is answered: a repeat under the same id is not carried out twice.
fn send(connection: &mut Connection, options: &OperatorOptions, command_id: &str) -> Result<Answer, Failure> {
    let subject = format!("operator.{}.{}.{}", options.operator, options.verb.word(), options.id);
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", command_id);
    let body = Value::Object(body(options)).to_string().into_bytes();
    let mut attempt = 1;
    loop {
        let answer = connection.ask(&subject, headers.clone(), body.clone(), ANSWER_WAIT);
        let is_last = attempt == ATTEMPTS_MAX;
        match answer {
            Ok(answer) if !answer.is_refusal => return Ok(answer),
            Ok(answer) => match refusal(&answer.body) {
                SourceError::Refused { code, .. } if code == "busy" && !is_last => std::thread::sleep(BUSY_WAIT),
                refused => return Err(refused.into()),
            },
            Err(NatsError::NoAnswer { .. }) if !is_last => {}
            Err(NatsError::NoAnswer { prefix, .. }) => {
                let waited = ANSWER_WAIT * ATTEMPTS_MAX;
                let text = format!(
                    "{}, so the outcome is unknown: see what became of it with `switchboard show {}`",
                    NatsError::NoAnswer { prefix, waited },
                    options.id
                );
                return Err(Failure::text(text));
            }
            Err(error) => return Err(error.into()),
        }
        attempt += 1;
    }
}

fn body(options: &OperatorOptions) -> Map<String, Value> {
    let to = match &options.verb {
        Verb::Pass { to } => Some(to.to_string()),
        Verb::Release | Verb::End => None,
    };
    let fields = [("to", to), ("reason", options.reason.clone()), ("actor", options.actor.clone())];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect()
}

/// What was recorded, a line an event; or that it was so already.
fn happened(reply: &Reply) -> Vec<String> {
    if reply.events.is_empty() {
        return vec![format!("{}: it is so already, nothing was recorded", words::plain(&reply.outcome))];
    }
    let line = |event: &RecordedEvent| {
        let name = event.full_name.strip_prefix("switchboard.").unwrap_or(&event.full_name);
        format!("{}  {}", event.seq, words::plain(&name.replace(['.', '_'], " ")))
    };
    reply.events.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(verb: Verb) -> OperatorOptions {
        OperatorOptions {
            access: crate::tools::nats::Access {
                servers: vec!["nats://localhost".parse().unwrap()],
                login: crate::tools::nats::Login::None,
                prefix: "switchboard".into(),
                inbox_prefix: "_INBOX".into(),
            },
            operator: Name::parse("alice").unwrap(),
            actor: Some("alice".into()),
            verb,
            id: ConversationId::parse("c-1").unwrap(),
            reason: None,
        }
    }

    #[test]
    fn a_body_says_only_what_was_given() {
        let pass = Value::Object(body(&options(Verb::Pass { to: Name::parse("agents").unwrap() })));
        assert_eq!(pass, serde_json::json!({ "to": "agents", "actor": "alice" }));
        let end = Value::Object(body(&options(Verb::End)));
        assert_eq!(end, serde_json::json!({ "actor": "alice" }));
    }

    #[test]
    fn what_happened_is_told_by_event() {
        let example = include_str!("../../schemas/examples/reply/command.json");
        let reply: Reply = serde_json::from_str(example).unwrap();
        assert_eq!(happened(&reply), ["1047  conversation end requested", "1048  control passed"]);
        let unchanged = Reply { outcome: "unchanged".into(), conversation: Value::Null, events: Vec::new() };
        assert_eq!(happened(&unchanged), ["unchanged: it is so already, nothing was recorded"]);
    }
}
