//! The checker must be able to fail: a history that fits, and each way in which it would not.

use serde_json::{Value, json};

use crate::checker::check;
use crate::history::{Attempt, Said};
use crate::log::Decision;
use crate::story::{ACCEPT, ACCEPTED, HISTORY, ID, OFFER, RELEASED, REPEAT, STATE, Story, last_answer, story};
use crate::wire::{self, Breaks, Heard, Relayed};

#[test]
fn a_history_that_fits_is_taken() {
    let story = story();
    let tally = check(&story.operations, &story.log).unwrap();
    assert_eq!((tally.decisions, tally.requests, tally.replayed, tally.unknown), (3, 7, 1, 0));
}

#[test]
fn an_unknown_outcome_may_have_been_decided_or_not() {
    let mut story = story();
    let released = story.asks("integration", "b", "release", json!({}));
    check(&story.operations, &story.log).unwrap();
    story.decided(released, &RELEASED);
    assert_eq!(check(&story.operations, &story.log).unwrap().found_decided, 1);
}

#[test]
fn an_applied_event_that_is_lost_is_found() {
    let mut story = story();
    story.operations.truncate(ACCEPT + 1);
    story.log.pop();
    story.fails("answered as applied, and not in the log");
}

#[test]
fn two_answers_that_were_swapped_are_found() {
    let mut story = story();
    let offered = last_answer(&mut story, OFFER).clone();
    story.operations[ACCEPT].attempts.truncate(1);
    let accepted = std::mem::replace(last_answer(&mut story, ACCEPT), offered);
    *last_answer(&mut story, OFFER) = accepted;
    story.fails("answered with");
}

#[test]
fn a_stale_read_is_found() {
    let mut story = story();
    let offered = last_answer(&mut story, OFFER).states.clone();
    last_answer(&mut story, STATE).states = offered;
    story.fails("no place for it");
}

#[test]
fn a_read_of_what_was_not_asked_for_yet_is_found() {
    let mut story = story();
    let read = &mut story.operations[STATE].attempts[0];
    read.sent = 21;
    read.answer.as_mut().unwrap().0 = 22;
    story.fails("no place for it");
}

#[test]
fn a_state_that_the_log_never_had_is_found() {
    let mut story = story();
    last_answer(&mut story, STATE).states[0].owner = Some("a".into());
    story.fails("the log never had it so");
}

#[test]
fn one_version_shown_in_two_ways_is_found() {
    let mut story = story();
    last_answer(&mut story, STATE).states[0].whole.as_mut().unwrap().digest = 77;
    story.fails("was shown otherwise");
}

#[test]
fn a_request_decided_twice_is_found() {
    let mut story = story();
    story.decided(OFFER, &[("control.offered", "open", Some("b"), Some("a"))]);
    story.fails("decided twice");
}

#[test]
fn a_command_id_that_decides_twice_is_found() {
    let mut story = story();
    let again = story.asks("integration", "b", "accept", json!({}));
    story.operations[again].id = Some("k".into());
    story.decided(again, &ACCEPTED);
    story.fails("command id decided twice");
}

#[test]
fn a_repeat_that_does_not_say_so_is_found() {
    let mut story = story();
    let unchanged = Said { outcome: Some("unchanged".into()), ..story.shown() };
    *last_answer(&mut story, REPEAT) = unchanged;
    story.fails("no place for it");
}

#[test]
fn a_refusal_that_is_wrong_for_its_state_is_found() {
    let mut story = story();
    let refused = story.refused("not_in_control", json!({"owner": "b"}));
    story.hears("b", "release", refused);
    story.fails("no place for it");
}

#[test]
fn a_decision_that_the_contract_does_not_allow_is_found() {
    let mut story = story();
    let taken = story.asks("integration", "a", "take", json!({}));
    story.decided(taken, &[("control.passed", "open", Some("a"), None)]);
    story.fails("not_allowed");
}

