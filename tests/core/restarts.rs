//! Restarts: what is served after one is what was served before, with the cache, without, and with an old one.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use switchboard::domain::command::IntegrationCommand;
use switchboard::domain::metadata::Metadata;
use switchboard::domain::{Command, Time};
use switchboard::log::{Log, Part, Place};
use switchboard::switchboard::core::{Restored, Save};
use switchboard::switchboard::head::shown;
use switchboard::switchboard::record::Entry;
use switchboard::switchboard::restore::keep;
use switchboard::switchboard::slot::Slot;

use super::say::*;
use super::site::{Cached, Site};
use super::usual;

/// What is known of one conversation, in a form that can be compared: its head, and the pages that stand beside it.
type Known = (Value, Vec<(Part, u64, Vec<u8>)>);

fn known_of(slot: &Slot) -> Known {
    // Marks that the cache has are not read at a start.
    let pages = slot.parts().into_iter().filter(|(part, ..)| *part != Part::Mark);
    (shown(&slot.c.id, &slot.to_head()).unwrap(), pages.collect())
}

/// All that a start knows: every field, command id and frame of each conversation.
pub fn known(site: &Site, restored: &Restored) -> BTreeMap<String, Known> {
    let mut known = BTreeMap::new();
    for found in site.cache.closed_after(None, usize::MAX) {
        let (id, head) = found.unwrap();
        let part = |part, number| site.cache.part(&id, part, number).unwrap().ok_or("a page is missing".to_owned());
        let slot = Slot::from_head(&conversation(&id), &head, site.sizes, part).unwrap();
        known.insert(id.clone(), known_of(&slot));
    }
    known.extend(open_of(restored));
    known
}

/// Checks that a start from the log alone and one from the cache read the same.
pub fn check_starts_agree(site: &Site, through: Option<u64>) {
    let (from_log, from_cache) = (site.restored_from_the_log(), site.restored_from(through));
    assert_eq!(known(site, &from_cache), open_of(&from_log).collect());
    assert_eq!(from_cache.config.config, from_log.config.config);
    assert_eq!(from_cache.config.frames, from_log.config.frames);
    assert_eq!(from_cache.config.file, from_log.config.file);
    assert_eq!(format!("{:?}", sorted(&from_cache)), format!("{:?}", sorted(&from_log)));
    let ends = |restored: &Restored| (restored.next_seq, restored.last_at, restored.durable_frame);
    assert_eq!(ends(&from_cache), ends(&from_log));
}

fn sorted(restored: &Restored) -> BTreeMap<u64, Vec<(u64, &'static str)>> {
    restored.config.ids.iter().map(|(key, decided)| (*key, decided.events.clone())).collect()
}

fn open_of(restored: &Restored) -> impl Iterator<Item = (String, Known)> {
    let resting = restored.heads().map(|(id, head)| (id.to_string(), (shown(&id, &head).unwrap(), Vec::new())));
    // Only what has no pages rests after a start.
    resting.chain(restored.slots.iter().map(|slot| (slot.c.id.to_string(), known_of(slot))))
}

/// Checks that the log, folded, is what is served (but for what is not yet decided to be written).
pub fn check_log_is_served(site: &Site) {
    for slot in &site.restored_from_the_log().slots {
        if let Some(served) = site.core.conversation(&slot.c.id) {
            assert_eq!(*served, slot.c);
        }
    }
    assert_eq!(*site.restored_from_the_log().config.config, *site.core.config());
}

/// A life with everything in it: every kind of event, every field.
fn lived() -> Site {
    let mut site = Site::new(&usual());
    let (thread, reopening) = (channel("thread"), channel("reopening"));
    site.ask(start("c1").metadata(json!({"tier": "gold", "amount": 12.5, "vip": true})).command_id("s1"));
    site.ask(message("c1").message_id("m1").content("hello"));
    site.ask(pass(bot(), "c1", "agents").metadata(json!({"tier": null, "topic": "billing"})).command_id("p1"));
    site.later(2 * HOUR);
    site.ask(message("c1").message_id("m2").user("another").content("still there?"));
    site.ask(end("c1").command_id("e1"));
    site.ask(start("c2").owner("bot"));
    site.ask(offer(bot(), "c2", "survey", Some(5 * MINUTE)).command_id("o1"));
    site.later(MINUTE);
    site.ask(reply(bot(), "c2").message_id("r1").content("please wait"));
    site.ask(overrule_release("c2"));
    for by in [thread, reopening] {
        let id = by.name.clone().unwrap().to_string();
        site.ask(message(&id).by(by.clone()).message_id("m1").user("u9").command_id("m1"));
        site.ask(overrule_end(&id).command_id("e1"));
        site.later(MINUTE);
        site.ask(message(&id).by(by).command_id("m2"));
    }
    site.ask(start("gone"));
    site.ask(overrule_end("gone").command_id("e1"));
    site.put(put(&usual()));
    site
}

