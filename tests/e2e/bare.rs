//! The real program beside a server of a test's choice, and nobody who hears everything: for floods and logins.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::process::{PATIENCE, exit, signal};
use crate::world::USUAL;

/// A running service.
pub struct Bare {
    process: Child,
    directory: TempDir,
}

impl Bare {
    /// Starts the service; `arguments` say where the server is and how to log in.
    pub fn start(directory: TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Bare {
        let path = directory.path();
        std::fs::write(path.join("switchboard.toml"), USUAL).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SWITCHBOARD_")) {
            serve.env_remove(name);
        }
        serve.arg("serve").arg("--data").arg(path.join("data")).arg("--config").arg(path.join("switchboard.toml"));
        serve.args(arguments).envs(environment.iter().copied()).env("NO_COLOR", "1");
        let log = std::fs::File::create(path.join("log")).unwrap();
        Bare { process: serve.stderr(log).stdout(Stdio::null()).spawn().expect("the program runs"), directory }
    }

    /// Waits until the service has said so.
    pub async fn said(&self, what: &str) {
        self.said_times(what, 1).await;
    }

    /// Waits until the service has said so that many times.
    pub async fn said_times(&self, what: &str, times: usize) {
        let began = Instant::now();
        while self.log().matches(what).count() < times {
            assert!(began.elapsed() < PATIENCE, "{what:?} was not said:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the service said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Sends the service a signal.
    pub fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    /// Tells the service to stop, and sees that it ends well.
    pub async fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(exit(&mut self.process).await.code(), Some(0), "{}", self.log());
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the service said:\n{}", self.log());
        }
    }
}

/// Asks, and waits for the answer.
pub async fn ask(client: &Client, subject: &str) -> Value {
    let answer = tokio::time::timeout(PATIENCE, client.request(subject.to_owned(), "".into())).await;
    let answer = answer.expect("an answer in time").unwrap_or_else(|error| panic!("{subject}: {error}"));
    serde_json::from_slice(&answer.payload).expect("JSON")
}

/// Writes a file for a server or a service.
pub fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
