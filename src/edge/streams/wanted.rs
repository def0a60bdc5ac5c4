//! The streams as they are made: every option of the server written out, so that what is there can be
//! held against it field by field.

use serde_json::{Map, Value, json};

/// How long a stream keeps what it holds. The log is the archive.
pub const AGE_DAYS_MAX: u64 = 7;
/// Most bytes of one stream on the server's disk. With the age it also bounds the subjects, each of
/// which costs the server about 400 bytes of memory.
const STREAM_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// How long the server drops a message that came before: the shortest that it takes. The places keep repetitions
/// out, and a longer memory would cost it an entry for every message of the meantime.
const DUPLICATES_NS: u64 = 100_000_000;

/// What the server counts durations in.
pub const SECOND_NS: u64 = 1_000_000_000;

/// One of the two streams; its place here is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Every event.
    Events,
    /// What integrations and channels find in their inboxes.
    Inbox,
}

impl Which {
    /// Its name on the server.
    pub fn name(self, prefix: &str) -> String {
        let prefix = prefix.to_ascii_uppercase().replace('.', "_");
        match self {
            Which::Events => format!("{prefix}_EVENTS"),
            Which::Inbox => format!("{prefix}_INBOX"),
        }
    }

    fn subjects(self, prefix: &str) -> String {
        match self {
            Which::Events => format!("{prefix}.event.>"),
            Which::Inbox => format!("{prefix}.inbox.>"),
        }
    }

    fn description(self) -> &'static str {
        match self {
            Which::Events => "every event of the switchboard, in the order of its log",
            Which::Inbox => "what integrations and channels are told, kept for those who are away",
        }
    }

    /// The whole configuration with which it is made.
    pub fn config(self, prefix: &str) -> Value {
        json!({
            "name": self.name(prefix),
            "description": self.description(),
            "subjects": [self.subjects(prefix)],
            "retention": "limits",
            "storage": "file",
            "compression": "s2",
            "num_replicas": 1,
            "discard": "old",
            "discard_new_per_subject": false,
            "max_age": AGE_DAYS_MAX * 24 * 3600 * SECOND_NS,
            "max_bytes": STREAM_BYTES_MAX,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "max_msg_size": -1,
            "max_consumers": -1,
            "consumer_limits": {},
            "duplicate_window": DUPLICATES_NS,
            "no_ack": false,
            "sealed": false,
            "deny_delete": false,
            "deny_purge": false,
            "allow_direct": true,
            "mirror_direct": false,
            "allow_rollup_hdrs": false,
            "allow_msg_ttl": false,
            "allow_msg_counter": false,
            "allow_atomic": false,
            "allow_msg_schedules": false,
            "first_seq": 0,
        })
    }
}

/// How a stream that is there differs from the one wanted, a line for each option. What the server
/// leaves out is as if it stood there empty, and what it notes for itself does not count.
pub fn differences(wanted: &Value, found: &Value) -> Vec<String> {
    let empty = Map::new();
    let (wanted, found) = (wanted.as_object().unwrap_or(&empty), found.as_object().unwrap_or(&empty));
    let extra = found.keys().filter(|name| !wanted.contains_key(*name));
    let names = wanted.keys().chain(extra);
    let differing = names.filter_map(|name| {
        let (expected, got) = (wanted.get(name), found.get(name));
        let is_same = shown(name, expected) == shown(name, got);
        (!is_same).then(|| format!("{name}: expected {}, got {}", text(expected), text(got)))
    });
    differing.collect()
}

/// A value without what means nothing; none where nothing is left.
fn shown(name: &str, value: Option<&Value>) -> Option<Value> {
    match value? {
        Value::Null | Value::Bool(false) => None,
        Value::Number(number) if number.as_f64() == Some(0.0) => None,
        Value::String(text) if text.is_empty() || (name == "persist_mode" && text == "default") => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Object(fields) => {
            let counts = |key: &str| name != "metadata" || !key.starts_with("_nats.");
            let fields: Map<String, Value> = fields
                .iter()
                .filter(|(key, _)| counts(key))
                .filter_map(|(key, value)| Some((key.clone(), shown(key, Some(value))?)))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        value => Some(value.clone()),
    }
}

fn text(value: Option<&Value>) -> String {
    value.map_or_else(|| "none".into(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_called_after_the_prefix() {
        assert_eq!(Which::Events.name("switchboard"), "SWITCHBOARD_EVENTS");
        assert_eq!(Which::Inbox.name("acme.board-1"), "ACME_BOARD-1_INBOX");
    }

    #[test]
    fn a_stream_as_it_was_made_does_not_differ() {
        let wanted = Which::Events.config("switchboard");
        let mut found = wanted.clone();
        let fields = found.as_object_mut().unwrap();
        fields.remove("deny_delete");
        fields.insert("metadata".into(), json!({"_nats.ver": "2.15.1", "_nats.level": "3"}));
        fields.insert("persist_mode".into(), json!("default"));
        assert_eq!(differences(&wanted, &found), Vec::<String>::new());
    }

    #[test]
    fn every_option_that_differs_is_told() {
        let wanted = Which::Inbox.config("switchboard");
        let mut found = wanted.clone();
        let fields = found.as_object_mut().unwrap();
        fields.insert("max_age".into(), json!(0));
        fields.insert("deny_delete".into(), json!(true));
        fields.insert("republish".into(), json!({"src": ">", "dest": "x.>"}));
        fields.insert("metadata".into(), json!({"owner": "ops"}));
        let told = differences(&wanted, &found);
        let names: Vec<&str> = told.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(names, ["deny_delete", "max_age", "metadata", "republish"]);
        assert_eq!(told[1], "max_age: expected 604800000000000, got 0");
    }
}
