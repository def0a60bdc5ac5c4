//! The log as a row of volumes: each a database of its own, written until it is full, then sealed and only read.
//!
//! A database takes time to open and memory for its index by what it holds. So a start opens the last volume alone,
//! however old the log is; of the others it reads the notes, and they are opened when somebody asks for what is in them.
//! Frames, their keys and the chain of hashes go on through all volumes, and a group stands in one.
//!
//! The order of a change of volumes: the next one is made, and synced, in `log/next`; the full one is synced, and its note
//! is written; the next one is renamed to its number, which is the moment from which it counts; and the end of the log
//! is noted with that number. So the folder with the highest number is the one that is written to, whatever its note
//! says; a crash between any two steps leaves that true; and a lost folder is missed.

mod listing;
mod next;
mod note;
mod removal;
mod row;
mod shelf;
#[cfg(test)]
mod tests;
mod tidying;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use uuid::Uuid;

use super::base::{self, Base};
use super::directory::Directory;
use super::end::{self, End};
use super::entry::Hash;
use super::error::{Fault, LogError, Problem};
use super::reader::{Head, Reader, Values};
use super::store::{Store, sync_path};
pub use listing::ListedVolume;
pub(super) use next::Next;
pub(super) use note::Sealed;
use row::{Last, Row};
pub(super) use row::{Opening, is_there};
use shelf::{Shelf, Volume};
pub(super) use tidying::Tidying;

#[cfg(all(feature = "small-volumes", not(debug_assertions)))]
compile_error!("small-volumes is for tests: a service with it makes thousands of volumes, build without it");

/// A volume is full when its frames have so many bytes, a little more than that on the disk. After a kill sled opens one in 0.2 seconds
/// and in 0.05 otherwise, and keeps some 15 MB to find its pages; volumes twice as large took 1.0 and 0.13 seconds. An
/// empty one takes 9 MiB on the disk, and each one ever sealed a note to be read at a start: so not much smaller either.
pub(super) const VOLUME_BYTES: u64 = if cfg!(feature = "small-volumes") { 4 << 10 } else { 256 << 20 };

/// By so much each volume is larger than the one before: for tests, where long ones would make thousands otherwise.
pub(super) const VOLUME_BYTES_MORE: u64 = if cfg!(feature = "small-volumes") { 4 << 10 } else { 0 };

/// The volumes of a log, for its writer and any number of readers.
pub(super) struct Volumes {
    log: PathBuf,
    log_id: Uuid,
    row: RwLock<Row>,
    shelf: Shelf,
}

impl Volumes {
    /// Opens the volumes of a data directory.
    pub fn open(directory: &Directory, opening: Opening, noted: Option<&End>) -> Result<Self, LogError> {
        let log = directory.log_path();
        let base = if directory.has_base()? { Some(Base::read(&log, directory.log_id())?) } else { None };
        if base.is_none() && removal::has_counted(&log) {
            return Err(directory.before_base(log.join(base::NOTE)));
        }
        let row = row::read(&log, directory.log_id(), base.map(Arc::new), opening, noted)?;
        sync_path(log.parent().unwrap_or(&log))?;
        Ok(Self { log, log_id: directory.log_id(), row: RwLock::new(row), shelf: Shelf::default() })
    }

    /// Refuses a last volume that does not follow the one before, and a first one that does not follow the base.
    pub fn check_links(&self, reader: &Reader) -> Result<(), LogError> {
        row::check_links(&self.row(), reader)
    }

    /// Takes away what is left of removed volumes, and of a removal that came to nothing: once the links are checked, for
    /// nothing may go for the sake of a base that the rest does not follow.
    pub fn tidy(&self) -> Result<(), LogError> {
        let base = self.row().base.as_ref().map(|base| base.volume());
        removal::go_on(&self.log, base)
    }

    /// The volume that is written to.
    pub fn last(&self) -> Result<Arc<Store>, LogError> {
        let row = self.row();
        row.last.store.clone().map_err(|why| LogError::Corrupt(self.folder_of(row.last.number), why))
    }

    /// The number of the volume that is written to.
    pub fn last_number(&self) -> u64 {
        self.row().last.number
    }

    /// The frame with which the volume that is written to begins.
    pub fn last_first_frame(&self) -> u64 {
        self.row().last.first_frame
    }

    /// How many frames there are at least: one that is missing, where a volume does not read.
    pub fn frames_min(&self) -> u64 {
        let last = &self.row().last;
        if last.store.is_err() { last.first_frame } else { 0 }
    }

    /// About how many bytes the frames of the last volume have.
    pub fn filled(&self, reader: &Reader) -> u64 {
        let first = self.row().last.first_frame;
        row::bytes(reader, first, reader.head().frames)
    }

    /// The maker of the volume that is to come.
    pub fn next(&self) -> Result<Next, LogError> {
        Next::new(&self.log)
    }

