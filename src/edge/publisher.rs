//! Carries out what the switchboard hands out, in its order: publishes, relays, answers.
//!
//! Publication follows the log. The client library says `Ok` to a publish that never leaves, so
//! what counts as published is only what a message of ours, sent after it and come back through
//! the server, proves; after a lost connection everything behind that is read from the log and
//! published again under the same ids, before anything newer.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, HeaderName, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::stats::Stats;
use super::subjects::Subjects;
use crate::domain::{Name, Refusal};
use crate::switchboard::answer::{Facts, error_body};
use crate::switchboard::envelope::{TYPE_PREFIX, write_event, write_event_id, write_relay};
use crate::switchboard::past::{self, Archive, ReadOutcome};
use crate::switchboard::port::{Answer, Direction, Effect, Read, ReadJob, Recorded, RecordedEvent, Rejection, Relay};
use crate::switchboard::{Gauges, Handle};

/// How often it is proved how far publication got, while something is published.
const FENCE_EVERY: Duration = Duration::from_millis(100);
/// How long a proof may take before somebody is told.
const FENCE_LATE: Duration = Duration::from_secs(10);
/// How long the last proof is waited for when the service stops.
const LAST_FENCE_WAIT: Duration = Duration::from_secs(5);
/// Questions about the past that are read at once: they compete with commands for the disk.
const READS_AT_ONCE: usize = 4;
/// Questions about the past that may wait.
const READS_WAITING_MAX: usize = 1024;
/// Decisions read ahead while publication catches up.
const AHEAD_MAX: usize = 256;

/// Bytes of an event around its `data`, about.
const ENVELOPE_BYTES: usize = 512;
/// Bytes of the id of an event or its copy, about.
const COPY_ID_BYTES: usize = 64;

/// Characters of an error's text in its header; the body has all of it.
const ERROR_TEXT_CHARS_MAX: usize = 512;

const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");
const ERROR_CODE: HeaderName = HeaderName::from_static("Nats-Service-Error-Code");
const ERROR_TEXT: HeaderName = HeaderName::from_static("Nats-Service-Error");
const CLOUDEVENT_TYPE: &str = "application/cloudevents+json";

/// A connection to publish on, and the subject on which it hears its own fences.
pub struct Link {
    /// The connection.
    pub client: Client,
    /// Where fences go.
    pub fence_subject: Subject,
    /// Where they come back.
    pub fences: Subscriber,
}

/// What becomes of the connection.
pub enum Turn {
    /// There is a new one; told when everything recorded so far is published on it.
    Connected(Box<Link>, oneshot::Sender<()>),
    /// There is none any more.
    Lost,
}

/// What the publisher works with.
pub struct Parts {
    /// Below which prefix.
    pub prefix: String,
    /// The log's id, part of every event's.
    pub log_id: String,
    /// Where pages read from the cache are handed back.
    pub handle: Handle,
    /// The past.
    pub archive: Archive,
    /// How far the log and publication got.
    pub gauges: Arc<Gauges>,
    /// What is counted.
    pub stats: Arc<Stats>,
}

/// Publishes what is recorded, and leaves once the switchboard has stopped.
pub async fn run(
    parts: Parts,
    mut outlet: mpsc::Receiver<Vec<Effect>>,
    mut turns: mpsc::Receiver<Turn>,
) -> Result<(), String> {
    let mut publisher = Publisher::new(parts);
    let mut ticks = interval(FENCE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(turn) = turns.recv() => publisher.turn(turn).await?,
            _ = ticks.tick() => publisher.send_fence().await,
            through = next_fence(&mut publisher.link) => publisher.confirmed(through),
            Some(answer) = publisher.reads.join_next(), if !publisher.reads.is_empty() => {
                publisher.read_done(answer.ok().flatten()).await;
            }
            group = outlet.recv() => match group {
                Some(group) => publisher.carry_out(group).await,
                None => break,
            },
        }
    }
    publisher.finish().await;
    Ok(())
}

struct Publisher {
    parts: Parts,
    subjects: Subjects,
    link: Option<Box<Link>>,
    /// The last event published on this connection.
    sent_through: u64,
    /// The fence under way: through which event it proves, and since when.
    fence: Option<(u64, Instant)>,
    reads: JoinSet<Option<Answer>>,
    permits: Arc<Semaphore>,
}

