//! The NATS service protocol: PING, INFO and STATS, and the question whether another instance is there.
//!
//! Answered by our own code: the library's service module would answer to any reply subject,
//! past the rule for replies, and reports each endpoint only if it serves it itself.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Client;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::connection::new_inbox;
use super::stats::Stats;
use super::subjects::Endpoint;
use crate::domain::Time;

/// The service's name in the protocol.
pub const SERVICE: &str = "switchboard";
/// The queue group of every endpoint.
pub const QUEUE_GROUP: &str = "q";
const DESCRIPTION: &str = "who holds control of each conversation";

/// What the service says of itself.
#[derive(Debug)]
pub struct Identity {
    id: String,
    prefix: String,
    log_id: String,
    started: Time,
}

/// What is asked of every service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Whether it is there.
    Ping,
    /// What it offers.
    Info,
    /// What it has done.
    Stats,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 3] = [Verb::Ping, Verb::Info, Verb::Stats];

    fn token(self) -> &'static str {
        match self {
            Verb::Ping => "PING",
            Verb::Info => "INFO",
            Verb::Stats => "STATS",
        }
    }
}

impl Identity {
    /// A new instance that serves `prefix` out of the log `log_id`.
    pub fn new(prefix: &str, log_id: &str) -> Identity {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Identity {
            id: uuid::Uuid::new_v4().simple().to_string(),
            prefix: prefix.into(),
            log_id: log_id.into(),
            started: Time(now.as_millis() as u64),
        }
    }

    /// The subjects on which `verb` is asked: of all, of all of this name, of this one.
    pub fn subjects(&self, verb: Verb) -> [String; 3] {
        let all = format!("$SRV.{}", verb.token());
        let named = format!("{all}.{SERVICE}");
        let own = format!("{named}.{}", self.id);
        [all, named, own]
    }

    /// The answer to `verb`.
    pub fn answer(&self, verb: Verb, stats: &Stats) -> Vec<u8> {
        let mut answer = json!({
            "name": SERVICE,
            "id": self.id,
            "version": env!("CARGO_PKG_VERSION"),
            "metadata": { "prefix": self.prefix, "log_id": self.log_id },
        });
        let (kind, more) = match verb {
            Verb::Ping => ("ping_response", json!({})),
            Verb::Info => {
                ("info_response", json!({ "description": DESCRIPTION, "endpoints": self.endpoints(|_| json!({})) }))
            }
            Verb::Stats => {
                let endpoints = self.endpoints(|endpoint| endpoint_stats(endpoint, stats));
                ("stats_response", json!({ "started": self.started, "endpoints": endpoints }))
            }
        };
        answer["type"] = json!(format!("io.nats.micro.v1.{kind}"));
        merge(&mut answer, more);
        answer.to_string().into_bytes()
    }

    /// Asks for another instance that serves the same prefix, and waits `wait` for it to say so; its id and log.
    pub async fn look_for_others(
        &self,
        client: &Client,
        inbox_prefix: &str,
        wait: Duration,
    ) -> Result<Option<String>, async_nats::Error> {
        let inbox = new_inbox(inbox_prefix);
        let until = Instant::now() + wait;
        // Where the connection takes nothing in, nobody is seen either.
        let asked = async {
            let answers = client.subscribe(inbox.clone()).await?;
            client.publish_with_reply(format!("$SRV.PING.{SERVICE}"), inbox, "".into()).await?;
            Ok::<_, async_nats::Error>(answers)
        };
        let Ok(asked) = timeout_at(until, asked).await else { return Ok(None) };
        let mut answers = asked?;
        while let Ok(Some(message)) = timeout_at(until, answers.next()).await {
            if let Some(other) = self.other_in(&message.payload) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    fn other_in(&self, answer: &[u8]) -> Option<String> {
        let answer: Value = serde_json::from_slice(answer).ok()?;
        let id = answer["id"].as_str().filter(|id| *id != self.id)?;
        let metadata = &answer["metadata"];
        let is_same = answer["name"] == SERVICE && metadata["prefix"] == self.prefix.as_str();
        is_same.then(|| format!("{id} with the log {}", metadata["log_id"].as_str().unwrap_or("unknown")))
    }

    fn endpoints(&self, more: impl Fn(Endpoint) -> Value) -> Vec<Value> {
        let describe = |endpoint: Endpoint| {
            let mut value = json!({
                "name": endpoint.name(),
                "subject": format!("{}.{}.>", self.prefix, endpoint.name()),
                "queue_group": QUEUE_GROUP,
                "metadata": {},
            });
            merge(&mut value, more(endpoint));
            value
        };
        Endpoint::ALL.map(describe).into()
    }
}

fn endpoint_stats(endpoint: Endpoint, stats: &Stats) -> Value {
    let counted = stats.of(endpoint);
    let requests = counted.requests.load(Relaxed);
    let processing = stats.processing_ns(endpoint);
    json!({
        "num_requests": requests,
        "num_errors": counted.errors.load(Relaxed),
        "last_error": counted.last_error.lock().map(|last| last.clone()).unwrap_or_default(),
        "processing_time": processing,
        "average_processing_time": processing.checked_div(requests).unwrap_or(0),
    })
}

fn merge(value: &mut Value, more: Value) {
    if let (Value::Object(fields), Value::Object(more)) = (value, more) {
        fields.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(verb: Verb) -> Value {
        serde_json::from_slice(&Identity::new("switchboard", "log").answer(verb, &Stats::new())).unwrap()
    }

    #[test]
    fn answers_are_of_the_types_of_the_protocol() {
        for (verb, kind) in [(Verb::Ping, "ping"), (Verb::Info, "info"), (Verb::Stats, "stats")] {
            let answer = answer(verb);
            assert_eq!(answer["type"], format!("io.nats.micro.v1.{kind}_response"));
            assert_eq!(
                (&answer["name"], &answer["metadata"]["prefix"]),
                (&json!("switchboard"), &json!("switchboard"))
            );
        }
        assert_eq!(answer(Verb::Info)["endpoints"][4]["subject"], "switchboard.query.>");
        assert_eq!(answer(Verb::Stats)["endpoints"][0]["num_requests"], 0);
    }

    #[test]
    fn only_another_instance_with_the_same_prefix_is_another() {
        let (own, other, elsewhere) = (Identity::new("a", "l"), Identity::new("a", "m"), Identity::new("b", "m"));
        let stats = Stats::new();
        assert_eq!(own.other_in(&own.answer(Verb::Ping, &stats)), None);
        assert_eq!(own.other_in(&elsewhere.answer(Verb::Ping, &stats)), None);
        assert!(own.other_in(&other.answer(Verb::Ping, &stats)).unwrap().contains("the log m"));
        assert_eq!(own.other_in(b"nonsense"), None);
    }
}
