//! One order of everything that respects real time: what was answered before something else was sent stands before it.
//!
//! The log gives decisions their places; a read may stand wherever the log was as it shows. Each gets the first place
//! that it can have after all that was over when it was sent. Where that leaves no place, there is no such order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Something that took place at one moment between being sent and being answered.
pub struct Item<'a> {
    /// When it was sent.
    pub sent: u64,
    /// When it was answered, if it was.
    pub answered: Option<u64>,
    /// What one caller sends by one client stands in the order in which it was sent; none where that is not promised.
    pub line: Option<(usize, &'a str)>,
    pub place: Place<'a>,
}

/// Where something may stand.
pub enum Place<'a> {
    /// A decision: the log says where.
    At(u64),
    /// A read: the first place that it can have, not before the one given.
    From(Box<dyn Fn(u64) -> Option<u64> + 'a>),
}

/// An item for which there is no place.
#[derive(Debug)]
pub struct Placeless {
    pub item: usize,
    /// The first place that it could have had.
    pub from: u64,
    /// The item that was over before it was sent, and stands there or just before, if it was one.
    pub behind: Option<usize>,
}

/// Finds the order; the first item for which there is no place.
pub fn find(items: &[Item<'_>]) -> Result<(), Placeless> {
    let mut by_sending: Vec<usize> = (0..items.len()).collect();
    by_sending.sort_by_key(|at| items[*at].sent);
    let mut over = BinaryHeap::new();
    let (mut not_before, mut behind) = (0, None);
    let mut lines: HashMap<(usize, &str), u64> = HashMap::new();
    for at in by_sending {
        let item = &items[at];
        while let Some(Reverse((answered, place, earlier))) = over.peek().copied() {
            if answered >= item.sent {
                break;
            }
            over.pop();
            if place > not_before {
                (not_before, behind) = (place, Some(earlier));
            }
        }
        let in_line = item.line.and_then(|line| lines.get(&line)).copied().unwrap_or(0);
        let from = not_before.max(in_line);
        let place = match &item.place {
            Place::At(place) => Some(*place).filter(|place| *place >= from),
            Place::From(first) => first(from),
        };
        let place = place.ok_or(Placeless { item: at, from, behind: behind.filter(|_| from == not_before) })?;
        if let Some(line) = item.line {
            lines.insert(line, place);
        }
        if let Some(answered) = item.answered {
            over.push(Reverse((answered, place, at)));
        }
    }
    Ok(())
}
