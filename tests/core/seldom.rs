//! What most tests pass over: everything awake, timers behind, a file that waits for room, words that are in no event.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use switchboard::domain::command::{ChannelCommand, IntegrationCommand, OperatorCommand};
use switchboard::domain::{By, Command};
use switchboard::switchboard::core::Limits;
use switchboard::switchboard::past::recorded_from;
use switchboard::switchboard::port::{Ask, PutAsk, Request};

use super::say::*;
use super::site::{Cached, Left, Site};
use super::usual;

fn with_limits(limits: Limits) -> Site {
    let mut site = Site::new(&usual());
    site.core = site.core.with_limits(limits);
    site
}

/// Nothing rests.
fn awake() -> Site {
    with_limits(Limits { awake_max: usize::MAX, ..Limits::default() })
}

fn with_timeout_of_bot(timeout: &str) -> Value {
    let mut config = usual();
    config["integration"][0]["inactivity_timeout"] = json!(timeout);
    config
}

#[test]
fn all_that_is_due_is_decided_before_a_command_though_timers_are_behind() {
    let mut site = with_limits(Limits { timers_max: 0, ..Limits::default() });
    site.ask(start("c1"));
    site.ask(offer(bot(), "c1", "agents", Some(5 * MINUTE)));
    site.later(HOUR);
    assert_eq!(site.ask(message("c1"))["error"]["code"], "conversation_closed");
    assert_eq!(
        site.kinds("c1")[3..],
        ["control.offer_withdrawn", "conversation.end_requested", "control.released", "conversation.closed"]
    );
}

#[test]
fn what_a_timer_ends_is_noted_under_the_last_message_though_no_event_has_told_of_it() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(message("c1").message_id("m1"));
    site.later(HOUR).run();
    assert_eq!(site.state("c1")["end_requested"]["last_message_id"], "m1");
}

#[test]
fn a_start_after_the_close_is_no_sign_of_life_where_it_changes_nothing() {
    let mut site = Site::new(&usual());
    let reopening = channel("reopening");
    site.ask(start("r1").by(reopening.clone()).user("u1"));
    site.ask(overrule_end("r1"));
    let before = (site.entries().len(), site.state("r1"));
    site.later(HOUR);
    assert_eq!(site.ask(start("r1").by(reopening).user("u2"))["outcome"], "unchanged");
    assert_eq!((site.entries().len(), site.state("r1")), before);
}

#[test]
fn a_late_repeat_after_the_close_is_not_the_last_message() {
    let mut site = Site::new(&usual());
    let reopening = || channel("reopening");
    site.ask(message("r1").by(reopening()).message_id("m1"));
    site.ask(message("r1").by(reopening()).message_id("m2"));
    site.later(MINUTE);
    site.ask(overrule_end("r1"));
    let late = message("r1").by(reopening()).message_id("m1").sent_at("2027-01-15T08:00:00.000Z");
    assert_eq!(site.ask(late)["outcome"], "unchanged");
    assert_eq!(site.ask(message("r1").by(reopening()))["outcome"], "applied");
    assert_eq!(site.state("r1")["last_message_id"], "m2");
}

#[test]
fn words_go_to_the_owner_while_somebody_else_is_offered_control() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(offer(bot(), "c1", "agents", None));
    site.ask(message("c1").content("hello"));
    assert_eq!(site.relays()[0].1, "bot");
}

#[test]
fn a_look_that_comes_early_is_put_off_where_nothing_rests() {
    let mut site = awake();
    site.ask(start("c1"));
    site.later(5 * MINUTE).run();
    site.ask(message("c1"));
    site.later(5 * MINUTE).run();
    assert!(!site.core.is_resting(&conversation("c1")));
    assert_eq!(site.state("c1")["status"], "open");
    site.later(5 * MINUTE).run();
    assert_eq!(site.state("c1")["status"], "closed");
}

#[test]
fn a_shorter_timeout_reaches_what_is_awake() {
    let mut site = awake();
    site.ask(start("c1"));
    site.put(put(&with_timeout_of_bot("2m")));
    site.later(2 * MINUTE).run();
    assert_eq!(site.state("c1")["status"], "closed");
}

#[test]
fn a_timeout_that_was_taken_away_and_given_back_is_kept_by_what_rests_and_by_what_is_awake() {
    for mut site in [Site::new(&usual()), awake()] {
        site.ask(start("c1"));
        for timeout in ["never", "20m"] {
            site.put(put(&with_timeout_of_bot(timeout)));
            site.run();
        }
        site.later(20 * MINUTE).run();
        assert_eq!(site.state("c1")["status"], "closed");
    }
}

