//! Refusals that the edge makes by itself: there is no room for a request, or its form is wrong.
//!
//! They come as fast as a flood does, so whoever reads requests never waits for one to be sent: they wait here, few
//! bytes each and a bounded number of them, and leave as fast as the server takes them.

use std::sync::{Arc, OnceLock};

use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::message::error_headers;
use super::stats::Stats;
use crate::domain::Refusal;
use crate::switchboard::answer::{Facts, error_body};

/// Requests that may wait for the word that there was no room: about a hundred bytes each.
const BUSY_WAITING_MAX: usize = 256 * 1024;
/// Requests that may wait for the word what is wrong with them; beyond that they hear that there was no room.
const WORDED_WAITING_MAX: usize = 4096;
/// Taken up in one go.
const AT_ONCE_MAX: usize = 64;

/// Where refusals wait. When the last of these is gone, those that wait still leave.
#[derive(Clone)]
pub struct Refusals {
    busy: Sender<Subject>,
    worded: Sender<Worded>,
    stats: Arc<Stats>,
}

struct Worded {
    reply: Subject,
    headers: HeaderMap,
    body: Bytes,
}

impl Refusals {
    /// Refusals that leave on this connection.
    pub fn leaving(connection: &Connection, stats: Arc<Stats>, tasks: &mut JoinSet<()>) -> Refusals {
        let (busy, busy_waiting) = mpsc::channel(BUSY_WAITING_MAX);
        let (worded, worded_waiting) = mpsc::channel(WORDED_WAITING_MAX);
        let client = &connection.client;
        connection.run_beside(tasks, say_busy(client.clone(), busy_waiting));
        connection.run_beside(tasks, say(client.clone(), worded_waiting));
        Refusals { busy, worded, stats }
    }

    /// Says that there was no room. Where too many wait for that word, nothing is said, and that is counted.
    pub fn busy(&self, reply: Option<Subject>) {
        let Some(reply) = reply else { return };
        if self.busy.try_send(reply).is_err() {
            self.stats.unanswered.increment();
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

async fn say_busy(client: Client, mut waiting: Receiver<Subject>) {
    static BUSY: OnceLock<(HeaderMap, Bytes)> = OnceLock::new();
    let busy = || (error_headers(&Refusal::Busy), error_body(&Refusal::Busy, &Facts::default()).into());
    let (headers, body) = BUSY.get_or_init(busy);
    let mut replies = Vec::with_capacity(AT_ONCE_MAX);
    while waiting.recv_many(&mut replies, AT_ONCE_MAX).await > 0 {
        for reply in replies.drain(..) {
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
