//! Rest: what nobody asks for is a piece of bytes in memory, and is what it was whenever somebody asks.

use serde_json::{Value, json};
use switchboard::domain::conversation::{Close, EndRequest, Offer, Status};
use switchboard::domain::event::{EndCause, Kind};
use switchboard::domain::metadata::{Metadata, Patch};
use switchboard::domain::{By, Conversation, ConversationId, Role, Text, Time};
use switchboard::switchboard::PartSizes;
use switchboard::switchboard::core::Limits;
use switchboard::switchboard::head::{glance, shown};
use switchboard::switchboard::port::{Ask, ListAsk};
use switchboard::switchboard::rest::Rest;
use switchboard::switchboard::slot::Slot;

use super::random::{Dice, seeds};
use super::restarts::check_log_is_served;
use super::say::*;
use super::site::{Cached, Site};
use super::usual;

/// As many as a head has room for.
const SIZES: PartSizes = PartSizes { page_items: 256, mark_entries: 256 };

/// Three conversations at rest: one that its bot holds, one that is offered, one that is ending.
fn rested() -> Site {
    let mut site = Site::new(&usual());
    site.ask(start("held").user("u7").metadata(json!({"tier": "gold", "amount": 12.5})).command_id("s1"));
    site.ask(start("offered"));
    site.ask(offer(bot(), "offered", "agents", Some(5 * MINUTE)));
    site.ask(start("ending").owner("agents"));
    site.ask(end("ending"));
    site.ask(start("gone"));
    site.ask(overrule_end("gone"));
    site.keep_everything().run();
    for id in ["held", "offered", "ending"] {
        assert!(rests(&site, id), "{id} rests");
    }
    site
}

fn rests(site: &Site, id: &str) -> bool {
    site.core.is_resting(&conversation(id))
}

