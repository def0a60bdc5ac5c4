//! The edge: NATS in and out, health and metrics over HTTP.
//!
//! Requests come in by [`intake`], which checks their form ([`requests`], [`subjects`]) and hands
//! them to the switchboard; what it hands out leaves by [`publisher`], in its order. Nothing is
//! answered or published here of its own accord, except that a request is malformed or that there
//! is no room for it.

mod canonical;
mod complaints;
mod connection;
mod covering;
mod discovery;
mod fields;
mod http;
mod intake;
pub mod login;
pub mod message;
mod pace;
pub mod parting;
mod publisher;
mod refusals;
pub mod requests;
mod service;
mod stats;
mod streams;
pub mod subjects;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_nats::{ConnectErrorKind, ServerAddr};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};

pub use connection::Credentials;
use connection::{Connection, Thread};

use crate::switchboard::past::Archive;
use crate::switchboard::port::Effect;
use crate::switchboard::{Gauges, Handle};
use discovery::Identity;
use http::{Readiness, Reason, Shown};
use publisher::Turn;
use service::Service;
use stats::Stats;
pub use streams::Receiver;

/// How the edge is asked to run.
#[derive(Clone)]
pub struct Options {
    /// The NATS servers, any of which will do.
    pub urls: Vec<ServerAddr>,
    /// How the service makes itself known to them.
    pub credentials: Credentials,
    /// The first token, or tokens, of all subjects.
    pub prefix: String,
    /// With what the first token of a reply subject must begin.
    pub reply_prefix: String,
    /// Where health and metrics are served, if at all.
    pub http: Option<SocketAddr>,
    /// What carries the events.
    pub events: Events,
}

/// What carries the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Events {
    /// NATS itself: whoever does not listen asks later.
    #[default]
    Core,
    /// NATS, and two streams of JetStream that keep events and inboxes for those who are away.
    JetStream,
}

impl Options {
    /// Below which the service hears answers to itself.
    pub(crate) fn inbox_prefix(&self) -> String {
        format!("{}.{}", self.reply_prefix, discovery::SERVICE)
    }
}

/// What the edge needs of the layers below.
pub struct Core {
    /// The switchboard.
    pub handle: Handle,
    /// The past.
    pub archive: Archive,
    /// The log's id.
    pub log_id: String,
    /// The other end of the outlet: of bounded length, so that the writer of the log waits where publication falls behind.
    pub effects: mpsc::Receiver<Vec<Effect>>,
    /// The switchboard's figures; `published_through` is kept here.
    pub gauges: Arc<Gauges>,
    /// Who has an inbox by the configuration, as it is now.
    pub receivers: BTreeSet<Receiver>,
}

/// Why the edge cannot go on.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum EdgeError {
    /// No connection could be made, and a repeat would not help.
    Connect(Box<dyn std::error::Error + Send + Sync>),
    /// A file with credentials could not be read.
    Credentials { path: PathBuf, source: std::io::Error },
    /// Another instance serves the same prefix.
    Duplicate { prefix: String, other: String },
    /// The address for health and metrics could not be taken.
    Http { address: SocketAddr, source: std::io::Error },
    /// Metrics could not be collected.
    Metrics(String),
    /// What is recorded could not be published.
    Publication(String),
    /// No thread could be started.
    Thread(std::io::Error),
}

impl std::fmt::Display for EdgeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EdgeError::Connect(source) if is_refused(source.as_ref()) => {
                write!(f, "could not log in to NATS: {LOGIN_HINT}")
            }
            EdgeError::Connect(_) => f.write_str("could not connect to NATS"),
            EdgeError::Credentials { path, .. } => write!(f, "could not read the credentials in {}", path.display()),
            EdgeError::Duplicate { prefix, other } => {
                write!(f, "another switchboard serves prefix {prefix} ({other}): stop it or choose --prefix")
            }
            EdgeError::Http { address, .. } => {
                write!(f, "could not serve health and metrics on {address}: choose another --http")
            }
            EdgeError::Metrics(text) => write!(f, "could not collect metrics: {text}"),
            EdgeError::Publication(text) => f.write_str(text),
            EdgeError::Thread(_) => f.write_str("could not start a thread for the connection"),
        }
    }
}

impl std::error::Error for EdgeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EdgeError::Connect(source) => Some(source.as_ref()),
            EdgeError::Credentials { source, .. } | EdgeError::Http { source, .. } | EdgeError::Thread(source) => {
                Some(source)
            }
            EdgeError::Duplicate { .. } | EdgeError::Metrics(_) | EdgeError::Publication(_) => None,
        }
    }
}

