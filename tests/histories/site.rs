//! A NATS server and the real program, and everything that can be done to them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::process::{exit, signal};
use crate::server::Server;

/// How long anything may take: a loaded machine is slow, a hanging test is worse.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The world of the model: `a` lets go at an end, `b` hands over to `c` and may take, `c` holds on and can be switched
/// off; a channel for each way to go on after the close.
pub const CONFIG: &str = r#"
[settings]
release_deadline = "2s"
[[integration]]
name = "a"
next = "b"
[[integration]]
name = "b"
can_take = true
on_end = { pass = "c" }
[[integration]]
name = "c"
next = "a"
on_end = "hold"
[[integration]]
name = "s"
standby = true
[[channel]]
name = "web"
default_integration = "a"
multi_conversations = true
end_user_can_end = true
[[channel]]
name = "thread"
inactivity_timeout = "3s"
[[channel]]
name = "again"
default_integration = "a"
reopen = true
"#;

/// A server, a service and its directory.
pub struct Site {
    pub server: Server,
    /// Where the service keeps its log.
    pub data: PathBuf,
    directory: TempDir,
    arguments: Vec<String>,
    service: Option<Child>,
}

impl Site {
    /// With a running service, whose log is in `data` or in a directory of its own.
    pub async fn new(is_jetstream: bool, data: Option<PathBuf>) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let (store, pid) = (directory.path().join("store"), directory.path().join("server.pid"));
        let mut arguments = vec!["-P", pid.to_str().unwrap()];
        if is_jetstream {
            arguments.extend(["-js", "-sd", store.to_str().unwrap()]);
        }
        let server = Server::start_with(directory.path(), &arguments, &[]).await;
        std::fs::write(directory.path().join("switchboard.toml"), CONFIG).unwrap();
        let data = data.unwrap_or_else(|| directory.path().join("data"));
        let events = if is_jetstream { "jetstream" } else { "core" };
        let arguments = ["--events", events].map(str::to_owned).to_vec();
        let mut site = Site { server, data, directory, arguments, service: None };
        site.launch();
        site.answering().await;
        site
    }

    /// Starts the service, and waits for nothing.
    pub fn launch(&mut self) {
        assert!(self.service.is_none(), "the service runs");
        let mut serve = self.serve(&self.data, "switchboard");
        self.service = Some(serve.args(&self.arguments).spawn().expect("the program runs"));
    }

    /// The command that serves a directory under a prefix.
    pub fn serve(&self, data: &Path, prefix: &str) -> Command {
        let mut serve = program(&["serve", "--nats", &self.server.url, "--prefix", prefix]);
        serve.arg("--data").arg(data).arg("--config").arg(self.directory.path().join("switchboard.toml"));
        let log = std::fs::File::options().create(true).append(true).open(self.path("service.log")).unwrap();
        serve.stderr(log).stdout(Stdio::null());
        serve
    }

    /// Waits until the service answers.
    pub async fn answering(&mut self) {
        let client = self.connect().await;
        self.answering_on(&client, "switchboard").await;
    }

    /// Waits until a service answers under that prefix.
    pub async fn answering_on(&mut self, client: &Client, prefix: &str) {
        let began = Instant::now();
        loop {
            let asked = client.request(format!("{prefix}.query.config"), "".into());
            match timeout(Duration::from_millis(200), asked).await {
                Ok(Ok(_)) => return,
                _ => sleep(Duration::from_millis(10)).await,
            }
            self.check_alive();
            assert!(began.elapsed() < PATIENCE, "the service does not answer:\n{}", self.log());
        }
    }

    /// Fails where the service has ended by itself.
    pub fn check_alive(&mut self) {
        if let Some(status) = self.service.as_mut().and_then(|service| service.try_wait().unwrap()) {
            panic!("the service ended by itself, {status}:\n{}", self.log());
        }
    }

    /// A connection that comes back by itself, quickly.
    pub async fn connect(&self) -> Client {
        let options = ConnectOptions::new().retry_on_initial_connect().subscription_capacity(1 << 20);
        let options = options.reconnect_delay_callback(|_| Duration::from_millis(10));
        options.connect(&self.server.url).await.expect("the server is there")
    }

    /// Kills the service.
    pub fn kill(&mut self) {
        let mut service = self.service.take().expect("the service runs");
        service.kill().unwrap();
        service.wait().unwrap();
    }

    /// Tells the service to stop, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        exit(&mut self.service.take().expect("the service runs")).await
    }

    /// Sends the service a signal.
    pub fn signal(&self, name: &str) {
        signal(self.service.as_ref().expect("the service runs").id(), name);
    }

    /// Sends the server a signal.
    pub fn signal_server(&self, name: &str) {
        let pid = std::fs::read_to_string(self.path("server.pid")).expect("the server has written its pid");
        signal(pid.trim().parse().expect("a number"), name);
    }

    /// Something in the site's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The end of what the service said.
    pub fn log(&self) -> String {
        let said = std::fs::read_to_string(self.path("service.log")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

/// The program with these arguments, and nothing of the environment's meant for it. `SWITCHBOARD_BINARY` names another
/// build of it.
pub fn program(arguments: &[&str]) -> Command {
    let own = || PathBuf::from(env!("CARGO_BIN_EXE_switchboard"));
    let mut program = Command::new(std::env::var_os("SWITCHBOARD_BINARY").map_or_else(own, PathBuf::from));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SWITCHBOARD_")) {
        program.env_remove(name);
    }
    program.env("NO_COLOR", "1").args(arguments);
    program
}

/// What the program writes, if it ends well.
pub fn output(arguments: &[&str], data: &Path) -> Result<String, String> {
    let ran = program(arguments).arg("--data").arg(data).stdin(Stdio::null()).output().expect("the program runs");
    match ran.status.code() {
        Some(0) => Ok(String::from_utf8(ran.stdout).expect("text")),
        code => Err(format!("{arguments:?} ended with {code:?}: {}", String::from_utf8_lossy(&ran.stderr))),
    }
}

/// Asks, and gives the body of the answer.
pub async fn ask(client: &Client, subject: &str, body: Value) -> Value {
    let began = Instant::now();
    loop {
        let asked = client.request(subject.to_owned(), body.to_string().into());
        if let Ok(Ok(answer)) = timeout(Duration::from_secs(5), asked).await {
            return serde_json::from_slice(&answer.payload).expect("an answer is JSON");
        }
        assert!(began.elapsed() < PATIENCE, "no answer to {subject}");
        sleep(Duration::from_millis(20)).await;
    }
}
