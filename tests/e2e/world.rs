//! A real NATS server, the real program on a directory of its own, and somebody who asks and hears everything.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, HeaderMap};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::answer::Answer;
use crate::process::{PATIENCE, Ran, exit, run, signal};
use crate::server::Server;
use crate::wire::{Heard, Wire};

/// How long the absence of something is watched.
pub const A_WHILE: Duration = Duration::from_millis(300);

/// The configuration of most tests: a bot begins, people hold on, a survey comes last.
pub const USUAL: &str = r#"
[settings]
default_integration = "bot"
multi_conversations = true
end_user_can_end = true
inactivity_timeout = "1h"
release_deadline = "10m"
[[integration]]
name = "bot"
next = "agents"
[[integration]]
name = "agents"
on_end = "hold"
can_take = true
inactivity_timeout = "never"
[[integration]]
name = "closer"
on_end = { pass = "survey" }
[[integration]]
name = "survey"
on_end = "hold"
[[integration]]
name = "listener"
standby = true
[[channel]]
name = "whatsapp"
multi_conversations = false
end_user_can_end = false
[[channel]]
name = "reopening"
reopen = true
multi_conversations = false
end_user_can_end = false
[[channel]]
name = "empty"
default_integration = "nobody"
[[integration]]
name = "nobody"
enabled = false
"#;

/// A server, a service and somebody who asks it.
pub struct World {
    /// The NATS server.
    pub server: Server,
    /// Everything that was said.
    pub wire: Arc<Wire>,
    /// The connection on which everything is asked and heard.
    pub client: Client,
    directory: TempDir,
    service: Option<Child>,
    arguments: Vec<String>,
    /// What the service is started by, if not by itself: it has to become it.
    pub wrapper: Vec<String>,
    asked: AtomicU64,
}

impl World {
    /// With the usual configuration.
    pub async fn new() -> World {
        World::with(USUAL, &[]).await
    }

    /// With a configuration, and more arguments for `serve`.
    pub async fn with(config: &str, arguments: &[&str]) -> World {
        let mut world = World::idle(config, arguments).await;
        world.start().await;
        world
    }

    /// With a service that has yet to be started.
    pub async fn idle(config: &str, arguments: &[&str]) -> World {
        World::behind("", config, arguments).await
    }

