//! One entry: a JSON line, what stands beside it, its hash, and its redaction.
//!
//! The hash covers the line with every personal value replaced by a salted hash of that value. So the value can
//! be dropped later, its hash put in its place, and the chain still verifies. The salt goes with the value: with it a
//! short value (a phone number) could be found by trying them all.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Draft;
use super::codec::{hex, hex_of, unhex};
use super::error::Problem;

/// SHA-256.
pub type Hash = [u8; 32];

/// What keeps the hashes of personal values from being guessed.
pub type Salt = [u8; 16];

/// The longest line: a decision with a whole configuration in it, and much to spare.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// What stands in the place of a redacted value: this and 64 hex digits, as a JSON string.
const REDACTED: &[u8] = b"\"redacted:";

/// One decision in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The seq of its first event, or of the next event for a note.
    pub first_seq: u64,
    /// How many seqs it takes.
    pub events: u32,
    /// When it was decided, in milliseconds since 1970.
    pub at: u64,
    /// Its link in the chain; computed from the hash of the entry before, never stored.
    pub hash: Hash,
    /// One JSON object.
    pub line: Vec<u8>,
    /// Where personal values stand in the line.
    pub personal: Vec<Range<u32>>,
    /// The salt of the personal values; gone once they are redacted.
    pub salt: Option<Salt>,
}

impl Entry {
    /// Whether its personal values have been dropped.
    pub fn is_redacted(&self) -> bool {
        !self.personal.is_empty() && self.salt.is_none()
    }

    /// Drops the personal values and their salt; the hash stays what it is.
    pub fn redact(&mut self) {
        let Some(salt) = self.salt.take() else { return };
        let mut line = Vec::with_capacity(self.line.len() + 64 * self.personal.len());
        let mut end = 0;
        for (index, span) in self.personal.iter_mut().enumerate() {
            line.extend_from_slice(&self.line[end..span.start as usize]);
            let start = line.len() as u32;
            let value = &self.line[span.start as usize..span.end as usize];
            line.extend_from_slice(REDACTED);
            line.extend_from_slice(hex(&personal_hash(&salt, index, value)).as_bytes());
            line.push(b'"');
            end = span.end as usize;
            *span = start..line.len() as u32;
        }
        line.extend_from_slice(&self.line[end..]);
        self.line = line;
    }

    /// Writes the two lines that are kept: the entry, and what stands beside it.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.body().write(out);
    }

    /// Reads the two lines again, with the hash of the entry before.
    pub fn read(previous: &Hash, line: &[u8], beside: &[u8]) -> Result<Self, Problem> {
        let beside: Beside = serde_json::from_slice(beside).map_err(|e| Problem::Entry(e.to_string()))?;
        let salt = match beside.salt {
            Some(text) => {
                Some(unhex(text.as_bytes()).ok_or_else(|| Problem::Entry("salt: expected 32 hex digits".into()))?)
            }
            None => None,
        };
        let personal: Vec<_> = beside.personal.iter().map(|&(start, end)| start..end).collect();
        let body = Body {
            first_seq: beside.seq,
            events: beside.events,
            at: beside.at,
            line,
            personal: &personal,
            salt: salt.as_ref(),
        };
        body.check().map_err(Problem::Entry)?;
        let hash = body.hash(previous)?;
        Ok(Self {
            first_seq: beside.seq,
            events: beside.events,
            at: beside.at,
            hash,
            line: line.to_vec(),
            personal,
            salt,
        })
    }

    /// The draft that appends it to another log: an import.
    pub fn into_draft(self, conversation: Arc<str>, version: u64) -> Draft {
        let Self { first_seq, events, at, line, personal, salt, hash: _ } = self;
        Draft { conversation, version, first_seq, events, at, line: line.into(), personal: personal.into(), salt }
    }

    /// The hash that it has after that of the entry before.
    pub fn hash_after(&self, previous: &Hash) -> Result<Hash, Problem> {
        self.body().hash(previous)
    }

    fn body(&self) -> Body<'_> {
        Body {
            first_seq: self.first_seq,
            events: self.events,
            at: self.at,
            line: &self.line,
            personal: &self.personal,
            salt: self.salt.as_ref(),
        }
    }
}

/// What a draft and an entry have in common.
pub(super) struct Body<'a> {
    first_seq: u64,
    events: u32,
    at: u64,
    line: &'a [u8],
    personal: &'a [Range<u32>],
    salt: Option<&'a Salt>,
}

