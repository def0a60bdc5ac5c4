//! What a conversation says from its start to its close: a mix of verbs as integrations use them.

use std::fmt::Write;

/// One command of a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Who commands: role and name.
    pub caller: &'static str,
    /// What.
    pub verb: &'static str,
    /// With which body.
    pub body: &'static str,
}

/// The configuration under which the script goes through.
pub const CONFIGURATION: &str = r#"# Written by switchboard bench.
[settings]
default_integration = "bot"
multi_conversations = true
end_user_can_end = true

[[integration]]
name = "bot"

[[integration]]
name = "orders"

[[integration]]
name = "desk"
on_end = { pass = "survey" }

[[integration]]
name = "survey"
"#;

const fn step(caller: &'static str, verb: &'static str, body: &'static str) -> Step {
    Step { caller, verb, body }
}

/// A bot answers, passes on, an agent accepts and writes, the end user ends, a survey has the last word.
pub const STEPS: [Step; 11] = [
    step("channel.web", "start", r#"{"user":"u-5b1c7e9a"}"#),
    step(
        "channel.web",
        "message",
        r#"{"message_id":"m-1","content":{"type":"text","text":"Hello, the lamp that came yesterday is broken. What can I do?"}}"#,
    ),
    step(
        "integration.bot",
        "reply",
        r#"{"message_id":"m-2","content":{"type":"text","text":"I am sorry to hear that. I look up your order, one moment."}}"#,
    ),
    step("integration.bot", "pass", r#"{"to":"orders","reason":"about an order","metadata":{"order":"4711"}}"#),
    step("integration.orders", "offer", r#"{"to":"desk","reason":"a person is wanted","expires_in":"5m"}"#),
    step("integration.desk", "accept", "{}"),
    step(
        "integration.desk",
        "reply",
        r#"{"message_id":"m-3","content":{"type":"text","text":"This is Olga. We send you a new lamp at once, free of charge."}}"#,
    ),
    step(
        "channel.web",
        "message",
        r#"{"message_id":"m-4","content":{"type":"text","text":"That is very kind of you, thank you and goodbye!"}}"#,
    ),
    step("channel.web", "end", r#"{"last_message_id":"m-4"}"#),
    step(
        "integration.survey",
        "reply",
        r#"{"message_id":"m-5","content":{"type":"text","text":"How satisfied are you with us, on a scale from one to five?"}}"#,
    ),
    step("integration.survey", "release", r#"{"reason":"survey done"}"#),
];

impl Step {
    /// Its subject for a conversation.
    pub fn subject(&self, prefix: &str, conversation: &str) -> String {
        let mut subject =
            String::with_capacity(prefix.len() + self.caller.len() + self.verb.len() + conversation.len() + 3);
        let _ = write!(subject, "{prefix}.{}.{}.{conversation}", self.caller, self.verb);
        subject
    }

    /// What tells its kind: role and verb.
    pub fn kind(&self) -> String {
        let role = self.caller.split('.').next().unwrap_or_default();
        format!("{role}.{}", self.verb)
    }
}
