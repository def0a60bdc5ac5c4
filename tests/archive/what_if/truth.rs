//! What is said to be certain comes true: the same commands are played under both configurations.

use std::collections::BTreeMap;

use super::same::{Dice, wander, wide_shop};
use super::*;

const STEPS: usize = 400;

/// How each conversation of the web first ended in a log; none where it is open.
fn ends(place: &Place) -> BTreeMap<String, Option<Value>> {
    let mut ends = BTreeMap::new();
    for entry in place.entries() {
        let line: Value = serde_json::from_slice(&entry.line).unwrap();
        if line["channel"] != "web" {
            continue;
        }
        let end: &mut Option<Value> = ends.entry(line["conversation"].as_str().unwrap().to_owned()).or_default();
        let events = line["events"].as_array().into_iter().flatten();
        for event in events.filter(|event| event["type"] == "switchboard.conversation.closed") {
            let told = json!({ "at": line["at"], "by": event["data"]["by"], "cause": event["data"]["cause"] });
            end.get_or_insert(told);
        }
    }
    ends
}

/// Holds what is told of a log against what came of the same commands; how many certain ends there were to hold.
fn hold_to_truth(seed: u64, place: &Place, other: &Value) -> usize {
    let truth = ends(&log_of(other, |live| wander(live, &mut Dice(seed), STEPS, false)));
    let document = compared(place, other);
    let last_at = document["summary"]["last_at"].as_str().unwrap();
    let truth_of = |id: &str| {
        let end = truth.get(id).cloned().flatten();
        end.filter(|end| end["at"].as_str() <= Some(last_at)).unwrap_or(Value::Null)
    };
    let mut told = BTreeMap::new();
    for session in document["sessions"].as_array().unwrap().iter().filter(|session| session["channel"] == "web") {
        told.insert(session["conversation"].as_str().unwrap(), session);
    }
    let mut certain = 0;
    for (id, end) in ends(place) {
        match told.get(id.as_str()) {
            None => assert_eq!(end.unwrap_or(Value::Null), truth_of(&id), "seed {seed}, {id} under {other}"),
            Some(session) if session["uncertain"] == false && session["first"]["latest"].is_null() => {
                assert_eq!(session["would_end"], truth_of(&id), "seed {seed}, {id} under {other}: {session:#}");
                certain += 1;
            }
            Some(session) if session["uncertain"] == false => {
                let (earliest, latest) = (&session["would_end"]["at"], &session["first"]["latest"]);
                let at = truth_of(&id)["at"].clone();
                assert!(earliest.as_str() <= at.as_str() && at.as_str() <= latest.as_str(), "{at} in {session:#}");
            }
            Some(_) => {}
        }
    }
    certain
}

#[test]
fn what_is_certain_comes_true() {
    let others = [
        ("/settings/inactivity_timeout", json!("10m")),
        ("/settings/inactivity_timeout", json!("2h")),
        ("/settings/release_deadline", json!("1m")),
        ("/integration/1/on_end", json!("release")),
        ("/integration/1/inactivity_timeout", json!("20m")),
        ("/settings/end_user_can_end", json!(false)),
    ];
    let mut certain = [0; 6];
    for seed in 1..=2 {
        let place = log_of(&wide_shop(), |live| wander(live, &mut Dice(seed), STEPS, false));
        for ((path, value), certain) in others.iter().zip(&mut certain) {
            *certain += hold_to_truth(seed, &place, &changed(wide_shop(), path, value.clone()));
        }
    }
    assert!([0, 2, 3].iter().all(|other| certain[*other] > 0), "too little to hold: {certain:?}");
}
