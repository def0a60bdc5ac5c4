//! The queue of requests: served in turn by caller, in order within one, so that a flooding caller starves nobody.
//! How much may wait is [`super::admission`]'s to say: whatever stands here has a place.

use std::collections::{HashMap, VecDeque};

use super::admission::Place;
use super::port::Request;
use crate::domain::{Name, Role};

type Caller = (Role, Option<Name>);

/// Requests that wait to be decided.
#[derive(Debug, Default)]
pub struct Queue {
    lines: HashMap<Caller, VecDeque<(Request, Place)>>,
    turns: VecDeque<Caller>,
    waiting: usize,
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

    /// Lets a request wait.
    pub fn push(&mut self, request: Request, place: Place) {
        self.waiting += 1;
        let caller = (request.by.role, request.by.name.clone());
        match self.lines.get_mut(&caller) {
            Some(line) => line.push_back((request, place)),
            None => {
                self.turns.push_back(caller.clone());
                self.lines.insert(caller, VecDeque::from([(request, place)]));
            }
        }
    }

    /// The next request: the first of the caller whose turn it is. Its place is free again.
    pub fn pop(&mut self) -> Option<Request> {
        let caller = self.turns.pop_front()?;
        let line = self.lines.get_mut(&caller)?;
        let (request, _place) = line.pop_front()?;
        self.waiting -= 1;
        if line.is_empty() {
            self.lines.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        Some(request)
    }
}
