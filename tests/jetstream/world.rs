//! A NATS server with JetStream on a directory of its own, the real program, and somebody who asks and looks into streams.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::server::Server;

/// How long anything may take: a loaded machine is slow, a hanging test is worse.
const PATIENCE: Duration = Duration::from_secs(60);

/// The stream of events.
pub const EVENTS: &str = "SWITCHBOARD_EVENTS";
/// The stream of inboxes.
pub const INBOX: &str = "SWITCHBOARD_INBOX";

const CONFIG: &str = r#"
[settings]
default_integration = "bot"
multi_conversations = true
end_user_can_end = true
[[integration]]
name = "bot"
[[integration]]
name = "agents"
[[integration]]
name = "listener"
standby = true
"#;

/// One message of a stream.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub event: Value,
}

impl Kept {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.headers["Nats-Msg-Id"]
    }

    /// Which event it is, or of which it is a copy; none for a relayed message.
    pub fn seq(&self) -> Option<u64> {
        self.event["data"]["seq"].as_u64()
    }
}

/// A server, a service and somebody who asks it.
pub struct World {
    /// The NATS server.
    pub server: Server,
    /// The connection on which everything is asked.
    pub client: Client,
    directory: TempDir,
    service: Option<Child>,
}

impl World {
    /// With a running service.
    pub async fn new() -> World {
        let mut world = World::without_service().await;
        world.start().await;
        world
    }

