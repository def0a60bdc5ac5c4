//! A random walk over everything: commands of all roles, delays, lost power, restarts, time that jumps.
//!
//! [`super::random`] says how it is steered from outside.

use serde_json::{Value, json};
use switchboard::domain::By;
use switchboard::log::Log;
use switchboard::switchboard::PartSizes;
use switchboard::switchboard::audit::Audit;
use switchboard::switchboard::port::{Ask, ListAsk, Moment, PastAsk, Span};

use super::random;
use super::restarts::check_starts_agree;
use super::say::*;
use super::site::{Cached, Site};
use super::usual;
use super::witness::Witness;

const STEPS: u64 = 6000;
const RUNS: u64 = 2;

/// Random numbers, and how far the walk has come.
struct Dice {
    numbers: random::Dice,
    /// Conversations that stay closed give way to new ones now and then.
    era: u64,
}

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.numbers.below(end)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.numbers.one_in(n)
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        self.numbers.pick(all)
    }
}

#[test]
fn whatever_happens_the_log_is_what_is_served_and_nothing_is_shown_that_it_does_not_hold() {
    for seed in random::seeds(1, RUNS) {
        walk(seed, random::steps(STEPS));
    }
}

fn walk(seed: u64, steps: u64) {
    let mut dice = Dice { numbers: random::Dice::new(seed), era: 0 };
    let mut site = Site::of_parts(&usual(), PartSizes { page_items: 3, mark_entries: 2 });
    let mut witness = Witness::default();
    for at in 0..steps {
        dice.era = at / 500;
        site = step(site, &mut dice, &mut witness);
        witness.hear(&mut site);
        if site.core.is_idle() {
            witness.check_served(&site);
        }
    }
    site.run();
    witness.hear(&mut site);
    witness.check_served(&site);
    witness.check_past(&mut site);
    check_rules_hold(&site);
    println!("seed {seed}: {} decisions", witness.decisions);
    assert!(witness.decisions > steps / 25, "only {} decisions in {steps} steps", witness.decisions);
}

/// What `verify` says of the log of a whole life: no rule is broken, however it was interrupted.
fn check_rules_hold(site: &Site) {
    let mut audit = Audit::default();
    for frame in site.log.reader().frames(1).map(Result::unwrap) {
        for entry in &frame.entries {
            audit.take(frame.header.frame, entry).unwrap_or_else(|finding| panic!("{finding}"));
        }
    }
    assert_eq!(audit.tally().events, site.head().next_seq - 1);
}

fn step(mut site: Site, dice: &mut Dice, witness: &mut Witness) -> Site {
    match dice.below(100) {
        0..45 => {
            let call = random_call(&site, dice);
            let said = call.clone();
            let reply = site.send(call);
            witness.asked(reply, said);
        }
        45..60 => site.step(),
        60..72 => drop(site.take()),
        72..82 => drop(!site.is_flying() || site.write()),
        82..88 => drop(site.hear()),
        88..90 => drop(site.read()),
        90..92 => drop(dice.one_in(2) && site.begin_keeping() || site.end_keeping()),
        92..95 => pass_time(&mut site, dice),
        95 => ask_something(&mut site, dice),
        96 => site.core.ready(dice.below(4) > 0, site.now),
        97 => {
            if dice.one_in(6) {
                site.hand(olga(), Ask::Put(Box::new(put(&random_config(dice)))));
            }
        }
        98 => site.run(),
        _ => {
            if dice.one_in(4) {
                return restart(site, dice, witness);
            }
        }
    }
    site
}

fn restart(mut site: Site, dice: &mut Dice, witness: &mut Witness) -> Site {
    if site.is_flying() && dice.one_in(2) {
        site.fail_write(dice.below(3) as usize);
    }
    witness.hear(&mut site);
    let cached = dice.pick(&[Cached::AsItIs, Cached::AsItIs, Cached::Nothing]);
    let mut site = site.restart(cached);
    witness.restarted();
    witness.hear(&mut site);
    witness.check_served(&site);
    if dice.one_in(2) {
        check_starts_agree(&site, site.through);
    }
    site.core.ready(true, site.now);
    site
}

