//! Timers: inactivity, release deadlines, offers that nobody takes up. Never early; made up after an outage.

use switchboard::domain::By;
use switchboard::domain::command::Due;
use switchboard::domain::config::DROPPED_MAX;
use switchboard::domain::config::change::changes;
use switchboard::domain::conversation::Status;
use switchboard::domain::event::EndCause::{EndUser, Inactivity};
use switchboard::domain::event::{ReleaseCause, WithdrawCause};
use switchboard::domain::timers::{Activity, is_to_be_noted, next_due};
use switchboard::domain::{Config, Time};

use super::given::*;
use super::say::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn held_by(owner: &str) -> Given {
    given(CENTRE).after(web(), start_for(owner))
}

fn ending() -> Given {
    held_by("agents").after(web(), end())
}

/// What falls due next, of a service that has been ready for long, where nothing is known but the log.
fn due(story: &Given) -> Option<(Time, Due)> {
    due_with(story, story.c().last_activity_at, false, Time(0))
}

fn due_with(story: &Given, at: Time, may_be_later: bool, ready_since: Time) -> Option<(Time, Due)> {
    next_due(story.c(), Activity { at, may_be_later }, &story.config, ready_since)
}

fn noon_and(ms: u64) -> Time {
    NOON.plus_ms(ms)
}

// Inactivity

#[test]
fn inactivity_requests_the_end_releases_and_closes() {
    let story = held_by("bot").later_ms(15 * MINUTE).when_due(Due::Inactivity).then([
        end_requested(Inactivity),
        released("bot", ReleaseCause::Inactivity),
        closed(Inactivity, 15 * MINUTE),
    ]);
    let close = story.c().closed.clone().expect("closed");
    assert_eq!((close.by, close.cause), (By::timer(), Inactivity));
}

#[test]
fn inactivity_ends_what_nobody_holds() {
    held_by("bot")
        .after(bot(), release())
        .later_ms(24 * HOUR)
        .when_due(Due::Inactivity)
        .then([end_requested(Inactivity), closed(Inactivity, 24 * HOUR)]);
}

#[test]
fn inactivity_withdraws_an_offer() {
    held_by("bot").after(bot(), offer("agents")).later_ms(15 * MINUTE).when_due(Due::Inactivity).then([
        end_requested(Inactivity),
        offer_withdrawn("agents", WithdrawCause::EndRequested),
        released("bot", ReleaseCause::Inactivity),
        closed(Inactivity, 15 * MINUTE),
    ]);
}

#[test]
fn inactivity_does_not_ask_on_end() {
    held_by("agents").later_ms(1).when_due(Due::Inactivity).then([
        end_requested(Inactivity),
        released("agents", ReleaseCause::Inactivity),
        closed(Inactivity, 1),
    ]);
}

#[test]
fn the_owners_timeout_goes_before_the_channels_and_the_channels_before_the_settings() {
    let config = format!("{CENTRE}\n[[channel]]\nname = \"sms\"\ninactivity_timeout = \"2h\"\n");
    let held = |place: &str, owner: &str| given(&config).after(channel(place), start_for(owner));
    assert_eq!(due(&held("sms", "bot")), Some((noon_and(15 * MINUTE), Due::Inactivity)));
    assert_eq!(due(&held("sms", "survey")), Some((noon_and(2 * HOUR), Due::Inactivity)));
    assert_eq!(due(&held("web", "survey")), Some((noon_and(24 * HOUR), Due::Inactivity)));
    assert_eq!(due(&held("sms", "agents")), None, "never is a timeout of its own");
    let nobody = held("sms", "bot").after(bot(), release());
    assert_eq!(due(&nobody), Some((noon_and(2 * HOUR), Due::Inactivity)));
}

#[test]
fn it_counts_from_the_latest_sign_of_life() {
    let story = held_by("bot").later_ms(MINUTE);
    assert_eq!(
        due_with(&story, noon_and(9_000), false, Time(0)),
        Some((noon_and(9_000 + 15 * MINUTE), Due::Inactivity))
    );
}

