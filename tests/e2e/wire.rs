//! Everything that goes over the wire, heard in order, and held against the schemas.
//!
//! One subscription to all subjects hears requests, answers, events, copies, relays and rejections in the order in
//! which the server sent them, so a test may ask what came before what. An answer counts as come when it is heard
//! here: everything that the service published before it is then heard too.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use async_nats::Message;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::schemas::Schemas;

/// One message as it was heard.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its subject.
    pub subject: String,
    /// Where an answer is awaited.
    pub reply: Option<String>,
    /// Its body, as it came.
    pub body: Vec<u8>,
    headers: BTreeMap<String, String>,
}

impl Heard {
    /// The body as JSON; what is none is null.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl From<Message> for Heard {
    fn from(message: Message) -> Heard {
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let headers = headers.filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())));
        Heard {
            subject: message.subject.to_string(),
            reply: message.reply.map(|reply| reply.to_string()),
            headers: headers.collect(),
            body: message.payload.to_vec(),
        }
    }
}

/// What was heard so far.
pub struct Wire {
    prefix: String,
    heard: Mutex<Vec<Heard>>,
    count: watch::Sender<usize>,
    awaited: Mutex<HashMap<String, oneshot::Sender<Heard>>>,
}

impl Wire {
    /// Of a service below `prefix`.
    pub fn new(prefix: &str) -> Arc<Wire> {
        let (heard, awaited) = (Mutex::default(), Mutex::default());
        Arc::new(Wire { prefix: format!("{prefix}."), heard, count: watch::Sender::new(0), awaited })
    }

    /// Notes a message.
    pub fn hear(&self, heard: Heard) {
        let answer = self.awaited.lock().unwrap().remove(&heard.subject);
        let mut all = self.heard.lock().unwrap();
        all.push(heard.clone());
        self.count.send_replace(all.len());
        drop(all);
        if let Some(answer) = answer {
            let _ = answer.send(heard);
        }
    }

    /// Tells of the next message on `subject`.
    pub fn next_on(&self, subject: &str) -> oneshot::Receiver<Heard> {
        let (tell, told) = oneshot::channel();
        self.awaited.lock().unwrap().insert(subject.to_owned(), tell);
        told
    }

    /// How much was heard.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// All messages below `tail`, which stands after the prefix, in order.
    pub fn below(&self, tail: &str) -> Vec<Heard> {
        let start = format!("{}{tail}", self.prefix);
        self.heard.lock().unwrap().iter().filter(|heard| heard.subject.starts_with(&start)).cloned().collect()
    }

    /// All messages, in order.
    pub fn all(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The events by `seq`, each as it was published first; those of one `seq` are the same, and none is passed over.
    pub fn events(&self) -> BTreeMap<u64, Value> {
        let mut events: BTreeMap<u64, Heard> = BTreeMap::new();
        for heard in self.below("event.") {
            let seq = heard.json()["data"]["seq"].as_u64().expect("an event has a seq");
            match events.get(&seq) {
                Some(first) => assert_eq!(first.body, heard.body, "event {seq} was published again as another"),
                None => {
                    let last = events.last_key_value().map_or(0, |(last, _)| *last);
                    assert_eq!(seq, last + 1, "{} came out of order", heard.subject);
                    events.insert(seq, heard);
                }
            }
        }
        events.into_iter().map(|(seq, heard)| (seq, heard.json())).collect()
    }

    /// Holds every message against its schema; the faults.
    pub fn faults(&self) -> Vec<String> {
        let mut asked: HashMap<String, (String, Heard)> = HashMap::new();
        let mut faults = Vec::new();
        for heard in self.all() {
            let checked = match heard.subject.strip_prefix(&self.prefix).map(str::to_owned) {
                Some(tail) if is_request(&tail) => {
                    if let Some(reply) = heard.reply.clone() {
                        asked.insert(reply, (tail, heard.clone()));
                    }
                    Ok(())
                }
                Some(tail) => check_published(&tail, &heard),
                None => {
                    asked.remove(&heard.subject).map_or(Ok(()), |(tail, request)| check_answer(&tail, &request, &heard))
                }
            };
            faults.extend(checked.err().map(|fault| format!("{}: {fault}", heard.subject)));
        }
        faults
    }
}

fn schemas() -> &'static Schemas {
    static SCHEMAS: OnceLock<Schemas> = OnceLock::new();
    SCHEMAS.get_or_init(Schemas::load)
}

