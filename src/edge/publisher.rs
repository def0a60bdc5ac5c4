//! Carries out what the switchboard hands out, in its order: publishes, relays, answers.
//!
//! Publication follows the log. The client library says `Ok` to a publish that never leaves, so
//! what counts as published is only what a message of ours, sent after it and come back through
//! the server, proves; after a lost connection everything behind that is read from the log and
//! published again under the same ids, before anything newer. With JetStream it counts only when the
//! streams have acknowledged it ([`super::streams`]), for which nothing here waits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::message::{self, Outgoing, Place, error_headers};
use super::pace::Pace;
use super::stats::Stats;
use super::streams::{self, Acks, Happening, Health, Receiver, Streams};
use super::subjects::Subjects;
use crate::domain::Refusal;
use crate::switchboard::answer::{self, Facts, error_body};
use crate::switchboard::past::{self, Archive, ReadOutcome};
use crate::switchboard::port::{Answer, Effect, Read, ReadJob, Recorded, RecordedEvent, Rejection, Relay};
use crate::switchboard::publication::Publication;
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

/// A connection to publish on, and the subject on which it hears its own fences.
pub struct Link {
    /// The connection.
    pub client: Client,
    /// The longest message that its server takes.
    pub max_payload: usize,
    /// Where fences go.
    pub fence_subject: Subject,
    /// Where they come back.
    pub fences: Subscriber,
    /// Where streams acknowledge, with JetStream.
    pub acks: Option<Acks>,
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
    /// What the streams show, with JetStream.
    pub streams: Option<Arc<Health>>,
    /// Who has an inbox by the configuration.
    pub receivers: BTreeSet<Receiver>,
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
            Some(turn) = turns.recv() => publisher.turn(turn).await?,
            _ = ticks.tick() => publisher.look().await,
            through = next_fence(&mut publisher.link) => publisher.confirmed(through),
            happening = streams::next(&mut publisher.streams) => publisher.happened(happening).await?,
            Some(answer) = publisher.reads.join_next(), if !publisher.reads.is_empty() => {
                publisher.read_done(answer.ok().flatten()).await;
            }
            group = outlet.recv() => match group {
                Some(group) => {
                    publisher.hear().await;
                    publisher.carry_out(group).await;
                }
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
    publication: Publication,
    streams: Option<Streams>,
    /// The fence under way: through which event it proves, and since when.
    fence: Option<(u64, Instant)>,
    reads: JoinSet<Option<Answer>>,
    /// For questions about the past, and for pages of conversations.
    permits: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    pace: Arc<Pace>,
}

impl Publisher {
    fn new(parts: Parts) -> Publisher {
        Publisher {
            subjects: Subjects::new(&parts.prefix),
            streams: parts.streams.clone().map(|health| streams_of(&parts, health)),
            publication: Publication::new(parts.gauges.published_through.load(Relaxed)),
            pace: Arc::new(Pace::new(parts.gauges.clone(), Instant::now())),
            parts,
            link: None,
            fence: None,
            reads: JoinSet::new(),
            permits: Arc::new(Semaphore::new(READS_AT_ONCE)),
            pages: Arc::new(Semaphore::new(READS_AT_ONCE)),
        }
    }

    async fn turn(&mut self, turn: Turn) -> Result<(), String> {
        self.fence = None;
        match turn {
            Turn::Lost => {
                self.link = None;
                self.streams.as_mut().map(Streams::lost);
            }
            Turn::Connected(mut link, caught_up) => {
                let acks = link.acks.take();
                self.link = Some(link);
                self.catch_up().await?;
                if let (Some(streams), Some(acks)) = (&mut self.streams, acks) {
                    streams.connected(acks);
                }
                let _ = caught_up.send(());
            }
        }
        Ok(())
    }

    async fn look(&mut self) {
        self.send_fence().await;
        if let Some(streams) = &mut self.streams {
            streams.look(self.publication.sent_through()).await;
        }
    }

    /// Groups may come without end, and acknowledgements must not wait behind them.
    async fn hear(&mut self) {
        if let Some(streams) = &mut self.streams {
            streams.hear(self.publication.sent_through()).await;
        }
    }

    async fn happened(&mut self, happening: Happening) -> Result<(), String> {
        match &mut self.streams {
            Some(streams) => streams.happened(happening, self.publication.sent_through()).await,
            None => Ok(()),
        }
    }

