//! Under the configuration that stood nothing goes otherwise, whatever happened.

use super::*;
use crate::fixture::file;
use crate::place::imported;
use crate::say::{HOUR, MINUTE, SECOND};

/// A small generator of numbers, the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// Random commands; with outages where it may be late.
pub fn wander(live: &mut Live, dice: &mut Dice, steps: usize, is_late: bool) {
    for step in 0..steps {
        let (channel, id) =
            [("web", "c-1"), ("web", "c-2"), ("web", "c-3"), ("thread", "t-1"), ("back", "b-1")][dice.below(5)];
        // Those that are closed for good make room for others now and then.
        let id = if channel == "web" { format!("{id}-{}", step / 60) } else { id.to_owned() };
        let who = dice.of(&["bot", "desk", "survey"]);
        let to = dice.of(&["bot", "desk", "survey", "next"]);
        let (subject, body) = match dice.below(18) {
            0 | 1 => (format!("channel.{channel}.start.{id}"), json!({})),
            2..=4 => (format!("channel.{channel}.message.{id}"), json!({})),
            5 | 6 => (format!("channel.{channel}.end.{id}"), json!({})),
            7 | 8 => (format!("integration.{who}.pass.{id}"), json!({ "to": to })),
            9 => (format!("integration.{who}.offer.{id}"), json!({ "to": to, "expires_in": "5m" })),
            10 => (format!("integration.{who}.accept.{id}"), json!({})),
            11..=13 => (format!("integration.desk.take.{id}"), json!({})),
            14 => (format!("integration.{who}.release.{id}"), json!({})),
            15 if dice.below(3) == 0 => (format!("integration.{who}.end.{id}"), json!({})),
            15 | 16 => (format!("operator.olga.pass.{id}"), json!({ "to": dice.of(&["bot", "desk"]) })),
            _ => (format!("operator.olga.release.{id}"), json!({})),
        };
        live.wire(&subject, &body);
        match dice.below(12) {
            0 if is_late => live.later(dice.below(3) as u64 * HOUR),
            1 => live.go_by(dice.below(90) as u64 * MINUTE),
            _ => live.go_by(dice.below(90) as u64 * SECOND),
        };
    }
}

pub fn wide_shop() -> Value {
    let mut config = shop();
    let back = json!({"name": "back", "multi_conversations": false, "end_user_can_end": false, "reopen": true});
    config["channel"].as_array_mut().unwrap().push(back);
    config
}

#[test]
fn whatever_happens_it_happens_again() {
    for seed in 1..=8 {
        let place = log_of(&wide_shop(), |live| wander(live, &mut Dice(seed), 400, true));
        let document = compared(&place, &wide_shop());
        assert_eq!(document["sessions"], json!([]), "seed {seed}");
        assert!(document["summary"]["sessions"].as_u64() > Some(20), "{}", document["summary"]);
    }
}

#[test]
fn whatever_happens_it_happens_again_after_restarts() {
    for seed in 1..=4 {
        let place = Place::empty();
        let mut dice = Dice(seed);
        let mut begin = BEGIN;
        for _ in 0..6 {
            let mut live = Live::open(&place.path, begin);
            live.put(&wide_shop());
            wander(&mut live, &mut dice, 60, true);
            begin = live.now().plus_ms(dice.below(200) as u64 * MINUTE);
            live.stop();
        }
        let document = compared(&place, &wide_shop());
        assert_eq!(document["sessions"], json!([]), "seed {seed}");
    }
}

/// What a configuration makes of a log must add up, whatever the log.
#[test]
fn every_session_is_counted_once() {
    let others = [
        changed(wide_shop(), "/settings/inactivity_timeout", json!("10m")),
        changed(wide_shop(), "/settings/inactivity_timeout", json!("never")),
        changed(wide_shop(), "/integration/0/next", json!("survey")),
        changed(wide_shop(), "/channel/1/reopen", json!(false)),
        changed(wide_shop(), "/settings/open_conversations_max", json!(2)),
    ];
    for seed in 1..=3 {
        let place = log_of(&wide_shop(), |live| wander(live, &mut Dice(seed), 400, true));
        let sessions = compared(&place, &wide_shop())["summary"]["sessions"].clone();
        for other in &others {
            let document = compared(&place, other);
            let summary = &document["summary"];
            let told = document["sessions"].as_array().unwrap().len() as u64;
            assert_eq!(summary["sessions"], sessions);
            assert_eq!(summary["otherwise"], told);
            assert_eq!(summary["same"].as_u64(), sessions.as_u64().map(|sessions| sessions - told));
            assert_eq!(summary["ways"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>(), told);
        }
    }
}

#[test]
fn a_log_of_version_1_is_compared() {
    let place = imported(&std::fs::read_to_string(file("v1")).unwrap());
    let document = compared(&place, &crate::story::config());
    assert_eq!(document["summary"]["sessions"], 8, "one of them was reopened: {document:#}");
    let others: Vec<_> = document["sessions"].as_array().unwrap().iter().map(|s| s["conversation"].as_str()).collect();
    assert_eq!(others, [Some("thread-1"), Some("c-3"), Some("gone-1")], "{document:#}");
}
