//! The program: arguments, diagnostics, the command, the exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use switchboard::cli::{self, Command, ServeOptions};
use switchboard::edge::Credentials;
use switchboard::edge::parting::{self, Parting};
use switchboard::tools::failure::Failure;
use switchboard::tools::nats::Login;
use switchboard::tools::values::TextOrJson;
use switchboard::tools::{
    bench, export, export_file, import, list, operator, replay, screen, show, verify, volumes, what_if,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Each command takes some fifty pieces of memory, most of which another thread gives back: what the system's
/// allocator makes of that costs a sixth of all processor time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os(), &|name| std::env::var(name).ok()) {
        Ok(command) => command,
        Err(stop) => return stop.tell().into(),
    };
    match start_diagnostics(&command).and_then(|()| run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_told() {
                failure.to_string().lines().for_each(|line| eprintln!("error: {line}"));
            }
            failure.exit_code().into()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(options) => serve(*options),
        Command::Show(options) => show::run(&options),
        Command::List(options) => list::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Operator(options) => operator::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::VerifyFile(path) => export_file::run(&path),
        Command::Volumes(options) => volumes::run(&options),
        Command::Export(options) => export::run(&options),
        Command::Import(options) => import::run(&options),
        Command::WhatIf(options) => what_if::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::BenchFloor(options) => bench::floor::run(&options),
    }
}

/// Serves until the system asks it to end.
fn serve(options: ServeOptions) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::text(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let [mut interrupt, mut terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let shutdown = async move {
            match (&mut interrupt, &mut terminate) {
                (Ok(interrupt), Ok(terminate)) => {
                    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                }
                _ => std::future::pending().await,
            }
        };
        let served = switchboard::serve::run(serve_options(options), shutdown).await;
        served.map_err(|error| Failure::Fault(Box::new(error)))
    })
}

fn serve_options(options: ServeOptions) -> switchboard::serve::Options {
    let credentials = match options.access.login {
        Login::None => Credentials::None,
        Login::Password { user, password } => Credentials::User(user, password),
        Login::Token(token) => Credentials::Token(token),
        Login::Creds(path) => Credentials::File(path),
        Login::Nkey(path) => Credentials::Nkey(path),
    };
    let edge = switchboard::edge::Options {
        urls: options.access.servers,
        credentials,
        prefix: options.access.prefix,
        reply_prefix: options.reply_prefix,
        http: options.http,
        events: options.events,
    };
    switchboard::serve::Options { edge, data: options.data, config: options.config, queue: options.queue }
}

/// Diagnostics go to standard error; from the service what it does, from the other commands only what goes wrong
/// and is not told as their error anyway.
fn start_diagnostics(command: &Command) -> Result<(), Failure> {
    let (format, level) = match command {
        Command::Serve(options) => (options.log_format, "info,async_nats=off"),
        _ => (TextOrJson::Text, "warn,async_nats=off"),
    };
    let wanted = ["SWITCHBOARD_LOG", "RUST_LOG"].into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let filter = match wanted {
        Some((name, text)) => EnvFilter::try_new(&text).map_err(|error| {
            Failure::Usage(vec![format!("{name}: expected a level such as info or debug, got {text:?}: {error}")])
        })?,
        None => EnvFilter::new(level),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match format {
        TextOrJson::Text => lines.with_ansi(screen::stderr_colours()).boxed(),
        TextOrJson::Json => lines.json().flatten_event(true).boxed(),
    };
    let parting = Parting.with_filter(filter_fn(parting::is_of_interest));
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(parting).init();
    Ok(())
}
