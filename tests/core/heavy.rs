//! Much at once, and much of one thing: everybody else is served meanwhile, and nothing costs more the longer it goes on.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use switchboard::log::Log;
use switchboard::switchboard::PartSizes;
use switchboard::switchboard::audit::Audit;
use switchboard::switchboard::core::Saved;
use switchboard::switchboard::marks::Mark;
use switchboard::switchboard::port::{Ask, Moment, PastAsk, Span};
use switchboard::switchboard::restore::keep;

use super::restarts::check_starts_agree;
use super::say::*;
use super::site::{Cached, Left, Site};
use super::usual;

/// What one group came to: the decisions of the timers or of the configuration, and the answers.
struct Group {
    by_itself: usize,
    answers: usize,
    relays: usize,
}

/// One step, and what left of it.
fn group(site: &mut Site) -> Group {
    let before = site.left.len();
    site.step();
    site.take();
    site.write();
    site.hear();
    let of = |is_one: fn(&Left) -> bool| site.left[before..].iter().filter(|left| is_one(left)).count();
    let is_by_itself = |left: &Left| match left {
        Left::Events { kinds, .. } => {
            kinds.last().is_some_and(|kind| kind.ends_with("closed") || kind.ends_with("released"))
        }
        _ => false,
    };
    Group {
        by_itself: of(is_by_itself),
        answers: of(|left| matches!(left, Left::Answer { .. })),
        relays: of(|left| matches!(left, Left::Relay { .. })),
    }
}

/// A site with that many conversations that the bot holds.
fn held(count: usize) -> Site {
    let mut site = Site::new(&usual());
    for n in 0..count {
        site.send(start(&format!("held{n:05}")));
        if n % 2000 == 1999 {
            site.run();
        }
    }
    site.run();
    site.left.clear();
    site
}

/// More commands than a group takes wait before each group.
fn flood(site: &mut Site, round: usize) {
    for n in 0..1100 {
        site.send(start(&format!("new{round}-{n}")).owner("agents"));
    }
}

#[test]
fn timers_that_fall_due_all_at_once_and_a_flood_of_commands_share_each_group() {
    let mut site = held(4000);
    site.later(10 * MINUTE);
    let mut closed = 0;
    for round in 0..7 {
        flood(&mut site, round);
        let group = group(&mut site);
        assert!(group.answers >= 256, "{} commands are answered beside the timers", group.answers);
        assert!(group.by_itself >= 500 || closed + group.by_itself >= 4000, "{} timers", group.by_itself);
        closed += group.by_itself;
    }
    // The eighth is for what a busy queue had refused.
    site.run();
    assert_eq!(
        site.core.conversations().filter(|c| c.id.as_str().starts_with("held") && c.closed.is_none()).count(),
        0
    );
}

#[test]
fn a_removal_of_what_thousands_hold_goes_on_beside_a_flood_of_commands() {
    let mut site = held(3000);
    let mut without = usual();
    without["integration"][0]["enabled"] = json!(false);
    site.hand(olga(), Ask::Put(Box::new(put(&without))));
    // The operator who asks once is remembered for a while, and until then groups are short.
    site.step();
    site.later(5000);
    let mut rounds = 0;
    while site.core.conversations().any(|c| c.is_owned_by(&name("bot"))) {
        flood(&mut site, rounds);
        let group = group(&mut site);
        assert!(group.answers >= 256, "{} commands are answered beside the removal", group.answers);
        rounds += 1;
        assert!(rounds < 20, "a flood keeps what was removed from being released");
    }
}

#[test]
fn nobody_is_kept_awake_by_what_this_group_has_no_room_for() {
    let mut site = held(1200);
    site.later(10 * MINUTE).step();
    assert_eq!(site.core.next_look(), None, "the group has its share of timers");
    assert!(!site.core.has_work());
    site.take();
    assert_eq!(site.core.next_look(), Some(site.now), "the next group has room");
}

