//! What was published of refused commands, held to what the clients were told.
//!
//! 1. Each refusal that is not only counted was published once, as it was answered. Where the server was gone meanwhile
//!    it may be missing: a rejection is not in the log, and is not published again.
//! 2. Each rejection is of some client's command, sent before, and there are no more of them than attempts that were
//!    refused or not answered: none for what was applied, unchanged or only asked.
//! 3. Where the answer did not come, what those who watch heard is as good as the answer: one order explains it too.

use std::collections::{HashMap, HashSet};

use async_nats::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::{Attempt, Operation, Said, mark};
use crate::log::Decision;

/// Refusals that nobody else hears of.
const ONLY_COUNTED: [&str; 3] = ["bad_request", "busy", "too_large"];

/// A rejection, and when it was heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    pub heard: u64,
    pub role: String,
    pub name: String,
    /// Which operation it says it is of.
    pub actor: String,
    pub verb: String,
    pub conversation: String,
    pub id: Option<String>,
    /// Its error, read as an answer is.
    pub said: Said,
}

/// What was counted.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    pub published: usize,
    /// Refusals whose rejection had to be heard, and was.
    pub surely: usize,
    /// Refusals whose rejection nobody heard, while the server was gone.
    pub missed: usize,
    /// Refusals that were heard of by who watches alone.
    pub unanswered: usize,
}

impl Rejected {
    /// Reads a message on `switchboard.rejection.<conversation>.<verb>`.
    pub fn read(message: &Message, heard: u64) -> Option<Rejected> {
        let tokens: Vec<&str> = message.subject.split('.').collect();
        let [_, "rejection", conversation, verb] = tokens.as_slice() else { return None };
        let body: Value = serde_json::from_slice(&message.payload).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        // Subject and body say the same; one that does not is of nobody's command.
        let is_so = body["conversation"] == *conversation && body["verb"] == *verb;
        Some(Rejected {
            heard,
            role: text(&body["by"]["role"])?,
            name: text(&body["by"]["name"])?,
            actor: text(&body["by"]["actor"]).filter(|_| is_so).unwrap_or_default(),
            verb: (*verb).to_owned(),
            conversation: (*conversation).to_owned(),
            id: text(&body["command_id"]),
            said: Said::read(&body),
        })
    }

    fn is_of(&self, operation: &Operation) -> bool {
        let is_command = operation.role != "query" && !matches!(operation.verb.as_str(), "state" | "list");
        is_command
            && (&self.role, &self.name, &self.verb) == (&operation.role, &operation.name, &operation.verb)
            && (&self.conversation, &self.id) == (&operation.conversation, &operation.id)
    }
}

/// Holds rejections to the operations. Gives these with what was heard where no answer came, to be held to the log.
///
/// `spans` are the times through which everything that was published was heard.
pub fn check(
    operations: &[Operation],
    log: &[Decision],
    rejections: &[Rejected],
    spans: &[(u64, u64)],
) -> Result<(Vec<Operation>, Tally), String> {
    let mut of_operation: HashMap<usize, Vec<&Rejected>> = HashMap::new();
    for rejected in rejections {
        let number = rejected.actor.strip_prefix('o').and_then(|number| number.parse().ok());
        let number = number.filter(|number| operations.get(*number).is_some_and(|it| rejected.is_of(it)));
        let number = number.ok_or_else(|| format!("rejected, and nobody asked for it: {rejected:?}"))?;
        of_operation.entry(number).or_default().push(rejected);
    }
    let decided: HashSet<&str> = log.iter().filter_map(|decision| decision.actor.as_deref()).collect();
    let mut tally = Tally { published: rejections.len(), ..Tally::default() };
    let mut completed = operations.to_vec();
    for (number, operation) in completed.iter_mut().enumerate() {
        let rest = of_operation.remove(&number).unwrap_or_default();
        let is_decided = decided.contains(mark(number).as_str());
        complete(operation, rest, is_decided, spans, &mut tally)
            .map_err(|what| format!("{what}: {} {:#?}", mark(number), operations[number]))?;
    }
    Ok((completed, tally))
}

fn complete(
    operation: &mut Operation,
    mut rest: Vec<&Rejected>,
    is_decided: bool,
    spans: &[(u64, u64)],
    tally: &mut Tally,
) -> Result<(), String> {
    if rest.is_empty() && operation.role == "query" {
        return Ok(());
    }
    let is_surely_heard =
        |sent: u64, answered: u64| spans.iter().any(|(since, until)| *since < sent && answered < *until);
    let refused = operation.attempts.iter().rev().filter(|attempt| is_to_be_published(operation, attempt));
    let refused = refused.filter_map(|attempt| attempt.answer.as_ref().map(|(at, said)| (attempt.sent, *at, said)));
    // What must be there is looked for first. It comes after its request, whenever that is.
    let (surely, perhaps): (Vec<_>, Vec<_>) = refused.partition(|(sent, at, _)| is_surely_heard(*sent, *at));
    tally.surely += surely.len();
    for (sent, answered, said) in surely {
        let found = rest.iter().position(|rejected| rejected.said == *said && rejected.heard >= sent);
        let at = found.ok_or_else(|| format!("refused at {answered}, and that was not published so"))?;
        rest.remove(at);
    }
    for (sent, _, said) in perhaps {
        match rest.iter().position(|rejected| rejected.said == *said && rejected.heard >= sent) {
            Some(at) => drop(rest.remove(at)),
            None => tally.missed += 1,
        }
    }
    let was_answered_as_applied = |attempt: &Attempt| {
        let applied = |said: &Said| said.outcome.as_deref() == Some("applied") && !said.replayed;
        attempt.answer.as_ref().is_some_and(|(_, said)| applied(said))
    };
    let is_decided_unanswered = is_decided && !operation.attempts.iter().any(was_answered_as_applied);
    let unanswered = operation.attempts.iter().filter(|attempt| attempt.answer.is_none()).count();
    if rest.len() + usize::from(is_decided_unanswered) > unanswered {
        return Err(format!("rejected, and not refused: {rest:?}"));
    }
    tally.unanswered += rest.len();
    for rejected in rest {
        let open = operation.attempts.iter_mut().find(|it| it.answer.is_none() && it.sent <= rejected.heard);
        let attempt = open.ok_or_else(|| format!("rejected before it was sent: {rejected:?}"))?;
        attempt.answer = Some((rejected.heard, rejected.said.clone()));
    }
    Ok(())
}

fn is_to_be_published(operation: &Operation, attempt: &Attempt) -> bool {
    let is_command = operation.role != "query" && !matches!(operation.verb.as_str(), "state" | "list");
    let code = attempt.answer.as_ref().and_then(|(_, said)| said.code.as_deref());
    is_command && code.is_some_and(|code| !ONLY_COUNTED.contains(&code))
}
