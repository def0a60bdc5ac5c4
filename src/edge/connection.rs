//! One connection to NATS, which ends when it is lost.
//!
//! The client library would reconnect by itself and then send what had waited in its channel:
//! newer events before older ones that the server never got. So a connection here lives and dies
//! whole: the library's task ends at its first attempt to reconnect, with all that waited, and the
//! owner, who hears of the loss, makes a new connection.
//!
//! Its tasks run on a [`Thread`] of which others know, so that whoever fills or empties its channels can work on the
//! same one: what is written by one and read by the next is still in that processor's cache, and memory goes back to
//! the thread that took it. The publisher works so, and the intake of requests.
//!
//! Requests come in on one connection, and everything else goes over another: the library writes nothing as long as
//! there is something to read, so that on one connection a flood of requests would let no answer leave. And a
//! message that it cannot read, which any caller may send, costs it the connection: answers are not to be lost with it.
//! Refusals have a third, so that answers need not wait behind them.

use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subject};
use futures_util::StreamExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::complaints::Complaints;
use super::publisher::Link;
use super::stats::Stats;
use super::streams::Acks;
use super::{EdgeError, Options, login, parting};

/// Messages that may wait to be taken, of each subscription: more than the shortest requests of one turn of reading
/// ([`super::intake`]), which are 25 thousand; what found no room would be lost.
const SUBSCRIPTION_MESSAGES: usize = 64 * 1024;
/// Bytes read at once. The library takes turns of 128 readings before anything else is done on its thread: so much, a
/// megabyte, comes before requests are taken.
const READ_BYTES: u16 = 8 * 1024;
/// Publishes that may wait for the socket: who is served next is decided in the queue, and not to wait here.
const CLIENT_MESSAGES: usize = 1024;
/// How often the server is asked whether it is there; it is given up after three.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long the server has to send something back.
const ROUND_TRIP_WAIT: Duration = Duration::from_secs(5);
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

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Events, answers, streams: whatever the service says, and what it hears about that.
    Publishing,
    /// Requests, and nothing else.
    Requests,
    /// Refusals of requests that came faster than they can be served: in a flood they are most of what is said.
    Refusals,
}

/// A live connection.
pub struct Connection {
    /// To publish and subscribe with.
    pub client: Client,
    lost: watch::Receiver<bool>,
    complaints: Arc<Complaints>,
    thread: Arc<Thread>,
}

/// A thread with the tasks of connections; they end with it, without anybody waiting for them.
pub struct Thread(Option<Runtime>);

impl Thread {
    /// A thread of that name.
    pub fn new(name: &str) -> Result<Arc<Thread>, EdgeError> {
        let build = || Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build();
        // The runtime panics where the system has no thread to give.
        let built = catch_unwind(build).unwrap_or_else(|_| Err(ErrorKind::OutOfMemory.into()));
        built.map(|runtime| Arc::new(Thread(Some(runtime)))).map_err(EdgeError::Thread)
    }

