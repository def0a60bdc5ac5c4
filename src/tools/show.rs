//! `show`: how a conversation stands, or stood, and what happened to it.

use std::io::{self, BufWriter, Write};

use serde_json::Value;

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
    let parsed: Value = serde_json::from_str(state.get()).map_err(SourceError::Unreadable)?;
    let last_seq = State::new(&parsed).number("seq");
    let question = Question::History { id: Some(options.id.clone()), span: Span { to_seq: last_seq, ..whole_span() } };
    let mut out = BufWriter::new(io::stdout().lock());
    match options.format {
        TextOrJson::Json => write_json(&mut out, &mut source, state.get(), question)?,
        TextOrJson::Text => {
            let seen_at = match options.at {
                Some(Moment::Time(time)) => Some(time),
                Some(Moment::Seq(_)) => None,
                None => Some(super::now()),
            };
            write_text(&mut out, &mut source, State::new(&parsed), question, seen_at)?;
        }
    }
    out.flush().map_err(Failure::from)
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

/// What lasts is counted until `seen_at`; with none, until the conversation's last event then.
fn write_text(
    out: &mut dyn Write,
    source: &mut Source,
    state: State<'_>,
    question: Question,
    seen_at: Option<Time>,
) -> Result<(), Failure> {
    let screen = Screen::of_stdout();
    let mut events = Vec::new();
    source.events(question, |page| {
        for event in &page.events {
            events.push(serde_json::from_str::<PastEvent>(event.get()).map_err(SourceError::Unreadable)?);
        }
        Ok(())
    })?;
    let last = events.last().map(|event| event.time);
    state.write(out, screen, seen_at.or(last).unwrap_or_else(super::now))?;
    writeln!(out)?;
    let mut timeline = Timeline::of_conversation(screen, state.number("seq").unwrap_or(0));
    events.iter().try_for_each(|event| timeline.write(out, event))?;
    timeline.finish(out, seen_at)?;
    Ok(())
}
