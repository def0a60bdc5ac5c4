//! `export`: a log as text, one entry a line, for copies, for moving, and for erasing what is personal.
//!
//! Of a directory while nothing runs on it, or of a service that goes on meanwhile: the same text.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::backup::{Service, copy};
use super::examination::{Examination, Halt};
use super::failure::Failure;
use crate::domain::ConversationId;
use crate::log::export::Exporter;
use crate::log::{Base, Entry};
use crate::switchboard::base;

/// What is to be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// Where the log is.
    pub origin: Origin,
    /// Conversations whose personal values are left out.
    pub redact: Vec<ConversationId>,
}

/// Where the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a data directory that nothing runs on.
    Directory(PathBuf),
    /// With a running switchboard.
    Service(Service),
}

/// Exports to standard output.
pub fn run(options: &ExportOptions) -> Result<(), Failure> {
    export(options, &mut BufWriter::new(io::stdout()))
}

/// Exports a log. Up to a fault everything is written; the last line is not, so nobody takes it for whole.
pub fn export(options: &ExportOptions, out: &mut dyn Write) -> Result<(), Failure> {
    let eraser = Eraser::of(&options.redact);
    match &options.origin {
        Origin::Directory(data) => export_directory(data, eraser, out),
        Origin::Service(service) => copy(service, eraser, out),
    }
}

fn export_directory(data: &Path, mut eraser: Eraser<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let mut examination = Examination::open(data)?;
    let mut lines = Vec::new();
    let base = examination.reader().base().cloned();
    let mut exporter = Exporter::begin(examination.directory().log_id(), base.is_some(), &mut lines);
    out.write_all(&lines)?;
    lines.clear();
    let begun = base.map_or(Ok(()), |base| export_base(&base, &mut eraser, &mut exporter, out));
    let walked = begun.and_then(|()| {
        examination.walk(|frame| {
            for mut entry in frame.entries {
                eraser.erase(&mut entry)?;
                exporter.entry(&entry, &mut lines);
            }
            out.write_all(&lines).map_err(Failure::from)?;
            lines.clear();
            Ok(())
        })
    });
    out.write_all(&lines)?;
    lines.clear();
    if walked.is_ok() && eraser.has_seen_all() {
        exporter.end(Some(examination.directory().key()), &mut lines);
    }
    out.write_all(&lines)?;
    out.flush()?;
    match walked {
        Ok(()) => eraser.finish(),
        Err(Halt::Failure(failure)) => Err(failure),
        Err(Halt::Fault(text)) => Err(Failure::Found(format!(
            "{}: {text}; everything before it is exported, without a last line: an import refuses it",
            data.display()
        ))),
    }
}

/// Writes what everything was where the log begins.
pub(super) fn export_base(
    base: &Arc<Base>,
    eraser: &mut Eraser<'_>,
    exporter: &mut Exporter,
    out: &mut dyn Write,
) -> Result<(), Halt> {
    let mut lines = Vec::new();
    for line in base.lines() {
        let (key, line) = line.map_err(|fault| Halt::Fault(fault.to_string()))?;
        exporter.state(&key, &eraser.erase_state(&key, line)?, &mut lines);
        out.write_all(&lines).map_err(Failure::from)?;
        lines.clear();
    }
    exporter.base(base.end(), base.is_erased() || eraser.has_erased_state, &mut lines);
    Ok(out.write_all(&lines).map_err(Failure::from)?)
}

/// Drops personal values of some conversations.
#[derive(Default)]
pub struct Eraser<'a> {
    conversations: BTreeSet<&'a str>,
    unseen: BTreeSet<&'a str>,
    /// Whether it dropped any of what everything was where the log begins.
    pub has_erased_state: bool,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    conversation: std::borrow::Cow<'a, str>,
}

impl<'a> Eraser<'a> {
    fn of(ids: &'a [ConversationId]) -> Eraser<'a> {
        let conversations: BTreeSet<&str> = ids.iter().map(ConversationId::as_str).collect();
        Eraser { unseen: conversations.clone(), conversations, has_erased_state: false }
    }

    /// Drops the entry's personal values where they are to go.
    pub fn erase(&mut self, entry: &mut Entry) -> Result<(), Halt> {
        if self.conversations.is_empty() {
            return Ok(());
        }
        let named: Named<'_> = serde_json::from_slice(&entry.line)
            .map_err(|error| Halt::Fault(format!("seq {}: expected an entry of the log: {error}", entry.first_seq)))?;
        self.unseen.remove(&*named.conversation);
        if self.conversations.contains(&*named.conversation) {
            entry.redact();
        }
        Ok(())
    }

    /// A line of the log's base without personal values, where they are to go.
    pub fn erase_state(&mut self, key: &str, line: Vec<u8>) -> Result<Vec<u8>, Halt> {
        self.unseen.remove(key);
        if !self.conversations.contains(key) {
            return Ok(line);
        }
        self.has_erased_state = true;
        base::erased(&line).map_err(Halt::Fault)
    }

    /// Whether every one of the conversations was there.
    pub fn has_seen_all(&self) -> bool {
        self.unseen.is_empty()
    }

    /// A conversation that is not there was spelt otherwise, and nobody may think that it was erased.
    pub fn finish(self) -> Result<(), Failure> {
        if self.unseen.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.unseen.into_iter().collect();
        Err(Failure::text(format!(
            "--redact: expected conversations of this log, got {}: the export is left without its last line",
            names.join(", ")
        )))
    }
}
