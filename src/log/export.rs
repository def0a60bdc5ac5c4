//! A log as text: what an export writes, and what an import takes back byte for byte.
//!
//! One JSON object a line. The first says whose log it is; then each entry verbatim, with what stands beside it and
//! its hash, so that a fault has a line; the last says where the log ends, so that a cut shows:
//!
//! ```text
//! {"switchboard":"log","format":1,"log_id":"…"}
//! {"entry":{…},"beside":{…},"hash":"…"}
//! {"head":{"seq":340,"entries":120,"hash":"…"},"key":"…"}
//! ```
//!
//! `key` is the secret by which a repeated command is told from another under the same id. Whoever has it can try which
//! value an erased one was, so it stays behind where anything is erased; repeats of what was decided before are then
//! refused as `command_id_reused` after an import, and never carried out twice.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::codec::{hex, unhex};
use super::entry::{Entry, LINE_BYTES_MAX};
use super::reader::Head;

/// The format that this program writes and reads.
const FORMAT: u64 = 1;

/// The longest line of an export: an entry, and what stands beside it.
pub const EXPORT_LINE_BYTES_MAX: usize = 2 * LINE_BYTES_MAX;

#[derive(Serialize, Deserialize)]
struct HeaderLine {
    switchboard: String,
    format: u64,
    log_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryLine<'a> {
    #[serde(borrow)]
    entry: &'a RawValue,
    #[serde(borrow)]
    beside: &'a RawValue,
    hash: &'a str,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    head: EndHead,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct EndHead {
    seq: u64,
    entries: u64,
    hash: String,
}

/// Writes an export, line by line.
pub struct Exporter {
    head: Head,
    entries: u64,
    redacted: u64,
}

impl Exporter {
    /// Begins the export of that log.
    pub fn begin(log_id: Uuid, out: &mut Vec<u8>) -> Self {
        let header = HeaderLine { switchboard: "log".into(), format: FORMAT, log_id: log_id.to_string() };
        json_line(&header, out);
        Self { head: Head::empty(log_id), entries: 0, redacted: 0 }
    }

    /// Writes the next entry. That it follows the one before was seen by whoever read it.
    pub fn entry(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        write_entry(entry, out);
        self.head.pass(entry.events, entry.at, entry.hash);
        self.entries += 1;
        self.redacted += u64::from(entry.is_redacted());
    }

    /// Entries written, and how many of them without their personal values.
    pub fn counts(&self) -> (u64, u64) {
        (self.entries, self.redacted)
    }

    /// Writes the end. `key` is that of the directory.
    pub fn end(self, key: &[u8; 32], out: &mut Vec<u8>) {
        let key = (self.redacted == 0).then(|| hex(key));
        json_line(&EndLine { head: end_of(&self.head, self.entries), key }, out);
    }
}

/// A line of an export, understood.
#[derive(Debug)]
pub enum Exported {
    /// The first line: the id of the log.
    Begin(Uuid),
    /// An entry, which follows the one before.
    Entry(Entry),
    /// The last line, with the key of the directory where it was carried.
    End(Option<[u8; 32]>),
}

/// Why an export is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadExport {
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub text: String,
}

impl fmt::Display for BadExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl std::error::Error for BadExport {}

/// Reads an export, line by line.
#[derive(Debug, Default)]
pub struct Importer {
    line: u64,
    entries: u64,
    head: Option<Head>,
    is_over: bool,
    again: Vec<u8>,
}

impl Importer {
    /// Takes the next line, without its line feed.
    pub fn take(&mut self, line: &[u8]) -> Result<Exported, BadExport> {
        self.line += 1;
        let taken = match (self.head.take(), self.is_over) {
            (_, true) => Err("expected nothing after the line with the head".to_owned()),
            (None, _) => self.begin(line),
            (Some(head), _) if line.starts_with(b"{\"head\":") => self.end(&head, line),
            (Some(head), _) => self.entry(head, line),
        };
        taken.map_err(|text| BadExport { line: self.line, text })
    }

    /// Takes in that no line follows.
    pub fn finish(&self) -> Result<(), BadExport> {
        match self.is_over {
            true => Ok(()),
            false => Err(self.cut()),
        }
    }