#[test]
fn a_command_before_what_was_taken_from_an_integration_is_found() {
    let mut story = Story::default();
    story.switched(true);
    let started = [("conversation.started", "open", None, None), ("control.assigned", "open", Some("a"), None)];
    story.does("web", "start", json!({}), &started);
    story.does("a", "offer", json!({"to": "c"}), &[("control.offered", "open", Some("a"), Some("c"))]);
    story.switched(false);
    story.switched(true);
    let mut too_soon = story.clone();
    too_soon.does("c", "accept", json!({}), &[("control.accepted", "open", Some("c"), None)]);
    too_soon.fails("had to be decided before");
    let withdrawn = ("control.offer_withdrawn", "open", Some("a"), None);
    story.removed(&withdrawn);
    story.hears("c", "accept", story.refused("not_offered", Value::Null));
    check(&story.operations, &story.log).unwrap();
    story.removed(&withdrawn);
    story.fails("nothing of that kind falls due");
}

#[test]
fn a_decision_that_nobody_asked_for_is_found() {
    let mut story = story();
    story.log[1].actor = Some("o77".into());
    story.fails("nobody asked for this");
}

#[test]
fn a_decision_before_its_request_is_found() {
    let mut story = story();
    let released = story.asks("integration", "b", "release", json!({}));
    story.decided(released, &RELEASED);
    story.answered(released, story.applied());
    // Somebody saw it before.
    let early = Attempt { sent: story.now - 15, answer: Some((story.now - 14, story.shown())) };
    story.operations[STATE].attempts = vec![early];
    story.operations[released].attempts[0].sent = story.now - 12;
    story.fails("no place for it");
}

#[test]
fn one_clients_commands_decided_in_another_order_than_sent_are_found() {
    let mut story = story();
    for to in ["b", "a"] {
        story.asks("operator", "olga", "pass", json!({"to": to}));
    }
    let (first, second) = (story.operations.len() - 2, story.operations.len() - 1);
    story.decided(second, &[("control.passed", "open", Some("a"), None)]);
    story.decided(first, &[("control.passed", "open", Some("b"), None)]);
    check(&story.operations, &story.log).unwrap();
    story.operations[second].client = story.operations[first].client;
    story.fails("no place for it");
    // Callers take turns, also on one connection.
    let operator = std::mem::replace(&mut story.operations[second].name, "otto".into());
    story.log[3].name = Some("otto".into());
    check(&story.operations, &story.log).unwrap_or_else(|what| panic!("{operator} and another: {what}"));
}

#[test]
fn a_page_that_lacks_an_event_below_the_head_that_it_names_is_found() {
    let mut story = story();
    last_answer(&mut story, HISTORY).page.as_mut().unwrap().events.pop();
    story.fails("expected [");
}

fn heard(story: &Story) -> Heard {
    let events = story.log.iter().flat_map(Decision::numbered).map(|(seq, event)| (seq, event.digest)).collect();
    let relayed = |epoch, owner: &str| Relayed { conversation: ID.into(), epoch, owner: Some(owner.into()) };
    Heard { events, relays: vec![relayed(1, "a"), relayed(2, "b")], ..Heard::default() }
}

#[test]
fn what_was_published_is_held_against_the_log() {
    let story = story();
    let whole = heard(&story);
    let calm = Breaks { connections: 1, outages: 0 };
    let rough = Breaks { connections: 2, outages: 1 };
    let is_taken = |heard: &Heard, breaks| wire::check(heard, &story.log, breaks);
    assert_eq!(is_taken(&whole, calm), Ok((0, 0)));
    let mut again = whole.clone();
    again.events.extend_from_slice(&whole.events[2..]);
    assert_eq!(is_taken(&again, calm), Ok((0, 2)));
    let mut hole = whole.clone();
    hole.events.remove(1);
    assert_eq!(is_taken(&hole, rough), Ok((1, 0)));
    let mut altered = whole.clone();
    altered.events[1].1 += 1;
    let mut swapped = again.clone();
    swapped.events.swap(0, 1);
    let mut to_another = whole.clone();
    to_another.relays[1].owner = Some("a".into());
    for wrong in [hole, altered, swapped, to_another] {
        is_taken(&wrong, calm).expect_err("it does not fit");
    }
}
