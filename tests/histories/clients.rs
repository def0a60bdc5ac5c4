//! The clients: each asks, waits for the answer, and where none comes asks again under the same command id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::board::Board;
use crate::commands::{self, Part};
use crate::history::{Invoked, Operation, Recorder, Said};
use crate::random::Random;
use crate::site::{PATIENCE, Site};
use crate::wire::Wire;

/// Where who listens hears itself.
const PROBE: &str = "listening.probe";
/// How long an answer is waited for before the client goes on, or asks again. A later answer counts all the same.
const WAIT: Duration = Duration::from_millis(700);
/// How often something is asked before the client gives up, its outcome unknown.
const TRIES_MAX: usize = 12;
/// Connections that the clients share.
const CONNECTIONS: usize = 4;
/// Requests that a client sends before it waits for the first answer, at most.
const AT_ONCE_MAX: u64 = 4;

/// All clients, and what they share.
pub struct Clients {
    shared: Arc<Shared>,
    listener: Client,
    /// When the last message was sent that the listener heard of itself.
    probes: watch::Receiver<u64>,
    /// Since when who listens misses nothing.
    heard_since: u64,
    running: Vec<JoinHandle<()>>,
}

struct Shared {
    recorder: Recorder,
    board: Board,
    wire: Wire,
    /// The document that `config.put` takes, with `c` enabled.
    document: Value,
    answered: AtomicU64,
    stops: AtomicBool,
    /// How long a client rests after a request, in milliseconds, at most.
    rest_ms: u64,
}

impl Clients {
    /// Starts the clients of a site, and somebody who hears everything.
    pub async fn start(site: &Site, seed: u64, rest_ms: u64) -> Clients {
        let listener = site.connect().await;
        let document = crate::site::ask(&listener, "switchboard.query.config", json!({})).await["config"].clone();
        let shared = Arc::new(Shared {
            recorder: Recorder::new(),
            board: Board::default(),
            wire: Wire::default(),
            document,
            answered: AtomicU64::new(0),
            stops: AtomicBool::new(false),
            rest_ms,
        });
        let (probed, probes) = watch::channel(0);
        let mut running = vec![listen(&listener, &shared, probed).await];
        let mut connections = Vec::new();
        for number in 0..CONNECTIONS {
            connections.push(Connection::new(site.connect().await, number, &shared).await);
        }
        for (number, part) in parts().into_iter().enumerate() {
            let connection = connections[number % CONNECTIONS].clone();
            let random = Random(seed.wrapping_add(number as u64 * 7919));
            let one = One { part, number, connection, shared: shared.clone(), random, last: None, listing: None };
            running.push(tokio::spawn(one.run()));
        }
        let mut clients = Clients { shared, listener, probes, heard_since: 0, running };
        clients.hears_again().await;
        clients
    }

    /// Who listens hears everything from now on.
    pub async fn hears_again(&mut self) {
        self.hears().await;
        self.heard_since = self.shared.recorder.now();
    }

    /// Who listens has heard everything until now, and may miss what comes.
    pub async fn heard_until_now(&mut self) {
        let until = self.hears().await;
        self.shared.wire.heard_all(self.heard_since, until);
    }

    /// Waits until a message that the listener sends itself comes back: by then it has heard all that the server had got
    /// when that was sent, which is the time given.
    async fn hears(&mut self) -> u64 {
        let (began, first) = (Instant::now(), self.shared.recorder.now());
        loop {
            let sent = self.shared.recorder.now();
            self.listener.publish(PROBE, sent.to_string().into()).await.unwrap();
            let heard = timeout(Duration::from_millis(500), self.probes.wait_for(|sent| *sent >= first)).await;
            if let Ok(Ok(sent)) = heard {
                return *sent;
            }
            assert!(began.elapsed() < PATIENCE, "the server does not answer who listens");
        }
    }

    /// Everything that was asked and answered so far.
    pub fn operations(&self) -> Vec<Operation> {
        self.shared.recorder.operations()
    }

