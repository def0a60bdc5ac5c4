//! A sync of the log's database beside the groups that come, which stand [ahead](super::ahead) of it meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::error::LogError;
use super::store::Store;

/// After so long it is seen to it that a sync which has failed comes to an end.
const NUDGE_EVERY: Duration = Duration::from_secs(1);

/// One sync at a time, and what became of it.
#[derive(Default)]
pub(super) struct Syncing(Option<UnderWay>);

struct UnderWay {
    store: Arc<Store>,
    thread: JoinHandle<()>,
    ended: Receiver<Result<(), String>>,
}

impl Syncing {
    /// Brings what is in the database now onto stable storage. The one before was waited for.
    pub fn begin(&mut self, store: &Arc<Store>) -> Result<(), LogError> {
        let (tell, ended) = sync_channel(1);
        let of_thread = store.clone();
        let work = move || {
            let synced = sync(&of_thread);
            drop(of_thread);
            let _ = tell.send(synced);
        };
        match Builder::new().name("syncer".into()).spawn(work) {
            Ok(thread) => self.0 = Some(UnderWay { store: store.clone(), thread, ended }),
            Err(error) => {
                tracing::warn!(%error, "no thread can be started to sync the log: that is waited for");
                sync(store).map_err(LogError::Write)?;
            }
        }
        Ok(())
    }

    /// Whether one has ended, of which nobody knows yet how.
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|under_way| under_way.thread.is_finished())
    }

    /// Waits until it has, if one is under way.
    pub fn wait(&mut self) -> Result<(), LogError> {
        let Some(UnderWay { store, thread, ended }) = self.0.take() else { return Ok(()) };
        let ended = loop {
            match ended.recv_timeout(NUDGE_EVERY) {
                Ok(ended) => break ended,
                Err(RecvTimeoutError::Timeout) => nudge(store.clone()),
                Err(RecvTimeoutError::Disconnected) => {
                    store.abandon();
                    break Err("the thread that syncs the log panicked".into());
                }
            }
        };
        let _ = thread.join();
        ended.map_err(LogError::Write)
    }
}

impl Drop for Syncing {
    /// Whoever opens the log next finds nobody at it.
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

/// What could not be written is never closed: that would write again.
fn sync(store: &Store) -> Result<(), String> {
    store.sync().inspect_err(|_| store.abandon())
}

/// sled wakes nobody who waits for a write that fails on one of its threads; whoever flushes after that does.
fn nudge(store: Arc<Store>) {
    let _ = Builder::new().name("nudge".into()).spawn(move || store.flush());
}
