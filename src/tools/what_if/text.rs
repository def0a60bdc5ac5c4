//! The comparison for people: a row for each session, below it where the two worlds part and why.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::{Report, own_fields};
use crate::domain::event::{EndCause, ReleaseCause};
use crate::domain::{Event, Role, Time};
use crate::switchboard::what_if::{Difference, Ended, EndsBy, Otherwise, Tally, Way};
use crate::tools::past_event::{PastEvent, who};
use crate::tools::screen::{Screen, wrapped};
use crate::tools::table::write_pairs;
use crate::tools::{phrases, words};

const HEADINGS: [&str; 4] = ["conversation", "would have", "ended", "would have ended"];
const GAP: &str = "  ";
/// Columns by which what stands below a row is moved in.
const INDENT: usize = 4;
/// Longest id that is shown whole in its column.
const ID_CHARS_MAX: usize = 40;

/// A table under way.
pub struct Text<'a> {
    out: &'a mut dyn Write,
    screen: Screen,
    widths: [usize; HEADINGS.len()],
    is_begun: bool,
}

impl<'a> Text<'a> {
    /// One that is written there.
    pub fn new(out: &'a mut dyn Write, screen: Screen) -> Text<'a> {
        Text { out, screen, widths: HEADINGS.map(str::len), is_begun: false }
    }

    fn line(&self, cells: &[String; HEADINGS.len()]) -> String {
        let pad = |(cell, width): (&String, usize)| format!("{cell:width$}{GAP}");
        let line: String = cells.iter().zip(self.widths).take(self.columns()).map(pad).collect();
        let line = line.trim_end().to_owned();
        self.screen.columns().map_or(line.clone(), |columns| words::shortened(line, columns))
    }

    /// How many columns fit the screen: where the ends do not, they stand below, and none is cut off.
    fn columns(&self) -> usize {
        let width: usize = self.widths.iter().map(|width| width + GAP.len()).sum();
        match self.screen.columns() {
            Some(columns) if width > columns + GAP.len() => 2,
            _ => HEADINGS.len(),
        }
    }

    fn detail(&mut self, row: &[String; HEADINGS.len()], first: &Difference, channel: &str) -> io::Result<()> {
        let label = format!("{} {}", if first.happened.is_empty() { "after" } else { "seq" }, first.seq);
        let at = second(first.at);
        let below = HEADINGS.iter().zip(row).skip(self.columns());
        let mut pairs: Vec<(&str, String)> = below.map(|(heading, cell)| (*heading, cell.clone())).collect();
        pairs.extend([
            (label.as_str(), format!("at {at}: {}", happened(&first.happened, channel, first.at))),
            ("instead", instead(first, channel)),
            ("because", words::plain(&first.why)),
        ]);
        if let Some(uncertain) = &first.uncertain {
            pairs.push(("uncertain", uncertain.clone()));
        }
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in pairs {
            let line = format!("{:INDENT$}{name:width$}{GAP}{value}", "");
            for line in wrapped(&line, self.screen.columns(), INDENT + width + GAP.len()) {
                let style = if name == "uncertain" { YELLOW } else { Style::new().dimmed() };
                writeln!(self.out, "{}", self.screen.styled(style, &line))?;
            }
        }
        Ok(())
    }
}

impl Report for Text<'_> {
    fn sessions(&mut self, sessions: &[Otherwise]) -> io::Result<()> {
        let rows: Vec<_> = sessions.iter().map(row).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !self.is_begun && !rows.is_empty() {
            self.is_begun = true;
            let line = self.line(&HEADINGS.map(str::to_owned));
            writeln!(self.out, "{}", self.screen.dim(&line))?;
        }
        for (row, session) in rows.iter().zip(sessions) {
            writeln!(self.out, "{}", self.screen.bold(&self.line(row)))?;
            self.detail(row, &session.first, session.channel.as_str())?;
        }
        Ok(())
    }

    fn finish(&mut self, tally: Tally, fault: Option<&str>) -> io::Result<()> {
        if self.is_begun {
            writeln!(self.out)?;
        }
        let mut pairs = Vec::new();
        if fault.is_some() {
            pairs.push(("compared up to", "the fault told below".to_owned()));
        }
        let otherwise = tally.otherwise();
        pairs.push(("sessions", tally.sessions.to_string()));
        if let Some(at) = tally.last_at {
            pairs.push(("last entry", format!("{} {}", words::day(at), words::clock(at))));
        }
        pairs.push(("the same", tally.sessions.saturating_sub(otherwise).to_string()));
        let uncertain = match otherwise {
            0 => String::new(),
            _ => format!(", {} of them uncertain", tally.uncertain),
        };
        pairs.push(("otherwise", format!("{otherwise}{uncertain}")));
        for (way, count) in Way::ALL.iter().zip(tally.ways).filter(|(_, count)| *count > 0) {
            pairs.push(("", format!("{count} {}", words_of(*way))));
        }
        if tally.uncertain > 0 {
            pairs.push((
                "perhaps",
                "rests on messages or commands that the log does not hold, or that nobody sent".into(),
            ));
        }
        pairs.push(("not seen", "what was refused then, and would be allowed: the log does not hold it".into()));
        write_pairs(self.out, &pairs, self.screen)?;
        self.out.flush()
    }
}

