//! What commands, events, conversations and configurations say of themselves, for the layers above.

use serde_json::json;
use switchboard::domain::Command;
use switchboard::domain::command::Due;
use switchboard::domain::conversation::Note;
use switchboard::domain::decide::is_orphaned;
use switchboard::domain::event::{AssignCause, EndCause, PassCause, ReleaseCause, WithdrawCause};

use super::given::*;
use super::say::*;

/// Every command, in one order.
fn commands() -> Vec<Command> {
    let mut all = [start(), message_id("m"), end_under("m", "why")].map(Command::Channel).to_vec();
    let of_integrations = [
        pass("bot"),
        offer("bot"),
        accept(),
        decline(),
        withdraw(),
        take(),
        release_under("m"),
        reply(),
        finish_under("m", "why"),
    ];
    all.extend(of_integrations.map(Command::Integration));
    all.extend([order_pass("bot"), order_release(), order_end()].map(Command::Operator));
    all.extend([Due::Inactivity, Due::Deadline, Due::OfferExpiry, Due::Removal].map(Command::Due));
    all
}

/// The verbs of the commands of which something is so.
fn which(is_so: impl Fn(&Command) -> bool) -> Vec<&'static str> {
    commands().iter().filter(|command| is_so(command)).map(Command::verb).collect()
}

#[test]
fn a_command_is_known_by_its_verb_in_subjects_and_in_the_log() {
    let verbs = "start message end pass offer accept decline withdraw take release reply end pass release end \
                 inactivity deadline offer_expiry removal";
    assert_eq!(which(|_| true), verbs.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn only_a_message_and_a_reply_carry_words_and_only_a_channel_begins() {
    assert_eq!(which(Command::is_message), ["message", "reply"]);
    assert_eq!(which(Command::may_begin), ["start", "message"]);
}

#[test]
fn a_command_reports_the_message_that_it_names() {
    assert_eq!(which(|command| command.last_message_id().is_some()), ["message", "end", "release", "end"]);
    for command in commands() {
        assert!(command.last_message_id().is_none_or(|id| &**id == "m"));
    }
}

#[test]
fn an_event_names_whoever_held_or_was_offered_control() {
    let named = |event: switchboard::domain::Event| -> Vec<String> {
        event.names().into_iter().flatten().map(ToString::to_string).collect()
    };
    assert_eq!(named(assigned("bot", AssignCause::Start)), ["bot"]);
    assert_eq!(named(passed("bot", "agents", PassCause::Name)), ["bot", "agents"]);
    assert_eq!(named(passed(None, "agents", PassCause::Operator)), ["agents"]);
    assert_eq!(named(offered("bot", "agents")), ["bot", "agents"]);
    assert_eq!(named(offer_withdrawn("agents", WithdrawCause::Declined)), ["agents"]);
    assert_eq!(named(accepted("bot", "agents")), ["bot", "agents"]);
    assert_eq!(named(released("bot", ReleaseCause::Integration)), ["bot"]);
    for event in [started(), reopened(), end_requested(EndCause::EndUser), closed(EndCause::EndUser, 0)] {
        assert!(named(event).is_empty());
    }
}

#[test]
fn a_conversation_concerns_whoever_holds_or_is_offered_it_and_nobody_else() {
    let offered = given(CENTRE).after(web(), start()).after(bot(), offer("agents"));
    let concerned = |who: &str| offered.c().concerns(&name(who));
    assert!(concerned("bot") && concerned("agents") && !concerned("survey"));
}

#[test]
fn a_note_says_who_the_end_user_is_when_there_was_activity_and_under_which_message() {
    let mut c = given(CENTRE).after(web(), start()).c().clone();
    let version = c.version;
    c.note(&Note { user: Some("u".into()), last_activity_at: NOON.plus_ms(5), last_message_id: Some("m".into()) });
    assert_eq!((c.user.as_deref(), c.last_message_id.as_deref()), (Some("u"), Some("m")));
    assert_eq!((c.last_activity_at, c.version), (NOON.plus_ms(5), version));
}

#[test]
fn a_conversation_is_orphaned_when_its_owner_or_whom_it_is_offered_to_goes() {
    let offered = given(CENTRE).after(web(), start()).after(bot(), offer("survey"));
    let without = |text: &str| {
        let story = offered.clone().reconfigured(CENTRE, text, &format!("{text}\n    enabled = false"));
        is_orphaned(story.c(), &story.config)
    };
    assert!(!is_orphaned(offered.c(), &offered.config));
    assert!(without("name = \"bot\""), "the owner goes");
    assert!(without("name = \"survey\""), "whom it is offered to goes");
    assert!(!without("name = \"sales\""), "somebody else goes");
}

#[test]
fn only_who_is_enabled_and_asks_for_it_stands_by() {
    let config = r#"
        [[integration]]
        name = "on"
        standby = true
        [[integration]]
        name = "off"
        standby = true
        enabled = false
        [[integration]]
        name = "bot"
    "#;
    assert_eq!(given(config).config.standbys().map(ToString::to_string).collect::<Vec<_>>(), ["on"]);
}

#[test]
fn what_is_held_after_a_removal_is_kept() {
    let before = given(CENTRE);
    let removed_at = before.seq;
    let after = before.reconfigured(CENTRE, "name = \"survey\"", "name = \"survey\"\n    enabled = false");
    assert!(after.config.is_gone_since(&name("survey"), removed_at - 1));
    assert!(!after.config.is_gone_since(&name("survey"), removed_at));
    assert!(!after.config.is_gone_since(&name("bot"), 0));
}

#[test]
fn a_channel_that_gives_up_its_own_settings_has_the_common_ones() {
    let own = r#"
        [[channel]]
        name = "mail"
        reopen = true
    "#;
    let story = given(own);
    assert!(story.config.settings(&name("mail")).reopen);
    let story = story.configured("");
    assert!(!story.config.settings(&name("mail")).reopen);
    let version = story.config.version();
    assert_eq!(story.configured("").config.version(), version, "it is given up once");
}

#[test]
fn nothing_is_set_and_nothing_known_only_where_there_is_no_key_at_all() {
    assert!(patch(json!({})).is_empty() && !patch(json!({"a": null})).is_empty());
    assert!(facts(json!({})).is_empty() && !facts(json!({"a": 1})).is_empty());
}
