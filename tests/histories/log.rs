//! The log as `switchboard export` gives it: the decisions, in their one order.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use switchboard::domain::Time;

use crate::history::digest_of_event;

/// Stands for the conversation where the configuration is meant.
pub const CONFIG: &str = "_config";

/// One decision: a line of the log with events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The `seq` of its last event.
    pub last: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    pub conversation: String,
    pub role: String,
    pub name: Option<String>,
    pub actor: Option<String>,
    pub verb: String,
    pub id: Option<String>,
    pub events: Vec<Happened>,
}

/// One event of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    pub kind: String,
    pub version: u64,
    pub epoch: u64,
    pub session: u64,
    pub status: Option<String>,
    pub owner: Option<String>,
    pub offered_to: Option<String>,
    /// When the offer or the release of control falls due, in milliseconds since 1970.
    pub due: Option<u64>,
    /// Of an integration that was registered or changed: its name, and whether it is enabled.
    pub enabled: Option<(String, bool)>,
    /// What it sets and deletes, or the whole where a session begins or control is assigned.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    pub digest: u64,
}

impl Decision {
    /// The `seq` of its first event.
    pub fn first(&self) -> u64 {
        self.last + 1 - self.events.len() as u64
    }

    /// Its events with their `seq`.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Happened)> {
        (self.first()..).zip(&self.events)
    }

    fn read(entry: &Value) -> Option<Decision> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let events: Vec<Happened> = entry["events"].as_array()?.iter().map(Happened::read).collect();
        Some(Decision {
            last: entry["seq"].as_u64()? + events.len() as u64 - 1,
            at: time(&entry["at"])?,
            conversation: text(&entry["conversation"])?,
            role: text(&entry["by"]["role"])?,
            name: text(&entry["by"]["name"]),
            actor: text(&entry["by"]["actor"]),
            verb: text(&entry["command"]["verb"])?,
            id: text(&entry["command"]["id"]),
            events,
        })
    }
}

impl Happened {
    fn read(event: &Value) -> Happened {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (data, after) = (&event["data"], &event["data"]["conversation"]);
        let count = |field: &str| data[field].as_u64().unwrap_or(0);
        Happened {
            kind: text(&event["type"]).unwrap_or_default(),
            version: count("version"),
            epoch: count("epoch"),
            session: count("session"),
            status: text(&after["status"]),
            owner: text(&after["owner"]),
            offered_to: text(&after["offer"]["to"]),
            due: time(&data["expires_at"]).or_else(|| time(&data["deadline"])),
            enabled: text(&data["name"]).zip(data["enabled"].as_bool()),
            metadata: data["metadata"].as_object().cloned().unwrap_or_default(),
            digest: digest_of_event(event),
        }
    }
}

fn time(value: &Value) -> Option<u64> {
    Time::parse(value.as_str()?).ok().map(|time| time.0)
}

/// Reads an export: its decisions. Notes of activity have no events and no place here.
pub fn read(export: &str) -> Vec<Decision> {
    let lines = export.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    lines.filter_map(|line| Decision::read(line.get("entry")?)).collect()
}