const YELLOW: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));

fn row(session: &Otherwise) -> [String; HEADINGS.len()] {
    let id = words::shortened(session.conversation.to_string(), ID_CHARS_MAX);
    let id = if session.session > 1 { format!("{id} #{}", session.session) } else { id };
    let ends = [&session.ended, &session.would_end].map(Option::as_ref);
    let told = match ends {
        // Within one second the thousandths tell which was first.
        [Some(ended), Some(would)] if second(ended.at) == second(would.at) => words::clock,
        _ => second,
    };
    let ended = ends[0]
        .map_or("still open".into(), |ended| format!("{} {} {}", words::day(ended.at), told(ended.at), by(ended)));
    let day = ends[0].map_or_else(String::new, |ended| words::day(ended.at));
    let on_day = |at: Time| if words::day(at) == day { told(at) } else { format!("{} {}", words::day(at), told(at)) };
    let would = match (ends[1], session.due) {
        (Some(ended), _) => format!("{} {}", on_day(ended.at), by(ended)),
        (None, _) if session.way == Way::NotBegun => "not begun".into(),
        (None, Some((at, EndsBy::Deadline))) => format!("still open, deadline {}", on_day(at)),
        (None, Some((at, EndsBy::Inactivity))) => format!("still open, inactivity {}", on_day(at)),
        (None, None) => "still open".into(),
    };
    let would = if session.is_uncertain() { format!("perhaps {would}") } else { would };
    [id, words_of(session.way).into(), ended, would]
}

fn words_of(way: Way) -> &'static str {
    match way {
        Way::EndedEarlier => "ended earlier",
        Way::EndedLater => "ended later",
        Way::EndedByAnother => "ended by another",
        Way::NotEnded => "not ended",
        Way::EndedToo => "ended",
        Way::NotBegun => "not begun",
        Way::OtherOwner => "had another owner",
        Way::OtherWay => "gone another way",
    }
}

/// Who ended a session, and for which cause where that does not say it.
fn by(ended: &Ended) -> String {
    let after = match ended.cause {
        EndCause::EndUser => ", after the end user's end",
        _ => "",
    };
    match (ended.by.role, &ended.by.name) {
        (Role::Timer, _) if ended.cause == EndCause::Inactivity => "by inactivity".into(),
        (Role::Timer, _) => "by the deadline".into(),
        (Role::Config, _) => "by removal of its owner".into(),
        (Role::Channel, _) => "by the end user".into(),
        (Role::Integration, Some(name)) => format!("by {name}{after}"),
        (role, name) => format!("by {role:?} {}{after}", name.as_ref().map_or("", |name| name.as_str())).to_lowercase(),
    }
}

fn happened(events: &[Event], channel: &str, at: Time) -> String {
    // A release that the cause of the end explains is not told again.
    let is_told = |event: &&Event| !matches!(event, Event::Released(e) if e.cause == ReleaseCause::Inactivity);
    let told: Vec<String> = events.iter().filter(is_told).map(|event| phrase(event, channel, at)).collect();
    if told.is_empty() { "nothing".into() } else { told.join("; ") }
}

fn instead(first: &Difference, channel: &str) -> String {
    if let Some(refusal) = &first.refusal {
        let by = serde_json::to_value(&first.by).map_or_else(|_| String::new(), |by| who(&by));
        return format!("{by} would have been refused: {}", refusal.code());
    }
    let told = happened(&first.instead, channel, first.at);
    match first.latest {
        Some(latest) => format!("{told} (or up to {}, if somebody wrote unnoted)", second(latest)),
        None => told,
    }
}

/// An event in the words of the timeline.
fn phrase(event: &Event, channel: &str, time: Time) -> String {
    let Value::Object(mut data) = own_fields(event) else { return String::new() };
    data.insert("conversation".into(), json!({ "channel": channel }));
    let (full_name, subject) = (event.kind().full_name().to_owned(), String::new());
    phrases::what_happened(&PastEvent { full_name, subject, time, data })
}

/// A time of day, to the second.
fn second(at: Time) -> String {
    words::clock(at).chars().take("00:00:00".len()).collect()
}
