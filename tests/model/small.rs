//! Small worlds, gone through whole: three integrations, one conversation, everything that can be asked, everything
//! that can fall due, one integration that is switched off, removed and brought back. From the beginning every move
//! is made in every state until no new state comes; each time the rules must say what the model says, event by event,
//! and what they make of it must be shown the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};
use switchboard::domain::config::change::changes;
use switchboard::domain::conversation::{self, evolve};
use switchboard::domain::decide::{Scene, check_caller, decide};
use switchboard::domain::timers::{Activity, next_due};
use switchboard::domain::{Command, Config, Conversation, ConversationId, Name, Time, invariants};
use switchboard::switchboard::answer;

use super::contract::{Answer, Around, Asked, Integration, OnEnd, Rules, Settings, Verb};
use super::real::said;
use super::talk::{Stage, Stamp, Talk};

const NAMES: [&str; 3] = ["a", "b", "c"];
const BEGIN: u64 = 1_800_000_000_000;
const DAY_MS: u64 = 86_400_000;

/// How a world is ruled: everything that its configuration may say, in a few choices.
#[derive(Debug, Clone)]
struct Ruled {
    on_end_of_b: OnEnd,
    default: Option<&'static str>,
    reopen: bool,
    multi: bool,
    deadline: Option<u64>,
}

/// What has become of `c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum OfC {
    Enabled,
    Disabled,
    Removed,
}

/// Where a story stands, in the model's words and in the service's.
#[derive(Clone)]
struct Here {
    talk: Option<Talk>,
    real: Option<Conversation>,
    config: Config,
    c: OfC,
    now: u64,
    seq: u64,
}

/// What tells one state from another: the rest follows, or changes no answer.
type State = (Option<(Stage, Option<String>, Option<(String, bool)>, bool, Option<String>, bool)>, OfC);

#[test]
fn in_every_small_world_each_move_comes_to_what_the_contract_says_and_nothing_gets_stuck() {
    let (mut states, mut moves, mut depth) = (0, 0, 0);
    for ruled in every_rule() {
        let explored = Explored::from_the_beginning(&ruled);
        explored.check_that_all_can_end(Verb::is_an_integrations);
        explored.check_that_all_can_end(|verb| matches!(verb, Verb::OrderPass | Verb::OrderRelease | Verb::OrderEnd));
        states += explored.known.len();
        moves += explored.moves;
        depth = depth.max(explored.depth);
    }
    println!("{states} states, {moves} moves, {depth} deep");
    assert!(depth >= 7, "expected worlds at least 7 moves deep, got {depth}");
}

fn every_rule() -> Vec<Ruled> {
    let pass = |to: &str| OnEnd::Pass(to.to_owned());
    let mut all = Vec::new();
    for default in [None, Some("a"), Some("c")] {
        for (reopen, multi) in [(true, false), (false, false), (true, true)] {
            all.push(Ruled { on_end_of_b: OnEnd::Hold, default, reopen, multi, deadline: None });
        }
    }
    for on_end_of_b in [OnEnd::Release, OnEnd::Hold, pass("a"), pass("b"), pass("c")] {
        for (deadline, default) in [(None, None), (Some(60_000), Some("a"))] {
            all.push(Ruled { on_end_of_b: on_end_of_b.clone(), default, reopen: false, multi: true, deadline });
        }
    }
    all
}

