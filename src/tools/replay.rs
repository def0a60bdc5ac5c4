//! `replay`: recorded events in order, as they were published, as a timeline, or published again elsewhere.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::nats::Access;
use super::past_event::PastEvent;
use super::republish::{Publisher, continued};
use super::screen::Screen;
use super::source::{EventsPage, Place, Question, Source, SourceError, whole_span};
use super::state::State;
use super::timeline::Timeline;
use super::values::Speed;
use crate::domain::{ConversationId, Time};
use crate::switchboard::port::{Moment, Span};

/// What is to be replayed, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayOptions {
    /// Where it is read from.
    pub place: Place,
    /// The first event; none is the first of all.
    pub from: Option<Moment>,
    /// The last event; none is the last of all.
    pub to: Option<Moment>,
    /// Whose events.
    pub scope: Scope,
    /// Only events of these full names; empty lets all through.
    pub types: Vec<String>,
    /// What becomes of them.
    pub output: Output,
    /// How fast they go by.
    pub speed: Speed,
}

/// Whose events are replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    Everything,
    /// Those of one conversation.
    Conversation(ConversationId),
    /// Those of the configuration.
    Config,
}

/// What becomes of replayed events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// One a line, as they were published.
    Ndjson,
    /// In words.
    Timeline,
    /// Published on NATS, below another prefix than the service's.
    Publish {
        /// Where.
        access: Access,
        /// Below which prefix.
        prefix: String,
    },
}

impl ReplayOptions {
    /// Whether they are wanted from their first on, all of them.
    fn wants_first(&self) -> bool {
        self.from.is_none() && self.types.is_empty()
    }
}

/// Replays events. Where it ends before its time it says how to go on.
pub fn run(options: &ReplayOptions) -> Result<(), Failure> {
    let mut sink = Sink::open(options)?;
    match replay(options, &mut sink) {
        Ok(source) => sink.finish().and_then(|()| source.conclude()),
        Err(failure) => Err(sink.ended(failure)),
    }
}

fn replay(options: &ReplayOptions, sink: &mut Sink<'_>) -> Result<Source, Failure> {
    let mut source = Source::open(&options.place)?;
    let mut pace = Pace::new(options.speed);
    let progress = Progress::new(&options.output);
    source.events(question(options), |page| {
        progress.expect(page, options);
        if let Some(first) = page.events.first()
            && !std::mem::replace(&mut sink.has_begun, true)
            && options.wants_first()
        {
            tell_removed(&options.scope, first)?;
        }
        for event in &page.events {
            if let Speed::Times(_) = options.speed {
                let wait = pace.wait_for(parsed::<Stamp>(event)?.time);
                if !wait.is_zero() {
                    sink.flush()?;
                    sink.wait(wait)?;
                }
            }
            sink.take(event, page.head_seq)?;
        }
        sink.flush()?;
        sink.next_seq = page.next_seq;
        progress.reached(page);
        Ok(())
    })?;
    progress.finish();
    if !sink.has_begun && options.wants_first() {
        tell_all_removed(&options.scope, &mut source);
    }
    Ok(source)
}

/// Where an event stands in the log, and among those of its conversation or of the configuration.
#[derive(Deserialize)]
struct Numbered {
    data: Numbers,
}

#[derive(Deserialize)]
struct Numbers {
    seq: u64,
    version: u64,
}

/// Whoever wants everything hears that it is not everything.
fn tell_removed(scope: &Scope, first: &RawValue) -> Result<(), SourceError> {
    let Numbers { seq, version } = parsed::<Numbered>(first)?.data;
    match scope {
        Scope::Everything if seq > 1 => tell_begin(seq),
        Scope::Conversation(_) | Scope::Config if version > 1 => tell_first_removed(version - 1),
        _ => {}
    }
    Ok(())
}

