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
        let head = self.reader.head();
        if published_through > head.published_through {
            let packed = self.packer.mark(&head, published_through)?;
            self.store(&packed)?;
        }
        self.sync()?;
        self.ahead.clear().map_err(LogError::Write)?;
        end::note(&self.directory, &self.reader.head(), self.volumes.last_number())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::super::conformance::{group, noisy};
    use super::super::reader::Head;
    use super::*;

    const CHILD: &str = "SWITCHBOARD_TEST_LOG";
    const VOLUME: &str = "SWITCHBOARD_TEST_LOG_VOLUME";

    fn open(path: &Path) -> DiskLog {
        DiskLog::open(Arc::new(Directory::open_or_create(path).unwrap())).unwrap()
    }

    fn verified(log: &DiskLog) -> Head {
        let mut head = Head::empty(log.reader.log_id());
        log.reader.frames(1).for_each(|frame| head.follow(&frame.unwrap()).unwrap());
        head
    }

    /// Runs only as a child process of the test below: appends until it is killed, and says what was acknowledged.
    #[test]
    fn child_that_appends_until_it_is_killed() {
        let Ok(path) = std::env::var(CHILD) else { return };
        let volume_bytes = std::env::var(VOLUME).unwrap().parse().unwrap();
        let directory = Arc::new(Directory::open_or_create(Path::new(&path)).unwrap());
        let mut log = DiskLog::open_with(directory, volume_bytes).unwrap();
        loop {
            let head = log.reader.head();
            let drafts = group(&head, &[2; 40], head.last_at);
            log.append(&drafts, 0).unwrap();
            println!("acknowledged {}", log.reader.head().next_seq);
        }
    }

    #[test]
    fn a_killed_writer_leaves_all_that_it_acknowledged() {
        kill_writers(VOLUME_BYTES, 5);
    }

    #[test]
    fn a_writer_killed_while_it_changes_volumes_leaves_all_that_it_acknowledged() {
        assert!(kill_writers(4_000, 8).volumes.sealed().len() > 3);
    }

    fn kill_writers(volume_bytes: u64, rounds: usize) -> DiskLog {
        let place = tempfile::tempdir().unwrap();
        let mut known = 1;
        for round in 1..=rounds {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "log::disk::tests::child_that_appends_until_it_is_killed", "--nocapture"])
                .env(CHILD, place.path())
                .env(VOLUME, volume_bytes.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            // libtest writes its own words before the first of ours, on the same line.
            let acknowledged = |line: String| line.split_once("acknowledged ")?.1.parse().ok();
            known = lines.filter_map(acknowledged).nth(round * 3).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            let log = open(place.path());
            assert!(log.reader.head().next_seq >= known, "round {round}");
            assert_eq!(verified(&log), log.reader.head());
        }
        assert!(known > 400);
        open(place.path())
    }

    #[test]
    fn nothing_is_written_beside_the_synced_file() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path());
        for n in 0..60 {
            log.append(&[noisy(&log.reader.head(), n, 8_000)], 0).unwrap();
        }
        drop(log);
        let log = open(place.path());
        assert_eq!(verified(&log).next_seq, 61);
        assert_eq!(fs::read_dir(place.path().join("log/1/blobs")).unwrap().count(), 0);
    }

    #[test]
    fn an_interrupted_open_does_not_spoil_the_next() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path());
        log.append(&group(&log.reader.head(), &[1; 3], 1), 0).unwrap();
        drop(log);
        fs::write(place.path().join("log/1/snap.00000000FFFFFFFF.generating"), b"half").unwrap();
        assert_eq!(open(place.path()).reader.head().next_seq, 4);
    }

    #[test]
    fn a_damaged_database_is_an_error_and_no_panic() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path());
        for n in 0..20 {
            log.append(&group(&log.reader.head(), &[1; 100], n * 100), 0).unwrap();
        }
        let whole = log.reader.head();
        Box::new(log).close(0).unwrap();
        let file = place.path().join("log/1/db");
        let bytes = fs::read(&file).unwrap();
        for at in [10, bytes.len() / 5, bytes.len() / 4, bytes.len() / 3, bytes.len() / 2] {
            let mut damaged = bytes.clone();
            damaged[at..at + 64].fill(0x5a);
            fs::write(&file, &damaged).unwrap();
            let directory = Arc::new(Directory::open(place.path()).unwrap());
            let Ok(log) = DiskLog::open(directory) else { continue };
            let mut head = Head::empty(log.reader.log_id());
            let fault = log.reader.frames(1).find_map(|frame| frame.and_then(|frame| head.follow(&frame)).err());
            assert!(
                fault.is_some() || head.frames < whole.frames || head == whole,
                "damage at {at} reads as something else"
            );
        }
    }

    #[test]
    fn a_log_without_its_end_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path());
        log.append(&group(&log.reader.head(), &[1; 3], 1), 0).unwrap();
        Box::new(log).close(0).unwrap();
        let database = sled::Config::new()
            .path(place.path().join("log/1"))
            .segment_size(super::super::store::SEGMENT_BYTES as usize)
            .open()
            .unwrap();
        database.remove(1u64.to_be_bytes()).unwrap();
        drop(database);
        std::thread::sleep(std::time::Duration::from_millis(50));
        let directory = || Arc::new(Directory::open(place.path()).unwrap());
        assert!(matches!(DiskLog::open(directory()), Err(LogError::Shortened { .. })));
        fs::remove_file(place.path().join("log.json")).unwrap();
        assert_eq!(DiskLog::open(directory()).unwrap().reader.head().frames, 0);
    }

    #[test]
    fn what_stands_after_a_failed_write_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path());
        log.append(&group(&log.reader.head(), &[1], 1), 0).unwrap();
        log.stopped = true;
        let drafts = group(&log.reader.head(), &[1], 2);
        assert!(matches!(log.append(&drafts, 0), Err(LogError::Stopped)));
        assert_eq!(log.reader.frames(1).count(), 1, "readers go on");
        assert!(matches!(Box::new(log).close(9), Err(LogError::Stopped)));
    }
}
