//! What happened, in plain words: one phrase for each type of event.

use serde_json::Value;

use super::past_event::PastEvent;
use super::words;

/// What an event says, in words; of an unknown type its name and its own fields.
pub fn what_happened(event: &PastEvent) -> String {
    let phrase = match event.name() {
        "conversation.started" => started(event),
        "conversation.reopened" => format!("reopened on {}{}", channel(event), continued(event)),
        "control.assigned" => return assigned(event),
        "control.passed" => passed(event),
        "control.offered" => offered(event),
        "control.offer_withdrawn" => offer_withdrawn(event),
        "control.accepted" => format!("{} accepted from {}", event.name_of("to"), event.name_of("from")),
        "control.released" => released(event),
        "conversation.end_requested" => end_requested(event),
        "conversation.closed" => closed(event),
        _ => return other(event),
    };
    phrase + &with_metadata(event.data.get("metadata"))
}

fn started(event: &PastEvent) -> String {
    let session = match event.number("session") {
        Some(session) if session > 1 => format!("session {session} started"),
        _ => "started".into(),
    };
    let user = event.conversation().and_then(|c| c.get("user")).filter(|user| !user.is_null());
    let user = user.map_or_else(String::new, |user| format!(" for {}", words::value(user)));
    format!("{session} on {}{user}{}", channel(event), continued(event))
}

fn channel(event: &PastEvent) -> String {
    event.conversation().and_then(|c| c.get("channel")).map_or_else(|| "an unknown channel".into(), words::value)
}

fn continued(event: &PastEvent) -> String {
    event.text("continued_from").map_or_else(String::new, |from| format!(", continued from {}", words::plain(from)))
}

/// Its metadata is the whole, told before: not again.
fn assigned(event: &PastEvent) -> String {
    let why = match event.text("cause") {
        Some("default") => ", the default",
        Some("start") => ", as the start asked",
        _ => "",
    };
    format!("assigned to {}{why}", event.name_of("to"))
}

fn passed(event: &PastEvent) -> String {
    let to = event.name_of("to");
    let from = event.text("from").map(words::plain);
    match (event.text("cause"), from) {
        (Some("take"), Some(from)) => format!("{to} took control from {from}"),
        (Some("take"), None) => format!("{to} took control"),
        (Some("next"), Some(from)) => format!("{from} passed to {to}, its next"),
        (Some("on_end"), Some(from)) => format!("{from} passed to {to}, as set for the end"),
        (Some("operator"), Some(from)) => format!("passed from {from} to {to}"),
        (_, Some(from)) => format!("{from} passed to {to}"),
        (_, None) => format!("passed to {to}"),
    }
}

fn offered(event: &PastEvent) -> String {
    let until = event.moment("expires_at").map_or_else(String::new, |at| until(event, at));
    format!("{} offered to {}{until}", event.name_of("from"), event.name_of("to"))
}

fn offer_withdrawn(event: &PastEvent) -> String {
    let to = event.name_of("to");
    match event.text("cause") {
        Some("declined") => format!("{to} declined the offer"),
        Some("expired") => format!("offer to {to} expired"),
        Some("superseded") => format!("offer to {to} gave way to another"),
        Some("passed") => format!("offer to {to} withdrawn, control was passed"),
        Some("released") => format!("offer to {to} withdrawn, control was released"),
        Some("end_requested") => format!("offer to {to} withdrawn, the end was requested"),
        Some("integration_removed") => format!("offer to {to} withdrawn, the integration was removed"),
        _ => format!("offer to {to} withdrawn"),
    }
}

fn released(event: &PastEvent) -> String {
    let from = event.name_of("from");
    match event.text("cause") {
        Some("operator") => format!("taken from {from}, nobody holds control"),
        Some("end_requested") => format!("{from} released by the end"),
        Some("end_target_missing") => format!("{from} released by the end, whom to pass to is missing"),
        Some("integration_removed") => format!("{from} released, the integration was removed"),
        Some("deadline") => format!("{from} released, its deadline is over"),
        Some("inactivity") => format!("{from} released, nothing came for too long"),
        _ => format!("{from} released control"),
    }
}

fn end_requested(event: &PastEvent) -> String {
    let who = match event.text("cause") {
        Some("end_user") => "the end user asked for the end",
        Some("integration") => "the owner asked for the end",
        Some("operator") => "an operator asked for the end",
        Some("inactivity") => "the end is due, nothing came for too long",
        _ => "the end was requested",
    };
    let mode = match event.data.get("on_end") {
        Some(Value::String(mode)) if mode == "hold" => ", the owner is to release",
        _ => "",
    };
    format!("{who}{mode}{}", event.moment("deadline").map_or_else(String::new, |at| until(event, at)))
}

