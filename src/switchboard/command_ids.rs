//! Which command ids decided what: a repeat gets its answer again, anything else under the same id is refused.
//!
//! Only commands that recorded events are remembered, while their session is open and a day after.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::domain::Time;
use crate::domain::event::Kind;

/// How long after the close of its session a command id is remembered.
pub const REMEMBERED_MS_AFTER_CLOSE: u64 = 24 * 3_600_000;

/// Up to so many ids a walk along the list is quicker than an index.
const WALK_MAX: usize = 24;

/// Bits that one kind of event takes.
const KIND_BITS: u32 = 4;

/// What one command id decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The id's fingerprint.
    pub key: u64,
    /// The fingerprint of verb and body.
    pub digest: u64,
    /// Its first event.
    pub first_seq: u64,
    /// Its events' kinds, four bits each, the first lowest; 0 ends them.
    kinds: u64,
    session: u32,
}

/// The command ids of one conversation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CommandIds {
    decided: Vec<Decided>,
    /// When the sessions before this one closed: `(session, closed at)`, as long as their ids are remembered.
    closed: Vec<(u32, Time)>,
    #[serde(skip)]
    #[allow(clippy::box_collection, reason = "few of a million conversations have one")]
    index: Option<Box<HashMap<u64, u32>>>,
}

impl Decided {
    /// The events of it: their seq and kind.
    pub fn events(&self) -> impl Iterator<Item = (u64, Kind)> + use<> {
        let (first_seq, kinds) = (self.first_seq, self.kinds);
        (0..u64::BITS / KIND_BITS).map_while(move |at| {
            let number = (kinds >> (at * KIND_BITS)) & 0xf;
            let kind = Kind::ALL.get((number as usize).checked_sub(1)?)?;
            Some((first_seq + u64::from(at), *kind))
        })
    }
}

impl CommandIds {
    /// What the id decided, if that is still remembered. `closed_at` is the close of the present session.
    pub fn find(&self, key: u64, session: u32, closed_at: Option<Time>, now: Time) -> Option<&Decided> {
        let decided = match &self.index {
            Some(index) => self.decided.get(*index.get(&key)? as usize),
            None => self.decided.iter().rev().find(|decided| decided.key == key),
        }?;
        let closed_at = if decided.session == session {
            closed_at
        } else {
            Some(self.closed.iter().find(|(closed, _)| *closed == decided.session)?.1)
        };
        let is_remembered = closed_at.is_none_or(|at| now.ms_since(at) < REMEMBERED_MS_AFTER_CLOSE);
        is_remembered.then_some(decided)
    }

    /// Remembers what the id decided.
    pub fn remember(&mut self, key: u64, digest: u64, session: u32, first_seq: u64, kinds: impl Iterator<Item = Kind>) {
        let kinds = kinds.take((u64::BITS / KIND_BITS) as usize).enumerate().fold(0, |packed, (at, kind)| {
            let number = Kind::ALL.iter().position(|known| *known == kind).map_or(0, |position| position as u64 + 1);
            packed | number << (at as u32 * KIND_BITS)
        });
        let position = self.decided.len() as u32;
        self.decided.push(Decided { key, digest, first_seq, kinds, session });
        match &mut self.index {
            Some(index) => drop(index.insert(key, position)),
            None if self.decided.len() > WALK_MAX => self.build_index(),
            None => {}
        }
    }

    /// A new session begins: what a former one decided is remembered for a day after its close.
    pub fn session_began(&mut self, before: u32, closed_at: Time, now: Time) {
        self.closed.push((before, closed_at));
        self.closed.retain(|(_, at)| now.ms_since(*at) < REMEMBERED_MS_AFTER_CLOSE);
        let closed = &self.closed;
        self.decided.retain(|decided| closed.iter().any(|(session, _)| *session == decided.session));
        self.index = None;
        if self.decided.len() > WALK_MAX {
            self.build_index();
        }
    }

    /// Makes the index anew, after it was read from a checkpoint.
    pub fn restored(mut self) -> CommandIds {
        if self.decided.len() > WALK_MAX {
            self.build_index();
        }
        self
    }

    fn build_index(&mut self) {
        let index = self.decided.iter().enumerate().map(|(at, decided)| (decided.key, at as u32)).collect();
        self.index = Some(Box::new(index));
    }
}
