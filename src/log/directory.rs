//! The data directory: what is where, whose it is, and whether there is space.
//!
//! `switchboard.json` says which log this is · `log/` is the log: `log/1`, `log/2` and so on are its volumes, `log/1.json`
//! says what the first of them holds, `log/next` is the one to come, `log/base.json` says where a log begins whose old
//! volumes were removed, `log/ahead` holds what was written last · `log.json` and `log.reached` say how far the log
//! reached · `cache/` and `cache.json` may be deleted while nothing runs · `reserve` is given back when the disk is full,
//! because the database needs space even to open.
//!
//! The directory is locked while it is open. A new one is called `switchboard.json.new` until its log is on stable
//! storage: an interrupted start is begun again, and a log that was lost is never taken for a new one. That of an import
//! is called `switchboard.json.import` until the last entry is in: half a log is never served.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use uuid::Uuid;

use super::end::REACHED;
use super::error::LogError;
use super::lock::Lock;
use super::store::sync_path;
use super::volumes;
use metadata::{FORMAT, FORMAT_WITH_BASE, Metadata};

mod metadata;

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
        // What may not be looked into is no directory without a log.
        let denied = fs::read_dir(path).err().or_else(|| path.join(METADATA).try_exists().err());
        if let Some(error) = denied.filter(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return Err(LogError::io("read", path, error));
        }
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
        match Metadata::read(&file)?.and_then(|metadata| metadata.raised()) {
            Some(format) => write_durably(&file, &Metadata::of(format, self.log_id, &self.key)),
            None => Ok(()),
        }
    }

    /// Whether the log begins with a base.
    pub(super) fn has_base(&self) -> Result<bool, LogError> {
        Ok(self.metadata()?.is_some_and(|metadata| metadata.has_base()))
    }

    /// That the log in it begins with a base, though its metadata does not say so.
    pub(super) fn before_base(&self, note: PathBuf) -> LogError {
        let format = self.metadata().map(|metadata| metadata.map_or(FORMAT, |metadata| metadata.format));
        let expected = FORMAT_WITH_BASE;
        format.map_or_else(|error| error, |found| LogError::BeforeBase { note, found, expected })
    }

    fn metadata(&self) -> Result<Option<Metadata>, LogError> {
        self.metadata_file().map_or(Ok(None), |file| Metadata::read(&file))
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
        let Some(metadata) = Metadata::read(&file)? else {
            let missing =
                if path.join(METADATA_IMPORT).exists() { LogError::Unfinished } else { LogError::MetadataLost };
            return Err(missing(path.to_path_buf()));
        };
        let (log_id, key) = metadata.identity(&file)?;
        let path = fs::canonicalize(path).map_err(|e| LogError::io("find", path, e))?;
        Ok(Self { path, log_id, key, _lock: lock })
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
mod tests;