    /// How many answers came so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Relaxed)
    }

    /// What was published.
    pub fn wire(&self) -> &Wire {
        &self.shared.wire
    }

    /// Lets the clients come to an end with what they are at.
    pub async fn stop(&mut self) {
        self.shared.stops.store(true, Relaxed);
        for client in self.running.drain(1..) {
            client.await.expect("a client ends well");
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

fn parts() -> Vec<Part> {
    let mut parts: Vec<Part> = (0..6).map(|at| Part::Channel(at % 3)).collect();
    parts.extend(["a", "a", "a", "b", "b", "b", "c", "c", "c", "s", "d"].map(Part::Integration));
    parts.extend(["olga", "otto"].map(Part::Operator));
    parts.extend([Part::Configurer, Part::Observer, Part::Observer, Part::Observer]);
    parts
}

async fn listen(client: &Client, shared: &Arc<Shared>, probed: watch::Sender<u64>) -> JoinHandle<()> {
    let mut events = client.subscribe("switchboard.event.>").await.unwrap();
    let mut inbox = client.subscribe("switchboard.inbox.>").await.unwrap();
    let mut rejections = client.subscribe("switchboard.rejection.>").await.unwrap();
    let mut probes = client.subscribe(PROBE).await.unwrap();
    client.flush().await.unwrap();
    let shared = shared.clone();
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                // What came before a probe is heard before it.
                biased;
                Some(message) = events.next() => message,
                Some(message) = inbox.next() => message,
                Some(message) = rejections.next() => message,
                Some(probe) = probes.next() => {
                    let sent = std::str::from_utf8(&probe.payload).ok().and_then(|sent| sent.parse().ok());
                    let _ = probed.send(sent.expect("a time"));
                    continue;
                }
                else => return,
            };
            shared.wire.hear(&message, shared.recorder.now());
        }
    })
}

/// A connection, and who waits for which answer on it.
#[derive(Clone)]
struct Connection {
    client: Client,
    inbox: String,
    waiting: Arc<Mutex<HashMap<String, Waiting>>>,
    count: Arc<AtomicU64>,
}

struct Waiting {
    invoked: Invoked,
    /// Whether the answer shows how things are now.
    is_of_now: bool,
    done: oneshot::Sender<Option<Said>>,
}

impl Connection {
    async fn new(client: Client, number: usize, shared: &Arc<Shared>) -> Connection {
        let inbox = format!("_INBOX.clients{number}");
        let mut answers = client.subscribe(format!("{inbox}.*")).await.unwrap();
        client.flush().await.unwrap();
        let connection = Connection { client, inbox, waiting: Arc::default(), count: Arc::default() };
        let (waiting, shared) = (connection.waiting.clone(), shared.clone());
        tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                let waits = waiting.lock().unwrap().remove(answer.subject.as_str());
                if let Some(waits) = waits {
                    shared.answered(waits, &answer);
                }
            }
        });
        connection
    }

    /// Sends a request; the answer comes by the channel.
    async fn send(&self, shared: &Shared, number: usize) -> oneshot::Receiver<Option<Said>> {
        let (subject, headers, body, is_of_now) = shared.request(number);
        let reply = format!("{}.{}", self.inbox, self.count.fetch_add(1, Relaxed));
        let (done, answer) = oneshot::channel();
        let invoked = shared.recorder.sent(number);
        self.waiting.lock().unwrap().insert(reply.clone(), Waiting { invoked, is_of_now, done });
        let sent = self.client.publish_with_reply_and_headers(subject, reply, headers, body.to_string().into());
        sent.await.expect("the connection takes it");
        answer
    }
}

impl Shared {
    fn answered(&self, waits: Waiting, answer: &Message) {
        // Nobody is there to hear the request: it was not carried out, but a client cannot rely on that.
        let body = serde_json::from_slice::<Value>(&answer.payload).ok().filter(|_| answer.status.is_none());
        let Some(body) = body else {
            let _ = waits.done.send(None);
            return;
        };
        let said = Said::read(&body);
        self.recorder.answered(waits.invoked, said.clone());
        if waits.is_of_now {
            self.board.learn(&said);
        }
        self.answered.fetch_add(1, Relaxed);
        let _ = waits.done.send(Some(said));
    }

    /// How an operation goes over the wire.
    fn request(&self, number: usize) -> (String, HeaderMap, Value, bool) {
        let Operation { role, name, verb, conversation, id, body, .. } = self.recorder.operation(number);
        let mut headers = HeaderMap::new();
        if let Some(id) = &id {
            headers.insert("Nats-Msg-Id", id.as_str());
        }
        let (subject, body) = match (role.as_str(), verb.as_str()) {
            (_, "list") => (format!("switchboard.integration.{name}.list"), body),
            (_, "put") => (format!("switchboard.config.{name}.put"), self.put(&body)),
            ("query", "config" | "log" | "conversations") => (format!("switchboard.query.{verb}"), body),
            ("query", _) => (format!("switchboard.query.{verb}.{conversation}"), body),
            _ => (format!("switchboard.{role}.{name}.{verb}.{conversation}"), body),
        };
        let is_of_now = body.get("at_seq").is_none();
        (subject, headers, body, is_of_now)
    }