impl EdgeError {
    /// Whether trying again would end the same way.
    fn is_final(&self) -> bool {
        match self {
            EdgeError::Connect(source) => {
                let error = source.downcast_ref::<async_nats::ConnectError>();
                is_refused(source.as_ref()) || error.is_some_and(|error| error.kind() == ConnectErrorKind::ServerParse)
            }
            _ => true,
        }
    }
}

/// What may be given to log in.
pub(crate) const LOGIN_HINT: &str = "give it --creds, --nkey, SWITCHBOARD_USER with SWITCHBOARD_PASSWORD, or SWITCHBOARD_TOKEN, as the server knows them";

/// Whether the server refuses who connects, or how.
pub(crate) fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    use ConnectErrorKind::{Authentication, AuthorizationViolation};
    let error = error.downcast_ref::<async_nats::ConnectError>();
    error.is_some_and(|error| matches!(error.kind(), Authentication | AuthorizationViolation))
}

/// Serves until `shutdown` is there, then stops in good order: no more requests are taken, what was
/// taken is decided and answered, what is recorded is published, and the server has confirmed it.
pub async fn run(options: Options, core: Core, shutdown: impl Future<Output = ()>) -> Result<(), EdgeError> {
    let metrics = http::install_metrics()?;
    let stats = Arc::new(Stats::new());
    let readiness = Arc::new(Readiness::new());
    let streams = (options.events == Events::JetStream).then(Arc::default);
    let pages = match options.http {
        Some(address) => {
            let shown = Shown { gauges: core.gauges.clone(), readiness: readiness.clone(), streams: streams.clone() };
            Some(tokio::spawn(http::serve(http::bind(address).await?, metrics, shown)))
        }
        None => None,
    };
    let (turns, turned) = mpsc::channel(1);
    let parts = publisher::Parts {
        prefix: options.prefix.clone(),
        log_id: core.log_id.clone(),
        handle: core.handle.clone(),
        archive: core.archive,
        gauges: core.gauges,
        stats: stats.clone(),
        streams,
        receivers: core.receivers,
    };
    let archive = parts.archive.clone();
    let publisher = Thread::new("publisher")?;
    let publishing = publisher.handle().spawn(publisher::run(parts, core.effects, turned));
    let identity = Identity::new(&options.prefix, &core.log_id);
    let (handle, log_id) = (core.handle, core.log_id);
    let service = Arc::new(Service { options, handle, archive, log_id, identity, stats, readiness, publisher });
    let outcome = serve_and_stop(&service, turns, publishing, shutdown).await;
    if let Some(pages) = pages {
        pages.abort();
    }
    outcome
}

async fn serve_and_stop(
    service: &Arc<Service>,
    turns: mpsc::Sender<Turn>,
    mut publishing: JoinHandle<Result<(), String>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), EdgeError> {
    let (tell_stop, stop) = watch::channel(false);
    let serving = service::serve(service, &turns, stop);
    tokio::pin!(serving, shutdown);
    let served = loop {
        tokio::select! {
            served = &mut serving => break served,
            // The switchboard closes the outlet by itself where the log has failed.
            published = &mut publishing => return published_to_the_end(published),
            () = &mut shutdown, if !*tell_stop.borrow() => {
                service.readiness.set(Reason::Stopping, true);
                tell_stop.send_replace(true);
            }
        }
    };
    service.handle.stop();
    let connection = match served {
        Ok(connection) => connection,
        Err(error) => {
            let _ = publishing.await;
            return Err(error);
        }
    };
    let published = tokio::select! {
        published = &mut publishing => published,
        () = lost(connection) => {
            let _ = turns.send(Turn::Lost).await;
            publishing.await
        }
    };
    published_to_the_end(published)
}

/// Waits for the loss of the connection and lets go of it: nothing waits to be sent on it any longer.
async fn lost(connection: Option<Box<Connection>>) {
    match connection {
        Some(connection) => connection.lost().await,
        None => std::future::pending().await,
    }
}

fn published_to_the_end(outcome: Result<Result<(), String>, JoinError>) -> Result<(), EdgeError> {
    match outcome {
        Ok(published) => published.map_err(EdgeError::Publication),
        Err(panicked) => Err(EdgeError::Publication(format!("publication ended: {panicked}"))),
    }
}
