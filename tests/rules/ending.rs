//! How a session ends: the end user's end in its four modes, and the owner's own.

use switchboard::domain::config::OnEnd;
use switchboard::domain::conversation::Status;
use switchboard::domain::event::EndCause::{EndUser, Integration};
use switchboard::domain::event::{PassCause, ReleaseCause, WithdrawCause};

use super::given::*;
use super::say::*;

fn held_by(owner: &str) -> Given {
    given(CENTRE).after(web(), start_for(owner))
}

fn deadline() -> Option<switchboard::domain::Time> {
    Some(NOON.plus_ms(600_000))
}

// Nobody holds control

#[test]
fn an_end_that_finds_nobody_in_control_closes_at_once() {
    let story = held_by("bot")
        .after(bot(), release())
        .later_ms(7)
        .when(web(), end_under("m-9", "bye"))
        .then([end_requested(EndUser).because("bye").under("m-9"), closed(EndUser, 7).under("m-9")]);
    let c = story.c();
    assert_eq!(c.status, Status::Closed);
    let close = c.closed.as_ref().expect("closed");
    assert_eq!((&close.by, close.cause, close.at), (&web(), EndUser, NOON.plus_ms(7)));
}

// release

#[test]
fn on_end_release_releases_and_closes_in_the_same_decision() {
    held_by("bot").later_ms(90_000).when(web(), end()).then([
        end_requested_by(EndUser, Some(OnEnd::Release), None),
        released("bot", ReleaseCause::EndRequested),
        closed(EndUser, 90_000),
    ]);
}

#[test]
fn an_end_is_noted_under_the_message_that_it_names_or_else_the_last_one_reported() {
    let story = held_by("bot").last_message("m-3");
    story.clone().when(web(), end()).then([
        end_requested_by(EndUser, Some(OnEnd::Release), None).under("m-3"),
        released("bot", ReleaseCause::EndRequested),
        closed(EndUser, 0).under("m-3"),
    ]);
    story.when(web(), end_under("m-2", "enough")).then([
        end_requested_by(EndUser, Some(OnEnd::Release), None).because("enough").under("m-2"),
        released("bot", ReleaseCause::EndRequested),
        closed(EndUser, 0).under("m-2"),
    ]);
}

// hold

#[test]
fn on_end_hold_leaves_it_ending_until_the_owner_releases() {
    let story = held_by("agents").when(web(), end_under("m-5", "done")).then([end_requested_by(
        EndUser,
        Some(OnEnd::Hold),
        deadline(),
    )
    .because("done")
    .under("m-5")]);
    let c = story.c();
    assert_eq!((c.status, c.owner.as_ref(), c.closed.as_ref()), (Status::Ending, Some(&name("agents")), None));
    let request = c.end_requested.as_ref().expect("requested");
    assert_eq!((&request.by, request.cause, request.deadline), (&web(), EndUser, deadline()));
    let story = story
        .later_ms(1_000)
        .when(agents(), release())
        .then([released("agents", ReleaseCause::Integration), closed(EndUser, 1_000).under("m-5")]);
    let close = story.c().closed.as_ref().expect("closed");
    assert_eq!((&close.by, close.cause), (&agents(), EndUser));
}

#[test]
fn without_a_release_deadline_it_waits_for_ever() {
    let config = CENTRE.replace("release_deadline = \"10m\"", "");
    given(&config).after(web(), start_for("agents")).when(web(), end()).then([end_requested_by(
        EndUser,
        Some(OnEnd::Hold),
        None,
    )]);
}

#[test]
fn the_deadline_is_the_channels_own() {
    let config = format!("{CENTRE}\n[[channel]]\nname = \"sms\"\nrelease_deadline = \"2m\"\n");
    given(&config).after(channel("sms"), start_for("agents")).when(channel("sms"), end()).then([end_requested_by(
        EndUser,
        Some(OnEnd::Hold),
        Some(NOON.plus_ms(120_000)),
    )]);
}

#[test]
fn the_close_is_noted_where_the_end_was_unless_the_release_names_a_message() {
    let story = held_by("agents").after(web(), end_under("m-5", "done")).after(web(), message_id("m-6"));
    let let_go = || released("agents", ReleaseCause::Integration);
    story.clone().when(agents(), release()).then([let_go(), closed(EndUser, 0).under("m-5")]);
    story.clone().when(agents(), release_under("m-6")).then([let_go(), closed(EndUser, 0).under("m-6")]);
    story.when(agents(), finish_under("m-7", "done")).then([let_go().because("done"), closed(EndUser, 0).under("m-7")]);
}

#[test]
fn an_end_that_leaves_it_ending_withdraws_the_offer_too() {
    held_by("agents").after(agents(), offer("survey")).when(web(), end()).then([
        end_requested_by(EndUser, Some(OnEnd::Hold), deadline()),
        offer_withdrawn("survey", WithdrawCause::EndRequested),
    ]);
}

// pass