impl Ruled {
    fn rules(&self, c: OfC) -> Rules {
        let integration = |next: Option<&str>, on_end, can_take, timeout, enabled| Integration {
            next: next.map(str::to_owned),
            on_end,
            standby: false,
            can_take,
            timeout,
            enabled,
        };
        let mut integrations = BTreeMap::from([
            ("a".to_owned(), integration(Some("b"), OnEnd::Release, false, None, true)),
            ("b".to_owned(), integration(None, self.on_end_of_b.clone(), true, Some(Some(600_000)), true)),
            ("c".to_owned(), integration(Some("a"), OnEnd::Hold, false, Some(None), c == OfC::Enabled)),
        ]);
        let names_c = self.on_end_of_b == OnEnd::Pass("c".into()) || self.default == Some("c");
        if c == OfC::Removed && !names_c {
            integrations.remove("c");
        }
        let settings = Settings {
            default: self.default.map(str::to_owned),
            multi: self.multi,
            reopen: self.reopen,
            user_can_end: self.multi && !self.reopen,
            legacy_csat: false,
            timeout: Some(3_600_000),
            deadline: self.deadline,
            open_max: 1,
        };
        Rules { settings, channels: BTreeMap::new(), integrations }
    }
}

/// A move: something is asked, or `c` is switched.
#[derive(Debug, Clone)]
enum Move {
    Asked(Box<Asked>),
    Switch(OfC),
}

fn every_move() -> Vec<Move> {
    let mut asked = Vec::new();
    for owner in [None, Some("a"), Some("c"), Some("nobody")] {
        let start = Asked::new("web", Verb::Start);
        asked.push(owner.map_or(start.clone(), |owner| start.to(owner)));
    }
    asked.extend([Verb::Message, Verb::EndUser].map(|verb| Asked::new("web", verb)));
    asked.push(Asked { sent_at: Some(BEGIN - 1), ..Asked::new("web", Verb::Message) });
    asked.push(Asked::new("mail", Verb::Message));
    for me in NAMES {
        use Verb::*;
        asked.extend([Accept, Decline, Withdraw, Take, Release, Reply, End].map(|verb| Asked::new(me, verb)));
        for to in ["a", "b", "c", "next", "nobody"] {
            asked.push(Asked::new(me, Pass).to(to));
            asked.push(Asked::new(me, Offer).to(to));
            asked.push(Asked { expires_in: Some(1000), ..Asked::new(me, Offer).to(to) });
        }
    }
    asked.extend(["a", "c", "next", "nobody"].map(|to| Asked::new("olga", Verb::OrderPass).to(to)));
    asked.extend([Verb::OrderRelease, Verb::OrderEnd].map(|verb| Asked::new("olga", verb)));
    asked.extend([Verb::Inactivity, Verb::Deadline, Verb::Expiry].map(|verb| Asked::new("", verb)));
    let mut moves: Vec<Move> = asked.iter().filter(|asked| !asked.verb.is_nobodys()).flat_map(wrong).collect();
    moves.extend(asked.into_iter().map(|asked| Move::Asked(Box::new(asked))));
    moves.extend([OfC::Enabled, OfC::Disabled, OfC::Removed].map(Move::Switch));
    moves
}

/// The same with what is refused of every command, or of those that set metadata: which fault is told first?
fn wrong(asked: &Asked) -> Vec<Move> {
    let huge: Map<String, Value> = (0..65).map(|at| (format!("k{at}"), json!(at))).collect();
    let stale = Asked { version: Some(77), ..asked.clone() };
    let sets = matches!(asked.verb, Verb::Start | Verb::Pass | Verb::Offer | Verb::Accept | Verb::Take | Verb::Release);
    let large = sets.then(|| Asked { metadata: huge, ..asked.clone() });
    std::iter::once(stale).chain(large).map(|asked| Move::Asked(Box::new(asked))).collect()
}

struct Explored {
    known: HashSet<State>,
    steps: HashMap<State, Vec<(Verb, State)>>,
    moves: usize,
    depth: usize,
}

impl Explored {
    fn from_the_beginning(ruled: &Ruled) -> Explored {
        let beginning = Here::beginning(ruled);
        let mut explored =
            Explored { known: HashSet::from([beginning.state()]), steps: HashMap::new(), moves: 0, depth: 0 };
        let every_move = every_move();
        let mut edge = vec![beginning];
        while !edge.is_empty() {
            let mut next = Vec::new();
            for here in edge {
                here.check_what_is_due(ruled);
                for a_move in &every_move {
                    explored.moves += 1;
                    let Some((verb, after)) = here.after(ruled, a_move) else { continue };
                    let state = after.state();
                    explored.steps.entry(here.state()).or_default().push((verb, state.clone()));
                    if explored.known.insert(state) {
                        next.push(after);
                    }
                }
            }
            explored.depth += usize::from(!next.is_empty());
            edge = next;
        }
        explored
    }

