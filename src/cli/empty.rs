//! Empty values: an empty variable stands for none; any other empty value is a fault, wherever it stands.
//!
//! A script whose variable is empty writes `--redact ""`, or puts two of them into `SWITCHBOARD_REDACT="$A,$B"`: taken
//! for none, everything would be exported unerased.

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

/// What is empty, though it is not the whole of a variable: by its name on the command line, or its variable's.
pub fn faults(mut command: Command, matches: &ArgMatches) -> Vec<String> {
    // Only then the options of a command are known to those below it.
    command.build();
    let mut faults = Vec::new();
    let mut at = Some((&command, matches));
    while let Some((command, matches)) = at {
        for name in command.get_arguments().filter_map(|arg| empty_in(arg, matches)) {
            let fault = format!("{name}: expected a value, got an empty one; leave it out for none");
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        at = matches.subcommand().and_then(|(name, matches)| Some((command.find_subcommand(name)?, matches)));
    }
    faults
}

/// Where an empty value of `arg` stands, where one does.
fn empty_in(arg: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = arg.get_id().as_str();
    let mut values = matches.try_contains_id(id).ok().and_then(|_| matches.get_raw(id))?;
    if !values.any(|value| value.is_empty()) {
        return None;
    }
    match matches.value_source(id)? {
        ValueSource::CommandLine => Some(name_of(arg)),
        ValueSource::EnvVariable => arg.get_env().map(|name| name.to_string_lossy().into_owned()),
        _ => None,
    }
}

fn name_of(arg: &Arg) -> String {
    let positional = || {
        arg.get_value_names().and_then(|names| names.first()).map_or(arg.get_id().to_string(), |name| name.to_string())
    };
    arg.get_long().map_or_else(positional, |long| format!("--{long}"))
}