fn closed(event: &PastEvent) -> String {
    match event.number("duration_ms") {
        Some(ms) => format!("closed after {}", words::duration(ms)),
        None => "closed".into(),
    }
}

fn until(event: &PastEvent, at: crate::domain::Time) -> String {
    format!(", until {}", words::moment(at, event.time))
}

/// What an event sets and removes.
fn with_metadata(metadata: Option<&Value>) -> String {
    match metadata {
        Some(Value::Object(set)) if !set.is_empty() => {
            let kept = words::fields(set.iter().filter(|(_, value)| !value.is_null()));
            let removed: Vec<String> =
                set.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| words::plain(name)).collect();
            let mut parts = String::new();
            if !kept.is_empty() {
                parts.push_str(&format!(", with {kept}"));
            }
            if !removed.is_empty() {
                parts.push_str(&format!(", without {}", removed.join(" ")));
            }
            parts
        }
        Some(Value::String(text)) => format!(", with {}", words::plain(text)),
        _ => String::new(),
    }
}

/// Of the configuration, or of a type that came later: its name in words, and its own fields that say something.
fn other(event: &PastEvent) -> String {
    let words = event.name().replace('_', " ");
    let name = event.data.get("name").map(words::value);
    let phrase = match (words.split_once('.'), name) {
        (Some((noun, verb)), Some(name)) => format!("{noun} {name} {verb}"),
        _ => words.replace('.', " "),
    };
    let says = |(field, value): &(&String, &Value)| !matches!(field.as_str(), "name" | "reason") && !value.is_null();
    let fields = words::fields(event.own_fields().filter(says));
    let phrase = words::plain(&phrase);
    if fields.is_empty() { phrase } else { format!("{phrase}: {fields}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::event::Kind;

    fn told(name: &str, data: Value) -> String {
        let event = json!({ "type": format!("switchboard.{name}"), "time": "2026-11-22T14:00:00Z", "data": data });
        what_happened(&serde_json::from_value(event).unwrap())
    }

    #[test]
    fn each_cause_has_its_words() {
        let passed = |from, cause| told("control.passed", json!({ "from": from, "to": "b", "cause": cause }));
        assert_eq!(passed(json!("a"), "name"), "a passed to b");
        assert_eq!(passed(json!("a"), "next"), "a passed to b, its next");
        assert_eq!(passed(json!("a"), "take"), "b took control from a");
        assert_eq!(passed(json!(null), "take"), "b took control");
        assert_eq!(passed(json!("a"), "operator"), "passed from a to b");
        let withdrawn = |cause| told("control.offer_withdrawn", json!({ "to": "b", "cause": cause }));
        assert_eq!(withdrawn("expired"), "offer to b expired");
        assert_eq!(withdrawn("withdrawn"), "offer to b withdrawn");
        assert_eq!(withdrawn("superseded"), "offer to b gave way to another");
        let released = |cause| told("control.released", json!({ "from": "a", "cause": cause }));
        assert_eq!(released("deadline"), "a released, its deadline is over");
        assert_eq!(released("a cause that came later"), "a released control");
    }

    #[test]
    fn what_an_event_sets_and_removes_is_told() {
        let data = json!({ "from": "a", "to": "b", "cause": "name", "metadata": { "x": 1, "y": null } });
        assert_eq!(told("control.passed", data), "a passed to b, with x=1, without y");
        let redacted = json!({ "from": "a", "to": "b", "cause": "name", "metadata": "redacted:00ff" });
        assert_eq!(told("control.passed", redacted), "a passed to b, with redacted:00ff");
    }

    #[test]
    fn no_known_type_is_told_like_an_unknown_one() {
        for kind in Kind::ALL {
            let name = kind.full_name().trim_start_matches("switchboard.");
            let said = told(name, json!({ "unheard_of": 1 }));
            assert!(!said.contains("unheard_of"), "{name}: {said}");
        }
    }

    #[test]
    fn changes_of_the_configuration_are_told_by_name() {
        let data = json!({ "seq": 2, "name": "agents", "next": null, "on_end": { "pass": "survey" }, "enabled": true });
        let said = told("integration.changed", data);
        assert_eq!(said, "integration agents changed: enabled=true on_end={\"pass\":\"survey\"}");
        assert_eq!(told("channel.removed", json!({ "seq": 2, "name": "web" })), "channel web removed");
    }
}
