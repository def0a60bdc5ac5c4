//! `import`: an export becomes a data directory again, whole or not at all.
//!
//! The chain is followed line by line. What is imported counts as published, or every consumer would hear
//! years again; whoever lost events after a copy was made says from which one on.

use std::io::{self, BufRead, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::export_file::Under;
use super::failure::Failure;
use super::progress::Progress;
use super::screen::Screen;
use super::table::write_pairs;
use crate::log::export::{BadExport, EXPORT_LINE_BYTES_MAX, Exported, Importer};
use crate::log::{BaseWriter, Directory, DiskLog, Draft, Entry, Head, Log, LogError};
use crate::switchboard::audit::Audit;
use crate::switchboard::{base, record};

/// Entries that are brought onto stable storage together.
const GROUP_ENTRIES_MAX: usize = 2048;
/// Bytes of lines that are gathered for that.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Where an export is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The data directory, empty or not there.
    pub data: PathBuf,
    /// The first event that counts as not published yet; none where all count as published.
    pub publish_from: Option<u64>,
    /// Whether an export that lacks its end is taken too: what was saved of a damaged log.
    pub cut: bool,
}

/// Imports from standard input and tells what came in.
pub fn run(options: &ImportOptions) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::Usage(vec![
            "expected an export on standard input: switchboard import < log.ndjson".into(),
        ]));
    }
    import(options, &mut io::stdin().lock(), &mut BufWriter::new(io::stdout()), Screen::of_stdout())
}

/// Imports an export, and writes what came in.
pub fn import(
    options: &ImportOptions,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    screen: Screen,
) -> Result<(), Failure> {
    let mut lines = Lines { input, importer: Importer::default(), line: Vec::new(), may_be_cut: options.cut };
    let log_id = match lines.next()? {
        Some(Exported::Begin(log_id)) => log_id,
        _ => return Err(refused(&lines.importer.cut(b""))),
    };
    let is_folder_ours = !options.data.exists();
    let directory = Arc::new(Directory::create(&options.data, log_id).map_err(fault)?);
    match fill(options, &directory, &mut lines) {
        Ok(imported) => imported.tell(log_id.to_string(), out, screen),
        Err(failure) => {
            let discarded = Arc::into_inner(directory).map_or(Ok(()), |directory| directory.discard(is_folder_ours));
            discarded.map_err(|error| {
                Failure::text(format!("{failure}; and what was imported up to there could not be removed: {error}"))
            })?;
            Err(failure)
        }
    }
}

struct Imported {
    entries: u64,
    head: Head,
    is_cut: bool,
    has_key: bool,
}

impl Imported {
    fn tell(&self, log_id: String, out: &mut dyn Write, screen: Screen) -> Result<(), Failure> {
        let Head { next_seq, published_through, .. } = self.head;
        let published = match published_through + 1 {
            next if next >= next_seq => "all".into(),
            next => format!("up to seq {published_through}; the next start publishes from seq {next} on"),
        };
        let repeats = match self.has_key {
            true => "of commands decided before are known",
            false if self.is_cut => "of commands decided before are refused as command_id_reused: the end is missing",
            false => "of commands decided before are refused as command_id_reused: values were erased",
        };
        let pairs = [
            ("log", log_id),
            ("entries", self.entries.to_string()),
            ("events", (next_seq - 1).to_string()),
            ("published", published),
            ("repeats", repeats.into()),
        ];
        write_pairs(out, &pairs, screen)?;
        Ok(out.flush()?)
    }
}

/// Fills the directory, and makes it count once everything is there.
fn fill(options: &ImportOptions, directory: &Arc<Directory>, lines: &mut Lines<'_>) -> Result<Imported, Failure> {
    if lines.importer.awaits_base() {
        let first_seq = take_base(directory, lines)?;
        if let Some(seq) = options.publish_from.filter(|seq| *seq < first_seq) {
            let text = format!("--publish-from: expected at least {first_seq}, got {seq}: the log begins there");
            return Err(Failure::Usage(vec![text]));
        }
    }
    let mut log = DiskLog::open(directory.clone()).map_err(fault)?;
    let published_max = options.publish_from.map_or(u64::MAX, |seq| seq.saturating_sub(1));
    let progress = Progress::new(None, "entries");
    let mut group = Group::default();
    let end = loop {
        match lines.next()? {
            Some(Exported::Entry(entry)) => group.push(entry, lines)?,
            Some(Exported::End(key)) => break Some(key),
            None if options.cut => break None,
            _ => return Err(refused(&lines.importer.cut(b""))),
        }
        if group.is_full() {
            group.append(&mut log, published_max)?;
            progress.reached(lines.importer.entries());
        }
    };
    if end.is_some() && lines.next()?.is_some() {
        return Err(refused(&lines.importer.cut(b"")));
    }
    group.append(&mut log, published_max)?;
    progress.finish();
    let head = log.reader().head();
    if let Some(seq) = options.publish_from.filter(|seq| *seq > head.next_seq) {
        let (last, next) = (head.next_seq - 1, head.next_seq);
        let text =
            format!("--publish-from: expected at most {next}, got {seq}: the export holds events up to seq {last}");
        return Err(Failure::Usage(vec![text]));
    }
    Box::new(log).close(head.published_through).map_err(fault)?;
    let key = end.flatten();
    directory.finish(key).map_err(fault)?;
    Ok(Imported { entries: lines.importer.entries(), head, is_cut: end.is_none(), has_key: key.is_some() })
}