#[test]
fn it_counts_from_a_change_of_owner() {
    let story = held_by("survey").later_ms(HOUR).after(integration("survey"), pass("bot"));
    assert_eq!(due_with(&story, NOON, false, Time(0)), Some((noon_and(HOUR + 15 * MINUTE), Due::Inactivity)));
    let story = held_by("bot").later_ms(HOUR).after(bot(), release());
    assert_eq!(due_with(&story, NOON, false, Time(0)), Some((noon_and(25 * HOUR), Due::Inactivity)));
}

#[test]
fn it_counts_from_a_reopening_also_where_nobody_is_assigned() {
    let config = CENTRE.replace("default_integration = \"bot\"", "");
    let mail = channel("mail");
    let story = given(&config).after(mail.clone(), start_for("bot")).after(bot(), finish());
    let story = story.later_ms(HOUR).after(mail, message());
    assert_eq!(due(&story), Some((noon_and(25 * HOUR), Due::Inactivity)));
}

#[test]
fn it_rests_while_ending_and_after_the_close() {
    let config = CENTRE.replace("release_deadline = \"10m\"", "").replace("inactivity_timeout = \"never\"", "");
    let story = given(&config).after(web(), start_for("agents"));
    assert_eq!(due(&story).map(|(_, due)| due), Some(Due::Inactivity));
    let story = story.after(web(), end());
    assert_eq!(due(&story), None);
    story.clone().when_due(Due::Inactivity).unchanged();
    let story = story.after(agents(), release());
    assert_eq!(due(&story), None);
    story.when_due(Due::Inactivity).unchanged();
}

#[test]
fn a_changed_timeout_counts_from_the_later_of_last_activity_and_the_change() {
    let story = held_by("bot").later_ms(14 * MINUTE);
    let story = story.reconfigured(CENTRE, "\"15m\"", "\"1m\"");
    assert_eq!(due(&story), Some((noon_and(15 * MINUTE), Due::Inactivity)));
    let active = noon_and(20 * MINUTE);
    assert_eq!(due_with(&story, active, false, Time(0)), Some((noon_and(21 * MINUTE), Due::Inactivity)));
}

#[test]
fn a_change_of_the_settings_counts_for_whoever_has_no_timeout_of_its_own() {
    let config = format!("{CENTRE}\n[[channel]]\nname = \"sms\"\ninactivity_timeout = \"2h\"\n");
    let held = |place: &str, owner: &str| {
        let story = given(&config).after(channel(place), start_for(owner)).later_ms(HOUR);
        due(&story.reconfigured(&config, "\"24h\"", "\"1h\""))
    };
    assert_eq!(held("web", "survey"), Some((noon_and(2 * HOUR), Due::Inactivity)));
    assert_eq!(held("thread", "survey"), Some((noon_and(2 * HOUR), Due::Inactivity)), "a channel inherits it");
    assert_eq!(held("sms", "survey"), Some((noon_and(2 * HOUR), Due::Inactivity)), "as it was");
    assert_eq!(held("web", "bot"), Some((noon_and(15 * MINUTE), Due::Inactivity)), "as it was");
}

#[test]
fn a_channel_that_gives_up_its_own_settings_keeps_the_count_of_its_last_change() {
    let sms = |wait: &str| format!("{CENTRE}\n[[channel]]\nname = \"sms\"\ninactivity_timeout = \"{wait}\"\n");
    let story = given(&sms("1h")).after(channel("sms"), start_for("survey")).later_ms(30 * MINUTE);
    let story = story.configured(&sms("24h"));
    let expected = Some((noon_and(30 * MINUTE + 24 * HOUR), Due::Inactivity));
    assert_eq!(due(&story), expected);
    let story = story.later_ms(MINUTE).configured(CENTRE);
    assert_eq!(due(&story), expected, "the same applies as before");
}

