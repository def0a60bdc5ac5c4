//! The data directory: what is where, whose it is, and whether there is space.
//!
//! `switchboard.json` says which log this is · `log/` is the log: `log/1`, `log/2` and so on are its volumes, `log/1.json`
//! says what the first of them holds, `log/next` is the one to come, `log/base.json` says where a log begins whose old
//! volumes were removed · `log.json` and `log.reached` say how far the log reached · `cache/` and `cache.json` may be
//! deleted while nothing runs · `reserve` is given back when the disk is full, because the database needs space even to open.
//!
//! The directory is locked while it is open. A new one is called `switchboard.json.new` until its log is on stable
//! storage: an interrupted start is begun again, and a log that was lost is never taken for a new one. That of an import
//! is called `switchboard.json.import` until the last entry is in: half a log is never served.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codec::{hex, unhex};
use super::end::REACHED;
use super::error::LogError;
use super::lock::Lock;
use super::store::{SEGMENT_BYTES, sync_path};
use super::volumes;

/// The format of data directories that this program writes: the log stands in volumes, and keys without a value stand
/// between its frames. A release that knows neither would go on in the first volume, so it must see another format.
const FORMAT: u64 = 2;

/// The same for a log that begins with a [base](super::base): whoever knows of none would miss the volumes before it.
/// From the moment when a directory has this format its base counts, and must be there.
const FORMAT_WITH_BASE: u64 = 3;

/// The format before, read for good: it becomes the present one at the first start.
const FORMAT_OF_ONE_DATABASE: u64 = 1;

const METADATA: &str = "switchboard.json";
const METADATA_NEW: &str = "switchboard.json.new";
const METADATA_IMPORT: &str = "switchboard.json.import";

/// A data directory, locked by this process until the last handle is dropped.
pub struct Directory {
    path: PathBuf,
    log_id: Uuid,
    key: [u8; 32],
    _lock: Lock,
}

impl Directory {
    /// Opens a data directory, or makes it: for the service.
    pub fn open_or_create(path: &Path) -> Result<Self, LogError> {
        Self::make(path, Uuid::new_v4())
    }

    /// Makes a data directory for a log that exists elsewhere, in an empty place: for imports. Nothing else opens it
    /// until it is [finished](Self::finish).
    pub fn create(path: &Path, log_id: Uuid) -> Result<Self, LogError> {
        make_folder(path)?;
        let lock = Lock::take(path)?;
        check_empty(path)?;
        Self::write(path, METADATA_IMPORT, log_id, lock)
    }

    /// Makes what was created count: everything of it is on stable storage. `key` is that of the directory that the
    /// log comes from, where it may be known here.
    pub fn finish(&self, key: Option<[u8; 32]>) -> Result<(), LogError> {
        let format = if self.has_base()? { FORMAT_WITH_BASE } else { FORMAT };
        let metadata = Metadata::of(format, self.log_id, &key.unwrap_or(self.key));
        write_durably(&self.path.join(METADATA), &metadata)?;
        remove_if_there(&self.path.join(METADATA_IMPORT))?;
        sync_path(&self.path)
    }

    /// Takes back what was created, and the directory with it where it was not there before. Nothing may be open in it.
    pub fn discard(self, is_folder_ours: bool) -> Result<(), LogError> {
        let remove = |path: &Path| match path.is_dir() {
            true => fs::remove_dir_all(path).map_err(|e| LogError::io("remove", path, e)),
            false => remove_if_there(path),
        };
        // The mark of an import goes last: until then nothing takes the rest for a log.
        for part in ["log", "log.json", REACHED, "reserve", METADATA_IMPORT] {
            remove(&self.path.join(part))?;
        }
        if is_folder_ours { remove(&self.path) } else { Ok(()) }
    }

