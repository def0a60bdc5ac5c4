//! Commands that come to something else, and what is certain of the end.

use super::*;
use crate::say::{HOUR, MINUTE};

/// The end user ends while the desk holds control, and the desk releases two minutes later.
fn ended_at_the_desk(live: &mut Live) {
    start(live, "c-1");
    pass(live, "bot", "c-1", "desk");
    live.go_by(HOUR);
    end(live, "c-1");
    live.go_by(2 * MINUTE);
    release(live, "desk", "c-1");
}

#[test]
fn an_end_that_comes_with_the_first_difference_is_certain() {
    let session = one(&shop(), &shop_with("/integration/1/on_end", json!("release")), ended_at_the_desk);
    assert_eq!((&session["way"], &session["uncertain"]), (&json!("ended_by_another"), &json!(false)));
    assert_eq!((&session["ended"]["by"]["name"], &session["would_end"]["by"]["name"]), (&json!("desk"), &json!("web")));
    assert_eq!((seconds(&session["ended"]["at"]), seconds(&session["would_end"]["at"])), (3720.0, 3600.0));
    assert_eq!(session["first"]["why"], "on_end is release, was hold");
    assert_eq!(names(&session["first"]["happened"]), ["conversation.end_requested"]);
    assert_eq!(
        names(&session["first"]["instead"]),
        ["conversation.end_requested", "control.released", "conversation.closed"]
    );
}

#[test]
fn an_end_that_comes_later_is_uncertain() {
    let session = one(&shop(), &shop_with("/integration/1/on_end", json!({"pass": "survey"})), |live| {
        ended_at_the_desk(live);
        live.go_by(HOUR);
        start(live, "c-2");
    });
    assert_eq!((&session["way"], &session["first"]["uncertain"]), (&json!("ended_by_another"), &Value::Null));
    assert_eq!(session["would_end"]["by"], json!({"role": "timer"}), "the survey's release is not in the log");
    assert_eq!(seconds(&session["would_end"]["at"]), 3600.0 + 600.0, "at the latest by the deadline");
    assert_eq!(session["uncertain"], true);
    assert_eq!(session["first"]["why"], "on_end is pass to survey, was hold");
}

#[test]
fn a_command_that_would_be_refused_is_certain() {
    let session = one(&shop(), &shop_with("/settings/end_user_can_end", json!(false)), ended_at_the_desk);
    assert_eq!((&session["way"], &session["would_end"]), (&json!("not_ended"), &Value::Null));
    assert_eq!(
        (&session["first"]["refused"], &session["first"]["uncertain"]),
        (&json!("end_not_allowed"), &Value::Null)
    );
    assert_eq!(session["uncertain"], true, "the desk's release left it open, and nobody knows what came then");
}

#[test]
fn an_integration_that_is_not_there_is_refused() {
    let mut other = shop();
    other["integration"].as_array_mut().unwrap().retain(|integration| integration["name"] != "survey");
    other["integration"][1].as_object_mut().unwrap().remove("next");
    let session = one(&shop(), &other, |live| {
        start(live, "c-1");
        pass(live, "bot", "c-1", "desk");
        pass(live, "desk", "c-1", "survey");
        finish(live, "survey", "c-1");
    });
    let first = &session["first"];
    assert_eq!((&first["refused"], &first["uncertain"]), (&json!("invalid_target"), &Value::Null), "{session:#}");
    assert_eq!(session["way"], "not_ended", "the survey's end would be refused as well");
}

#[test]
fn next_and_the_default_are_those_of_the_other_configuration() {
    let play = |live: &mut Live| {
        start(live, "c-1");
        pass(live, "bot", "c-1", "next");
    };
    let session = one(&shop(), &shop_with("/integration/0/next", json!("survey")), play);
    assert_eq!(session["first"]["why"], "next is survey, was desk");
    assert_eq!(session["first"]["instead"][0]["to"], "survey");
    assert_eq!(session["way"], "other_owner");
    let session = one(&shop(), &shop_with("/settings/default_integration", json!("survey")), play);
    assert_eq!(session["first"]["why"], "default_integration is survey, was bot");
    assert_eq!(session["first"]["seq"], 6);
}

#[test]
fn a_note_is_taken_for_a_message_and_uncertain() {
    let mut nobody = shop();
    nobody["settings"].as_object_mut().unwrap().remove("default_integration");
    let session = one(&nobody, &shop(), |live| {
        done(live.wire("channel.web.start.c-1", &json!({"owner": "desk"})));
        release(live, "desk", "c-1");
        live.go_by(20 * MINUTE);
        message(live, "c-1");
    });
    let first = &session["first"];
    assert_eq!(names(&first["instead"]), ["control.assigned"]);
    assert_eq!((&first["seq"], seconds(&first["at"])), (&json!(8), 1200.0));
    assert_eq!(first["uncertain"], "the log notes that somebody was there, not whether by a message");
}

#[test]
fn what_was_refused_is_not_in_the_log() {
    let strict = shop_with("/settings/end_user_can_end", json!(false));
    let sessions = would(&strict, &shop(), |live| {
        start(live, "c-1");
        let answer = live.wire("channel.web.end.c-1", &json!({}));
        assert_eq!(answer["error"]["code"], "end_not_allowed");
    });
    assert_eq!(sessions, Vec::<Value>::new());
}

#[test]
fn the_other_configuration_stands_from_the_beginning_and_nothing_is_removed_from_it() {
    let mut without = shop();
    without["integration"].as_array_mut().unwrap().remove(0);
    without["settings"]["default_integration"] = json!("survey");
    let play = |live: &mut Live| {
        start(live, "c-1");
        live.go_by(MINUTE);
        live.put(&without);
        assert_eq!(live.state("c-1")["owner"], Value::Null);
        start(live, "c-2");
    };
    let sessions = would(&shop(), &shop(), play);
    let told: Vec<_> =
        sessions.iter().map(|s| (s["conversation"].as_str().unwrap(), s["way"].as_str().unwrap())).collect();
    assert_eq!(told, [("c-1", "other_owner"), ("c-2", "other_owner")]);
    assert_eq!(sessions[0]["first"]["why"], "no integration would have been removed");
    assert_eq!(sessions[0]["first"]["uncertain"], Value::Null);
    assert_eq!(sessions[1]["first"]["why"], "default_integration is bot, was survey");
}

#[test]
fn a_session_may_end_the_same_on_another_way() {
    let session = one(&shop(), &shop_with("/integration/1/can_take", json!(false)), |live| {
        start(live, "c-1");
        done(live.wire("integration.desk.take.c-1", &json!({})));
        pass(live, "desk", "c-1", "bot");
        finish(live, "bot", "c-1");
    });
    assert_eq!((&session["way"], &session["first"]["refused"]), (&json!("other_owner"), &json!("not_allowed")));
    assert_eq!(session["ended"], session["would_end"]);
}
