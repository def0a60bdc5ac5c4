//! The service on NATS: takes requests, hands them to the switchboard, and stops in good order.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, HeaderName, Message, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};

use super::connection::{Connection, new_inbox};
use super::discovery::{Identity, QUEUE_GROUP, Verb};
use super::http::{Readiness, Reason};
use super::message::error_headers;
use super::publisher::Turn;
use super::requests::{self, Headers};
use super::stats::Stats;
use super::streams::{self, api::Trouble};
use super::subjects::{Endpoint, may_answer};
use super::{EdgeError, Events, Options, covering};
use crate::domain::Refusal;
use crate::switchboard::Handle;
use crate::switchboard::answer::{Facts, error_body};

/// How long another instance has to make itself known at the start.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How long it has later, where its answer competes with a full load.
const LATER_LOOK: Duration = Duration::from_secs(1);
/// How often another instance is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The longest message that the service may send: a page, or a configuration, with what stands around it.
const PAYLOAD_BYTES_NEEDED: usize = 1024 * 1024;
/// How long the server has to confirm that it sends no more requests.
const UNSUBSCRIBE_WAIT: Duration = Duration::from_secs(5);

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The service: what its tasks share.
pub struct Service {
    /// How it was asked to run.
    pub options: Options,
    /// The switchboard.
    pub handle: Handle,
    /// Who it is.
    pub identity: Identity,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What keeps it from being ready.
    pub readiness: Arc<Readiness>,
}

/// Why a connection is used no longer.
enum Ended {
    Lost,
    Asked(Box<Connection>),
}

/// Serves until `stop` turns true; the connection, if there is one, is left open for the last answers.
pub async fn serve(
    service: &Arc<Service>,
    turns: &mpsc::Sender<Turn>,
    mut stop: watch::Receiver<bool>,
) -> Result<Option<Box<Connection>>, EdgeError> {
    let mut is_first = true;
    loop {
        let connection = tokio::select! {
            made = Connection::make(&service.options, &service.stats, is_first) => Box::new(made?),
            () = asked(&mut stop) => return Ok(None),
        };
        if is_first {
            service.refuse_to_be_second(&connection).await?;
            service.check_streams(&connection).await?;
        }
        is_first = false;
        match serve_on(service, connection, turns, &mut stop).await {
            Ended::Asked(connection) => return Ok(Some(connection)),
            Ended::Lost => {
                service.handle.ready(false);
                service.readiness.set(Reason::NotConnected, true);
                let _ = turns.send(Turn::Lost).await;
            }
        }
    }
}

/// Serves on one connection: first what was recorded is published, then requests are taken.
async fn serve_on(
    service: &Arc<Service>,
    connection: Box<Connection>,
    turns: &mpsc::Sender<Turn>,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let began = tokio::select! {
        began = begin(service, &connection, turns, stop.clone()) => began,
        () = connection.lost() => None,
        () = asked(stop) => return Ended::Asked(connection),
    };
    let Some(mut tasks) = began else { return Ended::Lost };
    tokio::select! {
        () = connection.lost() => return Ended::Lost,
        () = asked(stop) => {}
    }
    // The tasks have heard of it too: each ends when its subscription has run dry.
    let dry = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = connection.lost() => return Ended::Lost,
        dry = timeout(UNSUBSCRIBE_WAIT, dry) => {
            if dry.is_err() {
                tracing::warn!("the server did not confirm the end of subscriptions: some requests stay unanswered");
            }
        }
    }
    Ended::Asked(connection)
}

