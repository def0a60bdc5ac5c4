//! Exports: the text itself where it begins as one, else the entries' lines, of which an export is made.

use switchboard::log::export::{Exported, Exporter, Importer};
use switchboard::log::{Entry, Head};
use switchboard::switchboard::audit::Audit;
use switchboard::switchboard::record;
use uuid::Uuid;

use super::entries::{are_dense, chain};

const LOG_ID: Uuid = Uuid::from_u128(7);
const KEY: [u8; 32] = [9; 32];

pub fn check(bytes: &[u8]) {
    if bytes.starts_with(b"{\"switchboard\"") {
        drop(import(bytes));
        return;
    }
    let mut entries = chain(Head::empty(LOG_ID).hash, bytes);
    entries.truncate(64);
    if !are_dense(&entries, 1, 0) {
        return;
    }
    entries.iter().for_each(check_line);
    let is_json =
        entries.iter().all(|entry| serde_json::from_slice::<&serde_json::value::RawValue>(&entry.line).is_ok());
    let export = export(&entries);
    match import(&export) {
        Ok(taken) => assert_eq!(super::entries::text(&taken), super::entries::text(&entries)),
        Err(fault) => assert!(!is_json, "an export is not taken back: {fault}"),
    }
    examine(&entries);
}

fn export(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut exporter = Exporter::begin(LOG_ID, false, &mut out);
    entries.iter().for_each(|entry| exporter.entry(entry, &mut out));
    exporter.end(Some(&KEY), &mut out);
    out
}

/// What is taken exports as the same bytes, line by line; nothing is taken after a fault.
fn import(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let mut importer = Importer::default();
    let (mut taken, mut again, mut exporter) = (Vec::new(), Vec::new(), None);
    let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n');
    // Of the format before, the first line and the last are written as they are now.
    let is_of_now = !bytes.starts_with(br#"{"switchboard":"log","format":1,"#);
    for line in lines {
        let start = again.len();
        let mut is_same = true;
        match importer.take(line).map_err(|bad| bad.to_string())? {
            Exported::Begin(log_id) => {
                exporter = Some(Exporter::begin(log_id, importer.awaits_base(), &mut again));
                is_same = is_of_now;
            }
            Exported::State(key, state) => {
                exporter.as_mut().expect("it has begun").state(&key, &state, &mut again);
            }
            Exported::Base(end, is_erased) => {
                exporter.as_mut().expect("it has begun").base(&end, is_erased, &mut again);
            }
            Exported::Entry(entry) => {
                exporter.as_mut().expect("it has begun").entry(&entry, &mut again);
                taken.push(entry);
            }
            Exported::End(Some(key)) => {
                exporter.take().expect("it has begun").end(Some(&key), &mut again);
                is_same = is_of_now;
            }
            // A key may have been left behind though nothing is erased.
            Exported::End(None) => continue,
        }
        let is_with_key = exporter.is_some() || again[start..].len() == line.len() + 1;
        assert!(
            !is_same || !is_with_key || again[start..again.len() - 1] == *line,
            "taken, and not as it would be written"
        );
    }
    importer.finish().map_err(|bad| bad.to_string())?;
    assert_eq!(importer.entries(), taken.len() as u64);
    Ok(taken)
}

/// What is published of a line is what stands in it, at the place that is said.
fn check_line(entry: &Entry) {
    let Ok(line) = record::Entry::parse(&entry.line) else { return };
    if let Ok(Some(recorded)) = line.recorded(&entry.line, entry.hash) {
        for (event, read) in recorded.events.iter().zip(&line.events) {
            assert_eq!(&recorded.line[event.data.clone()], read.data.get().as_bytes());
        }
        assert_eq!(recorded.events.len(), line.events.len());
    }
    let mut state = None;
    if line.fold(&mut state).is_ok()
        && let Some(c) = state
    {
        assert_eq!(c.id.as_str(), line.conversation);
    }
}

/// An examination of whatever comes finds a fault or none, and counts what it took.
fn examine(entries: &[Entry]) {
    let mut audit = Audit::default();
    let mut events = 0;
    for entry in entries {
        match audit.take(1, entry) {
            Ok(()) => events += u64::from(entry.events),
            Err(finding) => {
                assert!(!finding.text.is_empty());
                return;
            }
        }
    }
    let tally = audit.tally();
    assert_eq!(tally.events, events);
    assert_eq!(tally.decisions + tally.notes + files(entries), entries.len() as u64);
}

/// Entries that only note which configuration file was applied.
fn files(entries: &[Entry]) -> u64 {
    let is_file = |entry: &&Entry| {
        let line = record::Entry::parse(&entry.line).expect("it was examined");
        line.events.is_empty() && line.note.is_none()
    };
    entries.iter().filter(is_file).count() as u64
}
