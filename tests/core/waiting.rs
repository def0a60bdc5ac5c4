//! What waits while something else moves: a page, a question about the past, the grace after an outage, the end.

use serde_json::json;
use switchboard::domain::Refusal;
use switchboard::switchboard::core::Limits;
use switchboard::switchboard::port::{Ask, Effect, Moment, PastAsk};

use super::say::*;
use super::site::{BEGIN, Left, Site};
use super::usual;

/// One turn of each thread, and time for a round of keeping.
fn turn(site: &mut Site) {
    site.later(3 * SECOND).step();
    while site.take() {}
    while site.write() || site.hear() {}
    site.keep();
}

#[test]
fn a_page_looks_again_where_somebody_left_memory_since_the_cache_was_read() {
    let mut site = Site::new(&usual());
    site.core = site.core.with_limits(Limits { page_conversations_max: 1, ..Limits::default() });
    let ids: Vec<String> = (10..40).map(|n| format!("c{n}")).collect();
    for id in &ids {
        site.ask(start(id));
    }
    site.keep_everything();
    let page = site.hand(anybody(), Ask::List(Box::new(everything(100))));
    site.step();
    site.take();
    site.write();
    site.hear();
    assert!(site.read(), "the cache is read while it has nothing that is closed");
    site.send(overrule_end("c39"));
    // A page that takes too long keeps nothing in memory for ever.
    for _ in 0..15 {
        turn(&mut site);
    }
    assert!(site.core.conversation(&conversation("c39")).is_none());
    assert!(site.answer(&page).is_none(), "the page is still being put together");
    site.run();
    let page = site.answer(&page).unwrap();
    let found: Vec<&str> =
        page["conversations"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(found, ids);
}

#[test]
fn a_question_about_the_past_of_who_left_memory_while_it_waited_is_answered() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.keep_everything();
    site.ask(overrule_end("c1"));
    let at = Moment::Seq(site.head().next_seq - 1);
    site.later(3 * SECOND).step();
    assert!(site.begin_keeping(), "c1 is on its way to the cache");
    // A new configuration is on its way to the disk, under which the past is shown: the question waits for it.
    let mut other = usual();
    other["settings"]["legacy_csat"] = json!(true);
    site.hand(olga(), Ask::Put(Box::new(put(&other))));
    let question = site.hand(anybody(), Ask::from(PastAsk::Conversation { id: conversation("c1"), at }));
    site.step();
    assert!(site.take());
    assert!(site.end_keeping());
    site.step();
    assert!(site.core.conversation(&conversation("c1")).is_none(), "c1 left memory");
    assert!(site.answer(&question).is_none());
    site.run();
    assert_eq!(site.answer(&question).unwrap()["conversation"]["status"], "closed");
}

#[test]
fn a_question_about_the_past_waits_for_what_was_decided_before_it() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let before = site.head().next_seq;
    site.send(pass(bot(), "c1", "agents"));
    site.step();
    assert!(site.take(), "the pass is on its way to the disk");
    let question =
        site.hand(anybody(), Ask::from(PastAsk::Conversation { id: conversation("c1"), at: Moment::Time(site.now) }));
    site.step();
    assert!(!site.take() && !site.core.is_idle(), "nothing is read before it is there");
    site.run();
    let answer = site.answer(&question).unwrap();
    assert_eq!((&answer["conversation"]["owner"], &answer["conversation"]["seq"]), (&json!("agents"), &json!(before)));
}

#[test]
fn a_question_that_waits_when_the_log_fails_is_told_so() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.send(pass(bot(), "c1", "agents"));
    site.step();
    assert!(site.take(), "the pass is on its way to the disk");
    let at = Moment::Time(site.now);
    let question = site.hand(anybody(), Ask::from(PastAsk::Conversation { id: conversation("c1"), at }));
    site.step();
    site.core.log_failed();
    let last = site.core.give_up().expect("somebody waits").into_failure();
    let is_told = |effect: &Effect| match effect {
        Effect::Answer(answer) => answer.to == question && answer.refusal == Some(Refusal::LogFailed),
        _ => false,
    };
    assert!(last.iter().any(is_told));
}

#[test]
fn the_grace_after_an_outage_counts_from_the_last_decision_where_the_clock_went_back() {
    let mut site = Site::new(&usual());
    site.ask(start("c1").owner("agents"));
    site.ask(end("c1"));
    site.later(10 * MINUTE - SECOND);
    site.ask(start("c2"));
    site.core.ready(false, site.now);
    site.now.0 -= HOUR;
    site.core.ready(true, site.now);
    // Its deadline is a second after the last decision; whoever was away has a minute from there.
    site.now = BEGIN.plus_ms(10 * MINUTE + 58 * SECOND);
    site.run();
    assert_eq!(site.state("c1")["status"], "ending");
    site.later(2 * SECOND).run();
    assert_eq!(site.state("c1")["status"], "closed");
}

#[test]
fn it_is_not_idle_while_anything_waits() {
    let mut site = Site::new(&usual());
    site.core = site.core.with_limits(Limits { page_conversations_max: 1, ..Limits::default() });
    assert!(site.core.is_idle());
    site.send(start("c1"));
    assert!(!site.core.is_idle(), "a command waits");
    site.step();
    assert!(!site.core.is_idle(), "a group waits for the writer");
    site.take();
    assert!(!site.core.is_idle(), "a group is on its way to the disk");
    site.write();
    assert!(!site.core.is_idle(), "nobody has told that it is there");
    site.hear();
    assert!(site.core.is_idle());
    site.ask(start("c2"));
    let page = site.hand(anybody(), Ask::List(Box::new(everything(10))));
    site.step();
    site.take();
    while site.write() || site.hear() || site.read() {}
    assert!(!site.core.is_idle(), "a page is being put together");
    site.run();
    assert!(site.core.is_idle() && site.answer(&page).is_some());
}

#[test]
fn a_message_goes_to_those_on_standby_who_do_not_get_it_anyway() {
    let mut site = Site::new(&usual());
    site.ask(message("c1").content("to the bot"));
    site.ask(pass(bot(), "c1", "listener"));
    site.ask(message("c1").content("to the listener"));
    let standby: Vec<Vec<String>> = site
        .left
        .iter()
        .filter_map(|left| match left {
            Left::Relay { standby, .. } => Some(standby.iter().map(ToString::to_string).collect()),
            _ => None,
        })
        .collect();
    assert_eq!(standby, [vec!["listener".to_owned()], vec![]]);
}
