//! Where the past is read from: a running switchboard, or its data directory while it does not run.
//!
//! Both give the same answers in the same JSON, so what is shown does not depend on where it came from.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::directory::DirectoryArchive;
use super::failure::Failure;
use super::nats::{ANSWER_WAIT, Access, Connection, NatsError};
use crate::domain::words::CONFIG_ID;
use crate::domain::{ConversationId, Refusal};
use crate::switchboard::port::{ListAsk, Moment, Span};

/// Events or conversations asked for at once.
const PAGE_MAX: usize = 1000;

/// Where to read from, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A running switchboard.
    Nats(Access),
    /// A data directory.
    Directory(PathBuf),
}

/// Where to read from, opened.
pub enum Source {
    /// A running switchboard.
    Nats(Box<Connection>),
    /// A data directory.
    Directory(Box<DirectoryArchive>),
}

/// What can be asked of either.
#[derive(Debug, Clone)]
pub enum Question {
    /// How a conversation stands, or stood.
    Conversation {
        /// Which.
        id: ConversationId,
        /// When; none is now.
        at: Option<Moment>,
    },
    /// Which conversations there are.
    Conversations(Box<ListAsk>),
    /// The events of one conversation, or, none, of the configuration.
    History {
        /// Which.
        id: Option<ConversationId>,
        /// Which of them.
        span: Span,
    },
    /// The events of everything.
    Log {
        /// Which of them.
        span: Span,
    },
}

/// Why there is no answer to a question.
#[derive(Debug)]
pub enum SourceError {
    /// It was refused.
    Refused {
        /// The code.
        code: String,
        /// What was wrong, and what to do.
        message: String,
    },
    /// The answer is not one that can be read.
    Unreadable(serde_json::Error),
    /// A page says that the next one starts where it started itself.
    Astray {
        /// There.
        seq: u64,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::Refused { code, message } => write!(f, "{message} ({code})"),
            SourceError::Unreadable(_) => {
                f.write_str("cannot read the answer: is the switchboard of another version than this program?")
            }
            SourceError::Astray { seq } => {
                write!(f, "a page from seq {seq} names itself as the next: is the switchboard of another version?")
            }
        }
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SourceError::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Failure {
        Failure::Fault(Box::new(error))
    }
}

impl From<NatsError> for Failure {
    fn from(error: NatsError) -> Failure {
        Failure::Fault(Box::new(error))
    }
}

impl From<Refusal> for SourceError {
    fn from(refusal: Refusal) -> SourceError {
        SourceError::Refused { code: refusal.code().into(), message: refusal.message() }
    }
}

/// A page of events, each exactly as it was published.
#[derive(Debug, Deserialize)]
pub struct EventsPage<'a> {
    /// The events.
    #[serde(borrow)]
    pub events: Vec<&'a RawValue>,
    /// Where the next page starts; none where there is none.
    pub next_seq: Option<u64>,
    /// The last event of the whole log.
    pub head_seq: u64,
}

#[derive(Deserialize)]
struct ConversationsPage<'a> {
    #[serde(borrow)]
    conversations: Vec<&'a RawValue>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct ConversationAnswer {
    conversation: Box<RawValue>,
}

impl Source {
    /// Opens the place.
    pub fn open(place: &Place) -> Result<Source, Failure> {
        Ok(match place {
            Place::Nats(access) => Source::Nats(Box::new(Connection::open(access)?)),
            Place::Directory(path) => Source::Directory(Box::new(DirectoryArchive::open(path)?)),
        })
    }

    /// How a conversation stands, or stood.
    pub fn conversation(&mut self, id: &ConversationId, at: Option<Moment>) -> Result<Box<RawValue>, Failure> {
        let body = self.answer(&Question::Conversation { id: id.clone(), at })?;
        let answer: ConversationAnswer = serde_json::from_slice(&body).map_err(SourceError::Unreadable)?;
        Ok(answer.conversation)
    }

    /// Hands over the events asked for, page by page, in order.
    pub fn events(
        &mut self,
        mut question: Question,
        mut take: impl FnMut(&EventsPage<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let next = self.page(&mut question, &mut take)?;
            let (Some(next), Some(span)) = (next, question.span()) else { return Ok(()) };
            if span.from_seq.is_some_and(|from| next <= from) {
                return Err(SourceError::Astray { seq: next }.into());
            }
            span.from_seq = Some(next);
        }
    }