#[test]
fn a_configuration_file_waits_for_room_on_the_disk_and_a_put_does_not() {
    let mut site = Site::new(&usual());
    site.gauges.storage_full.store(true, Relaxed);
    let file = PutAsk { is_file: true, ..put(&with_timeout_of_bot("2m")) };
    site.core.request(Request { by: By::config(), ask: Ask::Put(Box::new(file)), reply: None });
    site.run();
    let entries = site.entries().len();
    assert_eq!(site.put(put(&with_timeout_of_bot("3m")))["error"]["code"], "storage_full");
    let rejected = site.left.iter().filter(|left| matches!(left, Left::Rejection { .. })).count();
    assert_eq!(rejected, 1, "who watches is told of it");
    // What cannot be read is so whatever the disk has room for.
    assert_eq!(site.put(put(&json!({"integration": 1})))["error"]["code"], "bad_request");
    assert_eq!(site.entries().len(), entries);
    site.left.clear();
    site.gauges.storage_full.store(false, Relaxed);
    site.run();
    assert_eq!(site.kinds("_config"), ["integration.changed"]);
    let config = site.question(olga(), Ask::Config)["config"].to_string();
    assert!(config.contains(r#""inactivity_timeout":"2m""#) && !config.contains("3m"), "{config}");
}

#[test]
fn a_removal_waits_for_room_on_the_disk() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let mut config = usual();
    config["integration"][0]["enabled"] = json!(false);
    site.hand(olga(), Ask::Put(Box::new(put(&config))));
    site.step();
    site.lose_after(1);
    let mut site = site.restart(Cached::Nothing);
    site.gauges.storage_full.store(true, Relaxed);
    site.run();
    assert_eq!(site.state("c1")["owner"], "bot", "nothing can be recorded");
    site.gauges.storage_full.store(false, Relaxed);
    site.run();
    assert_eq!(site.state("c1")["owner"], Value::Null);
}

#[test]
fn a_put_is_a_moment_that_time_does_not_go_back_behind() {
    let mut site = Site::new(&usual());
    site.later(MINUTE);
    site.put(put(&with_timeout_of_bot("2m")));
    site.now.0 -= 30 * SECOND;
    assert_eq!(site.ask(start("c1"))["outcome"], "applied");
    assert!(site.entries().is_sorted_by_key(|entry| entry.at));
}

const SECRET: &str = "secret";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A command that says the secret wherever it may, and is traced.
fn telling(call: Call) -> Request {
    let mut request = call.request(None);
    let Ask::Command(ask) = &mut request.ask else { panic!("expected a command") };
    match &mut ask.command {
        Command::Channel(ChannelCommand::Start { user, metadata, .. }) => {
            (*user, *metadata) = (Some(SECRET.into()), patch(json!({"a": SECRET})));
        }
        Command::Integration(IntegrationCommand::Pass { reason, metadata, .. }) => {
            (*reason, *metadata) = (Some(SECRET.into()), patch(json!({"a": SECRET})));
        }
        Command::Integration(IntegrationCommand::Offer { reason, .. } | IntegrationCommand::Decline { reason })
        | Command::Channel(ChannelCommand::End { reason, .. })
        | Command::Operator(OperatorCommand::Pass { reason, .. } | OperatorCommand::End { reason }) => {
            *reason = Some(SECRET.into());
        }
        other => panic!("{} tells nothing", other.verb()),
    }
    ask.body.push_personal("reason", |out| serde_json::to_writer(out, SECRET).unwrap());
    ask.traceparent = Some(TRACE.into());
    request
}

#[test]
fn whatever_may_be_personal_can_be_erased_and_what_is_traced_is_traced_when_it_is_read_again() {
    let mut site = Site::new(&usual());
    let configured = site.entries().len();
    for call in [
        start("c1"),
        pass(bot(), "c1", "agents"),
        offer(agents(), "c1", "bot", None),
        decline(bot(), "c1"),
        overrule_pass("c1", "bot"),
        end("c1"),
        start("c2"),
        overrule_end("c2"),
    ] {
        site.core.request(telling(call));
        site.run();
    }
    let entries = site.entries().split_off(configured);
    assert_eq!(entries.len(), 8);
    for mut entry in entries {
        entry.redact();
        let line = String::from_utf8(entry.line).unwrap();
        assert!(!line.contains(SECRET), "{line}");
    }
    let head = site.head().next_seq - 1;
    let first = head + 1 - site.kinds("c1").len() as u64 - site.kinds("c2").len() as u64;
    let traces = recorded_from(&site.archive(), first, head).map(|read| read.unwrap().traceparent);
    assert_eq!(traces.collect::<Vec<_>>(), vec![Some(TRACE.into()); 8]);
}