    /// From every state the close can be reached by those alone.
    fn check_that_all_can_end(&self, acts: impl Fn(Verb) -> bool) {
        let is_closed = |state: &State| state.0.as_ref().is_some_and(|(stage, ..)| *stage == Stage::Closed);
        let mut can_end: HashSet<&State> = self.known.iter().filter(|state| is_closed(state)).collect();
        loop {
            let leads = |moves: &Vec<(Verb, State)>| moves.iter().any(|(verb, to)| acts(*verb) && can_end.contains(to));
            let more: Vec<&State> =
                self.steps.iter().filter(|(w, moves)| !can_end.contains(w) && leads(moves)).map(|(w, _)| w).collect();
            if more.is_empty() {
                break;
            }
            can_end.extend(more);
        }
        let stuck = self.known.iter().find(|state| state.0.is_some() && !can_end.contains(state));
        assert_eq!(stuck, None, "no way to the close");
    }
}

impl Here {
    fn beginning(ruled: &Ruled) -> Here {
        let here = Here { talk: None, real: None, config: Config::default(), c: OfC::Removed, now: BEGIN, seq: 1 };
        here.switched(ruled, OfC::Enabled)
    }

    fn state(&self) -> State {
        let talk = self.talk.as_ref().map(|talk| {
            let offer = talk.offer.as_ref().map(|offer| (offer.to.clone(), offer.expires_at.is_some()));
            let has_deadline = talk.end_requested.as_ref().is_some_and(|request| request.deadline.is_some());
            (talk.stage, talk.owner.clone(), offer, talk.is_accepted, talk.last_owner.clone(), has_deadline)
        });
        (talk, self.c)
    }

    /// Where a move leads, if it changes anything.
    fn after(&self, ruled: &Ruled, a_move: &Move) -> Option<(Verb, Here)> {
        match a_move {
            Move::Switch(c) if *c == self.c => None,
            Move::Switch(c) => Some((Verb::Removal, self.clone().switched(ruled, *c))),
            Move::Asked(asked) if asked.verb.is_nobodys() && self.talk.is_none() => None,
            Move::Asked(asked) => self.asked(ruled, asked).map(|after| (asked.verb, after)),
        }
    }

    /// Both are asked, and must say the same.
    fn asked(&self, ruled: &Ruled, asked: &Asked) -> Option<Here> {
        let mut after = self.clone();
        after.now += if asked.verb.is_nobodys() { DAY_MS } else { 1000 };
        let last_message = self.talk.as_ref().and_then(|talk| talk.last_message.clone());
        // The limit is one: whoever is closed or unknown may begin, and nobody else is there.
        let around = Around { now: after.now, last_message, open: 0 };
        let rules = ruled.rules(self.c);
        let expected = rules.answer(self.talk.as_ref(), asked, &around);
        let got = self.decided(asked, after.now);
        assert_eq!(said(&got), expected, "{asked:?} in {:?} under {ruled:?}", self.state());
        let Answer::Happens(events) = &expected else { return None };
        after.happen(asked, events, got.expect("it happens"));
        after.check_shown(&rules);
        (!events.is_empty()).then_some(after)
    }

    fn decided(
        &self,
        asked: &Asked,
        now: u64,
    ) -> Result<switchboard::domain::decide::Verdict, switchboard::domain::Refusal> {
        let (by, id) = (asked.caller(), ConversationId::parse("c-1").expect("an id"));
        let scene = Scene {
            id: &id,
            by: &by,
            now: Time(now),
            config: &self.config,
            last_message_id: self.real.as_ref().and_then(|c| c.last_message_id.as_ref()),
            open_conversations: 0,
        };
        check_caller(&by, &self.config)
            .and_then(|()| decide(self.real.as_ref(), &asked.command(), asked.expected(), &scene))
    }

