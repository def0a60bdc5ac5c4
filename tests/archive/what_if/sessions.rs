//! Conversations of several sessions: what is compared with what.

use super::*;
use crate::say::{HOUR, MINUTE};

fn thread(live: &mut Live, verb: &str, id: &str) {
    done(live.wire(&format!("channel.thread.{verb}.{id}"), &json!({})));
}

#[test]
fn after_both_are_closed_the_next_session_is_compared_afresh() {
    let place = log_of(&shop(), |live| {
        thread(live, "message", "t-1");
        live.go_by(3 * HOUR);
        thread(live, "message", "t-1");
        live.go_by(MINUTE);
        finish(live, "bot", "t-1");
        live.go_by(HOUR);
        thread(live, "message", "t-1");
    });
    let document = compared(&place, &shop_with("/channel/0/inactivity_timeout", json!("90m")));
    let sessions = document["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:#?}");
    assert_eq!((&sessions[0]["session"], &sessions[0]["way"]), (&json!(1), &json!("ended_later")));
    let summary = &document["summary"];
    assert_eq!((&summary["sessions"], &summary["same"], &summary["otherwise"]), (&json!(3), &json!(2), &json!(1)));
}

#[test]
fn a_session_does_not_begin_where_the_one_before_would_still_be_open() {
    let sessions = would(&shop(), &shop_with("/channel/0/inactivity_timeout", json!("4h")), |live| {
        thread(live, "message", "t-1");
        live.go_by(2 * HOUR);
        thread(live, "message", "t-1");
        live.go_by(MINUTE);
        finish(live, "bot", "t-1");
    });
    let told: Vec<_> = sessions.iter().map(|s| (s["session"].as_u64().unwrap(), s["way"].as_str().unwrap())).collect();
    assert_eq!(told, [(1, "ended_by_another"), (2, "not_begun")], "{sessions:#?}");
    let second = &sessions[1]["first"];
    assert_eq!(second["why"], "the session before would still be open");
    assert_eq!(second["uncertain"], "it rests on how the session before would have gone on");
    assert_eq!(names(&second["happened"]), ["conversation.started", "control.assigned"]);
}

#[test]
fn a_closed_conversation_starts_over_is_reopened_or_stays_closed() {
    let play = |live: &mut Live| {
        thread(live, "message", "t-1");
        finish(live, "bot", "t-1");
        live.go_by(MINUTE);
        thread(live, "message", "t-1");
        live.go_by(MINUTE);
        finish(live, "bot", "t-1");
    };
    let reopening = shop_with("/channel/0/reopen", json!(true));
    let session = one(&shop(), &reopening, play);
    assert_eq!((&session["session"], &session["way"]), (&json!(2), &json!("other_way")));
    assert_eq!(names(&session["first"]["instead"]), ["conversation.reopened", "control.assigned"]);
    assert_eq!(
        session["first"]["why"],
        "after the close it goes on (reopen on), not: starts over (reopen and multi_conversations off)"
    );
    let staying = shop_with("/channel/0/multi_conversations", json!(true));
    let session = one(&shop(), &staying, play);
    assert_eq!((&session["way"], &session["first"]["refused"]), (&json!("not_begun"), &json!("conversation_closed")));
    assert_eq!(session["uncertain"], false);
    let session = one(&reopening, &staying, play);
    assert_eq!((&session["session"], &session["way"]), (&json!(1), &json!("not_begun")), "reopened no more");
}

#[test]
fn a_session_that_ended_long_ago_is_told_before_the_log_ends() {
    let sessions = would(&shop(), &shop_with("/settings/inactivity_timeout", json!("90m")), |live| {
        start(live, "z-first");
        live.go_by(3 * HOUR);
        start(live, "a-second");
        live.go_by(3 * HOUR);
        start(live, "m-third");
    });
    let told: Vec<_> = sessions.iter().map(|session| session["conversation"].as_str().unwrap()).collect();
    assert_eq!(told, ["z-first", "a-second"], "in the order in which they would have been over");
}