#[test]
fn messages_at_the_limit_of_their_size_fill_a_group_by_their_bytes() {
    let mut site = held(1);
    let words = "w".repeat(32 * 1024 - 20);
    for _ in 0..600 {
        site.send(message("held00000").content(&words));
    }
    let group = group(&mut site);
    assert!((200..=256).contains(&group.relays), "{} messages of 32 KiB are some 8 MiB", group.relays);
    site.run();
    assert_eq!(site.relays().len(), 600);
}

#[test]
fn questions_about_the_past_wait_in_the_queue_while_the_disk_takes_its_time() {
    let mut site = held(1);
    site.send(pass(bot(), "held00000", "agents"));
    site.step();
    site.take();
    let ask = || PastAsk::History { id: Some(conversation("held00000")), span: Span { limit: 1, ..Span::default() } };
    let replies: Vec<_> = (0..3000).map(|_| site.hand(anybody(), Ask::from(ask()))).collect();
    for _ in 0..10 {
        site.step();
        site.take();
    }
    let queued = site.gauges.queued.load(std::sync::atomic::Ordering::Relaxed);
    assert!(queued >= 1900, "{queued} of 3000 wait where their number is bounded");
    site.run();
    assert!(replies.iter().all(|reply| site.answer(reply).is_some_and(|answer| answer["events"].is_array())));
}

/// A conversation that goes to and fro, each time under a command id; what it was after each seq now and then.
fn long(entries: usize) -> (Site, BTreeMap<u64, Value>) {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let mut served = BTreeMap::new();
    for n in 0..entries {
        let (from, to) = if n % 2 == 0 { ("bot", "agents") } else { ("agents", "bot") };
        let call = pass(integration(from), "c1", to).command_id(&format!("p{n}")).metadata(json!({"n": n}));
        let state = site.ask(call)["conversation"].clone();
        site.left.clear();
        if n % 59 == 0 || n + 3 > entries {
            served.insert(state["seq"].as_u64().unwrap(), state);
        }
    }
    (site, served)
}

/// Keeps what changed, and says how many bytes that were: the states of a round, and parts.
fn keep_all(site: &mut Site) -> (usize, usize) {
    let (mut states, mut parts) = (0, 0);
    // A round may be complete that was begun long ago; what changed since is in the next one.
    for _ in 0..3 {
        site.later(3 * SECOND).run();
        if let Some(save) = site.core.take_save() {
            keep(&site.cache, &save, &site.log.reader()).unwrap();
            site.core.saved(Saved, site.now);
            states = save.states.iter().map(|(_, _, state)| state.len()).sum::<usize>().max(states);
            parts += save.parts.iter().map(|(_, _, _, part)| part.len()).sum::<usize>();
        }
    }
    (states, parts)
}

#[test]
fn a_long_conversation_costs_no_more_to_keep_than_a_short_one() {
    let (mut site, _) = long(1500);
    let (state, parts) = keep_all(&mut site);
    assert!(state < 40_000 && parts > 1280 * 44, "{state} bytes of state, {parts} of what is kept once");
    site.ask(pass(bot(), "c1", "agents").command_id("more"));
    let (state, parts) = keep_all(&mut site);
    assert!(state < 40_000, "{state} bytes of state");
    assert_eq!(parts, 0, "what is kept once is not kept again");
}

#[test]
fn the_past_of_a_long_conversation_is_read_from_a_mark_nearby_and_is_what_was_served() {
    let (mut site, served) = long(1500);
    keep_all(&mut site);
    for (seq, state) in &served {
        let then = site.conversation_at("c1", Moment::Seq(*seq));
        assert_eq!(then["conversation"], *state, "at seq {seq}");
        let mark = Mark::before(&site.cache, "c1", *seq).unwrap();
        let read = seq - mark.map_or(0, |mark| mark.next_seq);
        assert!(read <= PartSizes::default().mark_entries + 10, "{read} events are read for seq {seq}");
    }
}

