//! The queue of requests: served in turn by caller, in order within one, so that a flooding caller starves nobody.

use std::collections::{HashMap, VecDeque};

use super::port::Request;
use crate::domain::{Name, Role};

type Caller = (Role, Option<Name>);

/// Requests that wait to be decided.
#[derive(Debug)]
pub struct Queue {
    lines: HashMap<Caller, VecDeque<Request>>,
    turns: VecDeque<Caller>,
    waiting: usize,
    waiting_max: usize,
}

impl Queue {
    /// An empty queue for `waiting_max` requests.
    pub fn new(waiting_max: usize) -> Queue {
        Queue { lines: HashMap::new(), turns: VecDeque::new(), waiting: 0, waiting_max }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Lets a request wait, or gives it back: the queue is full, or the caller has three quarters of it.
    #[allow(clippy::result_large_err, reason = "what is given back is the request itself")]
    pub fn push(&mut self, request: Request) -> Result<(), Request> {
        if self.waiting >= self.waiting_max {
            return Err(request);
        }
        let caller = (request.by.role, request.by.name.clone());
        let Some(line) = self.lines.get_mut(&caller) else {
            self.turns.push_back(caller.clone());
            self.lines.insert(caller, VecDeque::from([request]));
            self.waiting += 1;
            return Ok(());
        };
        if line.len() >= (self.waiting_max * 3 / 4).max(1) {
            return Err(request);
        }
        line.push_back(request);
        self.waiting += 1;
        Ok(())
    }

    /// The next request: the first of the caller whose turn it is.
    pub fn pop(&mut self) -> Option<Request> {
        let caller = self.turns.pop_front()?;
        let line = self.lines.get_mut(&caller)?;
        let request = line.pop_front()?;
        self.waiting -= 1;
        if line.is_empty() {
            self.lines.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        Some(request)
    }
}