    /// Opens a data directory that holds a log: for tools. Makes nothing.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let metadata = [METADATA, METADATA_IMPORT];
        if !metadata.iter().any(|file| path.join(file).exists()) && !volumes::is_there(&path.join("log")) {
            return Err(LogError::NoLog(path.to_path_buf()));
        }
        let lock = Lock::take(path)?;
        Self::existing(path, lock)
    }

    /// The id of the log.
    pub fn log_id(&self) -> Uuid {
        self.log_id
    }

    /// A secret of this directory, for digests that nobody else can make.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log is.
    pub(super) fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Whether the log was on stable storage once: then it must be there.
    pub(super) fn is_settled(&self) -> bool {
        self.path.join(METADATA).exists()
    }

    /// Called when the log is on stable storage: from now on it must be there.
    pub(super) fn settle(&self) -> Result<(), LogError> {
        let new = self.path.join(METADATA_NEW);
        if new.exists() {
            fs::rename(&new, self.path.join(METADATA)).map_err(|e| LogError::io("rename", &new, e))?;
            sync_path(&self.path)?;
        }
        Ok(())
    }

    /// Gives an older directory the present format, durably: called before the log is written to.
    pub(super) fn raise_format(&self) -> Result<(), LogError> {
        let file = self.path.join(METADATA);
        let bytes = match fs::read(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes.map_err(|e| LogError::io("read", &file, e))?,
        };
        match Metadata::parse(&file, &bytes)?.format {
            FORMAT | FORMAT_WITH_BASE => Ok(()),
            _ => write_durably(&file, &Metadata::of(FORMAT, self.log_id, &self.key)),
        }
    }

    /// Whether the log begins with a base.
    pub(super) fn has_base(&self) -> Result<bool, LogError> {
        Ok(self.format()? == FORMAT_WITH_BASE)
    }

    /// That the log in it begins with a base, though its metadata does not say so.
    pub(super) fn before_base(&self, note: PathBuf) -> LogError {
        let expected = FORMAT_WITH_BASE;
        self.format().map_or_else(|error| error, |found| LogError::BeforeBase { note, found, expected })
    }

    fn format(&self) -> Result<u64, LogError> {
        let Some(file) = self.metadata_file() else { return Ok(FORMAT) };
        let bytes = fs::read(&file).map_err(|e| LogError::io("read", &file, e))?;
        Ok(Metadata::parse(&file, &bytes)?.format)
    }

    /// Says, durably, that the log begins with a base, which is on stable storage: from now on it must be there, and
    /// what stands before it counts no more.
    pub fn begin_with_base(&self) -> Result<(), LogError> {
        match self.metadata_file() {
            Some(file) => write_durably(&file, &Metadata::of(FORMAT_WITH_BASE, self.log_id, &self.key)),
            None => Err(LogError::MetadataLost(self.path.clone())),
        }
    }

    fn metadata_file(&self) -> Option<PathBuf> {
        [METADATA, METADATA_IMPORT].map(|name| self.path.join(name)).into_iter().find(|file| file.exists())
    }

    fn make(path: &Path, log_id: Uuid) -> Result<Self, LogError> {
        make_folder(path)?;
        let lock = Lock::take(path)?;
        if path.join(METADATA).exists() || path.join(METADATA_IMPORT).exists() {
            return Self::existing(path, lock);
        }
        let interrupted = path.join(METADATA_NEW).exists();
        if path.join("log").exists() {
            if !interrupted {
                return Err(LogError::MetadataLost(path.to_path_buf()));
            }
            fs::remove_dir_all(path.join("log")).map_err(|e| LogError::io("remove", &path.join("log"), e))?;
        }
        remove_if_there(&path.join("log.json"))?;
        remove_if_there(&path.join(REACHED))?;
        Self::write(path, METADATA_NEW, log_id, lock)
    }

    fn write(path: &Path, name: &str, log_id: Uuid, lock: Lock) -> Result<Self, LogError> {
        let key = random_key()?;
        write_durably(&path.join(name), &Metadata::of(FORMAT, log_id, &key))?;
        let path = fs::canonicalize(path).map_err(|e| LogError::io("find", path, e))?;
        sync_path(path.parent().unwrap_or(&path))?;
        Ok(Self { path, log_id, key, _lock: lock })
    }

    fn existing(path: &Path, lock: Lock) -> Result<Self, LogError> {
        let file = path.join(METADATA);
        let metadata = match fs::read(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && path.join(METADATA_IMPORT).exists() => {
                return Err(LogError::Unfinished(path.to_path_buf()));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(LogError::MetadataLost(path.to_path_buf())),
            bytes => Metadata::parse(&file, &bytes.map_err(|e| LogError::io("read", &file, e))?)?,
        };
        if metadata.segment_size != SEGMENT_BYTES {
            return Err(LogError::SegmentSize {
                path: path.to_path_buf(),
                found: metadata.segment_size,
                expected: SEGMENT_BYTES,
            });
        }
        let broken = |what: &str| LogError::MetadataBroken(file.clone(), what.into());
        if metadata.checksum.as_ref().is_some_and(|checksum| *checksum != metadata.expected_checksum()) {
            return Err(broken("its checksum does not match: the file was changed"));
        }
        let key = unhex(metadata.key.as_bytes()).ok_or_else(|| broken("key: expected 64 hex digits"))?;
        let log_id = Uuid::parse_str(&metadata.log_id).map_err(|_| broken("log_id: expected a UUID"))?;
        let path = fs::canonicalize(path).map_err(|e| LogError::io("find", path, e))?;
        Ok(Self { path, log_id, key, _lock: lock })
    }
}