/// Catches up with publication, then subscribes; the tasks that take requests.
async fn begin(
    service: &Arc<Service>,
    connection: &Connection,
    turns: &mpsc::Sender<Turn>,
    stop: watch::Receiver<bool>,
) -> Option<JoinSet<()>> {
    let (caught_up, catching_up) = oneshot::channel();
    let told = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, "could not subscribe: check this user's permissions");
    };
    warn_of_small_payloads(&connection.client);
    let has_streams = service.options.events == Events::JetStream;
    let link = connection.link(&service.options.inbox_prefix(), has_streams).await.inspect_err(|e| told(e)).ok()?;
    turns.send(Turn::Connected(link, caught_up)).await.ok()?;
    catching_up.await.ok()?;
    let mut tasks = subscribe(service, &connection.client, stop.clone()).await.inspect_err(|e| told(e)).ok()?;
    tasks.spawn(watch_for_others(service.clone(), connection.client.clone(), stop));
    service.readiness.set(Reason::NotConnected, false);
    let is_start = service.readiness.set(Reason::Starting, false);
    service.handle.ready(service.readiness.is_ready());
    if is_start {
        // Nothing waits for it: where it may not ask, its question stays open for a while.
        tokio::spawn(covering::warn_of_streams(connection.client.clone(), service.options.prefix.clone()));
        tracing::info!(prefix = %service.options.prefix, "ready");
    }
    Some(tasks)
}

/// Pages and configurations reach half a megabyte, and a message that the server does not take is lost.
fn warn_of_small_payloads(client: &Client) {
    let max_payload = client.server_info().max_payload;
    if max_payload < PAYLOAD_BYTES_NEEDED {
        tracing::warn!(
            max_payload,
            needed = PAYLOAD_BYTES_NEEDED,
            "the server takes small messages only: raise its max_payload"
        );
    }
}

async fn subscribe(
    service: &Arc<Service>,
    client: &Client,
    stop: watch::Receiver<bool>,
) -> Result<JoinSet<()>, async_nats::Error> {
    let mut tasks = JoinSet::new();
    for endpoint in Endpoint::ALL {
        let subject = format!("{}.{}.>", service.options.prefix, endpoint.name());
        let requests = client.queue_subscribe(subject, QUEUE_GROUP.into()).await?;
        tasks.spawn(take_requests(service.clone(), endpoint, client.clone(), requests, stop.clone()));
    }
    for verb in Verb::ALL {
        for subject in service.identity.subjects(verb) {
            let questions = client.subscribe(subject).await?;
            tasks.spawn(answer_questions(service.clone(), verb, client.clone(), questions, stop.clone()));
        }
    }
    // Ready means that a request sent from now on is heard.
    round_trip(client, &service.options.inbox_prefix()).await?;
    Ok(tasks)
}

/// Returns when the server has done everything asked of it before.
async fn round_trip(client: &Client, inbox_prefix: &str) -> Result<(), async_nats::Error> {
    let inbox = new_inbox(inbox_prefix);
    let mut back = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, "".into()).await?;
    timeout(UNSUBSCRIBE_WAIT, back.next()).await?.ok_or("the connection is lost")?;
    Ok(())
}

async fn watch_for_others(service: Arc<Service>, client: Client, mut stop: watch::Receiver<bool>) {
    let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    loop {
        tokio::select! {
            () = asked(&mut stop) => return,
            () = async { looks.tick().await; service.look_for_others(&client).await } => {}
        }
    }
}

async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn take_requests(
    service: Arc<Service>,
    endpoint: Endpoint,
    client: Client,
    mut requests: Subscriber,
    mut stop: watch::Receiver<bool>,
) {
    let tail_at = service.options.prefix.len() + endpoint.name().len() + 2;
    let mut is_ending = false;
    loop {
        tokio::select! {
            biased;
            () = asked(&mut stop), if !is_ending => {
                is_ending = true;
                let _ = requests.drain().await;
            }
            message = requests.next() => match message {
                Some(message) => service.take(endpoint, tail_at, message, &client).await,
                None => return,
            },
        }
    }
}

async fn answer_questions(
    service: Arc<Service>,
    verb: Verb,
    client: Client,
    mut questions: Subscriber,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = asked(&mut stop) => return,
            question = questions.next() => {
                let Some(question) = question else { return };
                let Some(reply) = question.reply else { continue };
                if !service.may_answer(&reply) {
                    continue;
                }
                let _ = client.publish(reply, service.identity.answer(verb, &service.stats).into()).await;
            }
        }
    }
}

