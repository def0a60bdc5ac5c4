//! After the close: it reopens, starts over or stays closed, by the channel's settings.

use serde_json::json;
use switchboard::domain::By;
use switchboard::domain::conversation::Status;
use switchboard::domain::event::AssignCause::{Default, Start};

use super::given::*;
use super::say::*;

/// A conversation of `place` that ended a minute after noon, at 12:01:00.300.
fn closed_at(place: &str) -> (Given, By) {
    let by = channel(place);
    let story = given(CENTRE)
        .after(by.clone(), start_with("u-1", "agents", json!({"topic": "bill"})))
        .later_ms(60_300)
        .after(agents(), finish());
    (story, by)
}

// It reopens

#[test]
fn where_reopen_is_on_a_message_reopens_the_same_session_with_its_metadata() {
    let (story, mail) = closed_at("mail");
    let (session, epoch) = (story.c().session, story.c().epoch);
    let story = story
        .later_ms(5_000)
        .when(mail, message())
        .then([reopened_with(json!({"topic": "bill"}), None), assigned_with("bot", Default, json!({"topic": "bill"}))]);
    let c = story.c();
    assert_eq!((c.status, c.session, c.epoch), (Status::Open, session, epoch + 1));
    assert_eq!((c.end_requested.as_ref(), c.closed.as_ref()), (None, None));
    assert_eq!(c.metadata, facts(json!({"topic": "bill"})));
    assert_eq!((c.user.as_deref(), c.started_at), (Some("u-1"), NOON));
}

#[test]
fn a_reopened_session_still_says_from_where_it_continues() {
    let mail = channel("mail");
    given(CENTRE)
        .after(mail.clone(), start_continuing("c-0"))
        .after(bot(), finish())
        .when(mail, message())
        .then([reopened_with(json!({}), Some("c-0")), assigned("bot", Default)]);
}

#[test]
fn without_a_default_a_reopened_conversation_is_held_by_nobody() {
    let (story, mail) = closed_at("mail");
    let config = CENTRE.replace("default_integration = \"bot\"", "");
    let story = story.configured(&config).when(mail, message()).then([reopened_with(json!({"topic": "bill"}), None)]);
    assert_eq!(story.c().owner, None);
}

#[test]
fn where_reopen_is_on_a_start_changes_nothing() {
    let (story, mail) = closed_at("mail");
    story.clone().when(mail.clone(), start()).unchanged();
    story.expecting(Some(99), Some(99)).when(mail, start()).unchanged();
}

#[test]
fn reopen_goes_before_multi_conversations() {
    let config = CENTRE.replace("name = \"mail\"", "name = \"mail\"\n    multi_conversations = false");
    let mail = channel("mail");
    given(&config)
        .after(mail.clone(), start())
        .after(bot(), finish())
        .when(mail, message())
        .then([reopened(), assigned("bot", Default)]);
}

#[test]
fn a_reopened_conversation_can_end_again() {
    let (story, mail) = closed_at("mail");
    let story = story.after(mail, message()).after(olga(), order_end());
    assert_eq!(story.c().status, Status::Closed);
}

// It stays closed

#[test]
fn with_several_conversations_a_closed_one_stays_closed() {
    let (story, web) = closed_at("web");
    story.clone().when(web.clone(), message()).refused("conversation_closed");
    story.clone().when(web.clone(), start()).refused("conversation_closed");
    story.expecting(Some(99), None).when(web, start()).refused("conversation_closed");
}

// It starts over

#[test]
fn a_single_thread_starts_over_with_the_next_session() {
    let (story, thread) = closed_at("thread");
    let (version, epoch) = (story.c().version, story.c().epoch);
    let story = story.later_ms(1_000).when(thread, message()).then([started(), assigned("bot", Default)]);
    let c = story.c();
    assert_eq!((c.status, c.session, c.version, c.epoch), (Status::Open, 2, version + 2, epoch + 1));
    assert_eq!((c.end_requested.as_ref(), c.closed.as_ref()), (None, None));
    assert_eq!((c.started_at, c.user.as_deref()), (NOON.plus_ms(61_300), Some("u-1")));
    assert!(c.metadata.is_empty(), "metadata is cleared when a session starts");
}

#[test]
fn a_start_of_a_single_thread_starts_over_with_what_it_brings() {
    let (story, thread) = closed_at("thread");
    let story = story
        .when(thread, start_with("u-2", "survey", json!({"topic": "order"})))
        .then([started_with(json!({"topic": "order"})), assigned_with("survey", Start, json!({"topic": "order"}))]);
    assert_eq!(story.c().user.as_deref(), Some("u-2"));
}