impl<'a> Body<'a> {
    pub fn of(draft: &'a Draft) -> Self {
        Body {
            first_seq: draft.first_seq,
            events: draft.events,
            at: draft.at,
            line: &draft.line,
            personal: &draft.personal,
            salt: draft.salt.as_ref(),
        }
    }

    /// What would make the entry unreadable.
    pub fn check(&self) -> Result<(), String> {
        if self.line.len() > LINE_BYTES_MAX {
            return Err(format!("{} bytes, expected {LINE_BYTES_MAX} at most", self.line.len()));
        }
        let object = self.line.starts_with(b"{") && self.line.ends_with(b"}") && !self.line.contains(&b'\n');
        if !object || str::from_utf8(self.line).is_err() {
            return Err("expected one JSON object on one line".into());
        }
        // The brace that begins the line is part of no value.
        let mut end = 1;
        for span in self.personal {
            if span.start < end || span.start >= span.end || span.end as usize >= self.line.len() {
                return Err(format!(
                    "personal value at {}..{}: expected ascending spans within the line",
                    span.start, span.end
                ));
            }
            end = span.end;
        }
        Ok(())
    }

    /// The hash of the entry, after that of the entry before. Every part says what it is and how long,
    /// so that no two entries run together to the same bytes.
    pub fn hash(&self, previous: &Hash) -> Result<Hash, Problem> {
        let mut digest = Sha256::new();
        digest.update(previous);
        digest.update(b"E");
        digest.update(self.first_seq.to_be_bytes());
        digest.update(self.events.to_be_bytes());
        digest.update(self.at.to_be_bytes());
        let mut end = 0;
        for (index, span) in self.personal.iter().enumerate() {
            plain(&mut digest, &self.line[end..span.start as usize]);
            digest.update(b"P");
            digest.update(self.personal_hash(index, span)?);
            end = span.end as usize;
        }
        plain(&mut digest, &self.line[end..]);
        Ok(digest.finalize().into())
    }

    /// The line, and beside it on a line of its own what the log must know of it: a [`Beside`], which is of numbers and
    /// hex alone, and written for each decision.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.line);
        for (before, number) in
            [("\n{\"seq\":", self.first_seq), (",\"events\":", self.events.into()), (",\"at\":", self.at)]
        {
            out.extend_from_slice(before.as_bytes());
            write_number(out, number);
        }
        if let (Some(salt), false) = (self.salt, self.personal.is_empty()) {
            out.extend_from_slice(b",\"salt\":\"");
            out.extend_from_slice(salt.map(hex_of).as_flattened());
            out.push(b'"');
        }
        for (at, span) in self.personal.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b",\"personal\":[[" } else { b",[" });
            write_number(out, span.start.into());
            out.push(b',');
            write_number(out, span.end.into());
            out.push(b']');
        }
        out.extend_from_slice(if self.personal.is_empty() { b"}\n" } else { b"]}\n" });
    }

    fn personal_hash(&self, index: usize, span: &Range<u32>) -> Result<Hash, Problem> {
        let value = &self.line[span.start as usize..span.end as usize];
        match self.salt {
            Some(salt) => Ok(personal_hash(salt, index, value)),
            None => {
                let digits = value.strip_prefix(REDACTED).and_then(|rest| rest.strip_suffix(b"\""));
                digits.and_then(unhex).ok_or(Problem::Redaction)
            }
        }
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    serde_json::to_writer(out, &number).expect("numbers are JSON");
}

/// What stands on the line after an entry.
#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct Beside<'a> {
    seq: u64,
    events: u32,
    at: u64,
    /// Absent where nothing is personal, and where the personal values are redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<&'a str>,
    /// Start and end in bytes of the line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    personal: Vec<(u32, u32)>,
}

/// The index keeps equal values of one entry from showing that they are equal.
fn personal_hash(salt: &Salt, index: usize, value: &[u8]) -> Hash {
    let mut digest = Sha256::new();
    digest.update(salt);
    digest.update((index as u32).to_be_bytes());
    digest.update(value);
    digest.finalize().into()
}