#[test]
fn a_channel_that_is_removed_begins_the_count_of_its_own_conversations_only() {
    let quick = format!("{CENTRE}\n[[channel]]\nname = \"quick\"\ninactivity_timeout = \"1h\"\n");
    let held = |place: &str| given(&quick).after(channel(place), start_for("survey")).later_ms(30 * MINUTE);
    let fallen_due = noon_and(24 * HOUR);
    assert_eq!(due(&held("web").configured(CENTRE)), Some((fallen_due, Due::Inactivity)));
    let begun_anew = Some((noon_and(30 * MINUTE + 24 * HOUR), Due::Inactivity));
    let removed = held("quick").configured(CENTRE);
    assert_eq!(due(&removed), begun_anew);
    let again = removed.later_ms(MINUTE).reconfigured(CENTRE, "next = \"agents\"", "next = \"sales\"");
    assert_eq!(due(&again), begun_anew, "another change leaves it as it is");
    let registered = again.configured(&format!("{CENTRE}\n[[channel]]\nname = \"quick\"\nlegacy_csat = true\n"));
    assert_eq!(due(&registered), begun_anew, "and so does a channel that comes back with the same timeout");
    let changed = registered.configured(CENTRE).later_ms(HOUR).reconfigured(CENTRE, "\"24h\"", "\"23h\"");
    assert_eq!(due(&changed), Some((noon_and(91 * MINUTE + 23 * HOUR), Due::Inactivity)));
}

#[test]
fn a_channel_that_keeps_the_common_timeout_of_before_as_its_own_keeps_its_count() {
    let kept =
        |name: &str, wait: &str| format!("{CENTRE}\n[[channel]]\nname = \"{name}\"\ninactivity_timeout = \"{wait}\"\n");
    let held = given(CENTRE).after(channel("quick"), start_for("survey")).later_ms(30 * MINUTE);
    let as_it_was = Some((noon_and(24 * HOUR), Due::Inactivity));
    let story = held.clone().reconfigured(&kept("quick", "24h"), "\"24h\"", "\"2h\"");
    assert_eq!(due(&story), as_it_was, "what applies to it is what applied");
    let story = held.clone().reconfigured(&kept("quick", "2h"), "\"24h\"", "\"2h\"");
    assert_eq!(due(&story), Some((noon_and(150 * MINUTE), Due::Inactivity)), "what applies to it has changed");
    let later = held.clone().reconfigured(CENTRE, "\"24h\"", "\"2h\"").later_ms(MINUTE);
    let later = later.reconfigured(&kept("quick", "24h"), "\"24h\"", "\"2h\"");
    assert_eq!(due(&later), Some((noon_and(31 * MINUTE + 24 * HOUR), Due::Inactivity)), "another applied in between");
    // Removed before, it has a count of its own, and keeps that.
    let removed = held.configured(&kept("quick", "1h")).later_ms(MINUTE).configured(CENTRE).later_ms(MINUTE);
    let removed = removed.reconfigured(&kept("quick", "24h"), "\"24h\"", "\"2h\"");
    assert_eq!(due(&removed), Some((noon_and(31 * MINUTE + 24 * HOUR), Due::Inactivity)));
}

#[test]
fn a_channel_that_is_removed_and_back_within_the_moment_of_a_change_is_never_ended_early() {
    let quick = |wait: &str| format!("{CENTRE}\n[[channel]]\nname = \"quick\"\ninactivity_timeout = \"{wait}\"\n");
    let story = given(&quick("48h")).after(channel("quick"), start_for("survey")).later_ms(30 * MINUTE);
    let story = story.reconfigured(CENTRE, "\"24h\"", "\"2h\"").reconfigured(&quick("24h"), "\"24h\"", "\"2h\"");
    assert_eq!(due(&story), Some((noon_and(30 * MINUTE + 24 * HOUR), Due::Inactivity)));
}

#[test]
fn counts_of_removed_channels_are_kept_up_to_a_bound_and_beyond_it_run_late_and_never_early() {
    let change = |config: &mut Config, name: &str, wait: &str, at: u64| {
        let text = format!("{CENTRE}\n[[channel]]\nname = \"{name}\"\ninactivity_timeout = \"{wait}\"\n");
        for document in [document(&text), document(CENTRE)] {
            changes(config, &document).iter().for_each(|event| config.evolve(event, 1, Time(at)));
        }
    };
    let since = |config: &Config, name: &str| config.inactivity(None, &self::name(name)).1;
    let mut config = given(CENTRE).config;
    let begin = since(&config, "other");
    let most = DROPPED_MAX as u64;
    (1..=most).for_each(|n| change(&mut config, &format!("c{n}"), "1h", NOON.0 + n));
    assert_eq!((since(&config, "c1"), since(&config, "other")), (Time(NOON.0 + 1), begin));
    change(&mut config, "last", "1h", NOON.0 + most + 1);
    for name in ["c1", "last", "other"] {
        assert_eq!(since(&config, name), Time(NOON.0 + most + 1), "{name}");
    }
    assert!(!serde_json::to_string(&config).unwrap().contains("dropped"));
}

