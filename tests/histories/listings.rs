//! Listings: pages of conversations, asked for one after the other until there is no next one.
//!
//! Each row of a page stands where its conversation was so and was asked for ([`crate::reads`]). Of the whole:
//!
//! 1. No page has more rows than were asked for, and each begins where the one before said that it would.
//! 2. No conversation is shown twice.
//! 3. One that is not shown was, at some moment between the first page's request and the last one's answer, not what
//!    was asked for. So what fits all along is there once.

use std::collections::HashSet;

use serde_json::Value;

use crate::history::{Attempt, Operation, Said, mark};
use crate::judge::channel;
use crate::order::{Item, Place};
use crate::timeline::{Slot, Timeline};

/// What a listing adds to the order, each with the number of its last page.
pub fn items<'a>(operations: &'a [Operation], timeline: &'a Timeline) -> Result<Vec<(usize, Item<'a>)>, String> {
    let mut items = Vec::new();
    let followed: HashSet<usize> = operations.iter().filter_map(|operation| operation.page_before).collect();
    for (number, last) in operations.iter().enumerate() {
        let wrong = |what: String| format!("{what}: {} {last:#?}", mark(number));
        for (_, said) in last.attempts.iter().filter_map(|attempt| attempt.answer.as_ref()) {
            check_page(operations, last, said).map_err(wrong)?;
        }
        let Some((answered, said)) = page_of(last).filter(|_| !followed.contains(&number)) else { continue };
        let listing = Listing::back_from(operations, last, said).map_err(wrong)?;
        if said.next != Some(None) {
            continue;
        }
        let sent = listing.sent;
        // A moment for each, of which the latest bounds what comes after.
        let place = Place::From(Box::new(move |from| {
            let mut firsts = listing.unseen(timeline).map(|id| first_unasked(last, id, timeline, from));
            firsts.try_fold(from, |latest, first| Some(latest.max(first?)))
        }));
        items.push((number, Item { sent, answered: Some(*answered), line: None, place }));
    }
    Ok(items)
}

/// The conversations that a listing lacks though they fit at every place from that one on.
pub fn left_out<'a>(operations: &'a [Operation], number: usize, timeline: &'a Timeline, from: u64) -> Vec<&'a str> {
    let last = &operations[number];
    let Some((_, said)) = page_of(last).filter(|(_, said)| said.next == Some(None)) else { return Vec::new() };
    let Ok(listing) = Listing::back_from(operations, last, said) else { return Vec::new() };
    listing.unseen(timeline).filter(|id| first_unasked(last, id, timeline, from).is_none()).collect()
}

/// Whether a conversation is asked for as it is in a slot.
pub fn is_asked_for(operation: &Operation, id: &str, slot: &Slot) -> bool {
    if slot.version == 0 {
        return false;
    }
    if operation.verb == "list" {
        let me = Some(&operation.name);
        return slot.owner.as_ref() == me || slot.offered_to.as_ref() == me;
    }
    let asked = &operation.body;
    let is_named = |field: &str, name: Option<&str>| match asked.get(field) {
        None => true,
        Some(wanted) => wanted.as_str() == name,
    };
    let is_of_status = match asked.get("status") {
        None => true,
        Some(Value::Array(several)) => several.iter().any(|status| *status == slot.status),
        Some(status) => *status == slot.status,
    };
    // Nobody is not what `offered_to` can ask for.
    is_of_status
        && is_named("channel", Some(channel(id)))
        && is_named("owner", slot.owner.as_deref())
        && is_named("offered_to", slot.offered_to.as_deref())
}

/// The pages of a listing, as far as it came.
struct Listing<'a> {
    /// When its first page was asked for.
    sent: u64,
    seen: HashSet<&'a str>,
}

impl<'a> Listing<'a> {
    fn back_from(operations: &'a [Operation], last: &'a Operation, said: &'a Said) -> Result<Listing<'a>, String> {
        let mut listing = Listing { sent: 0, seen: HashSet::new() };
        let (mut page, mut said) = (last, said);
        loop {
            for seen in &said.states {
                if !listing.seen.insert(&seen.id) {
                    return Err(format!("{} is shown twice in one listing", seen.id));
                }
            }
            listing.sent = page.attempts.first().map_or(0, |attempt| attempt.sent);
            let Some(before) = page.page_before else { return Ok(listing) };
            page = &operations[before];
            said = &page_of(page).ok_or("the page before was not answered")?.1;
        }
    }
}

impl Listing<'_> {
    fn unseen<'a>(&self, timeline: &'a Timeline) -> impl Iterator<Item = &'a str> {
        timeline.conversations().filter(|id| !self.seen.contains(id))
    }
}

/// The page that an operation came to. Each is asked for once.
fn page_of(operation: &Operation) -> Option<&(u64, Said)> {
    let [Attempt { answer: Some(answer), .. }] = operation.attempts.as_slice() else { return None };
    answer.1.next.is_some().then_some(answer)
}

fn check_page(operations: &[Operation], operation: &Operation, said: &Said) -> Result<(), String> {
    if said.next.is_none() {
        return Ok(());
    }
    let limit = operation.body["limit"].as_u64().unwrap_or(100);
    if said.states.len() as u64 > limit {
        return Err(format!("expected at most {limit} rows, got {}", said.states.len()));
    }
    let Some(before) = operation.page_before.and_then(|before| page_of(&operations[before])) else { return Ok(()) };
    match before.1.next.iter().flatten().next().map(String::as_str) == operation.body["after"].as_str() {
        true => Ok(()),
        false => Err("it was asked for from elsewhere than the page before said".into()),
    }
}

/// The first place, not before that one, at which the conversation is not asked for.
fn first_unasked(operation: &Operation, id: &str, timeline: &Timeline, from: u64) -> Option<u64> {
    let slots = timeline.slots(id);
    let begin = slots.partition_point(|slot| slot.until < from);
    let slot = slots[begin..].iter().find(|slot| !is_asked_for(operation, id, slot))?;
    Some(from.max(slot.from) | 1)
}