fn plain(digest: &mut Sha256, bytes: &[u8]) {
    digest.update(b"T");
    digest.update((bytes.len() as u64).to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREVIOUS: Hash = [7; 32];

    fn entry() -> Entry {
        let line = br#"{"user":"+31 6 1234","reason":"+31 6 1234","n":1}"#.to_vec();
        let mut entry = Entry {
            first_seq: 5,
            events: 2,
            at: 99,
            hash: [0; 32],
            line,
            personal: vec![8..20, 30..42],
            salt: Some([3; 16]),
        };
        entry.hash = entry.hash_after(&PREVIOUS).unwrap();
        entry
    }

    fn written(entry: &Entry) -> (Vec<u8>, Vec<u8>) {
        let mut out = Vec::new();
        entry.write(&mut out);
        let lines: Vec<_> = out.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        assert_eq!(lines.len(), 3);
        (lines[0].clone(), lines[1].clone())
    }

    #[test]
    fn an_entry_reads_as_it_was_written() {
        let entry = entry();
        let (line, beside) = written(&entry);
        assert_eq!(Entry::read(&PREVIOUS, &line, &beside), Ok(entry));
        assert_eq!(
            String::from_utf8(beside).unwrap(),
            r#"{"seq":5,"events":2,"at":99,"salt":"03030303030303030303030303030303","personal":[[8,20],[30,42]]}"#
        );
    }

    #[test]
    fn what_stands_beside_is_what_the_library_would_write() {
        let spans = [8..20, 30..42, 47..48];
        for (salt, personal) in [
            (None, &spans[..0]),
            (Some([0xa5; 16]), &spans[..0]),
            (None, &spans[..1]),
            (Some([0x0f; 16]), &spans[..1]),
            (Some([0xf0; 16]), &spans[..]),
        ] {
            for (first_seq, events, at) in [(0, 0, 0), (u64::MAX, u32::MAX, u64::MAX), (1_042, 3, 1_769_860_800_007)] {
                let entry = Entry { first_seq, events, at, salt, personal: personal.to_vec(), ..entry() };
                let hex = salt.filter(|_| !personal.is_empty()).map(|salt| hex(&salt));
                let personal = personal.iter().map(|span| (span.start, span.end)).collect();
                let beside = Beside { seq: first_seq, events, at, salt: hex.as_deref(), personal };
                assert_eq!(written(&entry).1, serde_json::to_vec(&beside).unwrap());
            }
        }
    }

    #[test]
    fn a_redacted_entry_has_the_same_hash_and_none_of_the_values() {
        let original = entry();
        let mut redacted = original.clone();
        redacted.redact();
        assert!(redacted.is_redacted() && !original.is_redacted());
        assert_eq!(redacted.salt, None);
        assert!(!String::from_utf8(redacted.line.clone()).unwrap().contains("1234"));
        let value: serde_json::Value = serde_json::from_slice(&redacted.line).unwrap();
        assert_ne!(value["user"], value["reason"], "equal values show");
        let (line, beside) = written(&redacted);
        assert_eq!(Entry::read(&PREVIOUS, &line, &beside), Ok(redacted.clone()));
        assert_eq!(redacted.hash, original.hash);
        let again = redacted.clone();
        redacted.redact();
        assert_eq!(redacted, again);
    }

    #[test]
    fn a_wrong_redaction_is_found() {
        let mut entry = entry();
        entry.redact();
        let digit = entry.personal[0].end as usize - 2;
        let mut other = entry.clone();
        other.line[digit] = if other.line[digit] == b'0' { b'1' } else { b'0' };
        assert_ne!(other.hash_after(&PREVIOUS).unwrap(), entry.hash);
        other.line[digit] = b'x';
        assert_eq!(other.hash_after(&PREVIOUS), Err(Problem::Redaction));
    }

    #[test]
    fn every_field_and_every_byte_is_covered() {
        let entry = entry();
        for at in 0..entry.line.len() {
            let mut changed = entry.clone();
            changed.line[at] ^= 1;
            assert_ne!(changed.hash_after(&PREVIOUS).unwrap(), entry.hash, "byte {at}");
        }
        let changes: [fn(&mut Entry); 5] = [
            |e| e.first_seq += 1,
            |e| e.events += 1,
            |e| e.at += 1,
            |e| e.personal[0].end -= 1,
            |e| e.salt = Some([4; 16]),
        ];
        for change in changes {
            let mut changed = entry.clone();
            change(&mut changed);
            assert_ne!(changed.hash_after(&PREVIOUS).unwrap(), entry.hash);
        }
        assert_ne!(entry.hash_after(&[8; 32]).unwrap(), entry.hash);
    }

    #[test]
    fn spans_outside_the_line_are_refused() {
        for personal in [r#"[[0,20]]"#, r#"[[8,60]]"#, r#"[[20,8]]"#, r#"[[8,20],[10,30]]"#] {
            let beside = format!(r#"{{"seq":1,"events":1,"at":1,"personal":{personal}}}"#);
            let read = Entry::read(&PREVIOUS, &entry().line, beside.as_bytes());
            assert!(matches!(read, Err(Problem::Entry(_))), "{personal}");
        }
    }
}
