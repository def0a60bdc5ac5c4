//! Small worlds, gone through whole: three integrations, one conversation, everything that can be asked.
//!
//! The model ([`model`]) is the contract written a second time, over a state of a few words and knowing
//! nothing of events. From the beginning every move is made in every state until no new state comes;
//! each answer of the rules must be the model's, and from each state the end can be reached.

mod model;

use std::collections::{HashMap, HashSet};

use switchboard::domain::By;
use switchboard::domain::command::Due;
use switchboard::domain::config::AfterClose;
use switchboard::domain::conversation::Status;
use switchboard::domain::decide::Verdict;
use switchboard::domain::{Conversation, invariants};

use super::given::*;
use super::say::*;
use model::{A, Answer, B, C, Move, OnEnd, Rules, Stage, To, World};

/// The integrations, in the order of [`A`], [`B`] and [`C`].
const NAMES: [&str; 3] = ["a", "b", "c"];
const DAY_MS: u64 = 86_400_000;

#[test]
fn in_every_small_world_each_move_comes_to_what_the_contract_says_and_nothing_gets_stuck() {
    let mut deepest = 0;
    for on_end in [OnEnd::Release, OnEnd::Hold, OnEnd::Pass(A), OnEnd::Pass(B), OnEnd::Pass(C)] {
        for default in [None, Some(A)] {
            for after in [AfterClose::Reopens, AfterClose::StartsOver, AfterClose::Refuses] {
                let rules = Rules { on_end, default, after };
                let explored = Explored::from_the_beginning(rules);
                explored.check_that_all_can_end(Move::is_an_integrations);
                explored.check_that_all_can_end(Move::is_an_operators);
                deepest = deepest.max(explored.depth);
            }
        }
    }
    assert!(deepest >= 5, "expected worlds at least 5 moves deep, got {deepest}");
}

// The rules themselves, asked the same

impl Rules {
    fn configuration(self, c_is_on: bool) -> String {
        let on_end = match self.on_end {
            OnEnd::Release => "\"release\"".to_owned(),
            OnEnd::Hold => "\"hold\"".to_owned(),
            OnEnd::Pass(to) => format!("{{ pass = \"{}\" }}", NAMES[to]),
        };
        let default = self.default.map_or(String::new(), |at| format!("default_integration = \"{}\"", NAMES[at]));
        let (reopen, refuses) = (self.after == AfterClose::Reopens, self.after == AfterClose::Refuses);
        format!(
            r#"
            [settings]
            {default}
            reopen = {reopen}
            multi_conversations = {refuses}
            end_user_can_end = {refuses}
            inactivity_timeout = "1h"
            release_deadline = "1h"
            [[integration]]
            name = "a"
            next = "b"
            [[integration]]
            name = "b"
            can_take = true
            on_end = {on_end}
            [[integration]]
            name = "c"
            next = "a"
            on_end = "hold"
            enabled = {c_is_on}
            "#
        )
    }

    /// The real answer, as the model would say it, and the story after it.
    fn real_answer(self, story: &Given, w: World, asked: Move) -> (Answer, Given) {
        if asked == Move::SwitchC {
            let story = story.clone().configured(&self.configuration(!w.c_is_on));
            let story = match &story.conversation {
                Some(_) if story.clone().when_due(Due::Removal).verdict() != &Ok(Verdict::Unchanged) => {
                    story.after_due(Due::Removal)
                }
                _ => story,
            };
            return (Answer::Becomes(seen(story.conversation.as_ref(), !w.c_is_on)), story);
        }
        let outcome = asked.make(story.clone());
        match outcome.verdict() {
            Err(refusal) => (Answer::Refused(refusal.code()), story.clone()),
            Ok(Verdict::Unchanged) => (Answer::Unchanged, story.clone()),
            Ok(Verdict::Applied(_)) => {
                let after = outcome.applied();
                (Answer::Becomes(seen(after.conversation.as_ref(), w.c_is_on)), after)
            }
        }
    }
}

