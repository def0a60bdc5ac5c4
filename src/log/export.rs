//! A log as text: what an export writes, and what an import takes back byte for byte.
//!
//! One JSON object a line. The first says whose log it is; then each entry verbatim, with what stands beside it and
//! its hash, so that a fault has a line; the last says where the log ends, so that a cut shows:
//!
//! ```text
//! {"switchboard":"log","format":2,"log_id":"…"}
//! {"entry":{…},"beside":{…},"hash":"…"}
//! {"head":{"seq":340,"entries":120,"hash":"…"},"key":"…","check":"…"}
//! ```
//!
//! A log whose old volumes were removed has format 3: after the first line it says what everything was where it begins,
//! and then where that is, with a digest of these lines:
//!
//! ```text
//! {"key":"…","state":{…}}
//! {"base":{"seq":120,"at":1790000000000,"hash":"…","lines":17,"erased":false,"digest":"…"}}
//! ```
//!
//! Each hash covers its entry and everything before it, and `check` the key, which is part of no entry, and that line.
//! `key` is the secret by which a repeated command is told from another under the same id. Whoever has it can try which
//! value an erased one was, so it stays behind where anything is erased; repeats of what was decided before are then
//! refused as `command_id_reused` after an import, and never carried out twice.
//!
//! A running service hands the same text out in [`pieces`].

pub mod pieces;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::base::{SEQ_MAX, add_to_digest};
use super::codec::{hex, unhex};
use super::entry::{Entry, Hash, LINE_BYTES_MAX};
use super::reader::Head;

/// The format that this program writes.
const FORMAT: u64 = 2;

/// The same of a log that begins with a base: an older release, which knows of none, refuses it.
const FORMAT_WITH_BASE: u64 = 3;

