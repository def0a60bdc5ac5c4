//! The run: everything is started, the service is looked at once, then rounds go in turns.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::appends::Appends;
use super::figures::{Figures, Grown, Line, Pressure, Started, new_histogram};
use super::floor::Pattern;
use super::load::{Command, Load, Target};
use super::script::{STEPS, Step};
use super::stage::{self, Process, Scratch, Server};
use super::{BenchOptions, Beside, aged, appends, disk, usage};
use crate::tools::failure::Failure;
use crate::tools::nats::{Access, connect_plain};
use crate::tools::progress::Progress;

/// How long the disk, and the way through the server, are measured before each round.
const PROBE: Duration = Duration::from_millis(250);
/// How long nothing more has to come from the service until it is thought to have published everything.
const SILENCE: Duration = Duration::from_millis(300);

/// How long the removal of a stream may take.
const CLEAN_WAIT: Duration = Duration::from_secs(5);

/// Conversations that go through the script, one after another in each place.
struct Conversations {
    prefix: String,
    process: u32,
    with_ids: bool,
    /// The step that each has come to, and its name: ids as careful clients make them, which no compression shortens.
    places: Vec<(usize, Uuid)>,
}

impl Conversations {
    fn new(prefix: &str, process: u32, options: &BenchOptions) -> Conversations {
        let most = options.in_flight.iter().copied().max().unwrap_or(0);
        let places = (0..options.conversations.max(most)).map(|_| (0, Uuid::new_v4())).collect();
        Conversations { prefix: prefix.to_owned(), process, with_ids: options.with_ids, places }
    }
}

impl Target for Conversations {
    fn command(&mut self, place: usize) -> Command {
        let (step, name) = &self.places[place];
        command(&STEPS[*step], &self.prefix, &name.to_string(), self.with_ids)
    }

    fn answered(&mut self, place: usize, answer: &Message) -> bool {
        let is_right = answer.headers.is_none();
        let (step, _) = &mut self.places[place];
        *step += 1;
        if *step == STEPS.len() || !is_right {
            self.lost(place);
        }
        is_right
    }

    fn lost(&mut self, place: usize) {
        self.places[place] = (0, Uuid::new_v4());
    }

    fn conversations(&self) -> usize {
        self.places.len()
    }

    fn process(&self) -> u32 {
        self.process
    }
}

fn command(step: &Step, prefix: &str, conversation: &str, with_id: bool) -> Command {
    let headers = with_id.then(|| {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, Uuid::new_v4().to_string());
        headers
    });
    let body = Bytes::from_static(step.body.as_bytes());
    Command { subject: step.subject(prefix, conversation), headers, body }
}

/// One that is measured beside the service.
struct Other<T> {
    target: T,
    load: Load,
    _process: Process,
}

/// Everything that takes part.
struct Stage {
    load: Load,
    service: Process,
    started: Option<Started>,
    conversations: Conversations,
    floor: Option<(Process, Conversations)>,
    jetstream: Option<Appends>,
    always: Option<Other<Appends>>,
    pattern: Pattern,
    disk: Histogram<u64>,
    echo: Option<Histogram<u64>>,
    left_out: Vec<String>,
}

/// Measures everything that was asked for.
pub async fn measure(options: &BenchOptions, run: &str) -> Result<Figures, Failure> {
    let scratch = Scratch::new(options.data.as_deref())
        .map_err(|error| Failure::text(format!("no directory could be made for the run: {error}")))?;
    let (server, access) = match &options.access {
        Some(access) => (None, access.clone()),
        None => {
            let server = Server::start(&options.nats_server, scratch.path(), false).await.map_err(Failure::text)?;
            let access = server.access.clone();
            (Some(server), access)
        }
    };
    let client = connect(&access).await?;
    let mut stage = set(options, run, &scratch, &access, server.as_ref(), &client).await.map_err(Failure::text)?;
    let data = stage::data_of(scratch.path());
    let before = look(&mut stage, &data).await.map_err(Failure::text)?;
    let lines = go(options, &mut stage, &client, scratch.path()).await.map_err(Failure::text);
    if let Some(words) = stage.service.last_words() {
        return Err(Failure::text(words));
    }
    let lines = lines?;
    let grown = look(&mut stage, &data).await.map_err(Failure::text)?.since(&before);
    let (messages, message_bytes) = stage.pattern.weight();
    let memory_peak = usage::memory_peak(stage.service.pid());
    stage.service.stop();
    Ok(Figures {
        lines,
        started: stage.started,
        server_version: client.server_info().version,
        disk: stage.disk,
        echo: stage.echo.filter(|echo| !echo.is_empty()),
        messages,
        message_bytes,
        disk_bytes_before: before.disk_bytes,
        grown,
        line_bytes: usage::line_bytes(&data, before.events).map_err(Failure::text)?,
        memory_peak,
        left_out: stage.left_out,
    })
}