#[test]
fn a_removed_channel_is_not_remembered_while_nothing_ends_by_inactivity() {
    let never = CENTRE.replacen("\"24h\"", "\"never\"", 1);
    let quick = format!("{never}\n[[channel]]\nname = \"quick\"\ninactivity_timeout = \"1h\"\n");
    let story = given(&quick).after(channel("quick"), start_for("survey")).later_ms(30 * MINUTE).configured(&never);
    assert!(!serde_json::to_string(&story.config).unwrap().contains("dropped"));
    assert_eq!(due(&story), None);
    let story = story.later_ms(MINUTE).configured(CENTRE);
    assert_eq!(due(&story), Some((noon_and(31 * MINUTE + 24 * HOUR), Due::Inactivity)));
}

#[test]
fn another_change_does_not_put_the_timeout_off() {
    let story = held_by("bot").later_ms(10 * MINUTE).reconfigured(CENTRE, "next = \"agents\"", "next = \"sales\"");
    assert_eq!(due(&story), Some((noon_and(15 * MINUTE), Due::Inactivity)));
    let thread = given(CENTRE).after(channel("thread"), start_for("survey")).later_ms(HOUR);
    let thread = thread.reconfigured(CENTRE, "name = \"thread\"", "name = \"thread\"\n    legacy_csat = true");
    assert_eq!(due(&thread), Some((noon_and(24 * HOUR), Due::Inactivity)));
}

#[test]
fn where_later_activity_may_be_unknown_it_waits_a_tenth_longer() {
    let story = held_by("bot");
    assert_eq!(due_with(&story, NOON, true, Time(0)), Some((noon_and(15 * MINUTE + 90_000), Due::Inactivity)));
}

#[test]
fn the_tenth_counts_from_the_last_activity_that_is_known_and_not_from_what_came_later() {
    let ruled = |after_ms| {
        let story = held_by("bot").later_ms(after_ms);
        story.reconfigured(CENTRE, "inactivity_timeout = \"15m\"", "inactivity_timeout = \"20m\"")
    };
    let due = |story: &Given| due_with(story, NOON, true, Time(0)).map(|(at, _)| at);
    assert_eq!(due(&ruled(MINUTE)), Some(noon_and(22 * MINUTE)), "somebody may have written within two minutes");
    assert_eq!(due(&ruled(2 * MINUTE)), Some(noon_and(22 * MINUTE)));
    assert_eq!(due(&ruled(3 * MINUTE)), Some(noon_and(23 * MINUTE)), "or after the change, and was noted");
}

// The release deadline

#[test]
fn the_deadline_releases_whoever_holds_on_and_closes() {
    let story = ending().later_ms(10 * MINUTE);
    assert_eq!(due(&story), Some((noon_and(10 * MINUTE), Due::Deadline)));
    let story =
        story.when_due(Due::Deadline).then([released("agents", ReleaseCause::Deadline), closed(EndUser, 10 * MINUTE)]);
    assert_eq!(story.c().closed.as_ref().map(|close| close.by.clone()), Some(By::timer()));
}

#[test]
fn the_deadline_stays_when_control_goes_on() {
    let story = ending().later_ms(9 * MINUTE).after(agents(), pass("survey"));
    assert_eq!(due(&story), Some((noon_and(10 * MINUTE), Due::Deadline)));
    story
        .later_ms(MINUTE)
        .when_due(Due::Deadline)
        .then([released("survey", ReleaseCause::Deadline), closed(EndUser, 10 * MINUTE)]);
}

#[test]
fn a_deadline_whose_conversation_goes_on_or_is_closed_does_nothing() {
    held_by("agents").when_due(Due::Deadline).unchanged();
    ending().after(agents(), release()).when_due(Due::Deadline).unchanged();
}

// Offers

