//! Timers: never early, made up after an outage, guarded by the state that they were set for.

use serde_json::{Value, json};
use switchboard::domain::Time;

use super::say::*;
use super::site::{BEGIN, Cached, Site};
use super::usual;

fn closed_at(site: &Site, id: &str) -> Option<Time> {
    site.served(id).closed.as_ref().map(|closed| closed.at)
}

/// Lets time pass second by second, as a waiting owner of state would look.
fn wait(site: &mut Site, ms: u64) {
    let until = site.now.plus_ms(ms);
    site.run();
    while site.now < until {
        let next = site.core.next_look().unwrap_or(until).max(site.now.plus_ms(1));
        site.now = next.min(until);
        site.run();
    }
}

#[test]
fn inactivity_ends_a_session_when_its_time_has_come_and_not_before() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.later(10 * MINUTE - 1).run();
    assert_eq!(site.state("c1")["status"], "open");
    site.later(1).run();
    assert_eq!(
        site.kinds("c1")[2..],
        ["conversation.end_requested", "control.released", "conversation.closed"],
        "one decision"
    );
    let state = site.state("c1");
    assert_eq!(state["closed"]["cause"], "inactivity");
    assert_eq!(state["closed"]["by"], json!({"role": "timer"}));
}

#[test]
fn messages_and_starts_put_it_off_and_replies_do_not() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(start("c2"));
    site.ask(start("c3"));
    site.later(5 * MINUTE + 30 * SECOND);
    site.ask(message("c1"));
    site.ask(start("c2"));
    site.ask(reply(bot(), "c3").content("still there?"));
    wait(&mut site, HOUR);
    assert_eq!(closed_at(&site, "c1"), Some(BEGIN.plus_ms(15 * MINUTE + 30 * SECOND)));
    assert_eq!(closed_at(&site, "c2"), Some(BEGIN.plus_ms(15 * MINUTE + 30 * SECOND)));
    assert_eq!(closed_at(&site, "c3"), Some(BEGIN.plus_ms(10 * MINUTE)));
}

#[test]
fn activity_too_close_to_the_last_to_be_noted_counts_all_the_same() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.later(59 * SECOND);
    site.ask(message("c1"));
    assert_eq!(site.state("c1")["last_activity_at"], json!(BEGIN), "it is not noted");
    wait(&mut site, HOUR);
    assert_eq!(closed_at(&site, "c1"), Some(BEGIN.plus_ms(10 * MINUTE + 59 * SECOND)));
}

#[test]
fn activity_is_noted_at_most_once_a_tenth_of_the_timeout() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let entries = |site: &Site| site.entries().len();
    let before = entries(&site);
    for _ in 0..100 {
        site.later(6 * SECOND);
        site.ask(message("c1"));
    }
    assert_eq!(entries(&site) - before, 10, "ten minutes of messages, a note a minute");
    site.ask(pass(bot(), "c1", "agents"));
    let before = entries(&site);
    for _ in 0..30 {
        site.later(6 * MINUTE);
        site.ask(message("c1"));
    }
    assert_eq!(entries(&site) - before, 3, "without a timeout a note an hour");
}

#[test]
fn a_change_of_owner_counts_and_the_owners_timeout_rules() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.later(9 * MINUTE);
    site.ask(pass(bot(), "c1", "agents"));
    wait(&mut site, 30 * DAY);
    assert_eq!(closed_at(&site, "c1"), None, "people may hold a conversation for ever");
    site.ask(release(agents(), "c1"));
    let released_at = site.now;
    wait(&mut site, 2 * HOUR);
    assert_eq!(closed_at(&site, "c1"), Some(released_at.plus_ms(HOUR)), "nobody holds it: the channel's rules");
}

#[test]
fn inactivity_rests_while_a_conversation_is_ending() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(pass(bot(), "c1", "survey"));
    site.later(55 * MINUTE);
    site.ask(end("c1"));
    wait(&mut site, 9 * MINUTE);
    assert_eq!(site.state("c1")["status"], "ending");
    wait(&mut site, HOUR);
    assert_eq!(closed_at(&site, "c1"), Some(BEGIN.plus_ms(65 * MINUTE)));
    assert_eq!(site.state("c1")["closed"]["cause"], "end_user");
    assert_eq!(site.state("c1")["closed"]["by"], json!({"role": "timer"}));
}

#[test]
fn a_pass_while_ending_does_not_extend_the_deadline() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(pass(bot(), "c1", "agents"));
    site.ask(end("c1"));
    site.later(6 * MINUTE);
    site.ask(pass(agents(), "c1", "survey"));
    wait(&mut site, HOUR);
    assert_eq!(closed_at(&site, "c1"), Some(BEGIN.plus_ms(10 * MINUTE)));
}

