//! Pages of conversations: in order, filtered, closed ones from the cache, never a conversation in neither place.

use serde_json::{Value, json};
use switchboard::domain::conversation::Status;
use switchboard::switchboard::port::{Ask, ListAsk, PAGE_CLOSED_MAX, Read};

use super::say::*;
use super::site::{Cached, Site};
use super::usual;

fn ids(page: &Value) -> Vec<&str> {
    page["conversations"].as_array().expect("conversations").iter().map(|row| row["id"].as_str().unwrap()).collect()
}

/// Pages on and on until there is no next.
fn all(site: &mut Site, ask: &ListAsk) -> Vec<String> {
    let mut ask = ask.clone();
    let mut found = Vec::new();
    loop {
        let page = site.list(ask.clone());
        assert!(ids(&page).len() <= ask.limit);
        found.extend(ids(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => ask.after = Some(next.into()),
            None => return found,
        }
    }
}

/// Closed conversations have left memory; those whose number is odd are closed.
fn mixed(count: usize) -> Site {
    let mut site = Site::new(&usual());
    site.keeps = true;
    for n in 0..count {
        site.send(start(&format!("c{n:04}")).user(if n % 3 == 0 { "ann" } else { "ben" }));
    }
    site.run();
    for n in (1..count).step_by(2) {
        site.send(overrule_end(&format!("c{n:04}")));
    }
    site.run();
    site.later(3 * SECOND).run();
    assert_eq!(site.core.conversations().count(), count.div_ceil(2), "closed ones left memory");
    site
}

#[test]
fn pages_are_in_the_order_of_ids_and_hold_everything_once() {
    let mut site = mixed(50);
    let expected: Vec<String> = (0..50).map(|n| format!("c{n:04}")).collect();
    for limit in [1, 7, 49, 50, 51, 1000] {
        assert_eq!(all(&mut site, &everything(limit)), expected, "{limit}");
    }
}

#[test]
fn filters_narrow() {
    let mut site = mixed(20);
    let closed = ListAsk { status: vec![Status::Closed], ..everything(3) };
    assert_eq!(all(&mut site, &closed).len(), 10);
    let open = ListAsk { status: vec![Status::Open, Status::Ending], ..everything(3) };
    assert_eq!(all(&mut site, &open).len(), 10);
    let of_ann = ListAsk { user: Some("ann".into()), ..everything(3) };
    assert_eq!(all(&mut site, &of_ann), ["c0000", "c0003", "c0006", "c0009", "c0012", "c0015", "c0018"]);
    let elsewhere = ListAsk { channel: Some(name("thread")), ..everything(3) };
    assert!(all(&mut site, &elsewhere).is_empty());
    site.ask(overrule_pass("c0004", "agents"));
    site.ask(overrule_release("c0006"));
    site.ask(offer(bot(), "c0008", "survey", None));
    let held = ListAsk { owner: Some(Some(name("agents"))), ..everything(3) };
    assert_eq!(all(&mut site, &held), ["c0004"]);
    let nobodys_open = ListAsk { owner: Some(None), status: vec![Status::Open], ..everything(3) };
    assert_eq!(all(&mut site, &nobodys_open), ["c0006"]);
    assert_eq!(all(&mut site, &ListAsk { owner: Some(None), ..everything(3) }).len(), 11, "and the closed ones");
    let offered = ListAsk { offered_to: Some(name("survey")), ..everything(3) };
    assert_eq!(all(&mut site, &offered), ["c0008"]);
    let after = ListAsk { after: Some("c0017".into()), ..everything(3) };
    assert_eq!(all(&mut site, &after), ["c0018", "c0019"]);
}

#[test]
fn waiting_and_idle_ask_for_what_is_older() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(pass(bot(), "c1", "agents"));
    site.ask(end("c1"));
    site.later(MINUTE);
    site.ask(start("c2"));
    let now = site.now;
    let waiting = |before| ListAsk { waiting_before: Some(before), ..everything(10) };
    assert_eq!(all(&mut site, &waiting(now)), ["c1"]);
    assert!(all(&mut site, &waiting(super::site::BEGIN)).is_empty());
    let idle = |before| ListAsk { idle_before: Some(before), ..everything(10) };
    assert_eq!(all(&mut site, &idle(now)), ["c1"]);
    assert_eq!(all(&mut site, &idle(now.plus_ms(1))), ["c1", "c2"]);
}

#[test]
fn an_integration_lists_what_it_holds_or_is_offered() {
    let mut site = mixed(10);
    site.ask(overrule_pass("c0004", "agents"));
    site.ask(offer(bot(), "c0008", "agents", None));
    let ask = ListAsk { concerning: Some(name("agents")), ..everything(10) };
    let page = site.question(agents(), Ask::List(Box::new(ask)));
    assert_eq!(ids(&page), ["c0004", "c0008"]);
    let stranger = site.question(integration("nobody"), Ask::List(Box::new(everything(10))));
    assert_eq!(stranger["error"]["code"], "unknown_integration");
}

#[test]
fn a_page_ends_before_it_grows_too_large_and_says_where_the_next_starts() {
    let mut site = Site::new(&usual());
    let words = "x".repeat(3500);
    for n in 0..400 {
        site.send(start(&format!("c{n:04}")).metadata(json!({"words": words})));
    }
    site.run();
    let page = site.list(everything(1000));
    assert!(page.to_string().len() <= 520 * 1024, "{} bytes", page.to_string().len());
    let found = ids(&page).len();
    assert!((100..200).contains(&found), "{found}");
    assert_eq!(page["next"], format!("c{:04}", found - 1));
    assert_eq!(all(&mut site, &everything(1000)).len(), 400);
}