    /// With a server that keeps streams.
    pub async fn without_service() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let arguments = ["-js", "-sd", store.to_str().unwrap()];
        World::on(Server::start_with(directory.path(), &arguments, &[]).await, directory).await
    }

    /// With any server.
    pub async fn on(server: Server, directory: TempDir) -> World {
        std::fs::write(directory.path().join("switchboard.toml"), CONFIG).unwrap();
        let client = async_nats::connect(&server.url).await.expect("the server is there");
        World { server, client, directory, service: None }
    }

    /// Starts the service and waits until it answers.
    pub async fn start(&mut self) {
        self.launch();
        self.answering().await;
    }

    /// Starts the service, and waits for nothing.
    pub fn launch(&mut self) {
        assert!(self.service.is_none(), "the service runs");
        let mut serve = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SWITCHBOARD_")) {
            serve.env_remove(name);
        }
        serve.args(["serve", "--events", "jetstream", "--http", "127.0.0.1:0", "--nats", &self.server.url]);
        serve.arg("--data").arg(self.data()).arg("--config").arg(self.path().join("switchboard.toml"));
        let log = std::fs::File::options().create(true).append(true).open(self.path().join("service.log")).unwrap();
        let serve = serve.env("NO_COLOR", "1").stderr(log).stdout(Stdio::null());
        self.service = Some(serve.spawn().expect("the program runs"));
    }

    /// Waits until the service answers.
    pub async fn answering(&self) {
        let began = Instant::now();
        while self.try_ask("query.config", json!({}), &[], Duration::from_millis(100)).await.is_none() {
            assert!(began.elapsed() < PATIENCE, "the service does not answer:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks; the answer.
    pub async fn ask(&self, subject: &str, body: Value) -> Value {
        let answer = self.try_ask(subject, body, &[], PATIENCE).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer to {subject}:\n{}", self.log()));
        assert!(answer.get("error").is_none(), "{subject}: {answer}");
        answer
    }

    /// Asks with headers; the answer, if there is one in time.
    pub async fn try_ask(&self, subject: &str, body: Value, headers: &[(&str, &str)], wait: Duration) -> Option<Value> {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.insert(*name, *value));
        let subject = format!("switchboard.{subject}");
        let answer = self.client.request_with_headers(subject, map, body.to_string().into());
        serde_json::from_slice(&timeout(wait, answer).await.ok()?.ok()?.payload).ok()
    }

    /// Every event of the log.
    pub async fn log_events(&self) -> Vec<Value> {
        let (mut events, mut from) = (Vec::new(), 1);
        loop {
            let page = self.ask("query.log", json!({"from_seq": from, "limit": 1000})).await;
            events.extend(page["events"].as_array().unwrap().iter().cloned());
            match page["next_seq"].as_u64() {
                Some(next) => from = next,
                None => return events,
            }
        }
    }

    /// Asks JetStream.
    pub async fn api(&self, what: &str, body: Value) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.client.request(format!("$JS.API.{what}"), body.to_string().into()).await;
            match answer {
                Ok(answer) => return serde_json::from_slice(&answer.payload).unwrap(),
                Err(error) => assert!(began.elapsed() < PATIENCE, "{what}: {error}"),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything that a stream holds below a subject, in its order, by a consumer that was not there before.
    pub async fn held(&self, stream: &str, filter: &str) -> Vec<Kept> {
        let config = json!({"deliver_policy": "all", "ack_policy": "none", "filter_subject": filter, "inactive_threshold": 60_000_000_000u64});
        let made =
            self.api(&format!("CONSUMER.CREATE.{stream}"), json!({"stream_name": stream, "config": config})).await;
        let consumer = made["name"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        self.fetch(stream, &consumer, false).await
    }

    /// Everything that waits for a consumer, acknowledged if `acknowledge`.
    pub async fn fetch(&self, stream: &str, consumer: &str, acknowledge: bool) -> Vec<Kept> {
        let inbox = self.client.new_inbox();
        let mut messages = self.client.subscribe(inbox.clone()).await.unwrap();
        let mut all = Vec::new();
        loop {
            let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
            let body = json!({"batch": 1000, "no_wait": true}).to_string();
            self.client.publish_with_reply(next, inbox.clone(), body.into()).await.unwrap();
            loop {
                let message =
                    timeout(PATIENCE, messages.next()).await.expect("the stream answers").expect("it is connected");
                match message.status.map(|status| status.as_u16()) {
                    Some(404) => return all,
                    Some(_) => break,
                    None => {}
                }
                if let Some(reply) = message.reply.clone().filter(|_| acknowledge) {
                    self.client.publish(reply, "+ACK".into()).await.unwrap();
                }
                let headers = message.headers.iter().flat_map(|headers| headers.iter());
                let headers =
                    headers.filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())));
                all.push(Kept { headers: headers.collect(), event: serde_json::from_slice(&message.payload).unwrap() });
                if all.len() % 1000 == 0 {
                    break;
                }
            }
        }
    }

    /// Waits until the page says that the streams hold everything.
    pub async fn in_step(&self) {
        let began = Instant::now();
        loop {
            let page = self.readyz().await;
            if page["streams"]["in_step"] == true && page["publication"]["lag_events"] == 0 {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the streams are not filled: {page}\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Holds the streams against the log: each event once, in order, and each inbox in order without a copy twice.
    pub async fn check_streams(&self) {
        self.in_step().await;
        let log = self.log_events().await;
        let mut events = self.held(EVENTS, "switchboard.event.>").await;
        // Whatever has none is not ours.
        events.retain(|kept| kept.seq().is_some());
        let seqs: Vec<u64> = events.iter().filter_map(Kept::seq).collect();
        let expected: Vec<u64> = (1..=log.len() as u64).collect();
        assert!(seqs == expected, "the stream holds {} events, the log {}: {seqs:?}", seqs.len(), log.len());
        for (kept, recorded) in events.iter().zip(&log) {
            assert_eq!(&kept.event, recorded, "event as kept and as in the log");
        }
        self.check_inboxes(&log).await;
    }

    async fn check_inboxes(&self, log: &[Value]) {
        let copies: Vec<Kept> = self.held(INBOX, "switchboard.inbox.>").await;
        let copies: Vec<&Kept> = copies.iter().filter(|copy| copy.seq().is_some()).collect();
        assert!(copies.is_sorted_by_key(|copy| copy.seq()), "copies are out of order");
        let mut ids: Vec<&str> = copies.iter().map(|copy| copy.id()).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "a copy is there twice");
        let of_channel: Vec<u64> =
            copies.iter().filter(|copy| copy.id().ends_with("/channel.web")).filter_map(|copy| copy.seq()).collect();
        let conversations = log.iter().filter(|event| event["subject"] != "_config");
        let expected: Vec<u64> = conversations.filter_map(|event| event["data"]["seq"].as_u64()).collect();
        assert!(of_channel == expected, "the channel's inbox lacks copies: {of_channel:?}, expected {expected:?}");
    }

    /// What `/readyz` says.
    pub async fn readyz(&self) -> Value {
        serde_json::from_str(&self.page("/readyz").await).unwrap()
    }

    /// The body of a page.
    pub async fn page(&self, path: &str) -> String {
        let log = self.log();
        let address = log.rsplit("health and metrics are served address=").next();
        let address = address.and_then(|rest| rest.split_whitespace().next()).expect("the address is said").to_owned();
        let path = path.to_owned();
        let page = tokio::task::spawn_blocking(move || get(&address, &path).unwrap_or_default());
        page.await.unwrap()
    }

    /// Kills the service.
    pub fn kill(&mut self) {
        let mut service = self.service.take().expect("the service runs");
        service.kill().unwrap();
        service.wait().unwrap();
    }

    /// Tells the service to stop, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        let id = self.service.as_ref().expect("the service runs").id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.gone().await
    }

    /// Waits until the service has ended.
    pub async fn gone(&mut self) -> ExitStatus {
        let mut service = self.service.take().expect("the service runs");
        let began = Instant::now();
        loop {
            if let Some(status) = service.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the service does not end:\n{}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The service refuses to start; what it says.
    pub async fn refused(&mut self) -> String {
        self.launch();
        assert_eq!(self.gone().await.code(), Some(1), "{}", self.log());
        self.log()
    }

    /// What the service said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("service.log")).unwrap_or_default()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A directory for whatever a test needs.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

fn get(address: &str, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: switchboard\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
}
