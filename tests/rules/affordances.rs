//! What a user interface may show to the end user.

use switchboard::domain::conversation::Affordances;

use super::given::*;
use super::say::*;

fn shown(story: &Given) -> Affordances {
    story.c().affordances(story.config.settings(&story.c().channel))
}

fn config(multi_conversations: bool, reopen: bool, end_user_can_end: bool, legacy_csat: bool) -> String {
    format!(
        "[settings]\nmulti_conversations = {multi_conversations}\nreopen = {reopen}\n\
         end_user_can_end = {end_user_can_end}\nlegacy_csat = {legacy_csat}\ndefault_integration = \"agents\"\n\
         [[integration]]\nname = \"agents\"\non_end = \"hold\"\n"
    )
}

/// The same conversation open, ending and closed.
fn open_ending_closed(config: &str) -> [Affordances; 3] {
    let open = given(config).after(web(), start());
    let ending = open.clone().after(web(), end());
    let closed = ending.clone().after(agents(), release());
    [shown(&open), shown(&ending), shown(&closed)]
}

fn open_and_closed_by_the_owner(config: &str) -> [Affordances; 2] {
    let open = given(config).after(web(), start());
    let closed = open.clone().after(agents(), finish());
    [shown(&open), shown(&closed)]
}

#[test]
fn where_the_end_user_may_end() {
    let [open, ending, closed] = open_ending_closed(&config(true, false, true, false));
    assert_eq!(
        open,
        Affordances {
            end_conversation: true,
            send_message: true,
            continue_on_other_channels: false,
            start_new_conversation: true,
            send_csat: true,
        }
    );
    assert_eq!(ending, Affordances { end_conversation: false, ..open });
    assert_eq!(closed, Affordances { end_conversation: false, send_message: false, ..open });
}

#[test]
fn a_single_thread() {
    let [open, closed] = open_and_closed_by_the_owner(&config(false, false, false, false));
    assert_eq!(
        open,
        Affordances {
            end_conversation: false,
            send_message: true,
            continue_on_other_channels: true,
            start_new_conversation: false,
            send_csat: true,
        }
    );
    assert_eq!(closed, Affordances { start_new_conversation: true, ..open });
}

#[test]
fn where_a_closed_conversation_reopens_messages_go_on() {
    let [open, closed] = open_and_closed_by_the_owner(&config(true, true, false, false));
    assert!(open.send_message && closed.send_message && open.continue_on_other_channels);
}

#[test]
fn several_conversations_that_stay_closed_take_no_more_messages() {
    let [open, closed] = open_and_closed_by_the_owner(&config(true, false, false, false));
    assert!(open.send_message && !closed.send_message);
    assert!(open.start_new_conversation && closed.start_new_conversation);
    assert!(!open.end_conversation && open.continue_on_other_channels);
}

#[test]
fn no_csat_after_an_end_users_end_under_legacy_csat() {
    let [open, ending, closed] = open_ending_closed(&config(true, false, true, true));
    assert!(open.send_csat && !ending.send_csat && !closed.send_csat);
    let [_, closed] = open_and_closed_by_the_owner(&config(true, false, true, true));
    assert!(closed.send_csat, "the owner ended it");
    let [_, _, closed] = open_ending_closed(&config(true, false, true, false));
    assert!(closed.send_csat, "not under legacy_csat");
}

#[test]
fn they_follow_the_channels_own_settings_and_change_with_them() {
    let story = given(CENTRE).after(channel("thread"), start());
    assert!(!shown(&story).end_conversation && shown(&story).continue_on_other_channels);
    let thread = "name = \"thread\"\n    multi_conversations = false\n    end_user_can_end = false";
    let story = story.reconfigured(CENTRE, thread, "name = \"thread\"");
    assert!(shown(&story).end_conversation && !shown(&story).continue_on_other_channels);
}
