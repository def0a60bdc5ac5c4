//! Bounds on open conversations, which rest on all conversations of a channel.

use super::*;
use crate::say::HOUR;

fn at_most(open: u64) -> Value {
    shop_with("/settings/open_conversations_max", json!(open))
}

#[test]
fn a_conversation_beyond_the_bound_does_not_begin() {
    let session = one(&shop(), &at_most(2), |live| {
        ["c-1", "c-2", "c-3"].iter().for_each(|id| start(live, id));
        finish(live, "bot", "c-1");
        start(live, "c-4");
        finish(live, "bot", "c-3");
    });
    assert_eq!((&session["conversation"], &session["way"]), (&json!("c-3"), &json!("not_begun")));
    assert_eq!((&session["first"]["refused"], &session["uncertain"]), (&json!("limit_reached"), &json!(false)));
}

#[test]
fn where_it_rests_on_conversations_that_went_otherwise_it_is_uncertain() {
    let mut other = at_most(1);
    other["settings"]["inactivity_timeout"] = json!("6h");
    let sessions = would(&shop(), &other, |live| {
        start(live, "c-1");
        live.go_by(2 * HOUR);
        start(live, "c-2");
    });
    let told: Vec<_> =
        sessions.iter().map(|s| (s["conversation"].as_str().unwrap(), s["way"].as_str().unwrap())).collect();
    assert_eq!(told, [("c-1", "not_ended"), ("c-2", "not_begun")]);
    assert!(sessions[1]["first"]["uncertain"].as_str().unwrap().starts_with("it counts conversations"));
}

#[test]
fn what_would_have_ended_by_then_takes_no_room() {
    let mut other = at_most(1);
    other["settings"]["inactivity_timeout"] = json!("15m");
    let sessions = would(&shop(), &other, |live| {
        start(live, "c-1");
        live.go_by(HOUR / 2);
        start(live, "c-2");
    });
    let told: Vec<_> =
        sessions.iter().map(|s| (s["conversation"].as_str().unwrap(), s["way"].as_str().unwrap())).collect();
    assert_eq!(told, [("c-1", "ended_too")]);
}
