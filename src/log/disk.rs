//! The log on disk: frames in sled databases, one [volume](super::volumes) after the other, every group on stable storage,
//! [ahead](super::ahead) of the database, before it counts.

use std::path::Path;
use std::sync::Arc;

use super::ahead::{self, AHEAD_BYTES, Ahead, UNSYNCED_BYTES};
use super::directory::Directory;
use super::end::{self, Reached};
use super::error::LogError;
use super::pack::{Packed, Packer};
use super::reader::Reader;
use super::space::Space;
use super::store::Store;
use super::syncing::Syncing;
use super::volumes::{ListedVolume, Next, Opening, Sealed, Tidying, VOLUME_BYTES, VOLUME_BYTES_MORE, Volumes};
use super::{Draft, Log, Outcome, Room};

/// The log of a data directory.
pub struct DiskLog {
    volumes: Arc<Volumes>,
    /// The volume that is written to.
    store: Arc<Store>,
    next: Next,
    tidying: Tidying,
    syncing: Syncing,
    filled: Filled,
    space: Space,
    packer: Packer,
    ahead: Ahead,
    reader: Reader,
    reached: Reached,
    stopped: bool,
    /// Let go of last: whoever gets the directory next opens all of it.
    directory: Arc<Directory>,
}

/// How full the volume is that is written to.
struct Filled {
    bytes: u64,
    /// The next one begins at so many.
    full: u64,
    /// By so much the one after is larger.
    more: u64,
    /// No attempt to begin it before so many.
    not_before: u64,
}

impl Filled {
    /// The next volume is made while the last part of one is written.
    fn is_nearly_full(&self) -> bool {
        self.bytes >= self.not_before.max(self.full - self.full / 8)
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.not_before.max(self.full)
    }

    /// So full that whoever writes waits for the next one.
    fn is_overfull(&self) -> bool {
        self.is_full() && self.bytes >= self.full + self.full / 8
    }

    /// What failed is not tried again at once.
    fn put_off(&mut self) {
        self.not_before = self.bytes + self.full / 8;
    }
}

impl DiskLog {
    /// Opens the log of a data directory, or makes it where the directory is new.
    /// Everything that it finds is on stable storage when this returns.
    pub fn open(directory: Arc<Directory>) -> Result<Self, LogError> {
        Self::open_growing(directory, VOLUME_BYTES, VOLUME_BYTES_MORE, AHEAD_BYTES)
    }

    /// The volumes that it stands in.
    pub fn listed(&self) -> Result<Vec<ListedVolume>, LogError> {
        self.volumes.listed(&self.reader)
    }

    /// Seals the volume that is written to and begins the next one, unless it is empty.
    pub fn seal(&mut self) -> Result<(), LogError> {
        self.usable()?;
        let (full, number) = (std::mem::replace(&mut self.filled.full, 1), self.volumes.last_number());
        self.filled.not_before = 0;
        let turned = if self.filled.bytes > 0 { self.turn_over() } else { Ok(()) };
        let is_turned = self.volumes.last_number() > number;
        self.filled.full = full + if is_turned { self.filled.more } else { 0 };
        match turned {
            Ok(()) if self.filled.bytes > 0 => Err(LogError::Write("no other volume could be begun".into())),
            turned => turned,
        }
    }

    /// The same with volumes of about so many bytes.
    #[cfg(test)]
    pub(super) fn open_with(directory: Arc<Directory>, volume_bytes: u64) -> Result<Self, LogError> {
        Self::open_growing(directory, volume_bytes, 0, AHEAD_BYTES)
    }

    /// The same with so many bytes written ahead.
    #[cfg(test)]
    pub(super) fn open_ahead(directory: Arc<Directory>, ahead_bytes: u64) -> Result<Self, LogError> {
        Self::open_growing(directory, VOLUME_BYTES, 0, ahead_bytes)
    }

