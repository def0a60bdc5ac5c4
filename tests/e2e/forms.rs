//! What the service takes and what the schemas allow are the same, value by value.

use serde_json::{Value, json};

use crate::schemas::Schemas;
use crate::world::World;

#[tokio::test]
async fn a_value_is_taken_where_its_schema_allows_it_and_nowhere_else() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let schemas = Schemas::load();
    let mut faults = Vec::new();
    for (schema, subject, field, values) in table() {
        for value in values {
            let mut body = json!({});
            if schema == "integration.offer" {
                body["to"] = json!("agents");
            }
            body[field] = value;
            let answer = world.ask(subject, body.clone()).await.heard.json();
            let is_taken = answer["error"]["code"] != "bad_request";
            let is_allowed = schemas.validate(&format!("request/{schema}"), &body).is_ok();
            if is_taken != is_allowed {
                faults.push(format!(
                    "{subject} {body}: the schema says {is_allowed}, the service {}",
                    code_or_taken(&answer)
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    world.end().await;
}

fn code_or_taken(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or("takes it")
}

/// Schema, subject, field, values to try.
fn table() -> Vec<(&'static str, &'static str, &'static str, Vec<Value>)> {
    let (times, durations, names, counts) = (times(), durations(), names(), counts());
    vec![
        ("query.log", "query.log", "from", times.clone()),
        ("query.conversation", "query.conversation.c", "at", times.clone()),
        ("channel.message", "channel.web.message.c", "sent_at", times),
        ("integration.offer", "integration.bot.offer.c", "expires_in", durations),
        ("integration.pass", "integration.bot.pass.c", "to", names.clone()),
        ("operator.pass", "operator.ann.pass.c", "to", names.clone()),
        ("channel.start", "channel.web.start.c", "owner", names.clone()),
        ("query.conversations", "query.conversations", "channel", names.clone()),
        ("query.conversations", "query.conversations", "owner", names.clone()),
        ("query.log", "query.log", "by", names),
        ("channel.message", "channel.web.message.c", "expected_epoch", counts.clone()),
        ("query.log", "query.log", "limit", counts.clone()),
        ("query.log", "query.log", "from_seq", counts),
        ("channel.start", "channel.web.start.c", "metadata", metadata()),
        ("query.conversations", "query.conversations", "status", statuses()),
        ("query.log", "query.log", "types", types()),
    ]
}

fn times() -> Vec<Value> {
    let given = [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00.123456789Z",
        "2026-01-01T00:00:00.1234567891Z",
        "2026-01-01T00:00:00.123456789123456789+01:00",
        "2026-01-01T00:00:00+01:00",
        "2026-01-01T00:00:00+1:000",
        "2026-01-01T00:00:00Ż",
        "2026-01-01T00:00:0Ż",
        "2026-01-01T00:00:00-23:59",
        "2026-01-01T00:00:00-00:00",
        "2024-02-29T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01t00:00:00z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+01",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00Z[UTC]",
        "+002026-01-01T00:00:00Z",
        "20260101T000000Z",
        "2026-01-01",
        " 2026-01-01T00:00:00Z",
        "",
    ];
    given.into_iter().map(Value::from).chain([json!(1_767_225_600), Value::Null]).collect()
}

fn durations() -> Vec<Value> {
    let given = [
        "1s",
        "1m",
        "1h",
        "1d",
        "366d",
        "never",
        "31622400s",
        "0s",
        "-1s",
        "1",
        "s",
        "1 s",
        " 1s",
        "1.5h",
        "1S",
        "01s",
        "1w",
        "1h30m",
        "Never",
        "",
        "99999999999999999999s",
        "１s",
    ];
    given.into_iter().map(Value::from).chain([json!(60), Value::Null]).collect()
}

fn names() -> Vec<Value> {
    let given =
        ["bot", "agents", "Az09_-=:+@~", "next", "_bot", "_config", "a.b", "a b", "a*", ">", "", "bót", "a\n", "a/b"];
    let long = [json!("n".repeat(128)), json!("n".repeat(129)), json!(1), json!(["bot"])];
    given.into_iter().map(Value::from).chain(long).collect()
}

fn counts() -> Vec<Value> {
    let max = (1_u64 << 53) - 1;
    vec![
        json!(0),
        json!(1),
        json!(1.0),
        json!(1e2),
        json!(1000),
        json!(1001),
        json!(max),
        json!(-1),
        json!(0.5),
        json!("1"),
        json!(true),
        Value::Null,
        json!([1]),
    ]
}

fn metadata() -> Vec<Value> {
    vec![
        json!({}),
        json!({"": ""}),
        json!({"a": null}),
        json!({"a": 1.5, "b": true, "c": "x"}),
        json!({"a": {}}),
        json!({"a": []}),
        json!([]),
        json!("a"),
        Value::Null,
        json!({"ключ": "значение"}),
    ]
}

fn statuses() -> Vec<Value> {
    vec![
        json!("open"),
        json!(["open"]),
        json!(["open", "closed"]),
        json!([]),
        json!(["open", "open"]),
        json!("Open"),
        json!("gone"),
        json!(["open", "gone"]),
        Value::Null,
        json!(1),
    ]
}

fn types() -> Vec<Value> {
    vec![
        json!([]),
        json!(["switchboard.control.passed"]),
        json!(["switchboard.future.kind"]),
        json!(["control.passed"]),
        json!(["switchboard.control"]),
        json!(["switchboard.control.passed.more"]),
        json!(["switchboard.Control.passed"]),
        json!("switchboard.control.passed"),
        json!([1]),
        Value::Null,
    ]
}
