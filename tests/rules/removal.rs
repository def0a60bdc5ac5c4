//! An integration is removed or disabled: what it holds is released, what it is offered is withdrawn.

use switchboard::domain::By;
use switchboard::domain::command::Due;
use switchboard::domain::conversation::Status;
use switchboard::domain::event::{EndCause, PassCause, ReleaseCause, WithdrawCause};

use super::given::*;
use super::say::*;

const SURVEY: &str = "[[integration]]\n    name = \"survey\"\n";
const SURVEY_OFF: &str = "[[integration]]\n    name = \"survey\"\n    enabled = false\n";

fn held_by(owner: &str) -> Given {
    given(CENTRE).after(web(), start_for(owner))
}

/// The centre without its survey, and without whatever names it.
fn without_survey() -> String {
    CENTRE.replace(SURVEY, "").replace("next = \"survey\"", "").replace("{ pass = \"survey\" }", "\"release\"")
}

#[test]
fn what_a_removed_integration_owns_is_released() {
    let story = held_by("survey")
        .configured(&without_survey())
        .when_due(Due::Removal)
        .then([released("survey", ReleaseCause::IntegrationRemoved)]);
    assert_eq!((story.c().status, story.c().owner.as_ref()), (Status::Open, None));
}

#[test]
fn disabling_is_as_removing() {
    held_by("survey")
        .reconfigured(CENTRE, SURVEY, SURVEY_OFF)
        .when_due(Due::Removal)
        .then([released("survey", ReleaseCause::IntegrationRemoved)]);
}

#[test]
fn an_ending_conversation_closes_with_it() {
    let story = held_by("sales")
        .after(web(), end())
        .later_ms(9)
        .reconfigured(CENTRE, SURVEY, SURVEY_OFF)
        .when_due(Due::Removal)
        .then([released("survey", ReleaseCause::IntegrationRemoved), closed(EndCause::EndUser, 9)]);
    assert_eq!(story.c().closed.as_ref().map(|close| close.by.clone()), Some(By::config()));
}

#[test]
fn an_offer_to_a_removed_integration_is_withdrawn_and_the_owner_keeps_control() {
    let story = held_by("bot")
        .after(bot(), offer("survey"))
        .configured(&without_survey())
        .when_due(Due::Removal)
        .then([offer_withdrawn("survey", WithdrawCause::IntegrationRemoved)]);
    assert_eq!(story.c().owner, Some(name("bot")));
}

#[test]
fn an_offer_of_a_removed_owner_is_withdrawn_before_control_is_released() {
    held_by("survey")
        .after(integration("survey"), offer("agents"))
        .reconfigured(CENTRE, SURVEY, SURVEY_OFF)
        .when_due(Due::Removal)
        .then([
            offer_withdrawn("agents", WithdrawCause::IntegrationRemoved),
            released("survey", ReleaseCause::IntegrationRemoved),
        ]);
}

#[test]
fn when_owner_and_offered_both_go_one_decision_says_so() {
    let config =
        CENTRE.replace(SURVEY, SURVEY_OFF).replace("name = \"sales\"\n", "name = \"sales\"\n    enabled = false\n");
    held_by("survey").after(integration("survey"), offer("sales")).configured(&config).when_due(Due::Removal).then([
        offer_withdrawn("sales", WithdrawCause::IntegrationRemoved),
        released("survey", ReleaseCause::IntegrationRemoved),
    ]);
}

#[test]
fn nothing_happens_to_what_others_hold() {
    held_by("bot").when_due(Due::Removal).unchanged();
    held_by("bot").reconfigured(CENTRE, SURVEY, SURVEY_OFF).when_due(Due::Removal).unchanged();
    let released = held_by("survey").after(integration("survey"), release());
    released.reconfigured(CENTRE, SURVEY, SURVEY_OFF).when_due(Due::Removal).unchanged();
}

#[test]
fn an_integration_that_was_away_for_a_moment_has_lost_what_it_held_and_keeps_what_it_gets() {
    let back = held_by("survey").reconfigured(CENTRE, SURVEY, SURVEY_OFF).configured(CENTRE);
    let story = back.when_due(Due::Removal).then([released("survey", ReleaseCause::IntegrationRemoved)]);
    story.after(olga(), order_pass("survey")).when_due(Due::Removal).unchanged();
}

#[test]
fn an_offer_made_before_it_was_away_is_withdrawn_and_one_made_after_stands() {
    let offered_before = held_by("bot").after(bot(), offer("survey"));
    let back = offered_before.reconfigured(CENTRE, SURVEY, SURVEY_OFF).configured(CENTRE);
    let story = back.when_due(Due::Removal).then([offer_withdrawn("survey", WithdrawCause::IntegrationRemoved)]);
    story.after(bot(), offer("survey")).when_due(Due::Removal).unchanged();
}

#[test]
fn a_changed_integration_keeps_what_it_holds() {
    let changed = "[[integration]]\n    name = \"survey\"\n    can_take = true\n";
    held_by("survey").reconfigured(CENTRE, SURVEY, changed).when_due(Due::Removal).unchanged();
}

#[test]
fn a_removed_integration_asks_for_nothing_any_more() {
    let gone = held_by("survey").configured(&without_survey());
    for command in [pass("bot"), release(), reply(), finish(), take(), accept()] {
        gone.clone().when(integration("survey"), command).refused("unknown_integration");
    }
    held_by("bot").when(bot(), pass("old-bot")).refused("invalid_target");
    held_by("bot").when(integration("old-bot"), release()).refused("unknown_integration");
}

#[test]
fn an_ending_conversation_finishes_as_it_began() {
    let story = held_by("agents").after(web(), end());
    let request = story.c().end_requested.clone();
    let config = CENTRE
        .replace("on_end = \"hold\"", "on_end = { pass = \"survey\" }")
        .replace("release_deadline = \"10m\"", "release_deadline = \"1h\"");
    let story = story.configured(&config);
    assert_eq!(story.c().end_requested, request);
    story.clone().when_due(Due::Removal).unchanged();
    story.when(agents(), release()).then([released("agents", ReleaseCause::Integration), closed(EndCause::EndUser, 0)]);
}

#[test]
fn after_the_close_nobody_is_released() {
    held_by("survey")
        .after(integration("survey"), finish())
        .reconfigured(CENTRE, SURVEY, SURVEY_OFF)
        .when_due(Due::Removal)
        .unchanged();
}

#[test]
fn a_pass_on_end_to_who_was_removed_meanwhile_goes_to_nobody() {
    let config = CENTRE.replace(SURVEY, SURVEY_OFF);
    let story = held_by("sales").configured(&config);
    let story = story.when(web(), end()).applied();
    assert_eq!(story.c().status, Status::Closed);
    let passed_on = held_by("sales").after(web(), end());
    assert_eq!(passed_on.c().owner, Some(name("survey")));
    passed_on.when(integration("survey"), pass("bot")).then([passed("survey", "bot", PassCause::Name)]);
}