    fn open_growing(
        directory: Arc<Directory>,
        volume_bytes: u64,
        more: u64,
        ahead_bytes: u64,
    ) -> Result<Self, LogError> {
        let space = Space::open(directory.clone())?;
        directory.raise_format()?;
        let known_end = end::known(&directory)?;
        let opening = if directory.is_settled() { Opening::Known } else { Opening::New };
        let volumes = Arc::new(Volumes::open(&directory, opening, known_end.as_ref())?);
        directory.settle()?;
        let (store, next) = (volumes.last()?, volumes.next()?);
        let reader = Reader::open(volumes.clone(), directory.log_id())?;
        volumes.check_links(&reader)?;
        catch_up(&directory.log_path(), &volumes, &reader)?;
        volumes.tidy()?;
        if let Some(known) = known_end {
            end::check(&directory, &known, &reader)?;
        }
        // Until here nothing of it is touched: whoever is refused may put back what is missing.
        let ahead = Ahead::begin(&directory.log_path(), ahead_bytes).inspect_err(|_| store.abandon())?;
        end::note(&directory, &reader.head(), volumes.last_number())?;
        let reached = Reached::open(&directory, &reader.head())?;
        let full = volume_bytes + more * (volumes.last_number() - 1);
        let filled = Filled { bytes: volumes.filled(&reader), full, more, not_before: 0 };
        Ok(Self {
            volumes,
            store,
            next,
            tidying: Tidying::default(),
            syncing: Syncing::default(),
            filled,
            space,
            packer: Packer::new(),
            ahead,
            reader,
            reached,
            stopped: false,
            directory,
        })
    }

    /// Stores what was packed. The log counts as stopped until all of it is durable.
    fn store(&mut self, packed: &Packed) -> Result<(), LogError> {
        self.make_room(packed)?;
        self.stopped = true;
        let stored = self.put(packed).and_then(|()| self.make_durable(packed));
        stored.inspect_err(|_| self.store.abandon()).map_err(LogError::Write)?;
        self.reached.note(&packed.head);
        self.reader.adopt(packed.head.clone());
        self.filled.bytes += packed.bytes() as u64;
        self.stopped = false;
        Ok(())
    }

    /// Makes room for a group ahead of the database, or has all before it on stable storage there: nothing but what stands
    /// ahead of it is ever in the database and not on stable storage.
    fn make_room(&mut self, group: &Packed) -> Result<(), LogError> {
        let has_room = self.ahead.has_room(group);
        if has_room && !self.syncing.is_over() {
            return Ok(());
        }
        if !self.ahead.may_turn(group) {
            // Though nothing may have been put there since: what was read of it may have been written anew.
            return self.sync();
        }
        self.stopped = true;
        self.syncing.wait()?;
        if !has_room {
            self.syncing.begin(&self.store)?;
            self.ahead.turn();
        }
        self.stopped = false;
        Ok(())
    }

    /// Begins the next volume where this one is full. That which cannot be made, as on a disk that is nearly full,
    /// keeps nobody from writing: this one becomes a little larger.
    pub(super) fn turn_over(&mut self) -> Result<(), LogError> {
        if self.filled.is_nearly_full() && matches!(self.space.room(), Room::Enough) {
            self.next.make();
        }
        if !self.filled.is_full() || !(self.next.is_made() || self.filled.is_overfull()) {
            return Ok(());
        }
        // Whoever opens it when it is sealed finds all of it there.
        self.sync()?;
        let made = self.next.take();
        let sealed = made.and_then(|store| {
            let sealed = self.volumes.seal(&self.reader, self.filled.bytes, self.next.folder())?;
            let folder = self.volumes.folder_of(sealed.volume + 1);
            Ok((sealed, Arc::new(store.moved(&folder))))
        });
        match sealed {
            Ok((sealed, store)) => self.turn(sealed, store),
            Err(error) => {
                tracing::warn!(%error, "the next volume of the log cannot be made: the last one is written to further");
                self.filled.put_off();
                Ok(())
            }
        }
    }

    /// Goes on in the next volume, which has its number. The log counts as stopped until that is durable.
    fn turn(&mut self, sealed: Sealed, store: Arc<Store>) -> Result<(), LogError> {
        self.stopped = true;
        tracing::info!(
            volume = sealed.volume,
            through = sealed.end.next_seq - 1,
            "a volume of the log is full and sealed"
        );
        let number = sealed.volume;
        let turned = self.volumes.turn(&self.directory, sealed, store.clone());
        let put_away = turned.map_err(|error| LogError::Write(error.to_string()))?;
        self.store = store;
        self.reached.begin(&self.reader.head());
        let is_room = matches!(self.space.room(), Room::Enough);
        self.tidying.begin(&self.volumes, put_away, number, is_room);
        self.filled = Filled { bytes: 0, full: self.filled.full + self.filled.more, not_before: 0, ..self.filled };
        self.stopped = false;
        Ok(())
    }

