//! The past, read from the log: what a conversation was, and what happened.
//!
//! Runs on any thread but the owner's. What it shows depends on the log alone.

use std::sync::Arc;

use super::answer::{self, Facts};
use super::base;
use super::envelope::{event_id, write_event};
use super::head;
use super::marks::Mark;
use super::paged::Ascending;
use super::port::{Answer, Frames, ListAsk, ListJob, Moment, PAGE_CLOSED_MAX, PastAsk, Read, ReadJob, Recorded, Span};
use super::record::Entry;
use crate::domain::words::CONFIG_ID;
use crate::domain::{Config, Conversation, ConversationId, Refusal, Time};
use crate::log::export::pieces::{self, NoPiece, Place};
use crate::log::{self, Cache, Fault, Frame, Head, Reader};

/// Most bytes of a page of events.
const PAGE_BYTES_MAX: usize = 512 * 1024;
/// Most frames looked through for one page: a filter that lets little through gives short pages, not long waits, also
/// where reading stands back for commands.
const PAGE_FRAMES_MAX: usize = 4_000;
/// Most closed conversations that match, held at once for one page: as many as the longest page takes, and one more.
const PAGE_MATCHES_MAX: usize = 1001;

/// What is read: the log, and the cache of states.
#[derive(Clone)]
pub struct Archive {
    /// The log.
    pub reader: Reader,
    /// The cache; none where only the log is looked at.
    pub cache: Option<Cache>,
    /// The secret of the directory, which an export carries.
    pub key: [u8; 32],
}

/// What came of a question.
#[derive(Debug)]
pub enum ReadOutcome {
    /// An answer.
    Answer(Answer),
    /// A page to be handed back to the owner of state, which knows what is in memory.
    Closed(Box<ListJob>),
    /// Nobody waits for an answer.
    Nothing,
}

/// Why there is no answer about the past.
#[derive(Debug, Clone, PartialEq)]
pub enum NoAnswer {
    /// What was asked for cannot be had.
    Refused(Refusal),
    /// The log cannot be read, and why.
    Unreadable(String),
}

impl NoAnswer {
    fn into_refusal(self) -> Refusal {
        match self {
            NoAnswer::Refused(refusal) => refusal,
            NoAnswer::Unreadable(text) => unreadable(text),
        }
    }
}

/// Reads what a question asks for.
pub fn read(job: ReadJob, archive: &Archive) -> ReadOutcome {
    let ReadJob { by, reply, read } = job;
    let operator = by.name.as_ref().map(tracing::field::display);
    let _asking = matches!(&read, Read::Past(PastAsk::Export { .. }, _))
        .then(|| tracing::info_span!("export", operator).entered());
    let (body, refusal) = match read {
        Read::Closed(mut job) => {
            job.fault = closed_page(&mut job, archive).err();
            return ReadOutcome::Closed(job);
        }
        Read::Past(ask, frames) => match answer_past(&ask, &frames, archive).map_err(NoAnswer::into_refusal) {
            Ok(body) => (body, None),
            Err(refusal) => (answer::error_body(&refusal, &Facts::default()), Some(refusal)),
        },
    };
    match reply {
        Some(to) => ReadOutcome::Answer(Answer { to, by, body: body.into(), refusal }),
        None => ReadOutcome::Nothing,
    }
}

/// The frames that hold what a question is about: those that the owner of state knew of, and those written since.
#[derive(Clone, Copy)]
struct Listed<'a> {
    frames: &'a Ascending,
    through: u64,
    head: u64,
}

impl<'a> Listed<'a> {
    /// Those from `first` on. An answer is about all up to the head: whoever goes on from there has to have seen it.
    fn from(self, first: u64) -> impl Iterator<Item = u64> + use<'a> {
        self.frames.from(first).chain(first.max(self.through + 1)..=self.head)
    }
}