#[test]
fn an_offer_that_nobody_takes_up_is_withdrawn() {
    let story = held_by("bot").after(bot(), offer_for_ms("agents", 30_000)).later_ms(30_000);
    assert_eq!(due(&story), Some((noon_and(30_000), Due::OfferExpiry)));
    let story = story.when_due(Due::OfferExpiry).then([offer_withdrawn("agents", WithdrawCause::Expired)]);
    assert_eq!((story.c().status, story.c().owner.as_ref()), (Status::Open, Some(&name("bot"))));
    assert_eq!(due(&story), Some((noon_and(15 * MINUTE), Due::Inactivity)), "which does not put inactivity off");
}

#[test]
fn an_offer_without_an_end_does_not_expire() {
    let story = held_by("agents").after(agents(), offer("survey"));
    assert_eq!(due(&story), None);
    held_by("bot").when_due(Due::OfferExpiry).unchanged();
}

#[test]
fn a_timer_that_is_not_due_yet_does_nothing() {
    let story = held_by("bot").after(bot(), offer_for_ms("agents", 30_000));
    story.later_ms(29_999).when_due(Due::OfferExpiry).unchanged();
    ending().later_ms(10 * MINUTE - 1).when_due(Due::Deadline).unchanged();
}

#[test]
fn what_is_due_first_goes_first() {
    let story = held_by("bot").after(bot(), offer_for_ms("agents", 20 * MINUTE));
    assert_eq!(due(&story), Some((noon_and(15 * MINUTE), Due::Inactivity)));
    let story = held_by("bot").after(bot(), offer_for_ms("agents", 14 * MINUTE));
    assert_eq!(due(&story), Some((noon_and(14 * MINUTE), Due::OfferExpiry)));
}

// After an outage

#[test]
fn after_an_outage_nothing_falls_due_before_a_minute_or_its_own_wait_if_shorter() {
    let ready = noon_and(30 * HOUR);
    assert_eq!(due_with(&held_by("bot"), NOON, false, ready), Some((ready.plus_ms(MINUTE), Due::Inactivity)));
    let story = held_by("bot").after(bot(), offer_for_ms("agents", 5_000));
    assert_eq!(due_with(&story, NOON, false, ready), Some((ready.plus_ms(5_000), Due::OfferExpiry)));
    assert_eq!(due_with(&ending(), NOON, false, ready), Some((ready.plus_ms(MINUTE), Due::Deadline)));
    let short = CENTRE.replace("\"15m\"", "\"7s\"");
    let story = given(&short).after(web(), start());
    assert_eq!(due_with(&story, NOON, false, ready), Some((ready.plus_ms(7_000), Due::Inactivity)));
}

#[test]
fn an_outage_puts_off_nothing_that_is_due_later_anyway() {
    let ready = noon_and(5_000);
    assert_eq!(due_with(&held_by("bot"), NOON, false, ready), Some((noon_and(15 * MINUTE), Due::Inactivity)));
}

// Notes of activity

#[test]
fn activity_is_noted_at_most_once_a_tenth_of_the_timeout() {
    let story = held_by("bot");
    assert!(!is_to_be_noted(story.c(), noon_and(90_000 - 1), &story.config));
    assert!(is_to_be_noted(story.c(), noon_and(90_000), &story.config));
}

#[test]
fn activity_is_noted_once_an_hour_where_nothing_times_out() {
    let story = held_by("agents");
    assert!(!is_to_be_noted(story.c(), noon_and(HOUR - 1), &story.config));
    assert!(is_to_be_noted(story.c(), noon_and(HOUR), &story.config));
}

// Waiting

#[test]
fn an_ending_conversation_says_whom_it_waits_for_since_when_and_until_when() {
    let story = held_by("agents");
    assert_eq!(story.c().waiting_for(), None);
    let story = story.later_ms(MINUTE).after(web(), end());
    let waiting = story.c().waiting_for().expect("it waits");
    assert_eq!((waiting.owner, waiting.since), (Some(&name("agents")), noon_and(MINUTE)));
    assert_eq!(waiting.deadline, Some(noon_and(11 * MINUTE)));
    let closed = story.after(agents(), release());
    assert_eq!(closed.c().waiting_for(), None);
}