    /// Puts what was packed into the database: what has no room ahead of it in pieces, each synced before the next.
    fn put(&self, packed: &Packed) -> Result<(), String> {
        let first = packed.head.frames + 1 - packed.frames.len() as u64;
        let first_of_volume = self.volumes.last_first_frame();
        let mut unsynced = 0;
        for (parts, frame) in packed.frames.iter().zip(first..) {
            let more = ahead::written(parts);
            // A frame of its own may be more: nothing of it counts before its end is there.
            if unsynced > 0 && unsynced + more > UNSYNCED_BYTES {
                self.store.sync()?;
                unsynced = 0;
            }
            self.store.put(frame, parts, first_of_volume)?;
            unsynced += more;
        }
        Ok(())
    }

    /// Brings what was packed onto stable storage: ahead of the database, or with it.
    fn make_durable(&mut self, packed: &Packed) -> Result<(), String> {
        match self.ahead.has_room(packed) {
            true => self.ahead.write(packed),
            false => self.store.sync(),
        }
    }

    /// Brings the whole database onto stable storage. The log counts as stopped until it is there.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        self.stopped = true;
        self.syncing.wait()?;
        self.store.sync().inspect_err(|_| self.store.abandon()).map_err(LogError::Write)?;
        self.ahead.turn();
        self.stopped = false;
        Ok(())
    }

    /// The volumes that it stands in.
    #[cfg(test)]
    pub(super) fn volumes(&self) -> &Arc<Volumes> {
        &self.volumes
    }

    /// Where it is.
    #[cfg(test)]
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Waits until what is done beside it is done.
    #[cfg(test)]
    pub(super) fn settle(&mut self) {
        self.tidying.join();
    }

    /// Leaves the database whole, with nothing ahead of it.
    fn end(&mut self, published_through: u64) -> Result<(), LogError> {
        let head = self.reader.head();
        if published_through > head.published_through {
            let packed = self.packer.mark(&head, published_through)?;
            self.store(&packed)?;
        }
        self.sync()?;
        self.ahead.clear().map_err(LogError::Write)?;
        end::note(&self.directory, &self.reader.head(), self.volumes.last_number())
    }

    fn usable(&self) -> Result<(), LogError> {
        if self.stopped { Err(LogError::Stopped) } else { Ok(()) }
    }
}

/// Takes in what was written ahead of the database, and brings that onto stable storage there.
fn catch_up(log: &Path, volumes: &Volumes, reader: &Reader) -> Result<(), LogError> {
    let store = volumes.last()?;
    let put_in = ahead::put_in(log, &store, volumes.last_first_frame(), reader.head());
    let synced = put_in.and_then(|head| store.sync().map(|()| head).map_err(LogError::Write));
    // Whoever is refused may close it; what could not be written is never closed.
    if matches!(synced, Err(LogError::Write(_))) {
        store.abandon();
    }
    reader.adopt(synced?);
    Ok(())
}

impl Log for DiskLog {
    fn append(&mut self, group: &[Draft], published_through: u64) -> Result<Vec<Outcome>, LogError> {
        self.usable()?;
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let packed = self.packer.pack(&self.reader.head(), group, published_through)?;
        self.space.admit(packed.bytes() as u64)?;
        self.turn_over()?;
        self.store(&packed)?;
        Ok(packed.outcomes)
    }

    fn reader(&self) -> Reader {
        self.reader.clone()
    }

    fn room(&self) -> Room {
        self.space.room()
    }

    fn close(mut self: Box<Self>, published_through: u64) -> Result<(), LogError> {
        self.usable()?;
        match self.end(published_through) {
            // Every group is on stable storage, ahead of the database or in it, and the next start finds it there.
            Err(error) if error.is_for_want_of_room() => {
                tracing::warn!(%error, "no room to put the log in order: nothing is lost, and the next start does it");
                Ok(())
            }
            ended => ended,
        }
    }
}

#[cfg(test)]
mod tests;