/// The same where no event fits. Whoever may not ask for more, or asks a damaged log, hears of that elsewhere.
fn tell_all_removed(scope: &Scope, source: &mut Source) {
    let mut is_told = false;
    let asked = source.first_event(of(scope, whole_span()), |first| {
        is_told = true;
        Ok(tell_removed(scope, first)?)
    });
    match scope {
        _ if is_told || asked.is_err() => {}
        Scope::Conversation(id) => {
            let state = source.conversation(id, None).ok().and_then(|state| serde_json::from_str(state.get()).ok());
            let events = state.and_then(|state: Value| State::new(&state).number("version"));
            events.into_iter().for_each(tell_first_removed);
        }
        Scope::Config => tell_all_removed(&Scope::Everything, source),
        Scope::Everything => {}
    }
}

fn tell_begin(seq: u64) {
    eprintln!("note: the log begins with seq {seq}: the events before were removed");
}

fn tell_first_removed(events: u64) {
    eprintln!("note: the first {events} events were removed from the log");
}

fn question(options: &ReplayOptions) -> Question {
    let mut span = Span { types: options.types.clone(), ..whole_span() };
    match options.from {
        Some(Moment::Seq(seq)) => span.from_seq = Some(seq),
        Some(Moment::Time(time)) => span.from = Some(time),
        None => {}
    }
    match options.to {
        Some(Moment::Seq(seq)) => span.to_seq = Some(seq),
        Some(Moment::Time(time)) => span.to = Some(time),
        None => {}
    }
    of(&options.scope, span)
}

fn of(scope: &Scope, span: Span) -> Question {
    match scope {
        Scope::Everything => Question::Log { span },
        Scope::Conversation(id) => Question::History { id: Some(id.clone()), span },
        Scope::Config => Question::History { id: None, span },
    }
}

fn parsed<'a, T: Deserialize<'a>>(event: &'a RawValue) -> Result<T, SourceError> {
    serde_json::from_str(event.get()).map_err(SourceError::Unreadable)
}

#[derive(Deserialize)]
struct Stamp {
    time: Time,
}

/// Where events go, opened.
struct Sink<'a> {
    way: Way<'a>,
    /// Whether any came.
    has_begun: bool,
    /// Where the page after those that went there starts.
    next_seq: Option<u64>,
}

enum Way<'a> {
    Ndjson(BufWriter<io::Stdout>),
    Timeline { out: BufWriter<io::Stdout>, timeline: Option<Timeline>, scope: &'a Scope, is_whole: bool },
    Publish(Box<Publisher>),
}

