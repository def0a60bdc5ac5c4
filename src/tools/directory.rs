//! A data directory read while no switchboard runs on it: the answers are those that the service would give.
//!
//! There is no index beside the log that could be trusted here, so what a question is about is found by reading
//! through the log, once for all pages. Of a damaged log what stands before the fault is read, and the fault told.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::Failure;
use super::source::{Question, SourceError};
use crate::domain::{Config, Conversation, ConversationId, Time};
use crate::log::{Directory, DiskLog, Fault, Inspection, Log, LogError, Reader};
use crate::switchboard::paged::Ascending;
use crate::switchboard::past::NoAnswer;
use crate::switchboard::port::{Frames, ListAsk, Moment, PastAsk};
use crate::switchboard::record::Entry;
use crate::switchboard::{Archive, answer, base, past};

/// Most conversations held at once for a listing, about 100 MB; beyond, the log is read through again.
const FOLDED_MAX: usize = 100_000;

/// The end of time: everything there is.
const ALWAYS: Moment = Moment::Time(Time(u64::MAX));

/// A data directory, opened for reading; locked while it is.
pub struct DirectoryArchive {
    path: PathBuf,
    archive: Archive,
    found: Option<(Option<ConversationId>, Frames)>,
    folded: Option<Folded>,
    fault: Option<Fault>,
}

/// Conversations as the log leaves them: the first so many by id after a given one.
struct Folded {
    after: String,
    conversations: BTreeMap<String, Conversation>,
    has_more: bool,
    config: Config,
}

impl DirectoryArchive {
    /// Opens a data directory that holds a log.
    pub fn open(path: &Path) -> Result<DirectoryArchive, Failure> {
        let failure = |error: LogError| Failure::Fault(Box::new(error));
        let directory = Arc::new(Directory::open(path).map_err(failure)?);
        let key = *directory.key();
        let (reader, fault) = match DiskLog::open(directory.clone()) {
            Ok(log) => (log.reader(), None),
            // Something of it is not as it was; before that the log still holds.
            Err(error @ (LogError::Fault(_) | LogError::Shortened { .. } | LogError::VolumeLost { .. })) => {
                let inspection = Inspection::open(directory).map_err(failure)?;
                let (reader, fault) = inspection.reader().before_fault().ok_or_else(|| failure(error))?;
                (reader, Some(fault))
            }
            Err(error) => return Err(failure(error)),
        };
        let archive = Archive { reader, cache: None, key };
        Ok(DirectoryArchive { path: path.to_owned(), archive, found: None, folded: None, fault })
    }

    /// What was read is everything, or it ends where the log is damaged.
    pub fn conclude(&self) -> Result<(), Failure> {
        match &self.fault {
            None => Ok(()),
            Some(fault) => Err(Failure::Found(format!(
                "{}: {fault}; what stands before it was read: look with switchboard verify",
                self.path.display()
            ))),
        }
    }

    /// The body of the answer to a question.
    pub fn answer(&mut self, question: &Question) -> Result<Vec<u8>, Failure> {
        match self.read(question) {
            Err(failure) if self.fault.is_none() => {
                let Some((reader, fault)) = self.archive.reader.before_fault() else { return Err(failure) };
                (self.archive.reader, self.fault) = (reader, Some(fault));
                (self.found, self.folded) = (None, None);
                self.read(question)
            }
            read => read,
        }
    }

    fn read(&mut self, question: &Question) -> Result<Vec<u8>, Failure> {
        match question {
            Question::Conversation { id, at } => {
                let ask = PastAsk::Conversation { id: id.clone(), at: at.unwrap_or(ALWAYS) };
                self.past(&ask, Some(id))
            }
            Question::History { id, span } => {
                let ask = PastAsk::History { id: id.clone(), span: span.clone() };
                self.past(&ask, id.as_ref())
            }
            Question::Log { span } => {
                let frames = Frames { conversation: Ascending::default(), config: Ascending::default(), through: 0 };
                self.answered(&PastAsk::Log { span: span.clone() }, &frames)
            }
            Question::Conversations(ask) => self.list(ask),
        }
    }

