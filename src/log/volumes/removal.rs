//! What is left of volumes that were removed: it goes at the next opening, however far the removal had come.
//!
//! The order of a removal: the lines of the [base](crate::log::base) are written and synced, then its note; the cache, which
//! rests on what goes, is wiped; then the directory is given the format that says that there is a base, or has it
//! already, and the note took the place of the one before. That is the moment from which the base counts. Before it the
//! log is as it was, and what was prepared is taken away; after it the volumes up to that of the base count no more,
//! and are taken away, the lowest first. A crash between any two steps leaves one of the two, and the next start does the
//! rest, once it has seen that what remains is there and follows.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::row;
use crate::log::base::{NOTE, NOTE_UNFINISHED, lines_name, volume_of};
use crate::log::error::LogError;
use crate::log::store::sync_path;

/// What a first volume from before there were several has, in the folder of the log itself.
const OF_ONE_DATABASE: [&str; 3] = ["conf", "blobs", "db"];

/// Whether a base has counted, as far as the files tell: what was before the moment of a removal has its first volume,
/// and what came with an import was never without its base.
pub fn has_counted(log: &Path) -> bool {
    let is_imported = log.join(lines_name(0)).exists();
    log.join(NOTE).exists() && (is_imported || !row::folder(log, 1).join("db").exists())
}

/// Takes away what counts no more: all up to that volume, where the log begins with its base; any base where it
/// begins with none.
pub fn go_on(log: &Path, base: Option<u64>) -> Result<(), LogError> {
    let mut left = leftovers(log, base)?;
    if left.is_empty() {
        return Ok(());
    }
    left.sort();
    take_away(&left, |path| if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) });
    sync_path(log)
}

/// What cannot be deleted takes room and is in nobody's way: the next start tries again.
fn take_away(left: &[(u64, PathBuf)], remove: impl Fn(&Path) -> io::Result<()>) {
    for (volume, path) in left {
        match remove(path) {
            Ok(()) => tracing::info!(volume, path = %path.display(), "what was removed from the log is taken away"),
            Err(error) => {
                tracing::warn!(volume, path = %path.display(), %error, "what was removed from the log cannot be deleted");
            }
        }
    }
}

/// With the volume that it is of.
fn leftovers(log: &Path, base: Option<u64>) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let entries = match fs::read_dir(log) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| LogError::io("list", log, e))?,
    };
    let mut left = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| LogError::io("list", log, e))?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        left.extend(left_of(name, base).map(|volume| (volume, path)));
    }
    Ok(left)
}

/// Of which volume something of that name is left; none where it counts.
fn left_of(name: &str, base: Option<u64>) -> Option<u64> {
    if let Some(volume) = volume_of(name) {
        return (base != Some(volume)).then_some(volume);
    }
    if name == NOTE_UNFINISHED {
        return Some(0);
    }
    let Some(base) = base else { return (name == NOTE).then_some(0) };
    let number = name.strip_suffix(".json").unwrap_or(name).parse().ok();
    let is_of_first = OF_ONE_DATABASE.contains(&name) || name.starts_with("snap.");
    number.or(is_of_first.then_some(1)).filter(|volume| (1..=base).contains(volume))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_deleted_keeps_nothing_else_from_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["1", "2", "4"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["1.json", "4.json", "base.2.zst", "base.3.zst", "base.json", "base.tmp"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let mut left = leftovers(folder.path(), Some(3)).unwrap();
        left.sort();
        assert_eq!(left.len(), 5, "{left:?}");
        take_away(&left, |path| match path.ends_with("1") {
            true => Err(io::ErrorKind::ResourceBusy.into()),
            false => {
                if path.is_dir() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
            }
        });
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["1", "4", "4.json", "base.3.zst", "base.json"]);
        go_on(folder.path(), Some(3)).unwrap();
        assert!(!folder.path().join("1").exists(), "the next start does it");
    }
}
