//! How a comparison reads, for people and for programs, and where the log is damaged.

use super::*;
use crate::say::{HOUR, MINUTE};

fn told(place: &Place, other: &Value, screen: Screen) -> (String, Result<(), Failure>) {
    let mut out = Vec::new();
    let outcome = what_if(&options(place, other, TextOrJson::Text), &mut out, screen);
    (String::from_utf8(out).unwrap(), outcome)
}

fn two_sessions() -> Place {
    log_of(&shop(), |live| {
        start(live, "c-1");
        live.go_by(2 * HOUR);
        start(live, "a-longer-name");
        pass(live, "bot", "a-longer-name", "desk");
        live.go_by(MINUTE);
        end(live, "a-longer-name");
        release(live, "desk", "a-longer-name");
    })
}

fn other() -> Value {
    changed(shop_with("/settings/inactivity_timeout", json!("15m")), "/integration/1/on_end", json!({"pass": "survey"}))
}

#[test]
fn people_read_a_table_that_lines_up_and_why() {
    let (text, outcome) = told(&two_sessions(), &other(), Screen::unbounded());
    let expected = "\
conversation   would have     ended                                                  would have ended
c-1            ended earlier  2027-01-15 09:00:00 by inactivity                      08:15:00 by inactivity
    after 7  at 08:15:00: nothing
    instead  the end is due, nothing came for too long; closed after 15m
    because  inactivity_timeout is 15m while bot holds control, was 1h
a-longer-name  not ended      2027-01-15 10:01:00 by desk, after the end user's end  perhaps still open, deadline 10:11:00
    seq 14   at 10:01:00: the end user asked for the end, the owner is to release, until 10:11:00
    instead  the end user asked for the end, until 10:11:00; desk passed to survey, as set for the end
    because  on_end is pass to survey, was hold

sessions    2
last entry  2027-01-15 10:01:00.000
the same    0
otherwise   2, 1 of them uncertain
            1 ended earlier
            1 not ended
perhaps     rests on messages or commands that the log does not hold, or that nobody sent
not seen    what was refused then, and would be allowed: the log does not hold it
";
    assert_eq!(text, expected);
    assert_eq!(outcome.unwrap_err().exit_code(), 2);
}

#[test]
fn nothing_otherwise_is_told_in_few_lines() {
    let (text, outcome) = told(&two_sessions(), &shop(), Screen::unbounded());
    assert!(outcome.is_ok());
    assert_eq!(text.lines().next(), Some("sessions    2"), "{text}");
    assert!(text.contains("otherwise   0\n") && !text.contains("perhaps"), "{text}");
}

#[test]
fn lines_fit_the_screen_and_colours_stay_on_it() {
    let (text, _) = told(&two_sessions(), &other(), Screen::of_columns(60, false));
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    for end in ["ended             2027-01-15 09:00:00 by inactivity\n", "would have ended  08:15:00 by inactivity\n"] {
        assert!(text.contains(end), "no end is cut off: {text}");
    }
    let (text, _) = told(&two_sessions(), &other(), Screen::of_columns(100, true));
    assert!(text.contains("\u{1b}["));
    let (text, _) = told(&two_sessions(), &other(), Screen::unbounded());
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn up_to_a_fault_everything_is_told() {
    let place = two_sessions();
    let last = place.frames();
    place.tamper(last, |mut bytes| {
        bytes[50] ^= 1;
        Some(bytes)
    });
    let (text, outcome) = told(&place, &other(), Screen::unbounded());
    let failure = outcome.unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    assert!(failure.to_string().contains(&format!("frame {last}, seq ")), "{failure}");
    assert!(text.contains("c-1 ") && text.contains("compared up to  the fault told below"), "{text}");
    let mut out = Vec::new();
    let outcome = what_if(&options(&place, &other(), TextOrJson::Json), &mut out, Screen::unbounded());
    assert!(matches!(outcome, Err(Failure::Found(_))));
    let document: Value = serde_json::from_slice(&out).unwrap();
    assert!(document["fault"].as_str().unwrap().contains(&format!("frame {last}")), "{document}");
}

#[test]
fn the_words_of_callers_are_left_out() {
    let place = log_of(&shop(), |live| {
        let body = json!({"user": "u-secret", "metadata": {"name": "Maria Lind"}});
        done(live.wire("channel.web.start.c-1", &body));
        live.go_by(MINUTE);
        done(live.wire("integration.bot.pass.c-1", &json!({"to": "next", "reason": "she is angry"})));
    });
    let other = shop_with("/integration/0/next", json!("survey"));
    let text = compared(&place, &other).to_string() + &told(&place, &other, Screen::unbounded()).0;
    for secret in ["u-secret", "Maria", "angry"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