/// The body of the answer to a question about the past.
pub fn answer_past(ask: &PastAsk, of: &Frames, archive: &Archive) -> Result<Vec<u8>, NoAnswer> {
    let reader = &archive.reader;
    let head = reader.head();
    let through = of.through.max(reader.first_number() - 1);
    let all = |frames| Listed { frames, through, head: head.frames };
    match ask {
        PastAsk::Conversation { id, at } => {
            check_moment(*at, reader).map_err(NoAnswer::Refused)?;
            let c = conversation_at(archive, all(&of.conversation), id, *at).map_err(NoAnswer::Unreadable)?;
            let c = c.ok_or(NoAnswer::Refused(Refusal::ConversationNotFound))?;
            let config = config_at(reader, all(&of.config), *at).map_err(NoAnswer::Unreadable)?;
            Ok(answer::state(&c, config.settings(&c.channel)))
        }
        PastAsk::Config { at } => {
            check_moment(*at, reader).map_err(NoAnswer::Refused)?;
            let config = config_at(reader, all(&of.config), *at).map_err(NoAnswer::Unreadable)?;
            Ok(answer::config(&config))
        }
        PastAsk::History { id, span } => {
            let name = id.as_ref().map_or(CONFIG_ID, ConversationId::as_str);
            let list = if id.is_some() { &of.conversation } else { &of.config };
            check_span(span, reader).map_err(NoAnswer::Refused)?;
            let first = first_frame(span, reader).map_err(NoAnswer::Unreadable)?;
            page(span, Some(name), all(list).from(first), &head, reader).map_err(NoAnswer::Unreadable)
        }
        PastAsk::Log { span } => {
            check_span(span, reader).map_err(NoAnswer::Refused)?;
            let first = first_frame(span, reader).map_err(NoAnswer::Unreadable)?;
            page(span, None, first..=head.frames, &head, reader).map_err(NoAnswer::Unreadable)
        }
        PastAsk::Export { after, limit } => export_piece(*after, *limit, archive),
    }
}

fn export_piece(after: Option<Place>, limit: usize, archive: &Archive) -> Result<Vec<u8>, NoAnswer> {
    let start = after.unwrap_or_else(|| Place::begin(&archive.reader));
    match pieces::piece(&archive.reader, &archive.key, start, limit) {
        Ok(piece) => {
            // Told at the end too: whoever makes a place up begins in the middle.
            match (start.is_begin(), piece.next.is_none()) {
                (true, _) => tracing::info!("an export of the whole log begins"),
                (_, true) => tracing::info!("an export of the log has come to its end, and to the directory's secret"),
                _ => {}
            }
            Ok(answer::export(&piece))
        }
        Err(NoPiece::Fault(fault)) => Err(NoAnswer::Unreadable(fault.to_string())),
        Err(NoPiece::Astray) => Err(NoAnswer::Refused(Refusal::BadRequest(format!(
            "after: expected the \"next\" of an export of this log, got {start}: begin again"
        )))),
    }
}

/// Every decision with an event from `seq` on, up to `through`: for publication after a crash or a lost connection.
pub fn recorded_from(
    archive: &Archive,
    seq: u64,
    through: u64,
) -> impl Iterator<Item = Result<Recorded, String>> + use<> {
    let reader = &archive.reader;
    let (frames, fault) = match reader.frame_of_seq(seq) {
        _ if seq < reader.first_seq() => (None, Some(Err(removed("seq", seq, reader)))),
        Ok(Some(frame)) => (Some(reader.frames(frame)), None),
        Ok(None) => (None, None),
        Err(fault) => (None, Some(Err(fault.to_string()))),
    };
    let entries = frames.into_iter().flatten().flat_map(|frame: Result<Frame, Fault>| match frame {
        Ok(frame) => frame.entries.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(fault) => vec![Err(fault.to_string())],
    });
    let wanted = entries.take_while(move |entry| entry.as_ref().map_or(true, |entry| entry.first_seq <= through));
    let recorded = wanted.filter_map(move |entry| match entry {
        Ok(entry) if entry.first_seq + u64::from(entry.events) <= seq => None,
        Ok(entry) => recorded(&entry).transpose(),
        Err(fault) => Some(Err(fault)),
    });
    fault.into_iter().chain(recorded)
}

