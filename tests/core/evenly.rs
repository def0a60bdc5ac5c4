//! Many conversations are kept, and leave memory, evenly over a while: commands go on beside that.

use std::sync::atomic::Ordering::Relaxed;

use switchboard::domain::Time;
use switchboard::domain::conversation::Status;
use switchboard::switchboard::core::Limits;
use switchboard::switchboard::port::{Ask, ListAsk};

use super::restarts::check_starts_agree;
use super::say::*;
use super::site::Site;
use super::usual;

const CONVERSATIONS: usize = 40;
const OVER_MS: u64 = 100;

fn limits() -> Limits {
    Limits { save_conversations_max: 4, save_over_ms: OVER_MS, awake_max: usize::MAX, ..Limits::default() }
}

/// A site with conversations, none of which is kept.
fn site() -> Site {
    let mut site = Site::new(&usual());
    site.core = site.core.with_limits(limits());
    all_of(&mut site, start);
    site
}

/// The same for each conversation, after which none is kept but one: a round that was due began with that.
fn all_of(site: &mut Site, call: fn(&str) -> Call) {
    site.keep_everything();
    (0..=CONVERSATIONS).for_each(|n| drop(site.ask(call(&format!("c{n}")))));
    site.keep();
    site.run();
}

/// All of them are closed, kept, and about to leave memory.
fn closed_and_kept(site: &mut Site) {
    all_of(site, overrule_end);
    for _ in 0..OVER_MS + 3000 {
        site.later(1).run();
    }
    assert!(site.keep());
}

fn in_memory(site: &Site) -> usize {
    site.core.conversations().count()
}

#[test]
fn a_round_takes_its_time_and_asks_for_no_step_before_there_is_more_to_do() {
    let mut site = site();
    let begun = site.later(3 * SECOND).now;
    while !site.begin_keeping() {
        site.step();
        assert!(!site.core.has_work(), "the owner of state would not sleep at {}", site.now);
        if let Some(next) = site.core.next_save() {
            assert_eq!(next, site.now.plus_ms(1));
            site.now = next;
        }
    }
    let took = site.now.ms_since(begun);
    assert!((OVER_MS - OVER_MS / 10..=OVER_MS).contains(&took), "{took} ms");
    assert!(site.end_keeping());
    site.later(OVER_MS).run();
    assert_eq!(site.core.next_save(), None, "what is open does not leave");
}

#[test]
fn a_command_in_the_middle_of_a_round_is_decided_at_once_and_kept_with_this_one_or_the_next() {
    let mut site = site();
    site.later(3 * SECOND).run();
    site.later(OVER_MS / 2).run();
    assert!(!site.begin_keeping(), "half of them are taken");
    // One is not taken yet, the other is.
    for id in ["c1".to_owned(), format!("c{CONVERSATIONS}")] {
        assert_eq!(site.ask(pass(bot(), &id, "agents"))["outcome"], "applied");
    }
    site.later(OVER_MS / 2).run();
    for changed in [CONVERSATIONS, 1] {
        assert!(site.begin_keeping());
        let save = site.keeping.as_ref().unwrap();
        assert_eq!(save.states.len(), changed);
        let through = save.through;
        assert!(site.end_keeping());
        check_starts_agree(&site, Some(through));
        site.later(3 * SECOND).run();
    }
}

#[test]
fn what_is_closed_leaves_evenly() {
    let mut site = site();
    closed_and_kept(&mut site);
    let all = in_memory(&site);
    assert!(all >= CONVERSATIONS);
    let mut most_at_once = 0;
    for _ in 0..=OVER_MS {
        let before = in_memory(&site);
        site.run();
        most_at_once = most_at_once.max(before - in_memory(&site));
        site.later(1);
    }
    assert_eq!(in_memory(&site), all - CONVERSATIONS);
    assert!((1..=2).contains(&most_at_once), "{most_at_once} left at once");
}

#[test]
fn a_page_does_not_start_over_for_as_long_as_they_leave() {
    let mut site = site();
    closed_and_kept(&mut site);
    let all = in_memory(&site);
    site.later(OVER_MS / 2).run();
    let closed = ListAsk { status: vec![Status::Closed], limit: 100, ..ListAsk::default() };
    let page = site.list(closed);
    assert_eq!(page["conversations"].as_array().map(Vec::len), Some(CONVERSATIONS + 1), "{page}");
    let left = all - in_memory(&site);
    assert!((CONVERSATIONS / 3..CONVERSATIONS).contains(&left), "{left} have left, and no more for the page");
}

