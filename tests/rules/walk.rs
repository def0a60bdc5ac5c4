//! A random walk over the rules: whatever is asked, in whatever order, the invariants hold after every event.
//!
//! The seed is printed when a walk fails; [`super::random`] says how it is taken again.

use serde_json::json;
use switchboard::domain::command::Due;
use switchboard::domain::conversation::Status;
use switchboard::domain::decide::{Verdict, is_orphaned};
use switchboard::domain::timers::{Activity, next_due};
use switchboard::domain::{By, Command, Conversation, Time, invariants};

use super::given::*;
use super::random::{self, Dice};
use super::say::*;

const STEPS: u64 = 60_000;
const CONVERSATIONS: u64 = 4;
const HOLDERS: [&str; 5] = ["bot", "agents", "survey", "sales", "old-bot"];
const CHANNELS: [&str; 5] = ["web", "thread", "mail", "silent", "web"];

#[test]
fn the_invariants_hold_after_every_event_of_a_random_walk() {
    let steps = random::steps(STEPS);
    for seed in random::seeds(20_260_131, 1) {
        let walked = std::panic::catch_unwind(|| Walk::new(seed).run(steps));
        match walked {
            Ok(seen) => seen.check(steps),
            Err(panic) => {
                eprintln!(
                    "the walk failed: repeat it with SWITCHBOARD_TEST_SEED={seed} SWITCHBOARD_TEST_STEPS={steps}"
                );
                std::panic::resume_unwind(panic)
            }
        }
    }
}

/// How often what was seen: a walk that sees nothing proves nothing.
#[derive(Default)]
struct Seen {
    events: [u64; 10],
    refused: u64,
    unchanged: u64,
}

impl Seen {
    fn check(&self, steps: u64) {
        assert!(
            steps < 10_000 || self.events.iter().all(|count| *count > 0),
            "some events never came: {:?}",
            self.events
        );
        assert!(steps < 10_000 || (self.refused > 0 && self.unchanged > 0));
    }
}

