//! The queue of requests: served in turn by caller, in order within one, so that a flooding caller starves nobody.
//! How much may wait is [`super::admission`]'s to say: whatever stands here has a place.
//!
//! Turns alone are not enough: whoever comes finds before it what was decided of the flood and is on its way already.
//! So the queue also remembers who was served how often, and says whether somebody asks little beside one who asks
//! much; while that is so, little is decided ahead ([`super::core::limits`]).

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::admission::Place;
use super::port::{Ask, Request};
use crate::domain::{Name, Role, Time};

/// How many times as much as another the busiest caller has asked, where that one asks little.
const MUCH: u32 = 32;
/// How often what callers were served counts only half any more.
const LATELY_MS: u64 = 1000;
/// Places given up at once: each is counted down where those who come count it up, on another processor.
const PLACES_AT_ONCE: usize = 256;
/// How long groups stay small for one that asks little and has not asked lately: longer than what was decided before its
/// request takes to leave. Whoever only looks in now and then costs the others no more than that …
const FIRST_SMALL_MS: u64 = 1000;
/// … and for one that has, at most so long ago.
const SMALL_MS: u64 = 5000;

type Caller = (Role, Option<Name>);

/// Requests that wait to be decided.
#[derive(Debug, Default)]
pub struct Queue {
    lines: HashMap<Caller, Line, RandomState>,
    turns: VecDeque<Caller>,
    waiting: usize,
    /// Places of requests that were served.
    served: Vec<Place>,
    /// The most that one of the callers was served lately.
    most: u32,
    halved_at: Time,
    /// Until when groups are small for somebody.
    small_until: Option<Time>,
}

#[derive(Debug, Default)]
struct Line {
    requests: VecDeque<(Request, Place)>,
    /// How many were served lately.
    served: u32,
    /// When it was last served, and until when groups are small for it, if it seems to ask little.
    small: Option<Small>,
}

#[derive(Debug, Clone, Copy)]
struct Small {
    at: Time,
    until: Time,
}

impl Small {
    /// Served now.
    fn served(before: Option<Small>, now: Time) -> Small {
        let has_asked_lately = before.is_some_and(|before| before.is_of_late(now));
        Small { at: now, until: now.plus_ms(if has_asked_lately { SMALL_MS } else { FIRST_SMALL_MS }) }
    }

    fn is_of_late(self, now: Time) -> bool {
        // A clock that was ahead and goes back is not waited for.
        self.at <= now && now.ms_since(self.at) < SMALL_MS
    }
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether somebody asks little beside one who asks much.
    pub fn serves_the_small(&self) -> bool {
        self.small_until.is_some()
    }

    /// Lets a request wait.
    pub fn push(&mut self, request: Request, place: Place) {
        self.waiting += 1;
        let caller = (request.by.role, request.by.name.clone());
        match self.lines.get_mut(&caller) {
            Some(line) => {
                if line.requests.is_empty() {
                    self.turns.push_back(caller);
                }
                line.requests.push_back((request, place));
            }
            None => {
                self.turns.push_back(caller.clone());
                self.lines.insert(caller, Line { requests: VecDeque::from([(request, place)]), ..Line::default() });
            }
        }
    }

    /// The next request: the first of the caller whose turn it is. Its place is free again soon. Nobody asks much who was
    /// served fewer than `much_min` lately.
    pub fn pop(&mut self, now: Time, much_min: u32) -> Option<Request> {
        let caller = self.turns.pop_front()?;
        let line = self.lines.get_mut(&caller)?;
        let (request, place) = line.requests.pop_front()?;
        self.waiting -= 1;
        self.served.push(place);
        line.served = line.served.saturating_add(1);
        self.most = self.most.max(line.served);
        let asks_more = line.served > self.most / MUCH;
        let seemed_small = asks_more && line.small.take().is_some();
        // Pages, and the past, take their time for everybody.
        if self.most >= much_min && !asks_more && !matches!(request.ask, Ask::Past(_) | Ask::List(_)) {
            let small = Small::served(line.small, now);
            line.small = Some(small);
            self.small_until = self.small_until.max(Some(small.until));
        }
        if !line.requests.is_empty() {
            self.turns.push_back(caller);
        }
        // Whoever has only begun seems to ask little until it has asked more: a load whose callers come one after the
        // other is in nobody's way.
        if seemed_small {
            self.find_the_small(now);
        }
        if self.served.len() >= PLACES_AT_ONCE {
            self.free_places();
        }
        Some(request)
    }

    /// The places of all that were served are free again.
    pub fn free_places(&mut self) {
        self.served.clear();
    }

    /// Lets what was long ago count less. Callers are remembered only while something of theirs counts or waits.
    pub fn look(&mut self, now: Time) {
        self.small_until = self.small_until.filter(|until| now < *until && until.ms_since(now) <= SMALL_MS);
        if self.halved_at <= now && now.ms_since(self.halved_at) < LATELY_MS {
            return;
        }
        self.halved_at = now;
        self.most /= 2;
        let most = self.most;
        self.lines.retain(|_, line| {
            line.served /= 2;
            line.small = line.small.filter(|small| small.is_of_late(now) && line.served <= most / MUCH);
            line.served > 0 || line.small.is_some() || !line.requests.is_empty()
        });
        self.find_the_small(now);
    }

    fn find_the_small(&mut self, now: Time) {
        let untils = self.lines.values().filter_map(|line| Some(line.small?.until));
        self.small_until = untils.filter(|until| now < *until).max();
    }
}
