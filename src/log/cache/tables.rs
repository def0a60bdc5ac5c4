//! The database of the cache: sorted tables that are never changed, merged now and then, and in memory and in a file what
//! came since the last of them was made. A log-structured merge tree, in the care of `lsm-tree`.
//!
//! Most of what is looked up was never there: a conversation with a new id. Every table has a filter of some ten bits a
//! row, all of them in memory, so that such an id is answered without a read of the disk, however long the log is; and
//! what a row takes in memory is that filter and its share of an index, and nothing else.
//!
//! Rows that no table has yet stand in `recent`, [record](super::records) after record, in the order in which they came;
//! a flush hands them to the system with `write`, so they survive a kill. A table is on stable storage before
//! `recent` begins anew; a kill between the two only has rows put in again. So what a start finds is always all that was
//! put in up to some moment, and that moment is not before the last flush: `through`, which is put in behind the
//! rows that it speaks of, is never there without them.
//!
//! One thread puts in, makes tables and merges them, one step a round: nothing runs behind its back, and after
//! a failure nothing is put in any more. Who looks up a key waits for none of that, nor for others who do. The tree syncs its
//! list of tables under the lock that its own look-ups take, so looking up goes past it, to the tables as they were after the
//! last change. Who asks for the rows between two keys goes through the tree and may wait: the past and tools do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use lsm_tree::checksum::ChecksummedWriter;
use lsm_tree::compaction::Leveled;
use lsm_tree::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy};
use lsm_tree::table::filter::standard_bloom;
use lsm_tree::{AbstractTree, AnyTree, Config, DescriptorTable, Guard, SeqNo, SequenceNumberCounter, UserValue};
use rustix::io::Errno;
use uuid::Uuid;

use super::medium::{Pair, Row, Shelves};
use super::records::{Out, PIECE_BYTES, Point, Records};
use crate::log::error::LogError;
use crate::log::space::{ROOM_BYTES_MIN, free};
use crate::log::store::{quietly, sync_path};

/// The folder is `closed.` and a name that no other ever had: a handle on one that was wiped finds nothing in its place.
const FOLDER: &str = "closed.";
const RECENT: &str = "recent";
/// Where the tree says which list of tables counts.
const LIST: &str = "current";

/// What a row is; the keys of all begin with it.
const CLOSED: u8 = b'c';
const PART: u8 = b'p';
const THROUGH: u8 = b't';

/// The one kind of record in `recent`.
const ROW: u8 = b'r';

/// Blocks of tables in memory; the system has the files.
const BLOCKS_BYTES: u64 = 8 << 20;
/// Files of tables that are kept open, besides those of a merge under way.
/// Another has to be opened to be read: where no handle is left that counts as damage, and the next start builds anew.
const FILES_MAX: usize = 64;
/// A row is taken for another's in one of a hundred look-ups, which costs a read.
const FILTER_BITS: f32 = 10.0;
/// In the tables that came last, which have few of the rows, in one of ten thousand.
const FILTER_ERRORS: f32 = 0.0001;
/// Merging some tables writes no more than that anew, and those that came last. The old ones go with the change after that.
const MERGE_BYTES_MAX: u64 = 256 << 20;

/// How large things are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Rows in memory, before they become a table.
    pub memory_bytes: u64,
    /// Tables that came last, before they are merged.
    pub runs: u8,
    /// The same, before whoever puts in does it at once.
    pub runs_max: usize,
    /// The same, before nothing more is put in. The tree counts them in one byte.
    pub runs_bound: usize,
    /// A table that was merged.
    pub table_bytes: u64,
}

impl Default for Sizes {
    /// A merge reads and writes about 64 of these tables at most, which takes a second.
    fn default() -> Self {
        Self { memory_bytes: 8 << 20, runs: 8, runs_max: 16, runs_bound: 192, table_bytes: 8 << 20 }
    }
}

/// `closed.…` in the folder of a cache.
pub(super) struct Tables {
    tree: AnyTree,
    /// Numbers rows in the order in which they were put in.
    numbers: SequenceNumberCounter,
    look: RwLock<Look>,
    recent: Mutex<Recent>,
    merging: Arc<Leveled>,
    sizes: Sizes,
    folder: PathBuf,
}

/// Looks a key up in the rows in memory, and in the tables as they were when this was made.
type Look = Arc<dyn Fn(&[u8]) -> lsm_tree::Result<Option<UserValue>> + Send + Sync>;

