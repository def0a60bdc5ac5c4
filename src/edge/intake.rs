//! Requests taken in: as fast as they come, whatever becomes of them.
//!
//! The client library reads the socket whether or not anybody takes what it has read, and drops what finds its
//! buffer full. So these tasks run on the one thread of the connection that requests come on, between two of its
//! readings, and never wait: a request is admitted and handed over, or refused, by the time the next bytes are read.
//! One turn of its readings is a megabyte at the most, which bounds both count and bytes.

use std::sync::Arc;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::{JoinSet, unconstrained};

use super::connection::{Connection, new_inbox};
use super::discovery::{QUEUE_GROUP, Verb};
use super::http::Reason;
use super::refusals::Refusals;
use super::requests::{self, Headers};
use super::service::{Service, asked};
use super::subjects::{Endpoint, caller};
use crate::domain::Refusal;
use crate::switchboard::port::Ask;

const TRACEPARENT: &str = "traceparent";
/// What stands around a request's body in memory, about: subject, reply, headers.
const AROUND_BYTES: usize = 512;

/// Where requests go, and where refusals do.
pub struct Intake {
    /// What the service's tasks share.
    pub service: Arc<Service>,
    /// Where refusals wait.
    pub refusals: Refusals,
    /// On which answers to questions for the service itself leave.
    pub client: async_nats::Client,
}

/// What ends the taking of requests.
#[derive(Clone)]
pub struct Stopping {
    /// The service is told to stop.
    pub service: watch::Receiver<bool>,
    /// The connection is lost.
    pub connection: watch::Receiver<bool>,
}

/// Subscribes to everything that is asked; the tasks run on the thread of `requests`, and end when told to stop and
/// all that the server had sent is taken.
pub async fn subscribe(
    intake: Arc<Intake>,
    requests: &Connection,
    stop: &Stopping,
) -> Result<JoinSet<()>, async_nats::Error> {
    let (service, client) = (&intake.service, &requests.client);
    let mut tasks = JoinSet::new();
    for endpoint in Endpoint::ALL {
        let subject = format!("{}.{}.>", service.options.prefix, endpoint.name());
        let coming = client.queue_subscribe(subject, QUEUE_GROUP.into()).await?;
        // Nothing here may be put off while there is something to take.
        requests.run_beside(&mut tasks, unconstrained(take_requests(intake.clone(), endpoint, coming, stop.clone())));
    }
    for verb in Verb::ALL {
        for subject in service.identity.subjects(verb) {
            let questions = client.subscribe(subject).await?;
            tasks.spawn(answer_questions(intake.clone(), verb, questions, stop.clone()));
        }
    }
    // Ready means that a request sent from now on is heard.
    requests.round_trip(new_inbox(&service.options.inbox_prefix())).await?;
    Ok(tasks)
}

async fn take_requests(intake: Arc<Intake>, endpoint: Endpoint, mut coming: Subscriber, mut stop: Stopping) {
    let mut is_ending = false;
    loop {
        tokio::select! {
            message = coming.next() => match message {
                Some(message) => intake.take(endpoint, message),
                None => return,
            },
            () = asked(&mut stop.service), if !is_ending => {
                is_ending = true;
                let _ = coming.drain().await;
            }
            () = asked(&mut stop.connection) => {
                intake.take_waiting(endpoint, &mut coming);
                return;
            }
        }
        intake.take_waiting(endpoint, &mut coming);
    }
}

async fn answer_questions(intake: Arc<Intake>, verb: Verb, mut questions: Subscriber, mut stop: Stopping) {
    let service = &intake.service;
    loop {
        tokio::select! {
            () = asked(&mut stop.service) => return,
            () = asked(&mut stop.connection) => return,
            question = questions.next() => {
                let Some(question) = question else { return };
                let Some(reply) = question.reply.filter(|reply| service.may_answer(reply)) else { continue };
                let _ = intake.client.publish(reply, service.identity.answer(verb, &service.stats).into()).await;
            }
        }
    }
}

impl Intake {
    /// Takes all that has come so far.
    fn take_waiting(&self, endpoint: Endpoint, coming: &mut Subscriber) {
        while let Some(Some(message)) = coming.next().now_or_never() {
            self.take(endpoint, message);
        }
    }

    /// Hands a request to the switchboard, or refuses it: there is no room for it, or its form is wrong.
    fn take(&self, endpoint: Endpoint, message: Message) {
        let Service { options, handle, stats, .. } = &*self.service;
        if message.reply.as_ref().is_some_and(|reply| !self.service.may_answer(reply)) {
            return;
        }
        // A status is the server's word: somebody named this subject for the answer to something else.
        if message.status.is_some() {
            stats.dropped_replies.increment(1);
            return;
        }
        stats.came(endpoint);
        let tail = message.subject.get(options.prefix.len() + endpoint.name().len() + 2..).unwrap_or_default();
        if let Err(refusal) = requests::check_size(endpoint, message.payload.len()) {
            return self.refuse(endpoint, message.reply, &refusal);
        }
        // A flood is refused before it is read: reading costs many times more.
        let (role, name) = caller(endpoint, tail);
        let Some(place) = handle.admit(role, name, message.length + AROUND_BYTES) else {
            stats.busy(endpoint);
            return self.refusals.busy(message.reply);
        };
        let mut request = match requests::parse(endpoint, tail, headers(message.headers.as_ref()), &message.payload) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(endpoint, message.reply, &refusal),
        };
        // Two logs would each have an owner of their own for one conversation.
        if is_decided(&request.ask) && self.service.readiness.holds(Reason::Duplicate) {
            return self.refuse(endpoint, message.reply, &Refusal::NotAlone);
        }
        request.reply = message.reply.as_ref().map(|reply| reply.as_str().into());
        if let Some(reply) = &request.reply {
            stats.taken(endpoint, reply);
        }
        let Err(request) = handle.hand_over(request, place) else { return };
        if let Some(reply) = &request.reply {
            stats.answered(&request.by, reply, Some(&Refusal::Stopping));
        }
        self.refusals.refuse(message.reply, &Refusal::Stopping);
    }

    fn refuse(&self, endpoint: Endpoint, reply: Option<Subject>, refusal: &Refusal) {
        self.service.stats.refused(endpoint, refusal);
        self.refusals.refuse(reply, refusal);
    }
}

/// Whether it may change something.
fn is_decided(ask: &Ask) -> bool {
    matches!(ask, Ask::Command(_) | Ask::Put(_))
}

fn headers(headers: Option<&HeaderMap>) -> Headers<'_> {
    let mut found = Headers::default();
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let value = values.first().map(HeaderValue::as_str);
        if *name == NATS_MESSAGE_ID {
            found.command_id = value;
        } else if is_traceparent(name) && found.traceparent.is_none() {
            found.traceparent = value;
        }
    }
    found
}

/// The W3C has the name in any case, and a NATS header keeps the one that it was written in.
fn is_traceparent(name: &HeaderName) -> bool {
    AsRef::<str>::as_ref(name).eq_ignore_ascii_case(TRACEPARENT)
}
