//! Which volumes there are, by their folders and notes: of the old ones none is opened, but to make a lost note again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::note::{self, Sealed};
use crate::log::ahead;
use crate::log::base::Base;
use crate::log::end::End;
use crate::log::error::{Fault, LogError, Problem};
use crate::log::reader::{Head, Reader};
use crate::log::store::{Store, read_from_disk};

/// Frames whose headers are read to know how much a volume holds: exact where it holds no more.
const FRAMES_LOOKED_AT: u64 = 64;

/// Who wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Who makes the log: nothing is there yet, or what an interrupted start has left.
    New,
    /// Who writes to it: everything must be there.
    Known,
    /// Who looks for what is wrong: what stands before that is shown, and nothing is written.
    Inspected,
}

/// The volumes in order. Those before the last are sealed.
pub struct Row {
    /// Where it begins, where volumes were removed.
    pub base: Option<Arc<Base>>,
    pub sealed: Vec<Sealed>,
    pub last: Last,
    /// In an inspection, the first note that does not read: its volume was looked into instead.
    pub unread_note: Option<LogError>,
}

/// The volume that is written to. In an inspection, the first that does not read, with what is wrong.
pub struct Last {
    pub number: u64,
    pub first_frame: u64,
    pub store: Result<Arc<Store>, String>,
}

/// Reads the row that begins with that base. `noted` is the end of the log that was noted last.
pub fn read(
    log: &Path,
    log_id: Uuid,
    base: Option<Arc<Base>>,
    opening: Opening,
    noted: Option<&End>,
) -> Result<Row, LogError> {
    let mut row = Row {
        base,
        sealed: Vec::new(),
        last: Last { number: 1, first_frame: 1, store: Err(String::new()) },
        unread_note: None,
    };
    let first = next_number(&row);
    let filled = last_number(log, first, opening, noted).and_then(|last| fill(log, log_id, opening, last, &mut row));
    match filled {
        Ok(()) => Ok(row),
        // One volume that does not read leaves nothing to show.
        Err(error @ (LogError::VolumeLost { .. } | LogError::Corrupt(..) | LogError::Fault(_)))
            if opening == Opening::Inspected && !row.sealed.is_empty() =>
        {
            row.last = Last { number: next_number(&row), first_frame: next_frame(&row), store: Err(error.to_string()) };
            Ok(row)
        }
        Err(error) => Err(error),
    }
}

/// Where the volume of that number is. The first of a log from before there were several stands in `log` itself.
pub fn folder(log: &Path, number: u64) -> PathBuf {
    match number == 1 && log.join("db").exists() {
        true => log.to_path_buf(),
        false => log.join(number.to_string()),
    }
}

/// Whether anything of a log is there.
pub fn is_there(log: &Path) -> bool {
    numbers(log).is_ok_and(|numbers| !numbers.is_empty())
}

/// About how many bytes some frames have. One that is damaged is not counted: this looks at some, and must not refuse a
/// start for what it happens to look at.
pub fn bytes(reader: &Reader, first: u64, last: u64) -> u64 {
    let frames = (last + 1).saturating_sub(first);
    let (mut sum, mut looked_at) = (0, 0);
    for frame in (first..=last).step_by(frames.div_ceil(FRAMES_LOOKED_AT).max(1) as usize) {
        if let Ok(Some(header)) = reader.header(frame) {
            sum += header.frame_bytes() as u64;
            looked_at += 1;
        }
    }
    sum * frames / looked_at.max(1)
}

fn fill(log: &Path, log_id: Uuid, opening: Opening, last: u64, row: &mut Row) -> Result<(), LogError> {
    for number in next_number(row)..last {
        let noted = sealed(log, log_id, opening, number, row);
        let sealed = match noted.and_then(|sealed| follows(log, row, &sealed).map(|()| sealed)) {
            Err(error @ LogError::Note(..)) if opening == Opening::Inspected => {
                row.unread_note.get_or_insert(error);
                look_into(log, log_id, number, row)?
            }
            sealed => sealed?,
        };
        row.sealed.push(sealed);
    }
    let path = folder(log, last);
    if ahead::is_used(log) {
        read_from_disk(&path.join("db"))?;
    }
    let store = match opening {
        Opening::New => Store::open(&path)?,
        _ if !path.join("db").exists() => return Err(lost(log, log_id, last, row)),
        _ => Store::open(&path)?,
    };
    check_begin(&store, &path, row)?;
    row.last = Last { number: last, first_frame: next_frame(row), store: Ok(Arc::new(store)) };
    Ok(())
}

/// Refuses another volume in the place of the last: what is written would go on where that ends.
fn check_begin(store: &Store, path: &Path, row: &Row) -> Result<(), LogError> {
    let key = store.first_key().map_err(|why| LogError::Corrupt(path.to_path_buf(), why))?;
    let found = key.as_ref().and_then(|key| key.first_chunk()).map(|number| u64::from_be_bytes(*number));
    match found {
        Some(found) if found != next_frame(row) => {
            let seq = begin(row).map(|before| before.next_seq);
            Err(Fault::new(next_frame(row), seq, Problem::Number(found)).into())
        }
        _ => Ok(()),
    }
}

fn last_number(log: &Path, first: u64, opening: Opening, noted: Option<&End>) -> Result<u64, LogError> {
    let numbers = numbers(log)?;
    if numbers.contains(&1) && log.join("1").exists() && log.join("db").exists() {
        return Err(LogError::Corrupt(log.to_path_buf(), "both db and 1 are there, expected one first volume".into()));
    }
    match numbers.last() {
        None if opening == Opening::New => Ok(first),
        None => Err(LogError::Corrupt(log.to_path_buf(), "its file db is gone".into())),
        Some(last) => Ok((*last).max(noted.map_or(1, |end| end.volume)).max(first)),
    }
}

