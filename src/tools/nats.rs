//! A connection to NATS for one command of the command line: ask, wait for the answer, publish.
//!
//! The runtime has a thread of its own, so that the connection stays alive while a command waits for its reader.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, Request, ServerAddr, ServerError, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::edge::{LOGIN_HINT, is_refused, login};

/// How long an answer may take: a question about the past may read much of the log.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// How long the server may take to confirm what was published.
const FLUSH_WAIT: Duration = Duration::from_secs(10);

/// How long after the fence a complaint about what was published before it may take to be heard.
const COMPLAINT_WAIT: Duration = Duration::from_millis(20);

/// Header that marks an answer as an error.
const ERROR_CODE: &str = "Nats-Service-Error-Code";

/// Messages that may wait to be read where a program subscribes by itself: more would be lost.
const SUBSCRIPTION_MESSAGES: usize = 256 * 1024;

/// Complaints of the server kept until somebody reads them.
const COMPLAINTS_MAX: usize = 16;

/// Where NATS is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The servers, any of which will do.
    pub servers: Vec<ServerAddr>,
    /// What it is proved with who asks.
    pub login: Login,
    /// What the service's subjects begin with.
    pub prefix: String,
    /// What the subjects of answers begin with.
    pub inbox_prefix: String,
}

/// What it is proved with who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Nothing.
    None,
    /// A user's name and password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// A file of credentials.
    Creds(PathBuf),
    /// A file with the seed of an nkey.
    Nkey(PathBuf),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::None => f.write_str("None"),
            Login::Password { user, .. } => write!(f, "Password({user:?})"),
            Login::Token(_) => f.write_str("Token"),
            Login::Creds(path) => write!(f, "Creds({path:?})"),
            Login::Nkey(path) => write!(f, "Nkey({path:?})"),
        }
    }
}

/// A connection under way.
pub struct Connection {
    runtime: Runtime,
    client: Client,
    complaints: mpsc::Receiver<String>,
    losses: watch::Receiver<u64>,
    interrupted: watch::Receiver<bool>,
    fence: Option<(String, Subscriber)>,
    prefix: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The body.
    pub body: Bytes,
    /// Whether the service marked it as an error.
    pub is_refusal: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NatsError {
    /// A file for the login cannot be read.
    Login(PathBuf, std::io::Error),
    /// No server could be reached.
    Connect {
        /// The servers tried.
        servers: String,
        /// Why not.
        source: async_nats::ConnectError,
    },
    /// The runtime could not be started.
    Runtime(std::io::Error),
    /// Nobody listens on that subject.
    NobodyListens {
        /// The prefix asked on.
        prefix: String,
    },
    /// Nothing came back in time.
    NoAnswer {
        /// The prefix asked on.
        prefix: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The server does not allow it.
    Denied(String),
    /// The connection was lost, and with it perhaps what was published last.
    Lost,
    /// Somebody asked this program to end.
    Interrupted,
    /// The connection failed.
    Connection(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for NatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NatsError::Login(path, _) => write!(f, "cannot read {}", path.display()),
            NatsError::Connect { servers, source } if is_refused(source) => {
                write!(f, "cannot log in to NATS at {servers}: {LOGIN_HINT}")
            }
            NatsError::Connect { servers, .. } => write!(f, "cannot connect to NATS at {servers}"),
            NatsError::Runtime(_) => f.write_str("cannot start the runtime"),
            NatsError::NobodyListens { prefix } => {
                write!(f, "no switchboard answers on prefix {prefix}: is it running? see --nats and --prefix")
            }
            NatsError::NoAnswer { prefix, waited } => write!(
                f,
                "no answer on prefix {prefix} within {} seconds: is the switchboard well? see its log",
                waited.as_secs()
            ),
            NatsError::Denied(text) => write!(
                f,
                "the NATS server does not allow it ({text}): see the user's permissions, and --inbox-prefix for answers"
            ),
            NatsError::Lost => f.write_str("the connection to NATS was lost"),
            NatsError::Interrupted => f.write_str("interrupted"),
            NatsError::Connection(_) => f.write_str("the connection to NATS failed"),
        }
    }
}

impl Error for NatsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            NatsError::Login(_, source) | NatsError::Runtime(source) => Some(source),
            NatsError::Connect { source, .. } => Some(source),
            NatsError::Connection(source) => Some(source.as_ref()),
            _ => None,
        }
    }
}

