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