    /// Where tasks of the thread are spawned.
    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }

    async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Result<T, EdgeError> {
        self.handle().spawn(task).await.map_err(|panicked| EdgeError::Connect(Box::new(panicked)))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Connection {
    /// Connects to one of the servers, on `thread`; tries until it succeeds, or the server refuses the first credentials.
    pub async fn make(
        options: &Options,
        purpose: Purpose,
        thread: &Arc<Thread>,
        stats: &Arc<Stats>,
        is_first: bool,
    ) -> Result<Connection, EdgeError> {
        let mut pause = PAUSE_MIN;
        let mut quiet_until = Instant::now();
        loop {
            for url in &options.urls {
                match connect(url, options, purpose, thread, stats).await {
                    Ok(connection) => {
                        stats.connections.increment(1);
                        tracing::info!(server = %shown(url), ?purpose, "connected to NATS");
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

    /// Runs a task on the thread of this connection, between its readings and writings; it ends with it.
    pub fn run_beside(&self, tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
        tasks.spawn_on(task, self.thread.handle());
    }

    /// Returns when the server has done everything asked of it on this connection before.
    pub async fn round_trip(&self, inbox: Subject) -> Result<(), async_nats::Error> {
        let mut back = self.client.subscribe(inbox.clone()).await?;
        self.client.publish(inbox, "".into()).await?;
        timeout(ROUND_TRIP_WAIT, back.next()).await?.ok_or("the connection is lost")?;
        Ok(())
    }

    /// Waits until the connection is lost.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Turns true when the connection is lost, and all that had come is with its subscribers.
    pub fn losing(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }

    /// A link for the publisher, with inboxes of its own to hear its fences, and acknowledgements of streams.
    pub async fn link(&self, inbox_prefix: &str, has_streams: bool) -> Result<Box<Link>, async_nats::SubscribeError> {
        let fence_subject = new_inbox(inbox_prefix);
        let fences = self.client.subscribe(fence_subject.clone()).await?;
        let acks = match has_streams {
            true => Some(self.acks(new_inbox(inbox_prefix).to_string()).await?),
            false => None,
        };
        let max_payload = self.client.server_info().max_payload;
        Ok(Box::new(Link { client: self.client.clone(), max_payload, fence_subject, fences, acks }))
    }

    async fn acks(&self, base: String) -> Result<Acks, async_nats::SubscribeError> {
        let heard = self.client.subscribe(format!("{base}.*")).await?;
        Ok(Acks { client: self.client.clone(), base, heard, complaints: self.complaints.clone() })
    }
}

/// A subject below the inbox prefix that nobody can guess.
pub fn new_inbox(inbox_prefix: &str) -> Subject {
    Subject::from(format!("{inbox_prefix}.{}", uuid::Uuid::new_v4().simple()))
}

async fn connect(
    url: &ServerAddr,
    options: &Options,
    purpose: Purpose,
    thread: &Arc<Thread>,
    stats: &Arc<Stats>,
) -> Result<Connection, EdgeError> {
    let (tell_lost, lost) = watch::channel(false);
    let complaints = Arc::new(Complaints::default());
    let connect_options = credentials(&options.credentials)
        .await?
        .name(format!("switchboard {}", options.prefix))
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .client_capacity(CLIENT_MESSAGES)
        .read_buffer_capacity(READ_BYTES)
        .ping_interval(PING_EVERY)
        .connection_timeout(CONNECT_WAIT)
        .ignore_discovered_servers()
        .custom_inbox_prefix(options.inbox_prefix())
        .reconnect_delay_callback(end_at_second_call(tell_lost))
        .event_callback(told_of(purpose, stats.clone(), complaints.clone()));
    let url = url.clone();
    let connected = thread.run(async move { connect_options.connect(url).await }).await?;
    let client = connected.map_err(|error| EdgeError::Connect(Box::new(error)))?;
    Ok(Connection { client, lost, complaints, thread: thread.clone() })
}

/// The library asks for a delay before each attempt to connect: first when the connection is made, and again only
/// when it is lost. Then its task ends here: by unwinding, because it knows no other end without another attempt, and
/// without a word, because that is no fault.
fn end_at_second_call(tell_lost: watch::Sender<bool>) -> impl Fn(usize) -> Duration + Send + Sync {
    let is_made = AtomicBool::new(false);
    move |_attempt| {
        if !is_made.swap(true, Relaxed) {
            return Duration::ZERO;
        }
        tell_lost.send_replace(true);
        std::panic::resume_unwind(Box::new("the connection is lost"))
    }
}

fn told_of(
    purpose: Purpose,
    stats: Arc<Stats>,
    complaints: Arc<Complaints>,
) -> impl Fn(Event) -> std::future::Ready<()> + Send + Sync {
    move |event| {
        match event {
            Event::SlowConsumer(_) => stats.dropped_requests.increment(),
            Event::ServerError(error) => {
                tracing::warn!(%error, "the NATS server complains: check this user's permissions");
                complaints.note(&error.to_string());
            }
            Event::LameDuckMode => tracing::warn!("the NATS server is about to stop"),
            Event::Disconnected => tell_lost(purpose, parting::why(), &stats),
            _ => {}
        }
        std::future::ready(())
    }
}

fn tell_lost(purpose: Purpose, why: Option<String>, stats: &Stats) {
    let why = why.unwrap_or_else(|| "the server ended it, or does not answer".into());
    if parting::is_unreadable(&why) {
        stats.unreadable.increment(1);
        tracing::warn!(
            ?purpose,
            why,
            "the connection to NATS is lost to a message that cannot be read: its sender breaks the protocol; requests that were not taken yet stay unanswered"
        );
    } else {
        tracing::warn!(?purpose, why, "the connection to NATS is lost");
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
            let seed = login::seed(&seed).map_err(|why| unreadable(path)(std::io::Error::other(why)))?;
            options.nkey(seed.into())
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::edge::Events;
    use crate::edge::message::{Outgoing, Place};

    /// Speaks as much as a server does before anything is published.
    fn let_in(listener: &TcpListener) -> BufReader<TcpStream> {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        stream.get_mut().write_all(b"INFO {\"server_id\":\"test\",\"max_payload\":1048576}\r\n").unwrap();
        while next_line(&mut stream) != "PING" {}
        stream.get_mut().write_all(b"PONG\r\n").unwrap();
        stream
    }

    fn next_line(stream: &mut BufReader<TcpStream>) -> String {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "expected a line, got the end");
        line.trim_end().to_owned()
    }

    /// What the server hears of messages, up to one without a payload; a client may ask in between whether it is there.
    fn heard(mut stream: BufReader<TcpStream>) -> Vec<String> {
        let lines = std::iter::from_fn(|| Some(next_line(&mut stream)));
        let messages = lines.skip_while(|line| !line.contains("PUB")).take_while(|line| line != "PUB end 0");
        messages.filter(|line| line != "PING").collect()
    }

    fn options(listener: &TcpListener) -> Options {
        Options {
            urls: vec![format!("nats://{}", listener.local_addr().unwrap()).parse().unwrap()],
            credentials: Credentials::None,
            prefix: "switchboard".into(),
            reply_prefix: "_INBOX".into(),
            http: None,
            events: Events::Core,
        }
    }

    #[tokio::test]
    async fn a_lost_connection_ends_with_all_that_waits_and_its_thread_serves_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (options, thread, stats) = (options(&listener), Thread::new("test").unwrap(), Arc::new(Stats::new()));
        let make = || Connection::make(&options, Purpose::Publishing, &thread, &stats, true);
        let server = tokio::task::spawn_blocking(move || (let_in(&listener), listener));
        let first = make().await.unwrap();
        let (stream, listener) = server.await.unwrap();
        drop(stream);
        first.lost().await;
        let refused = async { while first.client.publish("late", "".into()).await.is_ok() {} };
        timeout(CONNECT_WAIT, refused).await.expect("a publish is refused once the connection is lost");
        let server = tokio::task::spawn_blocking(move || {
            let mut stream = let_in(&listener);
            std::iter::from_fn(|| Some(next_line(&mut stream))).find(|line| line.contains("PUB"))
        });
        let next = make().await.unwrap();
        next.client.publish("next", "".into()).await.unwrap();
        assert_eq!(server.await.unwrap().as_deref(), Some("PUB next 0"));
        assert!(first.client.publish("late", "".into()).await.is_err());
    }

    #[tokio::test]
    async fn a_message_is_on_the_wire_with_its_type_and_its_own_id_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (options, thread, stats) = (options(&listener), Thread::new("test").unwrap(), Arc::new(Stats::new()));
        let server = tokio::task::spawn_blocking(move || heard(let_in(&listener)));
        let client = Connection::make(&options, Purpose::Publishing, &thread, &stats, true).await.unwrap().client;
        for id in ["log-1-ab", "log-2-cd/channel.web"] {
            let message =
                Outgoing { place: Place::Inbox, subject: "s".into(), id: id.into(), payload: "{}\r\n".into() };
            let (subject, headers, payload) = message.into_parts();
            client.publish_with_headers(subject, headers, payload).await.unwrap();
        }
        client.publish("end", "".into()).await.unwrap();
        let of = |head: &str, id: &str| {
            [
                head,
                "NATS/1.0",
                "Content-Type: application/cloudevents+json",
                &format!("Nats-Msg-Id: {id}"),
                "",
                "{}",
                "",
            ]
            .map(str::to_owned)
        };
        let expected = [of("HPUB s 79 83", "log-1-ab"), of("HPUB s 91 95", "log-2-cd/channel.web")].concat();
        assert_eq!(server.await.unwrap(), expected);
    }
}
