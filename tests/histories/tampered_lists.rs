//! Listings and rejections as they must be, and each way in which they would not.

use serde_json::{Value, json};

use crate::checker;
use crate::history::{Attempt, Operation, Said, Seen, mark};
use crate::rejections::{Rejected, Tally, check};
use crate::story::{ACCEPT, HISTORY, ID, OFFER, Story, last_answer, story};

/// Another conversation.
const OTHER: &str = "web-1-0";
/// The places of the pages.
const FIRST: usize = 2;
const SECOND: usize = 3;

/// Two conversations, both of `a`, who lists them on two pages.
fn listed() -> Story {
    let mut story = Story::default();
    let started = [("conversation.started", "open", None, None), ("control.assigned", "open", Some("a"), None)];
    for id in [ID, OTHER] {
        story.other = Some(id);
        story.does("web", "start", json!({}), &started);
    }
    let rows = [0, 1].map(|number| story.operations[number].attempts[0].answer.clone().unwrap().1.states);
    story.hears("a", "list", page(rows[0].clone(), Some("next")));
    story.operations[FIRST].body = json!({"limit": 1});
    story.hears("a", "list", page(rows[1].clone(), None));
    story.operations[SECOND].body = json!({"limit": 1, "after": "next"});
    story.operations[SECOND].page_before = Some(FIRST);
    story
}

fn page(states: Vec<Seen>, next: Option<&str>) -> Said {
    Said { states, next: Some(next.map(str::to_owned)), ..Said::default() }
}

#[test]
fn a_listing_that_shows_all_that_fits_is_taken() {
    let story = listed();
    let tally = checker::check(&story.operations, &story.log).unwrap();
    assert_eq!((tally.listings, tally.rows), (1, 2));
}

#[test]
fn a_conversation_that_a_listing_leaves_out_is_found() {
    let mut story = listed();
    last_answer(&mut story, SECOND).states.clear();
    story.fails("it lacks [\"web-1-0\"]");
    // It need not be there where it did not fit at one moment.
    let passed = story.asks("integration", "a", "pass", json!({"to": "b"}));
    story.decided(passed, &[("control.passed", "open", Some("b"), None)]);
    story.operations[passed].attempts[0].sent = story.operations[FIRST].attempts[0].sent;
    checker::check(&story.operations, &story.log).unwrap();
    // What was over before the first page was asked for, or began after the last one was answered, is no excuse.
    story.operations[passed].attempts[0].sent = story.now;
    story.fails("no place for it");
}

#[test]
fn a_listing_of_open_conversations_that_leaves_one_out_is_found_and_one_that_shows_a_closed_one() {
    let mut story = listed();
    for number in [FIRST, SECOND] {
        let operation = &mut story.operations[number];
        (operation.role, operation.name, operation.verb) = ("query".into(), "observer".into(), "conversations".into());
        operation.body["status"] = json!(["open"]);
        operation.body["owner"] = json!("a");
    }
    checker::check(&story.operations, &story.log).unwrap();
    let mut short = story.clone();
    last_answer(&mut short, SECOND).states.clear();
    short.fails("no place for it");
    for (field, value) in [("status", json!("closed")), ("owner", Value::Null), ("offered_to", json!("a"))] {
        let mut unasked = story.clone();
        unasked.operations[SECOND].body[field] = value;
        unasked.fails("nobody asked for it");
    }
}

#[test]
fn a_row_that_was_so_before_or_after_its_page_is_found() {
    let mut story = listed();
    let passed = story.asks("integration", "a", "pass", json!({"to": "b"}));
    story.decided(passed, &[("control.passed", "open", Some("b"), None)]);
    story.answered(passed, story.applied());
    let late = story.now + 10;
    story.operations[SECOND].attempts[0].sent = late;
    story.operations[SECOND].attempts[0].answer.as_mut().unwrap().0 = late + 10;
    story.fails("no place for it");
}

#[test]
fn a_conversation_shown_twice_is_found() {
    let mut story = listed();
    let first = last_answer(&mut story, FIRST).states.clone();
    last_answer(&mut story, SECOND).states = first;
    story.fails("shown twice");
    // Also where it never came to its end.
    last_answer(&mut story, SECOND).next = Some(Some("and so on".into()));
    story.fails("shown twice");
}

#[test]
fn a_page_with_more_than_was_asked_for_is_found() {
    let mut story = listed();
    let more = last_answer(&mut story, SECOND).states.clone();
    last_answer(&mut story, FIRST).states.extend(more);
    story.fails("expected at most 1 rows");
    let mut elsewhere = listed();
    elsewhere.operations[SECOND].body["after"] = json!("another");
    elsewhere.fails("from elsewhere");
}

#[test]
fn a_page_of_events_that_names_another_head_or_another_next_one_is_found() {
    let cut = |story: &mut Story, next_seq| {
        let page = last_answer(story, HISTORY).page.as_mut().unwrap();
        page.events.truncate(2);
        page.next_seq = next_seq;
    };
    let mut story = story();
    cut(&mut story, Some(3));
    checker::check(&story.operations, &story.log).unwrap();
    for (wrong, what) in [(Some(2), "comes next"), (Some(4), "comes next"), (None, "expected [")] {
        let mut story = story.clone();
        cut(&mut story, wrong);
        story.fails(what);
    }
    let mut stale = story.clone();
    cut(&mut stale, None);
    last_answer(&mut stale, HISTORY).page.as_mut().unwrap().head_seq = 2;
    stale.fails("no place for it");
    last_answer(&mut stale, HISTORY).page.as_mut().unwrap().head_seq = 1;
    stale.fails("the log never ended there");
}

