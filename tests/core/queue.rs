//! The queue: served in turn by caller, in order within one, and nobody takes all of it.

use std::sync::atomic::Ordering;

use switchboard::domain::Text;
use switchboard::switchboard::port::{Ask, Moment, PastAsk};

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

/// A burst of one caller, each of a conversation of its own.
fn burst(site: &mut Site, caller: &str, round: usize, requests: usize) {
    for n in 0..requests {
        site.send(start(&format!("{caller}-{round}-{n}")).by(channel(caller)));
    }
}

/// How many requests still wait after one step.
fn waiting_after_a_step(site: &mut Site) -> u64 {
    site.step();
    site.gauges.queued.load(Ordering::Relaxed)
}

/// Effects decided ahead while somebody asks little; a start leaves an event and an answer.
const STARTS_AHEAD: u64 = 32 / 2;

#[test]
fn beside_one_who_asks_little_little_is_decided_ahead_of_what_has_left() {
    let mut site = Site::new(&usual());
    burst(&mut site, "flood", 0, 3000);
    site.run();
    site.ask(start("calm-0").by(channel("calm")));
    burst(&mut site, "flood", 1, 3000);
    assert_eq!(waiting_after_a_step(&mut site), 3000 - STARTS_AHEAD);
    assert!(site.take());
    let calm = site.send(start("calm-1").by(channel("calm")));
    assert_eq!(waiting_after_a_step(&mut site), 3001 - STARTS_AHEAD, "what is ahead is not written yet");
    assert!(!site.take() && site.write() && site.hear());
    assert_eq!(waiting_after_a_step(&mut site), 3001 - STARTS_AHEAD, "what is ahead is written and has not left yet");
    assert!(!site.core.has_work(), "it waits to be told");
    assert!(!site.take() && site.hear_of_gone());
    assert_eq!(waiting_after_a_step(&mut site), 3001 - 2 * STARTS_AHEAD);
    assert!(site.take() && site.write());
    assert_eq!(site.answer(&calm).unwrap()["outcome"], "applied", "it goes in the next group");
    site.run();
    assert_eq!(site.core.conversations().count(), 6002);
}

#[test]
fn on_a_slow_disk_more_is_decided_ahead() {
    let mut site = Site::new(&usual());
    burst(&mut site, "flood", 0, 3000);
    site.run();
    site.writes_take_ms = 5;
    site.ask(start("calm-0").by(channel("calm")));
    burst(&mut site, "flood", 1, 1000);
    assert_eq!(waiting_after_a_step(&mut site), 1000 - STARTS_AHEAD, "one write that took long is chance");
    site.run();
    burst(&mut site, "flood", 2, 1000);
    assert_eq!(waiting_after_a_step(&mut site), 1000 - 9 * STARTS_AHEAD);
}

#[test]
fn groups_are_small_for_a_second_after_one_that_asks_little_and_for_five_if_it_has_asked_in_the_last_five() {
    let mut site = Site::new(&usual());
    burst(&mut site, "flood", 0, 3000);
    site.run();
    site.ask(start("calm-0").by(channel("calm")));
    site.later(999);
    burst(&mut site, "flood", 1, 1500);
    assert_eq!(waiting_after_a_step(&mut site), 1500 - STARTS_AHEAD);
    site.run();
    site.later(1);
    burst(&mut site, "flood", 2, 1500);
    assert_eq!(waiting_after_a_step(&mut site), 1500 - 1024);
    site.run();
    site.later(3998);
    site.ask(start("calm-1").by(channel("calm")));
    site.later(4999);
    burst(&mut site, "flood", 3, 1500);
    assert_eq!(waiting_after_a_step(&mut site), 1500 - STARTS_AHEAD);
    site.later(1);
    assert_eq!(waiting_after_a_step(&mut site), 1500 - 1024);
}

#[test]
fn a_question_about_the_past_and_a_page_make_nobody_else_wait() {
    let past = |site: &Site| Ask::from(PastAsk::Config { at: Moment::Time(site.now) });
    let page = |_: &Site| Ask::List(Box::default());
    let asks: [fn(&Site) -> Ask; 2] = [past, page];
    for ask in asks {
        let mut site = Site::new(&usual());
        burst(&mut site, "flood", 0, 3000);
        site.run();
        site.hand(anybody(), ask(&site));
        site.run();
        burst(&mut site, "flood", 1, 1500);
        assert_eq!(waiting_after_a_step(&mut site), 1500 - 1024);
    }
}

#[test]
fn callers_who_ask_alike_get_full_groups() {
    let mut site = Site::new(&usual());
    for round in 0..3 {
        burst(&mut site, "one", round, 1500);
        burst(&mut site, "other", round, 300);
        assert_eq!(waiting_after_a_step(&mut site), 1800 - 1024, "in round {round}");
        site.run();
    }
}

#[test]
fn whoever_has_only_begun_asks_little_until_it_has_asked_more() {
    let mut site = Site::new(&usual());
    burst(&mut site, "one", 0, 3000);
    site.run();
    burst(&mut site, "other", 0, 3000 / 32);
    site.run();
    burst(&mut site, "one", 1, 1500);
    assert_eq!(waiting_after_a_step(&mut site), 1500 - STARTS_AHEAD);
    site.run();
    burst(&mut site, "other", 1, 1500);
    site.run();
    burst(&mut site, "one", 2, 1500);
    assert_eq!(waiting_after_a_step(&mut site), 1500 - 1024, "within the same second");
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
