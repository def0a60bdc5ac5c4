//! Timers of the other world: when they act, and what the log cannot say of it.

use super::*;
use crate::say::{HOUR, MINUTE, SECOND};

fn quick() -> Value {
    shop_with("/settings/inactivity_timeout", json!("15m"))
}

#[test]
fn a_timer_acts_when_it_is_due_in_the_other_world() {
    let session = one(&shop(), &quick(), |live| {
        start(live, "c-1");
        live.go_by(2 * HOUR);
    });
    assert_eq!((&session["way"], &session["uncertain"]), (&json!("ended_earlier"), &json!(false)), "{session:#}");
    assert_eq!((seconds(&session["ended"]["at"]), seconds(&session["would_end"]["at"])), (3600.0, 900.0));
    assert_eq!(session["would_end"]["by"], json!({"role": "timer"}));
    assert_eq!(session["first"]["seq"], 7, "the last event before it");
    assert_eq!(session["first"]["happened"], json!([]));
    assert_eq!(session["first"]["why"], "inactivity_timeout is 15m while bot holds control, was 1h");
}

#[test]
fn a_timer_acts_before_any_later_command() {
    let session = one(&shop(), &quick(), |live| {
        start(live, "c-1");
        live.go_by(20 * MINUTE);
        pass(live, "bot", "c-1", "desk");
        live.go_by(HOUR);
        end(live, "c-1");
        release(live, "desk", "c-1");
    });
    assert_eq!(session["way"], "ended_by_another");
    assert_eq!((&session["ended"]["by"]["name"], &session["ended"]["cause"]), (&json!("desk"), &json!("end_user")));
    assert_eq!(seconds(&session["would_end"]["at"]), 900.0);
    assert_eq!(session["uncertain"], false, "the pass says that nobody wrote before it");
}

#[test]
fn what_is_open_at_the_end_of_the_log_may_have_ended() {
    let session = one(&shop(), &quick(), |live| {
        start(live, "c-1");
        live.go_by(50 * MINUTE);
        start(live, "c-2");
    });
    assert_eq!((&session["conversation"], &session["way"]), (&json!("c-1"), &json!("ended_too")));
    assert_eq!((&session["ended"], &session["uncertain"]), (&Value::Null, &json!(false)));
    let latest = &session["first"]["latest"];
    assert_eq!(seconds(latest), 15.0 * 60.0 + 359.999, "somebody may have written unnoted, within a tenth of the hour");
}

#[test]
fn a_message_that_was_not_noted_may_have_put_a_timer_off() {
    let play = |minutes: u64| {
        move |live: &mut Live| {
            start(live, "c-1");
            live.go_by(5 * MINUTE);
            message(live, "c-1");
            live.go_by((minutes - 5) * MINUTE);
            message(live, "c-1");
            live.go_by(10 * SECOND);
            finish(live, "bot", "c-1");
        }
    };
    let session = one(&shop(), &quick(), play(17));
    assert_eq!(session["first"]["uncertain"], "messages that were not noted in the log may have put it off");
    assert_eq!(session["uncertain"], true);
    let session = one(&shop(), &quick(), play(30));
    assert_eq!(session["uncertain"], false, "no unnoted message could have put it off for so long: {session:#}");
}

#[test]
fn what_a_decision_says_of_the_last_activity_is_believed() {
    let sessions = would(&shop(), &quick(), |live| {
        start(live, "c-1");
        live.go_by(5 * MINUTE);
        message(live, "c-1");
        live.go_by(12 * MINUTE);
        pass(live, "bot", "c-1", "survey");
        live.go_by(10 * MINUTE);
        finish(live, "survey", "c-1");
    });
    assert_eq!(sessions, Vec::<Value>::new(), "the message of minute 5 was not noted, and the pass tells of it");
}

#[test]
fn a_timer_that_would_not_have_acted_yet_is_certain_and_what_came_of_it_is_not() {
    let session = one(&shop(), &shop_with("/settings/inactivity_timeout", json!("90m")), |live| {
        start(live, "c-1");
        live.go_by(3 * HOUR);
        start(live, "c-2");
    });
    assert_eq!((&session["way"], &session["first"]["uncertain"]), (&json!("ended_later"), &Value::Null));
    assert_eq!(names(&session["first"]["happened"]).len(), 3);
    assert_eq!(session["first"]["instead"], json!([]));
    assert_eq!(seconds(&session["would_end"]["at"]), 5400.0);
    assert_eq!(session["uncertain"], true, "messages after the recorded end were refused");
}

#[test]
fn what_both_have_due_comes_as_late_as_it_was_recorded() {
    let late = |live: &mut Live| {
        start(live, "c-1");
        live.later(5 * HOUR);
    };
    assert_eq!(would(&shop(), &shop(), late), Vec::<Value>::new());
    let longer = shop_with("/settings/inactivity_timeout", json!("2h"));
    assert_eq!(would(&shop(), &longer, late), Vec::<Value>::new(), "due by then as well");
    let session = one(&shop(), &quick(), late);
    assert_eq!(session["way"], "ended_earlier");
    assert_eq!(session["first"]["uncertain"], "the recorded timer was held up, by an outage or a restart");
}

#[test]
fn a_shorter_deadline_ends_a_session_that_waits() {
    let play = |live: &mut Live| {
        start(live, "c-1");
        pass(live, "bot", "c-1", "desk");
        end(live, "c-1");
        live.go_by(8 * MINUTE);
        release(live, "desk", "c-1");
    };
    let session = one(&shop(), &shop_with("/settings/release_deadline", json!("5m")), play);
    assert_eq!((&session["way"], &session["uncertain"]), (&json!("ended_by_another"), &json!(false)));
    assert_eq!(seconds(&session["would_end"]["at"]), 300.0);
    assert_eq!(session["first"]["why"], "release_deadline is 5m, was 10m");
    let sessions = would(&shop(), &shop_with("/settings/release_deadline", json!("9m")), play);
    assert_eq!(sessions, Vec::<Value>::new(), "a deadline that was not reached makes no difference");
}

#[test]
fn activity_that_was_noted_seldom_before_a_change_of_the_configuration_counts() {
    let session = one(&shop_with("/settings/inactivity_timeout", json!("10h")), &quick(), |live| {
        start(live, "c-1");
        live.go_by(5 * MINUTE);
        live.put(&shop_with("/settings/inactivity_timeout", json!("1h")));
        live.go_by(25 * MINUTE);
        message(live, "c-1");
        live.go_by(SECOND);
        finish(live, "bot", "c-1");
    });
    assert_eq!(session["uncertain"], true, "in the first minutes an hour could go by without a note: {session:#}");
}