/// The format before, read for good: it has no `check`.
const FORMAT_WITHOUT_CHECK: u64 = 1;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateLine<'a> {
    key: &'a str,
    #[serde(borrow)]
    state: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BaseLine {
    base: BaseHead,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct BaseHead {
    seq: u64,
    at: u64,
    hash: String,
    lines: u64,
    erased: bool,
    digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    head: EndHead,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EndHead {
    seq: u64,
    entries: u64,
    hash: String,
}

/// What everything was where the log begins: its lines as they go by, and their digest once they are all there.
#[derive(Debug, Default, Clone)]
struct States {
    digest: Sha256,
    lines: u64,
}

impl States {
    fn take(&mut self, key: &str, line: &[u8]) {
        add_to_digest(&mut self.digest, key, line);
        self.lines += 1;
    }

    fn digest(&self) -> Hash {
        self.digest.clone().finalize().into()
    }

    fn line(&self, end: &Head, erased: bool) -> BaseLine {
        let (lines, digest) = (self.lines, hex(&self.digest()));
        BaseLine {
            base: BaseHead { seq: end.next_seq - 1, at: end.last_at, hash: hex(&end.hash), lines, erased, digest },
        }
    }
}

impl BaseLine {
    /// Of all of it, with the digest of the lines before it.
    fn hash(&self) -> Hash {
        let mut line = Vec::new();
        json_line(self, &mut line);
        Sha256::digest(&line).into()
    }
}

/// Writes an export, line by line.
pub struct Exporter {
    head: Head,
    entries: u64,
    redacted: u64,
    states: States,
    base: Option<Hash>,
}

impl Exporter {
    /// Begins the export of that log. Where it begins with a base, its lines follow, then [`base`](Self::base).
    pub fn begin(log_id: Uuid, has_base: bool, out: &mut Vec<u8>) -> Self {
        let format = if has_base { FORMAT_WITH_BASE } else { FORMAT };
        json_line(&HeaderLine { switchboard: "log".into(), format, log_id: log_id.to_string() }, out);
        Self { head: Head::empty(log_id), entries: 0, redacted: 0, states: States::default(), base: None }
    }

    /// Writes a line of the base.
    pub fn state(&mut self, key: &str, line: &[u8], out: &mut Vec<u8>) {
        write_state(key, line, out);
        self.states.take(key, line);
    }

    /// Writes where the log begins, after the last line of its base.
    pub fn base(&mut self, end: &Head, is_erased: bool, out: &mut Vec<u8>) {
        let line = self.states.line(end, is_erased);
        json_line(&line, out);
        self.head = end.clone();
        self.base = Some(line.hash());
        self.redacted += u64::from(is_erased);
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

    /// Writes the end. `key` is that of the directory, where it is known.
    pub fn end(self, key: Option<&[u8; 32]>, out: &mut Vec<u8>) {
        let key = key.filter(|_| self.redacted == 0);
        json_line(&end_line(&self.head, self.entries, key, self.base.as_ref()), out);
    }
}

/// A line of an export, understood.
#[derive(Debug)]
pub enum Exported {
    /// The first line: the id of the log.
    Begin(Uuid),
    /// A line of the base, under its key.
    State(String, Vec<u8>),
    /// Where the log begins, after its base, and whether personal values of it were erased.
    Base(Head, bool),
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
    format: u64,
    entries: u64,
    head: Option<Head>,
    states: States,
    base: Option<Hash>,
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
            (Some(head), _) if self.awaits_base() && line.starts_with(b"{\"key\":") => self.state(head, line),
            (Some(head), _) if self.awaits_base() => self.base(head, line),
            (Some(head), _) if line.starts_with(b"{\"head\":") => self.end(&head, line),
            (Some(head), _) => self.entry(head, line),
        };
        taken.map_err(|text| BadExport { line: self.line, text })
    }

    /// Takes in that no line follows.
    pub fn finish(&self) -> Result<(), BadExport> {
        match self.is_over {
            true => Ok(()),
            false => Err(self.cut(b"")),
        }
    }

    /// What is wrong where the next line, of which that came, does not come to its end.
    pub fn cut(&self, begun: &[u8]) -> BadExport {
        let text = match self.line {
            0 if begun.is_empty() => "nothing came, expected the first line of an export of a switchboard's log".into(),
            0 => foreign(begun),
            _ => "the export ends here, expected a last line with the head: it was cut, or did not come to its end"
                .into(),
        };
        BadExport { line: self.line + 1, text }
    }

    /// Entries read.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Lines read.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Whether the first line was read.
    pub fn has_begun(&self) -> bool {
        self.line > 0
    }

    /// Whether the log begins with a base that has not come whole.
    pub fn awaits_base(&self) -> bool {
        self.format == FORMAT_WITH_BASE && self.base.is_none()
    }

    /// The seq of the last event read.
    pub fn seq(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.next_seq - 1)
    }

    fn begin(&mut self, line: &[u8]) -> Result<Exported, String> {
        let header = match serde_json::from_slice::<HeaderLine>(line) {
            Ok(header) if header.switchboard == "log" && !line.ends_with(b"\r") => header,
            _ => return Err(foreign(line)),
        };
        if !(FORMAT_WITHOUT_CHECK..=FORMAT_WITH_BASE).contains(&header.format) {
            let found = header.format;
            return Err(format!(
                "export format {found}, expected {FORMAT_WITH_BASE} at most: import with a newer release"
            ));
        }
        self.format = header.format;
        let log_id = Uuid::parse_str(&header.log_id).map_err(|_| "log_id: expected a UUID".to_owned())?;
        self.again.clear();
        json_line(&HeaderLine { log_id: log_id.to_string(), ..header }, &mut self.again);
        self.is_verbatim(line)?;
        self.head = Some(Head::empty(log_id));
        Ok(Exported::Begin(log_id))
    }

    fn state(&mut self, head: Head, line: &[u8]) -> Result<Exported, String> {
        let read: StateLine<'_> = serde_json::from_slice(line).map_err(|e| format!("expected a state: {e}"))?;
        let state = read.state.get().as_bytes();
        self.again.clear();
        write_state(read.key, state, &mut self.again);
        self.is_verbatim(line)?;
        self.states.take(read.key, state);
        self.head = Some(head);
        Ok(Exported::State(read.key.to_owned(), state.to_vec()))
    }

    fn base(&mut self, mut head: Head, line: &[u8]) -> Result<Exported, String> {
        let BaseLine { base } = serde_json::from_slice(line).map_err(|e| format!("expected the base: {e}"))?;
        if base.seq > SEQ_MAX {
            return Err(format!("seq: expected {SEQ_MAX} at most, got {}", base.seq));
        }
        head.next_seq = base.seq + 1;
        head.hash = unhex(base.hash.as_bytes()).ok_or("hash: expected 64 hex digits")?;
        // What is imported counts as published, and only what was published is ever removed.
        (head.last_at, head.published_through) = (base.at, base.seq);
        let expected = self.states.line(&head, base.erased);
        if expected.base != base {
            let (found, expected) = (base.lines, expected.base.lines);
            return Err(format!(
                "a base of {found} lines, expected {expected} and their digest: lines before were edited, lost or added"
            ));
        }
        self.again.clear();
        json_line(&expected, &mut self.again);
        self.is_verbatim(line)?;
        self.base = Some(expected.hash());
        self.head = Some(head.clone());
        Ok(Exported::Base(head, base.erased))
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
        let mut expected = end_line(head, self.entries, key.as_ref(), self.base.as_ref());
        if end.head != expected.head {
            let (seq, entries) = (expected.head.seq, expected.head.entries);
            return Err(format!(
                "a head of {} entries up to seq {}, expected {entries} up to {seq} and their hash: lines were lost or added",
                end.head.entries, end.head.seq
            ));
        }
        if self.format == FORMAT_WITHOUT_CHECK {
            expected.check = None;
        }
        if end.check != expected.check {
            return Err("the check of the key does not match: this line was edited".into());
        }
        self.again.clear();
        json_line(&expected, &mut self.again);
        self.is_verbatim(line)?;
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

fn write_state(key: &str, line: &[u8], out: &mut Vec<u8>) {
    for part in [&b"{\"key\":\""[..], key.as_bytes(), b"\",\"state\":", line, b"}\n"] {
        out.extend_from_slice(part);
    }
}

fn end_line(head: &Head, entries: u64, key: Option<&[u8; 32]>, base: Option<&Hash>) -> EndLine {
    let end = EndHead { seq: head.next_seq - 1, entries, hash: hex(&head.hash) };
    EndLine { head: end, key: key.map(|key| hex(key)), check: Some(hex(&check_of(&head.hash, key, base))) }
}

/// Whoever changes or drops the key or the base, which no hash of an entry covers, is found out.
fn check_of(hash: &Hash, key: Option<&[u8; 32]>, base: Option<&Hash>) -> Hash {
    let mut digest = Sha256::new();
    digest.update(hash);
    digest.update(key.map_or(&[][..], |key| key));
    digest.update(base.map_or(&[][..], |base| base));
    digest.finalize().into()
}

/// What a first line that is none may be.
fn foreign(line: &[u8]) -> String {
    let is_packed = line.starts_with(&[0x1f, 0x8b]) || line.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let is_encoded = [&[0xef, 0xbb, 0xbf][..], &[0xff, 0xfe], &[0xfe, 0xff]].iter().any(|mark| line.starts_with(mark));
    let why = match () {
        () if is_packed => "this is compressed: unpack it first, as with gzip -dc or zstd -dc",
        () if is_encoded => "this was written again in another encoding: take the file as the export wrote it",
        () if line.ends_with(b"\r") => "its lines end in CR LF: take the file as the export wrote it, with LF alone",
        () => return "expected the first line of an export of a switchboard's log".into(),
    };
    format!("expected the first line of an export of a switchboard's log; {why}")
}

fn json_line(line: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, line).expect("numbers and hex are always JSON");
    out.push(b'\n');
}