impl Publisher {
    fn new(parts: Parts) -> Publisher {
        Publisher {
            subjects: Subjects::new(&parts.prefix),
            parts,
            link: None,
            sent_through: 0,
            fence: None,
            reads: JoinSet::new(),
            permits: Arc::new(Semaphore::new(READS_AT_ONCE)),
        }
    }

    async fn turn(&mut self, turn: Turn) -> Result<(), String> {
        self.fence = None;
        match turn {
            Turn::Lost => self.link = None,
            Turn::Connected(link, caught_up) => {
                self.link = Some(link);
                self.catch_up().await?;
                let _ = caught_up.send(());
            }
        }
        Ok(())
    }

    /// Publishes what is recorded and not proved to be published, from the log.
    async fn catch_up(&mut self) -> Result<(), String> {
        let confirmed = self.parts.gauges.published_through.load(Relaxed);
        let through = self.parts.gauges.durable_through.load(Relaxed);
        self.sent_through = confirmed;
        if confirmed >= through {
            return Ok(());
        }
        tracing::info!(
            from_seq = confirmed + 1,
            through_seq = through,
            "publishing what was recorded and is not known to be published"
        );
        let (ahead, mut decisions) = mpsc::channel(AHEAD_MAX);
        let archive = self.parts.archive.clone();
        let reading = tokio::task::spawn_blocking(move || {
            for read in past::recorded_from(&archive, confirmed + 1, through) {
                if ahead.blocking_send(read).is_err() {
                    return;
                }
            }
        });
        let mut ticks = interval(FENCE_EVERY);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => self.send_fence().await,
                through = next_fence(&mut self.link) => self.confirmed(through),
                read = decisions.recv() => match read {
                    Some(Ok(recorded)) => self.recorded(&recorded).await,
                    Some(Err(fault)) => return Err(format!("the log could not be read for publication: {fault}")),
                    None => break,
                },
            }
            if self.link.is_none() {
                break;
            }
        }
        drop(decisions);
        reading.await.map_err(|error| format!("the log could not be read for publication: {error}"))
    }

    async fn carry_out(&mut self, group: Vec<Effect>) {
        for effect in group {
            match effect {
                Effect::Recorded(recorded) => self.recorded(&recorded).await,
                Effect::Relay(relay) => self.relay(&relay).await,
                Effect::Answer(answer) => self.answer(answer).await,
                Effect::Rejection(rejection) => self.rejection(rejection).await,
                Effect::Read(job) => self.read(*job).await,
            }
        }
    }

    async fn recorded(&mut self, recorded: &Recorded) {
        // What has no connection now is read from the log when there is one.
        if self.link.is_none() {
            return;
        }
        for event in &recorded.events {
            if event.seq > self.sent_through {
                self.event(recorded, event).await;
                self.sent_through = event.seq;
            }
        }
    }

    async fn event(&mut self, recorded: &Recorded, event: &RecordedEvent) {
        let (conversation, noun_verb) = (&*recorded.conversation, noun_verb(event.full_name));
        let id = self.event_id(event.seq, &recorded.hash);
        let mut payload = Vec::with_capacity(ENVELOPE_BYTES + event.data.len());
        write_event(&mut payload, &self.parts.log_id, recorded, event);
        let payload = Bytes::from(payload);
        let subject = self.subjects.event(conversation, noun_verb);
        self.publish(subject, cloudevent_headers(id.clone()), payload.clone()).await;
        for name in &recorded.inbox {
            let subject = self.subjects.integration_inbox(name, conversation, noun_verb);
            self.publish_copy(subject, &id, "integration", name, &payload).await;
        }
        if let Some(name) = &recorded.channel {
            let subject = self.subjects.channel_inbox(name, conversation, noun_verb);
            self.publish_copy(subject, &id, "channel", name, &payload).await;
        }
        self.publish_standby(&recorded.standby, conversation, noun_verb, &id, &payload).await;
        let copies = recorded.inbox.len() + recorded.standby.len() + usize::from(recorded.channel.is_some());
        self.parts.stats.events.increment(1);
        self.parts.stats.copies.increment(copies as u64);
    }

    async fn relay(&mut self, relay: &Relay) {
        if self.link.is_none() {
            return;
        }
        let (conversation, noun_verb) = (relay.conversation.as_str(), relay.direction.noun_verb());
        let id = relay_id(&self.parts.log_id, relay.fingerprint);
        let mut payload = Vec::with_capacity(ENVELOPE_BYTES + relay.data.len());
        write_relay(&mut payload, &self.parts.log_id, relay, &id);
        let payload = Bytes::from(payload);
        let (subject, receiver) = match relay.direction {
            Direction::Received => (self.subjects.integration_inbox(&relay.to, conversation, noun_verb), "integration"),
            Direction::Sent => (self.subjects.channel_inbox(&relay.to, conversation, noun_verb), "channel"),
        };
        self.publish_copy(subject, &id, receiver, &relay.to, &payload).await;
        self.publish_standby(&relay.standby, conversation, noun_verb, &id, &payload).await;
        self.parts.stats.relays.increment(1);
    }

    async fn publish_standby(
        &mut self,
        names: &[Name],
        conversation: &str,
        noun_verb: &str,
        id: &str,
        payload: &Bytes,
    ) {
        for name in names {
            let subject = self.subjects.standby(name, conversation, noun_verb);
            self.publish_copy(subject, id, "standby", name, payload).await;
        }
    }

    async fn publish_copy(&mut self, subject: Subject, id: &str, receiver: &str, name: &Name, payload: &Bytes) {
        let headers = cloudevent_headers(copy_id(id, receiver, name.as_str()));
        self.publish(subject, headers, payload.clone()).await;
    }

    fn event_id(&self, seq: u64, hash: &[u8; 32]) -> String {
        let mut id = Vec::with_capacity(COPY_ID_BYTES);
        write_event_id(&mut id, &self.parts.log_id, seq, hash);
        String::from_utf8(id).expect("an event's id is ASCII")
    }

    async fn answer(&mut self, answer: Answer) {
        self.parts.stats.answered(&answer.by, &answer.to, answer.refusal.as_ref());
        if self.link.is_none() {
            self.parts.stats.dropped_answers.increment(1);
            return;
        }
        let headers = answer.refusal.as_ref().map(error_headers).unwrap_or_default();
        self.publish(Subject::from(&*answer.to), headers, answer.body.into()).await;
    }

    async fn rejection(&mut self, rejection: Rejection) {
        if self.link.is_none() {
            return;
        }
        let subject = self.subjects.rejection(&rejection.conversation, rejection.verb);
        self.publish(subject, HeaderMap::new(), rejection.body.into()).await;
        self.parts.stats.rejections.increment(1);
    }

    async fn publish(&mut self, subject: Subject, headers: HeaderMap, payload: Bytes) {
        let Some(link) = &self.link else { return };
        let Err(error) = link.client.publish_with_headers(subject.clone(), headers, payload).await else { return };
        match error.kind() {
            async_nats::PublishErrorKind::Send => self.link = None,
            _ => tracing::error!(%subject, %error, "could not publish: raise the server's max_payload"),
        }
    }

    /// Reads the past away from here, so that nothing waits for the disk behind it.
    async fn read(&mut self, job: ReadJob) {
        // Pages of conversations are few: the switchboard itself bounds them, and waits for each to come back.
        if self.reads.len() >= READS_WAITING_MAX && matches!(job.read, Read::Past(..)) {
            let Some(to) = job.reply else { return };
            let body = error_body(&Refusal::Busy, &Facts::default());
            return self.answer(Answer { to, by: job.by, body, refusal: Some(Refusal::Busy) }).await;
        }
        let (archive, handle, permits) = (self.parts.archive.clone(), self.parts.handle.clone(), self.permits.clone());
        self.reads.spawn(async move {
            let _permit = permits.acquire_owned().await.ok()?;
            // To hand a page back may wait for the switchboard, so that is done there too.
            let reading = tokio::task::spawn_blocking(move || match past::read(job, &archive) {
                ReadOutcome::Answer(answer) => Some(answer),
                ReadOutcome::Closed(job) => {
                    handle.closed_page(job);
                    None
                }
                ReadOutcome::Nothing => None,
            });
            reading.await.ok()?
        });
    }

    async fn read_done(&mut self, answer: Option<Answer>) {
        if let Some(answer) = answer {
            self.answer(answer).await;
        }
    }

    /// Sends a message to ourselves behind everything published so far.
    async fn send_fence(&mut self) {
        if let Some((_, since)) = self.fence {
            if since.elapsed() > FENCE_LATE {
                tracing::warn!(
                    "the server has not confirmed publication for {FENCE_LATE:?}: may this user publish to its own inbox, and hear it?"
                );
                self.fence = None;
            }
            return;
        }
        let Some(link) = &self.link else { return };
        if self.sent_through <= self.parts.gauges.published_through.load(Relaxed) {
            return;
        }
        let (subject, through) = (link.fence_subject.clone(), self.sent_through);
        self.fence = Some((through, Instant::now()));
        self.publish(subject, HeaderMap::new(), through.to_string().into()).await;
    }

    fn confirmed(&mut self, through: u64) {
        self.fence = None;
        self.parts.gauges.published_through.fetch_max(through.min(self.sent_through), Relaxed);
    }

    /// Answers what is still being read, and waits for the proof that all is published.
    async fn finish(&mut self) {
        while let Some(answer) = self.reads.join_next().await {
            self.read_done(answer.ok().flatten()).await;
        }
        self.fence = None;
        let Some(link) = &self.link else { return };
        let (subject, through) = (link.fence_subject.clone(), self.sent_through);
        self.publish(subject, HeaderMap::new(), through.to_string().into()).await;
        let Some(link) = &mut self.link else { return };
        let proof = async {
            while let Some(message) = link.fences.next().await {
                if fence_in(&message) == Some(through) {
                    return true;
                }
            }
            false
        };
        if timeout(LAST_FENCE_WAIT, proof).await.unwrap_or(false) {
            self.confirmed(through);
        } else {
            tracing::warn!(
                "the server did not confirm the last publications: they are published again at the next start"
            );
        }
    }
}

