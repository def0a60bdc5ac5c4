//! The invariants themselves: each breach is seen, and told by its number.

use switchboard::domain::conversation::Status;
use switchboard::domain::event::{AssignCause, EndCause, PassCause, ReleaseCause, WithdrawCause};
use switchboard::domain::{Conversation, Event, invariants};

use super::given::*;
use super::say::*;

fn open() -> Conversation {
    given(CENTRE).after(web(), start()).c().clone()
}

fn offered_to_agents() -> Conversation {
    given(CENTRE).after(web(), start()).after(bot(), offer("agents")).c().clone()
}

fn ending() -> Conversation {
    given(CENTRE).after(web(), start_for("agents")).after(web(), end()).c().clone()
}

fn ended() -> Conversation {
    given(CENTRE).after(web(), start()).after(bot(), finish()).c().clone()
}

/// What a conversation would be after an event that came to it, with something of it changed.
fn after(before: &Conversation, event: &Event, tamper: impl FnOnce(&mut Conversation)) -> Conversation {
    let mut after = before.clone();
    let (by, seq) = (web(), before.seq + 1);
    let stamp = switchboard::domain::conversation::Stamp {
        seq,
        at: NOON,
        by: &by,
        user: None,
        last_activity_at: NOON,
        last_message_id: None,
    };
    switchboard::domain::conversation::evolve(&mut after, event, &stamp);
    tamper(&mut after);
    after
}

#[track_caller]
fn broken(number: &str, before: &Conversation, event: &Event, tamper: impl FnOnce(&mut Conversation)) {
    let told = invariants::check(Some(before), event, &after(before, event, tamper)).expect_err("it is broken");
    assert!(told.starts_with(number), "expected {number}, got {told}");
}

#[test]
fn what_the_rules_do_is_sound() {
    let pass = passed("bot", "agents", PassCause::Name);
    let before = open();
    assert_eq!(invariants::check(Some(&before), &pass, &after(&before, &pass, |_| {})), Ok(()));
    for c in [open(), offered_to_agents(), ending(), ended()] {
        assert_eq!(invariants::check_at_rest(&c), Ok(()));
    }
}

#[test]
fn invariant_1_sees_a_close_without_a_request_a_release_or_the_right_cause() {
    let released = given(CENTRE).after(web(), start()).after(bot(), release()).c().clone();
    broken("I1", &released, &closed(EndCause::EndUser, 0), |_| {});
    let let_go = after(&ending(), &released_by_agents(), |_| {});
    broken("I1", &let_go, &closed(EndCause::Operator, 0), |_| {});
    broken("I1", &let_go, &closed(EndCause::EndUser, 0), |c| c.owner = Some(name("bot")));
    broken("I1", &open(), &passed("bot", "agents", PassCause::Name), |c| c.status = Status::Ending);
    broken("I1", &open(), &passed("bot", "agents", PassCause::Name), |c| c.end_requested = ending().end_requested);
    broken("I1", &open(), &passed("bot", "agents", PassCause::Name), |c| c.closed = ended().closed);
    broken("I1", &let_go, &closed(EndCause::EndUser, 0), |c| c.end_requested = None);
    broken("I1", &let_go, &closed(EndCause::EndUser, 0), |c| c.closed = None);
    broken("I1", &let_go, &closed(EndCause::EndUser, 0), |c| {
        c.closed.iter_mut().for_each(|close| close.cause = EndCause::Operator);
    });
    broken("I1", &ending(), &passed("agents", "survey", PassCause::Name), |c| c.closed = ended().closed);
    broken("I1", &ending(), &released_by_agents(), |c| c.status = Status::Closed);
    broken("I1", &ending(), &released_by_agents(), |c| {
        (c.status, c.end_requested, c.closed) = (Status::Closed, None, ended().closed);
    });
    let mut nobodys = ending();
    nobodys.owner = None;
    assert!(invariants::check_at_rest(&nobodys).is_err_and(|told| told.starts_with("I1")));
}

#[test]
fn invariant_2_sees_an_offer_to_the_owner_or_of_nobody() {
    broken("I2", &open(), &offered("bot", "bot"), |_| {});
    broken("I2", &offered_to_agents(), &passed("bot", "agents", PassCause::Name), |_| {});
    broken("I2", &offered_to_agents(), &released("bot", ReleaseCause::Integration), |_| {});
    let mut c = ending();
    c.offer = offered_to_agents().offer;
    c.offer.iter_mut().for_each(|offer| offer.to = name("survey"));
    assert!(invariants::check_at_rest(&c).is_err_and(|told| told.starts_with("I2")));
}

#[test]
fn invariant_3_sees_an_event_that_does_not_fit() {
    broken("I3", &ended(), &released("bot", ReleaseCause::Integration), |c| c.owner = None);
    broken("I3", &open(), &started(), |_| {});
    broken("I3", &open(), &reopened(), |_| {});
    broken("I3", &open(), &assigned("agents", AssignCause::Default), |_| {});
    broken("I3", &open(), &passed("agents", "survey", PassCause::Name), |_| {});
    broken("I3", &open(), &passed("bot", "bot", PassCause::Name), |_| {});
    broken("I3", &open(), &released("agents", ReleaseCause::Integration), |_| {});
    broken("I3", &open(), &accepted("bot", "agents"), |_| {});
    broken("I3", &open(), &offer_withdrawn("agents", WithdrawCause::Withdrawn), |_| {});
    broken("I3", &offered_to_agents(), &offered("bot", "survey"), |_| {});
    broken("I3", &offered_to_agents(), &passed("bot", "survey", PassCause::Name), |_| {});
    broken("I3", &ending(), &offered("agents", "survey"), |_| {});
    broken("I3", &ending(), &end_requested(EndCause::Operator), |_| {});
}

#[test]
fn invariant_3_sees_a_close_of_what_is_open_held_or_offered() {
    let as_ended = |c: &mut Conversation| (c.owner, c.offer, c.end_requested) = (None, None, ended().end_requested);
    let close = closed(EndCause::Integration, 0);
    let mut offered = after(&ending(), &released_by_agents(), |_| {});
    assert_eq!(invariants::check(Some(&offered), &close, &after(&offered, &close, as_ended)), Ok(()));
    offered.offer = offered_to_agents().offer;
    let released = given(CENTRE).after(web(), start()).after(bot(), release()).c().clone();
    for before in [released, ending(), offered] {
        broken("I3", &before, &close, as_ended);
    }
}

#[test]
fn a_breach_is_told_with_what_was_found() {
    let pass = passed("agents", "survey", PassCause::Name);
    let told = |before: Conversation| invariants::check(Some(&before), &pass, &after(&before, &pass, |_| {}));
    let expected = "I3: switchboard.control.passed found status Some(Open), owner bot, offered to nobody";
    assert_eq!(told(open()), Err(expected.into()));
}

#[test]
fn invariant_4_sees_counts_that_stand_still_jump_or_go_back() {
    let pass = passed("bot", "agents", PassCause::Name);
    broken("I4", &open(), &pass, |c| c.version += 1);
    broken("I4", &open(), &pass, |c| c.version -= 1);
    broken("I4", &open(), &pass, |c| c.epoch -= 1);
    broken("I4", &open(), &pass, |c| c.session += 1);
    broken("I4", &open(), &pass, |c| c.seq -= 1);
    broken("I4", &ended(), &started(), |c| c.session = 1);
    broken("I4", &ended(), &started(), |c| c.version = 1);
    broken("I4", &ended(), &reopened(), |c| c.session += 1);
}

fn released_by_agents() -> Event {
    released("agents", ReleaseCause::Integration)
}
