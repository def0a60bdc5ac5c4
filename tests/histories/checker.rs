//! Holds what clients were told against the log: whether one order explains all of it.
//!
//! 1. Each decision is some client's request, once, or fell due, and the contract lets it follow from the state before.
//! 2. A command id decides once, and repeats are answered as the first.
//! 3. What was answered as applied stands in the log, as it was answered.
//!    What was refused, or changed nothing, does not.
//! 4. Everything else that was answered shows a state, and is right in it, that stood in the log at a moment between the
//!    request and its answer; one order of all of them respects real time.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use crate::history::{Attempt, Operation, Said, mark};
use crate::judge::{Expected, judge, judge_due};
use crate::listings;
use crate::log::{CONFIG, Decision};
use crate::order::{self, Item, Place};
use crate::reads::Reads;
use crate::timeline::Timeline;

/// What was counted.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    pub operations: usize,
    pub requests: usize,
    /// Requests to which no answer came.
    pub unknown: usize,
    /// Those of them that the log has all the same, under which repeats are counted.
    pub found_decided: usize,
    pub replayed: usize,
    pub decisions: usize,
    /// Listings that came to their end, and the conversations that they showed.
    pub listings: usize,
    pub rows: usize,
    pub answers: BTreeMap<String, usize>,
}

/// Holds a history against the log; says what does not fit.
pub fn check(operations: &[Operation], log: &[Decision]) -> Result<Tally, String> {
    let timeline = Timeline::of(log)?;
    let traced = Traced::of(operations, log)?;
    for (at, decision) in log.iter().enumerate() {
        check_decision(decision, traced.operation_of(at).map(|number| &operations[number]), &timeline)
            .map_err(|what| format!("{what}: {decision:?}"))?;
    }
    let reads = Reads { log, timeline: &timeline, traced: &traced, digests: RefCell::default() };
    let mut items = Vec::new();
    let mut whose = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        let found = items_of(number, operation, log, &reads).map_err(|what| told(&what, number, operation))?;
        whose.extend(std::iter::repeat_n(number, found.len()));
        items.extend(found);
    }
    for (number, item) in listings::items(operations, &timeline)? {
        whose.push(number);
        items.push(item);
    }
    order::find(&items).map_err(|placeless| {
        let (number, from) = (whose[placeless.item], placeless.from);
        let behind = placeless.behind.map_or(String::new(), |item| format!(", behind {}", mark(whose[item])));
        let lacks = match listings::left_out(operations, number, &timeline, from).as_slice() {
            [] => String::new(),
            left_out => format!(", it lacks {left_out:?}"),
        };
        let what = format!("no place for it from {from} on in an order that respects real time{behind}{lacks}");
        told(&what, number, &operations[number])
    })?;
    Ok(tally(operations, log, &traced))
}

/// Which operation each decision carried out.
#[derive(Default)]
pub struct Traced {
    by_decision: HashMap<usize, usize>,
    by_operation: HashMap<usize, usize>,
    by_id: HashMap<[String; 4], usize>,
}

impl Traced {
    fn of(operations: &[Operation], log: &[Decision]) -> Result<Traced, String> {
        let mut traced = Traced::default();
        for (at, decision) in log.iter().enumerate() {
            let Some(name) = &decision.name else { continue };
            let number = whose(operations, decision).ok_or_else(|| format!("nobody asked for this: {decision:?}"))?;
            if let Some(first) = traced.by_operation.insert(number, at) {
                return Err(told(
                    &format!("decided twice, at seq {} and {}", log[first].last, decision.last),
                    number,
                    &operations[number],
                ));
            }
            traced.by_decision.insert(at, number);
            let Some(id) = &decision.id else { continue };
            let key = [&decision.role, name, &decision.conversation, id].map(String::clone);
            if let Some(first) = traced.by_id.insert(key, at) {
                return Err(format!("command id decided twice, at seq {} too: {decision:?}", log[first].last));
            }
        }
        Ok(traced)
    }

    /// Whose request a decision was; none for what fell due.
    pub fn operation_of(&self, decision: usize) -> Option<usize> {
        self.by_decision.get(&decision).copied()
    }

    /// The decision that carried an operation out.
    pub fn decision_of(&self, operation: usize) -> Option<usize> {
        self.by_operation.get(&operation).copied()
    }

    /// The decision under the command id of an operation, if it has one.
    pub fn under_id_of(&self, operation: &Operation) -> Option<usize> {
        let id = operation.id.clone()?;
        self.by_id.get(&[operation.role.clone(), operation.name.clone(), operation.conversation.clone(), id]).copied()
    }
}

fn whose(operations: &[Operation], decision: &Decision) -> Option<usize> {
    let number: usize = decision.actor.as_deref()?.strip_prefix('o')?.parse().ok()?;
    let operation = operations.get(number)?;
    let is_it = operation.role == decision.role
        && Some(&operation.name) == decision.name.as_ref()
        && operation.verb == decision.verb
        && operation.conversation == decision.conversation
        && operation.id == decision.id
        && !operation.attempts.is_empty();
    is_it.then_some(number)
}

