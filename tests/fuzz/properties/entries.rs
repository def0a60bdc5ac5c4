//! Entries of the log: two lines each, chained by hashes that leave personal values out.

use switchboard::log::{Draft, Entry, Hash};

/// The entries that a text of two lines each makes after that hash, as far as they read.
pub fn chain(mut previous: Hash, text: &[u8]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut lines = text.split(|byte| *byte == b'\n');
    while let (Some(line), Some(beside)) = (lines.next(), lines.next()) {
        let Ok(entry) = Entry::read(&previous, line, beside) else { break };
        check_entry(&previous, &entry);
        previous = entry.hash;
        entries.push(entry);
    }
    entries
}

/// Whether each entry goes on where the one before ended, from that seq and that time on.
pub fn are_dense(entries: &[Entry], mut seq: u64, mut at: u64) -> bool {
    entries.iter().all(|entry| {
        let follows = entry.first_seq == seq && entry.at >= at;
        (seq, at) = (seq.saturating_add(u64::from(entry.events)), entry.at);
        follows
    })
}

/// The drafts that append entries to another log.
pub fn drafts(entries: &[Entry]) -> Vec<Draft> {
    entries.iter().map(|entry| entry.clone().into_draft("c".into(), 0)).collect()
}

/// The text that [`chain`] reads.
pub fn text(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut text));
    text
}

/// An entry reads as it was written, keeps its hash when its personal values go, and cannot be changed unseen.
pub fn check_entry(previous: &Hash, entry: &Entry) {
    assert_eq!(entry.hash_after(previous).as_ref(), Ok(&entry.hash));
    check_written(previous, entry);
    let mut redacted = entry.clone();
    redacted.redact();
    assert_eq!(redacted.hash_after(previous).as_ref(), Ok(&entry.hash), "redaction changes the hash");
    assert!(redacted.salt.is_none());
    assert_eq!(redacted.is_redacted(), !entry.personal.is_empty());
    for span in redacted.personal.iter().filter(|_| entry.salt.is_some()) {
        let left = &redacted.line[span.start as usize..span.end as usize];
        assert!(left.starts_with(b"\"redacted:") && left.len() == 75, "a personal value is left");
    }
    check_written(previous, &redacted);
    let once = redacted.clone();
    redacted.redact();
    assert_eq!(redacted, once);
    check_covered(previous, entry);
}

fn check_written(previous: &Hash, entry: &Entry) {
    let written = text(std::slice::from_ref(entry));
    let mut lines = written.split(|byte| *byte == b'\n');
    let mut line = || lines.next().expect("an entry is written on two lines");
    let (first, second) = (line(), line());
    let read = Entry::read(previous, first, second).expect("what is written can be read");
    assert_eq!(read.hash, entry.hash);
    assert_eq!(text(&[read]), written);
}

/// One byte of the line changed, somewhere: the entry is refused or has another hash.
fn check_covered(previous: &Hash, entry: &Entry) {
    let mut changed = entry.clone();
    let at = usize::from(entry.hash[0]) * 256 + usize::from(entry.hash[1]);
    let at = at % changed.line.len();
    changed.line[at] ^= 1;
    assert_ne!(changed.hash_after(previous).as_ref(), Ok(&entry.hash), "byte {at} is not covered");
}
