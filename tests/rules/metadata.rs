//! Metadata: keys merge, `null` deletes, so many and no more.

use serde_json::{Map, Value, json};
use switchboard::domain::Refusal;
use switchboard::domain::event::WithdrawCause;
use switchboard::domain::metadata::{Metadata, MetadataTooLarge, Patch};

use super::given::*;
use super::say::*;

fn held_by_bot(metadata: Value) -> Given {
    given(CENTRE).after(web(), start_with("u-1", "bot", metadata))
}

/// An object of so many keys.
fn keys(count: usize) -> Value {
    Value::Object((0..count).map(|at| (format!("k{at}"), Value::from(at))).collect::<Map<_, _>>())
}

/// An object of exactly so many bytes as JSON.
fn bytes(count: usize) -> Value {
    json!({ "x": "y".repeat(count - r#"{"x":""}"#.len()) })
}

fn too_large(story: Given, command: impl Ask) -> MetadataTooLarge {
    match story.when(bot(), command).refusal() {
        Refusal::MetadataTooLarge(too_large) => too_large,
        other => panic!("expected too much metadata, got {other:?}"),
    }
}

#[test]
fn keys_merge_and_null_deletes() {
    let story = held_by_bot(json!({"a": 1, "b": "x", "c": true}));
    let story = story.after(bot(), pass_with("agents", "why", json!({"a": 2, "b": null, "d": 0.5, "e": null})));
    assert_eq!(story.c().metadata, facts(json!({"a": 2, "c": true, "d": 0.5})));
}

#[test]
fn every_verb_that_carries_metadata_merges_it() {
    let story = held_by_bot(json!({"a": 1}))
        .after(bot(), pass_with("agents", "r", json!({"b": 2})))
        .after(agents(), offer_with("bot", "r", json!({"c": 3})))
        .after(bot(), accept_with(json!({"d": 4})))
        .after(agents(), take_with("r", json!({"e": 5})))
        .after(agents(), release_with("r", json!({"f": 6})));
    assert_eq!(story.c().metadata, facts(json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6})));
}

#[test]
fn sixty_four_keys_fit_and_no_more() {
    held_by_bot(keys(64));
    given(CENTRE).when(web(), start_with("u", "bot", keys(65))).refused("metadata_too_large");
    let refused = too_large(held_by_bot(keys(64)), pass_with("agents", "r", json!({"one": "more"})));
    assert_eq!(refused.keys, 65);
    held_by_bot(keys(64)).when(bot(), pass_with("agents", "r", json!({"k0": "other"}))).applied();
    held_by_bot(keys(64)).when(bot(), pass_with("agents", "r", json!({"k0": null, "one": "more"}))).applied();
}

#[test]
fn four_kibibytes_fit_and_no_more() {
    held_by_bot(bytes(4096));
    given(CENTRE).when(web(), start_with("u", "bot", bytes(4097))).refused("metadata_too_large");
    let refused = too_large(held_by_bot(json!({"a": 1})), pass_with("agents", "r", bytes(4096)));
    assert_eq!((refused.keys, refused.bytes), (2, 4096 + r#""a":1,"#.len()));
}

/// As many keys as `count` that are deleted, whether they are there or not.
fn deleted(count: usize) -> Value {
    Value::Object((0..count).map(|at| (format!("gone{at}"), Value::Null)).collect::<Map<_, _>>())
}

#[test]
fn what_one_command_deletes_is_bounded_though_it_leaves_nothing() {
    held_by_bot(keys(64)).when(bot(), pass_with("agents", "r", deleted(128))).applied();
    let refused = too_large(held_by_bot(json!({})), pass_with("agents", "r", deleted(129)));
    assert_eq!((refused.is_patch, refused.keys), (true, 129));
    let long = |bytes: usize| json!({ "x".repeat(bytes - r#"{"":null}"#.len()): null });
    held_by_bot(json!({})).when(bot(), pass_with("agents", "r", long(8192))).applied();
    let refused = too_large(held_by_bot(json!({})), offer_with("agents", "r", long(8193)));
    assert_eq!((refused.is_patch, refused.bytes), (true, 8193));
}

#[test]
fn what_is_too_much_is_refused_with_every_verb_that_carries_it() {
    too_large(held_by_bot(json!({})), pass_with("agents", "r", keys(65)));
    too_large(held_by_bot(json!({})), offer_with("agents", "r", keys(65)));
    too_large(held_by_bot(json!({})), release_with("r", keys(65)));
    held_by_bot(json!({})).when(agents(), take_with("r", keys(65))).refused("metadata_too_large");
    let offered = held_by_bot(json!({})).after(bot(), offer("agents"));
    offered.when(agents(), accept_with(keys(65))).refused("metadata_too_large");
}

#[test]
fn an_offers_facts_are_checked_with_the_offer_and_apply_when_it_is_accepted() {
    let story = held_by_bot(keys(60));
    story
        .clone()
        .when(bot(), offer_with("agents", "r", json!({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1})))
        .refused("metadata_too_large");
    let story = story.after(bot(), offer_with("agents", "r", json!({"a": 1, "b": 1, "c": 1, "d": 1})));
    assert_eq!(story.c().metadata, facts(keys(60)));
    story.clone().when(agents(), accept_with(json!({"e": 1}))).refused("metadata_too_large");
    let story = story.after(agents(), accept());
    assert_eq!(story.c().metadata, facts(keys(60)).merged(&patch(json!({"a": 1, "b": 1, "c": 1, "d": 1}))));
}

#[test]
fn an_offer_that_ends_otherwise_leaves_no_facts_behind() {
    let story = held_by_bot(json!({"a": 1})).after(bot(), offer_with("agents", "r", json!({"b": 2})));
    let story = story.when(bot(), withdraw()).then([offer_withdrawn("agents", WithdrawCause::Withdrawn)]);
    assert_eq!(story.c().metadata, facts(json!({"a": 1})));
}

#[test]
fn a_value_is_a_string_a_finite_number_or_a_boolean() {
    for good in [json!({"a": "x"}), json!({"a": 1}), json!({"a": -2.5}), json!({"a": true}), json!({})] {
        assert!(serde_json::from_value::<Metadata>(good.clone()).is_ok(), "{good}");
        assert!(serde_json::from_value::<Patch>(good).is_ok());
    }
    for bad in [json!({"a": []}), json!({"a": {}}), json!({"a": {"b": 1}}), json!([]), json!("x")] {
        assert!(serde_json::from_value::<Metadata>(bad.clone()).is_err(), "{bad}");
        assert!(serde_json::from_value::<Patch>(bad.clone()).is_err(), "{bad}");
    }
    assert!(serde_json::from_value::<Metadata>(json!({"a": null})).is_err(), "a fact is never null");
    assert!(serde_json::from_value::<Patch>(json!({"a": null})).is_ok(), "but null deletes");
    assert!(serde_json::from_str::<Patch>(r#"{"a": 1e999}"#).is_err(), "a number is finite");
}

#[test]
fn facts_are_read_and_written_alike() {
    let all = json!({"flag": false, "many": 12345678901234567_u64, "part": 0.25, "text": "\u{1F600} \"quoted\""});
    assert_eq!(serde_json::to_value(facts(all.clone())).expect("JSON"), all);
}