#[test]
fn what_is_served_after_a_restart_is_what_was_served_before() {
    for cached in [Cached::AsItIs, Cached::Nothing] {
        for keeps in [false, true] {
            let mut site = lived();
            if keeps {
                site.keep_everything();
            }
            check_log_is_served(&site);
            let ids = ["c1", "c2", "thread", "reopening", "gone"];
            let before: Vec<Value> = ids.iter().map(|id| site.state(id)).collect();
            let list = site.list(everything(100));
            let config = site.core.config().clone();
            let mut site = site.restart(cached);
            assert_eq!(*site.core.config(), config);
            assert_eq!(site.list(everything(100)), list, "{cached:?} {keeps}");
            for (id, before) in ids.iter().zip(before) {
                assert_eq!(site.state(id), before, "{id} {cached:?} {keeps}");
            }
        }
    }
}

#[test]
fn a_start_reads_the_same_from_the_log_and_from_the_cache() {
    let mut site = lived();
    check_starts_agree(&site, None);
    site.keep_everything();
    let whole = site.head().frames;
    check_starts_agree(&site, Some(whole));
    site.ask(pass(agents(), "c1", "survey").command_id("late"));
    site.ask(start("c3"));
    site.ask(message("gone").by(channel("web")));
    check_starts_agree(&site, Some(whole));
    check_starts_agree(&site, Some(whole / 2));
    check_starts_agree(&site, Some(1));
}

#[test]
fn states_kept_while_decisions_go_on_are_not_folded_twice() {
    let mut site = lived();
    site.keep_everything();
    site.ask(start("c3"));
    site.later(3 * SECOND).step();
    assert!(site.begin_keeping());
    // The round began at one frame; what follows changes conversations of the same round.
    site.ask(overrule_pass("c2", "agents"));
    site.ask(overrule_pass("c1", "survey"));
    site.end_keeping();
    let site = site.restart(Cached::AsItIs);
    check_starts_agree(&site, None);
    check_log_is_served(&site);
}

#[test]
fn a_configuration_put_while_states_are_kept_is_not_folded_twice() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(start("c2"));
    site.keep_everything();
    // A conversation on its way to disk keeps the round waiting; a configuration is put meanwhile.
    site.later(3 * SECOND);
    site.send(pass(bot(), "c1", "agents"));
    site.step();
    site.take();
    site.step();
    assert!(!site.begin_keeping(), "the round waits for c1");
    let mut other = usual();
    other["settings"]["legacy_csat"] = json!(true);
    site.put(put(&other));
    let version = site.core.config().version();
    site.step();
    assert!(site.begin_keeping());
    site.end_keeping();
    let site = site.restart(Cached::AsItIs);
    assert_eq!(site.core.config().version(), version);
    check_log_is_served(&site);
}

#[test]
fn a_kill_between_a_group_and_its_states_loses_nothing() {
    let mut site = lived();
    site.keep_everything();
    site.ask(message("c2").user("somebody"));
    site.later(3 * SECOND).step();
    assert!(site.begin_keeping());
    site.ask(overrule_pass("c2", "agents"));
    let before = site.state("c2");
    let mut site = site.restart(Cached::AsItIs);
    assert_eq!(site.state("c2"), before);
}

#[test]
fn a_conversation_that_never_rests_is_kept_all_the_same() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.keep_everything();
    site.later(3 * SECOND);
    let mut kept = false;
    for n in 0..400 {
        site.send(overrule_pass("c1", ["agents", "bot"][n % 2]));
        site.step();
        // While there is another group behind it, one is always on its way.
        match site.take() {
            true => site.write_but_one(),
            false => drop(site.write() && site.hear()),
        }
        kept |= site.begin_keeping() && site.end_keeping();
    }
    assert!(kept);
    site.run();
    assert_eq!(site.served("c1").version, 402);
}

#[test]
fn what_is_left_to_keep_is_kept_at_the_end() {
    let mut site = lived();
    site.keep_everything();
    site.ask(start("late"));
    assert!(site.keep());
    site.ask(start("later"));
    site.core.stop();
    assert!(site.core.is_idle() && !site.core.is_saved());
    site.core.save_all();
    assert!(site.core.has_work(), "the last round begins without waiting for its time");
    site.step();
    assert!(site.keep());
    assert!(site.core.is_saved());
    let restored = site.restored_from(Some(site.head().frames));
    assert!(restored.slots.iter().all(|slot| !slot.is_dirty));
    assert_eq!(known(&site, &restored).len(), 7);
}

#[test]
fn the_last_round_before_a_stop_rewrites_nothing_and_one_after_the_next_start_does() {
    let mut site = lived();
    site.keep_everything();
    let journal = site.directory.path().join("cache/open");
    let bytes = || std::fs::metadata(&journal).unwrap().len();
    // Its last word on this one is all that counts.
    let over_and_over = || std::iter::repeat_n(("long".into(), Place::Open, vec![0; 1 << 20]), 18);
    site.ask(start("late"));
    site.core.stop();
    site.core.save_all();
    site.step();
    assert!(site.begin_keeping());
    site.keeping.as_mut().unwrap().states.extend(over_and_over());
    assert!(site.end_keeping());
    assert!(bytes() > 18 << 20, "{} bytes", bytes());
    let next = Save { through: site.head().frames, ..Save::default() };
    keep(&site.cache, &next, &site.log.reader()).unwrap();
    assert!(bytes() < 2 << 20, "{} bytes", bytes());
}