impl Connection {
    /// Connects, or says why not; it is not tried again.
    pub fn open(access: &Access) -> Result<Connection, NatsError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(NatsError::Runtime)?;
        let (complain, complaints) = mpsc::channel(COMPLAINTS_MAX);
        let (lose, losses) = watch::channel(0);
        let options = login(&access.login)?
            .name("switchboard command line")
            .custom_inbox_prefix(&access.inbox_prefix)
            .event_callback(move |event| {
                if let Event::Disconnected = event {
                    lose.send_modify(|losses| *losses += 1);
                }
                let complain = complain.clone();
                async move { note_complaint(event, &complain) }
            });
        let client = runtime.block_on(connect(access, options))?;
        let (_, interrupted) = watch::channel(false);
        let prefix = access.prefix.clone();
        Ok(Connection { runtime, client, complaints, losses, interrupted, fence: None, prefix })
    }

    /// The longest message that the server takes.
    pub fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// What the service's subjects begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Asks on a subject below the prefix and waits for the answer.
    pub fn ask(
        &mut self,
        subject: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        wait: Duration,
    ) -> Result<Answer, NatsError> {
        let subject = format!("{}.{subject}", self.prefix);
        self.ask_at(subject, headers, body, wait)
    }

    /// Whether anybody answers on that subject, prefix and all; who only listens there does not.
    pub fn is_answered(&mut self, subject: &str, wait: Duration) -> Result<bool, NatsError> {
        match self.ask_at(subject.to_owned(), HeaderMap::new(), Vec::new(), wait) {
            Ok(_) => Ok(true),
            Err(NatsError::NobodyListens { .. } | NatsError::NoAnswer { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn ask_at(
        &mut self,
        subject: String,
        headers: HeaderMap,
        body: Vec<u8>,
        wait: Duration,
    ) -> Result<Answer, NatsError> {
        let mut request = Request::new().payload(body.into()).timeout(Some(wait));
        if !headers.is_empty() {
            request = request.headers(headers);
        }
        let Connection { runtime, client, complaints, prefix, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                answer = client.send_request(subject, request) => match answer {
                    Ok(message) => Ok(Answer {
                        is_refusal: message.headers.is_some_and(|headers| headers.get(ERROR_CODE).is_some()),
                        body: message.payload,
                    }),
                    Err(error) => Err(match error.kind() {
                        RequestErrorKind::NoResponders => NatsError::NobodyListens { prefix: prefix.clone() },
                        RequestErrorKind::TimedOut => NatsError::NoAnswer { prefix: prefix.clone(), waited: wait },
                        _ => NatsError::Connection(Box::new(error)),
                    }),
                },
                Some(complaint) = complaints.recv() => Err(NatsError::Denied(complaint)),
            }
        })
    }

    /// Hands a message to the connection; [`flush`](Self::flush) says whether it arrived.
    pub fn publish(&mut self, subject: String, headers: HeaderMap, body: Bytes) -> Result<(), NatsError> {
        let Connection { runtime, client, losses, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                published = client.publish_with_headers(subject, headers, body) => {
                    published.map_err(|error| NatsError::Connection(Box::new(error)))
                }
                // Without a connection the library takes so much, and then waits.
                _ = losses.changed() => Err(NatsError::Lost),
            }
        })
    }

    /// Waits until the server has taken everything that was published: until a message of our own, sent after it, is
    /// back. Where this user may not publish to its own inbox the server says so in the same order, which proves as much.
    pub fn flush(&mut self) -> Result<(), NatsError> {
        let Connection { runtime, client, complaints, losses, fence, prefix, .. } = self;
        let failed = |error: Box<dyn Error + Send + Sync>| NatsError::Connection(error);
        if client.connection_state() != State::Connected {
            return Err(NatsError::Lost);
        }
        runtime.block_on(async {
            if fence.is_none() {
                let inbox = client.new_inbox();
                let back = client.subscribe(inbox.clone()).await.map_err(|error| failed(Box::new(error)))?;
                *fence = Some((inbox, back));
            }
            let Some((inbox, back)) = fence else { return Err(NatsError::Lost) };
            client.publish(inbox.clone(), "".into()).await.map_err(|error| failed(Box::new(error)))?;
            tokio::select! {
                biased;
                // The library says nothing of what was on its way when the connection went.
                _ = losses.changed() => Err(NatsError::Lost),
                Some(complaint) = complaints.recv() => match complaint.contains(inbox.as_str()) {
                    true => Ok(()),
                    false => Err(NatsError::Denied(complaint)),
                },
                Some(_) = back.next() => match client.statistics().connects.load(Relaxed) {
                    // A complaint about what came before it is handed on by a task of its own, which may be behind.
                    1 => match tokio::time::timeout(COMPLAINT_WAIT, complaints.recv()).await {
                        Ok(Some(complaint)) if !complaint.contains(inbox.as_str()) => Err(NatsError::Denied(complaint)),
                        _ => Ok(()),
                    },
                    // It came back on another connection than what was sent before it.
                    _ => Err(NatsError::Lost),
                },
                () = tokio::time::sleep(FLUSH_WAIT) => Err(NatsError::NoAnswer { prefix: prefix.clone(), waited: FLUSH_WAIT }),
            }
        })
    }

    /// From now on a person or the system that asks this program to end is heard by [`pause`](Self::pause) alone.
    pub fn hear_interruption(&mut self) {
        let (tell, told) = watch::channel(false);
        self.interrupted = told;
        let _runtime = self.runtime.enter();
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        self.runtime.spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            tell.send_replace(true);
            // Whoever holds the other end hears nothing of a sender that is gone.
            tell.closed().await;
        });
    }

    /// Waits so long; an error where this program is asked to end, or the connection is lost, before.
    pub fn pause(&mut self, wait: Duration) -> Result<(), NatsError> {
        if *self.interrupted.borrow() {
            return Err(NatsError::Interrupted);
        }
        if wait.is_zero() {
            return Ok(());
        }
        let Connection { runtime, losses, interrupted, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                Ok(_) = interrupted.wait_for(|asked| *asked) => Err(NatsError::Interrupted),
                _ = losses.changed() => Err(NatsError::Lost),
                () = tokio::time::sleep(wait) => Ok(()),
            }
        })
    }
}

