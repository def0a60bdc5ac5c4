//! What is done beside the writer once a volume is sealed: what takes a while, and no group need wait for.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::Volumes;
use super::shelf::Volume;

/// One round at a time.
#[derive(Default)]
pub struct Tidying(Option<JoinHandle<()>>);

impl Tidying {
    /// Closes those that were put away and, where there is room, has the one just sealed closed and opened once: sled
    /// takes a segment more when it opens one for the first time after it was written to, and later none. So it is read
    /// on a full disk too.
    pub fn begin(&mut self, volumes: &Arc<Volumes>, put_away: Vec<Arc<Volume>>, sealed: u64, is_room: bool) {
        self.join();
        let volumes = volumes.clone();
        let work = move || {
            drop(put_away);
            if is_room && let Err(why) = volumes.shelf.open_anew(sealed, &volumes.folder_of(sealed)) {
                tracing::warn!(volume = sealed, why, "a sealed volume could not be opened: its events cannot be read");
            }
        };
        self.0 = Builder::new().name("volume".into()).spawn(work).ok();
    }

    /// Waits until it is done.
    pub fn join(&mut self) {
        if let Some(tidying) = self.0.take() {
            let _ = tidying.join();
        }
    }
}

impl Drop for Tidying {
    /// The directory may be opened again right away.
    fn drop(&mut self) {
        self.join();
    }
}

#[cfg(test)]
mod tests {
    use crate::log::conformance::group;
    use crate::log::{Directory, DiskLog, Log};

    /// So that what is sealed is read on a full disk.
    #[test]
    fn a_sealed_volume_does_not_grow_when_it_is_opened() {
        let place = tempfile::tempdir().unwrap();
        let open = || DiskLog::open_with(Directory::open_or_create(place.path()).unwrap().into(), 1).unwrap();
        let mut log = open();
        for _ in 0..4 {
            let head = log.reader().head();
            log.append(&group(&head, &[1; 5], head.last_at + 100), 0).unwrap();
        }
        log.settle();
        drop(log);
        let bytes = |volume| std::fs::metadata(place.path().join(format!("log/{volume}/db"))).unwrap().len();
        let before: Vec<_> = (1..=3).map(bytes).collect();
        for _ in 0..2 {
            let reader = open().reader();
            assert_eq!(reader.frames(1).filter(Result::is_ok).count(), 4);
        }
        assert_eq!((1..=3).map(bytes).collect::<Vec<_>>(), before);
    }
}
