//! `replay`: recorded events in order, as they were published, as a timeline, or published again elsewhere.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::nats::{Access, Connection};
use super::past_event::PastEvent;
use super::screen::Screen;
use super::source::{EventsPage, Place, Question, Source, SourceError, whole_span};
use super::timeline::Timeline;
use super::values::{Speed, is_event_name};
use crate::domain::words::CONFIG_ID;
use crate::domain::{ConversationId, Time};
use crate::switchboard::port::{Moment, Span};

/// How long to listen for whether somebody serves the prefix that is to be published on.
const PROBE_WAIT: Duration = Duration::from_millis(500);

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

/// Replays events.
pub fn run(options: &ReplayOptions) -> Result<(), Failure> {
    let mut sink = Sink::open(options)?;
    let mut source = Source::open(&options.place)?;
    let mut pace = Pace::new(options.speed);
    let progress = Progress::new(&options.output);
    let question = question(options);
    source.events(question, |page| {
        progress.expect(page, options);
        for event in &page.events {
            if let Speed::Times(_) = options.speed {
                sink.flush()?;
                pace.wait_for(parsed::<Stamp>(event)?.time);
            }
            sink.take(event, page.head_seq)?;
        }
        sink.flush()?;
        progress.reached(page);
        Ok(())
    })?;
    progress.finish();
    sink.finish()
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
    match &options.scope {
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
enum Sink<'a> {
    Ndjson(BufWriter<io::Stdout>),
    Timeline { out: BufWriter<io::Stdout>, timeline: Option<Timeline>, scope: &'a Scope },
    Publish(Box<Publisher>),
}

impl<'a> Sink<'a> {
    fn open(options: &'a ReplayOptions) -> Result<Sink<'a>, Failure> {
        Ok(match &options.output {
            Output::Ndjson => Sink::Ndjson(BufWriter::new(io::stdout())),
            Output::Timeline => {
                Sink::Timeline { out: BufWriter::new(io::stdout()), timeline: None, scope: &options.scope }
            }
            Output::Publish { access, prefix } => Sink::Publish(Box::new(Publisher::open(access, prefix)?)),
        })
    }

    fn take(&mut self, event: &RawValue, head_seq: u64) -> Result<(), Failure> {
        match self {
            Sink::Ndjson(out) => writeln!(out, "{}", event.get())?,
            Sink::Timeline { out, timeline, scope } => {
                let screen = Screen::of_stdout();
                let timeline = timeline.get_or_insert_with(|| match scope {
                    Scope::Conversation(_) => Timeline::of_conversation(screen, head_seq),
                    Scope::Everything | Scope::Config => Timeline::of_log(screen, head_seq),
                });
                timeline.write(out, &parsed::<PastEvent>(event)?)?;
            }
            Sink::Publish(publisher) => publisher.publish(event)?,
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Ndjson(out) | Sink::Timeline { out, .. } => out.flush()?,
            Sink::Publish(publisher) => publisher.connection.flush()?,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        match &mut self {
            Sink::Ndjson(_) => {}
            Sink::Timeline { out, timeline: Some(timeline), .. } => timeline.finish(out, None)?,
            Sink::Timeline { out, timeline: None, .. } => writeln!(out, "no event fits")?,
            Sink::Publish(publisher) => {
                eprintln!("published {} events below {}.event", publisher.published, publisher.prefix);
            }
        }
        self.flush()
    }
}

/// Publishes events below another prefix, under the ids they were first published with.
struct Publisher {
    connection: Connection,
    prefix: String,
    published: u64,
}

#[derive(Deserialize)]
struct Address<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    full_name: &'a str,
    subject: &'a str,
}

impl Publisher {
    /// Refuses a prefix that somebody serves: what was recorded long ago would pass for news there.
    fn open(access: &Access, prefix: &str) -> Result<Publisher, Failure> {
        let mut connection = Connection::open(access)?;
        if connection.is_answered(&format!("{prefix}.query.config"), PROBE_WAIT) {
            let text = format!("a switchboard serves prefix {prefix}: choose another for --publish");
            return Err(Failure::Usage(vec![text]));
        }
        Ok(Publisher { connection, prefix: prefix.to_owned(), published: 0 })
    }

    fn publish(&mut self, event: &RawValue) -> Result<(), Failure> {
        let address: Address<'_> = parsed(event)?;
        let name = address.full_name.strip_prefix("switchboard.").filter(|name| is_event_name(name));
        let is_token = address.subject == CONFIG_ID || ConversationId::parse(address.subject).is_ok();
        let Some(name) = name.filter(|_| is_token) else {
            let text = format!("event {:?} cannot be published: its type or subject is not of tokens", address.id);
            return Err(Failure::text(text));
        };
        let subject = format!("{}.event.{}.{name}", self.prefix, address.subject);
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/cloudevents+json");
        headers.insert("Nats-Msg-Id", address.id);
        self.connection.publish(subject, headers, event.get().to_owned().into())?;
        self.published += 1;
        Ok(())
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

    fn wait_for(&mut self, time: Time) {
        let Speed::Times(times) = self.speed else { return };
        let (first, begun) = *self.first.get_or_insert_with(|| (time, Instant::now()));
        std::thread::sleep(due_after(time.ms_since(first), times).saturating_sub(begun.elapsed()));
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