/// The place of the command of the story that was refused.
const REFUSED: usize = 3;

fn rejected(operation: &Operation, number: usize, said: &Said, heard: u64) -> Rejected {
    Rejected {
        heard,
        role: operation.role.clone(),
        name: operation.name.clone(),
        actor: mark(number),
        verb: operation.verb.clone(),
        conversation: operation.conversation.clone(),
        id: operation.id.clone(),
        said: said.clone(),
    }
}

/// The rejection of what was refused in the story.
fn rejection(story: &Story) -> Rejected {
    let operation = &story.operations[REFUSED];
    let (answered, said) = operation.attempts[0].answer.as_ref().unwrap();
    rejected(operation, REFUSED, said, answered - 1)
}

const ALWAYS: [(u64, u64); 1] = [(0, u64::MAX)];

fn fails(story: &Story, rejections: &[Rejected], with: &str) {
    let what = check(&story.operations, &story.log, rejections, &ALWAYS).expect_err("it does not fit");
    assert!(what.contains(with), "expected {with:?}, got {what}");
}

#[test]
fn a_rejection_that_fits_is_taken_and_one_that_is_lost_is_found_unless_the_server_was_gone() {
    let story = story();
    let rejection = rejection(&story);
    let (completed, tally) = check(&story.operations, &story.log, &[rejection], &ALWAYS).unwrap();
    assert_eq!((completed, tally.published, tally.missed), (story.operations.clone(), 1, 0));
    fails(&story, &[], "not published so");
    let answered = story.operations[REFUSED].attempts[0].answer.as_ref().unwrap().0;
    let spans = [(0, answered), (answered, u64::MAX)];
    let (_, tally) = check(&story.operations, &story.log, &[], &spans).unwrap();
    assert_eq!(tally, Tally { missed: 1, ..Tally::default() });
}

#[test]
fn a_rejection_that_is_doubled_altered_or_of_something_else_is_found() {
    let story = story();
    let fits = rejection(&story);
    fails(&story, &[fits.clone(), fits.clone()], "rejected, and not refused");
    let said = Said { code: Some("not_offered".into()), ..fits.said.clone() };
    fails(&story, &[Rejected { said, ..fits.clone() }], "not published so");
    let of_applied = rejected(&story.operations[OFFER], OFFER, &fits.said, fits.heard);
    fails(&story, &[fits.clone(), of_applied], "rejected, and not refused");
    let of_a_question = rejected(&story.operations[HISTORY], HISTORY, &fits.said, fits.heard);
    let of_nobody = Rejected { actor: mark(77), ..fits.clone() };
    let by_another = Rejected { name: "b".into(), ..fits.clone() };
    let of_another = Rejected { conversation: OTHER.into(), ..fits.clone() };
    let under_another_id = Rejected { id: Some("x".into()), ..fits.clone() };
    for wrong in [of_a_question, of_nobody, by_another, of_another, under_another_id] {
        fails(&story, &[fits.clone(), wrong], "nobody asked for it");
    }
}

#[test]
fn what_was_not_answered_and_is_rejected_must_be_right_at_its_place() {
    let mut story = story();
    let fits = rejection(&story);
    let asked = story.asks("integration", "a", "pass", json!({"to": "c"}));
    let complete = |story: &Story, said: &Said| {
        let heard = rejected(&story.operations[asked], asked, said, story.now + 5);
        check(&story.operations, &story.log, &[fits.clone(), heard], &ALWAYS)
    };
    let (completed, tally) = complete(&story, &story.refused("not_in_control", json!({"owner": "b"}))).unwrap();
    assert_eq!(tally.unanswered, 1);
    checker::check(&completed, &story.log).unwrap();
    let (completed, _) = complete(&story, &story.refused("not_offered", Value::Null)).unwrap();
    checker::check(&completed, &story.log).expect_err("it is refused for another reason");
    // One attempt is decided or refused, and not both.
    let said = story.refused("not_in_control", json!({"owner": "b"}));
    story.operations[asked].name = "b".into();
    story.decided(asked, &[("control.passed", "open", Some("c"), None)]);
    complete(&story, &said).expect_err("it was decided");
    story.operations[asked].attempts.push(Attempt { sent: story.now + 1, answer: None });
    complete(&story, &said).unwrap();
}

#[test]
fn a_decision_of_what_was_refused_is_found() {
    let mut story = story();
    let refused = story.refused("not_in_control", json!({"owner": "b"}));
    *last_answer(&mut story, ACCEPT) = refused.clone();
    story.operations[ACCEPT].attempts = vec![story.operations[ACCEPT].attempts[0].clone()];
    *last_answer(&mut story, ACCEPT) = refused;
    story.fails("decided, and answered otherwise");
}
