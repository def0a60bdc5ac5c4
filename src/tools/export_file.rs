//! A file that holds an export: read line by line, and verified without importing it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::failure::Failure;
use super::progress::Progress;
use super::screen::Screen;
use super::table::write_pairs;
use super::verify;
use crate::domain::words::CONFIG_ID;
use crate::log::Head;
use crate::log::export::{BadExport, EXPORT_LINE_BYTES_MAX, Exported, Importer};
use crate::switchboard::audit::Audit;

/// Hands on what stands in the file, line by line, with its line's number; each was held to the one before. Gives the
/// number of entries, once the last line was there.
pub fn read(path: &Path, mut take: impl FnMut(u64, Exported) -> Result<(), Failure>) -> Result<u64, Failure> {
    let unreadable = |error: io::Error| Failure::text(format!("cannot read {}: {error}", path.display()));
    let found = |bad: &BadExport| Failure::Found(format!("{}: {bad}", path.display()));
    let mut input = BufReader::with_capacity(1 << 20, File::open(path).map_err(unreadable)?);
    let (mut importer, mut line) = (Importer::default(), Vec::new());
    let progress = Progress::new(None, "entries");
    loop {
        line.clear();
        let bounded = &mut (&mut input).take(EXPORT_LINE_BYTES_MAX as u64);
        bounded.read_until(b'\n', &mut line).map_err(unreadable)?;
        match line.strip_suffix(b"\n") {
            Some(line) => take(importer.line() + 1, importer.take(line).map_err(|bad| found(&bad))?)?,
            None if line.is_empty() => break importer.finish().map_err(|bad| found(&bad))?,
            None => return Err(found(&importer.cut(&line))),
        }
        progress.reached(importer.entries());
    }
    progress.finish();
    Ok(importer.entries())
}

/// Verifies a file and tells what was checked.
pub fn run(path: &Path) -> Result<(), Failure> {
    verify(path, &mut BufWriter::new(io::stdout()), Screen::of_stdout())
}

/// Verifies a file and writes what was checked; what was found, where something was.
pub fn verify(path: &Path, out: &mut dyn Write, screen: Screen) -> Result<(), Failure> {
    let (mut audit, mut under, mut end) = (Audit::default(), Under::default(), None);
    let mut log_id = String::new();
    let entries = read(path, |line, exported| {
        let found = |text: String| Failure::Found(format!("{}: line {line}: {text}", path.display()));
        match exported {
            Exported::Begin(id) => {
                log_id = id.to_string();
                end = Some(Head::empty(id));
            }
            Exported::State(key, state) => under.take(&mut audit, key, state).map_err(found)?,
            Exported::Base(base, _) => {
                under.finish(&mut audit).map_err(found)?;
                end = Some(base);
            }
            Exported::Entry(entry) => {
                audit.take(line, &entry).map_err(|finding| found(format!("seq {}: {}", finding.seq, finding.text)))?;
                let passed = end.as_mut().map_or(Ok(()), |end| end.follow_entry(&entry));
                passed.map_err(|fault| found(fault.to_string()))?;
            }
            Exported::End(_) => {}
        }
        Ok(())
    })?;
    let mut pairs = vec![("log", log_id)];
    pairs.extend(end.map(|head| verify::tell(&head, audit.tally())).unwrap_or_default());
    // It has entries, which an import packs into frames of its own.
    pairs.retain(|(name, _)| *name != "frames");
    pairs.push(("entries", entries.to_string()));
    write_pairs(out, &pairs, screen)?;
    Ok(out.flush()?)
}

/// The lines of a base under one key.
#[derive(Default)]
pub(super) struct Under {
    key: String,
    lines: Vec<Vec<u8>>,
    has_config: bool,
}

impl Under {
    /// Takes the next line; what came under the key before is held to the rules.
    pub fn take(&mut self, audit: &mut Audit, key: String, line: Vec<u8>) -> Result<(), String> {
        if key != self.key {
            if key < self.key {
                return Err(format!("{key} stands behind {}", self.key));
            }
            self.flush(audit)?;
            self.key = key;
        }
        self.lines.push(line);
        Ok(())
    }

    fn flush(&mut self, audit: &mut Audit) -> Result<(), String> {
        let lines = std::mem::take(&mut self.lines);
        self.has_config |= self.key == CONFIG_ID;
        if lines.is_empty() { Ok(()) } else { audit.take_base(&self.key, &lines) }
    }

    /// Takes in that the base ends here.
    pub fn finish(&mut self, audit: &mut Audit) -> Result<(), String> {
        self.flush(audit)?;
        if self.has_config { Ok(()) } else { Err("expected the configuration where the log begins".into()) }
    }
}