    /// Says what the last volume holds, and gives the next one its number. Where this fails nothing has changed: the
    /// last volume is written to as before, and its note does not count.
    pub fn seal(&self, reader: &Reader, bytes: u64, next: &Path) -> Result<Sealed, LogError> {
        let (volume, first_frame) = {
            let row = self.row();
            (row.last.number, row.last.first_frame)
        };
        let end = reader.head();
        let first = reader.header(first_frame)?;
        let (first_seq, first_at) =
            first.map_or((end.next_seq, end.last_at), |first| (first.first_seq, first.first_at));
        let sealed = Sealed { volume, first_frame, first_seq, first_at, end, bytes };
        sealed.write(&self.log, self.log_id)?;
        let folder = self.folder_of(volume + 1);
        fs::rename(next, &folder).map_err(|e| LogError::io("rename", next, e))?;
        Ok(sealed)
    }

    /// Goes on in the next volume, once that is on stable storage. Gives back the old ones that nobody reads any more: to
    /// be dropped, which closes them and takes a while.
    pub fn turn(&self, directory: &Directory, sealed: Sealed, store: Arc<Store>) -> Result<Vec<Arc<Volume>>, LogError> {
        let full = self.last()?;
        sync_path(&self.log)?;
        end::note(directory, &sealed.end, sealed.volume + 1)?;
        // Whoever finds it sealed must find it open: it is this process that has it.
        let put_away = self.shelf.put_full(sealed.volume, full);
        let mut row = self.row.write().unwrap_or_else(PoisonError::into_inner);
        row.last = Last { number: sealed.volume + 1, first_frame: sealed.end.frames + 1, store: Ok(store) };
        row.sealed.push(sealed);
        Ok(put_away)
    }

    /// Where the volume of that number is.
    pub fn folder_of(&self, volume: u64) -> PathBuf {
        row::folder(&self.log, volume)
    }

    /// Holds the note of a sealed volume that ends there to what was read up to its end.
    pub fn check_note(&self, head: &Head, reader: &Reader) -> Result<(), Fault> {
        let row = self.row();
        let Ok(at) = row.sealed.binary_search_by_key(&head.frames, |sealed| sealed.end.frames) else { return Ok(()) };
        let sealed = row.sealed[at].clone();
        drop(row);
        let first_at = reader.header(sealed.first_frame)?.map(|first| first.first_at);
        match sealed.end == *head && first_at == Some(sealed.first_at) {
            true => Ok(()),
            false => Err(Fault {
                place: Some(format!("log/{}.json", sealed.volume)),
                ..Fault::new(head.frames, Some(head.next_seq - 1), Problem::Note)
            }),
        }
    }

    /// The first note that does not read, where that was no hindrance.
    pub fn check_notes_read(&self) -> Result<(), Fault> {
        match &self.row().unread_note {
            Some(error) => Err(Fault::new(0, None, Problem::Storage(error.to_string()))),
            None => Ok(()),
        }
    }

    /// The sealed volumes.
    pub fn sealed(&self) -> Vec<Sealed> {
        self.row().sealed.clone()
    }

    fn row(&self) -> RwLockReadGuard<'_, Row> {
        self.row.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the volume that holds a frame, or is the last; and the volume, where it is the last.
    fn holder(&self, frame: u64) -> (u64, Option<Result<Arc<Store>, String>>) {
        let row = self.row();
        if frame >= row.last.first_frame {
            return (row.last.number, Some(row.last.store.clone()));
        }
        let at = row.sealed.partition_point(|sealed| sealed.end.frames < frame);
        match row.sealed.get(at) {
            Some(sealed) => (sealed.volume, None),
            None => (row.last.number, Some(row.last.store.clone())),
        }
    }
}

impl Values for Volumes {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let frame = key.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
        match self.holder(frame) {
            (_, Some(last)) => last?.value(key),
            (number, None) => self.shelf.get(number, &self.folder_of(number))?.store().value(key),
        }
    }

    fn last_key(&self) -> Result<Option<Vec<u8>>, String> {
        let store = self.row().last.store.clone();
        store.map_or(Ok(None), |store| store.last_key())
    }

    fn place(&self, frame: u64) -> Option<String> {
        let folder = self.folder_of(self.holder(frame).0);
        let within = folder.strip_prefix(self.log.parent()?).ok()?;
        Some(within.join("db").display().to_string())
    }

    fn begin(&self) -> Option<Head> {
        row::begin(&self.row())
    }

    fn base(&self) -> Option<Arc<Base>> {
        self.row().base.clone()
    }

    fn hash_at(&self, frame: u64) -> Option<Hash> {
        let row = self.row();
        let at = row.sealed.binary_search_by_key(&frame, |sealed| sealed.end.frames).ok()?;
        Some(row.sealed[at].end.hash)
    }

    fn span(&self, ends_after: &dyn Fn(&Head) -> bool) -> (u64, u64) {
        let row = self.row();
        match row.sealed.get(row.sealed.partition_point(|sealed| !ends_after(&sealed.end))) {
            Some(sealed) => (sealed.first_frame, sealed.end.frames),
            None => (row.last.first_frame, u64::MAX),
        }
    }
}
