//! A NATS server of a test's own, on a port that the system chose.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::process::PATIENCE;

/// A running server.
pub struct Server {
    /// Where it listens.
    pub url: String,
    arguments: Vec<String>,
    process: Child,
}

impl Server {
    /// Open to everybody who can reach this machine's own address.
    pub async fn start(directory: &Path) -> Server {
        Server::start_with(directory, &[], &[]).await
    }

    /// With more arguments and environment variables.
    pub async fn start_with(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let ports = directory.join("ports");
        std::fs::create_dir_all(&ports).unwrap();
        let arguments: Vec<String> = ["-a", "127.0.0.1"].iter().chain(arguments).map(|text| text.to_string()).collect();
        let mut server = Command::new(binary());
        server.args(&arguments).arg("-p").arg("-1").arg("--ports_file_dir").arg(&ports);
        let process = spawn(server.envs(environment.iter().copied()));
        let file = ports.join(format!("nats-server_{}.ports", process.id()));
        let began = Instant::now();
        let url = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some(url) =
                serde_json::from_str::<Value>(&text).ok().and_then(|told| Some(told["nats"][0].as_str()?.to_owned()))
            {
                break url;
            }
            assert!(began.elapsed() < PATIENCE, "nats-server does not listen");
            sleep(Duration::from_millis(5)).await;
        };
        Server { url, arguments, process }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again on the same port.
    pub async fn start_again(&mut self) {
        let port = self.url.rsplit(':').next().expect("a port").to_owned();
        let mut server = Command::new(binary());
        self.process = spawn(server.args(&self.arguments).args(["-p", &port]));
        let began = Instant::now();
        while tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "nats-server does not listen again");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(server: &mut Command) -> Child {
    let server = server.stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().expect("a nats-server: set NATS_SERVER, or run deploy/setup tests")
}

/// The program of the server.
pub fn binary() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats-server");
    std::env::var_os("NATS_SERVER").map_or_else(own, PathBuf::from)
}
