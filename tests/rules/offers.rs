//! Control proposed and not yet accepted: `offer`, `accept`, `decline`, `withdraw`.

use serde_json::json;
use switchboard::domain::event::{EndCause, PassCause, ReleaseCause, WithdrawCause};

use super::given::*;
use super::say::*;

fn with_bot() -> Given {
    given(CENTRE).after(web(), start())
}

fn offered_to_agents() -> Given {
    with_bot().after(bot(), offer("agents"))
}

#[test]
fn the_owner_offers_control_and_keeps_it() {
    let story = with_bot()
        .when(bot(), offer_with("agents", "a person, please", json!({"topic": "bill"})))
        .then([offered("bot", "agents").because("a person, please").setting(json!({"topic": "bill"}))]);
    let c = story.c();
    assert_eq!((c.owner.as_ref(), c.epoch), (Some(&name("bot")), 1));
    assert!(c.is_offered_to(&name("agents")) && c.metadata.is_empty());
    assert_eq!(c.offer.as_ref().map(|offer| offer.by.clone()), Some(bot()));
}

#[test]
fn an_offer_to_next_goes_to_the_callers_own() {
    with_bot().when(bot(), offer("next")).then([offered("bot", "agents")]);
    given(CENTRE)
        .after(web(), start_for("survey"))
        .when(integration("survey"), offer("next"))
        .refused("invalid_target");
}

#[test]
fn an_offer_says_until_when() {
    let until = Some(NOON.plus_ms(30_000));
    with_bot().when(bot(), offer_for_ms("agents", 30_000)).then([offered_until("bot", "agents", until)]);
}

#[test]
fn an_older_offer_is_superseded_first() {
    for to in ["sales", "agents"] {
        offered_to_agents()
            .when(bot(), offer(to))
            .then([offer_withdrawn("agents", WithdrawCause::Superseded), offered("bot", to)]);
    }
}

#[test]
fn control_cannot_be_offered_to_the_owner_or_who_is_unknown_or_disabled() {
    for to in ["bot", "nobody", "old-bot"] {
        with_bot().when(bot(), offer(to)).refused("invalid_target");
    }
}

#[test]
fn only_the_owner_offers() {
    with_bot().when(agents(), offer("survey")).refused("not_in_control");
    offered_to_agents().when(agents(), offer("survey")).refused("not_in_control");
}

#[test]
fn nothing_is_offered_once_the_end_was_requested() {
    let ending = given(CENTRE).after(web(), start_for("agents")).after(web(), end());
    ending.clone().when(agents(), offer("survey")).refused("conversation_ending");
    ending.when(agents(), offer("agents")).refused("conversation_ending");
}

#[test]
fn who_was_offered_accepts_and_the_offers_facts_apply_then_its_own() {
    let story = with_bot()
        .after(bot(), offer_with("agents", "why", json!({"a": 1, "b": 1, "c": null})))
        .when(agents(), accept_with(json!({"b": 2, "a": null})))
        .then([accepted("bot", "agents").setting(json!({"b": 2, "a": null}))]);
    let c = story.c();
    assert_eq!((c.owner.as_ref(), c.offer.as_ref(), c.epoch), (Some(&name("agents")), None, 2));
    assert_eq!(c.metadata, facts(json!({"b": 2})));
}

#[test]
fn nobody_else_accepts_or_declines() {
    for who in [bot(), integration("survey")] {
        offered_to_agents().when(who.clone(), accept()).refused("not_offered");
        offered_to_agents().when(who, decline()).refused("not_offered");
    }
}

#[test]
fn accepting_again_is_unchanged_only_as_long_as_that_accept_was_the_last_change_of_owner() {
    let accepted = offered_to_agents().after(agents(), accept());
    accepted.clone().when(agents(), accept()).unchanged();
    accepted.clone().when(integration("survey"), accept()).refused("not_offered");
    let still = accepted.clone().after(agents(), offer("survey")).after(agents(), withdraw());
    still.when(agents(), accept()).unchanged();
    let back = accepted.after(agents(), pass("bot")).after(bot(), pass("agents"));
    back.when(agents(), accept()).refused("not_offered");
}

#[test]
fn an_owner_that_was_never_offered_anything_has_nothing_to_accept() {
    with_bot().when(bot(), accept()).refused("not_offered");
    with_bot().after(agents(), take()).when(agents(), accept()).refused("not_offered");
}

#[test]
fn who_was_offered_declines_and_says_why() {
    let story = offered_to_agents().when(agents(), decline_because("all busy")).then([offer_withdrawn(
        "agents",
        WithdrawCause::Declined,
    )
    .because("all busy")]);
    assert_eq!((story.c().owner.as_ref(), story.c().offer.as_ref()), (Some(&name("bot")), None));
    story.when(agents(), decline()).refused("not_offered");
}

#[test]
fn a_declined_offers_facts_never_apply() {
    let story = with_bot().after(bot(), offer_with("agents", "why", json!({"a": 1}))).after(agents(), decline());
    assert!(story.c().metadata.is_empty());
}

#[test]
fn the_owner_withdraws_its_offer_once() {
    offered_to_agents()
        .when(bot(), withdraw())
        .then([offer_withdrawn("agents", WithdrawCause::Withdrawn)])
        .when(bot(), withdraw())
        .unchanged();
}

#[test]
fn only_the_owner_withdraws() {
    offered_to_agents().when(agents(), withdraw()).refused("not_in_control");
}

#[test]
fn an_end_withdraws_the_offer_between_the_request_and_what_takes_control_away() {
    let withdrawn = || offer_withdrawn("agents", WithdrawCause::EndRequested);
    offered_to_agents().when(web(), end()).then([
        end_requested_by(EndCause::EndUser, Some(switchboard::domain::config::OnEnd::Release), None),
        withdrawn(),
        released("bot", ReleaseCause::EndRequested),
        closed(EndCause::EndUser, 0),
    ]);
    offered_to_agents().when(bot(), finish()).then([
        end_requested(EndCause::Integration),
        withdrawn(),
        released("bot", ReleaseCause::Integration),
        closed(EndCause::Integration, 0),
    ]);
    offered_to_agents().when(olga(), order_end()).then([
        end_requested(EndCause::Operator),
        withdrawn(),
        released("bot", ReleaseCause::Operator),
        closed(EndCause::Operator, 0),
    ]);
}

#[test]
fn an_operator_withdraws_the_offer_of_whom_it_overrules() {
    offered_to_agents()
        .when(olga(), order_pass("survey"))
        .then([offer_withdrawn("agents", WithdrawCause::Passed), passed("bot", "survey", PassCause::Operator)]);
    offered_to_agents()
        .when(olga(), order_release())
        .then([offer_withdrawn("agents", WithdrawCause::Released), released("bot", ReleaseCause::Operator)]);
}
