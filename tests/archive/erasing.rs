//! What is personal can be erased, and the rest still verifies.

use super::live::{BEGIN, Live};
use super::place::{Place, imported};
use super::say::*;
use super::schemas::Schemas;
use super::story::PERSONAL;

fn everything(place: &Place) -> String {
    place.entries().iter().map(|entry| String::from_utf8_lossy(&entry.line).into_owned()).collect()
}

fn erased() -> (Place, Place, String) {
    let place = Place::of_story();
    let (text, exported) = place.export(&["c-1"]);
    exported.unwrap();
    let again = imported(&text);
    (place, again, text)
}

#[test]
fn erased_values_are_nowhere_and_the_chain_holds() {
    let (place, again, text) = erased();
    let (before, after) = (everything(&place), everything(&again));
    for value in PERSONAL {
        assert!(before.contains(value), "{value} was there");
        assert!(!text.contains(value) && !after.contains(value), "{value} is still there");
    }
    let told = again.assert_good();
    assert!(told.contains("erased         personal values of"), "{told}");
    let hash = |told: &str| told.lines().find(|line| line.starts_with("hash")).unwrap().to_owned();
    assert_eq!(hash(&told), hash(&place.assert_good()), "it is the same log");
}

/// What is left of them is a text, also where there was an object.
#[test]
fn events_of_an_erased_conversation_are_as_the_schemas_say() {
    let (_, again, _) = erased();
    let schemas = Schemas::load();
    let events = again.events();
    for event in &events {
        schemas.validate("event/cloudevent", event).unwrap();
    }
    let is_erased = |value: &serde_json::Value| value.as_str().is_some_and(|text| text.starts_with("redacted:"));
    for field in ["metadata", "reason"] {
        assert!(events.iter().any(|event| is_erased(&event["data"][field])), "no {field} was erased");
    }
    assert!(events.iter().any(|event| is_erased(&event["data"]["conversation"]["user"])), "no user was erased");
}

#[test]
fn others_keep_their_values() {
    let (_, again, _) = erased();
    assert!(everything(&again).contains("u-thread"));
    let mut live = Live::open(&again.path, BEGIN);
    assert_eq!(live.state("c-2")["metadata"]["kept"], true);
    let maria = live.state("c-1");
    assert_eq!(maria["status"], "closed");
    assert_eq!(maria["metadata"], serde_json::json!({}));
    live.stop();
    again.assert_good();
}

/// With the secret of the old directory somebody could try which value it was.
#[test]
fn the_secret_stays_behind_and_a_repeat_is_never_carried_out_twice() {
    let (place, again, text) = erased();
    let last = |text: &str| text.lines().last().unwrap().to_owned();
    assert!(!last(&text).contains("\"key\"") && last(&place.exported()).contains("\"key\""));
    assert_eq!(again.exported(), text);
    let mut live = Live::open(&again.path, BEGIN);
    let repeat = start("c-2").command_id("second").metadata(serde_json::json!({"kept": true}));
    assert_eq!(live.ask(repeat)["error"]["code"], "command_id_reused");
    live.stop();
}

#[test]
fn a_log_goes_on_after_an_erasure_and_can_be_erased_again() {
    let place = Place::of_story();
    let (text, exported) = place.export(&["again-1", "c-1"]);
    exported.unwrap();
    let again = imported(&text);
    let mut live = Live::open(&again.path, BEGIN);
    live.go(offer(agents(), "again-1", "survey", None));
    live.go(message("again-1").by(channel("reopening")).user("a new one"));
    live.go(finish(agents(), "again-1"));
    live.stop();
    again.assert_good();
    let (text, exported) = again.export(&["again-1"]);
    exported.unwrap();
    assert!(!text.contains("a new one"));
    let third = imported(&text);
    third.assert_good();
    assert_eq!(third.exported(), text);
}

#[test]
fn a_conversation_that_is_not_there_is_told_and_the_export_is_no_whole_one() {
    let (text, exported) = Place::of_story().export(&["c-1", "c-9"]);
    let failure = exported.unwrap_err();
    assert_eq!(failure.exit_code(), 1);
    assert!(failure.to_string().contains("got c-9"), "{failure}");
    assert!(!text.contains("{\"head\":"));
}
