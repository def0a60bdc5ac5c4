//! Who held control for how long, as bars to one scale.

use std::io::{self, Write};

use anstyle::Style;
use serde_json::Value;

use super::past_event::PastEvent;
use super::screen::{self, Screen};
use super::words;
use crate::domain::Time;

const BAR_CHARS_MAX: usize = 50;
const BAR_CHARS_MIN: usize = 10;
/// Columns left for what stands beside a bar: its length, and what is to be said of it.
const BESIDE_BAR_CHARS: usize = 28;
const NAME_CHARS_MAX: usize = 32;

/// The periods of control of one conversation, in order.
#[derive(Debug, Default)]
pub struct Holdings {
    periods: Vec<Period>,
    last: Option<Time>,
}

#[derive(Debug, PartialEq, Eq)]
struct Period {
    since: Time,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    session: u64,
    status: Status,
    owner: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Open,
    Ending,
    Closed,
}

impl Holdings {
    /// Takes in what an event made of the conversation.
    pub fn take(&mut self, event: &PastEvent) {
        self.last = Some(event.time);
        let Some(state) = state_after(event) else { return };
        match self.periods.last_mut() {
            Some(current) if current.state == state => {}
            Some(current) if current.since == event.time => current.state = state,
            _ => self.periods.push(Period { since: event.time, state }),
        }
    }

    /// Draws them, the last one until then, or until the last event.
    pub fn write(&self, out: &mut dyn Write, screen: Screen, until: Option<Time>) -> io::Result<()> {
        let (Some(first), Some(last)) = (self.periods.first(), self.last) else { return Ok(()) };
        let end = until.unwrap_or(last).max(last);
        writeln!(out, "\n{}", screen.bold("control"))?;
        let scale = self.scale(screen, end);
        let mut names = Vec::new();
        let mut session = first.state.session;
        for (n, period) in self.periods.iter().enumerate() {
            if period.state.session != session {
                session = period.state.session;
                writeln!(out, "  session {session}")?;
            }
            let ends = self.periods.get(n + 1).map(|next| next.since);
            let since = words::moment(period.since, first.since);
            let label = words::shortened(period.label(), NAME_CHARS_MAX);
            let told = period.told(screen, &scale, ends, end, colour_of(&mut names, period));
            let Scale { since_chars, label_chars, .. } = scale;
            let line = format!("  {since:since_chars$}  {label:label_chars$}  {told}");
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn scale(&self, screen: Screen, end: Time) -> Scale {
        let ends = self.periods.iter().skip(1).map(|next| next.since).chain([end]);
        let held = self.periods.iter().zip(ends).filter(|(period, _)| period.state.status != Status::Closed);
        let longest_ms = held.map(|(period, end)| end.ms_since(period.since)).max().unwrap_or(0).max(1);
        let first = self.periods.first().map_or(end, |period| period.since);
        let widest =
            |chars: fn(&Period, Time) -> usize| self.periods.iter().map(|p| chars(p, first)).max().unwrap_or(0);
        let since_chars = widest(|period, first| words::moment(period.since, first).chars().count());
        let label_chars = widest(|period, _| period.label().chars().count()).min(NAME_CHARS_MAX);
        let taken = since_chars + label_chars + BESIDE_BAR_CHARS;
        let bar_chars = screen.columns_to_scale().saturating_sub(taken).clamp(BAR_CHARS_MIN, BAR_CHARS_MAX);
        Scale { longest_ms, bar_chars, since_chars, label_chars }
    }
}

struct Scale {
    longest_ms: u64,
    bar_chars: usize,
    since_chars: usize,
    label_chars: usize,
}

impl Period {
    fn label(&self) -> String {
        match (&self.state.status, &self.state.owner) {
            (Status::Closed, _) => "closed".into(),
            (_, Some(owner)) => words::plain(owner),
            (_, None) => "nobody".into(),
        }
    }

    /// The bar, its length, and what is to be said of it.
    fn told(&self, screen: Screen, scale: &Scale, ends: Option<Time>, end: Time, colour: Option<Style>) -> String {
        let ms = ends.unwrap_or(end).ms_since(self.since);
        if self.state.status == Status::Closed {
            return ends.map_or_else(String::new, |_| screen.dim(&format!("for {}", words::duration(ms))));
        }
        let ending = if self.state.status == Status::Ending { ", ending" } else { "" };
        if ends.is_none() && ms == 0 {
            return format!("from here on{ending}");
        }
        let chars = (u128::from(ms) * scale.bar_chars as u128 / u128::from(scale.longest_ms)) as usize;
        let glyph = match (self.state.status, &self.state.owner) {
            (_, None) => '·',
            (Status::Ending, Some(_)) => '▒',
            (_, Some(_)) => '▇',
        };
        let bar: String = std::iter::repeat_n(glyph, chars.max(1)).collect();
        let bar = colour.map_or_else(|| screen.dim(&bar), |colour| screen.styled(colour, &bar));
        let lasting = if ends.is_none() { " so far" } else { "" };
        format!("{bar} {}{lasting}{ending}", words::duration(ms))
    }
}

/// Names get their colours in the order in which they come up.
fn colour_of<'a>(names: &mut Vec<&'a str>, period: &'a Period) -> Option<Style> {
    let owner = period.state.owner.as_deref()?;
    let place = names.iter().position(|name| *name == owner).unwrap_or_else(|| {
        names.push(owner);
        names.len() - 1
    });
    Some(screen::colour(place))
}

fn state_after(event: &PastEvent) -> Option<State> {
    let conversation = event.conversation()?;
    let status = match conversation.get("status")?.as_str()? {
        "open" => Status::Open,
        "ending" => Status::Ending,
        "closed" => Status::Closed,
        _ => return None,
    };
    let owner = conversation.get("owner").and_then(Value::as_str).map(str::to_owned);
    Some(State { session: event.number("session").unwrap_or(1), status, owner })
}
