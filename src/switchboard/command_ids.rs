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

impl Closed {
    /// Whether nothing is remembered of the session any more.
    fn is_over(&self, now: Time) -> bool {
        now.ms_since(self.at) >= REMEMBERED_MS_AFTER_CLOSE
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
        self.closed.drop_while(|closed| closed.is_over(now), |_, closed| forgotten = Some(closed.session));
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

    /// All that may still be asked for, in order: what was decided, each with its session, and when sessions closed. Of
    /// the present session that is everything, for it may be reopened however long it was closed.
    pub fn remembered(
        &self,
        present: u32,
        now: Time,
    ) -> (impl Iterator<Item = (&Decided, u32)>, impl Iterator<Item = (u32, Time)>) {
        let closed = || self.closed.iter().map(|(_, closed)| closed).filter(move |closed| !closed.is_over(now));
        let first = closed().next().map_or(present, |closed| closed.session);
        let decided = self.decided.iter().map(|(_, decided)| (decided, decided.session));
        (decided.filter(move |(_, session)| *session >= first), closed().map(|closed| (closed.session, closed.at)))
    }

    /// Takes in when a session closed of which commands are remembered.
    pub fn session_closed(&mut self, session: u32, at: Time, page_items: u64) {
        self.closed.push(Closed { session, at }, page_items);
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

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_ITEMS: u64 = 4;
    const CLOSED: Time = Time(1_000);
    const LATER: Time = Time(CLOSED.0 + REMEMBERED_MS_AFTER_CLOSE);

    fn remember(ids: &mut CommandIds, key: u64, session: u32, seq: u64) {
        ids.remember((key, 0), session, seq, std::iter::once(Kind::Passed), PAGE_ITEMS);
    }

    /// Of the first session, under the keys from 0 on.
    fn many(count: u64) -> CommandIds {
        let mut ids = CommandIds::default();
        (0..count).for_each(|key| remember(&mut ids, key, 1, key + 1));
        ids
    }

    #[test]
    fn each_is_found_whether_they_are_few_or_many() {
        for count in [1, WALK_MAX, WALK_MAX + 1, 3 * WALK_MAX] {
            let ids = many(count);
            assert_eq!(ids.index.is_some(), count > WALK_MAX);
            for key in 0..count {
                let found = ids.find(key, 1, None, LATER).map(|decided| decided.first_seq);
                assert_eq!(found, Some(key + 1), "{key} of {count}");
            }
            assert!(ids.find(count, 1, None, LATER).is_none());
        }
    }

    #[test]
    fn an_id_that_was_free_again_is_that_of_the_later_command() {
        for count in [1, 3 * WALK_MAX] {
            let mut ids = many(count);
            ids.session_began(1, CLOSED, Time(2_000), PAGE_ITEMS);
            remember(&mut ids, 0, 2, 900);
            assert_eq!(ids.find(0, 2, None, LATER).unwrap().first_seq, 900);
            // And it stays so when the earlier one is forgotten.
            ids.session_began(2, Time(3_000), LATER, PAGE_ITEMS);
            assert_eq!(ids.find(0, 3, None, LATER).unwrap().first_seq, 900, "of {count}");
        }
    }

    #[test]
    fn nothing_is_left_of_sessions_that_are_over_for_a_day() {
        let mut ids = many(3 * WALK_MAX);
        ids.session_began(1, CLOSED, Time(2_000), PAGE_ITEMS);
        ids.session_began(2, Time(2_500), Time(3_000), PAGE_ITEMS);
        assert_eq!(ids.closed.count(), 1, "the second decided nothing under an id");
        ids.session_began(3, Time(4_000), LATER, PAGE_ITEMS);
        assert_eq!((ids.decided.count(), ids.closed.count()), (0, 0));
        assert!(ids.index.is_some_and(|index| index.is_empty()));
    }
}