    /// The same, with a server of that configuration.
    pub async fn behind(server: &str, config: &str, arguments: &[&str]) -> World {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("switchboard.toml"), config).unwrap();
        let file = directory.path().join("nats.conf");
        std::fs::write(&file, server).unwrap();
        let server = Server::start_with(directory.path(), &["-c", file.to_str().unwrap()], &[]).await;
        let wire = Wire::new("switchboard");
        let client = listen(&server.url, &wire).await;
        let arguments = arguments.iter().map(|argument| argument.to_string()).collect();
        let (service, wrapper, asked) = (None, Vec::new(), AtomicU64::new(0));
        World { server, wire, client, directory, service, arguments, wrapper, asked }
    }

    /// Starts the service on its directory, and waits until it hears.
    pub async fn start(&mut self) {
        self.launch();
        self.answering().await;
    }

    /// Starts the service, and waits for nothing.
    pub fn launch(&mut self) {
        assert!(self.service.is_none(), "the service runs");
        let mut serve = self.program(&["serve", "--nats", &self.server.url]);
        serve.arg("--data").arg(self.data()).arg("--config").arg(self.config_file()).args(&self.arguments);
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        self.service = Some(serve.stderr(log).stdout(Stdio::null()).spawn().expect("the program runs"));
    }

    /// Waits until the service hears requests.
    pub async fn answering(&self) {
        let began = Instant::now();
        // The service hears this last, so the answer says that it hears everything.
        let ping = || self.send("$SRV.PING.switchboard", HeaderMap::new(), Vec::new(), Duration::from_millis(50));
        while ping().await.is_none() {
            assert!(began.elapsed() < PATIENCE, "the service does not answer:\n{}", self.log());
        }
    }

    /// The program with these arguments, and nothing of the environment's meant for it.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut words = self.wrapper.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_switchboard")]);
        let mut program = Command::new(words.next().expect("a program"));
        program.args(words);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SWITCHBOARD_")) {
            program.env_remove(name);
        }
        program.env("NO_COLOR", "1").args(arguments);
        program
    }

    /// Runs the program to its end, with `--nats`.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let mut program = self.program(arguments);
        program.args(["--nats", &self.server.url]);
        run(program).await
    }

    /// Asks with a body; the subject stands without the prefix.
    pub async fn ask(&self, subject: &str, body: Value) -> Answer {
        self.ask_raw(subject, body.to_string().into_bytes()).await
    }

    /// Asks with a body of any form.
    pub async fn ask_raw(&self, subject: &str, body: Vec<u8>) -> Answer {
        self.ask_with(subject, &[], body).await
    }

    /// Asks under a command id.
    pub async fn ask_as(&self, command_id: &str, subject: &str, body: Value) -> Answer {
        self.ask_with(subject, &[("Nats-Msg-Id", command_id)], body.to_string().into_bytes()).await
    }

    /// Asks with headers.
    pub async fn ask_with(&self, subject: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let subject = format!("switchboard.{subject}");
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.insert(*name, *value));
        match self.send(&subject, map, body, PATIENCE).await {
            Some(heard) => Answer { subject, heard },
            None => panic!("no answer to {subject}:\n{}", self.log()),
        }
    }

    /// Sends to a whole subject; the answer, if there is one in time.
    pub async fn send(&self, subject: &str, headers: HeaderMap, body: Vec<u8>, wait: Duration) -> Option<Heard> {
        let inbox = format!("_INBOX_asker.{}", self.asked.fetch_add(1, Relaxed));
        let answer = self.wire.next_on(&inbox);
        self.client.publish_with_reply_and_headers(subject.to_owned(), inbox, headers, body.into()).await.ok()?;
        timeout(wait, answer).await.ok()?.ok()
    }

    /// Starts a conversation that `owner` holds.
    pub async fn begin(&self, conversation: &str, owner: &str) {
        let subject = format!("channel.web.start.{conversation}");
        self.ask(&subject, json!({"owner": owner})).await.applied("conversation.started control.assigned");
    }

    /// The state of a conversation.
    pub async fn state(&self, conversation: &str) -> Value {
        let answer = self.ask(&format!("query.conversation.{conversation}"), json!({})).await;
        answer.ok()["conversation"].clone()
    }

    /// Every event of the log, as `query.log` gives them.
    pub async fn log_events(&self) -> Vec<Value> {
        let (mut events, mut from) = (Vec::new(), 1);
        loop {
            let page = self.ask("query.log", json!({"from_seq": from, "limit": 1000})).await.ok();
            events.extend(page["events"].as_array().unwrap().iter().cloned());
            match page["next_seq"].as_u64() {
                Some(next) => from = next,
                None => return events,
            }
        }
    }

    /// Waits until `is_so`, looked at whenever something is heard.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Wire) -> bool) {
        let mut count = self.wire.count();
        let waited = timeout(PATIENCE, async {
            while !is_so(&self.wire) {
                let _ = count.changed().await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain until {what}:\n{}", self.log());
    }

    /// Waits until everything that the server has taken is heard.
    pub async fn caught_up(&self) {
        let marker = format!("marker.{}", self.asked.fetch_add(1, Relaxed));
        let heard = self.wire.next_on(&marker);
        self.client.publish(marker, "".into()).await.unwrap();
        timeout(PATIENCE, heard).await.expect("the server is there").unwrap();
    }

    /// Waits for an event of a conversation.
    pub async fn event(&self, conversation: &str, noun_verb: &str) -> Heard {
        let place = format!("event.{conversation}.{noun_verb}");
        self.until(&place, |wire| !wire.below(&place).is_empty()).await;
        self.wire.below(&place).remove(0)
    }

    /// Waits until the service has said so in its diagnostics, `times` times.
    pub async fn said(&self, what: &str, times: usize) {
        let began = Instant::now();
        while self.log().matches(what).count() < times {
            assert!(began.elapsed() < PATIENCE, "{what:?} was not said:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills the service as a power cut would.
    pub async fn kill(&mut self) {
        let mut service = self.service.take().expect("the service runs");
        service.kill().unwrap();
        service.wait().unwrap();
    }

    /// Tells the service to stop, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.gone().await
    }

    /// Waits until the service has ended.
    pub async fn gone(&mut self) -> ExitStatus {
        exit(&mut self.service.take().expect("the service runs")).await
    }

    /// The service's process.
    pub fn process(&self) -> u32 {
        self.service.as_ref().expect("the service runs").id()
    }

    /// Sends the service a signal.
    pub fn signal(&self, name: &str) {
        signal(self.process(), name);
    }

    /// Hears on a new connection, after the server was started again.
    pub async fn listen_again(&mut self) {
        self.client = listen(&self.server.url, &self.wire).await;
    }

    /// The end of every test: what was published is the log, all of it was of the right form, and the service stops.
    pub async fn end(mut self) {
        let log = self.log_events().await;
        let published = self.wire.events();
        assert_eq!(published.len(), log.len(), "as many events are published as are in the log");
        for ((seq, event), recorded) in published.iter().zip(&log) {
            assert_eq!(event, recorded, "event {seq} as published and as in the log");
        }
        let status = self.stop().await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.caught_up().await;
        let faults = self.wire.faults();
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("switchboard.toml")
    }

    /// A directory for whatever a test needs.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What the service said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("service.log")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
            if std::thread::panicking() {
                eprintln!("the service said:\n{}", self.log());
            }
        }
    }
}

async fn listen(url: &str, wire: &Arc<Wire>) -> Client {
    let options = ConnectOptions::new().subscription_capacity(1 << 20);
    let client = options.connect(url).await.expect("the server is there");
    let mut messages = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();
    let wire = wire.clone();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            wire.hear(message.into());
        }
    });
    client
}
