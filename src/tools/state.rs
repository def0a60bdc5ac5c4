//! A conversation's state as a person reads it.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::past_event::who;
use super::screen::Screen;
use super::{table, words};
use crate::domain::Time;

/// A conversation's state, as answered; what is missing is not shown.
#[derive(Debug, Clone, Copy)]
pub struct State<'a>(&'a Value);

impl<'a> State<'a> {
    /// One as it was answered.
    pub fn new(value: &'a Value) -> State<'a> {
        State(value)
    }

    /// A field that is text, fit to be shown.
    pub fn text(&self, path: &[&str]) -> Option<String> {
        self.at(path).map(words::value)
    }

    /// A field that is a moment.
    pub fn moment(&self, path: &[&str]) -> Option<Time> {
        Time::parse(self.at(path)?.as_str()?).ok()
    }

    /// A field that is a whole number.
    pub fn number(&self, field: &str) -> Option<u64> {
        self.at(&[field])?.as_u64()
    }

    fn at(&self, path: &[&str]) -> Option<&'a Value> {
        path.iter().try_fold(self.0, |value, field| value.get(field)).filter(|value| !value.is_null())
    }

    /// Writes it as names and values, as of that moment.
    pub fn write(&self, out: &mut dyn Write, screen: Screen, now: Time) -> io::Result<()> {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        let mut add = |name, value: Option<String>| pairs.extend(value.map(|value| (name, value)));
        add("conversation", self.text(&["id"]));
        add("status", self.text(&["status"]));
        add("session", self.session(now));
        add("channel", self.text(&["channel"]));
        add("user", self.text(&["user"]));
        add("continued from", self.text(&["continued_from"]));
        add("owner", Some(self.owner(now)));
        add("offer", self.offer(now));
        add("end requested", self.end_requested(now));
        add("waiting for", self.waiting_for(now));
        add("closed", self.closed(now));
        add("last activity", self.last_activity(now));
        add("position", self.position());
        add("may be shown", self.affordances());
        for (n, (name, value)) in self.at(&["metadata"]).and_then(Value::as_object).into_iter().flatten().enumerate() {
            let line = format!("{} = {}", words::plain(name), words::value(value));
            pairs.push((if n == 0 { "metadata" } else { "" }, line));
        }
        table::write_pairs(out, &pairs, screen)
    }

    fn session(&self, now: Time) -> Option<String> {
        Some(format!("{}, started {}", self.number("session")?, ago(self.moment(&["started_at"])?, now)))
    }

    fn owner(&self, now: Time) -> String {
        let Some(owner) = self.text(&["owner"]) else { return "nobody".into() };
        self.moment(&["owner_since"]).map_or_else(
            || owner.clone(),
            |since| format!("{owner}, for {}, since {}", lasting(since, now), at(since, now)),
        )
    }

    fn offer(&self, now: Time) -> Option<String> {
        let mut offer = format!("to {}, by {}", self.text(&["offer", "to"])?, self.who(&["offer", "by"]));
        if let Some(expires) = self.moment(&["offer", "expires_at"]) {
            offer.push_str(&format!(", until {}", at(expires, now)));
        }
        Some(offer + &self.reason(&["offer", "reason"]))
    }

    fn end_requested(&self, now: Time) -> Option<String> {
        let when = self.moment(&["end_requested", "at"])?;
        let cause = self.text(&["end_requested", "cause"]).unwrap_or_default().replace('_', " ");
        let by = self.who(&["end_requested", "by"]);
        Some(format!("{} by {by} ({cause}){}", ago(when, now), self.reason(&["end_requested", "reason"])))
    }

    fn waiting_for(&self, now: Time) -> Option<String> {
        let since = self.moment(&["waiting_for", "since"])?;
        let owner = self.text(&["waiting_for", "owner"]).unwrap_or_else(|| "nobody".into());
        let until = match self.moment(&["waiting_for", "deadline"]) {
            Some(deadline) => format!("until {}", at(deadline, now)),
            None => "without a deadline".into(),
        };
        Some(format!("{owner} to release, for {}, since {}, {until}", lasting(since, now), at(since, now)))
    }

    fn closed(&self, now: Time) -> Option<String> {
        let when = self.moment(&["closed", "at"])?;
        Some(format!("{} by {}", ago(when, now), self.who(&["closed", "by"])))
    }

    fn last_activity(&self, now: Time) -> Option<String> {
        let when = ago(self.moment(&["last_activity_at"])?, now);
        Some(match self.text(&["last_message_id"]) {
            Some(message) => format!("{when}, last message {message}"),
            None => when,
        })
    }

    fn position(&self) -> Option<String> {
        let [version, epoch, seq] = ["version", "epoch", "seq"].map(|field| self.number(field));
        Some(format!("version {}, epoch {}, seq {}", version?, epoch?, seq?))
    }

    fn affordances(&self) -> Option<String> {
        let shown = self.at(&["affordances"])?.as_object()?;
        let is_on = |(_, value): &(&String, &Value)| value.as_bool() == Some(true);
        let names: Vec<String> =
            shown.iter().filter(is_on).map(|(name, _)| words::plain(&name.replace('_', " "))).collect();
        Some(if names.is_empty() { "nothing".into() } else { names.join(", ") })
    }

    fn who(&self, path: &[&str]) -> String {
        self.at(path).map_or_else(|| "unknown".into(), who)
    }

    fn reason(&self, path: &[&str]) -> String {
        self.at(path).and_then(Value::as_str).map_or_else(String::new, |text| format!(": {}", words::quoted(text)))
    }
}

/// How many conversations of each kind went by.
#[derive(Debug, Default)]
pub struct Totals {
    all: u64,
    offered: u64,
    unowned: u64,
    statuses: Map<String, Value>,
}

impl Totals {
    /// Counts one more.
    pub fn count(&mut self, state: State<'_>) {
        self.all += 1;
        self.offered += u64::from(state.at(&["offer"]).is_some());
        let status = state.text(&["status"]).unwrap_or_else(|| "unknown".into());
        self.unowned += u64::from(status != "closed" && state.at(&["owner"]).is_none());
        let known = self.statuses.get(&status).and_then(Value::as_u64).unwrap_or(0);
        self.statuses.insert(status, (known + 1).into());
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// All of them in one line.
    pub fn in_words(&self) -> String {
        let noun = if self.all == 1 { "conversation" } else { "conversations" };
        let counts = ["open", "ending", "closed"].into_iter().map(String::from);
        let others = self.statuses.keys().filter(|status| !["open", "ending", "closed"].contains(&status.as_str()));
        let counts: Vec<String> = counts
            .chain(others.cloned())
            .filter_map(|status| Some(format!("{} {status}", self.statuses.get(&status)?)))
            .collect();
        format!("{} {noun}: {}; {} held by nobody, {} offered", self.all, counts.join(", "), self.unowned, self.offered)
    }
}

/// A moment as seen from now.
pub fn at(when: Time, now: Time) -> String {
    words::moment(when, now)
}

/// How long ago a moment is, and when it was.
fn ago(when: Time, now: Time) -> String {
    format!("{} ({} ago)", at(when, now), lasting(when, now))
}

/// How long something has lasted.
pub fn lasting(since: Time, now: Time) -> String {
    words::duration(now.ms_since(since))
}