    fn put(&self, asked: &Value) -> Value {
        let mut document = self.document.clone();
        for integration in document["integration"].as_array_mut().into_iter().flatten() {
            if integration["name"] == "c" {
                integration["enabled"] = asked["c"].clone();
            }
        }
        let mut body = asked.clone();
        body.as_object_mut().expect("an object").remove("c");
        body["config"] = document;
        body
    }
}

/// One client.
struct One {
    part: Part,
    number: usize,
    connection: Connection,
    shared: Arc<Shared>,
    random: Random,
    /// The last operation with a command id.
    last: Option<usize>,
    /// The last page of a listing that goes on, and where the next one starts.
    listing: Option<(usize, String)>,
}

impl One {
    async fn run(mut self) {
        while !self.shared.stops.load(Relaxed) {
            let count = if self.random.is(10) { 1 + self.random.below(AT_ONCE_MAX) } else { 1 };
            let mut sent = Vec::new();
            for _ in 0..count {
                let number = self.invent();
                sent.push((number, self.connection.send(&self.shared, number).await));
            }
            for (number, answer) in sent {
                self.settle(number, answer).await;
            }
            let rest_ms = match self.part {
                Part::Configurer => 100 + self.random.below(200),
                _ => self.random.below(self.shared.rest_ms + 1),
            };
            sleep(Duration::from_millis(rest_ms)).await;
        }
    }

    /// Thinks of something to ask; sometimes the last thing again.
    fn invent(&mut self) -> usize {
        if let Some(last) = self.last.filter(|_| self.random.is(6)) {
            return last;
        }
        if let Some((before, after)) = self.listing.clone().filter(|_| self.random.is(80)) {
            let page = self.next_page(before, after);
            return self.shared.recorder.begin(page);
        }
        let mut operation = commands::next(self.part, self.number, &self.shared.board, &mut self.random);
        let takes_id = operation.role != "query" && !matches!(operation.verb.as_str(), "state" | "list" | "put");
        if takes_id && self.random.is(60) {
            operation.id = Some(self.command_id(&operation));
        }
        let has_id = operation.id.is_some();
        let number = self.shared.recorder.begin(operation);
        if has_id {
            self.last = Some(number);
        }
        number
    }

    fn next_page(&mut self, before: usize, after: String) -> Operation {
        let mut operation = self.shared.recorder.operation(before);
        operation.body["after"] = after.into();
        // A page need not be as long as the one before.
        if self.random.is(20) {
            operation.body["limit"] = (1 + self.random.below(4)).into();
        }
        Operation { page_before: Some(before), ..operation }
    }

    /// Where a page says that there is another one, it is asked for sooner or later. One that is not answered is asked
    /// for again, as another operation; one that is refused ends the listing.
    fn turn_the_page(&mut self, number: usize, said: &Said) {
        let operation = self.shared.recorder.operation(number);
        let is_next = operation.page_before == self.listing.as_ref().map(|(before, _)| *before);
        if is_next && said.code.as_deref() != Some("busy") {
            self.listing = said.next.clone().flatten().map(|after| (number, after));
        }
    }

    /// An id of its own; sometimes one that stood on something else.
    fn command_id(&mut self, operation: &Operation) -> String {
        let before = self.last.filter(|_| self.random.is(4)).map(|last| self.shared.recorder.operation(last));
        match before {
            Some(Operation { id: Some(id), conversation, name, .. })
                if conversation == operation.conversation && name == operation.name =>
            {
                id
            }
            _ => format!("{}.{:x}", self.number, self.random.next()),
        }
    }

    /// Waits for the answer; where none comes, rests a while and asks again if there is an id, or leaves it unknown.
    async fn settle(&mut self, number: usize, mut answer: oneshot::Receiver<Option<Said>>) {
        let has_id = self.shared.recorder.operation(number).id.is_some();
        for _ in 0..TRIES_MAX {
            match timeout(WAIT, answer).await {
                Ok(Ok(Some(said))) if said.code.as_deref() != Some("busy") => return self.turn_the_page(number, &said),
                _ => sleep(Duration::from_millis(50 + self.random.below(100))).await,
            }
            if !has_id || self.random.is(20) {
                return;
            }
            answer = self.connection.send(&self.shared, number).await;
        }
    }
}