#[test]
fn a_page_misses_nobody_who_leaves_while_it_is_put_together() {
    let mut site = Site::new(&usual());
    let few = Limits { page_conversations_max: 1, ..limits() };
    site.core = site.core.with_limits(few);
    // Open ones come first, so that the page takes its time.
    (0..20).for_each(|n| drop(site.ask(start(&format!("a{n}")))));
    all_of(&mut site, start);
    closed_and_kept(&mut site);
    let before = in_memory(&site);
    let closed = ListAsk { status: vec![Status::Closed], limit: 100, ..ListAsk::default() };
    let reply = site.hand(anybody(), Ask::List(Box::new(closed)));
    for _ in 0..2 * OVER_MS {
        site.later(1).step();
        while site.take() || site.write() || site.hear() || site.hear_of_gone() || site.read() {}
    }
    assert!(in_memory(&site) < before, "they have left meanwhile");
    let page = site.answer(&reply).expect("an answer");
    assert_eq!(page["conversations"].as_array().map(Vec::len), Some(CONVERSATIONS + 1), "{page}");
}

#[test]
fn a_stop_waits_for_no_round_whether_states_are_taken_or_leave() {
    for leave in [false, true] {
        let mut site = site();
        if leave {
            closed_and_kept(&mut site);
        }
        site.later(if leave { 0 } else { 3 * SECOND }).run();
        assert!(site.core.next_save().is_some(), "it is in the middle of it");
        site.ask(start("late"));
        site.core.stop();
        assert!(!site.core.is_saved());
        site.core.save_all();
        for _ in 0..2 {
            site.run();
            site.keep();
        }
        assert!(site.core.is_saved());
        check_starts_agree(&site, Some(site.head().frames));
    }
}

#[test]
fn a_clock_that_is_put_back_holds_no_round_up() {
    let mut site = site();
    site.later(3 * SECOND).run();
    site.later(OVER_MS / 2).run();
    assert!(!site.begin_keeping());
    // What is decided now carries a time that the clock comes back to after a day.
    site.ask(start("late"));
    site.now = Time(site.now.0 - DAY);
    site.run();
    assert!(site.keep());
    (0..=CONVERSATIONS).for_each(|n| drop(site.ask(pass(bot(), &format!("c{n}"), "agents"))));
    site.keep();
    for _ in 0..OVER_MS + 3000 {
        site.later(1).run();
    }
    assert!(site.keep());
    check_starts_agree(&site, Some(site.head().frames));
}

#[test]
fn a_round_that_a_full_disk_came_upon_waits_for_room_and_a_stop_for_none() {
    for stops in [false, true] {
        let mut site = site();
        site.later(3 * SECOND).run();
        site.gauges.storage_full.store(true, Relaxed);
        site.later(OVER_MS).run();
        assert!(!site.begin_keeping());
        assert_eq!(site.ask(pass(bot(), "c1", "agents"))["error"]["code"], "storage_full");
        assert_eq!(site.state("c1")["owner"], "bot");
        if stops {
            site.core.stop();
            site.core.save_all();
            assert!(site.core.is_saved(), "the next start reads the log instead");
        } else {
            site.gauges.storage_full.store(false, Relaxed);
            assert!(site.keep());
            check_starts_agree(&site, Some(site.head().frames));
        }
    }
}

#[test]
fn a_round_that_waits_for_room_holds_no_question_up_though_its_patience_is_over() {
    let mut site = site();
    site.core = site.core.with_limits(Limits { save_patience_steps: 0, ..limits() });
    site.later(3 * SECOND).run();
    site.send(pass(bot(), "c1", "agents"));
    site.step();
    assert!(site.take(), "it is on its way to the disk");
    (0..2 * OVER_MS).for_each(|_| site.later(1).step());
    site.gauges.storage_full.store(true, Relaxed);
    site.run();
    assert!(!site.begin_keeping());
    assert_eq!(site.state("c1")["owner"], "agents");
}

#[test]
fn a_disk_that_is_full_only_after_a_stop_has_begun_holds_it_up_no_longer() {
    let mut site = site();
    site.later(3 * SECOND).run();
    site.core.stop();
    site.core.save_all();
    site.gauges.storage_full.store(true, Relaxed);
    site.run();
    assert!(site.begin_keeping(), "what is tried may fail");
}

#[test]
fn a_cache_that_cannot_be_written_leaves_nothing_to_wake_up_for() {
    let mut site = site();
    site.later(3 * SECOND).run();
    assert!(site.core.next_save().is_some());
    site.core.save_failed();
    assert_eq!(site.core.next_save(), None);
    assert!(!site.core.has_work());
}