#[test]
fn an_offer_expires_and_one_that_was_taken_up_does_not() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(start("c2"));
    site.ask(offer(bot(), "c1", "agents", Some(30 * SECOND)));
    site.ask(offer(bot(), "c2", "agents", Some(30 * SECOND)));
    site.later(30 * SECOND - 1);
    site.ask(accept(agents(), "c2"));
    assert!(!site.state("c1")["offer"].is_null());
    site.later(1).run();
    assert!(site.state("c1")["offer"].is_null());
    assert_eq!(site.kinds("c1").last(), Some(&"control.offer_withdrawn"));
    assert_eq!(site.kinds("c2").last(), Some(&"control.accepted"));
}

#[test]
fn an_offer_made_later_is_not_taken_away_by_the_timer_of_one_before() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(offer(bot(), "c1", "agents", Some(30 * SECOND)));
    site.later(20 * SECOND);
    site.ask(offer(bot(), "c1", "survey", Some(30 * SECOND)));
    site.later(10 * SECOND).run();
    assert_eq!(site.state("c1")["offer"]["to"], "survey");
    site.later(20 * SECOND).run();
    assert!(site.state("c1")["offer"].is_null());
}

#[test]
fn what_is_due_is_decided_before_a_command_of_that_conversation() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(offer(bot(), "c1", "agents", Some(30 * SECOND)));
    site.later(30 * SECOND);
    // The request is there before the owner of state looks at its timers.
    let late = site.send(accept(agents(), "c1"));
    site.run();
    assert_eq!(site.answer(&late).unwrap()["error"]["code"], "not_offered");
    site.later(DAY);
    assert_eq!(site.ask(message("c1"))["error"]["code"], "conversation_closed");
}

#[test]
fn several_that_are_due_at_once_go_by_due_time() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(start("c2"));
    site.later(9 * MINUTE + 50 * SECOND);
    site.ask(offer(bot(), "c1", "agents", Some(5 * SECOND)));
    site.ask(offer(bot(), "c2", "agents", Some(20 * SECOND)));
    site.later(DAY).run();
    assert_eq!(
        site.kinds("c1")[3..],
        ["control.offer_withdrawn", "conversation.end_requested", "control.released", "conversation.closed"],
        "the offer expired first"
    );
    assert_eq!(
        site.kinds("c2")[3..],
        ["conversation.end_requested", "control.offer_withdrawn", "control.released", "conversation.closed"],
        "the session ended first, and took the offer along"
    );
}

#[test]
fn several_that_fell_due_in_an_outage_go_by_due_time_too() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.later(9 * MINUTE);
    site.ask(offer(bot(), "c1", "agents", Some(5 * MINUTE)));
    site.core.ready(false, site.now);
    site.later(DAY);
    site.core.ready(true, site.now);
    wait(&mut site, 2 * MINUTE);
    assert_eq!(
        site.kinds("c1")[3..],
        ["conversation.end_requested", "control.offer_withdrawn", "control.released", "conversation.closed"]
    );
}

#[test]
fn timers_rest_while_the_service_is_not_ready() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.core.ready(false, site.now);
    assert_eq!(site.core.next_look(), None);
    site.later(DAY).run();
    assert_eq!(site.ask(message("c1"))["outcome"], "applied", "a command does not wake them either");
}

#[test]
fn what_fell_due_in_an_outage_waits_for_the_shorter_of_its_timeout_and_a_minute() {
    let mut site = Site::new(&usual());
    site.ask(start("long"));
    site.ask(start("short"));
    site.ask(offer(bot(), "short", "agents", Some(5 * SECOND)));
    site.core.ready(false, site.now);
    site.later(DAY);
    site.core.ready(true, site.now);
    let ready_at = site.now;
    site.run();
    site.later(5 * SECOND - 1).run();
    assert!(!site.state("short")["offer"].is_null());
    site.later(1).run();
    assert!(site.state("short")["offer"].is_null());
    wait(&mut site, MINUTE - 5 * SECOND - 1);
    assert_eq!(site.state("long")["status"], "open");
    site.later(1).run();
    assert_eq!(closed_at(&site, "long"), Some(ready_at.plus_ms(MINUTE)));
}

#[test]
fn a_sign_of_life_right_after_an_outage_saves_the_session() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let mut site = site.restart(Cached::AsItIs);
    site.later(DAY);
    site.core.ready(true, site.now);
    site.run();
    site.later(59 * SECOND);
    assert_eq!(site.ask(message("c1"))["outcome"], "applied");
    let heard_at = site.now;
    wait(&mut site, HOUR);
    assert_eq!(closed_at(&site, "c1"), Some(heard_at.plus_ms(10 * MINUTE)));
}

