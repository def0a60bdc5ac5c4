//! The schemas are sound, their examples fit them, and what the contract forbids does not.

#[path = "common/schemas.rs"]
mod schemas;

use std::collections::BTreeMap;

use schemas::{Schemas, documents, folder};
use serde_json::{Value, json};

/// Stands beside the schemas without being one of a message.
const SHARED: &str = "common";

/// Fields of what the service sends that stand only sometimes.
const SOMETIMES: [&str; 2] = ["traceparent", "replayed"];

fn examples() -> BTreeMap<String, Value> {
    documents(&folder().join("examples"))
}

fn with(mut value: Value, pointer: &str, field: &str, is: Value) -> Value {
    value.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing at {pointer:?}"))[field] = is;
    value
}

fn is_sent_by_the_service(name: &str) -> bool {
    !name.starts_with("request/") && name != "config"
}

#[test]
fn every_schema_is_valid_2020_12_with_its_name_as_id_and_a_text_for_people() {
    for (name, schema) in documents(&folder()) {
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        let words = name.trim_start_matches("event/").trim_start_matches("relay/").replace('/', ":");
        assert_eq!(schema["$id"], format!("urn:switchboard:schema:1:{words}"), "{name}");
        for text in ["title", "description"] {
            assert!(schema[text].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {text}");
        }
    }
}

#[test]
fn every_schema_has_an_example_and_every_example_a_schema() {
    let schemas: Vec<String> = documents(&folder()).into_keys().filter(|name| name != SHARED).collect();
    assert_eq!(schemas, examples().into_keys().collect::<Vec<_>>());
}

#[test]
fn the_readme_explains_every_error_in_the_order_of_the_checks() {
    let readme = std::fs::read_to_string(folder().join("README.md")).expect("a readme");
    let table = readme.split_once("## Errors").expect("a section on errors").1;
    let explained: Vec<&str> = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(documents(&folder())["error"]["$defs"]["error"]["properties"]["code"]["enum"], json!(explained));
}

#[test]
fn every_shared_definition_is_used() {
    let documents = documents(&folder());
    let text: String = documents.values().map(Value::to_string).collect();
    for word in documents[SHARED]["$defs"].as_object().expect("definitions").keys() {
        assert!(text.contains(&format!("#/$defs/{word}\"")), "nothing refers to {word}");
    }
}

#[test]
fn every_example_fits_its_schema() {
    let schemas = Schemas::load();
    let faults: Vec<String> =
        examples().iter().filter_map(|(name, example)| schemas.validate(name, example).err()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_event_in_a_whole_message_is_checked_by_its_type() {
    let (schemas, examples) = (Schemas::load(), examples());
    for (name, data) in &examples {
        let Some((folder @ ("event" | "relay"), kind)) = name.split_once('/') else { continue };
        if kind == "cloudevent" {
            continue;
        }
        let message = message(folder, kind, data);
        assert_eq!(schemas.validate("event/cloudevent", &message), Ok(()));
        let foreign = with(message.clone(), "", "data", json!({}));
        assert!(schemas.validate("event/cloudevent", &foreign).is_err(), "{kind} without data");
        let mislabelled = with(message, "", "dataschema", json!("urn:switchboard:schema:1:other"));
        assert!(schemas.validate("event/cloudevent", &mislabelled).is_err(), "{kind} under another dataschema");
    }
}

fn message(folder: &str, kind: &str, data: &Value) -> Value {
    let is_of_conversation = ["conversation.", "control.", "message."].iter().any(|noun| kind.starts_with(noun));
    json!({
        "specversion": "1.0",
        "id": if folder == "relay" { "log-m-9c41d07e" } else { "log-1046-9c41d07e" },
        "source": "/switchboard/log",
        "type": format!("switchboard.{kind}"),
        "subject": if is_of_conversation { "c-7f3a" } else { "_config" },
        "time": "2026-11-22T14:07:02.655Z",
        "datacontenttype": "application/json",
        "dataschema": format!("urn:switchboard:schema:1:{kind}"),
        "data": data,
    })
}

#[test]
fn a_request_with_an_unknown_field_is_refused() {
    let schemas = Schemas::load();
    for (name, example) in examples().into_iter().filter(|(name, _)| name.starts_with("request/") || name == "config") {
        let fault = schemas.validate(&name, &with(example, "", "colour", json!("red"))).expect_err(&name);
        assert!(fault.contains("colour"), "{fault}");
    }
    let config = examples().remove("config").expect("an example");
    for place in ["/settings", "/integration/0", "/channel/0"] {
        let fault = schemas.validate("config", &with(config.clone(), place, "colour", json!("red"))).expect_err(place);
        assert!(fault.contains("colour"), "{fault}");
    }
}

#[test]
fn what_the_service_sends_may_grow() {
    let schemas = Schemas::load();
    for (name, example) in examples().into_iter().filter(|(name, _)| is_sent_by_the_service(name)) {
        assert_eq!(schemas.validate(&name, &with(example, "", "colour", json!("red"))), Ok(()));
    }
}

#[test]
fn what_the_service_sends_lacks_no_field() {
    let schemas = Schemas::load();
    for (name, example) in examples().into_iter().filter(|(name, _)| is_sent_by_the_service(name)) {
        let fields = example.as_object().expect("an object");
        // An answer that would be too long comes without it.
        let is_left_out = |field: &str| SOMETIMES.contains(&field) || (&*name, field) == ("reply/config.put", "config");
        for field in fields.keys().filter(|field| !is_left_out(field)) {
            let mut lacking = fields.clone();
            lacking.remove(field);
            let lacking = Value::Object(lacking);
            assert!(schemas.validate(&name, &lacking).is_err(), "{name} without {field}");
        }
    }
}

#[test]
fn a_cause_of_another_event_is_refused() {
    let schemas = Schemas::load();
    let causes = ["start", "operator", "expired", "deadline", "end_user"];
    for (name, fitting) in [
        ("event/control.assigned", &["start"][..]),
        ("event/control.passed", &["operator"]),
        ("event/control.offer_withdrawn", &["expired"]),
        ("event/control.released", &["operator", "deadline"]),
        ("event/conversation.end_requested", &["operator", "end_user"]),
        ("event/conversation.closed", &["operator", "end_user"]),
    ] {
        for cause in causes {
            let event = with(examples()[name].clone(), "", "cause", json!(cause));
            assert_eq!(schemas.validate(name, &event).is_ok(), fitting.contains(&cause), "{name} because of {cause}");
        }
    }
}

#[test]
fn a_state_that_contradicts_itself_is_refused() {
    let (schemas, examples) = (Schemas::load(), examples());
    let closed = &examples["reply/state"];
    let ending = json!({"conversation": examples["reply/command"]["conversation"]});
    let open = json!({"conversation": examples["reply/relay"]["conversation"]});
    for (state, field, is) in [
        (closed, "owner", json!("agents")),
        (closed, "closed", Value::Null),
        (closed, "end_requested", Value::Null),
        (closed, "waiting_for", ending["conversation"]["waiting_for"].clone()),
        (&ending, "owner", Value::Null),
        (&ending, "waiting_for", Value::Null),
        (&ending, "closed", closed["conversation"]["closed"].clone()),
        (&open, "end_requested", ending["conversation"]["end_requested"].clone()),
        (&open, "owner_since", Value::Null),
        (&open, "seq", json!(0)),
        (&open, "status", json!("open to talk")),
    ] {
        assert_eq!(schemas.validate("reply/state", state), Ok(()));
        let contradiction = with(state.clone(), "/conversation", field, is.clone());
        assert!(schemas.validate("reply/state", &contradiction).is_err(), "{field} {is} in {state}");
    }
}

#[test]
fn who_did_it_is_a_caller_a_timer_or_the_configuration() {
    let schemas = Schemas::load();
    for (by, fits) in [
        (json!({"role": "channel", "name": "web", "actor": null}), true),
        (json!({"role": "operator", "name": "ops", "actor": "Ada Novak"}), true),
        (json!({"role": "timer"}), true),
        (json!({"role": "config"}), true),
        (json!({"role": "timer", "name": "x", "actor": null}), false),
        (json!({"role": "channel", "name": "web"}), false),
        (json!({"role": "channel", "name": "_web", "actor": null}), false),
        (json!({"role": "robot", "name": "x", "actor": null}), false),
    ] {
        let event = with(examples()["event/control.released"].clone(), "", "by", by.clone());
        assert_eq!(schemas.validate("event/control.released", &event).is_ok(), fits, "{by}");
    }
}

#[test]
fn an_error_carries_the_facts_of_its_code() {
    let (schemas, stale) = (Schemas::load(), examples()["error"].clone());
    let brief = &stale["error"]["conversation"];
    for (error, fits) in [
        (json!({"code": "busy", "message": "the queue is full"}), true),
        (json!({"code": "wrong_channel", "message": "another channel's"}), true),
        (json!({"code": "wrong_channel", "message": "another channel's", "conversation": brief}), false),
        (json!({"code": "stale_version", "message": "expected epoch 1"}), false),
        (json!({"code": "not_in_control", "message": "not yours", "owner": null, "conversation": brief}), true),
        (json!({"code": "not_in_control", "message": "not yours", "conversation": brief}), false),
        (json!({"code": "settings_conflict", "message": "no", "requirements": ["reopen must be off"]}), true),
        (json!({"code": "settings_conflict", "message": "no", "requirements": []}), false),
        (json!({"code": "teapot", "message": "short and stout"}), false),
        (json!({"code": "busy"}), false),
    ] {
        assert_eq!(schemas.validate("error", &json!({"error": error})).is_ok(), fits, "{error}");
    }
}

#[test]
fn a_rejection_of_what_is_only_counted_is_refused() {
    let schemas = Schemas::load();
    for code in ["bad_request", "too_large", "busy"] {
        let rejection = with(examples()["rejection"].clone(), "/error", "code", json!(code));
        assert!(schemas.validate("rejection", &rejection).is_err(), "{code}");
    }
}

#[test]
fn requests_keep_within_bounds() {
    let schemas = Schemas::load();
    let long = |count: usize| "x".repeat(count);
    for (name, request, fits) in [
        ("request/channel.start", json!({}), true),
        ("request/channel.start", json!({"user": long(256)}), true),
        ("request/channel.start", json!({"user": long(257)}), false),
        ("request/channel.start", json!({"owner": "next"}), false),
        ("request/channel.start", json!({"owner": "a.b"}), false),
        ("request/channel.start", json!({"metadata": {"list": [1]}}), false),
        ("request/channel.start", json!({"metadata": {"gone": null}}), true),
        ("request/channel.message", json!({"content": [1, {"any": "json"}]}), true),
        ("request/channel.message", json!({"sent_at": "2026-11-22T14:08:15.5+01:00"}), true),
        ("request/channel.message", json!({"sent_at": "yesterday"}), false),
        ("request/channel.end", json!({"reason": long(513)}), false),
        ("request/integration.pass", json!({}), false),
        ("request/integration.pass", json!({"to": "next", "actor": long(129)}), false),
        ("request/integration.offer", json!({"to": "agents", "expires_in": "never"}), true),
        ("request/integration.offer", json!({"to": "agents", "expires_in": "0s"}), false),
        ("request/integration.offer", json!({"to": "agents", "expires_in": "1.5h"}), false),
        ("request/integration.offer", json!({"to": "agents", "expires_in": 60}), false),
        ("request/integration.withdraw", json!({"expected_epoch": -1}), false),
        ("request/integration.withdraw", json!({"expected_epoch": (1_u64 << 53) - 1}), true),
        ("request/integration.withdraw", json!({"expected_epoch": 1_u64 << 53}), false),
        ("request/integration.withdraw", json!({"expected_version": 1_u64 << 53}), false),
        ("request/query.log", json!({"from_seq": 1, "to_seq": (1_u64 << 53) - 1}), true),
        ("request/query.log", json!({"from_seq": 1_u64 << 53}), false),
        ("request/query.history", json!({"to_seq": 1_u64 << 53}), false),
        ("request/integration.state", json!({"actor": "Maria Lind"}), false),
        ("request/integration.list", json!({"limit": 1001}), false),
        ("request/config.put", json!({}), false),
        ("request/config.put", json!({"config": {}, "expected_version": (1_u64 << 53) - 1}), true),
        ("request/config.put", json!({"config": {}, "expected_version": 1_u64 << 53}), false),
        ("request/config.put", json!({"config": {"integration": [{"name": "next"}]}}), false),
        ("request/config.put", json!({"config": {"integration": [{"name": "bot", "on_end": "later"}]}}), false),
        ("request/config.put", json!({"config": {"integration": [{"name": "bot", "on_end": {"pass": "desk"}}]}}), true),
        ("request/config.put", json!({"config": {"integration": [{"name": "bot", "on_end": {"hold": "1h"}}]}}), false),
        ("request/query.conversation", json!({"at_seq": 3}), true),
        ("request/query.conversation", json!({"at_seq": 3, "at": "2026-11-22T14:08:15Z"}), false),
        ("request/query.conversations", json!({"status": "open", "owner": null}), true),
        ("request/query.conversations", json!({"status": ["open", "gone"]}), false),
        ("request/query.log", json!({"types": ["control.passed"]}), false),
    ] {
        assert_eq!(schemas.validate(name, &request).is_ok(), fits, "{name} {request}");
    }
}

#[test]
fn an_answer_that_nothing_changed_names_no_events() {
    let schemas = Schemas::load();
    for name in ["reply/command", "reply/config.put"] {
        let answer = with(examples()[name].clone(), "", "outcome", json!("unchanged"));
        assert!(schemas.validate(name, &answer).is_err(), "{name}");
        assert_eq!(schemas.validate(name, &with(answer, "", "events", json!([]))), Ok(()));
    }
}

#[test]
fn whoever_is_not_concerned_is_answered_six_fields() {
    let (schemas, brief) = (Schemas::load(), examples()["error"]["error"]["conversation"].clone());
    let answer = json!({"outcome": "unchanged", "replayed": true, "events": [], "conversation": brief});
    assert_eq!(schemas.validate("reply/command", &answer), Ok(()));
    assert!(schemas.validate("reply/state", &answer).is_err());
}
