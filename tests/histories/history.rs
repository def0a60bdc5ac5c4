//! What the clients did and were told: every request with when it was sent, and its answer with when it came.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// One thing that a client wanted, sent once or, where no answer came, again under the same command id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// `channel`, `integration`, `operator` or `query`.
    pub role: String,
    /// Whose it is.
    pub name: String,
    /// The client: its requests go out on one connection, and are decided in the order in which they were sent.
    pub client: usize,
    pub verb: String,
    pub conversation: String,
    pub id: Option<String>,
    pub body: Value,
    /// Of a listing's further pages: the operation that the page before is of.
    #[serde(default)]
    pub page_before: Option<usize>,
    pub attempts: Vec<Attempt>,
}

/// One request. Times are microseconds since the history began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub sent: u64,
    /// None where no answer came in time: whether it was carried out is not known.
    pub answer: Option<(u64, Said)>,
}

/// What an answer says, as far as it is held against the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Said {
    /// The code of a refusal.
    pub code: Option<String>,
    /// Facts beside the code: `owner`, `epoch`, `version`.
    pub facts: Value,
    pub outcome: Option<String>,
    pub replayed: bool,
    pub events: Vec<(u64, String)>,
    /// Who a message was relayed to; none where the answer has no such field.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub relayed_to: Option<Option<String>>,
    /// The conversation, or those of a page.
    pub states: Vec<Seen>,
    /// Where the next page of conversations starts, if there is one; none where the answer is no such page.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    pub next: Option<Option<String>>,
    /// The version of the configuration.
    pub version: Option<u64>,
    pub page: Option<Page>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The `seq` and the [digest](digest) of each.
    pub events: Vec<(u64, u64)>,
    pub next_seq: Option<u64>,
    pub head_seq: u64,
}

/// A conversation as an answer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub id: String,
    pub version: u64,
    pub epoch: u64,
    pub seq: u64,
    pub status: String,
    pub owner: Option<String>,
    /// What only the whole state shows.
    pub whole: Option<Whole>,
}

/// What the six fields of a refusal do not say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    pub session: u64,
    pub channel: String,
    pub offered_to: Option<String>,
    /// A digest of the metadata, and how many keys and bytes they are.
    pub metadata: u64,
    pub keys: usize,
    pub bytes: usize,
    /// A digest of what depends on the version alone: metadata, offer, request and close.
    pub digest: u64,
}

impl Said {
    /// Reads an answer.
    pub fn read(body: &Value) -> Said {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let error = body.get("error");
        let states = match (body["conversations"].as_array(), error) {
            (Some(rows), _) => rows.iter().filter_map(Seen::read).collect(),
            (None, Some(error)) => Seen::read(&error["conversation"]).into_iter().collect(),
            (None, None) => Seen::read(&body["conversation"]).into_iter().collect(),
        };
        let events = body["events"].as_array().into_iter().flatten();
        let is_page = body.get("head_seq").is_some();
        Said {
            code: error.and_then(|error| text(&error["code"])),
            facts: facts(error),
            outcome: text(&body["outcome"]),
            replayed: body["replayed"] == true,
            events: match is_page {
                true => Vec::new(),
                false => events.filter_map(|event| Some((event["seq"].as_u64()?, text(&event["type"])?))).collect(),
            },
            relayed_to: body.get("relayed_to").map(text),
            states,
            next: body["conversations"].is_array().then(|| text(&body["next"])),
            version: body["version"].as_u64().or_else(|| error?["version"].as_u64()),
            page: is_page.then(|| Page::read(body)),
        }
    }
}

/// A field that is there, also where it is null.
fn there<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn facts(error: Option<&Value>) -> Value {
    let named = ["owner", "epoch", "version"].into_iter();
    let found = named.filter_map(|name| Some((name.to_owned(), error?.get(name)?.clone())));
    Value::Object(found.collect())
}

impl Page {
    fn read(body: &Value) -> Page {
        let events = body["events"].as_array().into_iter().flatten();
        Page {
            events: events.map(|event| (event["data"]["seq"].as_u64().unwrap_or(0), digest_of_event(event))).collect(),
            next_seq: body["next_seq"].as_u64(),
            head_seq: body["head_seq"].as_u64().unwrap_or(0),
        }
    }
}

impl Seen {
    fn read(c: &Value) -> Option<Seen> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let lasting = ["started_at", "continued_from", "owner_since", "offer", "end_requested", "closed", "metadata"];
        Some(Seen {
            id: text(&c["id"])?,
            version: c["version"].as_u64()?,
            epoch: c["epoch"].as_u64()?,
            seq: c["seq"].as_u64()?,
            status: text(&c["status"])?,
            owner: text(&c["owner"]),
            whole: c["session"].as_u64().map(|session| Whole {
                session,
                channel: text(&c["channel"]).unwrap_or_default(),
                offered_to: text(&c["offer"]["to"]),
                metadata: digest_of_metadata(c["metadata"].as_object()),
                keys: c["metadata"].as_object().map_or(0, Map::len),
                bytes: c["metadata"].to_string().len(),
                digest: digest(&lasting.map(|field| c[field].to_string())),
            }),
        })
    }
}

/// What an event says, in a number: as published, as kept in the log and as a page gives it, it is the same.
pub fn digest_of_event(event: &Value) -> u64 {
    digest(&[event["type"].to_string(), event["data"].to_string()])
}

/// Metadata in a number, in whatever order they come.
pub fn digest_of_metadata(metadata: Option<&Map<String, Value>>) -> u64 {
    let sorted: BTreeMap<_, _> = metadata.into_iter().flatten().collect();
    digest(&sorted.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
}

/// Some text in a number.
pub fn digest(parts: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// Where the clients write down what they do.
pub struct Recorder {
    began: Instant,
    operations: Mutex<Vec<Operation>>,
}

/// An operation and one of its attempts.
#[derive(Debug, Clone, Copy)]
pub struct Invoked {
    pub operation: usize,
    attempt: usize,
}

impl Recorder {
    pub fn new() -> Recorder {
        Recorder { began: Instant::now(), operations: Mutex::new(Vec::new()) }
    }

    /// Microseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Notes what a client is about to ask, under a number that stands in its `actor`, so that the log says whose
    /// request each decision was. Nothing is sent yet.
    pub fn begin(&self, mut operation: Operation) -> usize {
        let mut operations = self.operations.lock().unwrap();
        let number = operations.len();
        if operation.role != "query" && !matches!(operation.verb.as_str(), "state" | "list") {
            operation.body["actor"] = mark(number).into();
        }
        operations.push(operation);
        number
    }

    /// Notes that it is sent now.
    pub fn sent(&self, operation: usize) -> Invoked {
        let sent = self.now();
        let mut operations = self.operations.lock().unwrap();
        let attempts = &mut operations[operation].attempts;
        attempts.push(Attempt { sent, answer: None });
        Invoked { operation, attempt: attempts.len() - 1 }
    }

    /// Notes the answer.
    pub fn answered(&self, invoked: Invoked, said: Said) {
        let now = self.now();
        self.operations.lock().unwrap()[invoked.operation].attempts[invoked.attempt].answer = Some((now, said));
    }

    /// A copy of an operation, without what came of it.
    pub fn operation(&self, number: usize) -> Operation {
        let operations = self.operations.lock().unwrap();
        Operation { attempts: Vec::new(), ..operations[number].clone() }
    }

    /// Everything so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap().clone()
    }
}

/// How an operation is known in the log.
pub fn mark(operation: usize) -> String {
    format!("o{operation}")
}