    /// Publishes what is recorded and not proved to be published, from the log.
    async fn catch_up(&mut self) -> Result<(), String> {
        let durable = self.parts.gauges.durable_through.load(Relaxed);
        let Some(wanted) = self.publication.connected(durable) else { return Ok(()) };
        let (from, through) = wanted.into_inner();
        tracing::info!(
            from_seq = from,
            through_seq = through,
            "publishing what was recorded and is not known to be published"
        );
        let (ahead, mut decisions) = mpsc::channel(AHEAD_MAX);
        let archive = self.parts.archive.clone();
        let reading = tokio::task::spawn_blocking(move || {
            for read in past::recorded_from(&archive, from, through) {
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
                Effect::Gone(number) => self.parts.handle.gone(number),
            }
        }
    }

    async fn recorded(&mut self, recorded: &Recorded) {
        if let Some(streams) = &mut self.streams {
            streams.heard(recorded);
        }
        // What has no connection now is read from the log when there is one.
        if self.link.is_none() {
            return;
        }
        for event in &recorded.events {
            if self.publication.is_for_sending(event.seq) {
                self.event(recorded, event).await;
                self.publication.sent(event.seq);
            }
        }
    }

    async fn event(&mut self, recorded: &Recorded, event: &RecordedEvent) {
        let all = message::event(&mut self.subjects, &self.parts.log_id, recorded, event);
        let into_streams = self.streams.as_mut().is_some_and(Streams::takes);
        let copies = all.len() as u64 - 1;
        for message in all {
            let is_taken = match &mut self.streams {
                Some(streams) if into_streams && message.place != Place::Standby => streams.put(&message).await,
                _ => false,
            };
            if !is_taken {
                let (subject, headers, payload) = self.apart(message);
                self.publish(subject, headers, payload).await;
            }
        }
        if let Some(streams) = self.streams.as_mut().filter(|_| into_streams) {
            streams.whole(event.seq);
        }
        self.parts.stats.events.increment(1);
        self.parts.stats.copies.increment(copies);
    }

    async fn relay(&mut self, relay: &Relay) {
        if self.link.is_none() {
            return;
        }
        for message in message::relay(&mut self.subjects, &self.parts.log_id, relay) {
            let is_taken = match &mut self.streams {
                Some(streams) if message.place == Place::Inbox => {
                    streams.relay(&message, self.publication.sent_through()).await
                }
                _ => false,
            };
            if !is_taken {
                let (subject, headers, payload) = self.apart(message);
                self.publish(subject, headers, payload).await;
            }
        }
        self.parts.stats.relays.increment(1);
    }

    /// What is published of a message that goes into no stream, or not now.
    fn apart(&self, message: Outgoing) -> (Subject, HeaderMap, Bytes) {
        if self.streams.is_some() { Streams::apart(message) } else { message.into_parts() }
    }

    async fn answer(&mut self, answer: Answer) {
        let Answer { to, by, mut body, mut refusal } = answer;
        if let Some(link) = &self.link {
            if refusal.is_none() && body.len() > link.max_payload {
                let (shorter, instead) = answer::fitting(&body, link.max_payload);
                (body, refusal) = (shorter.into(), instead);
            }
            let subject = self.subjects.reply(&to);
            let headers = refusal.as_ref().map(error_headers).unwrap_or_default();
            let is_published = self.publish(subject.clone(), headers, body).await;
            if let Some(long) = refusal.take_if(|_| !is_published) {
                // Or whoever asks would wait for nothing.
                let shorter = refusal.insert(long.shortened());
                let body = error_body(shorter, &Facts::default());
                let headers = error_headers(shorter);
                self.publish(subject, headers, body.into()).await;
            }
        } else {
            self.parts.stats.dropped_answers.increment(1);
        }
        self.parts.stats.answered(&by, &to, refusal.as_ref());
    }

    async fn rejection(&mut self, rejection: Rejection) {
        if self.link.is_none() {
            return;
        }
        let subject = self.subjects.rejection(&rejection.conversation, rejection.verb);
        self.publish(subject, HeaderMap::new(), rejection.body.into()).await;
        self.parts.stats.rejections.increment(1);
    }

    /// False where it is more than the server takes.
    async fn publish(&mut self, subject: Subject, headers: HeaderMap, payload: Bytes) -> bool {
        let Some(link) = &self.link else { return true };
        let Err(error) = link.client.publish_with_headers(subject.clone(), headers, payload).await else { return true };
        match error.kind() {
            async_nats::PublishErrorKind::Send => self.link = None,
            _ => tracing::error!(%subject, %error, "could not publish: raise the server's max_payload"),
        }
        self.link.is_none()
    }

    /// Reads the past away from here, so that nothing waits for the disk behind it.
    async fn read(&mut self, job: ReadJob) {
        // Pages of conversations are few: the switchboard itself bounds them, and waits for each to come back.
        if self.reads.len() >= READS_WAITING_MAX && matches!(job.read, Read::Past(..)) {
            return self.read_done(busy(job)).await;
        }
        let (archive, handle) = (self.parts.archive.clone(), self.parts.handle.clone());
        // And what they read is put off meanwhile: they wait for nobody who stands back.
        let stands_back = matches!(job.read, Read::Past(..));
        let permits = if stands_back { &self.permits } else { &self.pages }.clone();
        let pace = self.pace.clone();
        self.reads.spawn(async move {
            let Ok(_permit) = permits.acquire_owned().await else { return busy(job) };
            let wait = pace.wait(Instant::now());
            if stands_back && !wait.is_zero() {
                sleep(wait).await;
            }
            let outcome = move || match stands_back {
                true => pace.read(&archive, |archive| past::read(job, archive)),
                false => past::read(job, &archive),
            };
            // To hand a page back may wait for the switchboard, so that is done there too.
            let read = move || match outcome() {
                ReadOutcome::Answer(answer) => Some(answer),
                ReadOutcome::Closed(job) => {
                    handle.closed_page(job);
                    None
                }
                ReadOutcome::Nothing => None,
            };
            let reading = tokio::task::spawn_blocking(read);
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
        let (Some(link), Some(through)) = (&self.link, self.publication.unproved()) else { return };
        let subject = link.fence_subject.clone();
        self.fence = Some((through, Instant::now()));
        self.publish(subject, HeaderMap::new(), through.to_string().into()).await;
    }

    fn confirmed(&mut self, through: u64) {
        self.fence = None;
        let proved = self.publication.proved(through);
        if self.streams.is_none() {
            self.parts.gauges.published_through.fetch_max(proved, Relaxed);
        }
    }

    /// Answers what is still being read, and waits for the proof that all is published. What waits to be read is not
    /// waited for: there may be a thousand questions, each of them about the whole log.
    async fn finish(&mut self) {
        self.permits.close();
        while let Some(answer) = self.reads.join_next().await {
            self.read_done(answer.ok().flatten()).await;
        }
        self.prove_the_last().await;
        self.fill_streams().await;
    }

    async fn prove_the_last(&mut self) {
        self.fence = None;
        let Some(link) = &self.link else { return };
        let (subject, through) = (link.fence_subject.clone(), self.publication.sent_through());
        // Unlike any other: an earlier one proves nothing of the answers behind it.
        let last = uuid::Uuid::new_v4().to_string();
        self.publish(subject, HeaderMap::new(), last.clone().into()).await;
        let Some(link) = &mut self.link else { return };
        let proof = async {
            while let Some(message) = link.fences.next().await {
                if message.payload == last {
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

    async fn fill_streams(&mut self) {
        let Some(streams) = &mut self.streams else { return };
        if timeout(LAST_FENCE_WAIT, streams.finish(self.publication.sent_through())).await.unwrap_or(false) {
            return;
        }
        tracing::warn!(
            messages_lost = streams.kept(),
            "the streams lack the last events, which are added at the next start; messages that they lack are not in the log"
        );
    }
}

fn streams_of(parts: &Parts, health: Arc<Health>) -> Streams {
    Streams::new(streams::Parts {
        prefix: parts.prefix.clone(),
        log_id: parts.log_id.clone(),
        archive: parts.archive.clone(),
        gauges: parts.gauges.clone(),
        stats: parts.stats.clone(),
        health,
        receivers: parts.receivers.clone(),
    })
}

/// The answer to a question that is not read.
fn busy(job: ReadJob) -> Option<Answer> {
    let body = error_body(&Refusal::Busy, &Facts::default()).into();
    job.reply.map(|to| Answer { to, by: job.by, body, refusal: Some(Refusal::Busy) })
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
