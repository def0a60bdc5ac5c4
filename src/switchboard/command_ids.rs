//! Which command ids decided what: a repeat gets its answer again, anything else under the same id is refused.
//!
//! Only commands that recorded events are remembered, while their session is open and a day after.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::paged::{End, Item, Paged};
use crate::domain::Time;
use crate::domain::event::Kind;

/// How long after the close of its session a command id is remembered.
pub const REMEMBERED_MS_AFTER_CLOSE: u64 = 24 * 3_600_000;

/// Up to so many ids a walk along the list is quicker than an index.
const WALK_MAX: u64 = 24;

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
#[derive(Debug, Clone, Default)]
pub struct CommandIds {
    /// In the order of sessions.
    pub(super) decided: Paged<Decided>,
    /// When the sessions before this one closed, as long as their ids are remembered; in order.
    pub(super) closed: Paged<Closed>,
    /// Where each id stands, once they are many.
    #[allow(clippy::box_collection, reason = "few of a million conversations have one")]
    index: Option<Box<HashMap<u64, u64>>>,
}

/// When a session closed of which ids are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    session: u32,
    at: Time,
}

/// What the cache keeps of them, besides whole pages.
#[derive(Debug, Serialize, Deserialize)]
pub struct IdsEnd<D, C> {
    decided: End<D>,
    closed: End<C>,
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
            Some(index) => self.decided.get(*index.get(&key)?),
            None => self.decided.iter().rev().map(|(_, decided)| decided).find(|decided| decided.key == key),
        }?;
        let closed_at = if decided.session == session { closed_at } else { Some(self.closed_at(decided.session)?) };
        let is_remembered = closed_at.is_none_or(|at| now.ms_since(at) < REMEMBERED_MS_AFTER_CLOSE);
        is_remembered.then_some(decided)
    }

    /// Remembers what the id, under its fingerprint, decided of a body, under its own.
    pub fn remember(
        &mut self,
        (key, digest): (u64, u64),
        session: u32,
        first_seq: u64,
        kinds: impl Iterator<Item = Kind>,
        page_items: u64,
    ) {
        let kinds = kinds.take((u64::BITS / KIND_BITS) as usize).enumerate().fold(0, |packed, (at, kind)| {
            let number = Kind::ALL.iter().position(|known| *known == kind).map_or(0, |position| position as u64 + 1);
            packed | number << (at as u32 * KIND_BITS)
        });
        let position = self.decided.push(Decided { key, digest, first_seq, kinds, session }, page_items);
        match &mut self.index {
            Some(index) => drop(index.insert(key, position)),
            None => self.index_if_many(),
        }
    }

    /// A new session begins: what a former one decided is remembered for a day after its close.
    pub fn session_began(&mut self, before: u32, closed_at: Time, now: Time, page_items: u64) {
        // A session that decided nothing under an id is of no use here.
        if self.decided.last().is_some_and(|decided| decided.session == before) {
            self.closed.push(Closed { session: before, at: closed_at }, page_items);
        }
        let mut forgotten = None;
        let is_over = |closed: &Closed| now.ms_since(closed.at) >= REMEMBERED_MS_AFTER_CLOSE;
        self.closed.drop_while(is_over, |_, closed| forgotten = Some(closed.session));
        let Some(forgotten) = forgotten else { return };
        let index = &mut self.index;
        self.decided.drop_while(
            |decided| decided.session <= forgotten,
            |position, decided| {
                if let Some(index) = index
                    && index.get(&decided.key) == Some(&position)
                {
                    index.remove(&decided.key);
                }
            },
        );
    }

    /// What the cache keeps of them, besides whole pages.
    pub fn end(&self) -> IdsEnd<&[Decided], &[Closed]> {
        IdsEnd { decided: self.decided.end(), closed: self.closed.end() }
    }

    /// From the cache.
    pub fn restored(
        end: IdsEnd<Vec<Decided>, Vec<Closed>>,
        page_items: u64,
        decided: impl Fn(u64) -> Result<Vec<u8>, String>,
        closed: impl Fn(u64) -> Result<Vec<u8>, String>,
    ) -> Result<CommandIds, String> {
        let decided = Paged::restored(end.decided, page_items, decided)?;
        let closed = Paged::restored(end.closed, page_items, closed)?;
        let mut ids = CommandIds { decided, closed, index: None };
        ids.index_if_many();
        Ok(ids)
    }

    fn closed_at(&self, session: u32) -> Option<Time> {
        let (mut low, mut high) = self.closed.numbers();
        while low < high {
            let middle = low + (high - low) / 2;
            let closed = self.closed.get(middle)?;
            match closed.session.cmp(&session) {
                std::cmp::Ordering::Equal => return Some(closed.at),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn index_if_many(&mut self) {
        if self.decided.count() > WALK_MAX {
            let index = self.decided.iter().map(|(position, decided)| (decided.key, position)).collect();
            self.index = Some(Box::new(index));
        }
    }
}

impl Item for Decided {
    const BYTES: usize = 36;

    fn write(&self, out: &mut Vec<u8>) {
        for field in [self.key, self.digest, self.first_seq, self.kinds] {
            field.write(out);
        }
        out.extend_from_slice(&self.session.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Decided> {
        let (fields, session) = bytes.split_at_checked(32)?;
        let mut fields = fields.chunks(u64::BYTES).map(u64::read);
        let mut field = || fields.next().flatten();
        let (key, digest, first_seq, kinds) = (field()?, field()?, field()?, field()?);
        Some(Decided { key, digest, first_seq, kinds, session: u32::from_be_bytes(session.try_into().ok()?) })
    }
}

impl Item for Closed {
    const BYTES: usize = 12;

    fn write(&self, out: &mut Vec<u8>) {
        self.at.0.write(out);
        out.extend_from_slice(&self.session.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Closed> {
        let (at, session) = bytes.split_at_checked(u64::BYTES)?;
        Some(Closed { session: u32::from_be_bytes(session.try_into().ok()?), at: Time(u64::read(at)?) })
    }
}
