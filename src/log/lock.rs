//! The lock on a data directory: one process at a time.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::error::LogError;

/// A directory that is locked until this is dropped. The lock is on the directory itself, which needs no file, and it
/// ends with the process.
pub struct Lock(File);

impl Lock {
    /// Locks a directory that this process may write to.
    pub fn take(path: &Path) -> Result<Self, LogError> {
        let access = rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
        access.map_err(|e| LogError::io("write to", path, e.into()))?;
        let directory = File::open(path).map_err(|e| LogError::io("open", path, e))?;
        match directory.try_lock() {
            Ok(()) => Ok(Self(directory)),
            Err(TryLockError::WouldBlock) => Err(LogError::InUse(path.to_path_buf())),
            Err(TryLockError::Error(e)) => Err(LogError::io("lock", path, e)),
        }
    }
}

impl Drop for Lock {
    /// A process that another thread is just starting holds a copy of the file until it has begun; closing alone would
    /// leave the lock with it for so long.
    fn drop(&mut self) {
        // Closing it, which comes next, is all that is left to try.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn it_ends_at_once_though_processes_are_started_meanwhile() {
        let place = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // What a child inherits it has from between the copy of the process and the beginning of the program.
                    Command::new("true").status().unwrap();
                }
            });
            let refused = (0..20_000).find_map(|_| Lock::take(place.path()).err());
            done.store(true, Ordering::Relaxed);
            assert!(refused.is_none(), "{refused:?}");
        });
    }
}