    /// Hands over the first of the events asked for, if there is one.
    pub fn first_event(
        &mut self,
        mut question: Question,
        mut take: impl FnMut(&RawValue) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let mut is_found = false;
            let next = self.page(&mut question, &mut |page| {
                is_found = !page.events.is_empty();
                page.events.first().map_or(Ok(()), |event| take(event))
            })?;
            match (next.filter(|_| !is_found), question.span()) {
                (Some(next), Some(span)) => span.from_seq = Some(next),
                _ => return Ok(()),
            }
        }
    }

    /// Hands over one page; where the next one starts.
    fn page(
        &mut self,
        question: &mut Question,
        take: &mut impl FnMut(&EventsPage<'_>) -> Result<(), Failure>,
    ) -> Result<Option<u64>, Failure> {
        let body = self.fitting_answer(question)?;
        let page: EventsPage<'_> = serde_json::from_slice(&body).map_err(SourceError::Unreadable)?;
        take(&page)?;
        Ok(page.next_seq)
    }

    /// Hands over the conversations asked for, page by page, in order of their ids.
    pub fn conversations(
        &mut self,
        ask: ListAsk,
        mut take: impl FnMut(&[&RawValue]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut question = Question::Conversations(Box::new(ListAsk { limit: PAGE_MAX, ..ask }));
        loop {
            let body = self.fitting_answer(&mut question)?;
            let page: ConversationsPage<'_> = serde_json::from_slice(&body).map_err(SourceError::Unreadable)?;
            take(&page.conversations)?;
            let (Some(next), Question::Conversations(ask)) = (page.next, &mut question) else { return Ok(()) };
            ask.after = Some(next.into());
        }
    }

    /// Says at the end where not everything could be read.
    pub fn conclude(&self) -> Result<(), Failure> {
        match self {
            Source::Nats(_) => Ok(()),
            Source::Directory(archive) => archive.conclude(),
        }
    }

    /// The answer, to less than was asked for where all of it is more than the NATS server takes.
    fn fitting_answer(&mut self, question: &mut Question) -> Result<Bytes, Failure> {
        loop {
            match self.answer(question) {
                Err(failure) if is_too_large(&failure) && question.asks_less() => {}
                answer => return answer,
            }
        }
    }

    fn answer(&mut self, question: &Question) -> Result<Bytes, Failure> {
        match self {
            Source::Nats(connection) => {
                let body = serde_json::to_vec(&question.body()).map_err(SourceError::Unreadable)?;
                let answer = connection.ask(&question.subject(), HeaderMap::new(), body, ANSWER_WAIT)?;
                if answer.is_refusal { Err(refusal(&answer.body).into()) } else { Ok(answer.body) }
            }
            Source::Directory(archive) => Ok(archive.answer(question)?.into()),
        }
    }
}

fn is_too_large(failure: &Failure) -> bool {
    let Failure::Fault(error) = failure else { return false };
    let refused = error.downcast_ref::<SourceError>();
    matches!(refused, Some(SourceError::Refused { code, .. }) if code == "answer_too_large")
}

/// The refusal that an answer says it is.
pub fn refusal(body: &[u8]) -> SourceError {
    #[derive(Deserialize)]
    struct Refused {
        error: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        code: String,
        message: String,
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => SourceError::Refused { code: refused.error.code, message: refused.error.message },
        Err(error) => SourceError::Unreadable(error),
    }
}

impl Question {
    /// Which part of the past it is about, where it is about a part.
    fn span(&mut self) -> Option<&mut Span> {
        match self {
            Question::History { span, .. } | Question::Log { span } => Some(span),
            _ => None,
        }
    }

    /// Asks for half a page; false where there is none.
    fn asks_less(&mut self) -> bool {
        let limit = match self {
            Question::Conversations(ask) => &mut ask.limit,
            Question::History { span, .. } | Question::Log { span } => &mut span.limit,
            Question::Conversation { .. } => return false,
        };
        *limit /= 2;
        *limit > 0
    }

    /// The subject of the query, below the prefix.
    fn subject(&self) -> String {
        match self {
            Question::Conversation { id, .. } => format!("query.conversation.{id}"),
            Question::Conversations(_) => "query.conversations".into(),
            Question::History { id, .. } => {
                format!("query.history.{}", id.as_ref().map_or(CONFIG_ID, ConversationId::as_str))
            }
            Question::Log { .. } => "query.log".into(),
        }
    }

    /// The body of the query.
    fn body(&self) -> Value {
        match self {
            Question::Conversation { at: None, .. } => json!({}),
            Question::Conversation { at: Some(Moment::Seq(seq)), .. } => json!({ "at_seq": seq }),
            Question::Conversation { at: Some(Moment::Time(time)), .. } => json!({ "at": time }),
            Question::Conversations(ask) => list_body(ask),
            Question::History { span, .. } | Question::Log { span } => span_body(span),
        }
    }
}

fn span_body(span: &Span) -> Value {
    let mut body = Map::new();
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(field.into(), value);
        }
    };
    set("from_seq", span.from_seq.map(|seq| json!(seq)));
    set("to_seq", span.to_seq.map(|seq| json!(seq)));
    set("from", span.from.map(|time| json!(time)));
    set("to", span.to.map(|time| json!(time)));
    set("types", (!span.types.is_empty()).then(|| json!(span.types)));
    set("by", span.by.as_ref().map(|name| json!(name)));
    set("limit", Some(json!(if span.limit == 0 { PAGE_MAX } else { span.limit })));
    Value::Object(body)
}

