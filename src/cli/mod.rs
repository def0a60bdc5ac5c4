//! The command line: what may be written there, and what it comes to.
//!
//! Every option can also stand in the environment, as `SWITCHBOARD_` and its name in capitals; the command line goes
//! first. What must not be seen in a list of processes, the NATS user, password and token, stands only there.
//! Values are read by our own checks and not by the parser, so that everything wrong is told at once.

mod arguments;
mod bench;
mod check;
mod empty;
mod volumes;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches};

pub use arguments::Cli;

use crate::edge::Events;
use crate::tools::bench::BenchOptions;
use crate::tools::bench::floor::FloorOptions;
use crate::tools::config_file::ConfigFile;
use crate::tools::export::ExportOptions;
use crate::tools::failure::EXIT_USAGE;
use crate::tools::import::ImportOptions;
use crate::tools::list::ListOptions;
use crate::tools::nats::Access;
use crate::tools::operator::OperatorOptions;
use crate::tools::replay::ReplayOptions;
use crate::tools::show::ShowOptions;
use crate::tools::values::TextOrJson;
use crate::tools::verify::VerifyOptions;
use crate::tools::volumes::VolumesOptions;
use crate::tools::what_if::WhatIfOptions;

/// What is to be done, every value checked.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Command {
    Serve(Box<ServeOptions>),
    Show(ShowOptions),
    List(ListOptions),
    Replay(ReplayOptions),
    Operator(OperatorOptions),
    Verify(VerifyOptions),
    VerifyFile(PathBuf),
    Volumes(VolumesOptions),
    Export(ExportOptions),
    Import(ImportOptions),
    WhatIf(WhatIfOptions),
    Bench(Box<BenchOptions>),
    BenchFloor(FloorOptions),
}

/// How the service is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeOptions {
    /// Where NATS is, and the prefix of the subjects.
    pub access: Access,
    /// The first token of subjects that answers may go to, besides the usual ones.
    pub reply_prefix: String,
    /// The data directory.
    pub data: PathBuf,
    /// The configuration file, where there is one.
    pub config: Option<ConfigFile>,
    /// Where health and metrics are served, where they are.
    pub http: Option<SocketAddr>,
    /// What carries the events.
    pub events: Events,
    /// How many commands may wait.
    pub queue: usize,
    /// The form of diagnostics.
    pub log_format: TextOrJson,
}

/// Why nothing is to be done.
#[derive(Debug)]
pub enum Stop {
    /// Help or the version was asked for, or the parser found the fault.
    Parser(Box<clap::Error>),
    /// Everything that is wrong with the values.
    Faults {
        /// Of which command.
        command: String,
        /// Each of them.
        faults: Vec<String>,
    },
}

impl Stop {
    /// Tells it to whoever asked, and gives the exit code.
    pub fn tell(&self) -> u8 {
        match self {
            Stop::Parser(error) => {
                // Help goes where it can be read; if nobody reads it, there is nobody to tell.
                let _ = error.print();
                if error.use_stderr() { EXIT_USAGE } else { 0 }
            }
            Stop::Faults { command, faults } => {
                for fault in faults {
                    eprintln!("error: {fault}");
                }
                eprintln!("see switchboard {command} --help");
                EXIT_USAGE
            }
        }
    }
}

/// Reads the command line. `environment` says what stands there under a name.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Command, Stop> {
    let command = empty::without_empty_variables(Cli::command(), environment);
    let parsed = command.clone().try_get_matches_from(arguments).map_err(|error| Stop::Parser(Box::new(error)))?;
    let cli = Cli::from_arg_matches(&parsed).map_err(|error| Stop::Parser(Box::new(error)))?;
    let (name, matches) = parsed.subcommand().unwrap_or(("", &parsed));
    check::command(cli.command, matches, environment, empty::faults(command, &parsed))
        .map_err(|faults| Stop::Faults { command: name.to_owned(), faults })
}

#[cfg(test)]
mod tests;