struct Walk {
    random: Dice,
    stories: Vec<Given>,
    seen: Seen,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let stories = (0..CONVERSATIONS).map(|_| given(CENTRE)).collect();
        Walk { random: Dice::new(seed), stories, seen: Seen::default() }
    }

    fn run(mut self, steps: u64) -> Seen {
        for _ in 0..steps {
            let at = self.random.below(CONVERSATIONS) as usize;
            match self.random.below(100) {
                0..2 => self.configure(),
                2..10 => self.time_goes_by(),
                10..14 => self.fall_due_out_of_turn(at),
                _ => self.command(at),
            }
        }
        self.seen
    }

    fn configure(&mut self) {
        let mut config = CENTRE.to_owned();
        if self.random.below(2) == 0 {
            config = config.replace("enabled = false", "enabled = true");
        }
        let holder = self.random.pick(&HOLDERS);
        if self.random.below(2) == 0 && holder != "old-bot" {
            config =
                config.replace(&format!("name = \"{holder}\"\n"), &format!("name = \"{holder}\"\nenabled = false\n"));
        }
        let on_end = self.random.pick(&["\"release\"", "\"hold\"", "{ pass = \"survey\" }", "{ pass = \"sales\" }"]);
        config = config.replace("{ pass = \"survey\" }", on_end);
        for at in 0..self.stories.len() {
            let story = self.stories[at].clone().configured(&config);
            self.stories[at] = story;
            self.settle(at);
        }
    }

    fn time_goes_by(&mut self) {
        let ms = self.random.pick(&[1, 1_000, 30_000, 600_000, 900_000, 86_400_000]);
        for at in 0..self.stories.len() {
            self.stories[at] = self.stories[at].clone().later_ms(ms);
            self.settle(at);
        }
    }

    /// What an instance does before a command: what was removed, then what is due.
    fn settle(&mut self, at: usize) {
        while let Some(c) = &self.stories[at].conversation {
            let story = &self.stories[at];
            let activity = Activity { at: c.last_activity_at, may_be_later: false };
            let due = match is_orphaned(c, &story.config) {
                true => Some(Due::Removal),
                false => {
                    next_due(c, activity, &story.config, Time(0)).filter(|(at, _)| *at <= story.now).map(|due| due.1)
                }
            };
            let Some(due) = due else { return };
            let version = c.version;
            self.ask(at, if due == Due::Removal { By::config() } else { By::timer() }, Command::Due(due));
            assert!(
                self.stories[at].c().version > version,
                "{due:?} is due and does nothing, so it would be due for ever"
            );
        }
    }

    /// A timer that was set for a state that is no longer there.
    fn fall_due_out_of_turn(&mut self, at: usize) {
        if self.stories[at].conversation.is_some() {
            let due = self.random.pick(&[Due::Deadline, Due::OfferExpiry, Due::Removal]);
            self.ask(at, if due == Due::Removal { By::config() } else { By::timer() }, Command::Due(due));
        }
    }

    fn command(&mut self, at: usize) {
        let (by, command) = match self.random.below(10) {
            0..4 => self.channels(at),
            4..9 => self.integrations(at),
            _ => self.operators(),
        };
        self.ask(at, by, command);
    }

    fn channels(&mut self, at: usize) -> (By, Command) {
        let own = CHANNELS[at % CHANNELS.len()];
        let who = if self.random.below(20) == 0 { self.random.pick(&CHANNELS) } else { own };
        let holder = self.random.pick(&HOLDERS);
        let sent_at = self.stories[at].now.to_string();
        let command = match self.random.below(8) {
            0 => start(),
            1 => start_with("u-1", holder, json!({"a": 1, "b": "x"})),
            2 => message_sent_at(&sent_at),
            3 => message_id("m-1"),
            4 => end(),
            5 => end_under("m-2", "bye"),
            _ => message(),
        };
        (channel(who), command.command())
    }

    fn integrations(&mut self, at: usize) -> (By, Command) {
        let c = self.stories[at].conversation.as_ref();
        let owner = c.and_then(|c| c.owner.as_ref()).map(|name| name.as_str().to_owned());
        let offered = c.and_then(|c| c.offer.as_ref()).map(|offer| offer.to.as_str().to_owned());
        let anybody = self.random.pick(&HOLDERS).to_owned();
        let who = match self.random.below(10) {
            0..6 => owner.unwrap_or(anybody),
            6..9 => offered.unwrap_or(anybody),
            _ => anybody,
        };
        let to = self.random.pick(&["bot", "agents", "survey", "sales", "old-bot", "next", "nobody"]);
        let command = match self.random.below(14) {
            0 => pass(to),
            1 => pass_with(to, "why", json!({"a": null, "c": 2})),
            2 => offer(to),
            3 => offer_for_ms(to, 30_000),
            4 => offer_with(to, "why", json!({"d": 3})),
            5 => accept(),
            6 => accept_with(json!({"e": 4})),
            7 => decline(),
            8 => withdraw(),
            9 => take(),
            10 => release(),
            11 => release_under("m-3"),
            12 => finish(),
            _ => reply(),
        };
        (integration(&who), command.command())
    }

    fn operators(&mut self) -> (By, Command) {
        let to = self.random.pick(&["bot", "agents", "survey", "next", "nobody"]);
        let command = match self.random.below(4) {
            0 | 1 => order_pass(to),
            2 => order_release(),
            _ => order_end(),
        };
        (olga(), command.command())
    }

    fn ask(&mut self, at: usize, by: By, command: Command) {
        let story = self.stories[at].clone();
        let outcome = story.clone().when(by.clone(), command.clone());
        match outcome.verdict() {
            Err(_) => self.seen.refused += 1,
            Ok(Verdict::Unchanged) => {
                self.seen.unchanged += 1;
                let again = story.when(by, command);
                assert!(matches!(again.verdict(), Ok(Verdict::Unchanged)), "what is so stays so");
            }
            Ok(Verdict::Applied(events)) => {
                assert!(!events.is_empty() || command.is_message(), "{command:?} is applied and does nothing");
                events.iter().for_each(|event| self.seen.events[event.kind() as usize] += 1);
                let after = outcome.applied();
                check_decision(story.conversation.as_ref(), after.conversation.as_ref());
                self.stories[at] = after;
            }
        }
    }
}

/// What holds of a whole decision; what holds of each event was checked as it was written down.
fn check_decision(before: Option<&Conversation>, after: Option<&Conversation>) {
    let Some(after) = after else { return };
    invariants::check_at_rest(after).unwrap_or_else(|broken| panic!("{broken}\nafter: {after:#?}"));
    if let Some(before) = before {
        assert!(after.session >= before.session && after.version >= before.version && after.epoch >= before.epoch);
        assert!(before.status != Status::Ending || after.status != Status::Open, "an end cannot be taken back");
    }
}

#[test]
fn a_seed_repeats_a_walk() {
    let numbers = |seed| {
        let mut random = Dice::new(seed);
        [random.next(), random.next(), random.next()]
    };
    assert_eq!(numbers(1), numbers(1));
    assert_ne!(numbers(1), numbers(2));
}
