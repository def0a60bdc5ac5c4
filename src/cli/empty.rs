//! Empty values: in the environment they stand for none, on the command line they are a fault.
//!
//! A script whose variable is empty writes `--redact ""`: taken for none, everything would be exported unerased.

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// The commands, with no variable asked for that is set to nothing.
pub fn without_empty_variables(command: Command, environment: &dyn Fn(&str) -> Option<String>) -> Command {
    let is_empty = |name: &str| environment(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| {
        let variable = arg.get_env().and_then(|name| name.to_str());
        if variable.is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
    });
    command.mut_subcommands(|command| without_empty_variables(command, environment))
}

/// What was written on the command line and is empty, by its name.
pub fn faults(mut command: Command, matches: &ArgMatches) -> Vec<String> {
    // Only then the options of a command are known to those below it.
    command.build();
    let mut faults = Vec::new();
    let mut at = Some((&command, matches));
    while let Some((command, matches)) = at {
        for arg in command.get_arguments().filter(|arg| is_written_empty(arg, matches)) {
            let fault = format!("{}: expected a value, got an empty one; leave it out for none", name_of(arg));
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        at = matches.subcommand().and_then(|(name, matches)| Some((command.find_subcommand(name)?, matches)));
    }
    faults
}

fn is_written_empty(arg: &Arg, matches: &ArgMatches) -> bool {
    let id = arg.get_id().as_str();
    let is_known = matches.try_contains_id(id).is_ok();
    is_known
        && matches.value_source(id) == Some(ValueSource::CommandLine)
        && matches.get_raw(id).is_some_and(|mut values| values.any(|value| value.is_empty()))
}

fn name_of(arg: &Arg) -> String {
    let positional = || {
        arg.get_value_names().and_then(|names| names.first()).map_or(arg.get_id().to_string(), |name| name.to_string())
    };
    arg.get_long().map_or_else(positional, |long| format!("--{long}"))
}
