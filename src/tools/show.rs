//! `show`: how a conversation stands, or stood, and what happened to it.

use std::io::{self, BufWriter, Write};

use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::past_event::PastEvent;
use super::screen::Screen;
use super::source::{Place, Question, Source, SourceError, whole_span};
use super::state::State;
use super::timeline::Timeline;
use super::values::TextOrJson;
use crate::domain::{ConversationId, Time};
use crate::switchboard::port::{Moment, Span};

/// What is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowOptions {
    /// Where it is read from.
    pub place: Place,
    /// Which conversation.
    pub id: ConversationId,
    /// As it was then; none is now.
    pub at: Option<Moment>,
    /// For people, or for programs.
    pub format: TextOrJson,
}

/// Shows a conversation on standard output.
pub fn run(options: &ShowOptions) -> Result<(), Failure> {
    let mut source = Source::open(&options.place)?;
    let state = source.conversation(&options.id, options.at)?;
    let read: Value = serde_json::from_str(state.get()).map_err(SourceError::Unreadable)?;
    let last_seq = State::new(&read).number("seq");
    let history = |span| Question::History { id: Some(options.id.clone()), span };
    let question = history(Span { to_seq: last_seq, ..whole_span() });
    let mut out = BufWriter::new(io::stdout().lock());
    match options.format {
        TextOrJson::Json => write_json(&mut out, &mut source, state.get(), question)?,
        TextOrJson::Text => {
            let until = match options.at {
                Some(Moment::Time(time)) => time,
                Some(Moment::Seq(_)) => {
                    let last = Span { from_seq: last_seq, to_seq: last_seq, ..whole_span() };
                    time_of_last(&mut source, history(last))?.unwrap_or_else(super::now)
                }
                None => super::now(),
            };
            write_text(&mut out, &mut source, State::new(&read), question, until)?;
        }
    }
    out.flush()?;
    source.conclude()
}

/// The events of a conversation are counted from 1: those before the first were removed with old volumes of the log.
fn tell_removed(out: &mut dyn Write, screen: Screen, events: u64) -> io::Result<()> {
    match events {
        0 => Ok(()),
        events => writeln!(out, "{}", screen.dim(&format!("its first {events} events were removed from the log"))),
    }
}

fn time_of_last(source: &mut Source, question: Question) -> Result<Option<Time>, Failure> {
    let mut last = None;
    source.events(question, |page| {
        for event in &page.events {
            last = Some(parsed(event)?.time);
        }
        Ok(())
    })?;
    Ok(last)
}

fn parsed(event: &RawValue) -> Result<PastEvent, SourceError> {
    serde_json::from_str(event.get()).map_err(SourceError::Unreadable)
}

fn write_json(out: &mut dyn Write, source: &mut Source, state: &str, question: Question) -> Result<(), Failure> {
    write!(out, "{{\"conversation\":{state},\"events\":[")?;
    let mut first = true;
    source.events(question, |page| {
        for event in &page.events {
            write!(out, "{}{}", if first { "" } else { "," }, event.get())?;
            first = false;
        }
        Ok(())
    })?;
    writeln!(out, "]}}")?;
    Ok(())
}

/// The state and the timeline; what lasts is counted until then.
fn write_text(
    out: &mut dyn Write,
    source: &mut Source,
    state: State<'_>,
    question: Question,
    until: Time,
) -> Result<(), Failure> {
    let screen = Screen::of_stdout();
    state.write(out, screen, until)?;
    writeln!(out)?;
    let mut timeline: Option<Timeline> = None;
    source.events(question, |page| {
        for event in &page.events {
            let event = parsed(event)?;
            if timeline.is_none() {
                tell_removed(out, screen, event.number("version").unwrap_or(1).saturating_sub(1))?;
            }
            let begun = || Timeline::of_conversation(screen, state.number("seq").unwrap_or(0), &event);
            timeline.get_or_insert_with(begun).write(out, &event)?;
        }
        Ok(())
    })?;
    match timeline {
        Some(timeline) => timeline.finish(out, Some(until))?,
        None => tell_removed(out, screen, state.number("version").unwrap_or(0))?,
    }
    Ok(())
}