/// The frames that hold what a question is about, found by looking through the whole log: for tools
/// that read a directory while nothing runs.
pub fn find_frames(reader: &Reader, id: Option<&ConversationId>) -> Result<Frames, String> {
    let (mut conversation, mut config, mut through) = (Vec::new(), Vec::new(), reader.first_number() - 1);
    for frame in reader.frames(1) {
        let frame = frame.map_err(|fault| fault.to_string())?;
        let number = frame.header.frame;
        through = number;
        for entry in &frame.entries {
            let name = Entry::parse(&entry.line)?.conversation;
            if name == CONFIG_ID && config.last() != Some(&number) {
                config.push(number);
            }
            if id.is_some_and(|id| id.as_str() == name) && conversation.last() != Some(&number) {
                conversation.push(number);
            }
        }
    }
    Ok(Frames { conversation: conversation.into_iter().collect(), config: config.into_iter().collect(), through })
}

fn recorded(entry: &log::Entry) -> Result<Option<Recorded>, String> {
    Entry::parse(&entry.line)?.recorded(&entry.line, entry.hash)
}

fn check_moment(at: Moment, reader: &Reader) -> Result<(), Refusal> {
    let head_seq = reader.head().next_seq - 1;
    match at {
        Moment::Seq(seq) if seq < reader.first_seq() && reader.base().is_some() => {
            Err(Refusal::BadRequest(removed("at_seq", seq, reader)))
        }
        Moment::Time(time) if time.0 < reader.beginning().last_at => {
            let began = Time(reader.beginning().last_at);
            Err(Refusal::BadRequest(format!(
                "at: expected {began} or later, got {time}: what was recorded before was removed from the log"
            )))
        }
        Moment::Seq(seq) if seq > head_seq => {
            Err(Refusal::BadRequest(format!("at_seq: expected at most {head_seq}, the last event there is, got {seq}")))
        }
        _ => Ok(()),
    }
}

/// Whoever names an event that was removed is told, and does not get others in its place.
fn check_span(span: &Span, reader: &Reader) -> Result<(), Refusal> {
    match span.from_seq {
        Some(seq) if seq < reader.first_seq() => Err(Refusal::BadRequest(removed("from_seq", seq, reader))),
        _ => Ok(()),
    }
}

fn removed(field: &str, seq: u64, reader: &Reader) -> String {
    format!("{field}: expected at least {}, got {seq}: the events before were removed from the log", reader.first_seq())
}

/// Whether the entry belongs to what was so at that moment: whole decisions only.
fn is_within(entry: &log::Entry, at: Moment) -> bool {
    match at {
        // A note bears the seq of the event after it: it belongs to what was so when that happened.
        Moment::Seq(seq) => entry.first_seq + u64::from(entry.events.saturating_sub(1)) <= seq,
        Moment::Time(time) => entry.at <= time.0,
    }
}

fn conversation_at(
    archive: &Archive,
    frames: Listed<'_>,
    id: &ConversationId,
    at: Moment,
) -> Result<Option<Conversation>, String> {
    let reader = &archive.reader;
    let mark = mark_before(archive, id, at).map_err(|fault| fault.to_string())?;
    let passed = mark.as_ref().map_or(0, |mark| mark.next_seq);
    let first = reader.frame_of_seq(passed.saturating_sub(1)).map_err(|fault| fault.to_string())?;
    let mut state = match mark {
        Some(mark) => Some(mark.c),
        None => base::conversation(reader, id)?,
    };
    for_entries(reader, frames.from(first.unwrap_or(1)), |entry, line| {
        let goes_on = is_within(entry, at);
        if goes_on && line.conversation == id.as_str() && entry.first_seq >= passed {
            line.fold(&mut state)?;
        }
        Ok(goes_on)
    })?;
    Ok(state)
}