fn is_request(tail: &str) -> bool {
    ["channel.", "integration.", "operator.", "config.", "query."].iter().any(|role| tail.starts_with(role))
}

fn check_published(tail: &str, heard: &Heard) -> Result<(), String> {
    if tail.starts_with("rejection.") {
        let rejection = heard.json();
        schemas().validate("rejection", &rejection)?;
        let told = format!("rejection.{}.{}", text(&rejection["conversation"]), text(&rejection["verb"]));
        return equal("subject", &told, tail);
    }
    let event = heard.json();
    schemas().validate("event/cloudevent", &event)?;
    let noun_verb = text(&event["type"]).trim_start_matches("switchboard.").to_owned();
    let end = format!("{}.{noun_verb}", text(&event["subject"]));
    let (place, receiver) = match tail.split('.').collect::<Vec<_>>()[..] {
        ["event", ..] => ("event".into(), String::new()),
        ["inbox", kind, name, ..] => (format!("inbox.{kind}.{name}"), format!("/{kind}.{name}")),
        ["standby", name, ..] => (format!("standby.{name}"), format!("/standby.{name}")),
        _ => return Err("nothing of the contract is published here".into()),
    };
    equal("subject", &format!("{place}.{end}"), tail)?;
    equal(
        "header Nats-Msg-Id",
        &format!("{}{receiver}", text(&event["id"])),
        heard.header("Nats-Msg-Id").unwrap_or("none"),
    )?;
    equal("header Content-Type", "application/cloudevents+json", heard.header("Content-Type").unwrap_or("none"))
}

/// A refusal is an error with its headers; whatever is not refused was asked as its schema says.
fn check_answer(tail: &str, request: &Heard, answer: &Heard) -> Result<(), String> {
    let body = answer.json();
    if let Some(status) = answer.header("Nats-Service-Error-Code") {
        schemas().validate("error", &body)?;
        let message = text(&body["error"]["message"]).replace(|c: char| c.is_control(), " ");
        equal("header Nats-Service-Error", &message, answer.header("Nats-Service-Error").unwrap_or("none"))?;
        return equal("header Nats-Service-Error-Code", status_of(&text(&body["error"]["code"])), status);
    }
    let tokens: Vec<&str> = tail.split('.').collect();
    let (asked, answered) = match tokens[..] {
        ["query", what, ..] => (format!("query.{what}"), query_answer(what)),
        [role, _, verb, ..] => (format!("{role}.{verb}"), command_answer(verb)),
        _ => return Err(format!("{tail} was not refused")),
    };
    let given = if request.body.is_empty() { Value::Object(Default::default()) } else { request.json() };
    schemas().validate(&format!("request/{asked}"), &given)?;
    schemas().validate(&format!("reply/{answered}"), &body)
}

fn query_answer(what: &str) -> &'static str {
    match what {
        "conversation" => "state",
        "conversations" => "conversations",
        "config" => "config",
        _ => "events",
    }
}

fn command_answer(verb: &str) -> &'static str {
    match verb {
        "state" => "state",
        "list" => "conversations",
        "message" | "reply" => "relay",
        "put" => "config.put",
        "export" => "export",
        _ => "command",
    }
}

fn status_of(code: &str) -> &'static str {
    match code {
        "bad_request" => "400",
        "unknown_integration" | "wrong_channel" | "not_in_control" | "not_allowed" | "not_offered" => "403",
        "conversation_not_found" => "404",
        "too_large" | "metadata_too_large" => "413",
        "limit_reached" => "429",
        "log_failed" | "answer_too_large" => "500",
        "busy" => "503",
        "storage_full" => "507",
        _ => "409",
    }
}

fn equal(what: &str, expected: &str, got: &str) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {got:?}")) }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("none").to_owned()
}