#[test]
fn a_tenth_more_passes_where_activity_may_have_been_lost() {
    for cached in [Cached::AsItIs, Cached::Nothing] {
        let mut site = Site::new(&usual());
        site.keeps = true;
        site.ask(start("c1"));
        site.later(59 * SECOND);
        site.ask(message("c1"));
        let mut site = site.restart(cached);
        site.keeps = false;
        site.core.ready(true, site.now);
        wait(&mut site, HOUR);
        let closed = closed_at(&site, "c1").unwrap();
        assert_eq!(closed, BEGIN.plus_ms(11 * MINUTE), "from the last that is noted, and a tenth more");
        assert!(closed >= BEGIN.plus_ms(10 * MINUTE + 59 * SECOND), "never early");
    }
}

#[test]
fn no_tenth_is_added_to_a_later_change_of_owner() {
    for cached in [Cached::AsItIs, Cached::Nothing] {
        let mut site = Site::new(&usual());
        site.ask(start("c1"));
        let mut site = site.restart(cached);
        site.core.ready(true, site.now);
        site.later(7 * MINUTE).run();
        site.ask(pass(bot(), "c1", "survey"));
        let passed_at = site.now;
        wait(&mut site, 2 * HOUR);
        assert_eq!(closed_at(&site, "c1"), Some(passed_at.plus_ms(HOUR)));
    }
}

/// A clock that was set back says nothing of what was before the start and what after it.
#[test]
fn a_message_that_nothing_tells_of_counts_though_control_changes_under_a_clock_that_went_back() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.later(40 * SECOND);
    site.ask(pass(bot(), "c1", "survey"));
    site.later(10 * SECOND);
    site.ask(message("c1"));
    let heard_at = site.now;
    let mut site = site.restart(Cached::AsItIs);
    site.now = BEGIN;
    site.core.ready(true, site.now);
    site.run();
    site.ask(pass(integration("survey"), "c1", "bot"));
    site.now = heard_at;
    wait(&mut site, HOUR);
    assert!(closed_at(&site, "c1").unwrap() >= heard_at.plus_ms(10 * MINUTE), "never early");
}

#[test]
fn no_tenth_is_added_once_the_end_user_was_heard_again() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let mut site = site.restart(Cached::AsItIs);
    site.core.ready(true, site.now);
    site.later(10 * SECOND).run();
    site.ask(message("c1"));
    wait(&mut site, HOUR);
    assert_eq!(closed_at(&site, "c1"), Some(BEGIN.plus_ms(10 * MINUTE + 10 * SECOND)));
}

#[test]
fn a_clock_that_goes_back_makes_nothing_go_back() {
    let mut site = Site::new(&usual());
    site.later(HOUR);
    site.ask(start("c1"));
    let at = site.now;
    site.now = BEGIN;
    site.ask(pass(bot(), "c1", "agents"));
    assert_eq!(site.state("c1")["owner_since"], json!(at));
    let times: Vec<u64> = site.entries().iter().map(|entry| entry.at).collect();
    assert!(times.is_sorted());
}

#[test]
fn timers_fall_due_though_more_wait_than_one_look_takes() {
    let mut site = Site::new(&usual());
    for n in 0..1200 {
        site.send(start(&format!("c{n}")));
    }
    site.run();
    site.later(10 * MINUTE).step();
    let open = site.core.conversations().filter(|c| c.closed.is_none()).count();
    assert_eq!(open, 1200 - 512, "a look takes so many, and commands go on in between");
    site.take();
    assert_eq!(site.core.next_look(), Some(site.now), "it looks again at once");
    site.run();
    assert!(site.core.conversations().all(|c| c.closed.is_some()));
}

#[test]
fn nothing_falls_due_on_a_full_disk_and_nobody_is_kept_awake() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.gauges.storage_full.store(true, std::sync::atomic::Ordering::Relaxed);
    site.later(HOUR).run();
    assert_eq!(site.state("c1")["status"], "open");
    assert_eq!(site.ask(message("c1"))["error"]["code"], "storage_full");
    assert_eq!(site.core.next_look(), None, "a look that is due would be tried again without a pause");
    site.gauges.storage_full.store(false, std::sync::atomic::Ordering::Relaxed);
    site.run();
    assert_eq!(site.state("c1")["status"], "closed");
}

#[test]
fn a_changed_timeout_counts_from_the_later_of_last_activity_and_the_change() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.later(9 * MINUTE);
    let mut shorter: Value = usual();
    shorter["integration"][0]["inactivity_timeout"] = json!("2m");
    site.put(put(&shorter));
    wait(&mut site, 2 * MINUTE - 1);
    assert_eq!(closed_at(&site, "c1"), None);
    site.later(1).run();
    assert_eq!(closed_at(&site, "c1"), Some(BEGIN.plus_ms(11 * MINUTE)));
}

#[test]
fn recorded_deadlines_stay_when_the_configuration_changes() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(pass(bot(), "c1", "agents"));
    site.ask(end("c1"));
    let mut shorter: Value = usual();
    shorter["settings"]["release_deadline"] = json!("1m");
    site.put(put(&shorter));
    wait(&mut site, HOUR);
    assert_eq!(closed_at(&site, "c1"), Some(BEGIN.plus_ms(10 * MINUTE)));
}