    fn happen(&mut self, asked: &Asked, events: &[Value], verdict: switchboard::domain::decide::Verdict) {
        let switchboard::domain::decide::Verdict::Applied(reals) = verdict else { panic!("it happens") };
        let is_active = matches!(asked.verb, Verb::Start | Verb::Message);
        let known = self.talk.as_ref().map(|talk| (talk.last_activity_at, talk.last_message.clone()));
        let (active_at, last_message) = known.unwrap_or((self.now, None));
        let starts = events.first().is_some_and(|event| event["type"] == "conversation.started");
        let stamp = Stamp {
            at: self.now,
            by: asked.by(),
            user: None,
            last_activity_at: if is_active { self.now } else { active_at },
            last_message: if starts { None } else { last_message },
        };
        let by = asked.caller();
        for (event, real) in events.iter().zip(&reals) {
            let talk = self.talk.get_or_insert_with(|| Talk::unborn("c-1", &asked.who, stamp.at));
            talk.happened(event, &stamp);
            let before = self.real.clone();
            let mut c = before.clone().unwrap_or_else(|| {
                let id = ConversationId::parse("c-1").expect("an id");
                Conversation::unborn(&id, &Name::parse(&asked.who).expect("a name"), Time(stamp.at))
            });
            let stamp = conversation::Stamp {
                seq: self.seq,
                at: Time(stamp.at),
                by: &by,
                user: None,
                last_activity_at: Time(stamp.last_activity_at),
                last_message_id: None,
            };
            evolve(&mut c, real, &stamp);
            invariants::check(before.as_ref(), real, &c).unwrap_or_else(|broken| panic!("{broken}"));
            self.seq += 1;
            self.real = Some(c);
        }
    }

    fn check_shown(&self, rules: &Rules) {
        let (Some(talk), Some(c)) = (&self.talk, &self.real) else { return };
        invariants::check_at_rest(c).unwrap_or_else(|broken| panic!("{broken}"));
        let body = answer::state(c, self.config.settings(&c.channel));
        let mut body: Value = serde_json::from_slice(&body).expect("JSON");
        body["conversation"].as_object_mut().expect("a conversation").remove("seq");
        assert_eq!(body["conversation"], talk.shown(rules));
    }

    /// What falls due next, and when.
    fn check_what_is_due(&self, ruled: &Ruled) {
        let (Some(talk), Some(c)) = (&self.talk, &self.real) else { return };
        for ready_since in [0, self.now + 30_000] {
            let activity = Activity { at: c.last_activity_at, may_be_later: false };
            let got = next_due(c, activity, &self.config, Time(ready_since));
            let got = got.map(|(at, due)| (at.0, Command::Due(due)));
            let expected = talk.due(&ruled.rules(self.c), talk.last_activity_at, ready_since);
            let expected = expected.map(|(at, what)| (at, Asked::new("", what).command()));
            assert_eq!(got, expected, "due in {:?} under {ruled:?}", self.state());
        }
    }

    /// Another configuration, and what it takes away.
    fn switched(mut self, ruled: &Ruled, c: OfC) -> Here {
        let (before, after) = (ruled.rules(self.c), ruled.rules(c));
        self.now += 1000;
        for event in changes(&self.config, &after.parsed()) {
            self.config.evolve(&event, self.seq, Time(self.now));
            self.seq += 1;
        }
        self.c = c;
        if let Some(talk) = &mut self.talk {
            talk.ruled_anew(&before, &after, self.now);
            let removal = Asked::new("", Verb::Removal);
            self = self.asked(ruled, &removal).unwrap_or(self);
            self.talk.as_mut().expect("it is there").gone.clear();
        }
        self
    }
}
