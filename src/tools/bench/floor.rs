//! The floor: receives commands, publishes as many messages of the same sizes as the service does, and answers.
//!
//! It decides nothing, remembers nothing and writes nothing to disk: no service on this server, with this client
//! library, that publishes what ours publishes can be faster.

use std::collections::HashMap;

use async_nats::{Client, HeaderMap, Message, Subject};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use super::script::STEPS;
use crate::tools::failure::Failure;
use crate::tools::nats::{Access, connect_plain};

/// What stands for the conversation in a subject.
const CONVERSATION: &str = "{}";

/// How the floor is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct FloorOptions {
    /// Where NATS is, and the prefix of the subjects.
    pub access: Access,
    /// What it publishes and answers: [`Pattern`] as JSON.
    pub pattern: std::path::PathBuf,
}

/// What the service was seen to publish and to answer, by the kind of command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Pattern {
    kinds: HashMap<String, Kind>,
}

/// What a command of one kind comes to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kind {
    messages: Vec<Sample>,
    answer: String,
}

/// A message that the service published.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sample {
    /// Below the prefix, the conversation left open.
    subject: String,
    headers: Vec<(String, String)>,
    payload: String,
}

impl Pattern {
    /// Takes in what a command of `kind` came to.
    pub fn learn(&mut self, kind: String, published: &[Message], answer: &Message, prefix: &str, conversation: &str) {
        let messages = published.iter().map(|message| Sample::of(message, prefix, conversation)).collect();
        self.kinds.entry(kind).or_insert(Kind { messages, answer: BASE64.encode(&answer.payload) });
    }

    /// Messages of a whole conversation, and their bytes.
    pub fn weight(&self) -> (usize, usize) {
        let of_steps = STEPS.iter().filter_map(|step| self.kinds.get(&step.kind()));
        let messages: Vec<&Sample> = of_steps.flat_map(|kind| &kind.messages).collect();
        (messages.len(), messages.iter().map(|sample| sample.payload.len() * 3 / 4).sum())
    }
}

impl Sample {
    fn of(message: &Message, prefix: &str, conversation: &str) -> Sample {
        let subject = message.subject.strip_prefix(prefix).unwrap_or(&message.subject);
        let headers = message.headers.iter().flat_map(HeaderMap::iter);
        let headers =
            headers.flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.to_string())));
        Sample {
            subject: subject.replace(conversation, CONVERSATION),
            headers: headers.collect(),
            payload: BASE64.encode(&message.payload),
        }
    }
}

/// Serves until it is killed, or NATS is gone.
pub fn run(options: &FloorOptions) -> Result<(), Failure> {
    let text = std::fs::read(&options.pattern).map_err(|error| Failure::text(error.to_string()))?;
    let pattern: Pattern = serde_json::from_slice(&text).map_err(|error| Failure::text(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::text(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(serve(&options.access, &pattern))
}

async fn serve(access: &Access, pattern: &Pattern) -> Result<(), Failure> {
    let client =
        connect_plain(access, "switchboard bench floor").await.map_err(|error| Failure::Fault(Box::new(error)))?;
    let subject = format!("{}.>", access.prefix);
    let failed = |error: &dyn std::fmt::Display| Failure::text(error.to_string());
    let mut commands = client.queue_subscribe(subject, "q".into()).await.map_err(|error| failed(&error))?;
    let floor = Floor::new(client, access.prefix.clone(), pattern);
    while let Some(command) = commands.next().await {
        floor.answer(command).await;
    }
    Ok(())
}

struct Floor {
    client: Client,
    prefix: String,
    kinds: Vec<Ready>,
}

/// What a command of one kind comes to, ready to be sent.
struct Ready {
    role: String,
    verb: String,
    messages: Vec<Open>,
    answer: Bytes,
}

/// A message with everything but its conversation.
struct Open {
    before: String,
    after: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Floor {
    fn new(client: Client, prefix: String, pattern: &Pattern) -> Floor {
        let bytes = |text: &str| Bytes::from(BASE64.decode(text).unwrap_or_default());
        let kinds = pattern.kinds.iter().filter_map(|(name, kind)| {
            let (role, verb) = name.split_once('.')?;
            let messages =
                kind.messages.iter().map(|sample| Open::of(sample, &prefix, bytes(&sample.payload))).collect();
            Some(Ready { role: role.to_owned(), verb: verb.to_owned(), messages, answer: bytes(&kind.answer) })
        });
        let kinds = kinds.collect();
        Floor { client, prefix, kinds }
    }

    /// Publishes and answers; what is no command comes back as it is.
    async fn answer(&self, command: Message) {
        let Some(reply) = command.reply else { return };
        let mut tokens = command.subject[self.prefix.len()..].trim_start_matches('.').split('.');
        let mut token = || tokens.next().unwrap_or_default();
        let (role, _, verb, conversation) = (token(), token(), token(), token());
        let Some(kind) = self.kinds.iter().find(|kind| kind.verb == verb && kind.role == role) else {
            let _ = self.client.publish(reply, command.payload).await;
            return;
        };
        for message in &kind.messages {
            let (subject, headers) = (message.subject(conversation), message.headers.clone());
            let _ = self.client.publish_with_headers(subject, headers, message.payload.clone()).await;
        }
        let _ = self.client.publish(reply, kind.answer.clone()).await;
    }
}

impl Open {
    fn of(sample: &Sample, prefix: &str, payload: Bytes) -> Open {
        // Its own messages must not come back as commands: another first token, as long as the other.
        let prefix: String = prefix.chars().rev().collect();
        let (before, after) = sample.subject.split_once(CONVERSATION).unwrap_or((&sample.subject, ""));
        let mut headers = HeaderMap::new();
        for (name, value) in &sample.headers {
            headers.append(name.as_str(), value.as_str());
        }
        Open { before: format!("{prefix}{before}"), after: after.to_owned(), headers, payload }
    }

    fn subject(&self, conversation: &str) -> Subject {
        let mut subject = String::with_capacity(self.before.len() + conversation.len() + self.after.len());
        subject.push_str(&self.before);
        subject.push_str(conversation);
        subject.push_str(&self.after);
        subject.into()
    }
}