/// Connects for a program that publishes and subscribes by itself.
pub async fn connect_plain(access: &Access, name: &str) -> Result<Client, NatsError> {
    let options = login(&access.login)?.name(name).custom_inbox_prefix(&access.inbox_prefix);
    connect(access, options.subscription_capacity(SUBSCRIPTION_MESSAGES)).await
}

fn login(login: &Login) -> Result<ConnectOptions, NatsError> {
    let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| NatsError::Login(path.clone(), error));
    let options = ConnectOptions::new();
    Ok(match login {
        Login::None => options,
        Login::Password { user, password } => options.user_and_password(user.clone(), password.clone()),
        Login::Token(token) => options.token(token.clone()),
        Login::Creds(path) => {
            let text = read(path)?;
            options.credentials(&text).map_err(|error| NatsError::Login(path.clone(), error))?
        }
        Login::Nkey(path) => {
            let text = read(path)?;
            let seed = login::seed(&text).map_err(std::io::Error::other);
            options.nkey(seed.map_err(|error| NatsError::Login(path.clone(), error))?.to_owned())
        }
    })
}

async fn connect(access: &Access, options: ConnectOptions) -> Result<Client, NatsError> {
    options
        .connect(access.servers.as_slice())
        .await
        .map_err(|source| NatsError::Connect { servers: shown(&access.servers), source })
}

fn note_complaint(event: Event, complain: &mpsc::Sender<String>) {
    if let Event::ServerError(ServerError::Other(text)) = event
        && text.to_ascii_lowercase().contains("permissions violation")
    {
        let _ = complain.try_send(text);
    }
}

/// The servers without what may stand in a URL to log in with.
fn shown(servers: &[ServerAddr]) -> String {
    let shown: Vec<String> = servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
    shown.join(", ")
}
