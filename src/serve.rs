//! The service put together: directory → log → state → threads → edge, and down again in the other order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::domain::{Config, Time};
use crate::edge;
use crate::log::{Cache, Directory, DiskLog, Log, LogError, Reader};
use crate::switchboard::core::{Core, Restored};
use crate::switchboard::fingerprint::Secret;
use crate::switchboard::port::Effect;
use crate::switchboard::restore::restore;
use crate::switchboard::{self, Archive, Gauges, Handle};
use crate::tools::config_file::ConfigFile;

/// Groups of effects that may wait for publication before the writer of the log waits for it: who waits is to wait in
/// the queue, where callers take turns. A group may hold a thousand decisions.
const GROUPS_WAITING_MAX: usize = 2;

/// How the service is to run.
pub struct Options {
    /// NATS, HTTP and the names on the wire.
    pub edge: edge::Options,
    /// The data directory.
    pub data: PathBuf,
    /// The configuration file, read and checked.
    pub config: Option<ConfigFile>,
    /// How many requests may wait.
    pub queue: usize,
}

/// Why the service could not start, or ended other than asked to.
#[derive(Debug)]
pub enum ServeError {
    /// The data directory or the log in it.
    Log(LogError),
    /// What the log or the cache holds cannot be read.
    Restore(String),
    /// The connection to NATS, or HTTP.
    Edge(edge::EdgeError),
    /// A thread could not be started, or panicked.
    Thread(String),
    /// The log could not be written any more.
    LogFailed,
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServeError::Log(error) => error.fmt(f),
            ServeError::Restore(text) => write!(f, "the log could not be read: {text}"),
            ServeError::Edge(error) => error.fmt(f),
            ServeError::Thread(text) => f.write_str(text),
            ServeError::LogFailed => f.write_str(
                "the log could not be written: look at the disk, then start again; what was under way is settled by the log",
            ),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Edge(error) => error.source(),
            ServeError::Log(error) => error.source(),
            _ => None,
        }
    }
}

impl From<LogError> for ServeError {
    fn from(error: LogError) -> ServeError {
        ServeError::Log(error)
    }
}

/// Serves until `shutdown` is over, or until something breaks.
pub async fn run(options: Options, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
    let Opened { log, cache, restored, secret } = open(&options.data)?;
    let reader = log.reader();
    let gauges = Arc::new(Gauges::default());
    start_counting(&gauges, &reader);
    let log_id = reader.log_id().to_string();
    let receivers = receivers(&restored.config.config);
    let archive = Archive { reader, cache: Some(cache.clone()), key: secret.0 };
    let core = Core::new(secret, Box::new(cache.clone()), gauges.clone(), options.queue, restored);
    let (outlet, effects) = mpsc::channel(GROUPS_WAITING_MAX);
    let outlet = Box::new(ToPublisher(outlet));
    let (handle, threads) =
        switchboard::start(core, log, cache.clone(), gauges.clone(), options.queue, outlet, Arc::new(now))
            .map_err(|error| ServeError::Thread(format!("could not start a thread: {error}")))?;
    let reload = reload_on_hangup(handle.clone(), options.config.as_ref().map(|file| file.path.clone()));
    if let Some(file) = options.config {
        put_file(&handle, file);
    }
    let core = edge::Core { handle: handle.clone(), archive, log_id, effects, gauges: gauges.clone(), receivers };
    let served = edge::run(options.edge, core, shutdown).await;
    reload.abort();
    handle.stop();
    tracing::info!("stopping: no more commands are taken");
    let log = tokio::task::spawn_blocking(move || threads.join())
        .await
        .map_err(|error| ServeError::Thread(error.to_string()))?
        .map_err(|_| ServeError::Thread("a thread of the switchboard panicked".into()))?;
    if gauges.log_failed.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(ServeError::LogFailed);
    }
    log.close(gauges.published_through.load(std::sync::atomic::Ordering::Relaxed))?;
    match cache.close() {
        Err(error) if error.is_for_want_of_room() => {
            tracing::warn!(%error, "no room to put the cache in order: the next start does that, as after a kill");
        }
        closed => closed?,
    }
    served.map_err(ServeError::Edge)?;
    tracing::info!("stopped");
    Ok(())
}

/// Where the publisher takes what leaves.
struct ToPublisher(mpsc::Sender<Vec<Effect>>);

impl switchboard::Outlet for ToPublisher {
    fn take(&mut self, effects: Vec<Effect>) {
        // Where nobody takes effects any more the service is ending: what is recorded is published at the next start.
        let _ = self.0.blocking_send(effects);
    }

    fn has_room(&self) -> bool {
        self.0.capacity() > 0
    }
}

fn receivers(config: &Config) -> BTreeSet<edge::Receiver> {
    let integrations = config.integrations().map(|name| edge::Receiver::Integration(name.clone()));
    integrations.chain(config.channels().map(|name| edge::Receiver::Channel(name.clone()))).collect()
}

struct Opened {
    log: Box<dyn Log>,
    cache: Cache,
    restored: Restored,
    secret: Secret,
}

fn open(data: &Path) -> Result<Opened, ServeError> {
    let directory = Arc::new(Directory::open_or_create(data)?);
    let secret = Secret(*directory.key());
    let log = DiskLog::open(directory.clone())?;
    let reader = log.reader();
    let (cache, through) = Cache::open(directory, &reader)?;
    let frames = reader.head().frames;
    tracing::info!(log_id = %reader.log_id(), events = reader.head().next_seq - 1, tail = frames - through.unwrap_or(0), "log opened");
    // Whatever is wrong with the cache, the log has it all.
    let (cache, restored) = match restore(&reader, &cache, through, |_| {}) {
        Ok(restored) => (cache, restored),
        Err(why) if through.is_some() => {
            tracing::warn!(why, "the cache does not fit the log and is built again from it");
            let cache = cache.start_over()?;
            let restored = restore(&reader, &cache, None, |_| {}).map_err(ServeError::Restore)?;
            (cache, restored)
        }
        Err(why) => return Err(ServeError::Restore(why)),
    };
    Ok(Opened { log: Box::new(log), cache, restored, secret })
}

fn start_counting(gauges: &Gauges, reader: &Reader) {
    let head = reader.head();
    Gauges::set(&gauges.durable_through, head.next_seq - 1);
    Gauges::set(&gauges.published_through, head.published_through);
}

/// The file is put like any other configuration.
fn put_file(handle: &Handle, file: ConfigFile) {
    if handle.request(file.into_request(None)).is_err() {
        tracing::error!("the configuration file was not applied: the queue is full; send SIGHUP again");
    }
}

fn reload_on_hangup(handle: Handle, path: Option<PathBuf>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let Ok(mut hangup) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) else { return };
        while hangup.recv().await.is_some() {
            match path.as_deref().map(ConfigFile::read) {
                None => tracing::info!("SIGHUP: there is no configuration file to read (--config)"),
                Some(Ok(file)) => {
                    tracing::info!("SIGHUP: the configuration file is read again");
                    put_file(&handle, file);
                }
                Some(Err(faults)) => {
                    tracing::error!(faults = faults.join("; "), "SIGHUP: the configuration stays as it was");
                }
            }
        }
    })
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(since.as_millis() as u64)
}
