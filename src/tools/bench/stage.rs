//! What is started for a run: a NATS server where none is named, the service, the floor; all of it ends with the run.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::Client;
use serde_json::Value;
use tokio::time::sleep;

use super::script::CONFIGURATION;
use crate::edge::Events;
use crate::tools::nats::{Access, Login};

/// How long what is started may take to be there, unless it opens a long log.
const START_WAIT: Duration = Duration::from_secs(60);
/// How often is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A directory that goes with everything in it.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new one below `parent`.
    pub fn new(parent: Option<&Path>) -> io::Result<Scratch> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let path = parent.join(format!("switchboard-bench-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that ends with the run.
pub struct Process {
    child: Child,
    what: &'static str,
    told: PathBuf,
}

impl Process {
    /// Starts a program; what it tells goes to a file of that name.
    fn start(what: &'static str, command: &mut Command, directory: &Path) -> Result<Process, String> {
        let told = directory.join(format!("{what}.log"));
        let log = File::create(&told).map_err(|error| format!("{}: {error}", told.display()))?;
        let copy = log.try_clone().map_err(|error| format!("{}: {error}", told.display()))?;
        let command = command.stdin(Stdio::null()).stdout(log).stderr(copy);
        let child = command
            .spawn()
            .map_err(|error| format!("{} could not be started: {error}", command.get_program().to_string_lossy()))?;
        Ok(Process { child, what, told })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a service manager does, and waits until it is gone.
    pub fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        if rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok() {
            let _ = self.child.wait();
        }
    }

    /// What it has told last, if it is gone.
    pub fn last_words(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let told = std::fs::read_to_string(&self.told).unwrap_or_default();
        let lines: Vec<&str> = told.lines().collect();
        Some(format!("{} has ended ({status}): {}", self.what, lines[lines.len().saturating_sub(3)..].join(" · ")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A NATS server of the run's own.
pub struct Server {
    /// The process.
    pub process: Process,
    /// How to reach it.
    pub access: Access,
}

impl Server {
    /// Starts one with JetStream, which syncs each entry where `always` says so.
    pub async fn start(program: &Path, directory: &Path, always: bool) -> Result<Server, String> {
        let what = if always { "nats-server-always" } else { "nats-server" };
        let home = directory.join(what);
        std::fs::create_dir_all(&home).map_err(|error| error.to_string())?;
        let sync = if always { "always" } else { "2m" };
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: {home:?}\njetstream {{ store_dir: {home:?}, sync_interval: {sync} }}\n"
        );
        let file = home.join("nats.conf");
        std::fs::write(&file, text).map_err(|error| error.to_string())?;
        let mut process = Process::start(what, Command::new(program).arg("-c").arg(&file), directory)?;
        let ports = home.join(format!("nats-server_{}.ports", process.pid()));
        let url = wait_for("the NATS server", &mut process, START_WAIT, async || {
            let told: Value = serde_json::from_slice(&std::fs::read(&ports).ok()?).ok()?;
            Some(told["nats"][0].as_str()?.to_owned())
        })
        .await?;
        let access = Access {
            servers: vec![url.parse().map_err(|error: io::Error| error.to_string())?],
            login: Login::None,
            prefix: String::new(),
            inbox_prefix: "_INBOX".into(),
        };
        Ok(Server { process, access })
    }
}

/// Starts the service on a log of its own and waits until it answers.
/// A log that was filled before is opened for as long as that takes.
pub async fn service(
    access: &Access,
    events: Events,
    directory: &Path,
    client: &Client,
    is_filled: bool,
) -> Result<Process, String> {
    let configuration = configuration_of(directory)?;
    let mut command = ourselves("serve", access)?;
    command.arg("--data").arg(data_of(directory)).arg("--config").arg(&configuration);
    command.args(["--events", if events == Events::JetStream { "jetstream" } else { "core" }]);
    let mut process = Process::start("switchboard", &mut command, directory)?;
    let patience = if is_filled { Duration::MAX } else { START_WAIT };
    answers(&mut process, client, format!("{}.query.config", access.prefix), patience).await?;
    Ok(process)
}

/// Starts the floor and waits until it answers.
pub async fn floor(access: &Access, pattern: &Path, directory: &Path, client: &Client) -> Result<Process, String> {
    let mut command = ourselves("bench-floor", access)?;
    let mut process = Process::start("floor", command.arg("--pattern").arg(pattern), directory)?;
    answers(&mut process, client, format!("{}.echo", access.prefix), START_WAIT).await?;
    Ok(process)
}

/// The configuration of the service, written down.
pub fn configuration_of(directory: &Path) -> Result<PathBuf, String> {
    let configuration = directory.join("switchboard.toml");
    std::fs::write(&configuration, CONFIGURATION).map_err(|error| error.to_string())?;
    Ok(configuration)
}

/// Where the service keeps its log.
pub fn data_of(directory: &Path) -> PathBuf {
    directory.join("data")
}

/// This program under another command, on that server; nothing of the caller's own settings is meant for it.
fn ourselves(command: &str, access: &Access) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program cannot be found again: {error}"))?;
    let mut process = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SWITCHBOARD_")) {
        process.env_remove(name);
    }
    let servers: Vec<String> = access.servers.iter().map(|server| server.clone().into_inner().to_string()).collect();
    process.arg(command).args(["--nats", &servers.join(","), "--prefix", &access.prefix]);
    match &access.login {
        Login::None => {}
        Login::Password { user, password } => {
            process.env("SWITCHBOARD_USER", user).env("SWITCHBOARD_PASSWORD", password);
        }
        Login::Token(token) => drop(process.env("SWITCHBOARD_TOKEN", token)),
        Login::Creds(path) => drop(process.arg("--creds").arg(path)),
        Login::Nkey(path) => drop(process.arg("--nkey").arg(path)),
    }
    Ok(process)
}

async fn answers(process: &mut Process, client: &Client, subject: String, patience: Duration) -> Result<(), String> {
    let what = process.what;
    wait_for(what, process, patience, async || client.request(subject.clone(), "{}".into()).await.ok()).await.map(drop)
}

async fn wait_for<T>(
    what: &str,
    process: &mut Process,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T, String> {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if let Some(words) = process.last_words() {
            return Err(words);
        }
        if began.elapsed() > patience {
            return Err(format!("{what} is not there after {} seconds", patience.as_secs()));
        }
        sleep(LOOK_EVERY).await;
    }
}
