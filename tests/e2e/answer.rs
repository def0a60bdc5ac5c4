//! An answer, and what a test expects of it.

use serde_json::{Value, json};

use crate::wire::Heard;

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// To which.
    pub subject: String,
    /// As it came.
    pub heard: Heard,
}

impl Answer {
    /// The body of what was not refused.
    pub fn ok(&self) -> Value {
        let body = self.heard.json();
        assert!(body.get("error").is_none(), "{}: {body:#}", self.subject);
        body
    }

    /// What was recorded, as `noun.verb`s with spaces between; the state after it.
    pub fn applied(&self, events: &str) -> Value {
        let body = self.ok();
        assert_eq!(
            (&body["outcome"], self.events()),
            (&json!("applied"), events.to_owned()),
            "{}: {body:#}",
            self.subject
        );
        body["conversation"].clone()
    }

    /// Nothing was recorded: it is so already.
    pub fn unchanged(&self) -> Value {
        let body = self.ok();
        assert_eq!(
            (&body["outcome"], self.events()),
            (&json!("unchanged"), String::new()),
            "{}: {body:#}",
            self.subject
        );
        body["conversation"].clone()
    }

    /// It was refused with that code; the error.
    pub fn refused(&self, code: &str) -> Value {
        let body = self.heard.json();
        assert_eq!(body["error"]["code"], code, "{}: {body:#}", self.subject);
        body["error"].clone()
    }

    /// What was recorded, as `noun.verb`s with spaces between.
    pub fn events(&self) -> String {
        let events = self.heard.json()["events"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> =
            events.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("switchboard.")).collect();
        names.join(" ")
    }
}
