//! `bench`: how much a machine carries, measured beside what it could carry at best.
//!
//! Absolute figures drift with whatever else a machine does, so everything is measured in turns within one run,
//! on the same server, by the same load generator: the **service**; the **floor**, a responder that decides nothing
//! and logs nothing but receives the same commands, publishes as many messages of the same sizes and answers as
//! long; and **appends to JetStream**, each with the expected last sequence of its subject, at the server's default
//! sync and at `sync_interval: always`. What counts are the ratios.
//!
//! The service and the floor are processes of their own. The service keeps a log of its own, which is removed
//! afterwards; nothing is measured on a log or a prefix that somebody uses. It may be [aged](aged) before.

pub mod aged;
mod appends;
mod disk;
mod figures;
pub mod floor;
mod load;
mod report;
mod rounds;
pub mod script;
mod stage;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::nats::Access;
use super::values::TextOrJson;
use crate::edge::Events;

/// What is to be measured.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchOptions {
    /// The NATS server to measure on; none to start one.
    pub access: Option<Access>,
    /// The program that is started as a NATS server.
    pub nats_server: PathBuf,
    /// Below which directory logs and streams are kept; the system's for temporary files where none is named.
    pub data: Option<PathBuf>,
    /// Commands under way at once, one number a line of the table.
    pub in_flight: Vec<usize>,
    /// Commands begun a second, whatever is answered, one number a line of the table.
    pub rates: Vec<u64>,
    /// Conversations that are open at once.
    pub conversations: usize,
    /// What the log holds before the first round; nothing where none is named.
    pub age: Option<aged::Age>,
    /// How long each round is.
    pub round: Duration,
    /// How many rounds there are, of each kind.
    pub rounds: usize,
    /// What is measured beside the service.
    pub beside: Vec<Beside>,
    /// Whether commands carry ids, as those of careful clients do.
    pub with_ids: bool,
    /// What carries the events of the service.
    pub events: Events,
    /// For people or for programs.
    pub format: TextOrJson,
}

/// What the service is measured beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beside {
    /// A responder that decides and logs nothing.
    Floor,
    /// Appends to JetStream as the server comes: synced every two minutes.
    JetStream,
    /// Appends to JetStream, each synced before it is acknowledged.
    JetStreamAlways,
}

impl Beside {
    /// All of them.
    pub const ALL: [Beside; 3] = [Beside::Floor, Beside::JetStream, Beside::JetStreamAlways];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Beside::Floor => "floor",
            Beside::JetStream => "jetstream",
            Beside::JetStreamAlways => "jetstream-always",
        }
    }
}

/// Waits until somebody wants the end.
async fn interruption() -> &'static str {
    let heard = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = heard(SignalKind::interrupt()) => "interrupted",
        () = heard(SignalKind::terminate()) => "asked to end",
        () = heard(SignalKind::hangup()) => "the terminal is gone",
    }
}

/// Measures and tells.
pub fn run(options: &BenchOptions) -> Result<(), Failure> {
    // One thread: what the load takes must not be mistaken for what the service takes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::text(format!("cannot start the runtime: {error}")))?;
    let run = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let figures = runtime.block_on(async {
        let figures = tokio::select! {
            figures = rounds::measure(options, &run) => figures,
            signal = interruption() => {
                Err(Failure::text(format!("{signal}: what was started is stopped, and what was made is removed")))
            }
        };
        rounds::clean(options, &run).await;
        figures
    })?;
    report::write(&figures, options, &mut std::io::stdout().lock(), super::screen::Screen::of_stdout())
}