#[test]
fn an_end_is_noted_under_its_message_though_others_came_since() {
    let mut site = Site::new(&usual());
    site.ask(message("c1").message_id("m1"));
    site.ask(pass(bot(), "c1", "agents"));
    site.ask(end("c1"));
    site.ask(message("c1").message_id("m2"));
    site.ask(release(agents(), "c1"));
    let state = site.state("c1");
    assert_eq!((&state["closed"]["last_message_id"], &state["last_message_id"]), (&json!("m1"), &json!("m2")));
    let mut site = site.restart(Cached::Nothing);
    assert_eq!(site.state("c1"), state);
}

#[test]
fn a_cache_that_cannot_be_written_harms_nothing() {
    let mut site = lived();
    site.later(3 * SECOND).step();
    assert!(site.core.take_save().is_some());
    site.core.save_failed();
    site.later(3 * SECOND);
    site.keeps = true;
    site.ask(overrule_pass("c2", "agents"));
    assert!(site.core.is_saved(), "nothing is waited for");
    let mut site = site.restart(Cached::AsItIs);
    assert_eq!(site.state("c2")["owner"], "agents");
}

#[test]
fn closed_conversations_that_an_old_cache_holds_leave_memory_after_a_start() {
    let mut site = Site::new(&usual());
    site.keeps = true;
    site.ask(start("c1"));
    site.ask(overrule_end("c1"));
    site.ask(start("c2"));
    site.later(3 * SECOND).run();
    let mut site = site.restart(Cached::AsItIs);
    for _ in 0..3 {
        site.later(3 * SECOND);
        site.ask(message("c2"));
    }
    assert!(site.core.conversation(&conversation("c1")).is_none());
    assert_eq!(site.state("c1")["status"], "closed");
}

#[test]
fn numbers_in_metadata_come_back_as_they_were() {
    let mut site = Site::new(&usual());
    let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
    let numbers: serde_json::Map<String, Value> = (0..60)
        .map(|n| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (format!("n{n}"), json!(f64::from_bits(bits >> 12 | 0x3ff0_0000_0000_0000) * 1234.5678e-9))
        })
        .collect();
    let once: Metadata = serde_json::from_value(Value::Object(numbers.clone())).unwrap();
    let again: Metadata = serde_json::from_slice(&serde_json::to_vec(&once).unwrap()).unwrap();
    assert_eq!(once, again, "reading a number back must give the same number: serde_json needs float_roundtrip");
    site.ask(start("c1").metadata(Value::Object(numbers)));
    let before = site.state("c1");
    let mut site = site.restart(Cached::Nothing);
    assert_eq!(site.state("c1"), before);
}

#[test]
fn times_never_go_back_over_a_restart() {
    let mut site = Site::new(&usual());
    site.later(HOUR);
    site.ask(start("c1"));
    let mut site = site.restart(Cached::AsItIs);
    site.now = Time(site.now.0 - HOUR);
    site.ask(overrule_end("c1"));
    assert!(site.entries().iter().map(|entry| entry.at).is_sorted());
    assert_eq!(site.log.reader().head().last_at, site.now.0 + HOUR);
}

#[test]
fn a_conversation_that_begins_with_another_event_than_its_first_is_refused() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    site.ask(pass(bot(), "c1", "agents"));
    site.ask(overrule_end("c1"));
    for entry in site.entries().iter().rev().take(2) {
        let line = Entry::parse(&entry.line).unwrap();
        let mut state = None;
        let refused = line.fold(&mut state).unwrap_err();
        let got = &line.events[0].full_name;
        let expected = format!("expected c1 to begin with conversation.started, got {got} at seq {}", line.seq);
        assert_eq!(refused, expected);
        assert!(state.is_none(), "nothing is made of it");
    }
}

#[test]
fn a_reopened_conversation_keeps_the_last_message_it_knew() {
    let reopening = channel("reopening");
    let mut site = Site::new(&usual());
    site.ask(message("c1").by(reopening.clone()).message_id("m1"));
    site.ask(overrule_end("c1"));
    let state = site.ask(message("c1").by(reopening))["conversation"].clone();
    assert_eq!((&state["session"], &state["last_message_id"]), (&json!(1), &json!("m1")));
    let mut site = site.restart(Cached::Nothing);
    assert_eq!(site.state("c1"), state);
}

#[test]
fn a_reopened_conversation_keeps_the_message_under_which_it_was_ended() {
    let reopening = channel("reopening");
    let mut site = Site::new(&usual());
    site.ask(message("c1").by(reopening.clone()));
    let mut ended = finish(bot(), "c1");
    ended.command = Command::Integration(IntegrationCommand::End { last_message_id: Some("m1".into()), reason: None });
    site.ask(ended);
    let state = site.ask(message("c1").by(reopening))["conversation"].clone();
    assert_eq!((&state["status"], &state["last_message_id"]), (&json!("open"), &json!("m1")));
}