/// Removes from a server that is not the run's own what a run has made there, however it ended.
pub async fn clean(options: &BenchOptions, run: &str) {
    let Some(access) = &options.access else { return };
    let Ok(client) = connect(access).await else { return };
    let of_service = service_prefix(run).to_uppercase();
    for stream in [appends::stream(run), format!("{of_service}_EVENTS"), format!("{of_service}_INBOX")] {
        let asked = client.request(format!("$JS.API.STREAM.DELETE.{stream}"), Bytes::new());
        let _ = timeout(CLEAN_WAIT, asked).await;
    }
}

fn service_prefix(run: &str) -> String {
    format!("bench-{run}")
}

async fn connect(access: &Access) -> Result<Client, Failure> {
    connect_plain(access, "switchboard bench").await.map_err(|error| Failure::Fault(Box::new(error)))
}

async fn set(
    options: &BenchOptions,
    run: &str,
    scratch: &Scratch,
    access: &Access,
    server: Option<&Server>,
    client: &Client,
) -> Result<Stage, String> {
    let under = |prefix| Access { prefix, ..access.clone() };
    let (of_service, of_floor) = (under(service_prefix(run)), under(format!("floor-{run}")));
    let (service, started) = start(options, &of_service, scratch.path(), client).await?;
    let mut load = Load::new(client.clone()).await.map_err(|error| error.to_string())?;
    let pattern = learn(&mut load, client, &of_service.prefix, options.with_ids).await?;
    let conversations = Conversations::new(&of_service.prefix, service.pid(), options);
    let wants = |beside| options.beside.contains(&beside);
    let floor = match wants(Beside::Floor) {
        true => {
            let file = scratch.path().join("pattern.json");
            let text = serde_json::to_vec(&pattern).map_err(|error| error.to_string())?;
            std::fs::write(&file, text).map_err(|error| error.to_string())?;
            let process = stage::floor(&of_floor, &file, scratch.path(), client).await?;
            let conversations = Conversations::new(&of_floor.prefix, process.pid(), options);
            Some((process, conversations))
        }
        false => None,
    };
    let mut left_out = Vec::new();
    let (count, bytes) = (conversations.conversations(), entry_bytes(&pattern));
    let mut jetstream = None;
    if wants(Beside::JetStream) {
        let pid = server.map_or(0, |server| server.process.pid());
        match Appends::make(client, run, count, bytes, pid).await {
            Ok(appends) => jetstream = Some(appends),
            Err(why) => left_out.push(format!("jetstream: {why}")),
        }
    }
    let mut always = None;
    if wants(Beside::JetStreamAlways) {
        match synced_appends(options, run, scratch.path(), count, bytes).await {
            Ok(other) => always = Some(other),
            Err(why) => left_out.push(format!("jetstream-always: {why}")),
        }
    }
    let (disk, echo) = (new_histogram(), floor.is_some().then(new_histogram));
    Ok(Stage { load, service, started, conversations, floor, jetstream, always, pattern, disk, echo, left_out })
}

/// Starts the service, where so asked on a log that was filled before.
async fn start(
    options: &BenchOptions,
    access: &Access,
    directory: &Path,
    client: &Client,
) -> Result<(Process, Option<Started>), String> {
    let data = stage::data_of(directory);
    if let Some(age) = options.age {
        aged::filled(data.clone(), stage::configuration_of(directory)?, age, options.with_ids).await?;
    }
    let began = Instant::now();
    let service = stage::service(access, options.events, directory, client, options.age.is_some()).await?;
    let (took, memory) = (began.elapsed(), usage::memory_resident(service.pid()));
    if options.age.is_none() {
        return Ok((service, None));
    }
    let held = Grown {
        events: recorded(&mut Load::new(client.clone()).await.map_err(|error| error.to_string())?, &access.prefix)
            .await?,
        disk_bytes: usage::disk_bytes(&data),
        written_bytes: usage::written_bytes(service.pid()),
    };
    Ok((service, Some(Started { held, took, memory })))
}

async fn synced_appends(
    options: &BenchOptions,
    run: &str,
    directory: &Path,
    count: usize,
    bytes: usize,
) -> Result<Other<Appends>, String> {
    let server = Server::start(&options.nats_server, directory, true).await?;
    let client = connect(&server.access).await.map_err(|error| error.to_string())?;
    let target = Appends::make(&client, run, count, bytes, server.process.pid()).await?;
    let load = Load::new(client).await.map_err(|error| error.to_string())?;
    Ok(Other { target, load, _process: server.process })
}

/// Bytes of what a command records, on average: about those of an event.
fn entry_bytes(pattern: &Pattern) -> usize {
    let (messages, bytes) = pattern.weight();
    bytes / messages.max(1)
}

