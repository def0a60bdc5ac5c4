//! Reads what the streams lack from the log, ahead of them and away from the publisher.

use tokio::sync::mpsc;

use crate::switchboard::past::{self, Archive};
use crate::switchboard::port::Recorded;

/// Decisions read ahead of the streams, and put in at once.
const AHEAD_MAX: usize = 256;
const AT_ONCE_MAX: usize = 64;

/// Decisions as they are read; the end says that all are.
pub type Reading = mpsc::Receiver<Result<Recorded, String>>;

/// The next decisions; none where all are read.
pub async fn read_on(reading: &mut Option<Reading>) -> Vec<Result<Recorded, String>> {
    let Some(reading) = reading else { return std::future::pending().await };
    let mut batch = Vec::new();
    reading.recv_many(&mut batch, AT_ONCE_MAX).await;
    batch
}

/// Reads decisions from the log, away from here; the reading ends when nobody takes them.
pub fn read(archive: Archive, from: u64, through: u64) -> Reading {
    let (ahead, decisions) = mpsc::channel(AHEAD_MAX);
    tokio::task::spawn_blocking(move || {
        for read in past::recorded_from(&archive, from, through) {
            if ahead.blocking_send(read).is_err() {
                return;
            }
        }
    });
    decisions
}