/// What no table has yet.
struct Recent {
    file: File,
    out: Out,
    /// Something failed: what follows might be there without it.
    has_failed: bool,
    /// So did a merge, for want of room: the next is tried when so many tables have come.
    merged_from: usize,
}

impl Tables {
    /// Opens what there is in the folder of a cache, or makes an empty one.
    pub fn open(cache: &Path) -> Result<Self, LogError> {
        Self::open_with(cache, Sizes::default())
    }

    /// The same with other sizes.
    pub fn open_with(cache: &Path, sizes: Sizes) -> Result<Self, LogError> {
        let found = folder_in(cache)?;
        let is_new = found.is_none();
        let folder = found.unwrap_or_else(|| cache.join(format!("{FOLDER}{}", Uuid::new_v4().simple())));
        let corrupt = |why| LogError::Corrupt(folder.clone(), why);
        // Without its list of tables the tree would begin anew.
        if let Some(gone) = [LIST, RECENT].iter().find(|file| !is_new && !folder.join(file).exists()) {
            return Err(corrupt(format!("its file {gone} is gone")));
        }
        if !is_new {
            check_list(&folder).map_err(corrupt)?;
        }
        let numbers = SequenceNumberCounter::default();
        let tree = careful(|| config(&folder, &numbers).open()).map_err(corrupt)?;
        numbers.set(tree.get_highest_seqno().map_or(0, |highest| highest + 1));
        let path = folder.join(RECENT);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(|e| LogError::io("open", &path, e))?;
        let end = put_in_again(&file, &tree, &numbers).map_err(corrupt)?;
        file.set_len(end.bytes).map_err(|e| LogError::io("cut", &path, e))?;
        let recent = Recent { file, out: Out::behind(end), has_failed: false, merged_from: 0 };
        let (recent, look) = (Mutex::new(recent), RwLock::new(look_in(&tree)));
        let merging = Leveled::default().with_l0_threshold(sizes.runs).with_table_target_size(sizes.table_bytes);
        Ok(Self { tree, numbers, look, recent, merging: Arc::new(merging), sizes, folder })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let look = self.look.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = careful(|| look(key))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn insert(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
        let mut recent = self.recent();
        recent.add(&key, &value)?;
        let number = self.numbers.next();
        let (_, in_memory) = careful(|| Ok(self.tree.insert(key, value, number)))?;
        if in_memory < self.sizes.memory_bytes { Ok(()) } else { self.make_table(&mut recent) }
    }

    /// Makes a table of what is in memory.
    fn make_table(&self, recent: &mut Recent) -> Result<(), String> {
        // A kill before that begins anew puts all of these in again, not only the older ones on top of newer.
        recent.write_if(1)?;
        recent.has_failed = true;
        let runs = self.runs()?;
        if runs >= self.sizes.runs_bound {
            return Err(format!(
                "{runs} tables came that could not be merged, expected less: there has to be room for it"
            ));
        }
        careful(|| self.tree.flush_active_memtable(self.numbers.get()))?;
        self.look_anew();
        recent.begin_anew()?;
        recent.has_failed = false;
        while self.runs()? >= self.sizes.runs_max && self.merge(recent)? {}
        Ok(())
    }

    /// Tables that came last, and were not merged yet.
    fn runs(&self) -> Result<usize, String> {
        careful(|| Ok(self.tree.l0_run_count()))
    }

    /// Merges some tables, if it is time; whether it was.
    fn merge(&self, recent: &mut Recent) -> Result<bool, String> {
        let (runs, list) = (self.runs()?, careful(|| Ok(self.tree.current_version()))?);
        let needed = careful(|| Ok(self.tree.disk_space()))?.min(list.l0().size() + MERGE_BYTES_MAX);
        if runs < recent.merged_from || free(&self.folder) < needed + ROOM_BYTES_MIN {
            return Ok(false);
        }
        let first = careful(|| Ok(self.tree.next_table_id()))?;
        match quietly(|| self.tree.compact(self.merging.clone(), self.numbers.get()))? {
            Ok(()) => recent.merged_from = 0,
            // Nothing is lost: there are more tables to look into.
            Err(lsm_tree::Error::Io(error)) if is_want(&error) => {
                recent.merged_from = runs + runs / 2 + 1;
                tracing::warn!(%error, runs, again = recent.merged_from, "closed conversations cannot be merged for now");
                self.remove_from(first, list.id())
                    .or_else(|error| if is_want(&error) { Ok(()) } else { Err(error) })
                    .map_err(|error| format!("remove what was not merged: {error}"))?;
                return Ok(false);
            }
            Err(error) => return Err(told(error)),
        }
        let is_merged = careful(|| Ok(self.tree.current_version().id()))? != list.id();
        if is_merged {
            self.look_anew();
        }
        Ok(is_merged)
    }

    /// Removes what a merge wrote before it failed, unless the list of tables that counts is not the one before it.
    fn remove_from(&self, first: u64, list: u64) -> io::Result<()> {
        if !fs::read(self.folder.join(LIST))?.starts_with(&list.to_le_bytes()) {
            return Ok(());
        }
        for file in fs::read_dir(self.folder.join("tables"))? {
            let file = file?;
            if file.file_name().to_string_lossy().parse::<u64>().is_ok_and(|id| id >= first) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// The tree itself holds on to the tables before until the next change, so nobody who looks up is the last to let go
    /// of them, and removes files. Until then a service at rest keeps what was merged on the disk, and what became a table in
    /// memory.
    fn look_anew(&self) {
        let look = look_in(&self.tree);
        let before = std::mem::replace(&mut *self.look.write().unwrap_or_else(PoisonError::into_inner), look);
        drop(before);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves for Tables {
    fn closed(&self, id: &str) -> Result<Option<Vec<u8>>, String> {
        self.get(&key(CLOSED, id.as_bytes()))
    }

    fn insert_closed(&self, id: &str, value: Vec<u8>) -> Result<(), String> {
        self.insert(key(CLOSED, id.as_bytes()), value)
    }

    fn closed_after(&self, id: Option<&str>) -> Box<dyn Iterator<Item = Row> + Send> {
        let after = Bound::Excluded(key(CLOSED, id.unwrap_or_default().as_bytes()));
        let before = Bound::Excluded(vec![CLOSED + 1]);
        let mut rows = match careful(|| Ok(self.tree.range((after, before), SeqNo::MAX, None))) {
            Ok(rows) => rows,
            Err(why) => return Box::new(std::iter::once(Err(why))),
        };
        Box::new(std::iter::from_fn(move || {
            let row = careful(|| rows.next().map(Guard::into_inner).transpose()).transpose()?;
            Some(row.map(|(key, value)| (key[1..].to_vec(), value.to_vec())))
        }))
    }

    fn insert_part(&self, part: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
        self.insert(key(PART, &part), value)
    }

    fn part(&self, part: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.get(&key(PART, part))
    }

    fn last_part(&self, first: &[u8], last: &[u8]) -> Result<Option<Pair>, String> {
        let range = key(PART, first)..=key(PART, last);
        let found = careful(|| self.tree.range(range, SeqNo::MAX, None).next_back().map(Guard::into_inner).transpose());
        Ok(found?.map(|(key, value)| (key[1..].to_vec(), value.to_vec())))
    }

    fn through(&self) -> Result<Option<Vec<u8>>, String> {
        self.get(&[THROUGH])
    }

    fn set_through(&self, value: Vec<u8>) -> Result<(), String> {
        self.insert(vec![THROUGH], value)
    }

    fn flush(&self) -> Result<(), String> {
        self.recent().write_if(1)
    }

    fn sync(&self) -> Result<(), String> {
        let mut recent = self.recent();
        recent.write_if(1)?;
        recent.file.sync_all().map_err(|error| format!("fsync of the file {RECENT}: {error}"))?;
        sync_path(&self.folder).map_err(|error| error.to_string())
    }

    fn tidy(&self) -> Result<(), String> {
        self.merge(&mut self.recent()).map(drop)
    }

    fn abandon(&self) {
        self.recent().has_failed = true;
    }
}

impl Recent {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        if self.has_failed {
            return Err("an earlier row could not be written".into());
        }
        let length = (key.len() as u16).to_be_bytes();
        self.out.record(ROW, &[&length, key, value]);
        self.write_if(PIECE_BYTES)
    }

    fn write_if(&mut self, bytes: usize) -> Result<(), String> {
        if self.has_failed {
            return Err("an earlier row could not be written".into());
        }
        let file = &mut self.file;
        let written = self.out.write_if(bytes, |bytes| file.write_all(bytes).map_err(|e| e.to_string()));
        self.has_failed = written.is_err();
        written.map_err(|why| format!("write the file {RECENT}: {why}"))
    }

    fn begin_anew(&mut self) -> Result<(), String> {
        self.out = Out::default();
        self.file.set_len(0).map_err(|error| format!("cut the file {RECENT}: {error}"))
    }
}

/// The tree notes a checksum of its list of tables and never looks at it, and removes what is not on the list.
fn check_list(folder: &Path) -> Result<(), String> {
    let unread = |error: io::Error| format!("read the list of tables: {error}");
    let current = fs::read(folder.join(LIST)).map_err(unread)?;
    let noted = current.split_first_chunk().and_then(|(number, rest)| Some((number, rest.first_chunk()?)));
    let (number, checksum) = noted.ok_or_else(|| format!("the file {LIST} is too short"))?;
    let list = fs::read(folder.join(format!("v{}", u64::from_le_bytes(*number)))).map_err(unread)?;
    let mut hasher = ChecksummedWriter::new(io::sink());
    hasher.write_all(&list).map_err(unread)?;
    match hasher.checksum().into_u128() == u128::from_le_bytes(*checksum) {
        true => Ok(()),
        false => Err("the checksum of the list of tables does not match".into()),
    }
}

/// Puts in what no table has, up to what a kill left half written; where that begins.
fn put_in_again(file: &File, tree: &AnyTree, numbers: &SequenceNumberCounter) -> Result<Point, String> {
    let unread = |error: std::io::Error| format!("read the file {RECENT}: {error}");
    let length = file.metadata().map_err(unread)?.len();
    let reader = file.try_clone().map_err(unread)?;
    let mut records = Records::new(Box::new(reader), Point::default(), length);
    loop {
        let why = match records.step() {
            Ok(true) => None,
            Ok(false) => break,
            Err(why) => Some(why),
        };
        let row = parse(records.content()).filter(|_| why.is_none());
        let Some((key, value)) = row else {
            let bytes = length - records.at.bytes;
            tracing::warn!(bytes, why, "the end of what the cache keeps of closed conversations does not count");
            break;
        };
        careful(|| Ok(tree.insert(key, value, numbers.next())))?;
    }
    Ok(records.at)
}

fn parse(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.strip_prefix(&[ROW])?.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

fn config(folder: &Path, numbers: &SequenceNumberCounter) -> Config {
    let few = FilterPolicyEntry::Bloom(BloomConstructionPolicy::FalsePositiveRate(FILTER_ERRORS));
    let many = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(FILTER_BITS));
    Config::new(folder, numbers.clone(), SequenceNumberCounter::default())
        .use_cache(Arc::new(lsm_tree::Cache::with_capacity_bytes(BLOCKS_BYTES)))
        .use_descriptor_table(Some(Arc::new(DescriptorTable::new(FILES_MAX))))
        .filter_policy(FilterPolicy::new([few, few, many]))
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PinningPolicy::all(false))
        .index_block_partitioning_policy(PinningPolicy::all(true))
}

/// Newer rows are found before older ones of the same key. None was ever removed.
fn look_in(tree: &AnyTree) -> Look {
    let (memory, version) = (tree.active_memtable(), tree.current_version());
    Arc::new(move |key| {
        if let Some(row) = memory.get(key, SeqNo::MAX) {
            return Ok(Some(row.value));
        }
        let hash = standard_bloom::Builder::get_hash(key);
        for run in version.iter_levels().flat_map(|level| level.iter()) {
            let Some(table) = run.get_for_key(key) else { continue };
            if let Some(row) = table.get(key, SeqNo::MAX, hash)? {
                return Ok(Some(row.value));
            }
        }
        Ok(None)
    })
}

fn folder_in(cache: &Path) -> Result<Option<PathBuf>, LogError> {
    let unread = |e| LogError::io("list", cache, e);
    for entry in fs::read_dir(cache).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        if entry.file_name().to_string_lossy().starts_with(FOLDER) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn key(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

/// Whether room is wanting, or handles of files: what was there is there still, and it may go better later.
fn is_want(error: &io::Error) -> bool {
    let is_handles =
        [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    is_handles || matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Runs what may find damage; a panic of the tree becomes an error.
fn careful<T>(work: impl FnOnce() -> lsm_tree::Result<T>) -> Result<T, String> {
    quietly(work)?.map_err(told)
}

fn told(error: lsm_tree::Error) -> String {
    match error {
        lsm_tree::Error::Io(error) => error.to_string(),
        lsm_tree::Error::Unrecoverable => "a table is gone, or the list of tables does not read".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