/// A mark from which on the log need be read, with nothing in it that was later. A cache that cannot be asked has none.
fn mark_before(archive: &Archive, id: &ConversationId, at: Moment) -> Result<Option<Mark>, Fault> {
    let Some(cache) = &archive.cache else { return Ok(None) };
    let seq = match at {
        Moment::Seq(seq) => Some(seq),
        // Whatever stands before a frame that had begun was so by then.
        Moment::Time(time) => match archive.reader.frame_at(time.0)? {
            Some(frame) => archive.reader.header(frame)?.and_then(|header| header.first_seq.checked_sub(1)),
            None => None,
        },
    };
    Ok(seq.and_then(|seq| Mark::before(cache, id.as_str(), seq).ok().flatten()))
}

fn config_at(reader: &Reader, frames: Listed<'_>, at: Moment) -> Result<Config, String> {
    let mut config = Config::clone(&base::config(reader)?.config);
    for_entries(reader, frames.from(0), |entry, line| {
        let goes_on = is_within(entry, at);
        if goes_on && line.is_config() {
            line.fold_config(&mut config)?;
        }
        Ok(goes_on)
    })?;
    Ok(config)
}

/// The configuration as the log has it now.
pub fn config_now(reader: &Reader, frames: &[u64]) -> Result<Config, String> {
    let frames = frames.iter().copied().collect();
    config_at(reader, Listed { frames: &frames, through: 0, head: 0 }, Moment::Seq(u64::MAX))
}

