//! The queue: served in turn by caller, in order within one, and nobody takes all of it.

use std::sync::atomic::Ordering;

use switchboard::domain::Text;

use super::say::*;
use super::site::{Left, Site, WAITING_MAX};
use super::usual;

fn order(site: &Site, replies: &[(String, Text)]) -> Vec<String> {
    let name_of = |to: &Text| replies.iter().find(|(_, reply)| reply == to).map(|(name, _)| name.clone());
    let answered = |left: &Left| match left {
        Left::Answer { to, .. } => name_of(to),
        _ => None,
    };
    site.left.iter().filter_map(answered).collect()
}

#[test]
fn callers_are_served_in_turn_and_each_in_its_order() {
    let mut site = Site::new(&usual());
    let mut replies = Vec::new();
    for n in 0..4 {
        replies.push((format!("flood {n}"), site.send(start(&format!("f{n}")).by(channel("flood")))));
    }
    for n in 0..2 {
        replies.push((format!("calm {n}"), site.send(start(&format!("c{n}")).by(channel("calm")))));
    }
    site.run();
    assert_eq!(order(&site, &replies), ["flood 0", "calm 0", "flood 1", "calm 1", "flood 2", "flood 3"]);
}

#[test]
fn commands_of_one_caller_are_decided_in_order_whatever_their_verbs() {
    let mut site = Site::new(&usual());
    let first = site.send(start("c1"));
    let second = site.send(message("c1").content("hello"));
    let third = site.send(end("c1"));
    let fourth = site.send(message("c1"));
    site.run();
    let outcome = |reply: &Text| site.answer(reply).unwrap();
    assert_eq!(outcome(&first)["outcome"], "applied");
    assert_eq!(outcome(&second)["relayed_to"], "bot");
    assert_eq!(outcome(&third)["conversation"]["status"], "closed");
    assert_eq!(outcome(&fourth)["error"]["code"], "conversation_closed");
}

#[test]
fn a_caller_gets_three_quarters_of_what_others_leave_and_nobody_gets_the_last_of_it() {
    let mut site = Site::new(&usual());
    let mut sent = Vec::new();
    let mut left = WAITING_MAX;
    for caller in ["flood", "second", "third"] {
        let share = left * 3 / 4;
        let requests: Vec<Text> =
            (0..left).map(|n| site.send(start(&format!("{caller}{n}")).by(channel(caller)))).collect();
        sent.push((requests, share));
        left -= share;
    }
    let late = site.send(message("c3").by(channel("late")));
    site.run();
    let is_busy = |reply: &Text| site.answer(reply).unwrap()["error"]["code"] == "busy";
    for (requests, share) in &sent {
        assert!(!requests[..*share].iter().any(is_busy), "its share of {share}");
        assert!(requests[*share..].iter().all(is_busy), "beyond its share of {share}");
    }
    assert!(!is_busy(&late));
    assert!(!site.left.iter().any(|left| matches!(left, Left::Rejection { .. })), "busy is counted only");
}

#[test]
fn a_calm_caller_is_served_second_however_much_a_flood_has_waiting() {
    let mut site = Site::new(&usual());
    let mut replies = Vec::new();
    for n in 0..WAITING_MAX {
        replies.push(("flood".to_owned(), site.send(start(&format!("f{n}")).by(channel("flood")))));
    }
    site.step();
    // One group is full of the flood, and another waits: the calm come into the next, and go first in it.
    for n in 0..10 {
        replies.push((format!("calm {n}"), site.send(start(&format!("c{n}")).by(channel("calm")))));
    }
    site.run();
    let served = order(&site, &replies);
    let first = served.iter().position(|name| name == "calm 0").unwrap();
    let last = served.iter().position(|name| name == "calm 9").unwrap();
    let refused = WAITING_MAX / 4;
    assert_eq!(first, refused + 1024 + 1, "it comes behind one group and one request");
    assert_eq!(last - first, 18, "every second place is the calm caller's");
}

#[test]
fn what_waits_longer_than_a_group_has_room_is_decided_in_the_next() {
    let mut site = Site::new(&usual());
    for n in 0..1500 {
        site.send(start(&format!("c{n}")));
    }
    site.step();
    assert!(site.core.has_work() || site.gauges.queued.load(Ordering::Relaxed) > 0);
    assert_eq!(site.gauges.queued.load(Ordering::Relaxed), 1500 - 1024);
    site.run();
    assert_eq!(site.core.conversations().count(), 1500);
    assert_eq!(site.gauges.open.load(Ordering::Relaxed), 1500);
}

#[test]
fn a_service_that_stops_takes_nothing_more_and_answers_what_it_took() {
    let mut site = Site::new(&usual());
    let taken = site.send(start("c1"));
    site.core.stop();
    let late = site.send(start("c2"));
    site.run();
    assert_eq!(site.answer(&taken).unwrap()["outcome"], "applied");
    assert_eq!(site.answer(&late).unwrap()["error"]["code"], "busy");
    assert!(site.core.is_idle());
}
