//! The recorded commands under another configuration: one test or more for each rule of the comparison.

mod endings;
mod limits;
mod reports;
mod same;
mod sessions;
mod timers;
mod truth;

use serde_json::{Value, json};
use switchboard::domain::config::Document;
use switchboard::tools::config_file::ConfigFile;
use switchboard::tools::failure::Failure;
use switchboard::tools::screen::Screen;
use switchboard::tools::values::TextOrJson;
use switchboard::tools::what_if::{WhatIfOptions, what_if};

use super::live::{BEGIN, Live};
use super::place::Place;

/// A web shop: a bot, a desk, a survey, and a channel with one endless thread.
fn shop() -> Value {
    json!({
        "settings": {
            "default_integration": "bot",
            "multi_conversations": true,
            "end_user_can_end": true,
            "inactivity_timeout": "1h",
            "release_deadline": "10m"
        },
        "integration": [
            {"name": "bot", "next": "desk"},
            {"name": "desk", "next": "survey", "on_end": "hold", "can_take": true, "inactivity_timeout": "never"},
            {"name": "survey"}
        ],
        "channel": [{"name": "thread", "multi_conversations": false, "end_user_can_end": false}]
    })
}

/// The shop with one value changed; the path as in `/settings/reopen`, integrations by number.
fn shop_with(path: &str, value: Value) -> Value {
    changed(shop(), path, value)
}

fn changed(mut config: Value, path: &str, value: Value) -> Value {
    let (parent, key) = path.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[key] = value;
    config
}

/// A log of what is played under a configuration.
fn log_of(config: &Value, play: impl FnOnce(&mut Live)) -> Place {
    let place = Place::empty();
    let mut live = Live::open(&place.path, BEGIN);
    live.put(config);
    play(&mut live);
    live.stop();
    place
}

fn options(place: &Place, other: &Value, format: TextOrJson) -> WhatIfOptions {
    let document = Document::parse(other).unwrap();
    let config = ConfigFile { path: "other.toml".into(), document, canonical: Vec::new() };
    WhatIfOptions { data: place.path.clone(), config, format }
}

/// The whole comparison, as programs read it.
fn compared(place: &Place, other: &Value) -> Value {
    let mut out = Vec::new();
    let outcome = what_if(&options(place, other, TextOrJson::Json), &mut out, Screen::unbounded());
    let document: Value = serde_json::from_slice(&out).unwrap();
    match outcome {
        Ok(()) => assert_eq!(document["summary"]["otherwise"], 0),
        Err(Failure::Differs) => assert_ne!(document["summary"]["otherwise"], 0),
        Err(failure) => panic!("{failure}"),
    }
    document
}

/// The sessions that would have gone otherwise.
fn would(recorded: &Value, other: &Value, play: impl FnOnce(&mut Live)) -> Vec<Value> {
    let document = compared(&log_of(recorded, play), other);
    document["sessions"].as_array().unwrap().clone()
}

/// The one session that would have.
fn one(recorded: &Value, other: &Value, play: impl FnOnce(&mut Live)) -> Value {
    let mut sessions = would(recorded, other, play);
    assert_eq!(sessions.len(), 1, "{sessions:#?}");
    sessions.remove(0)
}

/// How long after the beginning a moment is, in seconds.
fn seconds(at: &Value) -> f64 {
    let at = switchboard::domain::Time::parse(at.as_str().unwrap_or_else(|| panic!("a moment, got {at}"))).unwrap();
    at.ms_since(BEGIN) as f64 / 1000.0
}

/// What happened, by the names of the events.
fn names(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap().trim_start_matches("switchboard.")).collect()
}

fn start(live: &mut Live, id: &str) {
    done(live.wire(&format!("channel.web.start.{id}"), &json!({})));
}

fn message(live: &mut Live, id: &str) {
    done(live.wire(&format!("channel.web.message.{id}"), &json!({})));
}

fn end(live: &mut Live, id: &str) {
    done(live.wire(&format!("channel.web.end.{id}"), &json!({})));
}

fn pass(live: &mut Live, from: &str, id: &str, to: &str) {
    done(live.wire(&format!("integration.{from}.pass.{id}"), &json!({ "to": to })));
}

fn release(live: &mut Live, by: &str, id: &str) {
    done(live.wire(&format!("integration.{by}.release.{id}"), &json!({})));
}

fn finish(live: &mut Live, by: &str, id: &str) {
    done(live.wire(&format!("integration.{by}.end.{id}"), &json!({})));
}

fn done(answer: Value) {
    assert_eq!(answer["outcome"], "applied", "{answer}");
}