#[test]
fn marks_change_nothing_of_what_is_answered_about_any_moment() {
    let (mut site, _) = long(600);
    // Activity between the events, and a clock that goes on, so that moments differ.
    for n in 0..200 {
        site.later(2 * MINUTE);
        site.ask(message("c1").message_id(&format!("m{n}")).user(&format!("u{n}")));
    }
    let moments = |site: &mut Site| -> Vec<(Moment, Value)> {
        let (begin, head) = (site.entries()[0].at, site.head());
        let times = (0..=200).step_by(7).map(|n| Moment::Time(switchboard::domain::Time(begin + n * 2 * MINUTE)));
        let all: Vec<Moment> = (1..head.next_seq).step_by(17).map(Moment::Seq).chain(times).collect();
        all.into_iter().map(|at| (at, site.conversation_at("c1", at))).collect()
    };
    let without = moments(&mut site);
    keep_all(&mut site);
    assert!(Mark::before(&site.cache, "c1", u64::MAX).unwrap().is_some());
    for (at, (_, without)) in moments(&mut site).into_iter().zip(without) {
        assert_eq!(at.1, without, "{:?}", at.0);
    }
}

#[test]
fn a_long_conversation_is_the_same_after_a_restart_with_every_id_remembered() {
    let (mut site, served) = long(700);
    keep_all(&mut site);
    site.ask(pass(bot(), "c1", "agents").command_id("last"));
    for cached in [Cached::AsItIs, Cached::Nothing] {
        let before = site.state("c1");
        site = site.restart(cached);
        check_starts_agree(&site, site.through);
        site.core.ready(true, site.now);
        assert_eq!(site.state("c1"), before);
        for n in [0, 1, 255, 256, 257, 511, 512, 699] {
            let (from, to) = if n % 2 == 0 { ("bot", "agents") } else { ("agents", "bot") };
            let repeat = pass(integration(from), "c1", to).command_id(&format!("p{n}")).metadata(json!({"n": n}));
            assert_eq!(site.ask(repeat)["replayed"], true, "p{n}");
        }
        for (seq, state) in served.iter().step_by(3) {
            assert_eq!(site.conversation_at("c1", Moment::Seq(*seq))["conversation"], *state);
        }
    }
}

#[test]
fn hundreds_of_sessions_in_a_day_are_remembered_for_a_day() {
    let mut site = Site::new(&usual());
    let by = || channel("thread");
    for n in 0..600 {
        site.later(MINUTE / 2);
        site.ask(start("t1").by(by()).command_id(&format!("s{n}")));
        site.ask(overrule_end("t1").command_id(&format!("e{n}")));
        site.left.clear();
    }
    keep_all(&mut site);
    let mut site = site.restart(Cached::AsItIs);
    site.core.ready(true, site.now);
    for n in [0, 1, 300, 599] {
        assert_eq!(site.ask(start("t1").by(by()).command_id(&format!("s{n}")))["replayed"], true, "s{n}");
    }
    // A day after the close of the three hundredth session what it and those before decided is forgotten.
    site.later(DAY - 299 * MINUTE / 2);
    site.ask(start("t1").by(by()).command_id("next"));
    site.left.clear();
    assert_eq!(site.ask(overrule_end("t1").command_id("e100"))["replayed"], Value::Null);
    site.ask(start("t1").by(by()).command_id("next again"));
    site.left.clear();
    assert_eq!(site.ask(overrule_end("t1").command_id("e599"))["replayed"], true);
    keep_all(&mut site);
    check_starts_agree(&site, Some(site.head().frames));
}

/// Notes get no seq of their own, so two marks may come to the same one.
#[test]
fn a_conversation_of_which_only_activity_is_noted_is_kept_as_the_log_has_it() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    for user in 0..600 {
        site.ask(message("c1").user(&format!("u{user}")));
        site.left.clear();
    }
    keep_all(&mut site);
    let mut audit = Audit::default();
    for frame in site.log.reader().frames(1).map(Result::unwrap) {
        frame.entries.iter().for_each(|entry| audit.take(frame.header.frame, entry).unwrap());
    }
    assert!(audit.tally().notes >= 600);
    audit.check_cache(&site.cache, site.head().frames).unwrap();
}
