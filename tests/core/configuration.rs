//! The configuration: put, applied from the file, and what follows from it for conversations.

use serde_json::{Value, json};
use switchboard::domain::By;
use switchboard::switchboard::port::{Ask, PutAsk};

use super::say::*;
use super::site::{Cached, Site};
use super::usual;

fn without(integration: &str) -> Value {
    let mut config = usual();
    config["integration"].as_array_mut().unwrap().retain(|known| known["name"] != integration);
    for known in config["integration"].as_array_mut().unwrap() {
        if known["next"] == integration {
            known.as_object_mut().unwrap().remove("next");
        }
    }
    if config["settings"]["default_integration"] == integration {
        config["settings"].as_object_mut().unwrap().remove("default_integration");
    }
    config
}

/// The configuration file is applied, as at a start.
fn apply_file(site: &mut Site, config: &Value) {
    let ask = PutAsk { is_file: true, ..put(config) };
    let request =
        switchboard::switchboard::port::Request { by: By::config(), ask: Ask::Put(Box::new(ask)), reply: None };
    site.core.request(request);
    site.run();
}

#[test]
fn what_is_put_is_what_is_returned() {
    let mut site = Site::bare();
    let answer = site.put(put(&usual()));
    assert_eq!(answer["outcome"], "applied");
    assert_eq!(answer["version"], answer["events"].as_array().unwrap().len());
    let asked = site.question(anybody(), Ask::Config);
    assert_eq!(asked["config"], answer["config"]);
    let again = site.put(put(&asked["config"]));
    assert_eq!((&again["outcome"], &again["events"]), (&json!("unchanged"), &json!([])));
}

#[test]
fn a_configuration_with_faults_changes_nothing() {
    let mut site = Site::new(&usual());
    let version = site.core.config().version();
    let mut wrong = usual();
    wrong["settings"]["reopen"] = json!(true);
    let answer = site.put(put(&wrong));
    assert_eq!(answer["error"]["code"], "settings_conflict");
    assert!(!answer["error"]["requirements"].as_array().unwrap().is_empty());
    wrong["settings"]["reopen"] = json!("yes");
    assert_eq!(site.put(put(&wrong))["error"]["code"], "bad_request");
    assert_eq!(site.core.config().version(), version);
}

#[test]
fn a_put_expects_the_version_that_it_knows() {
    let mut site = Site::new(&usual());
    let version = site.core.config().version();
    let stale = site.put(PutAsk { expected_version: Some(version - 1), ..put(&without("survey")) });
    assert_eq!(stale["error"]["code"], "stale_version");
    assert_eq!(stale["error"]["version"], version);
    let current = site.put(PutAsk { expected_version: Some(version), ..put(&without("survey")) });
    assert_eq!(current["outcome"], "applied");
}

#[test]
fn a_put_is_one_decision_under_its_command_id_also_after_a_restart() {
    let mut site = Site::new(&usual());
    let with_id = |config: &Value| PutAsk { command_id: Some("p1".into()), ..put(config) };
    let first = site.put(with_id(&without("survey")));
    site.put(put(&usual()));
    site.keeps = true;
    for cached in [Cached::Nothing, Cached::AsItIs] {
        let again = site.put(with_id(&without("survey")));
        assert_eq!((&again["replayed"], &again["events"]), (&json!(true), &first["events"]));
        assert_eq!(site.put(with_id(&usual()))["error"]["code"], "command_id_reused");
        site.later(3 * SECOND).run();
        site = site.restart(cached);
    }
    assert_eq!(site.put(with_id(&without("survey")))["replayed"], true);
}

#[test]
fn the_file_is_applied_only_if_it_differs_from_the_last_file() {
    let mut site = Site::bare();
    site.keeps = true;
    apply_file(&mut site, &usual());
    let applied = site.core.config().version();
    assert!(applied > 0);
    site.put(put(&without("survey")));
    let put_version = site.core.config().version();
    for cached in [Cached::AsItIs, Cached::Nothing, Cached::AsItIs] {
        apply_file(&mut site, &usual());
        assert_eq!(site.core.config().version(), put_version, "the same file does not undo what was put");
        site.later(3 * SECOND).run();
        site = site.restart(cached);
    }
    apply_file(&mut site, &without("listener"));
    assert!(site.core.config().version() > put_version);
    assert!(site.core.config().enabled(&name("survey")).is_some());
}

#[test]
fn a_file_that_changes_nothing_is_remembered_all_the_same() {
    let mut site = Site::bare();
    site.put(put(&usual()));
    apply_file(&mut site, &usual());
    site.put(put(&without("survey")));
    let version = site.core.config().version();
    let mut site = site.restart(Cached::AsItIs);
    apply_file(&mut site, &usual());
    assert_eq!(site.core.config().version(), version);
}

