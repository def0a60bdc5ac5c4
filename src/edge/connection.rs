//! One connection to NATS, which ends when it is lost.
//!
//! The client library would reconnect by itself and then send what had waited in its channel:
//! newer events before older ones that the server never got. So a connection here lives and dies
//! whole: its tasks run on a runtime of its own, the library's first attempt to reconnect is put
//! off for ever, and when the owner hears of the loss it ends the runtime and makes a new
//! connection. A runtime of its own also keeps the socket busy while the rest of the service works.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subject};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::publisher::Link;
use super::stats::Stats;
use super::streams::Acks;
use super::{EdgeError, Options};

/// Messages that may wait to be read, of each subscription: more are lost, so it is well beyond the queue.
const SUBSCRIPTION_MESSAGES: usize = 64 * 1024;
/// Publishes that may wait for the socket.
const CLIENT_MESSAGES: usize = 8 * 1024;
/// How often the server is asked whether it is there; it is given up after three.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long nothing more is said of attempts that fail.
const QUIET: Duration = Duration::from_secs(30);
/// The first pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How the service makes itself known to the server.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// By a credentials file: a JWT and a key.
    File(PathBuf),
    /// By a file that holds an nkey's seed.
    Nkey(PathBuf),
    /// By user and password.
    User(String, String),
    /// By a token.
    Token(String),
}

/// A live connection.
pub struct Connection {
    /// To publish and subscribe with.
    pub client: Client,
    lost: watch::Receiver<bool>,
    _tasks: Tasks,
}

/// The runtime on which a connection's tasks live; they end with it, without anybody waiting for them.
struct Tasks(Option<Runtime>);

impl Tasks {
    fn new() -> Result<Tasks, EdgeError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("nats").enable_all().build();
        runtime.map(|runtime| Tasks(Some(runtime))).map_err(EdgeError::Thread)
    }

    async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Result<T, EdgeError> {
        let runtime = self.0.as_ref().expect("it is there until it is dropped");
        runtime.spawn(task).await.map_err(|panicked| EdgeError::Connect(Box::new(panicked)))
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Connection {
    /// Connects to one of the servers; tries until it succeeds, or the server refuses the first credentials.
    pub async fn make(options: &Options, stats: &Arc<Stats>, is_first: bool) -> Result<Connection, EdgeError> {
        let mut pause = PAUSE_MIN;
        let mut quiet_until = Instant::now();
        loop {
            for url in &options.urls {
                match connect(url, options, stats).await {
                    Ok(connection) => {
                        stats.connections.increment(1);
                        tracing::info!(server = %shown(url), "connected to NATS");
                        return Ok(connection);
                    }
                    Err(error) if is_first && error.is_final() => return Err(error),
                    Err(_) if Instant::now() < quiet_until => {}
                    Err(error) => {
                        tracing::warn!(server = %shown(url), error = %chain(&error), "no connection to NATS yet: trying again")
                    }
                }
            }
            if Instant::now() >= quiet_until {
                quiet_until = Instant::now() + QUIET;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits until the connection is lost.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// A link for the publisher, with inboxes of its own to hear its fences, and acknowledgements of streams.
    pub async fn link(&self, inbox_prefix: &str, has_streams: bool) -> Result<Box<Link>, async_nats::SubscribeError> {
        let fence_subject = new_inbox(inbox_prefix);
        let fences = self.client.subscribe(fence_subject.clone()).await?;
        let acks = match has_streams {
            true => Some(self.acks(new_inbox(inbox_prefix).to_string()).await?),
            false => None,
        };
        Ok(Box::new(Link { client: self.client.clone(), fence_subject, fences, acks }))
    }

    async fn acks(&self, base: String) -> Result<Acks, async_nats::SubscribeError> {
        let heard = self.client.subscribe(format!("{base}.*")).await?;
        Ok(Acks { client: self.client.clone(), base, heard })
    }
}

/// A subject below the inbox prefix that nobody can guess.
pub fn new_inbox(inbox_prefix: &str) -> Subject {
    Subject::from(format!("{inbox_prefix}.{}", uuid::Uuid::new_v4().simple()))
}

async fn connect(url: &ServerAddr, options: &Options, stats: &Arc<Stats>) -> Result<Connection, EdgeError> {
    let tasks = Tasks::new()?;
    let (tell_lost, lost) = watch::channel(false);
    let connect_options = credentials(&options.credentials)
        .await?
        .name(format!("switchboard {}", options.prefix))
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .client_capacity(CLIENT_MESSAGES)
        .ping_interval(PING_EVERY)
        .connection_timeout(CONNECT_WAIT)
        .ignore_discovered_servers()
        .custom_inbox_prefix(options.inbox_prefix())
        .reconnect_delay_callback(end_at_second_call(tell_lost))
        .event_callback(told_of(stats.clone()));
    let url = url.clone();
    let connected = tasks.run(async move { connect_options.connect(url).await }).await?;
    let client = connected.map_err(|error| EdgeError::Connect(Box::new(error)))?;
    Ok(Connection { client, lost, _tasks: tasks })
}

/// The library asks for a delay before each attempt to connect: first when the connection is
/// made, and again only when it is lost.
fn end_at_second_call(tell_lost: watch::Sender<bool>) -> impl Fn(usize) -> Duration + Send + Sync {
    let is_made = AtomicBool::new(false);
    move |_attempt| {
        if !is_made.swap(true, Relaxed) {
            return Duration::ZERO;
        }
        tell_lost.send_replace(true);
        Duration::MAX
    }
}

fn told_of(stats: Arc<Stats>) -> impl Fn(Event) -> std::future::Ready<()> + Send + Sync {
    move |event| {
        match event {
            Event::SlowConsumer(_) => stats.dropped_requests.increment(1),
            Event::ServerError(error) => {
                tracing::warn!(%error, "the NATS server complains: check this user's permissions")
            }
            Event::LameDuckMode => tracing::warn!("the NATS server is about to stop"),
            Event::Disconnected => tracing::warn!("the connection to NATS is lost"),
            _ => {}
        }
        std::future::ready(())
    }
}

async fn credentials(credentials: &Credentials) -> Result<ConnectOptions, EdgeError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        move |source| EdgeError::Credentials { path, source }
    };
    let options = ConnectOptions::new();
    Ok(match credentials {
        Credentials::None => options,
        Credentials::File(path) => options.credentials_file(path).await.map_err(unreadable(path))?,
        Credentials::Nkey(path) => {
            let seed = std::fs::read_to_string(path).map_err(unreadable(path))?;
            options.nkey(seed.trim().into())
        }
        Credentials::User(user, password) => options.user_and_password(user.clone(), password.clone()),
        Credentials::Token(token) => options.token(token.clone()),
    })
}

/// A server's address without what might be a password in it.
fn shown(url: &ServerAddr) -> String {
    format!("{}://{}:{}", url.scheme(), url.host(), url.port())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