fn check_decision(decision: &Decision, operation: Option<&Operation>, timeline: &Timeline) -> Result<(), String> {
    if decision.conversation == CONFIG {
        return check_put(decision, operation);
    }
    let (before, after) =
        timeline.around(&decision.conversation, decision.last).ok_or("it is not where its conversation has it")?;
    let c_is_on = timeline.c_is_on(2 * decision.last);
    let is_orphaned = timeline.is_orphaned(before, 2 * decision.last);
    if is_orphaned && operation.is_some() {
        return Err("what was taken from c had to be decided before".into());
    }
    let expected = match operation {
        Some(operation) => judge(operation, before, c_is_on),
        None => judge_due(&decision.verb, before, &decision.conversation, c_is_on, is_orphaned),
    };
    let due = match decision.verb.as_str() {
        "offer_expiry" if operation.is_none() => before.expires_at,
        "deadline" if operation.is_none() => before.deadline,
        _ => None,
    };
    if due.is_some_and(|due| decision.at < due) {
        return Err(format!("it fell due at {due:?} and was decided before"));
    }
    match expected {
        Expected::Becomes(mut world) => {
            world.c_is_on = after.world.c_is_on;
            if world == after.world {
                Ok(())
            } else {
                Err(format!("expected {world:?} after it, got {:?}", after.world))
            }
        }
        other => Err(format!("expected {other:?} in {before:?}")),
    }
}

fn check_put(decision: &Decision, operation: Option<&Operation>) -> Result<(), String> {
    let Some(operation) = operation else { return Ok(()) };
    let switched: Vec<bool> =
        decision.events.iter().filter_map(|event| event.enabled.as_ref().map(|(_, is_on)| *is_on)).collect();
    let asked = operation.body["c"].as_bool();
    if switched.iter().map(|is_on| Some(*is_on)).eq([asked]) { Ok(()) } else { Err(format!("expected {asked:?}")) }
}

/// What an operation adds to the order: its decision, and each answer that only shows something.
fn items_of<'a>(
    number: usize,
    operation: &'a Operation,
    log: &[Decision],
    reads: &'a Reads<'a>,
) -> Result<Vec<Item<'a>>, String> {
    let mut items = Vec::new();
    let line =
        (operation.attempts.len() == 1 && is_ordered(operation)).then_some((operation.client, operation.name.as_str()));
    let decision = reads.traced.decision_of(number).map(|at| &log[at]);
    if decision.is_some() && !operation.attempts.iter().any(may_have_decided) {
        return Err("decided, and answered otherwise".into());
    }
    let mut first_applied = None;
    for attempt in &operation.attempts {
        let Some((answered, said)) = &attempt.answer else { continue };
        if said.code.as_deref() == Some("busy") {
            continue;
        }
        let is_decision = said.outcome.as_deref() == Some("applied") && !said.events.is_empty();
        if is_decision {
            reads.check_applied(operation, said, decision)?;
            first_applied = Some(first_applied.map_or(*answered, |first: u64| first.min(*answered)));
        }
        if !is_decision || said.replayed {
            let shown = reads.items(number, operation, said)?;
            items.extend(shown.into_iter().map(|first| Item {
                sent: attempt.sent,
                answered: Some(*answered),
                line: line.filter(|_| said.states.len() <= 1),
                place: Place::From(first),
            }));
        }
    }
    if let (Some(decision), Some(first)) = (decision, operation.attempts.first()) {
        items.push(Item { sent: first.sent, answered: first_applied, line, place: Place::At(2 * decision.last) });
    }
    Ok(items)
}

/// Whether it was not answered, or as what recorded something, or as what may have.
fn may_have_decided(attempt: &Attempt) -> bool {
    let may = |said: &Said| (!said.events.is_empty() && !said.replayed) || said.code.as_deref() == Some("log_failed");
    attempt.answer.as_ref().is_none_or(|(_, said)| may(said))
}

/// Questions are not answered in the order of the commands beside them, and a configuration comes in by another door.
fn is_ordered(operation: &Operation) -> bool {
    operation.role != "query" && !matches!(operation.verb.as_str(), "list" | "put")
}

fn told(what: &str, number: usize, operation: &Operation) -> String {
    format!("{what}: {} {operation:#?}", mark(number))
}

fn tally(operations: &[Operation], log: &[Decision], traced: &Traced) -> Tally {
    let mut tally = Tally { operations: operations.len(), decisions: log.len(), ..Tally::default() };
    for (number, operation) in operations.iter().enumerate() {
        for attempt in &operation.attempts {
            tally.requests += 1;
            match &attempt.answer {
                None => {
                    tally.unknown += 1;
                    tally.found_decided += usize::from(traced.decision_of(number).is_some());
                }
                Some((_, said)) => {
                    tally.replayed += usize::from(said.replayed);
                    tally.listings += usize::from(said.next == Some(None));
                    tally.rows += if said.next.is_some() { said.states.len() } else { 0 };
                    *tally.answers.entry(kind(said)).or_default() += 1;
                }
            }
        }
    }
    tally
}

fn kind(said: &Said) -> String {
    said.code.clone().or(said.outcome.clone()).unwrap_or_else(|| "shown".into())
}
