//! One command id, one decision.

use serde_json::{Value, json};
use switchboard::domain::{By, Role};

use super::say::*;
use super::site::{Cached, Site};
use super::usual;

fn seqs(answer: &Value) -> Vec<u64> {
    answer["events"].as_array().expect("events").iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn started() -> Site {
    let mut site = Site::new(&usual());
    site.ask(start("c1").command_id("begin"));
    site
}

#[test]
fn a_repeat_gets_the_outcome_and_the_events_again_with_the_conversation_as_it_is_now() {
    let mut site = started();
    let first = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
    site.ask(overrule_pass("c1", "survey"));
    site.ask(offer(integration("survey"), "c1", "bot", None));
    let before = site.head();
    let again = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
    assert_eq!(again["replayed"], true);
    assert_eq!(again["outcome"], "applied");
    assert_eq!(again["events"], first["events"]);
    assert_eq!(again["conversation"]["owner"], "survey");
    assert_eq!(site.head(), before, "nothing is recorded");
    assert!(first.get("replayed").is_none());
}

#[test]
fn a_replay_to_whoever_is_not_concerned_now_carries_six_fields() {
    let mut site = started();
    let first = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
    assert!(first["conversation"].get("metadata").is_some(), "what was done now shows all of it");
    let again = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
    let fields: Vec<&str> = again["conversation"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields.len(), 6, "{fields:?}");
}

#[test]
fn another_verb_or_body_under_the_same_id_is_refused() {
    let mut site = started();
    site.ask(pass(bot(), "c1", "agents").command_id("p1"));
    for other in [pass(bot(), "c1", "survey"), release(bot(), "c1"), pass(bot(), "c1", "agents").epoch(1)] {
        let answer = site.ask(other.command_id("p1"));
        assert_eq!(answer["error"]["code"], "command_id_reused");
        assert_eq!(answer["error"]["conversation"]["owner"], "agents");
    }
}

#[test]
fn an_id_belongs_to_one_caller_and_one_conversation() {
    let mut site = started();
    site.ask(start("c2"));
    site.ask(offer(bot(), "c1", "agents", None).command_id("x"));
    let other_caller = site.ask(accept(agents(), "c1").command_id("x"));
    assert_eq!(other_caller["outcome"], "applied");
    let other_conversation = site.ask(offer(bot(), "c2", "survey", None).command_id("x"));
    assert_eq!(other_conversation["outcome"], "applied");
    let operator_of_that_name = By::caller(Role::Operator, name("bot"), None);
    let other_role = site.ask(overrule_release("c2").by(operator_of_that_name).command_id("x"));
    assert!(other_role.get("replayed").is_none());
}

#[test]
fn the_person_behind_a_command_does_not_change_whose_id_it_is() {
    let mut site = started();
    let ann = By { actor: Some("ann".into()), ..bot() };
    site.ask(pass(ann, "c1", "agents").command_id("p1"));
    let again = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
    assert_eq!(again["replayed"], true);
}

#[test]
fn a_repeat_of_what_recorded_nothing_is_decided_afresh() {
    let mut site = started();
    let refused = site.ask(pass(agents(), "c1", "bot").command_id("p1"));
    assert_eq!(refused["error"]["code"], "not_in_control");
    site.ask(overrule_pass("c1", "agents"));
    let again = site.ask(pass(agents(), "c1", "bot").command_id("p1"));
    assert_eq!(again["outcome"], "applied");
    assert!(again.get("replayed").is_none());
    let unchanged = site.ask(start("c1").command_id("s2"));
    assert_eq!(unchanged["outcome"], "unchanged");
    assert_eq!(site.ask(overrule_end("c1").command_id("s2"))["outcome"], "applied");
}

#[test]
fn a_repeat_while_the_first_is_still_on_its_way_waits_with_it() {
    let mut site = started();
    let first = site.send(pass(bot(), "c1", "agents").command_id("p1"));
    let in_the_same_group = site.send(pass(bot(), "c1", "agents").command_id("p1"));
    site.step();
    site.take();
    let in_the_next_group = site.send(pass(bot(), "c1", "agents").command_id("p1"));
    site.step();
    site.take();
    assert!(site.answer(&first).is_none() && site.answer(&in_the_next_group).is_none());
    site.run();
    let first = site.answer(&first).unwrap();
    for reply in [in_the_same_group, in_the_next_group] {
        let again = site.answer(&reply).unwrap();
        assert_eq!((&again["replayed"], &again["events"]), (&json!(true), &first["events"]));
    }
    assert_eq!(site.kinds("c1"), ["conversation.started", "control.assigned", "control.passed"]);
}

#[test]
fn ids_are_remembered_for_a_day_after_the_close_and_no_longer() {
    let mut site = started();
    site.ask(overrule_end("c1").command_id("e1"));
    site.later(DAY - 1);
    assert_eq!(site.ask(overrule_end("c1").command_id("e1"))["replayed"], true);
    assert_eq!(site.ask(start("c1").command_id("begin"))["replayed"], true);
    site.later(1);
    assert_eq!(site.ask(overrule_end("c1").command_id("e1"))["outcome"], "unchanged");
    assert_eq!(site.ask(start("c1").command_id("begin"))["error"]["code"], "conversation_closed");
}

#[test]
fn ids_of_a_session_before_are_remembered_for_a_day_after_its_close() {
    let thread = channel("thread");
    let mut site = Site::new(&usual());
    let first = site.ask(start("c1").by(thread.clone()).command_id("begin"));
    site.ask(overrule_end("c1").command_id("e1"));
    site.later(HOUR);
    assert_eq!(site.ask(start("c1").by(thread.clone()).command_id("again"))["conversation"]["session"], 2);
    let again = site.ask(start("c1").by(thread.clone()).command_id("begin"));
    assert_eq!((&again["replayed"], &again["events"]), (&json!(true), &first["events"]));
    for cached in [Cached::AsItIs, Cached::Nothing] {
        site = site.restart(cached);
        assert_eq!(site.ask(overrule_end("c1").command_id("e1"))["replayed"], true, "{cached:?}");
    }
    site.later(DAY - HOUR);
    assert_eq!(site.ask(start("c1").by(thread).command_id("begin"))["outcome"], "unchanged");
}

#[test]
fn ids_survive_a_restart_from_the_log_and_from_the_cache() {
    for (keeps, cached) in [(true, Cached::AsItIs), (true, Cached::Nothing), (false, Cached::AsItIs)] {
        let mut site = started();
        site.keeps = keeps;
        let first = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
        site.later(3 * SECOND).run();
        let mut site = site.restart(cached);
        let again = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
        assert_eq!((&again["replayed"], &again["events"]), (&json!(true), &first["events"]), "{keeps} {cached:?}");
        let reused = site.ask(release(bot(), "c1").command_id("p1"));
        assert_eq!(reused["error"]["code"], "command_id_reused");
    }
}

#[test]
fn a_command_whose_group_was_lost_is_decided_when_it_is_repeated() {
    let mut site = started();
    site.send(pass(bot(), "c1", "agents").command_id("p1"));
    site.step();
    site.take();
    site.fail_write(0);
    let mut site = site.restart(Cached::AsItIs);
    let answer = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
    assert_eq!(answer["outcome"], "applied");
    assert!(answer.get("replayed").is_none());
}

#[test]
fn a_command_whose_group_reached_the_disk_before_the_crash_is_replayed() {
    let mut site = started();
    site.send(pass(bot(), "c1", "agents").command_id("p1"));
    site.step();
    site.take();
    site.fail_write(1);
    let mut site = site.restart(Cached::AsItIs);
    let answer = site.ask(pass(bot(), "c1", "agents").command_id("p1"));
    assert_eq!(answer["replayed"], true);
    assert_eq!(seqs(&answer), [site.served("c1").seq]);
}

#[test]
fn a_repeated_message_is_relayed_again_under_the_same_id_to_the_owner_of_now() {
    let mut site = Site::new(&usual());
    site.ask(message("c1").command_id("m1").content("hello"));
    site.ask(pass(bot(), "c1", "agents"));
    let again = site.ask(message("c1").command_id("m1").content("hello"));
    assert_eq!(again["replayed"], true);
    assert_eq!(again["relayed_to"], "agents");
    let relays = site.relays();
    assert_eq!(relays.iter().map(|relay| relay.1.as_str()).collect::<Vec<_>>(), ["bot", "agents"]);
    assert_eq!(relays[0].2, relays[1].2);
    assert!(relays[0].2.is_some());
}

#[test]
fn a_repeated_message_that_recorded_nothing_is_relayed_again_too() {
    let mut site = started();
    for _ in 0..2 {
        let answer = site.ask(message("c1").command_id("m1").content("hello"));
        assert_eq!((&answer["outcome"], &answer["relayed_to"]), (&json!("applied"), &json!("bot")));
        assert_eq!(answer["events"], json!([]));
    }
    let relays = site.relays();
    assert_eq!(relays.len(), 2);
    assert_eq!(relays[0], relays[1]);
}

#[test]
fn a_repeated_reply_is_relayed_only_from_the_owner_of_now() {
    let mut site = started();
    site.ask(reply(bot(), "c1").command_id("r1").content("hello"));
    site.ask(reply(bot(), "c1").command_id("r1").content("hello"));
    site.ask(pass(bot(), "c1", "agents"));
    let late = site.ask(reply(bot(), "c1").command_id("r1").content("hello"));
    assert_eq!(late["error"]["code"], "not_in_control");
    assert_eq!(site.relays().len(), 2);
}

#[test]
fn a_message_that_was_sent_before_the_close_is_no_new_session() {
    let thread = channel("thread");
    let mut site = Site::new(&usual());
    site.ask(start("c1").by(thread.clone()));
    site.later(MINUTE);
    site.ask(overrule_end("c1"));
    let late = message("c1").by(thread).sent_at("2027-01-15T08:00:30Z").content("late").command_id("m1");
    let answer = site.ask(late.clone());
    assert_eq!((&answer["outcome"], &answer["relayed_to"]), (&json!("unchanged"), &Value::Null));
    assert!(site.ask(late).get("replayed").is_none());
    assert!(site.relays().is_empty());
}

#[test]
fn many_ids_of_one_conversation_are_all_found() {
    let mut site = started();
    let pass_on = |n: usize| {
        let (from, to) = if n.is_multiple_of(2) { (bot(), "agents") } else { (agents(), "bot") };
        pass(from, "c1", to).command_id(&format!("p{n}"))
    };
    let firsts: Vec<Value> = (0..60).map(|n| site.ask(pass_on(n))).collect();
    for restarts in 0..2 {
        for (n, first) in firsts.iter().enumerate() {
            let again = site.ask(pass_on(n));
            assert_eq!((&again["replayed"], &again["events"]), (&json!(true), &first["events"]), "{n}, {restarts}");
        }
        site = site.restart(Cached::AsItIs);
    }
}
