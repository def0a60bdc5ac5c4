//! Operators overrule: they pass, release and end without owning.

use switchboard::domain::conversation::Status;
use switchboard::domain::event::EndCause::{EndUser, Operator};
use switchboard::domain::event::{PassCause, ReleaseCause};

use super::given::*;
use super::say::*;

fn held_by_bot() -> Given {
    given(CENTRE).after(web(), start())
}

fn held_by_nobody() -> Given {
    held_by_bot().after(bot(), release())
}

fn ending() -> Given {
    given(CENTRE).after(web(), start_for("agents")).after(web(), end())
}

#[test]
fn an_operator_passes_control_without_owning() {
    held_by_bot().when(olga(), order_pass_because("agents", "complaint")).then([passed(
        "bot",
        "agents",
        PassCause::Operator,
    )
    .because("complaint")]);
}

#[test]
fn an_operator_gives_control_that_nobody_holds() {
    held_by_nobody().when(olga(), order_pass("agents")).then([passed(None, "agents", PassCause::Operator)]);
}

#[test]
fn an_operators_pass_to_the_owner_is_unchanged() {
    held_by_bot().when(olga(), order_pass("bot")).unchanged();
}

#[test]
fn an_operator_has_no_next_and_names_who_is_enabled() {
    for to in ["next", "nobody", "old-bot"] {
        held_by_bot().when(olga(), order_pass(to)).refused("invalid_target");
    }
}

#[test]
fn an_operators_pass_while_ending_leaves_it_ending() {
    let story = ending().when(olga(), order_pass("bot")).then([passed("agents", "bot", PassCause::Operator)]);
    assert_eq!(story.c().status, Status::Ending);
}

#[test]
fn an_operator_releases_without_owning() {
    let story = held_by_bot().when(olga(), order_release()).then([released("bot", ReleaseCause::Operator)]);
    assert_eq!(story.c().status, Status::Open);
    story.when(olga(), order_release()).unchanged();
}

#[test]
fn an_operators_release_while_ending_closes() {
    let story =
        ending().when(olga(), order_release()).then([released("agents", ReleaseCause::Operator), closed(EndUser, 0)]);
    let close = story.c().closed.clone().expect("closed");
    assert_eq!((close.by, close.cause), (olga(), EndUser));
}

#[test]
fn an_operator_ends_at_once_whatever_holds_it_and_whatever_on_end_says() {
    for place in ["web", "thread", "mail"] {
        given(CENTRE).after(channel(place), start_for("sales")).when(olga(), order_end_because("abuse")).then([
            end_requested(Operator).because("abuse"),
            released("sales", ReleaseCause::Operator),
            closed(Operator, 0),
        ]);
    }
}

#[test]
fn an_operator_ends_what_nobody_holds() {
    held_by_nobody().when(olga(), order_end()).then([end_requested(Operator), closed(Operator, 0)]);
}

#[test]
fn an_operators_end_while_ending_releases_and_closes_for_the_first_cause() {
    ending().when(olga(), order_end()).then([released("agents", ReleaseCause::Operator), closed(EndUser, 0)]);
}

#[test]
fn an_operators_end_or_release_after_the_close_is_unchanged_and_a_pass_is_refused() {
    let closed = held_by_bot().after(olga(), order_end());
    closed.clone().when(olga(), order_end()).unchanged();
    closed.clone().when(olga(), order_release()).unchanged();
    closed.clone().when(olga(), order_pass("agents")).refused("conversation_closed");
    closed.when(olga(), order_pass("next")).refused("conversation_closed");
}
