//! Old volumes leave the log: verified, exported, and what everything was at their end written down in their place.
//!
//! Nothing is removed that does not verify, and nothing before its export was read back from the file. What is
//! removed counts from one moment on, see `log/volumes`; a crash before leaves the log as it was, one after it is
//! got over at the next start. Only what was published is removed: nobody could publish it afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{RemoveOptions, Until, moment, open, seqs, size};
use crate::domain::Time;
use crate::log::export::{Exported, Exporter};
use crate::log::{BaseWriter, Cache, Directory, DiskLog, Frame, Head, ListedVolume, Log, LogError, Reader};
use crate::switchboard::audit::Audit;
use crate::switchboard::core::Kept;
use crate::switchboard::{base, record};
use crate::tools::examination::{self, Halt};
use crate::tools::export::{Eraser, export_base};
use crate::tools::export_file;
use crate::tools::failure::Failure;
use crate::tools::progress::Progress;
use crate::tools::screen::Screen;
use crate::tools::table::write_pairs;

/// Removes old volumes, and writes what was freed.
pub fn remove(data: &Path, options: &RemoveOptions, out: &mut dyn Write, screen: Screen) -> Result<(), Failure> {
    let (directory, log) = open(data)?;
    let listed = log.listed().map_err(examination::failure)?;
    let Some(going) = chosen(&listed, options.until)? else {
        writeln!(out, "no sealed volume ends before then: nothing is removed")?;
        return Ok(out.flush()?);
    };
    let Some(last) = going.last() else { return Ok(()) };
    let reader = log.reader();
    check_published(&reader, last)?;
    let walked = match &options.export {
        Some(file) => walk_into(file, &directory, &reader, last)?,
        None => Walked::through(&reader, last, None)?,
    };
    let before_bytes = reader.base().map_or(0, |base| base.bytes());
    drop((log, reader));
    let base_bytes = commit(&directory, last, walked)?;
    let freed = going.iter().map(|volume| volume.bytes).sum::<u64>() + before_bytes;
    let mut pairs = vec![
        ("removed", format!("volumes up to {}, with seq {}", last.number, seqs(going[0].first_seq, last.end.next_seq))),
        ("until", moment(last.end.last_at)),
        ("begins", format!("with seq {}", last.end.next_seq)),
        ("freed", format!("{}, of which {} hold now what everything was then", size(freed), size(base_bytes))),
    ];
    if let Some(file) = &options.export {
        pairs.push((
            "export",
            format!("{}: switchboard verify FILE, or import it into a directory of its own", file.display()),
        ));
    }
    write_pairs(out, &pairs, screen)?;
    Ok(out.flush()?)
}

/// The volumes that go; none where there is nothing to be removed.
fn chosen(listed: &[ListedVolume], until: Until) -> Result<Option<&[ListedVolume]>, Failure> {
    let sealed = &listed[..listed.len() - 1];
    let count = match until {
        Until::Time(time) => sealed.iter().take_while(|volume| volume.end.last_at < time.0).count(),
        Until::Volume(number) => match sealed.iter().position(|volume| volume.number == number) {
            Some(at) => at + 1,
            None => {
                let there = match (sealed.first(), sealed.last()) {
                    (Some(first), Some(last)) => {
                        format!("expected one that is sealed, from {} to {}", first.number, last.number)
                    }
                    _ => "expected one that is sealed, and there is none: the only one is written to".into(),
                };
                return Err(Failure::Usage(vec![format!("--through: {there}, got {number}")]));
            }
        },
    };
    Ok((count > 0).then(|| &sealed[..count]))
}

fn check_published(reader: &Reader, last: &ListedVolume) -> Result<(), Failure> {
    let (published, end) = (reader.head().published_through, last.end.next_seq - 1);
    match published >= end {
        true => Ok(()),
        false => Err(Failure::text(format!(
            "events from seq {} to {end} are not known to be published: serve the directory until they are, and stop the service",
            published + 1
        ))),
    }
}

/// What the volumes that go have come to.
struct Walked {
    head: Head,
    audit: Audit,
    kept: Kept,
    is_erased: bool,
}

/// Where the export goes while it is written.
struct Out<'a> {
    exporter: Exporter,
    file: &'a mut dyn Write,
    lines: Vec<u8>,
}

impl Walked {
    /// Verifies all up to the end of that volume, and exports it where that is wanted.
    fn through(reader: &Reader, last: &ListedVolume, mut out: Option<&mut Out<'_>>) -> Result<Walked, Failure> {
        let found = |text: String| Failure::Found(format!("{text}; nothing is removed"));
        let is_erased = reader.base().is_some_and(|base| base.is_erased());
        let mut walked = Walked {
            head: reader.beginning(),
            audit: Audit::begin(reader).map_err(found)?,
            kept: base::config(reader).map_err(found)?,
            is_erased,
        };
        let progress = Progress::new(Some(last.end.frames), "frame");
        for frame in reader.frames(reader.first_number()) {
            let frame = frame.map_err(|fault| found(fault.to_string()))?;
            walked.take(&frame).map_err(found)?;
            if let Some(out) = out.as_deref_mut() {
                frame.entries.iter().for_each(|entry| out.exporter.entry(entry, &mut out.lines));
                out.write()?;
            }
            progress.reached(walked.head.frames);
            if walked.head.frames == last.end.frames {
                break;
            }
        }
        progress.finish();
        let is_there = walked.head == last.end;
        if is_there { Ok(walked) } else { Err(found(format!("volume {} does not end as its note says", last.number))) }
    }