/// The next fence that came back; never where there is no connection.
async fn next_fence(link: &mut Option<Box<Link>>) -> u64 {
    let Some(link) = link else { return std::future::pending().await };
    while let Some(message) = link.fences.next().await {
        if let Some(through) = fence_in(&message) {
            return through;
        }
    }
    std::future::pending().await
}

fn fence_in(message: &Message) -> Option<u64> {
    std::str::from_utf8(&message.payload).ok()?.parse().ok()
}

fn noun_verb(full_name: &str) -> &str {
    full_name.strip_prefix(TYPE_PREFIX).unwrap_or(full_name)
}

/// The id of a relayed message: of its command id, or random without one.
fn relay_id(log_id: &str, fingerprint: Option<u64>) -> String {
    match fingerprint {
        Some(fingerprint) => format!("{log_id}-m-{fingerprint:016x}"),
        None => format!("{log_id}-m-{}", uuid::Uuid::new_v4().simple()),
    }
}

fn cloudevent_headers(id: String) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE.clone(), CLOUDEVENT_TYPE);
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
    headers
}

fn copy_id(id: &str, receiver: &str, name: &str) -> String {
    let mut copy = String::with_capacity(id.len() + receiver.len() + name.len() + 2);
    for part in [id, "/", receiver, ".", name] {
        copy.push_str(part);
    }
    copy
}

/// The headers of an error. The library panics on line ends in a header's value.
pub fn error_headers(refusal: &Refusal) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ERROR_CODE.clone(), refusal.status().to_string());
    let text: String = refusal.message().chars().take(ERROR_TEXT_CHARS_MAX).collect();
    headers.insert(ERROR_TEXT.clone(), text.replace(|c: char| c.is_control(), " "));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_error_is_one_line_in_its_header() {
        let headers = error_headers(&Refusal::BadRequest("a\r\nForged: b".into()));
        assert_eq!(headers.get("Nats-Service-Error").unwrap().as_str(), "a  Forged: b");
        assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "400");
    }

    #[test]
    fn a_message_keeps_its_id_where_its_command_had_one() {
        assert_eq!(relay_id("log", Some(0x1f)), "log-m-000000000000001f");
        assert_ne!(relay_id("log", None), relay_id("log", None));
    }

    #[test]
    fn a_copy_says_for_whom_it_is() {
        assert_eq!(copy_id("log-1-ab", "integration", "bot"), "log-1-ab/integration.bot");
    }
}