impl<'a> Sink<'a> {
    fn open(options: &'a ReplayOptions) -> Result<Sink<'a>, Failure> {
        let way = match &options.output {
            Output::Ndjson => Way::Ndjson(BufWriter::new(io::stdout())),
            Output::Timeline => Way::Timeline {
                out: BufWriter::new(io::stdout()),
                timeline: None,
                scope: &options.scope,
                is_whole: options.wants_first() && options.to.is_none(),
            },
            Output::Publish { access, prefix } => Way::Publish(Box::new(Publisher::open(access, prefix)?)),
        };
        Ok(Sink { way, has_begun: false, next_seq: None })
    }

    fn take(&mut self, event: &RawValue, head_seq: u64) -> Result<(), Failure> {
        match &mut self.way {
            Way::Ndjson(out) => writeln!(out, "{}", event.get())?,
            Way::Timeline { out, timeline, scope, is_whole } => {
                let event = parsed::<PastEvent>(event)?;
                let screen = Screen::of_stdout();
                let timeline = timeline.get_or_insert_with(|| match scope {
                    Scope::Conversation(_) if *is_whole => Timeline::of_conversation(screen, head_seq, &event),
                    Scope::Conversation(_) => Timeline::of_part(screen, head_seq),
                    Scope::Everything | Scope::Config => Timeline::of_log(screen, head_seq),
                });
                timeline.write(out, &event)?;
            }
            Way::Publish(publisher) => publisher.publish(event)?,
        }
        Ok(())
    }

    fn wait(&mut self, wait: Duration) -> Result<(), Failure> {
        match &mut self.way {
            Way::Publish(publisher) => publisher.wait(wait)?,
            Way::Ndjson(_) | Way::Timeline { .. } => std::thread::sleep(wait),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.way {
            Way::Ndjson(out) | Way::Timeline { out, .. } => out.flush()?,
            Way::Publish(publisher) => publisher.flush()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        match &mut self.way {
            Way::Ndjson(_) => {}
            Way::Timeline { out, timeline: Some(timeline), .. } => timeline.finish(out, None)?,
            Way::Timeline { out, timeline: None, .. } => writeln!(out, "no event fits")?,
            Way::Publish(publisher) => eprintln!("{}", publisher.told()),
        }
        self.flush()
    }

    /// What is to be said where something ended it before its time.
    fn ended(self, failure: Failure) -> Failure {
        match (self.way, self.next_seq) {
            (Way::Publish(publisher), _) => Failure::text(publisher.ended(&failure)),
            (Way::Ndjson(_), Some(next)) if !matches!(failure, Failure::Output(_)) => {
                Failure::text(format!("{failure}\ngo on with: {}", continued(std::env::args_os(), next)))
            }
            _ => failure,
        }
    }
}

/// Lets events go by as they happened, or so many times as fast.
struct Pace {
    speed: Speed,
    first: Option<(Time, Instant)>,
}

impl Pace {
    fn new(speed: Speed) -> Pace {
        Pace { speed, first: None }
    }

    /// How long to wait before an event of that time goes by.
    fn wait_for(&mut self, time: Time) -> Duration {
        let Speed::Times(times) = self.speed else { return Duration::ZERO };
        let (first, begun) = *self.first.get_or_insert_with(|| (time, Instant::now()));
        due_after(time.ms_since(first), times).saturating_sub(begun.elapsed())
    }
}

fn due_after(ms: u64, times: f64) -> Duration {
    Duration::try_from_secs_f64(ms as f64 / 1000.0 / times).unwrap_or(Duration::MAX)
}

/// How far a replay has come, for whoever watches.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar on standard error, where a person sees it and it does not mix with the output.
    fn new(output: &Output) -> Progress {
        let is_free = matches!(output, Output::Publish { .. }) || !io::stdout().is_terminal();
        let target = match io::stderr().is_terminal() && is_free {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{bar:40} {percent:>3}%  seq {msg}  {elapsed}, {eta} to go");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Progress { bar: ProgressBar::with_draw_target(Some(0), target).with_style(style) }
    }

    fn expect(&self, page: &EventsPage<'_>, options: &ReplayOptions) {
        let seq = |moment| match moment {
            Some(Moment::Seq(seq)) => Some(seq),
            _ => None,
        };
        let (first, last) = (seq(options.from).unwrap_or(1), seq(options.to).unwrap_or(page.head_seq));
        self.bar.set_length(last.saturating_sub(first));
    }

    fn reached(&self, page: &EventsPage<'_>) {
        if let Some(next) = page.next_seq {
            let left = page.head_seq.saturating_sub(next);
            self.bar.set_message(next.to_string());
            self.bar.set_position(self.bar.length().unwrap_or(0).saturating_sub(left));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Whether two prefixes would share subjects.
pub fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    within(one, other) || within(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_overlap_where_one_begins_the_other() {
        for (one, other) in [("a", "a"), ("a.b", "a"), ("a", "a.b")] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [("a", "b"), ("ab", "a"), ("a.b", "a.c")] {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }

    #[test]
    fn events_are_due_as_they_happened_or_so_many_times_as_fast() {
        assert_eq!(due_after(60_000, 1.0), Duration::from_secs(60));
        assert_eq!(due_after(60_000, 60.0), Duration::from_secs(1));
        assert_eq!(due_after(u64::MAX, 1e-300), Duration::MAX);
    }

    #[test]
    fn the_bounds_are_seqs_or_times() {
        let time = Time::parse("2026-11-22T14:00:00Z").unwrap();
        let options = ReplayOptions {
            place: Place::Directory("data".into()),
            from: Some(Moment::Seq(7)),
            to: Some(Moment::Time(time)),
            scope: Scope::Everything,
            types: Vec::new(),
            output: Output::Ndjson,
            speed: Speed::Max,
        };
        let Question::Log { span } = question(&options) else { panic!("expected the log") };
        assert_eq!((span.from_seq, span.to_seq, span.from, span.to), (Some(7), None, None, Some(time)));
    }
}
