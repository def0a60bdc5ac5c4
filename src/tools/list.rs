//! `list`: which conversations there are, one a line.

use std::io::{self, BufWriter, Write};

use serde_json::Value;

use super::failure::Failure;
use super::screen::Screen;
use super::source::{Place, Source, SourceError};
use super::state::{self, State, Totals};
use super::table::Table;
use super::values::TextOrJson;
use crate::domain::conversation::Status;
use crate::domain::{Name, Time};
use crate::switchboard::port::ListAsk;

/// What few conversations have stands last, so that most lines are short.
const HEADINGS: [&str; 10] = [
    "conversation",
    "status",
    "owner",
    "held for",
    "channel",
    "idle for",
    "offered to",
    "waiting for",
    "waited",
    "deadline",
];

/// The columns where those are asked for that wait: who is waited for stands first, and is seen on the narrowest screen.
const OF_WAITING: [usize; 10] = [0, 7, 8, 9, 1, 2, 3, 4, 5, 6];

/// Which conversations are to be listed; each filter narrows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// Where they are read from.
    pub place: Place,
    /// In one of these states; empty lets all through.
    pub status: Vec<Status>,
    /// Held by that one; `Some(None)` is nobody.
    pub owner: Option<Option<Name>>,
    /// Offered to that one.
    pub offered_to: Option<Name>,
    /// Of that channel.
    pub channel: Option<Name>,
    /// Ending, and waiting for a release for at least so long.
    pub waiting_ms: Option<u64>,
    /// Without activity for at least so long.
    pub idle_ms: Option<u64>,
    /// For people, or for programs.
    pub format: TextOrJson,
}

impl ListOptions {
    fn ask(&self, now: Time) -> ListAsk {
        let before = |ms: u64| Time(now.0.saturating_sub(ms));
        ListAsk {
            status: self.status.clone(),
            owner: self.owner.clone(),
            offered_to: self.offered_to.clone(),
            channel: self.channel.clone(),
            waiting_before: self.waiting_ms.map(before),
            idle_before: self.idle_ms.map(before),
            ..ListAsk::default()
        }
    }

    fn is_filtered(&self) -> bool {
        let narrowed = [self.waiting_ms, self.idle_ms].iter().any(Option::is_some)
            || [&self.offered_to, &self.channel].iter().any(|name| name.is_some());
        narrowed || !self.status.is_empty() || self.owner.is_some()
    }
}

/// Lists conversations on standard output.
pub fn run(options: &ListOptions) -> Result<(), Failure> {
    let mut source = Source::open(&options.place)?;
    let now = super::now();
    let mut out = BufWriter::new(io::stdout().lock());
    match options.format {
        TextOrJson::Json => write_json(&mut out, &mut source, options.ask(now))?,
        TextOrJson::Text => write_text(&mut out, &mut source, options, now)?,
    }
    out.flush()?;
    source.conclude()
}

fn write_json(out: &mut dyn Write, source: &mut Source, ask: ListAsk) -> Result<(), Failure> {
    write!(out, "{{\"conversations\":[")?;
    let mut first = true;
    source.conversations(ask, |page| {
        for conversation in page {
            write!(out, "{}\n{}", if first { "" } else { "," }, conversation.get())?;
            first = false;
        }
        Ok(())
    })?;
    writeln!(out, "\n]}}")?;
    Ok(())
}

fn write_text(out: &mut dyn Write, source: &mut Source, options: &ListOptions, now: Time) -> Result<(), Failure> {
    let columns = if options.waiting_ms.is_some() { OF_WAITING } else { std::array::from_fn(|column| column) };
    let mut table = Table::new(&columns.map(|column| HEADINGS[column]), Screen::of_stdout());
    let mut totals = Totals::default();
    source.conversations(options.ask(now), |page| {
        let mut rows = Vec::with_capacity(page.len());
        for conversation in page {
            let value: Value = serde_json::from_str(conversation.get()).map_err(SourceError::Unreadable)?;
            totals.count(State::new(&value));
            let mut cells = row(State::new(&value), now);
            rows.push(columns.map(|column| std::mem::take(&mut cells[column])).to_vec());
        }
        if !rows.is_empty() {
            table.write(out, &rows)?;
        }
        Ok(())
    })?;
    match (totals.is_empty(), options.is_filtered()) {
        (false, _) => writeln!(out, "\n{}", totals.in_words())?,
        (true, true) => writeln!(out, "no conversation fits")?,
        (true, false) => writeln!(out, "no conversations yet")?,
    }
    Ok(())
}

fn row(state: State<'_>, now: Time) -> Vec<String> {
    let text = |path: &[&str]| state.text(path).unwrap_or_default();
    let lasting = |path: &[&str]| state.moment(path).map_or_else(String::new, |since| state::lasting(since, now));
    let deadline = state.moment(&["waiting_for", "deadline"]);
    vec![
        text(&["id"]),
        text(&["status"]),
        state.text(&["owner"]).unwrap_or_else(|| "-".into()),
        lasting(&["owner_since"]),
        text(&["channel"]),
        lasting(&["last_activity_at"]),
        text(&["offer", "to"]),
        text(&["waiting_for", "owner"]),
        lasting(&["waiting_for", "since"]),
        deadline.map_or_else(String::new, |deadline| state::at(deadline, now)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_who_holds_a_conversation_and_what_it_waits_for() {
        let example = include_str!("../../schemas/examples/reply/conversations.json");
        let example: Value = serde_json::from_str(example).unwrap();
        let now = Time::parse("2026-11-22T14:23:00Z").unwrap();
        let row = row(State::new(&example["conversations"][0]), now);
        let expected =
            ["c-7f3a", "ending", "survey", "1m 52s", "web", "1m 52s", "", "survey", "1m 52s", "14:31:07.310"];
        assert_eq!(row, expected);
    }

    #[test]
    fn totals_count_by_status() {
        let mut totals = Totals::default();
        assert!(totals.is_empty());
        for text in [r#"{"status":"open","owner":"a"}"#, r#"{"status":"closed","owner":null,"offer":null}"#] {
            totals.count(State::new(&serde_json::from_str(text).unwrap()));
        }
        assert_eq!(totals.in_words(), "2 conversations: 1 open, 1 closed; 0 held by nobody, 0 offered");
    }
}
