//! Refusals that the edge makes by itself: there is no room for a request, or its form is wrong.
//!
//! They come as fast as a flood does, so whoever reads requests never waits for one to be sent: they wait here, few
//! bytes each and a bounded number of them, and leave as fast as the server takes them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;

use super::message::error_headers;
use super::stats::Stats;
use crate::domain::Refusal;
use crate::switchboard::answer::{Facts, error_body};

/// Bytes of reply subjects that may wait for the word that there was no room: of one to two million requests.
const BUSY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of them that are taken up in one go.
const CHUNK_BYTES: usize = 16 * 1024;
/// Requests that may wait for the word what is wrong with them; beyond that they hear that there was no room.
const WORDED_WAITING_MAX: usize = 4096;

/// Where refusals wait. When this is gone, those that wait still leave.
pub struct Refusals {
    busy: Arc<Busy>,
    worded: Sender<Worded>,
    stats: Arc<Stats>,
}

struct Worded {
    reply: Subject,
    headers: HeaderMap,
    body: Bytes,
}

/// Who is to hear that there was no room.
#[derive(Default)]
struct Busy {
    waiting: Mutex<Packed>,
    /// Something waits, or nothing more will.
    changed: Notify,
}

/// Subjects one behind the other, each in a line, so that a million of them take tens of megabytes and not hundreds.
#[derive(Default)]
struct Packed {
    chunks: VecDeque<Vec<u8>>,
    is_closed: bool,
}

impl Refusals {
    /// Refusals that leave on this connection.
    pub fn leaving(client: &Client, stats: Arc<Stats>, tasks: &mut JoinSet<()>) -> Refusals {
        let busy = Arc::<Busy>::default();
        let (worded, worded_waiting) = mpsc::channel(WORDED_WAITING_MAX);
        tasks.spawn(say_busy(client.clone(), busy.clone()));
        tasks.spawn(say(client.clone(), worded_waiting));
        Refusals { busy, worded, stats }
    }

    /// Says that there was no room. Where too many wait for that word, nothing is said, and that is counted.
    pub fn busy(&self, reply: Option<Subject>) {
        let Some(reply) = reply else { return };
        match self.busy.lock().push(&reply) {
            true => self.busy.changed.notify_one(),
            false => self.stats.unanswered.increment(),
        }
    }

    /// Says what is wrong with a request.
    pub fn refuse(&self, reply: Option<Subject>, refusal: &Refusal) {
        let Some(reply) = reply else { return };
        let Ok(room) = self.worded.try_reserve() else { return self.busy(Some(reply)) };
        let body = error_body(refusal, &Facts::default()).into();
        room.send(Worded { reply, headers: error_headers(refusal), body });
    }
}

impl Drop for Refusals {
    fn drop(&mut self) {
        self.busy.lock().is_closed = true;
        self.busy.changed.notify_one();
    }
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, Packed> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next few subjects; none where no more will come.
    async fn next(&self) -> Option<Vec<u8>> {
        loop {
            let is_closed = {
                let mut waiting = self.lock();
                if let Some(chunk) = waiting.chunks.pop_front() {
                    return Some(chunk);
                }
                waiting.is_closed
            };
            if is_closed {
                return None;
            }
            self.changed.notified().await;
        }
    }
}

impl Packed {
    fn push(&mut self, reply: &str) -> bool {
        let has_room = |chunk: &Vec<u8>| chunk.len() + reply.len() < chunk.capacity();
        if !self.chunks.back().is_some_and(has_room) {
            if self.chunks.len() >= BUSY_BYTES_MAX / CHUNK_BYTES {
                return false;
            }
            self.chunks.push_back(Vec::with_capacity(CHUNK_BYTES.max(reply.len() + 1)));
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.extend_from_slice(reply.as_bytes());
            chunk.push(b'\n');
        }
        true
    }
}

async fn say_busy(client: Client, busy: Arc<Busy>) {
    static BUSY: OnceLock<(HeaderMap, Bytes)> = OnceLock::new();
    let said = || (error_headers(&Refusal::Busy), error_body(&Refusal::Busy, &Facts::default()).into());
    let (headers, body) = BUSY.get_or_init(said);
    while let Some(chunk) = busy.next().await {
        let chunk = Bytes::from(chunk);
        for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(reply) = Subject::from_utf8(chunk.slice_ref(line)) else { continue };
            let _ = client.publish_with_headers(reply, headers.clone(), body.clone()).await;
        }
    }
    // The connection may be ended after this.
    let _ = client.flush().await;
}

async fn say(client: Client, mut waiting: Receiver<Worded>) {
    while let Some(Worded { reply, headers, body }) = waiting.recv().await {
        let _ = client.publish_with_headers(reply, headers, body).await;
    }
    let _ = client.flush().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_in_turn_and_beyond_the_bound_nobody_is_taken_in() {
        let busy = Busy::default();
        let taken = (0..).take_while(|n| busy.lock().push(&format!("_INBOX.{n}"))).count();
        assert!(taken * 16 > BUSY_BYTES_MAX / 2, "{taken} are taken in");
        let mut heard = 0;
        while heard < taken {
            let chunk = busy.next().await.unwrap();
            for line in std::str::from_utf8(&chunk).unwrap().lines() {
                assert_eq!(line, format!("_INBOX.{heard}"));
                heard += 1;
            }
        }
        busy.lock().is_closed = true;
        assert!(busy.next().await.is_none() && heard == taken);
    }
}