#[test]
fn conversations_of_a_removed_integration_are_released_before_their_next_command() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.hand(olga(), Ask::Put(Box::new(put(&without("bot")))));
    let next = site.send(overrule_pass("c1", "agents"));
    site.step();
    site.run();
    let state = site.answer(&next).unwrap();
    assert_eq!(state["conversation"]["owner"], "agents");
    assert_eq!(site.kinds("c1")[2..], ["control.released", "control.passed"]);
}

#[test]
fn conversations_of_a_removed_integration_are_released_in_the_background() {
    let mut site = Site::new(&usual());
    for n in 0..3000 {
        site.send(start(&format!("c{n:04}")));
    }
    site.run();
    site.ask(offer(bot(), "c0007", "agents", None));
    site.put(put(&without("bot")));
    assert!(site.core.conversations().all(|c| c.owner.is_none() && c.offer.is_none()));
    assert_eq!(site.kinds("c0007")[3..], ["control.offer_withdrawn", "control.released"]);
    let last = site.entries().pop().unwrap();
    let line: Value = serde_json::from_slice(&last.line).unwrap();
    assert_eq!(line["by"], json!({"role": "config"}));
    assert_eq!(line["events"][0]["data"]["cause"], "integration_removed");
}

#[test]
fn an_offer_to_a_removed_integration_is_withdrawn_and_its_owner_stays() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(offer(bot(), "c1", "survey", None));
    site.put(put(&without("survey")));
    let state = site.state("c1");
    assert_eq!((&state["owner"], &state["offer"]), (&json!("bot"), &Value::Null));
}

#[test]
fn an_ending_conversation_of_a_disabled_integration_closes() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(pass(bot(), "c1", "agents"));
    site.ask(end("c1"));
    let mut config = usual();
    config["integration"][1]["enabled"] = json!(false);
    site.put(put(&config));
    let state = site.state("c1");
    assert_eq!(state["status"], "closed");
    assert_eq!(state["closed"]["by"], json!({"role": "config"}));
    assert_eq!(site.ask(take(agents(), "c1"))["error"]["code"], "unknown_integration");
}

#[test]
fn a_removal_is_resumed_after_a_restart() {
    for cached in [Cached::AsItIs, Cached::Nothing] {
        let mut site = Site::new(&usual());
        for id in ["c1", "c2", "c3"] {
            site.ask(start(id));
        }
        site.hand(olga(), Ask::Put(Box::new(put(&without("bot")))));
        site.step();
        // The put is on its way, and in the same group the releases that follow it: only the put is written.
        site.lose_after(1);
        let mut site = site.restart(cached);
        site.run();
        assert_eq!(site.state("c1")["owner"], Value::Null);
        assert_eq!(site.kinds("c2"), ["control.released"]);
    }
}

#[test]
fn an_integration_that_came_back_does_not_keep_what_it_held_before() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.hand(olga(), Ask::Put(Box::new(put(&without("bot")))));
    site.hand(olga(), Ask::Put(Box::new(put(&usual()))));
    // Callers are served in turn: the second question comes after both.
    site.send(reply(bot(), "c1"));
    let late = site.send(reply(bot(), "c1").content("hello"));
    site.run();
    assert_eq!(site.answer(&late).unwrap()["error"]["code"], "not_in_control");
    site.ask(overrule_pass("c1", "bot"));
    site.run();
    assert_eq!(site.state("c1")["owner"], "bot", "what it got since it keeps");
}

#[test]
fn a_channel_may_not_have_more_open_conversations_than_its_bound() {
    let small = channel("small");
    let mut site = Site::new(&usual());
    site.ask(start("c1").by(small.clone()));
    site.ask(start("c2").by(small.clone()));
    let refused = site.ask(start("c3").by(small.clone()));
    assert_eq!((&refused["error"]["code"], &refused["error"]["limit"]), (&json!("limit_reached"), &json!(2)));
    assert_eq!(site.ask(message("c1").by(small.clone()))["outcome"], "applied", "those that are open go on");
    let mut site = site.restart(Cached::AsItIs);
    assert_eq!(site.ask(start("c3").by(small.clone()))["error"]["code"], "limit_reached");
    site.ask(overrule_end("c1"));
    assert_eq!(site.ask(start("c3").by(small))["outcome"], "applied");
}

#[test]
fn the_bound_is_told_before_a_command_id_that_was_used_for_something_else_and_after_a_repeat() {
    let mut config = usual();
    config["channel"][0]["open_conversations_max"] = json!(2);
    let (small, mut site) = (channel("thread"), Site::new(&config));
    let first = start("c1").by(small.clone()).command_id("s");
    site.ask(first.clone());
    site.ask(overrule_end("c1"));
    for other in ["c2", "c3"] {
        site.ask(start(other).by(small.clone()));
    }
    assert_eq!(site.ask(first)["replayed"], true);
    let other = message("c1").by(small.clone()).command_id("s");
    assert_eq!(site.ask(other.clone())["error"]["code"], "limit_reached");
    site.ask(overrule_end("c2"));
    assert_eq!(site.ask(other)["error"]["code"], "command_id_reused");
}
