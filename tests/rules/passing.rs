//! How control goes from one integration to another: `pass`, `take`, `release`.

use serde_json::json;
use switchboard::domain::Refusal;
use switchboard::domain::conversation::Status;
use switchboard::domain::event::{EndCause, PassCause, ReleaseCause, WithdrawCause};

use super::given::*;
use super::say::*;

fn with_bot() -> Given {
    given(CENTRE).after(web(), start())
}

#[test]
fn the_owner_passes_control_by_name() {
    let story = with_bot().when(bot(), pass("survey")).then([passed("bot", "survey", PassCause::Name)]);
    assert_eq!((story.c().owner.as_ref(), story.c().epoch, story.c().version), (Some(&name("survey")), 2, 3));
}

#[test]
fn the_owner_passes_control_to_its_next() {
    with_bot().when(bot(), pass("next")).then([passed("bot", "agents", PassCause::Next)]);
}

#[test]
fn a_pass_tells_why_and_hands_facts_over() {
    let story =
        with_bot().when(bot(), pass_with("agents", "asks for a person", json!({"topic": "bill"}))).then([passed(
            "bot",
            "agents",
            PassCause::Name,
        )
        .because("asks for a person")
        .setting(json!({"topic": "bill"}))]);
    assert_eq!(story.c().metadata, facts(json!({"topic": "bill"})));
}

#[test]
fn next_without_a_next_is_an_invalid_target() {
    given(CENTRE).after(web(), start_for("survey")).when(integration("survey"), pass("next")).refused("invalid_target");
}

#[test]
fn a_next_that_is_disabled_is_an_invalid_target() {
    let config = CENTRE.replace("next = \"agents\"", "next = \"old-bot\"");
    given(&config).after(web(), start()).when(bot(), pass("next")).refused("invalid_target");
}

#[test]
fn control_cannot_be_passed_to_who_is_unknown_or_disabled() {
    with_bot().when(bot(), pass("nobody")).refused("invalid_target");
    with_bot().when(bot(), pass("old-bot")).refused("invalid_target");
}

#[test]
fn a_pass_to_oneself_is_unchanged() {
    let story = with_bot().when(bot(), pass_with("bot", "why not", json!({"a": 1}))).unchanged();
    assert!(story.c().metadata.is_empty());
}

#[test]
fn only_the_owner_passes_and_the_refusal_says_who_that_is() {
    let refusal = with_bot().when(agents(), pass("survey")).refusal();
    assert_eq!(refusal, Refusal::NotInControl { owner: Some(name("bot")) });
    with_bot().when(agents(), pass("agents")).refused("not_in_control");
    let refusal = with_bot().after(bot(), release()).when(bot(), pass("agents")).refusal();
    assert_eq!(refusal, Refusal::NotInControl { owner: None });
}

#[test]
fn a_pass_withdraws_a_pending_offer_first_even_to_who_was_offered() {
    for to in ["agents", "sales"] {
        with_bot()
            .after(bot(), offer("agents"))
            .when(bot(), pass(to))
            .then([offer_withdrawn("agents", WithdrawCause::Passed), passed("bot", to, PassCause::Name)]);
    }
}

#[test]
fn a_pass_while_ending_goes_through_and_does_not_extend_the_deadline() {
    let ending = given(CENTRE).after(web(), start_for("agents")).after(web(), end());
    let request = ending.c().end_requested.clone();
    let story =
        ending.later_ms(60_000).when(agents(), pass("survey")).then([passed("agents", "survey", PassCause::Name)]);
    assert_eq!(story.c().end_requested, request);
    assert_eq!(story.c().status, Status::Ending);
    let waiting = story.c().waiting_for().expect("it waits");
    assert_eq!((waiting.owner, waiting.since), (Some(&name("survey")), NOON.plus_ms(60_000)));
    assert_eq!(waiting.deadline, Some(NOON.plus_ms(600_000)));
}

#[test]
fn a_take_goes_to_the_caller_from_whoever_holds_control() {
    with_bot().when(agents(), take_with("escalation", json!({"by": "phone"}))).then([passed(
        "bot",
        "agents",
        PassCause::Take,
    )
    .because("escalation")
    .setting(json!({"by": "phone"}))]);
}

#[test]
fn a_take_from_nobody_says_so() {
    with_bot().after(bot(), release()).when(agents(), take()).then([passed(None, "agents", PassCause::Take)]);
}

#[test]
fn a_take_by_the_owner_is_unchanged() {
    with_bot().after(agents(), take()).when(agents(), take()).unchanged();
}

#[test]
fn a_take_needs_can_take_also_of_the_owner() {
    with_bot().when(integration("survey"), take()).refused("not_allowed");
    with_bot().when(bot(), take()).refused("not_allowed");
}

#[test]
fn a_take_withdraws_a_pending_offer_first() {
    with_bot()
        .after(bot(), offer("agents"))
        .when(agents(), take())
        .then([offer_withdrawn("agents", WithdrawCause::Passed), passed("bot", "agents", PassCause::Take)]);
}

#[test]
fn a_take_while_ending_leaves_it_ending() {
    let config = format!("{CENTRE}\n[[integration]]\nname = \"lead\"\ncan_take = true\n");
    let story = given(&config)
        .after(web(), start_for("agents"))
        .after(web(), end())
        .when(integration("lead"), take())
        .then([passed("agents", "lead", PassCause::Take)]);
    assert_eq!(story.c().status, Status::Ending);
}

#[test]
fn a_release_leaves_control_with_nobody_and_the_session_goes_on() {
    let story = with_bot().when(bot(), release_with("done", json!({"solved": true}))).then([released(
        "bot",
        ReleaseCause::Integration,
    )
    .because("done")
    .setting(json!({"solved": true}))]);
    assert_eq!((story.c().status, story.c().session, story.c().epoch), (Status::Open, 1, 2));
    assert_eq!((story.c().owner.as_ref(), story.c().metadata.clone()), (None, facts(json!({"solved": true}))));
}

#[test]
fn only_the_owner_releases() {
    with_bot().when(agents(), release()).refused("not_in_control");
    with_bot().after(bot(), release()).when(bot(), release()).refused("not_in_control");
}

#[test]
fn a_release_withdraws_a_pending_offer_first() {
    with_bot()
        .after(bot(), offer("agents"))
        .when(bot(), release())
        .then([offer_withdrawn("agents", WithdrawCause::Released), released("bot", ReleaseCause::Integration)]);
}

#[test]
fn a_release_while_ending_closes_in_the_same_decision() {
    given(CENTRE)
        .after(web(), start_for("agents"))
        .after(web(), end())
        .later_ms(5_000)
        .when(agents(), release())
        .then([released("agents", ReleaseCause::Integration), closed(EndCause::EndUser, 5_000)]);
}

#[test]
fn a_reply_comes_from_the_owner_alone_and_records_nothing() {
    with_bot().when(bot(), reply()).then([]);
    with_bot().when(agents(), reply()).refused("not_in_control");
    with_bot().after(bot(), pass("agents")).when(bot(), reply()).refused("not_in_control");
}