/// `switchboard.json`.
#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u64,
    log_id: String,
    segment_size: u64,
    key: String,
    /// Of the other fields: another id or key would be as good as this one, and not be noticed. Older directories have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl Metadata {
    fn of(format: u64, log_id: Uuid, key: &[u8; 32]) -> Self {
        let (log_id, key) = (log_id.to_string(), hex(key));
        let mut metadata = Self { format, log_id, segment_size: SEGMENT_BYTES, key, checksum: None };
        metadata.checksum = Some(metadata.expected_checksum());
        metadata
    }

    fn expected_checksum(&self) -> String {
        let fields = format!("{} {} {} {}", self.format, self.log_id, self.segment_size, self.key);
        hex(&crc32fast::hash(fields.as_bytes()).to_be_bytes())
    }

    /// Reads the format first: what else another format says is not ours to judge.
    fn parse(file: &Path, bytes: &[u8]) -> Result<Self, LogError> {
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        let broken = |e: serde_json::Error| LogError::MetadataBroken(file.to_path_buf(), e.to_string());
        let Format { format } = serde_json::from_slice(bytes).map_err(broken)?;
        if !(FORMAT_OF_ONE_DATABASE..=FORMAT_WITH_BASE).contains(&format) {
            let path = file.parent().unwrap_or(file).to_path_buf();
            return Err(LogError::Format { path, found: format, expected: FORMAT_WITH_BASE });
        }
        serde_json::from_slice(bytes).map_err(broken)
    }
}

/// Writes a JSON file so that after a crash it is there whole, or as it was before.
pub(super) fn write_durably(file: &Path, content: &impl Serialize) -> Result<(), LogError> {
    let mut text = serde_json::to_vec_pretty(content).expect("plain fields are always JSON");
    text.push(b'\n');
    write_bytes_durably(file, &text)
}

/// Writes a file so that after a crash it is there whole, or as it was before.
pub(super) fn write_bytes_durably(file: &Path, text: &[u8]) -> Result<(), LogError> {
    let temporary = file.with_extension("tmp");
    let write = || {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        out.write_all(text)?;
        out.sync_all()?;
        fs::rename(&temporary, file)
    };
    write().map_err(|e| LogError::io("write", file, e))?;
    sync_path(file.parent().unwrap_or(file))
}

