//! How a conversation begins, and what a channel's `start` and `message` do while it is under way.

use serde_json::json;
use switchboard::domain::Refusal;
use switchboard::domain::event::AssignCause::{Default, Start};
use switchboard::domain::event::{PassCause, ReleaseCause};

use super::given::*;
use super::say::*;

#[test]
fn a_start_assigns_control_to_the_default_integration() {
    given(CENTRE).when(web(), start()).then([started(), assigned("bot", Default)]);
}

#[test]
fn a_start_that_names_an_owner_assigns_control_to_it_and_hands_over_the_whole_metadata() {
    let story = given(CENTRE)
        .when(web(), start_with("u-1", "agents", json!({"vip": true})))
        .then([started_with(json!({"vip": true})), assigned_with("agents", Start, json!({"vip": true}))]);
    let c = story.c();
    assert_eq!((c.session, c.version, c.epoch), (1, 2, 1));
    assert_eq!(c.user.as_deref(), Some("u-1"));
    assert_eq!(c.metadata, facts(json!({"vip": true})));
    assert_eq!(c.owner_since(), Some(NOON));
}

#[test]
fn only_what_happened_counts_and_not_who_asked_for_it() {
    let asked = given(CENTRE).after(web(), start()).after(bot(), pass("next")).after(agents(), reply());
    let happened = given(CENTRE)
        .events(&web(), [started(), assigned("bot", Default)])
        .events(&bot(), [passed("bot", "agents", PassCause::Next)]);
    assert_eq!(happened.conversation, asked.conversation);
    happened.when(agents(), release()).then([released("agents", ReleaseCause::Integration)]);
}

#[test]
fn a_start_leaves_out_what_it_deletes() {
    let owner = start_with("u-1", "bot", json!({"a": 1, "b": null}));
    given(CENTRE)
        .when(web(), owner)
        .then([started_with(json!({"a": 1})), assigned_with("bot", Start, json!({"a": 1}))]);
}

#[test]
fn a_start_says_from_which_conversation_it_continues() {
    let story =
        given(CENTRE).when(web(), start_continuing("c-0")).then([started_continuing("c-0"), assigned("bot", Default)]);
    assert_eq!(story.c().continued_from.as_deref(), Some("c-0"));
}

#[test]
fn without_a_default_nobody_holds_control() {
    let config = CENTRE.replace("default_integration = \"bot\"", "");
    let story = given(&config).when(web(), start()).then([started()]);
    assert_eq!((story.c().owner.as_ref(), story.c().owner_since(), story.c().epoch), (None, None, 0));
}

#[test]
fn a_disabled_default_is_as_none() {
    given(CENTRE).when(channel("silent"), start()).then([started()]);
}

#[test]
fn a_start_cannot_assign_control_to_who_is_unknown_or_disabled() {
    given(CENTRE).when(web(), start_for("nobody")).refused("invalid_target");
    given(CENTRE).when(web(), start_for("old-bot")).refused("invalid_target");
    given(CENTRE).when(web(), start_for("next")).refused("invalid_target");
}

#[test]
fn a_first_message_begins_as_a_start_does() {
    let story = given(CENTRE).when(web(), message_id("m-1")).then([started(), assigned("bot", Default)]);
    assert_eq!(story.c().last_message_id.as_deref(), Some("m-1"));
}

#[test]
fn a_message_sent_long_ago_begins_an_unknown_conversation_all_the_same() {
    let old = message_sent_at("2020-01-01T00:00:00Z");
    given(CENTRE).when(web(), old).then([started(), assigned("bot", Default)]);
}

#[test]
fn a_start_of_a_conversation_under_way_is_unchanged() {
    let open = given(CENTRE).after(web(), start());
    open.clone().when(web(), start()).unchanged();
    let ending = open.after(bot(), pass("agents")).after(web(), end());
    ending.when(web(), start_for("bot")).unchanged();
}

#[test]
fn a_message_to_an_owner_records_nothing() {
    given(CENTRE).after(web(), start()).when(web(), message()).then([]);
}

#[test]
fn a_message_that_finds_nobody_in_control_assigns_the_default_with_the_whole_metadata() {
    given(CENTRE)
        .after(web(), start_with("u-1", "agents", json!({"vip": true})))
        .after(agents(), release())
        .when(web(), message())
        .then([assigned_with("bot", Default, json!({"vip": true}))]);
}

#[test]
fn a_message_that_finds_nobody_and_no_default_records_nothing() {
    given(CENTRE).after(channel("silent"), start()).when(channel("silent"), message()).then([]);
}

#[test]
fn a_message_while_ending_goes_to_the_owner_and_does_not_undo_the_end() {
    let story = given(CENTRE).after(web(), start_for("agents")).after(web(), end()).when(web(), message()).then([]);
    assert!(story.c().end_requested.is_some());
}

#[test]
fn a_conversation_belongs_to_the_channel_that_started_it() {
    let story = given(CENTRE).after(web(), start());
    story.clone().when(channel("mail"), start()).refused("wrong_channel");
    story.clone().when(channel("mail"), message()).refused("wrong_channel");
    story.clone().when(channel("mail"), end()).refused("wrong_channel");
    story.when(integration("nobody"), release()).refused("unknown_integration");
}

#[test]
fn every_other_verb_needs_a_conversation() {
    let nothing = given(CENTRE);
    nothing.clone().when(web(), end()).refused("conversation_not_found");
    for command in [pass("agents"), offer("agents"), accept(), decline(), withdraw(), release(), reply(), finish()] {
        nothing.clone().when(bot(), command).refused("conversation_not_found");
    }
    nothing.clone().when(agents(), take()).refused("conversation_not_found");
    nothing.clone().when(olga(), order_pass("bot")).refused("conversation_not_found");
    nothing.clone().when(olga(), order_release()).refused("conversation_not_found");
    nothing.when(olga(), order_end()).refused("conversation_not_found");
}

#[test]
fn an_unknown_conversation_has_epoch_and_version_0() {
    given(CENTRE).expecting(Some(0), Some(0)).when(web(), start()).applied();
    given(CENTRE).expecting(None, Some(1)).when(web(), start()).refused("stale_version");
    given(CENTRE).expecting(Some(1), None).when(web(), message()).refused("stale_version");
}

#[test]
fn a_channel_may_have_so_many_open_conversations_and_no_more() {
    let config = CENTRE.replace("[settings]", "[settings]\nopen_conversations_max = 3");
    given(&config).open_conversations(2).when(web(), start()).applied();
    given(&config).open_conversations(3).when(web(), message()).refused("limit_reached");
    let refusal = given(&config).open_conversations(4).when(web(), start()).refusal();
    assert_eq!(refusal, Refusal::LimitReached { limit: 3 });
    let under_way = given(&config).after(web(), start()).open_conversations(3);
    under_way.clone().when(web(), start()).unchanged();
    under_way.when(web(), message()).then([]);
}
