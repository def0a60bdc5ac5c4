//! Nothing leaves that does not rest on stable storage, and what leaves goes in order.

use serde_json::json;
use switchboard::domain::Text;
use switchboard::switchboard::port::{Ask, Direction, Moment, PastAsk};

use super::say::*;
use super::site::{Left, Site};
use super::usual;

#[test]
fn an_answer_leaves_only_with_the_group_it_rests_on() {
    let mut site = Site::new(&usual());
    let before = site.head().next_seq;
    let reply = site.send(start("c1"));
    site.step();
    assert_eq!(site.answer(&reply), None, "it is decided");
    assert!(site.take());
    assert_eq!(site.answer(&reply), None, "it is on its way to disk");
    assert_eq!(site.head().next_seq, before, "the log holds the configuration alone");
    assert!(site.write());
    assert_eq!(site.answer(&reply).unwrap()["outcome"], "applied");
}

#[test]
fn questions_refusals_and_what_is_so_already_wait_for_the_group_before_them() {
    let mut site = Site::new(&usual());
    site.send(start("c1"));
    site.step();
    site.take();
    let refused = site.send(release(agents(), "c1"));
    let unchanged = site.send(start("c1"));
    let state = site.hand(anybody(), Ask::State { id: conversation("c1") });
    let list = site.hand(anybody(), Ask::List(Box::new(everything(10))));
    let past =
        site.hand(anybody(), Ask::from(PastAsk::Conversation { id: conversation("c1"), at: Moment::Time(site.now) }));
    let replies: Vec<Text> = vec![refused, unchanged, state, list, past];
    site.step();
    site.take();
    assert!(!site.read(), "a question about the past is not read before the log holds what was decided");
    for reply in &replies {
        assert_eq!(site.answer(reply), None);
    }
    site.write();
    for reply in &replies {
        assert_eq!(site.answer(reply), None, "the group before is written, the one that they left with is not");
    }
    site.run();
    let answers: Vec<_> = replies.iter().map(|reply| site.answer(reply).expect("an answer")).collect();
    assert_eq!(answers[0]["error"]["code"], "not_in_control");
    assert_eq!(answers[1]["outcome"], "unchanged");
    assert_eq!(answers[2]["conversation"]["owner"], "bot");
    assert_eq!(answers[3]["conversations"][0]["id"], "c1");
    assert_eq!(answers[4]["conversation"]["owner"], "bot");
}

#[test]
fn the_next_group_is_decided_on_top_of_one_that_is_on_its_way() {
    let mut site = Site::new(&usual());
    site.send(start("c1"));
    site.step();
    site.take();
    let second = site.send(pass(bot(), "c1", "agents").epoch(1));
    site.step();
    site.take();
    site.write();
    assert_eq!(site.answer(&second), None);
    site.write();
    assert_eq!(site.answer(&second).unwrap()["conversation"]["owner"], "agents");
}

#[test]
fn a_relay_leaves_after_the_events_before_it_and_before_its_answer() {
    let mut site = Site::new(&usual());
    site.left.clear();
    let reply = site.send(message("c1").content("hello"));
    site.run();
    let order: Vec<&str> = site.left.iter().map(kind).collect();
    assert_eq!(order, ["events", "relay", "answer"]);
    assert_eq!(site.answer(&reply).unwrap()["relayed_to"], "bot");
    site.left.clear();
    site.send(pass(bot(), "c1", "agents"));
    site.send(message("c1").content("for the agents"));
    site.run();
    let order: Vec<&str> = site.left.iter().map(kind).collect();
    assert_eq!(order, ["events", "answer", "relay", "answer"]);
}

#[test]
fn a_relay_bears_the_epoch_under_which_it_was_decided() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.left.clear();
    site.send(reply(bot(), "c1").content("before"));
    site.send(pass(bot(), "c1", "agents"));
    site.send(reply(bot(), "c1").content("too late"));
    site.run();
    let epochs: Vec<_> = site
        .left
        .iter()
        .filter_map(|left| match left {
            Left::Relay { data, .. } => Some((data["epoch"].clone(), data["content"]["text"].clone())),
            _ => None,
        })
        .collect();
    assert_eq!(epochs, [(json!(1), json!("before"))]);
    assert_eq!(site.relays(), [(Direction::Sent, "web".to_owned(), None)]);
    let refusals = site.left.iter().filter(|left| matches!(left, Left::Answer { code: Some("not_in_control"), .. }));
    assert_eq!(refusals.count(), 1);
}

#[test]
fn events_leave_in_the_order_of_the_log() {
    let mut site = Site::new(&usual());
    site.left.clear();
    for round in 0..5 {
        for id in ["c1", "c2", "c3"] {
            site.send(if round == 0 { start(id) } else { overrule_pass(id, ["bot", "agents"][round % 2]) });
        }
        site.step();
        site.take();
    }
    site.run();
    let seqs: Vec<u64> = site
        .left
        .iter()
        .filter_map(|left| match left {
            Left::Events { seqs, .. } => Some(seqs.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(seqs.len(), 3 * 2 + 4 * 3);
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
}

#[test]
fn whoever_held_control_or_was_offered_it_is_told_and_standbys_besides() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(offer(bot(), "c1", "survey", None));
    site.left.clear();
    site.ask(pass(bot(), "c1", "agents"));
    let Some(Left::Events { inbox, standby, kinds, .. }) = site.left.first() else { panic!("events come first") };
    assert_eq!(kinds, &["switchboard.control.offer_withdrawn", "switchboard.control.passed"]);
    assert_eq!(inbox, &[name("bot"), name("survey"), name("agents")]);
    assert_eq!(standby, &[name("listener")]);
}

#[test]
fn a_refused_command_is_told_to_those_who_watch_without_its_body() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.left.clear();
    site.ask(release(agents(), "c1").command_id("r1").metadata(json!({"secret": "words"})));
    let Some(Left::Rejection { conversation, body }) = site.left.first() else { panic!("a rejection comes first") };
    assert_eq!(&**conversation, "c1");
    assert_eq!(body["verb"], "release");
    assert_eq!(body["command_id"], "r1");
    assert_eq!(body["error"]["code"], "not_in_control");
    assert_eq!(body["error"]["owner"], "bot");
    assert!(!body.to_string().contains("secret"));
}

#[test]
fn a_group_that_the_disk_loses_was_answered_to_nobody() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let reply = site.send(pass(bot(), "c1", "agents"));
    site.step();
    site.take();
    site.fail_write(0);
    assert_eq!(site.answer(&reply), None);
    let mut site = site.restart(super::site::Cached::AsItIs);
    assert_eq!(site.state("c1")["owner"], "bot");
}

fn kind(left: &Left) -> &'static str {
    match left {
        Left::Events { .. } => "events",
        Left::Relay { .. } => "relay",
        Left::Answer { .. } => "answer",
        Left::Rejection { .. } => "rejection",
    }
}