/// Takes the service through one conversation and writes down what it publishes and answers.
async fn learn(load: &mut Load, client: &Client, prefix: &str, with_ids: bool) -> Result<Pattern, String> {
    let mut heard = client.subscribe(format!("{prefix}.>")).await.map_err(|error| error.to_string())?;
    client.flush().await.map_err(|error| error.to_string())?;
    let conversation = &Uuid::new_v4().to_string();
    let mut pattern = Pattern::default();
    for step in &STEPS {
        let command = command(step, prefix, conversation, with_ids);
        let subject = command.subject.clone();
        let answer = load.ask(command).await?;
        if answer.headers.is_some() {
            return Err(format!("the service refuses {subject}: {}", String::from_utf8_lossy(&answer.payload)));
        }
        let mut published = Vec::new();
        while let Ok(Some(message)) = timeout(SILENCE, heard.next()).await {
            if *message.subject != *subject {
                published.push(message);
            }
        }
        pattern.learn(step.kind(), &published, &answer, prefix, conversation);
    }
    Ok(pattern)
}

async fn go(options: &BenchOptions, stage: &mut Stage, client: &Client, directory: &Path) -> Result<Vec<Line>, String> {
    let in_flight = options.in_flight.iter().map(|count| Pressure::InFlight(*count));
    let pressures: Vec<Pressure> = in_flight.chain(options.rates.iter().map(|rate| Pressure::Rate(*rate))).collect();
    let targets = 1 + [stage.floor.is_some(), stage.jetstream.is_some(), stage.always.is_some()]
        .map(u64::from)
        .iter()
        .sum::<u64>();
    let progress = Progress::new(Some(pressures.len() as u64 * options.rounds as u64 * targets), "rounds");
    let data = stage::data_of(directory);
    let mut done = 0;
    let mut lines = Vec::new();
    for pressure in pressures {
        let mut line = Line::new(pressure);
        for round in 0..options.rounds {
            probe(stage, client, directory).await?;
            done += take_turns(options, stage, &data, &mut line, round, &progress, done).await?;
        }
        lines.push(line);
    }
    progress.finish();
    Ok(lines)
}

/// One round of each. Who goes first changes, so that a machine that grows slower favours nobody.
async fn take_turns(
    options: &BenchOptions,
    stage: &mut Stage,
    data: &Path,
    line: &mut Line,
    round: usize,
    progress: &Progress,
    done: u64,
) -> Result<u64, String> {
    let (time, pressure) = (options.round, line.pressure);
    let before = look(stage, data).await?;
    let mut turns = 0;
    let mut order = [0, 1, 2, 3];
    if round % 2 == 1 {
        order.reverse();
    }
    for turn in order {
        let Stage { load, conversations, floor, jetstream, always, .. } = stage;
        let (rounds, came) = match (turn, floor, jetstream, always) {
            (0, ..) => (&mut line.service, load.round(conversations, pressure, time).await?),
            (1, Some((_, floor)), ..) => (&mut line.floor, load.round(floor, pressure, time).await?),
            (2, _, Some(appends), _) => (&mut line.jetstream, load.round(appends, pressure, time).await?),
            (3, _, _, Some(other)) => (&mut line.always, other.load.round(&mut other.target, pressure, time).await?),
            _ => continue,
        };
        rounds.0.push(came);
        turns += 1;
        progress.reached(done + turns);
    }
    line.grown.add(&look(stage, data).await?.since(&before));
    Ok(turns)
}

/// What the disk and the way through the server take alone, looked at as often as all the rest.
async fn probe(stage: &mut Stage, client: &Client, directory: &Path) -> Result<(), String> {
    disk::measure(directory, PROBE, &mut stage.disk).map_err(|error| format!("the disk: {error}"))?;
    let (Some((_, floor)), Some(echo)) = (&stage.floor, &mut stage.echo) else { return Ok(()) };
    let subject = format!("{}.echo", floor.prefix);
    let began = Instant::now();
    while began.elapsed() < PROBE {
        let at = Instant::now();
        if client.request(subject.clone(), Bytes::from_static(b"{}")).await.is_ok() {
            echo.saturating_record(at.elapsed().as_micros() as u64);
        }
    }
    Ok(())
}

/// What the service has recorded, and what its files take.
async fn look(stage: &mut Stage, data: &Path) -> Result<Grown, String> {
    Ok(Grown {
        events: recorded(&mut stage.load, &stage.conversations.prefix).await?,
        disk_bytes: usage::disk_bytes(data),
        written_bytes: usage::written_bytes(stage.service.pid()),
    })
}

/// How many events the log of a service holds.
async fn recorded(load: &mut Load, prefix: &str) -> Result<u64, String> {
    let subject = format!("{prefix}.query.log");
    let asked = Command { subject, headers: None, body: Bytes::from_static(br#"{"limit":1}"#) };
    let answer = load.ask(asked).await?;
    let told: Value = serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
    told["head_seq"].as_u64().ok_or_else(|| "the service did not tell how many events it recorded".into())
}