fn seen(c: Option<&Conversation>, c_is_on: bool) -> World {
    let Some(c) = c else { return World { c_is_on, ..World::BEGINNING } };
    invariants::check_at_rest(c).unwrap_or_else(|broken| panic!("{broken}"));
    let number = |text: &str| NAMES.iter().position(|name| *name == text);
    World {
        stage: match c.status {
            Status::Open => Stage::Open,
            Status::Ending => Stage::Ending,
            Status::Closed => Stage::Closed,
        },
        owner: c.owner.as_ref().and_then(|owner| number(owner.as_str())),
        offer: c.offer.as_ref().and_then(|offer| number(offer.to.as_str())),
        accepted: c.owner_accepted,
        last_owner: c.last_owner.as_ref().and_then(|owner| number(owner.as_str())),
        c_is_on,
    }
}

impl Move {
    fn make(self, story: Given) -> Outcome {
        let target = |to: To| match to {
            To::Named(at) => NAMES[at],
            To::Next => "next",
            To::Nobody => "nobody",
        };
        let me: By = self.integration().map_or_else(olga, |at| integration(NAMES[at]));
        match self {
            Move::Start(None) => story.when(web(), start()),
            Move::Start(Some(owner)) => story.when(web(), start_for(NAMES[owner])),
            Move::Message => story.when(web(), message()),
            Move::LateMessage => story.when(web(), message_sent_at("2020-01-01T00:00:00Z")),
            Move::OthersMessage => story.when(channel("mail"), message()),
            Move::End => story.when(web(), end()),
            Move::Pass(_, to) => story.when(me, pass(target(to))),
            Move::Offer(_, to) => story.when(me, offer_for_ms(target(to), 1_000)),
            Move::Accept(_) => story.when(me, accept()),
            Move::Decline(_) => story.when(me, decline()),
            Move::Withdraw(_) => story.when(me, withdraw()),
            Move::Take(_) => story.when(me, take()),
            Move::Release(_) => story.when(me, release()),
            Move::Reply(_) => story.when(me, reply()),
            Move::Finish(_) => story.when(me, finish()),
            Move::OrderPass(to) => story.when(me, order_pass(target(to))),
            Move::OrderRelease => story.when(me, order_release()),
            Move::OrderEnd => story.when(me, order_end()),
            Move::Inactivity => story.later_ms(DAY_MS).when_due(Due::Inactivity),
            Move::Deadline => story.later_ms(DAY_MS).when_due(Due::Deadline),
            Move::Expiry => story.later_ms(DAY_MS).when_due(Due::OfferExpiry),
            Move::SwitchC => unreachable!("it is no command"),
        }
    }
}

/// All states that can come about, and the moves between them.
struct Explored {
    steps: HashMap<World, Vec<(Move, World)>>,
    depth: usize,
}

impl Explored {
    fn from_the_beginning(rules: Rules) -> Explored {
        let story = given(&rules.configuration(true));
        let mut steps = HashMap::new();
        let (mut edge, mut known, mut depth) = (vec![(World::BEGINNING, story)], HashSet::from([World::BEGINNING]), 0);
        while !edge.is_empty() {
            let mut next = Vec::new();
            for (w, story) in edge {
                for asked in Move::all().into_iter().filter(|asked| asked.is_of(w)) {
                    let expected = rules.answer(w, asked);
                    let (got, after) = rules.real_answer(&story, w, asked);
                    assert_eq!(got, expected, "{asked:?} in {w:?} under {rules:?}");
                    let Answer::Becomes(to) = got else { continue };
                    steps.entry(w).or_insert_with(Vec::new).push((asked, to));
                    if known.insert(to) {
                        next.push((to, after));
                    }
                }
            }
            depth += usize::from(!next.is_empty());
            edge = next;
        }
        Explored { steps, depth }
    }

    fn check_that_all_can_end(&self, acts: fn(&Move) -> bool) {
        let mut can_end: HashSet<World> = self.steps.keys().filter(|w| w.stage == Stage::Closed).copied().collect();
        loop {
            let leads_there =
                |moves: &Vec<(Move, World)>| moves.iter().any(|(asked, to)| acts(asked) && can_end.contains(to));
            let more: Vec<World> = self
                .steps
                .iter()
                .filter(|(w, moves)| !can_end.contains(w) && leads_there(moves))
                .map(|(w, _)| *w)
                .collect();
            if more.is_empty() {
                break;
            }
            can_end.extend(more);
        }
        let stuck = self.steps.keys().find(|w| w.stage != Stage::Unknown && !can_end.contains(w));
        assert_eq!(stuck, None, "no way to the close");
    }
}