fn list_body(ask: &ListAsk) -> Value {
    let mut body = Map::new();
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(field.into(), value);
        }
    };
    set("status", (!ask.status.is_empty()).then(|| json!(ask.status)));
    set("owner", ask.owner.as_ref().map(|owner| json!(owner)));
    set("offered_to", ask.offered_to.as_ref().map(|name| json!(name)));
    set("channel", ask.channel.as_ref().map(|name| json!(name)));
    set("user", ask.user.as_ref().map(|user| json!(user)));
    set("waiting_before", ask.waiting_before.map(|time| json!(time)));
    set("idle_before", ask.idle_before.map(|time| json!(time)));
    set("after", ask.after.as_ref().map(|after| json!(after)));
    set("limit", Some(json!(ask.limit)));
    Value::Object(body)
}

/// A part of the past as large as a page may be.
pub fn whole_span() -> Span {
    Span { limit: PAGE_MAX, ..Span::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::conversation::Status;
    use crate::domain::{Name, Time};

    fn valid(schema: &str, body: &Value) {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
        let read = |name: &str| -> Value {
            serde_json::from_str(&std::fs::read_to_string(format!("{root}/{name}")).unwrap()).unwrap()
        };
        let common = jsonschema::Registry::new()
            .add("urn:switchboard:schema:1:common", read("common.json"))
            .and_then(|registry| registry.prepare())
            .unwrap();
        let validator = jsonschema::options().with_registry(&common).build(&read(schema)).unwrap();
        let faults: Vec<String> = validator.iter_errors(body).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{schema}: {faults:?} in {body}");
    }

    #[test]
    fn questions_are_asked_as_the_contract_has_it() {
        let id = ConversationId::parse("c-1").unwrap();
        let time = Time::parse("2026-11-22T14:00:00Z").unwrap();
        let at = |at| Question::Conversation { id: id.clone(), at };
        for question in [at(None), at(Some(Moment::Seq(7))), at(Some(Moment::Time(time)))] {
            assert_eq!(question.subject(), "query.conversation.c-1");
            valid("request/query.conversation.json", &question.body());
        }
        let types = vec!["switchboard.control.passed".to_owned()];
        let span = Span { from_seq: Some(1), to: Some(time), types, by: Some("agents".into()), ..whole_span() };
        let question = Question::History { id: None, span: span.clone() };
        assert_eq!(question.subject(), "query.history._config");
        valid("request/query.history.json", &question.body());
        valid("request/query.log.json", &Question::Log { span }.body());
    }

    #[test]
    fn a_list_is_asked_for_as_the_contract_has_it() {
        let name = Name::parse("agents").unwrap();
        let all = ListAsk { limit: PAGE_MAX, ..ListAsk::default() };
        assert_eq!(list_body(&all), json!({ "limit": PAGE_MAX }));
        let narrow = ListAsk {
            status: vec![Status::Open, Status::Ending],
            owner: Some(None),
            offered_to: Some(name.clone()),
            channel: Some(name),
            waiting_before: Some(Time(1)),
            idle_before: Some(Time(2)),
            after: Some("c-1".into()),
            ..all
        };
        assert_eq!(list_body(&narrow)["owner"], Value::Null);
        valid("request/query.conversations.json", &list_body(&narrow));
    }

    #[test]
    fn a_refusal_is_told_with_its_code() {
        let refused = refusal(include_bytes!("../../schemas/examples/error.json"));
        assert!(refused.to_string().ends_with("(stale_version)"), "{refused}");
        assert!(matches!(refusal(b"not json"), SourceError::Unreadable(_)));
    }
}