#[test]
fn nothing_leaves_memory_while_a_page_is_read_that_would_miss_it() {
    let mut site = Site::new(&usual());
    for id in ["c1", "c2", "c3"] {
        site.ask(start(id));
    }
    site.keep_everything();
    site.ask(overrule_end("c2"));
    let page = site.hand(anybody(), Ask::List(Box::new(everything(10))));
    site.later(3 * SECOND).step();
    assert!(site.begin_keeping());
    site.take();
    site.write();
    site.hear();
    // The cache is read now, when it does not hold c2 yet; then c2 goes there, and stays for the page's sake.
    assert!(site.read());
    assert!(site.end_keeping());
    assert!(site.core.conversation(&conversation("c2")).is_some());
    site.run();
    assert_eq!(ids(&site.answer(&page).unwrap()), ["c1", "c2", "c3"]);
    site.keep_everything();
    assert!(site.core.conversation(&conversation("c2")).is_none());
}

#[test]
fn a_page_that_takes_for_ever_keeps_nothing_in_memory_for_ever() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(overrule_end("c1"));
    let page = site.hand(anybody(), Ask::List(Box::new(everything(10))));
    site.step();
    site.take();
    site.write();
    site.hear();
    for _ in 0..10 {
        site.later(3 * SECOND).step();
        site.keep();
    }
    assert!(site.core.conversation(&conversation("c1")).is_none());
    site.run();
    assert_eq!(ids(&site.answer(&page).unwrap()), ["c1"]);
}

#[test]
fn a_conversation_that_comes_back_to_memory_while_a_page_is_read_is_on_it_once_as_it_is_now() {
    let mut site = Site::new(&usual());
    site.keeps = true;
    let reopening = channel("reopening");
    for id in ["c1", "c2", "c3"] {
        site.ask(start(id).by(reopening.clone()));
    }
    site.ask(overrule_end("c2"));
    site.later(3 * SECOND).run();
    let page = site.hand(anybody(), Ask::List(Box::new(everything(10))));
    site.step();
    site.take();
    site.write();
    site.hear();
    assert!(site.read());
    site.send(message("c2").by(reopening));
    site.run();
    let page = site.answer(&page).unwrap();
    assert_eq!(ids(&page), ["c1", "c2", "c3"]);
    assert_eq!(page["conversations"][1]["status"], "open");
}

/// Sixty closed conversations that have left memory, of which the first forty are open again.
fn reopened() -> Site {
    let mut site = Site::new(&usual());
    site.keeps = true;
    let reopening = channel("reopening");
    let id = |n| format!("c{n:04}");
    for n in 0..60 {
        site.send(start(&id(n)).by(reopening.clone()));
        site.run();
        site.send(overrule_end(&id(n)));
    }
    site.run();
    site.later(3 * SECOND).run();
    for n in 0..40 {
        site.send(message(&id(n)).by(reopening.clone()));
    }
    site.run();
    assert_eq!(site.core.conversations().count(), 40, "the others left memory");
    site
}

#[test]
fn a_page_of_closed_conversations_is_full_however_many_neighbours_are_open_again() {
    let mut site = reopened();
    let closed = |limit, after: Option<&str>| ListAsk {
        status: vec![Status::Closed],
        after: after.map(Into::into),
        ..everything(limit)
    };
    for limit in [1, 3, 19, 20] {
        let page = site.list(closed(limit, None));
        assert_eq!(ids(&page).len(), limit);
        assert_eq!(ids(&page)[0], "c0040");
        assert_eq!(page["next"].is_null(), limit == 20, "{limit}");
        assert_eq!(all(&mut site, &closed(limit, None)).len(), 20, "{limit}");
    }
    assert_eq!(all(&mut site, &everything(7)).len(), 60);
    let among_them = site.list(closed(4, Some("c0038")));
    assert_eq!(ids(&among_them), ["c0040", "c0041", "c0042", "c0043"]);
}

#[test]
fn a_page_for_which_enough_was_looked_through_is_over_though_it_is_empty() {
    let mut site = reopened();
    let ask = ListAsk { status: vec![Status::Closed], ..everything(1) };
    let page = site.hand(anybody(), Ask::List(Box::new(ask)));
    site.step();
    site.take();
    site.write();
    site.hear();
    // As if it had come here through all but five of what a page may look through.
    let Some(Read::Closed(job)) = site.reads.front_mut().map(|job| &mut job.read) else { panic!("a page is read") };
    job.looked_at = PAGE_CLOSED_MAX - 5;
    site.run();
    let page = site.answer(&page).unwrap();
    assert_eq!((ids(&page).len(), page["next"].as_str()), (0, Some("c0004")));
}

#[test]
fn a_page_longer_than_a_step_is_put_together_in_several() {
    let mut site = Site::new(&usual());
    for n in 0..2500 {
        site.send(start(&format!("c{n:04}")));
    }
    site.run();
    let last = ListAsk { after: None, user: Some("nobody".into()), ..everything(10) };
    assert!(all(&mut site, &last).is_empty());
    assert_eq!(all(&mut site, &everything(1000)).len(), 2500);
}

#[test]
fn closed_conversations_are_found_when_asked_for_after_they_left_memory() {
    let mut site = mixed(10);
    let state = site.state("c0001");
    assert_eq!(state["status"], "closed");
    site.later(3 * SECOND).run();
    assert!(site.core.conversation(&conversation("c0001")).is_none(), "it leaves again");
    let mut site = site.restart(Cached::AsItIs);
    assert_eq!(site.state("c0001"), state);
    assert_eq!(site.ask(overrule_end("c0003"))["outcome"], "unchanged");
}