/// The numbers of the folders that are there, ascending.
pub fn numbers(log: &Path) -> Result<Vec<u64>, LogError> {
    let mut numbers = Vec::new();
    if log.join("db").exists() {
        numbers.push(1);
    }
    let entries = match fs::read_dir(log) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        entries => entries.map_err(|e| LogError::io("list", log, e))?,
    };
    for entry in entries {
        let name = entry.map_err(|e| LogError::io("list", log, e))?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok()).filter(|number| *number > 0);
        numbers.extend(number.filter(|number: &u64| name.to_str() == Some(&number.to_string())));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What a volume before the last holds.
fn sealed(log: &Path, log_id: Uuid, opening: Opening, number: u64, row: &Row) -> Result<Sealed, LogError> {
    let noted = Sealed::read(log, log_id, number)?;
    if !folder(log, number).join("db").exists() {
        return Err(lost(log, log_id, number, row));
    }
    if let Some(sealed) = noted {
        return Ok(sealed);
    }
    let sealed = look_into(log, log_id, number, row)?;
    if opening != Opening::Inspected {
        tracing::warn!(volume = number, "the note of a volume was lost and is made again from the volume");
        sealed.write(log, log_id)?;
    }
    Ok(sealed)
}

/// What a volume without a note holds. One is lost where the power fails between its end and the next one's begin.
fn look_into(log: &Path, log_id: Uuid, number: u64, row: &Row) -> Result<Sealed, LogError> {
    let path = folder(log, number);
    let reader = Reader::open(Arc::new(Store::open(&path)?), log_id)?;
    let (first, end) = (next_frame(row), reader.head());
    let header = match reader.header(first)? {
        Some(header) => header,
        None => return Err(LogError::Corrupt(path, format!("it does not hold frame {first}, and others follow it"))),
    };
    let (first_seq, first_at) = (header.first_seq, header.first_at);
    let bytes = bytes(&reader, first, end.frames);
    Ok(Sealed { volume: number, first_frame: first, first_seq, first_at, end, bytes })
}

fn follows(log: &Path, row: &Row, sealed: &Sealed) -> Result<(), LogError> {
    let expected = (next_frame(row), begin(row).map_or(1, |before| before.next_seq));
    match (sealed.first_frame, sealed.first_seq) == expected {
        true => Ok(()),
        false => Err(LogError::Note(
            note::path(log, sealed.volume),
            format!(
                "it begins with frame {} and seq {}, expected {} and {}",
                sealed.first_frame, sealed.first_seq, expected.0, expected.1
            ),
        )),
    }
}

/// Which events are gone with a volume, as far as its note or the one after tells.
fn lost(log: &Path, log_id: Uuid, number: u64, row: &Row) -> LogError {
    let read = |number| Sealed::read(log, log_id, number).ok().flatten();
    let end = read(number).map(|own| own.end.next_seq).or_else(|| read(number + 1).map(|after| after.first_seq));
    LogError::VolumeLost {
        path: folder(log, number),
        first_seq: begin(row).map_or(1, |before| before.next_seq),
        last_seq: end.map(|next| next - 1),
    }
}

fn next_number(row: &Row) -> u64 {
    let removed = row.base.as_ref().map_or(0, |base| base.volume());
    row.sealed.last().map_or(removed, |before| before.volume) + 1
}

fn next_frame(row: &Row) -> u64 {
    begin(row).map_or(0, |before| before.frames) + 1
}

/// Refuses a last volume that does not follow the one before, and a first one that does not follow the base.
pub fn check_links(row: &Row, reader: &Reader) -> Result<(), LogError> {
    let base = row.base.as_ref().map(|base| base.end());
    base.into_iter()
        .chain(row.sealed.last().map(|before| &before.end))
        .try_for_each(|before| check_link(before, reader))
}

fn check_link(before: &Head, reader: &Reader) -> Result<(), LogError> {
    if reader.head().frames == before.frames {
        return Ok(());
    }
    let first = before.frames + 1;
    match reader.header(first)? {
        Some(header) if header.previous == before.hash && header.first_seq == before.next_seq => Ok(()),
        _ => Err(reader.placed(Fault::new(first, Some(before.next_seq), Problem::Chain)).into()),
    }
}

/// The head that the next volume to be read begins with, at last that of the last volume; none where it begins the log.
pub fn begin(row: &Row) -> Option<Head> {
    let base = row.base.as_ref().map(|base| base.end());
    row.sealed.last().map(|before| &before.end).or(base).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::conformance::group;
    use crate::log::{Log, MemoryLog, SimulatedDisk};

    #[test]
    fn a_damaged_frame_is_left_out_where_it_is_guessed_how_full_a_volume_is() {
        let disk = SimulatedDisk::default();
        let mut log = MemoryLog::open(&disk, Uuid::nil()).unwrap();
        for at in 0..4 {
            let head = log.reader().head();
            log.append(&group(&head, &[1; 8], at * 100), 0).unwrap();
        }
        let whole = bytes(&log.reader(), 1, 4);
        disk.tamper(2, |bytes| Some(bytes[..10].to_vec()));
        let guessed = bytes(&log.reader(), 1, 4);
        assert!(whole > 400 && guessed.abs_diff(whole) * 10 < whole, "{guessed}, expected about {whole}");
        (1..=4).for_each(|frame| disk.tamper(frame, |_| Some(Vec::new())));
        assert_eq!(bytes(&log.reader(), 1, 4), 0, "nothing is known");
    }
}