#[test]
fn on_end_pass_gives_control_to_the_target_which_must_release_it() {
    let pass_on = || Some(OnEnd::Pass(name("survey")));
    let story = held_by("sales")
        .when(web(), end())
        .then([end_requested_by(EndUser, pass_on(), deadline()), passed("sales", "survey", PassCause::OnEnd)]);
    assert_eq!(story.c().status, Status::Ending);
    story.clone().when(integration("sales"), release()).refused("not_in_control");
    story
        .clone()
        .when(integration("survey"), release())
        .then([released("survey", ReleaseCause::Integration), closed(EndUser, 0)]);
    story
        .when(integration("survey"), pass("agents"))
        .then([passed("survey", "agents", PassCause::Name)])
        .when(agents(), release())
        .then([released("agents", ReleaseCause::Integration), closed(EndUser, 0)]);
}

#[test]
fn on_end_pass_withdraws_the_offer_before_control_goes() {
    held_by("sales").after(integration("sales"), offer("agents")).when(web(), end()).then([
        end_requested_by(EndUser, Some(OnEnd::Pass(name("survey"))), deadline()),
        offer_withdrawn("agents", WithdrawCause::EndRequested),
        passed("sales", "survey", PassCause::OnEnd),
    ]);
}

#[test]
fn on_end_pass_to_the_owner_itself_is_as_hold() {
    let config = CENTRE.replace(
        "name = \"sales\"\n    on_end = { pass = \"survey\" }",
        "name = \"sales\"\n    on_end = { pass = \"sales\" }",
    );
    given(&config).after(web(), start_for("sales")).when(web(), end()).then([end_requested_by(
        EndUser,
        Some(OnEnd::Pass(name("sales"))),
        deadline(),
    )]);
}

#[test]
fn on_end_pass_to_who_is_disabled_is_as_release_and_says_so() {
    let config = CENTRE.replace("{ pass = \"survey\" }", "{ pass = \"old-bot\" }");
    given(&config).after(web(), start_for("sales")).when(web(), end()).then([
        end_requested_by(EndUser, Some(OnEnd::Pass(name("old-bot"))), None),
        released("sales", ReleaseCause::EndTargetMissing),
        closed(EndUser, 0),
    ]);
}

// The end cannot be taken back

#[test]
fn a_second_end_is_unchanged() {
    let ending = held_by("agents").after(web(), end());
    ending.clone().when(web(), end()).unchanged();
    ending.after(agents(), release()).when(web(), end()).unchanged();
}

#[test]
fn an_end_user_ends_only_where_the_channel_lets_it() {
    for place in ["thread", "mail"] {
        given(CENTRE).after(channel(place), start()).when(channel(place), end()).refused("end_not_allowed");
    }
}

// The owner's own end

#[test]
fn the_owner_ends_the_session_now_whatever_end_user_can_end_says() {
    for place in ["web", "thread", "mail"] {
        let story = given(CENTRE)
            .after(channel(place), start_for("agents"))
            .later_ms(20)
            .when(agents(), finish_under("m-4", "solved"))
            .then([
                end_requested(Integration).because("solved").under("m-4"),
                released("agents", ReleaseCause::Integration),
                closed(Integration, 20).under("m-4"),
            ]);
        assert_eq!(story.c().closed.as_ref().map(|close| close.by.clone()), Some(agents()));
    }
}

#[test]
fn who_names_no_message_ends_under_the_last_one_reported() {
    let story = held_by("bot").after(web(), message_id("m-1"));
    story.when(bot(), finish()).then([
        end_requested(Integration).under("m-1"),
        released("bot", ReleaseCause::Integration),
        closed(Integration, 0).under("m-1"),
    ]);
}

#[test]
fn only_the_owner_ends() {
    held_by("bot").when(agents(), finish()).refused("not_in_control");
    held_by("bot").after(bot(), release()).when(bot(), finish()).refused("not_in_control");
}

#[test]
fn the_owners_end_while_ending_is_as_its_release() {
    held_by("agents")
        .after(web(), end())
        .when(agents(), finish())
        .then([released("agents", ReleaseCause::Integration), closed(EndUser, 0)]);
}

#[test]
fn the_owners_end_after_the_close_is_unchanged_for_who_owned_it_last() {
    let closed = held_by("bot").after(bot(), pass("agents")).after(agents(), finish());
    closed.clone().when(agents(), finish()).unchanged();
    closed.when(bot(), finish()).refused("conversation_closed");
}

#[test]
fn a_conversation_closes_only_after_control_was_released() {
    let ending = held_by("agents").after(web(), end());
    for command in [reply(), pass("survey")] {
        let story = ending.clone().after(agents(), command);
        assert_eq!(story.c().status, Status::Ending);
    }
    let released = held_by("agents").after(agents(), release());
    assert_eq!(released.c().status, Status::Open);
}

#[test]
fn the_session_is_measured_from_its_start() {
    let story = held_by("bot").later_ms(3_000).after(bot(), pass("agents")).later_ms(4_500);
    story.when(agents(), finish()).then([
        end_requested(Integration),
        released("agents", ReleaseCause::Integration),
        closed(Integration, 7_500),
    ]);
}