    fn past(&mut self, ask: &PastAsk, id: Option<&ConversationId>) -> Result<Vec<u8>, Failure> {
        let known = self.found.take().filter(|(found, _)| found.as_ref() == id);
        let frames = match known {
            Some((_, frames)) => frames,
            None => past::find_frames(&self.archive.reader, id).map_err(|text| self.unreadable(&text))?,
        };
        let body = self.answered(ask, &frames);
        self.found = Some((id.cloned(), frames));
        body
    }

    fn answered(&self, ask: &PastAsk, frames: &Frames) -> Result<Vec<u8>, Failure> {
        past::answer_past(ask, frames, &self.archive).map_err(|none| match none {
            NoAnswer::Unreadable(text) => self.unreadable(&text),
            NoAnswer::Refused(refusal) => SourceError::from(refusal).into(),
        })
    }

    fn list(&mut self, ask: &ListAsk) -> Result<Vec<u8>, Failure> {
        let after = ask.after.as_deref().unwrap_or_default();
        let folded = match self.folded.take().filter(|folded| folded.reaches_beyond(after)) {
            Some(folded) => folded,
            None => Folded::read(&self.archive.reader, after).map_err(|text| self.unreadable(&text))?,
        };
        let body = folded.page(ask, after);
        self.folded = Some(folded);
        Ok(body)
    }

    fn unreadable(&self, text: &str) -> Failure {
        Failure::text(format!("the log in {} cannot be read: {text}", self.path.display()))
    }
}

impl Folded {
    /// Reads through the whole log. An id beyond the first so many is dropped with everything of it, and as the
    /// bound only sinks it never comes back in part.
    fn read(reader: &Reader, after: &str) -> Result<Folded, String> {
        let mut states: BTreeMap<String, Option<Conversation>> = BTreeMap::new();
        let mut config = Config::clone(&base::config(reader)?.config);
        let mut has_more = false;
        for lines in base::conversations(reader) {
            let c = lines?;
            if c.id.as_str() > after && states.len() <= FOLDED_MAX {
                states.insert(c.id.to_string(), Some(c));
            }
        }
        if states.len() > FOLDED_MAX {
            states.pop_last();
            has_more = true;
        }
        for frame in reader.frames(1) {
            for entry in frame.map_err(|fault| fault.to_string())?.entries {
                let line = Entry::parse(&entry.line)?;
                if line.is_config() {
                    line.fold_config(&mut config)?;
                    continue;
                }
                let is_beyond =
                    has_more && states.last_key_value().is_some_and(|(last, _)| *line.conversation > **last);
                if *line.conversation <= *after || is_beyond {
                    continue;
                }
                line.fold(states.entry(line.conversation.to_string()).or_default())?;
                if states.len() > FOLDED_MAX {
                    states.pop_last();
                    has_more = true;
                }
            }
        }
        let conversations = states.into_iter().filter_map(|(id, state)| Some((id, state?))).collect();
        Ok(Folded { after: after.to_owned(), conversations, has_more, config })
    }

    fn reaches_beyond(&self, after: &str) -> bool {
        let ends_later = self.conversations.last_key_value().is_some_and(|(last, _)| **last > *after);
        *self.after <= *after && (ends_later || !self.has_more)
    }

    fn page(&self, ask: &ListAsk, after: &str) -> Vec<u8> {
        let rest = self.conversations.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
        let mut matching = rest.filter(|(_, c)| ask.matches(c));
        let (mut rows, mut last) = (Vec::new(), None);
        for (id, c) in matching.by_ref().take(ask.limit) {
            rows.push(answer::row(c, self.config.settings(&c.channel)));
            last = Some(id.as_str());
        }
        let next = match matching.next() {
            Some(_) => last,
            None if self.has_more => self.conversations.last_key_value().map(|(id, _)| id.as_str()),
            None => None,
        };
        answer::page(&rows, next)
    }
}
