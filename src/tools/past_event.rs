//! An event as it is read back, of whatever type: what stands there is shown, what is missing is not asked for.
//!
//! Types and fields may be added to the contract at any time, and a reader must go on.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::words;
use crate::domain::Time;

/// What every event's `data` carries besides its own fields.
const COMMON_FIELDS: [&str; 9] =
    ["seq", "version", "epoch", "session", "command_id", "by", "last_activity_at", "last_message_id", "conversation"];

/// A recorded event, read back.
#[derive(Debug, Clone, Deserialize)]
pub struct PastEvent {
    /// Its full name.
    #[serde(rename = "type")]
    pub full_name: String,
    /// The conversation, or `_config`.
    #[serde(default)]
    pub subject: String,
    /// When it was decided.
    pub time: Time,
    /// What it says.
    pub data: Map<String, Value>,
}

impl PastEvent {
    /// Its name without the part that all have in common.
    pub fn name(&self) -> &str {
        self.full_name.strip_prefix("switchboard.").unwrap_or(&self.full_name)
    }

    /// Its place in the log; 0 where it says none.
    pub fn seq(&self) -> u64 {
        self.number("seq").unwrap_or(0)
    }

    /// A field of its `data` that is a whole number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.data.get(field)?.as_u64()
    }

    /// A field of its `data` that is text, as it stands there.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.data.get(field)?.as_str()
    }

    /// A field of its `data` that names somebody, fit to be shown.
    pub fn name_of(&self, field: &str) -> String {
        self.data.get(field).map_or_else(
            || "nobody".into(),
            |value| match value {
                Value::Null => "nobody".into(),
                other => words::value(other),
            },
        )
    }

    /// A field of its `data` that is a moment.
    pub fn moment(&self, field: &str) -> Option<Time> {
        Time::parse(self.text(field)?).ok()
    }

    /// The conversation as it is after this event.
    pub fn conversation(&self) -> Option<&Map<String, Value>> {
        self.data.get("conversation")?.as_object()
    }

    /// Its own fields: those that not every event has.
    pub fn own_fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.data.iter().filter(|(name, _)| !COMMON_FIELDS.contains(&name.as_str()))
    }

    /// Who did it, in words.
    pub fn who(&self) -> String {
        self.data.get("by").map_or_else(|| "unknown".into(), who)
    }
}

/// A `by` in words: `agents (Maria Lind)`, `operator alice`, `the timer`.
pub fn who(by: &Value) -> String {
    let text = |field| by.get(field).and_then(Value::as_str).map(words::plain);
    let role = text("role").unwrap_or_default();
    let mut who = match (role.as_str(), text("name")) {
        ("timer", None) => "the timer".into(),
        ("config", None) => "the configuration".into(),
        ("integration", Some(name)) => name,
        (role, Some(name)) => format!("{role} {name}"),
        (role, None) => role.to_owned(),
    };
    if let Some(actor) = text("actor") {
        who.push_str(&format!(" ({actor})"));
    }
    who
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_did_it_is_told_by_role() {
        let cases = [
            (r#"{"role":"integration","name":"agents","actor":"Maria Lind"}"#, "agents (Maria Lind)"),
            (r#"{"role":"operator","name":"alice","actor":null}"#, "operator alice"),
            (r#"{"role":"channel","name":"web"}"#, "channel web"),
            (r#"{"role":"timer"}"#, "the timer"),
            (r#"{"role":"config"}"#, "the configuration"),
            (r#"{"role":"integration","name":"x","actor":"\u001b[31m"}"#, "x (\\u{1b}[31m)"),
        ];
        for (by, words) in cases {
            assert_eq!(who(&serde_json::from_str(by).unwrap()), words);
        }
    }
}