    /// What is wrong where the next line does not come to its end.
    pub fn cut(&self) -> BadExport {
        let text = "the export ends here, expected a last line with the head: it was cut, or did not come to its end";
        BadExport { line: self.line + 1, text: text.into() }
    }

    /// Entries read.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn begin(&mut self, line: &[u8]) -> Result<Exported, String> {
        let foreign = || "expected the first line of an export of a switchboard's log".to_owned();
        let header: HeaderLine = serde_json::from_slice(line).map_err(|_| foreign())?;
        if header.switchboard != "log" {
            return Err(foreign());
        }
        if header.format != FORMAT {
            return Err(format!("export format {}, expected {FORMAT}: import with a newer release", header.format));
        }
        let log_id = Uuid::parse_str(&header.log_id).map_err(|_| "log_id: expected a UUID".to_owned())?;
        self.again.clear();
        self.head = Some(Exporter::begin(log_id, &mut self.again).head);
        self.is_verbatim(line)?;
        Ok(Exported::Begin(log_id))
    }

    fn entry(&mut self, mut head: Head, line: &[u8]) -> Result<Exported, String> {
        let parts: EntryLine<'_> = serde_json::from_slice(line).map_err(|e| format!("expected an entry: {e}"))?;
        let read = Entry::read(&head.hash, parts.entry.get().as_bytes(), parts.beside.get().as_bytes());
        let entry = read.map_err(|problem| problem.to_string())?;
        if entry.first_seq != head.next_seq {
            let (found, expected) = (entry.first_seq, head.next_seq);
            return Err(format!("seq {found}, expected {expected}: entries were moved, lost or doubled"));
        }
        if hex(&entry.hash) != parts.hash {
            return Err("the hash does not match: this entry was edited, or the one before it moved or lost".into());
        }
        head.follow_entry(&entry).map_err(|fault| fault.problem.to_string())?;
        self.again.clear();
        write_entry(&entry, &mut self.again);
        self.is_verbatim(line)?;
        self.entries += 1;
        self.head = Some(head);
        Ok(Exported::Entry(entry))
    }

    fn end(&mut self, head: &Head, line: &[u8]) -> Result<Exported, String> {
        let end: EndLine = serde_json::from_slice(line).map_err(|e| format!("expected the head: {e}"))?;
        let key = match &end.key {
            Some(text) => Some(unhex(text.as_bytes()).ok_or("key: expected 64 hex digits")?),
            None => None,
        };
        self.again.clear();
        json_line(&EndLine { head: end_of(head, self.entries), key: end.key }, &mut self.again);
        if self.is_verbatim(line).is_err() {
            let (seq, entries) = (head.next_seq - 1, self.entries);
            return Err(format!(
                "a head of {} entries up to seq {}, expected {entries} up to {seq} and their hash: lines were lost or added",
                end.head.entries, end.head.seq
            ));
        }
        self.is_over = true;
        Ok(Exported::End(key))
    }

    /// What is imported must export as the same bytes: an export that somebody laid out anew is not one.
    fn is_verbatim(&self, line: &[u8]) -> Result<(), String> {
        match self.again.strip_suffix(b"\n") == Some(line) {
            true => Ok(()),
            false => Err("not as an export writes it: it was edited".into()),
        }
    }
}

fn write_entry(entry: &Entry, out: &mut Vec<u8>) {
    let mut lines = Vec::with_capacity(entry.line.len() + 128);
    entry.write(&mut lines);
    out.extend_from_slice(b"{\"entry\":");
    out.extend_from_slice(&entry.line);
    out.extend_from_slice(b",\"beside\":");
    out.extend_from_slice(lines[entry.line.len() + 1..].trim_ascii_end());
    out.extend_from_slice(b",\"hash\":\"");
    out.extend_from_slice(hex(&entry.hash).as_bytes());
    out.extend_from_slice(b"\"}\n");
}

fn end_of(head: &Head, entries: u64) -> EndHead {
    EndHead { seq: head.next_seq - 1, entries, hash: hex(&head.hash) }
}

fn json_line(line: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, line).expect("numbers and hex are always JSON");
    out.push(b'\n');
}
