//! Figures that others may look at while the switchboard runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Figures of one running switchboard, each written by one thread.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Conversations that are open or ending.
    pub open: AtomicU64,
    /// Conversations that are ending.
    pub ending: AtomicU64,
    /// Requests that wait.
    pub queued: AtomicU64,
    /// The last event on stable storage.
    pub durable_through: AtomicU64,
    /// The last event known to be published.
    pub published_through: AtomicU64,
    /// Groups written, and the decisions in them.
    pub groups: AtomicU64,
    /// Decisions written.
    pub decisions: AtomicU64,
    /// There is no room on the disk: nothing is recorded.
    pub storage_full: AtomicBool,
    /// The log could not be written: nothing is decided any more.
    pub log_failed: AtomicBool,
}

impl Gauges {
    /// Sets a figure that only the caller's thread sets.
    pub fn set(figure: &AtomicU64, value: u64) {
        figure.store(value, Ordering::Relaxed);
    }
}