fn pass_time(site: &mut Site, dice: &mut Dice) {
    let ms = match dice.below(20) {
        0 => DAY,
        1 | 2 => HOUR,
        3..6 => 11 * MINUTE,
        6..10 => MINUTE,
        _ => dice.below(3000),
    };
    site.later(ms);
    if dice.one_in(40) {
        // Somebody sets the clock.
        site.now.0 -= 5 * SECOND;
    }
}

fn ask_something(site: &mut Site, dice: &mut Dice) {
    let (id, at) = (conversation(&random_id(dice).0), Moment::Time(site.now));
    let span = Span { limit: 5, ..Span::default() };
    let ask = match dice.below(4) {
        0 => Ask::State { id },
        1 => Ask::List(Box::new(ListAsk { limit: 1 + dice.below(30) as usize, ..ListAsk::default() })),
        2 => Ask::from(PastAsk::Conversation { id, at }),
        _ => Ask::from(PastAsk::History { id: Some(id), span }),
    };
    site.hand(anybody(), ask);
}

fn random_id(dice: &mut Dice) -> (String, By) {
    let n = dice.below(20);
    let of = ["web", "thread", "reopening", "small"][n as usize % 4];
    let era = if dice.one_in(10) { dice.below(dice.era + 1) } else { dice.era };
    match of {
        "web" | "small" => (format!("c{n:02}-{era}"), channel(of)),
        _ => (format!("c{n:02}"), channel(of)),
    }
}

/// An integration that may do something there, more often than not.
fn random_integration(site: &Site, id: &str, dice: &mut Dice) -> By {
    let c = site.core.conversation(&conversation(id));
    let owner = c.as_ref().and_then(|c| c.owner.as_ref());
    let offered = c.as_ref().and_then(|c| c.offer.as_ref()).map(|offer| &offer.to);
    let likely = if dice.one_in(2) { offered.or(owner) } else { owner };
    match likely.filter(|_| dice.below(4) > 0) {
        Some(name) => integration(name.as_str()),
        None => integration(dice.pick(&["bot", "agents", "survey", "listener"])),
    }
}

fn random_call(site: &Site, dice: &mut Dice) -> Call {
    let (id, own_channel) = random_id(dice);
    let me = random_integration(site, &id, dice);
    let to = dice.pick(&["bot", "agents", "survey", "next", "nobody"]);
    let by = if dice.one_in(30) { channel("web") } else { own_channel };
    let mut call = match dice.below(22) {
        0..3 => start(&id).by(by).metadata(json!({"n": dice.below(100), "half": 0.1 * dice.below(100) as f64})),
        3..8 => message(&id).by(by).message_id(&format!("m{}", dice.below(1000))).content("words"),
        8 => end(&id).by(by),
        9..11 => pass(me, &id, to).metadata(json!({"by": dice.below(9), "n": null})),
        11..13 => offer(me, &id, to, dice.pick(&[None, Some(5 * SECOND), Some(HOUR)])),
        13 => accept(me, &id).metadata(json!({"accepted": true})),
        14 => decline(me, &id),
        15 => withdraw(me, &id),
        16 => take(me, &id),
        17 => release(me, &id),
        18 => reply(me, &id).message_id(&format!("r{}", dice.below(1000))).content("words"),
        19 => finish(me, &id),
        20 => overrule_pass(&id, to),
        _ => dice.pick(&[overrule_release(&id), overrule_end(&id)]),
    };
    if dice.one_in(2) {
        call = call.command_id(&format!("i{}", dice.below(60)));
    }
    match dice.below(12) {
        0 => call.epoch(site.core.conversation(&conversation(&id)).map_or(0, |c| c.epoch)),
        1 => call.version(dice.below(9)),
        _ => call,
    }
}

fn random_config(dice: &mut Dice) -> Value {
    let mut config = usual();
    if dice.one_in(3) {
        config["integration"][2]["enabled"] = json!(false);
    }
    if dice.one_in(4) {
        config["integration"][1]["enabled"] = json!(false);
    }
    if dice.one_in(4) {
        config["integration"].as_array_mut().expect("integrations").pop();
    }
    config["integration"][0]["inactivity_timeout"] = dice.pick(&[json!("10m"), json!("1m"), json!("never")]);
    config["integration"][0]["on_end"] = dice.pick(&[json!("release"), json!("hold"), json!({"pass": "survey"})]);
    config["settings"]["release_deadline"] = dice.pick(&[json!("10m"), json!("never")]);
    config
}