/// Takes in what everything was where the log begins; the seq of its first event.
fn take_base(directory: &Directory, lines: &mut Lines<'_>) -> Result<u64, Failure> {
    let mut writer = BaseWriter::begin(directory, 0).map_err(fault)?;
    let mut under = Under::default();
    loop {
        match lines.next()? {
            Some(Exported::State(key, state)) => {
                base::check(&key, &state).map_err(|text| lines.refused(text))?;
                // What is held to the rules is forgotten at once: they are about one conversation each.
                let taken = under.take(&mut Audit::default(), key.clone(), state.clone());
                taken.map_err(|text| lines.refused(text))?;
                writer.add(&key, &state).map_err(|error| lines.refused(error.to_string()))?;
            }
            Some(Exported::Base(end, is_erased)) => {
                under.finish(&mut Audit::default()).map_err(|text| lines.refused(text))?;
                writer.finish(&end, is_erased).map_err(fault)?;
                directory.begin_with_base().map_err(fault)?;
                return Ok(end.next_seq);
            }
            _ => return Err(refused(&lines.importer.cut(b""))),
        }
    }
}

#[derive(Default)]
struct Group {
    drafts: Vec<Draft>,
    bytes: usize,
}

impl Group {
    fn push(&mut self, entry: Entry, lines: &Lines<'_>) -> Result<(), Failure> {
        let line = lines.importer.entries() + 1;
        let read = record::Entry::parse(&entry.line).map_err(|text| refused(&BadExport { line, text }));
        let conversation = Arc::from(&*read?.conversation);
        self.bytes += entry.line.len();
        // The version is for logs with several writers; an import is alone.
        self.drafts.push(entry.into_draft(conversation, 0));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.drafts.len() >= GROUP_ENTRIES_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    fn append(&mut self, log: &mut DiskLog, published_max: u64) -> Result<(), Failure> {
        let Some(last) = self.drafts.last() else { return Ok(()) };
        let last_seq = last.first_seq + u64::from(last.events) - 1;
        log.append(&self.drafts, last_seq.min(published_max)).map_err(fault)?;
        *self = Group::default();
        Ok(())
    }
}

/// The lines of an export, each held to the one before.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    importer: Importer,
    line: Vec<u8>,
    may_be_cut: bool,
}

impl Lines<'_> {
    /// What is wrong with the line that was read last.
    fn refused(&self, text: String) -> Failure {
        refused(&BadExport { line: self.importer.line(), text })
    }

    fn next(&mut self) -> Result<Option<Exported>, Failure> {
        self.line.clear();
        let mut bounded = (&mut *self.input).take(EXPORT_LINE_BYTES_MAX as u64);
        bounded.read_until(b'\n', &mut self.line).map_err(|e| Failure::text(format!("cannot read the export: {e}")))?;
        match self.line.strip_suffix(b"\n") {
            Some(line) => self.importer.take(line).map(Some).map_err(|bad| refused(&bad)),
            // A line beyond every bound is no cut one.
            None if self.may_be_cut && self.importer.has_begun() && self.line.len() < EXPORT_LINE_BYTES_MAX => Ok(None),
            None if self.line.is_empty() => self.importer.finish().map(|()| None).map_err(|bad| refused(&bad)),
            None => Err(refused(&self.importer.cut(&self.line))),
        }
    }
}

fn refused(bad: &BadExport) -> Failure {
    Failure::text(format!("{bad}; nothing is imported"))
}

fn fault(error: LogError) -> Failure {
    Failure::Fault(Box::new(error))
}