fn make_folder(path: &Path) -> Result<(), LogError> {
    let create = DirBuilder::new().recursive(true).mode(0o700).create(path);
    create.map_err(|e| LogError::io("create", path, e))
}

/// Nothing may be in the way; a file system of its own brings one folder along.
fn check_empty(path: &Path) -> Result<(), LogError> {
    for (file, refused) in [(METADATA, LogError::Exists as fn(_) -> _), (METADATA_IMPORT, LogError::Unfinished)] {
        if path.join(file).exists() {
            return Err(refused(path.to_path_buf()));
        }
    }
    for file in fs::read_dir(path).map_err(|e| LogError::io("list", path, e))? {
        let name = file.map_err(|e| LogError::io("list", path, e))?.file_name();
        if name != "lost+found" {
            return Err(LogError::NotEmpty(path.to_path_buf(), name.to_string_lossy().into_owned()));
        }
    }
    Ok(())
}

fn remove_if_there(file: &Path) -> Result<(), LogError> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", file, e)),
        _ => Ok(()),
    }
}

fn random_key() -> Result<[u8; 32], LogError> {
    let (mut key, source) = ([0; 32], Path::new("/dev/urandom"));
    let read = File::open(source).and_then(|mut random| random.read_exact(&mut key));
    read.map(|()| key).map_err(|e| LogError::io("read", source, e))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::space::RESERVE_BYTES;
    use super::super::{DiskLog, Log};
    use super::*;

    fn new_log(path: &Path) -> DiskLog {
        DiskLog::open(Arc::new(Directory::open_or_create(path).unwrap())).unwrap()
    }

    fn refusal(path: &Path) -> LogError {
        match Directory::open_or_create(path).and_then(|directory| DiskLog::open(Arc::new(directory))) {
            Ok(_) => panic!("{} opens", path.display()),
            Err(why) => why,
        }
    }

    fn change_metadata(path: &Path, from: &str, to: &str) {
        let file = path.join(METADATA);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from));
        fs::write(file, text.replace(from, to)).unwrap();
    }

    #[test]
    fn a_new_directory_keeps_its_id_and_its_key() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("deep/data");
        let first = Directory::open_or_create(&path).unwrap();
        let (id, key) = (first.log_id(), *first.key());
        DiskLog::open(Arc::new(first)).unwrap();
        let second = Directory::open_or_create(&path).unwrap();
        assert_eq!((second.log_id(), *second.key()), (id, key));
        assert_eq!(fs::metadata(path.join("reserve")).unwrap().len(), RESERVE_BYTES);
    }

    #[test]
    fn a_tool_makes_nothing() {
        let place = tempfile::tempdir().unwrap();
        assert!(matches!(Directory::open(place.path()), Err(LogError::NoLog(_))));
        assert!(matches!(Directory::open(&place.path().join("none")), Err(LogError::NoLog(_))));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_process_opens_it_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let log = new_log(place.path());
        let refused = refusal(place.path());
        assert!(matches!(refused, LogError::InUse(_)));
        assert!(refused.to_string().ends_with("in use by a running switchboard: stop it, or ask it with --nats URL"));
        assert!(matches!(Directory::open(place.path()), Err(LogError::InUse(_))));
        drop(log);
        Directory::open(place.path()).unwrap();
    }

    #[test]
    fn an_import_never_goes_over_a_log() {
        let place = tempfile::tempdir().unwrap();
        drop(new_log(place.path()));
        assert!(matches!(Directory::create(place.path(), Uuid::nil()), Err(LogError::Exists(_))));
    }

    #[test]
    fn an_import_counts_once_it_is_finished() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::create(place.path(), Uuid::from_u128(7)).unwrap();
        let made = *directory.key();
        drop(DiskLog::open(Arc::new(directory)).unwrap());
        assert!(matches!(refusal(place.path()), LogError::Unfinished(_)));
        assert!(matches!(Directory::open(place.path()), Err(LogError::Unfinished(_))));
        let other = tempfile::tempdir().unwrap();
        let directory = Directory::create(other.path(), Uuid::from_u128(7)).unwrap();
        directory.finish(Some([9; 32])).unwrap();
        drop(directory);
        let found = Directory::open(other.path()).unwrap();
        assert_eq!((found.log_id(), *found.key()), (Uuid::from_u128(7), [9; 32]));
        assert_ne!(made, [9; 32]);
    }

    #[test]
    fn an_import_wants_an_empty_place() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("lost+found")).unwrap();
        fs::write(place.path().join("notes.txt"), "mine").unwrap();
        let refused = Directory::create(place.path(), Uuid::nil());
        assert!(matches!(refused, Err(LogError::NotEmpty(_, name)) if name == "notes.txt"));
        fs::remove_file(place.path().join("notes.txt")).unwrap();
        Directory::create(place.path(), Uuid::nil()).unwrap();
    }

    #[test]
    fn other_formats_and_sizes_are_named() {
        let place = tempfile::tempdir().unwrap();
        drop(new_log(place.path()));
        change_metadata(place.path(), "\"format\": 2", "\"format\": 4");
        assert!(matches!(refusal(place.path()), LogError::Format { found: 4, expected: 3, .. }));
        change_metadata(place.path(), "\"format\": 4", "\"format\": 2");
        change_metadata(place.path(), "8388608", "524288");
        assert!(matches!(refusal(place.path()), LogError::SegmentSize { found: 524_288, .. }));
        change_metadata(place.path(), "524288", "oops");
        assert!(matches!(refusal(place.path()), LogError::MetadataBroken(..)));
    }

    #[test]
    fn a_directory_of_the_first_format_is_raised_when_it_is_written_to() {
        let place = tempfile::tempdir().unwrap();
        let key = *new_log(place.path()).directory().key();
        let file = place.path().join(METADATA);
        let mut older: Metadata = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        (older.format, older.checksum) = (1, None);
        older.checksum = Some(older.expected_checksum());
        write_durably(&file, &older).unwrap();
        drop(Directory::open(place.path()).unwrap());
        assert!(fs::read_to_string(&file).unwrap().contains("\"format\": 1"), "looking changes nothing");
        assert_eq!(new_log(place.path()).directory().key(), &key);
        assert!(fs::read_to_string(&file).unwrap().contains("\"format\": 2"));
    }

    #[test]
    fn a_lost_part_is_never_made_anew() {
        let place = tempfile::tempdir().unwrap();
        drop(new_log(place.path()));
        let metadata = fs::read(place.path().join(METADATA)).unwrap();
        fs::remove_file(place.path().join(METADATA)).unwrap();
        assert!(matches!(refusal(place.path()), LogError::MetadataLost(_)));
        fs::write(place.path().join(METADATA), metadata).unwrap();
        fs::remove_dir_all(place.path().join("log")).unwrap();
        assert!(matches!(refusal(place.path()), LogError::Corrupt(..)));
    }

    #[test]
    fn an_interrupted_creation_is_begun_again() {
        let place = tempfile::tempdir().unwrap();
        drop(new_log(place.path()));
        fs::rename(place.path().join(METADATA), place.path().join(METADATA_NEW)).unwrap();
        let log = new_log(place.path());
        assert_eq!(log.reader().head().frames, 0);
        assert!(place.path().join(METADATA).exists() && !place.path().join(METADATA_NEW).exists());
    }

    #[test]
    fn what_cannot_be_written_says_so() {
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
            assert!(matches!(LogError::io("open", Path::new("d"), kind.into()), LogError::ReadOnly(_)));
        }
        let read_only = Path::new("/proc/self");
        assert!(matches!(
            Directory::open_or_create(&read_only.join("data")),
            Err(LogError::ReadOnly(_) | LogError::Io { .. })
        ));
    }
}