impl Service {
    /// Hands a request to the switchboard, or refuses it: its form is wrong, or there is no room for it.
    async fn take(&self, endpoint: Endpoint, tail_at: usize, message: Message, client: &Client) {
        if message.reply.as_ref().is_some_and(|reply| !self.may_answer(reply)) {
            return;
        }
        // A status is the server's word: somebody named this subject for the answer to something else.
        if message.status.is_some() {
            self.stats.dropped_replies.increment(1);
            return;
        }
        self.stats.came(endpoint);
        let tail = message.subject.get(tail_at..).unwrap_or_default();
        let refusal = match requests::parse(endpoint, tail, headers(message.headers.as_ref()), &message.payload) {
            Err(refusal) => refusal,
            Ok(mut request) => {
                request.reply = message.reply.as_ref().map(|reply| reply.as_str().into());
                if let Some(reply) = &request.reply {
                    self.stats.taken(endpoint, reply);
                }
                let Err(request) = self.handle.request(request) else { return };
                if let Some(reply) = &request.reply {
                    self.stats.answered(&request.by, reply, Some(&Refusal::Busy));
                }
                return refuse(client, message.reply, &Refusal::Busy).await;
            }
        };
        self.stats.refused(endpoint, &refusal);
        refuse(client, message.reply, &refusal).await;
    }

    fn may_answer(&self, reply: &Subject) -> bool {
        let may = may_answer(&self.options.reply_prefix, reply);
        if !may {
            self.stats.dropped_replies.increment(1);
        }
        may
    }

    async fn refuse_to_be_second(&self, connection: &Connection) -> Result<(), EdgeError> {
        let inbox_prefix = self.options.inbox_prefix();
        match self.identity.look_for_others(&connection.client, &inbox_prefix, FIRST_LOOK).await {
            Ok(Some(other)) => Err(EdgeError::Duplicate { prefix: self.options.prefix.clone(), other }),
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "could not ask whether another instance is there");
                Ok(())
            }
        }
    }

    async fn check_streams(&self, connection: &Connection) -> Result<(), EdgeError> {
        if self.options.events == Events::Core {
            return Ok(());
        }
        match streams::check(&connection.client, &self.options.prefix).await {
            Err(Trouble::Refused(why)) => Err(EdgeError::Publication(why)),
            Err(Trouble::Away(why)) => {
                tracing::warn!(why, "JetStream is away: commands go on, and the streams are filled when it is back");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn look_for_others(&self, client: &Client) {
        let found = self.identity.look_for_others(client, &self.options.inbox_prefix(), LATER_LOOK).await;
        let Ok(found) = found else { return };
        let is_new = self.readiness.set(Reason::Duplicate, found.is_some());
        match found {
            Some(other) if is_new => {
                let prefix = &self.options.prefix;
                tracing::warn!(prefix, other, "another instance serves the same prefix: stop one of them");
            }
            None if is_new => tracing::info!("no other instance serves the same prefix any more"),
            _ => {}
        }
        if is_new {
            self.handle.ready(self.readiness.is_ready());
        }
    }
}

async fn refuse(client: &Client, reply: Option<Subject>, refusal: &Refusal) {
    let Some(reply) = reply else { return };
    let body = error_body(refusal, &Facts::default());
    let _ = client.publish_with_headers(reply, error_headers(refusal), body.into()).await;
}

fn headers(headers: Option<&HeaderMap>) -> Headers<'_> {
    let Some(headers) = headers else { return Headers::default() };
    Headers {
        command_id: headers.get(async_nats::header::NATS_MESSAGE_ID).map(|value| value.as_str()),
        traceparent: headers.get(TRACEPARENT.clone()).map(|value| value.as_str()),
    }
}
