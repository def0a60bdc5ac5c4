//! What is kept across moments that nothing else looks at: a round of keeping, a stop, a new session, a pass.

use serde_json::json;
use switchboard::switchboard::core::Limits;
use switchboard::switchboard::port::Ask;

use super::say::*;
use super::site::{Cached, Left, Site};
use super::usual;

#[test]
fn what_changed_while_it_was_being_kept_stays_in_memory() {
    let mut site = Site::new(&usual());
    site.keep_everything();
    site.ask(start("t1").by(channel("thread")));
    site.ask(overrule_end("t1"));
    site.later(3 * SECOND).run();
    assert!(site.begin_keeping(), "the first session is on its way to the cache");
    site.ask(start("t1").by(channel("thread")));
    site.ask(overrule_end("t1"));
    assert!(site.end_keeping());
    assert_eq!(site.state("t1")["session"], 2);
    site.keep_everything();
    assert_eq!(site.state("t1")["session"], 2);
}

#[test]
fn what_changed_while_it_was_being_kept_stays_in_memory_though_it_rests_again() {
    let mut site = Site::new(&usual());
    // What came before is a round of its own.
    site.keep_everything();
    ["rests", "awakes"].iter().for_each(|id| drop(site.ask(start(id))));
    site.later(3 * SECOND).run();
    assert!(site.begin_keeping(), "both are on their way to the cache, open");
    for id in ["rests", "awakes"] {
        site.ask(overrule_end(id));
        site.run();
        site.run();
        assert!(site.core.is_resting(&conversation(id)));
    }
    // From here on whatever awakes stays awake.
    site.core = site.core.with_limits(Limits::default());
    assert_eq!(site.ask(release(bot(), "awakes"))["error"]["code"], "conversation_closed");
    assert!(!site.core.is_resting(&conversation("awakes")));
    assert!(site.end_keeping());
    site.run();
    for id in ["rests", "awakes"] {
        assert!(site.core.conversation(&conversation(id)).is_some(), "the cache has {id} as it was");
    }
    site.keep_everything();
    for id in ["rests", "awakes"] {
        assert_eq!(site.state(id)["status"], "closed");
    }
    assert!(site.restored_from(Some(site.head().frames)).slots.is_empty());
}

#[test]
fn nothing_falls_due_once_the_service_stops() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.core.stop();
    site.later(DAY).run();
    assert_eq!(site.kinds("c1"), ["conversation.started", "control.assigned"]);
    assert_eq!(site.core.next_look(), None);
}

#[test]
fn a_new_session_does_not_remember_the_last_message_of_the_one_before() {
    let mut site = Site::new(&usual());
    let thread = channel("thread");
    site.ask(message("t1").by(thread.clone()).message_id("m1"));
    site.ask(overrule_end("t1"));
    assert_eq!(site.state("t1")["last_message_id"], "m1");
    site.ask(start("t1").by(thread));
    assert!(site.state("t1")["last_message_id"].is_null());
}

#[test]
fn a_pass_is_no_activity_of_the_end_user() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let before = site.state("c1")["last_activity_at"].clone();
    site.later(MINUTE);
    site.ask(pass(bot(), "c1", "agents"));
    assert_eq!(site.state("c1")["last_activity_at"], before);
}

#[test]
fn a_timer_stays_though_thousands_were_put_off_and_dropped() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    for n in 0..4200 {
        // Each offer expires a moment sooner than the one before, so each has a look of its own.
        site.send(offer(bot(), "c1", "agents", Some(9 * MINUTE - n)));
        site.send(withdraw(bot(), "c1"));
        if n % 500 == 0 {
            site.run();
        }
    }
    site.run();
    site.keep_everything();
    site.later(11 * MINUTE).run();
    assert_eq!(site.state("c1")["status"], "closed");
}

#[test]
fn a_stop_answers_that_it_is_stopping() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.core.stop();
    let answer = site.question(anybody(), Ask::State { id: conversation("c1") });
    assert_eq!(answer["error"]["code"], "busy");
}

#[test]
fn a_note_of_activity_is_a_moment_that_time_does_not_go_back_behind() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.later(2 * MINUTE);
    assert_eq!(site.ask(message("c1"))["events"], json!([]), "it is noted, and no event");
    site.now.0 -= 30 * SECOND;
    assert_eq!(site.ask(pass(bot(), "c1", "agents"))["outcome"], "applied");
}

#[test]
fn another_end_user_is_noted_at_once() {
    let mut site = Site::new(&usual());
    site.ask(start("c1").user("u1"));
    site.ask(message("c1").user("u2"));
    let mut site = site.restart(Cached::Nothing);
    assert_eq!(site.state("c1")["user"], "u2");
}

#[test]
fn a_refusal_tells_nothing_of_a_conversation_to_whom_it_is_none_of_their_business() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    for (by, code) in [(channel("mail"), "wrong_channel"), (integration("nobody"), "unknown_integration")] {
        let call = if code == "wrong_channel" { message("c1").by(by) } else { pass(by, "c1", "agents") };
        let error = site.ask(call)["error"].clone();
        assert_eq!(error["code"], code);
        assert!(error["conversation"].is_null(), "{error}");
    }
}

#[test]
fn whoever_is_concerned_does_not_stand_by() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.left.clear();
    site.ask(pass(bot(), "c1", "listener"));
    let Left::Events { inbox, standby, .. } = &site.left[0] else { panic!("expected events, got {:?}", site.left[0]) };
    assert!(inbox.contains(&name("listener")) && !standby.contains(&name("listener")));
}

#[test]
fn an_id_of_a_session_long_over_is_free_again_however_many_there_were() {
    let mut site = Site::new(&usual());
    let begin = || start("t1").by(channel("thread"));
    site.ask(begin().command_id("s1"));
    for n in 0..15 {
        site.ask(pass(bot(), "t1", "agents").command_id(&format!("there{n}")));
        site.ask(pass(agents(), "t1", "bot").command_id(&format!("back{n}")));
    }
    let again = site.ask(pass(bot(), "t1", "agents").command_id("there0"));
    assert_eq!(again["replayed"], true);
    site.ask(overrule_end("t1"));
    site.later(2 * DAY);
    site.ask(begin().command_id("s2"));
    site.ask(pass(bot(), "t1", "agents").command_id("there again"));
    site.ask(pass(agents(), "t1", "bot").command_id("back again"));
    let afresh = site.ask(pass(bot(), "t1", "agents").command_id("there0"));
    assert_eq!((&afresh["outcome"], &afresh["replayed"]), (&json!("applied"), &json!(null)), "{afresh}");
}

#[test]
fn who_stands_by_may_see_every_conversation_and_who_is_not_concerned_none() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let state = |by| (by, Ask::State { id: conversation("c1") });
    let (by, ask) = state(integration("listener"));
    assert_eq!(site.question(by, ask)["conversation"]["id"], "c1");
    let (by, ask) = state(integration("survey"));
    let answer = site.question(by, ask);
    assert!(answer["error"]["code"] == "not_allowed" && answer["error"]["conversation"].is_null(), "{answer}");
}