fn for_entries(
    reader: &Reader,
    frames: impl Iterator<Item = u64>,
    mut visit: impl FnMut(&log::Entry, &Entry<'_>) -> Result<bool, String>,
) -> Result<(), String> {
    for number in frames {
        let frame = reader.frame(number).map_err(|fault| fault.to_string())?;
        let Some(frame) = frame else { return Ok(()) };
        for entry in &frame.entries {
            if !visit(entry, &Entry::parse(&entry.line)?)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn first_frame(span: &Span, reader: &Reader) -> Result<u64, String> {
    let head = reader.head();
    let by_seq = match span.from_seq {
        Some(seq) if seq >= head.next_seq => head.frames + 1,
        Some(seq) => reader.frame_of_seq(seq).map_err(|fault| fault.to_string())?.unwrap_or(1),
        None => reader.first_number(),
    };
    let by_time = match span.from {
        // The frame before the one that begins later may hold entries of that time too.
        Some(time) => reader.frame_at(time.0.saturating_sub(1)).map_err(|fault| fault.to_string())?.unwrap_or(1),
        None => 1,
    };
    Ok(by_seq.max(by_time))
}

/// What a page has come to.
enum Step {
    Next,
    /// The page is over; the next one starts at that seq, if there is one.
    Over(Option<u64>),
}

fn page(
    span: &Span,
    conversation: Option<&str>,
    frames: impl Iterator<Item = u64>,
    head: &Head,
    reader: &Reader,
) -> Result<Vec<u8>, String> {
    let head_seq = head.next_seq - 1;
    let mut events: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let mut looked_at = 0;
    let mut over = None;
    'frames: for number in frames {
        let Some(frame) = reader.frame(number).map_err(|fault| fault.to_string())? else { break };
        looked_at += 1;
        if looked_at > PAGE_FRAMES_MAX {
            over = Some(frame.header.first_seq);
            break;
        }
        for entry in frame.entries.iter().filter(|entry| entry.events > 0) {
            match page_entry(entry, span, conversation, &mut events, &mut bytes, reader)? {
                Step::Next => {}
                Step::Over(next) => {
                    over = next;
                    break 'frames;
                }
            }
        }
    }
    Ok(page_body(&events, over.filter(|seq| *seq <= head_seq), head_seq))
}

fn page_entry(
    entry: &log::Entry,
    span: &Span,
    conversation: Option<&str>,
    events: &mut Vec<Vec<u8>>,
    bytes: &mut usize,
    reader: &Reader,
) -> Result<Step, String> {
    let is_past = span.to_seq.is_some_and(|to| entry.first_seq > to) || span.to.is_some_and(|to| entry.at > to.0);
    if is_past {
        return Ok(Step::Over(None));
    }
    let last_seq = entry.first_seq + u64::from(entry.events) - 1;
    let is_before =
        span.from_seq.is_some_and(|from| last_seq < from) || span.from.is_some_and(|from| entry.at < from.0);
    if is_before {
        return Ok(Step::Next);
    }
    let line = Entry::parse(&entry.line)?;
    if conversation.is_some_and(|name| line.conversation != name) || !is_by(&line, span.by.as_deref()) {
        return Ok(Step::Next);
    }
    let Some(recorded) = line.recorded(&entry.line, entry.hash)? else { return Ok(Step::Next) };
    let log_id = reader.log_id().to_string();
    for event in &recorded.events {
        let is_asked =
            span.from_seq.is_none_or(|from| event.seq >= from) && span.to_seq.is_none_or(|to| event.seq <= to);
        if !is_asked || !(span.types.is_empty() || span.types.iter().any(|name| name == event.full_name)) {
            continue;
        }
        let mut out = Vec::with_capacity(1024);
        let id = event_id(&log_id, event.seq, &recorded.hash);
        write_event(&mut out, &log_id, &id, &recorded, event);
        let is_full = events.len() >= span.limit || (*bytes + out.len() > PAGE_BYTES_MAX && !events.is_empty());
        if is_full {
            return Ok(Step::Over(Some(event.seq)));
        }
        *bytes += out.len();
        events.push(out);
    }
    Ok(Step::Next)
}

fn is_by(line: &Entry<'_>, name: Option<&str>) -> bool {
    let (Some(name), Some(by)) = (name, &line.by) else { return name.is_none() };
    match &by.name {
        Some(caller) => caller.as_str() == name,
        None => serde_json::to_value(by.role).is_ok_and(|role| role == name),
    }
}

fn page_body(events: &[Vec<u8>], next_seq: Option<u64>, head_seq: u64) -> Vec<u8> {
    let mut line = super::line::Line::with_capacity(64 + events.iter().map(|event| event.len() + 1).sum::<usize>());
    line.open();
    line.list("events", events, |line, event| line.raw(event));
    line.field("next_seq", &next_seq);
    line.field("head_seq", &head_seq);
    line.close();
    line.into_bytes()
}

fn closed_page(job: &mut ListJob, archive: &Archive) -> Result<(), Refusal> {
    let Some(cache) = &archive.cache else { return Ok(()) };
    // Whoever looks further, because all that was found is open again, looks as far again as before.
    let wanted = (job.ask.limit.saturating_sub(job.rows.len()) + 1).max(job.looked_at.min(PAGE_MATCHES_MAX));
    let most = PAGE_CLOSED_MAX.saturating_sub(job.looked_at).max(1);
    let mut last = None;
    for (at, found) in cache.closed_after(job.ask.after.as_deref(), most + 1).enumerate() {
        if at == most || job.closed.len() >= wanted {
            job.closed_through = last;
            return Ok(());
        }
        job.looked_at += 1;
        let (id, head) = found.map_err(|error| unreadable(error.to_string()))?;
        let found = closed_if_asked(&job.ask, &id, &head).inspect_err(|_| cache.doubt()).map_err(unreadable)?;
        job.closed.extend(found);
        last = Some(Arc::from(id));
    }
    Ok(())
}

fn closed_if_asked(ask: &ListAsk, id: &str, head: &[u8]) -> Result<Option<Conversation>, String> {
    if !ask.may_match(&head::glance(head)?) {
        return Ok(None);
    }
    let id = ConversationId::parse(id).map_err(|bad| bad.to_string())?;
    let c = head::conversation(&id, head)?;
    Ok(ask.matches(&c).then_some(c))
}

/// A log that cannot be read is a failure; the caller hears that the outcome is not known.
fn unreadable(text: String) -> Refusal {
    tracing::error!(text, "the log or the cache could not be read");
    Refusal::LogFailed
}