    fn take(&mut self, frame: &Frame) -> Result<(), String> {
        self.head.follow(frame).map_err(|fault| fault.to_string())?;
        for entry in &frame.entries {
            self.audit.take(frame.header.frame, entry).map_err(|finding| finding.to_string())?;
            self.is_erased |= entry.is_redacted();
            let line = record::Entry::parse(&entry.line)?;
            if line.is_config() {
                base::fold_config(&mut self.kept, &line)?;
            }
        }
        Ok(())
    }
}

impl Out<'_> {
    fn write(&mut self) -> Result<(), Failure> {
        self.file.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }
}

/// Exports into a file that is there whole or not at all, and reads it back.
fn walk_into(path: &Path, directory: &Directory, reader: &Reader, last: &ListedVolume) -> Result<Walked, Failure> {
    let failed =
        |doing: &str, error: std::io::Error| Failure::text(format!("cannot {doing} {}: {error}", path.display()));
    if path.exists() {
        return Err(Failure::Usage(vec![format!("--export: {} is there already: name a new file", path.display())]));
    }
    let part = PathBuf::from(format!("{}.part", path.display()));
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let file = opened.map_err(|error| failed("create", error))?;
    let written = write_into(&file, directory, reader, last).and_then(|walked| {
        file.sync_all().map_err(|error| failed("sync", error))?;
        read_back(&part, &walked.head)?;
        fs::rename(&part, path).map_err(|error| failed("rename", error))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed("sync", error))?;
        Ok(walked)
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

fn write_into(file: &File, directory: &Directory, reader: &Reader, last: &ListedVolume) -> Result<Walked, Failure> {
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut lines = Vec::new();
    let mut exporter = Exporter::begin(reader.log_id(), reader.base().is_some(), &mut lines);
    file.write_all(&lines)?;
    lines.clear();
    if let Some(base) = reader.base() {
        export_base(base, &mut Eraser::default(), &mut exporter, &mut file).map_err(|halt| match halt {
            Halt::Fault(text) => Failure::Found(format!("{text}; nothing is removed")),
            Halt::Failure(failure) => failure,
        })?;
    }
    let mut out = Out { exporter, file: &mut file, lines };
    let walked = Walked::through(reader, last, Some(&mut out))?;
    let Out { exporter, mut lines, .. } = out;
    exporter.end(Some(directory.key()), &mut lines);
    file.write_all(&lines)?;
    file.flush()?;
    Ok(walked)
}

fn read_back(path: &Path, head: &Head) -> Result<(), Failure> {
    let mut hash = None;
    export_file::read(path, |_, exported| {
        match exported {
            Exported::Base(base, _) => hash = Some(base.hash),
            Exported::Entry(entry) => hash = Some(entry.hash),
            _ => {}
        }
        Ok(())
    })?;
    match hash == Some(head.hash) {
        true => Ok(()),
        false => Err(Failure::text(format!(
            "{} reads back otherwise than it was written; nothing is removed",
            path.display()
        ))),
    }
}

/// Writes down what everything was at the end of that volume, lets that count, and takes the volumes away. Bytes of what
/// stands in their place.
fn commit(directory: &Arc<Directory>, last: &ListedVolume, walked: Walked) -> Result<u64, Failure> {
    let mut writer = BaseWriter::begin(directory, last.number).map_err(fault)?;
    let now = Time(walked.head.last_at);
    walked.audit.write_base(&walked.kept, now, &mut |key, line| writer.add(key, line).map_err(fault))?;
    let written = writer.written(&walked.head, walked.is_erased).map_err(fault)?;
    let read_back = walked.audit.check_base(written.base(), &walked.kept, now);
    read_back.map_err(|text| Failure::text(format!("{text}; nothing is removed")))?;
    let bytes = written.base().bytes();
    // The cache rests on what goes, and goes before it does; the base of an older one is replaced here.
    Cache::wipe(directory).map_err(fault)?;
    let counts = written.note().and_then(|()| directory.begin_with_base());
    counts.map_err(|error| unfinished("it shows at the next start whether the removal counts", error))?;
    let log = DiskLog::open(directory.clone());
    log.map_err(|error| unfinished("the removal counts, and the next start finishes it", error))?;
    Ok(bytes)
}

/// What failed when volumes could be gone already.
fn unfinished(what: &str, error: LogError) -> Failure {
    Failure::text(format!("{}; {what}: switchboard volumes list", Failure::Fault(Box::new(error))))
}

fn fault(error: LogError) -> Failure {
    Failure::Fault(Box::new(error))
}