#[test]
fn a_session_that_starts_over_forgets_from_where_the_last_one_continued() {
    let thread = channel("thread");
    let story = given(CENTRE).after(thread.clone(), start_continuing("c-0")).after(bot(), finish());
    let story = story.when(thread, message()).then([started(), assigned("bot", Default)]);
    assert_eq!(story.c().continued_from, None);
}

#[test]
fn a_session_that_starts_over_is_measured_anew() {
    let (story, thread) = closed_at("thread");
    let story = story.later_ms(10_000).after(thread, message()).later_ms(2_000);
    story.when(bot(), finish()).then([
        end_requested(switchboard::domain::event::EndCause::Integration),
        released("bot", switchboard::domain::event::ReleaseCause::Integration),
        closed(switchboard::domain::event::EndCause::Integration, 2_000),
    ]);
}

#[test]
fn starting_over_asks_what_a_start_asks() {
    let (story, thread) = closed_at("thread");
    story.clone().when(thread.clone(), start_for("nobody")).refused("invalid_target");
    story.clone().expecting(Some(1), None).when(thread.clone(), start()).refused("stale_version");
    let epoch = story.c().epoch;
    story.expecting(Some(epoch), None).when(thread, start()).applied();
}

#[test]
fn going_on_counts_among_the_open_conversations_of_the_channel() {
    for place in ["mail", "thread"] {
        let (story, by) = closed_at(place);
        story.clone().open_conversations(10_000_000).when(by.clone(), message()).refused("limit_reached");
        story.clone().open_conversations(9_999_999).when(by.clone(), message()).applied();
        let stale = story.expecting(Some(99), None);
        stale.clone().when(by.clone(), message()).refused("stale_version");
        stale.open_conversations(10_000_000).when(by, message()).refused("limit_reached");
    }
    let (story, web) = closed_at("web");
    story.open_conversations(10_000_000).when(web, message()).refused("conversation_closed");
}

#[test]
fn what_the_owner_accepted_in_the_last_session_is_nothing_to_this_one() {
    let thread = channel("thread");
    let story = given(CENTRE)
        .after(thread.clone(), start())
        .after(bot(), offer("agents"))
        .after(agents(), accept())
        .after(agents(), finish())
        .after(thread, start_for("agents"));
    story.when(agents(), accept()).refused("not_offered");
}

// A provider's late repeat

#[test]
fn a_message_sent_before_the_close_is_unchanged_whatever_the_channel_does_after_it() {
    for place in ["mail", "thread", "web"] {
        let (story, by) = closed_at(place);
        let story = story.later_ms(60_000);
        story.clone().when(by.clone(), message_sent_at("2026-01-31T12:00:59Z")).unchanged();
        story.clone().when(by.clone(), message_sent_at("2026-01-31T12:01:00.299Z")).unchanged();
        story.clone().when(by.clone(), message_sent_at("2026-01-31T13:01:00.2+01:00")).unchanged();
        story.expecting(Some(99), None).when(by, message_sent_at("2026-01-31T12:00:59Z")).unchanged();
    }
}

#[test]
fn a_message_sent_in_the_second_of_the_close_counts_as_after_it_for_who_writes_seconds() {
    let (story, mail) = closed_at("mail");
    for at in ["2026-01-31T12:01:00Z", "2026-01-31T12:01:00.3Z", "2026-01-31T12:01:00.300Z", "2026-01-31T12:02:00Z"] {
        story.clone().when(mail.clone(), message_sent_at(at)).applied();
    }
}

#[test]
fn a_message_that_does_not_say_when_it_was_sent_counts_as_after_the_close() {
    let (story, mail) = closed_at("mail");
    story.when(mail, message()).applied();
}

// Everything else

#[test]
fn after_the_close_everything_else_is_refused() {
    let (story, web) = closed_at("web");
    for command in [pass("survey"), offer("survey"), accept(), decline(), withdraw(), take(), release(), reply()] {
        story.clone().when(agents(), command).refused("conversation_closed");
    }
    story.clone().when(olga(), order_pass("bot")).refused("conversation_closed");
    story.clone().when(web.clone(), end()).unchanged();
    story.clone().expecting(Some(99), Some(99)).when(web, end()).unchanged();
    story.clone().expecting(Some(99), None).when(agents(), finish()).unchanged();
    story.when(channel("mail"), end()).refused("wrong_channel");
}

#[test]
fn a_channels_end_after_the_close_is_unchanged_also_where_end_users_may_not_end() {
    let (story, thread) = closed_at("thread");
    story.when(thread, end()).unchanged();
}
