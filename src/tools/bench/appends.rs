//! Appends to a JetStream stream, each with the last sequence expected on its subject: the nearest thing that the
//! server does by itself, and what a switchboard without a log of its own would do for each command.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::load::{Command, Target};

const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";
/// What the stream may take: old entries give way, as they are not looked at.
const STREAM_BYTES_MAX: u64 = 1 << 30;
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// A stream that is appended to.
pub struct Appends {
    prefix: String,
    last: Vec<u64>,
    entry: Bytes,
    server: u32,
}

#[derive(Deserialize)]
struct Ack {
    seq: Option<u64>,
}

impl Appends {
    /// Makes the stream; `entry_bytes` are appended at a time.
    pub async fn make(
        client: &Client,
        run: &str,
        conversations: usize,
        entry_bytes: usize,
        server: u32,
    ) -> Result<Appends, String> {
        let (prefix, name) = (format!("bench-appends-{run}"), stream(run));
        let stream = json!({"name": name, "subjects": [format!("{prefix}.*")], "storage": "file", "retention": "limits",
            "discard": "old", "max_bytes": STREAM_BYTES_MAX, "num_replicas": 1});
        let asked = client.request(format!("$JS.API.STREAM.CREATE.{name}"), stream.to_string().into());
        let answer =
            tokio::time::timeout(ANSWER_WAIT, asked).await.map_err(|_| "JetStream does not answer".to_owned())?;
        let answer = answer.map_err(|error| format!("JetStream: {error}"))?;
        let told: serde_json::Value = serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
        match told.get("error") {
            Some(error) => Err(format!("JetStream: {error}")),
            None => Ok(Appends { prefix, last: vec![0; conversations], entry: vec![b'x'; entry_bytes].into(), server }),
        }
    }
}

/// The name of the stream of a run.
pub fn stream(run: &str) -> String {
    format!("SWITCHBOARD_BENCH_{run}")
}

impl Target for Appends {
    fn command(&mut self, conversation: usize) -> Command {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_LAST, self.last[conversation].to_string());
        Command { subject: format!("{}.{conversation}", self.prefix), headers: Some(headers), body: self.entry.clone() }
    }

    fn answered(&mut self, conversation: usize, answer: &Message) -> bool {
        let ack: Option<Ack> = serde_json::from_slice(&answer.payload).ok();
        match ack.and_then(|ack| ack.seq) {
            Some(seq) if seq > 0 => {
                self.last[conversation] = seq;
                true
            }
            _ => false,
        }
    }

    fn lost(&mut self, _conversation: usize) {}

    fn conversations(&self) -> usize {
        self.last.len()
    }

    fn process(&self) -> u32 {
        self.server
    }
}