fn ids(page: &Value) -> Vec<&str> {
    page["conversations"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect()
}

#[test]
fn a_command_awakes_a_conversation_and_it_goes_back_when_nobody_asks_for_a_while() {
    let mut site = rested();
    site.send(pass(bot(), "held", "agents"));
    site.step();
    assert!(!rests(&site, "held") && rests(&site, "offered"));
    site.take();
    site.step();
    assert!(!rests(&site, "held"), "it is on its way to the disk");
    site.run();
    site.run();
    assert!(rests(&site, "held"));
    site.keep_everything().run();
    assert_eq!(site.state("held")["metadata"], json!({"tier": "gold", "amount": 12.5}));
    check_log_is_served(&site);
}

#[test]
fn what_rests_before_the_cache_has_it_goes_there_all_the_same() {
    let mut site = rested();
    site.ask(pass(bot(), "held", "agents"));
    site.ask(overrule_end("offered"));
    site.run();
    site.run();
    assert!(rests(&site, "held") && rests(&site, "offered"));
    let list = site.list(everything(10));
    site.keep_everything().run();
    assert!(site.core.conversation(&conversation("offered")).is_none(), "it is closed, and left");
    assert_eq!(site.list(everything(10)), list);
    let restored = site.restored_from(Some(site.head().frames));
    assert!(restored.slots.is_empty(), "the cache has it all");
    check_log_is_served(&site);
}

#[test]
fn who_is_asked_for_stays_awake_and_who_is_not_rests() {
    let mut site = rested();
    site.core = site.core.with_limits(Limits { awake_max: 1, awake_looks_max: 1, ..Limits::default() });
    site.ask(reply(bot(), "offered"));
    for _ in 0..5 {
        site.send(reply(bot(), "held").content("one moment"));
        site.step();
    }
    assert!(!rests(&site, "held") && rests(&site, "offered"));
}

#[test]
fn all_that_may_rest_does_so_though_nothing_more_comes() {
    let mut site = rested();
    let ids: Vec<String> = (0..50).map(|n| format!("c{n}")).collect();
    ids.iter().for_each(|id| drop(site.send(start(id))));
    site.core = site.core.with_limits(Limits { awake_max: 5, awake_looks_max: 2, ..Limits::default() });
    site.step();
    assert!(site.take() && !site.core.has_work(), "all of them are on their way to the disk");
    site.run();
    assert_eq!(ids.iter().filter(|id| !rests(&site, id)).count(), 5);
}

#[test]
fn a_long_conversation_stays_awake() {
    let mut site = rested();
    for n in 0..150 {
        site.send(overrule_pass("held", "agents").command_id(&format!("there{n}")));
        site.send(overrule_pass("held", "bot").command_id(&format!("back{n}")));
        if n % 50 == 0 {
            site.run();
        }
    }
    site.keep_everything().run();
    let is_there = site.core.conversation(&conversation("held")).is_some_and(|c| c.version == 302);
    assert!(is_there && !rests(&site, "held"), "pages of it would be read again and again");
    assert!(rests(&site, "ending"));
    let mut site = site.restart(Cached::AsItIs);
    assert_eq!(site.state("held")["version"], 302);
    check_log_is_served(&site);
}

#[test]
fn long_conversations_do_not_keep_others_from_their_rest() {
    let mut site = Site::of_parts(&usual(), PartSizes { page_items: 4, mark_entries: 256 });
    let long: Vec<String> = (0..40).map(|n| format!("long{n}")).collect();
    long.iter().for_each(|id| drop(site.send(start(id))));
    for owner in ["agents", "bot", "agents", "bot"] {
        site.run();
        long.iter().for_each(|id| drop(site.send(overrule_pass(id, owner))));
    }
    site.keep_everything().run();
    let few = Limits { awake_max: 0, awake_looks_max: 1, parts: site.sizes, ..Limits::default() };
    site.core = site.core.with_limits(few);
    site.ask(start("short"));
    for _ in 0..5 {
        site.step();
    }
    assert!(rests(&site, "short") && long.iter().all(|id| !rests(&site, id)));
    long.iter().for_each(|id| drop(site.send(overrule_end(id))));
    site.keep_everything().run();
    assert_eq!(site.core.conversations().count(), 1, "closed ones leave, however long");
    site.ask(start("long1"));
    check_log_is_served(&site);
}

#[test]
fn a_timer_falls_due_for_what_rests() {
    let mut site = rested();
    assert!(site.core.next_look().is_some_and(|at| at > site.now));
    site.later(5 * MINUTE).run();
    assert_eq!(site.kinds("offered").last(), Some(&"control.offer_withdrawn"));
    site.later(10 * MINUTE).run();
    for id in ["held", "offered", "ending"] {
        assert_eq!(site.state(id)["status"], "closed", "{id}");
    }
}

#[test]
fn a_look_that_comes_early_is_put_off_and_awakes_nothing() {
    let mut site = rested();
    site.later(20 * SECOND).ask(message("held"));
    let due = site.now.plus_ms(10 * MINUTE);
    site.keep_everything().run();
    site.ask(overrule_end("offered"));
    site.ask(overrule_end("ending"));
    // From here on whatever awakes stays awake.
    site.core = site.core.with_limits(Limits::default());
    let early = site.core.next_look().expect("a look");
    assert!(early < due, "the message was not noted, and the look not put off yet");
    site.now = early;
    site.run();
    assert!(rests(&site, "held"));
    assert_eq!(site.core.next_look(), Some(due));
    site.now = due;
    site.run();
    assert_eq!(site.state("held")["status"], "closed");
}

#[test]
fn what_an_outage_puts_off_goes_on_resting() {
    let mut site = rested().restart(Cached::AsItIs);
    site.core = site.core.with_limits(Limits::default());
    site.later(HOUR).run();
    site.core.ready(true, site.now);
    site.run();
    let ids = ["held", "offered", "ending"];
    assert!(ids.iter().all(|id| rests(&site, id)), "they have a minute of grace");
    site.later(MINUTE).run();
    for id in ids {
        assert_eq!(site.state(id)["status"], "closed", "{id}");
    }
}

#[test]
fn activity_that_was_never_noted_is_known_after_a_rest() {
    let mut site = rested();
    site.ask(message("held").message_id("m1"));
    let said = site.now;
    site.keep_everything().run();
    assert!(rests(&site, "held"));
    site.now = said.plus_ms(10 * MINUTE - 1);
    site.run();
    assert_eq!(site.served("held").status, Status::Open, "ten minutes are not over since the message");
    site.ask(end("held"));
    assert_eq!(site.state("held")["closed"]["last_message_id"], "m1");
}

#[test]
fn a_repeat_is_told_from_another_command_after_a_rest() {
    let mut site = rested();
    let first = start("held").user("u7").metadata(json!({"tier": "gold", "amount": 12.5})).command_id("s1");
    assert_eq!(site.ask(first)["replayed"], true);
    site.keep_everything().run();
    assert_eq!(site.ask(start("held").user("u8").command_id("s1"))["error"]["code"], "command_id_reused");
}

#[test]
fn a_refusal_tells_of_what_rests() {
    let mut site = rested();
    let error = site.ask(pass(integration("nobody"), "held", "agents"))["error"].clone();
    assert!(error["code"] == "unknown_integration" && error["conversation"].is_null(), "{error}");
    site.keep_everything().run();
    site.gauges.storage_full.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = site.ask(pass(bot(), "held", "agents"))["error"].clone();
    assert_eq!((&error["code"], &error["conversation"]["id"]), (&json!("storage_full"), &json!("held")));
}

#[test]
fn lists_and_questions_about_the_past_show_what_rests() {
    let mut site = rested();
    assert_eq!(ids(&site.list(everything(10))), ["ending", "gone", "held", "offered"]);
    let of_agents = ListAsk { concerning: Some(name("agents")), ..everything(10) };
    let mine = site.question(agents(), Ask::List(Box::new(of_agents)));
    assert_eq!(ids(&mine), ["ending", "offered"]);
    let filters = [
        (ListAsk { owner: Some(Some(name("bot"))), ..everything(10) }, vec!["held", "offered"]),
        (ListAsk { offered_to: Some(name("agents")), ..everything(10) }, vec!["offered"]),
        (ListAsk { status: vec![Status::Ending], ..everything(10) }, vec!["ending"]),
        (ListAsk { user: Some("u7".into()), ..everything(10) }, vec!["held"]),
        (ListAsk { channel: Some(name("mail")), ..everything(10) }, vec![]),
        (ListAsk { channel: Some(site.served("held").channel), ..everything(2) }, vec!["ending", "gone"]),
    ];
    for (ask, expected) in filters {
        let what = format!("{ask:?}");
        assert_eq!(ids(&site.list(ask)), expected, "{what}");
    }
    assert!(rests(&site, "held"), "a page awakes nothing");
    let seq = site.served("held").seq;
    let past = site.conversation_at("held", switchboard::switchboard::port::Moment::Seq(seq));
    assert_eq!(past["conversation"]["owner"], "bot");
}

#[test]
fn a_glance_leaves_out_nothing_that_is_asked_for() {
    for seed in seeds(1, 400) {
        let dice = &mut Dice::new(seed);
        let slot = random_slot(dice);
        let rest = Rest::of(&slot);
        let holder = |dice: &mut Dice| name(dice.pick(&["bot", "agents", "survey"]));
        let ask = ListAsk {
            status: dice.pick(&[vec![], vec![Status::Ending], vec![Status::Open, Status::Closed]]),
            owner: dice.one_in(4).then(|| dice.one_in(2).then(|| holder(dice))),
            offered_to: dice.one_in(4).then(|| holder(dice)),
            concerning: dice.one_in(4).then(|| holder(dice)),
            user: dice.one_in(4).then(|| "m1".into()),
            waiting_before: dice.one_in(4).then(|| time(dice)),
            idle_before: dice.one_in(4).then(|| time(dice)),
            ..everything(10)
        };
        let may_match = ask.may_match(&rest.glance().unwrap());
        assert!(may_match || !ask.matches(&slot.c), "seed {seed}: {ask:?}");
        let by_time = ListAsk { waiting_before: ask.waiting_before, idle_before: ask.idle_before, ..everything(10) };
        let passed_over = !by_time.may_match(&rest.glance().unwrap());
        let is_idle = ask.idle_before.is_none_or(|before| slot.c.last_activity_at < before);
        let is_ending = ask.waiting_before.is_none() || slot.c.status == Status::Ending;
        assert_eq!(passed_over, !(is_idle && is_ending), "seed {seed}: nothing else is read whole");
    }
}

#[test]
fn an_integration_that_is_removed_loses_what_rests() {
    let mut site = rested();
    let mut config = usual();
    config["integration"].as_array_mut().unwrap().retain(|integration| integration["name"] != "agents");
    config["integration"][0].as_object_mut().unwrap().remove("next");
    assert_eq!(site.put(put(&config))["outcome"], "applied");
    site.run();
    assert_eq!(site.served("ending").status, Status::Closed);
    assert!(site.served("offered").offer.is_none());
    assert_eq!(site.served("held").owner, Some(name("bot")));
    assert!(rests(&site, "held"), "it is not concerned");
}

#[test]
fn a_shorter_timeout_reaches_what_rests() {
    let mut site = rested();
    let mut config = usual();
    config["integration"][0]["inactivity_timeout"] = json!("2m");
    site.put(put(&config));
    site.run();
    assert!(rests(&site, "held"));
    site.later(2 * MINUTE).run();
    assert_eq!(site.state("held")["status"], "closed");
}

#[test]
fn a_start_lets_rest_what_the_cache_has_and_counts_it() {
    let mut site = rested();
    let (list, open) = (site.list(everything(10)), |site: &Site| {
        (
            site.gauges.open.load(std::sync::atomic::Ordering::Relaxed),
            site.gauges.ending.load(std::sync::atomic::Ordering::Relaxed),
        )
    });
    let before = open(&site);
    let mut site = site.restart(Cached::AsItIs);
    assert!(["held", "offered", "ending"].iter().all(|id| rests(&site, id)));
    site.run();
    assert_eq!((site.list(everything(10)), open(&site)), (list, before));
    site.core.ready(true, site.now);
    site.later(6 * MINUTE).run();
    assert_eq!(site.kinds("offered").last(), Some(&"control.offer_withdrawn"));
}

#[test]
fn a_bound_on_open_conversations_counts_what_rests() {
    let small = channel("small");
    let mut site = Site::new(&usual());
    site.ask(start("s1").by(small.clone()));
    site.ask(start("s2").by(small.clone()));
    site.keep_everything().run();
    let mut site = site.restart(Cached::AsItIs);
    assert!(rests(&site, "s1") && rests(&site, "s2"));
    assert_eq!(site.ask(start("s3").by(small.clone()))["error"]["code"], "limit_reached");
    site.ask(overrule_end("s1"));
    assert_eq!(site.ask(start("s3").by(small))["outcome"], "applied");
}

#[test]
fn what_rests_is_what_was() {
    for seed in seeds(1, 400) {
        let dice = &mut Dice::new(seed);
        let slot = random_slot(dice);
        let id = slot.c.id.clone();
        let mut rest = Rest::of(&slot);
        let nowhere = |part, number| Err(format!("{part:?} {number} is not there"));
        let awake = rest.awake(&id, SIZES, nowhere).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(awake.c, slot.c, "seed {seed}");
        assert_eq!((awake.activity, &awake.last_message_id), (slot.activity, &slot.last_message_id), "seed {seed}");
        assert_eq!(awake.looked_at, slot.looked_at);
        assert_eq!(awake.to_head(), slot.to_head(), "seed {seed}");
        assert_eq!(rest.head().unwrap(), slot.to_head());
        assert_eq!(rest.conversation(&id).unwrap(), (slot.c.clone(), slot.activity));
        let look = dice.one_in(2).then(|| Time(dice.next() >> 20));
        rest.look_at(look);
        assert_eq!(rest.looked_at(), look);
        let found = Rest::found(&slot.to_head()).awake(&id, SIZES, nowhere).unwrap();
        assert!(found.c == slot.c && found.activity.may_be_later && found.activity.at == slot.c.last_activity_at);
        check_views(&slot);
    }
}

/// What is seen at a glance, and what is shown to people, is what it is.
fn check_views(slot: &Slot) {
    let (c, head) = (&slot.c, slot.to_head());
    let seen = glance(&head).unwrap();
    assert_eq!((seen.channel, seen.user, seen.status), (c.channel.as_str(), c.user.as_deref(), c.status));
    assert_eq!((seen.owner, seen.is_offered), (c.owner.as_ref().map(|name| name.as_str()), c.offer.is_some()));
    assert_eq!(seen.last_activity_at, c.last_activity_at);
    let shown = shown(&c.id, &head).unwrap();
    assert_eq!(shown["conversation"], serde_json::to_value(c).unwrap());
    assert!((0..head.len().min(12)).all(|short| glance(&head[..short]).is_err()), "a piece is not taken for the whole");
}

fn random_slot(dice: &mut Dice) -> Slot {
    let longest = dice.pick(&[1, 12, 36, 127, 128]);
    let id: String = (0..longest).map(|_| dice.pick(&['a', 'Z', '0', '-', '~', '+'])).collect();
    let mut slot = Slot::new(random_conversation(dice, &conversation(&id)));
    slot.activity.at = if dice.one_in(2) { slot.c.last_activity_at } else { time(dice) };
    slot.activity.may_be_later = dice.one_in(2);
    slot.last_message_id = if dice.one_in(2) { slot.c.last_message_id.clone() } else { text(dice) };
    slot.looked_at = dice.one_in(2).then(|| time(dice));
    (0..dice.below(30)).for_each(|n| slot.is_in_frame(n * dice.pick(&[1, 300, 1 << 40]), SIZES));
    for n in 0..dice.below(40) {
        let kinds = (0..dice.below(5)).map(|_| dice.pick(&Kind::ALL)).collect::<Vec<_>>();
        let decided = (dice.next(), dice.next());
        slot.ids.remember(decided, slot.c.session, n, kinds.into_iter(), SIZES.page_items);
    }
    if dice.one_in(3) {
        slot.ids.session_began(slot.c.session, time(dice), time(dice), SIZES.page_items);
    }
    slot
}

fn random_conversation(dice: &mut Dice, id: &ConversationId) -> Conversation {
    let channel = name(dice.pick(&["web", "a-channel-with-quite-a-long-name"]));
    let mut c = Conversation::unborn(id, &channel, time(dice));
    let holder = |dice: &mut Dice| dice.one_in(2).then(|| name(dice.pick(&["bot", "agents"])));
    c.session = dice.next() as u32;
    c.status = dice.pick(&[Status::Open, Status::Ending, Status::Closed]);
    (c.user, c.continued_from, c.last_message_id) = (text(dice), text(dice), text(dice));
    (c.owner, c.last_owner) = (holder(dice), holder(dice));
    (c.owner_changed_at, c.last_activity_at, c.owner_accepted) = (time(dice), time(dice), dice.one_in(2));
    (c.version, c.epoch, c.seq, c.owner_seq) = (dice.next(), dice.below(9), u64::MAX - dice.below(2), dice.below(300));
    c.offer = dice.one_in(2).then(|| {
        Box::new(Offer {
            to: name("survey"),
            by: by(dice),
            reason: text(dice),
            metadata: serde_json::from_value::<Patch>(facts(dice, true)).unwrap(),
            expires_at: dice.one_in(2).then(|| time(dice)),
            offered_at: time(dice),
            seq: dice.next(),
        })
    });
    c.end_requested = dice.one_in(2).then(|| {
        Box::new(EndRequest {
            by: by(dice),
            cause: dice.pick(&[EndCause::EndUser, EndCause::Integration, EndCause::Operator, EndCause::Inactivity]),
            reason: text(dice),
            at: time(dice),
            deadline: dice.one_in(2).then(|| time(dice)),
            last_message_id: text(dice),
        })
    });
    c.closed = dice.one_in(2).then(|| {
        Box::new(Close { by: by(dice), cause: EndCause::Operator, at: time(dice), last_message_id: text(dice) })
    });
    c.metadata = serde_json::from_value::<Metadata>(facts(dice, false)).unwrap();
    c
}

fn by(dice: &mut Dice) -> By {
    match dice.below(3) {
        0 => By::timer(),
        1 => By::config(),
        _ => By::caller(Role::Operator, name("olga"), text(dice)),
    }
}

fn text(dice: &mut Dice) -> Option<Text> {
    let texts = ["", "m1", "zażółć gęślą jaźń", "🦀\u{0}\"\\", "019a2b3c-4d5e-7f60-8123-456789abcdef"];
    dice.one_in(2).then(|| dice.pick(&texts).into())
}

fn time(dice: &mut Dice) -> Time {
    Time(dice.pick(&[0, 1_800_000_000_000, 253_402_207_200_000]) - dice.below(1))
}

fn facts(dice: &mut Dice, deletes: bool) -> Value {
    let mut facts = serde_json::Map::new();
    for n in 0..dice.below(5) {
        let values = [json!(true), json!("ünï"), json!(-3), json!(u64::MAX), json!(0.1), json!(1e300), Value::Null];
        let value = values[dice.below(if deletes { 7 } else { 6 }) as usize].clone();
        facts.insert(format!("k{n}"), value);
    }
    Value::Object(facts)
}
