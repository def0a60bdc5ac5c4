//! `what-if`: the recorded commands under another configuration, and which sessions would have gone otherwise.
//!
//! What counts as otherwise, and what of it is certain, is told in [`crate::switchboard::what_if`].

mod json;
mod text;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde_json::Value;

use super::config_file::ConfigFile;
use super::examination::{Examination, Halt};
use super::failure::Failure;
use super::screen::Screen;
use super::values::TextOrJson;
use crate::domain::Event;
use crate::log::Entry;
use crate::switchboard::what_if::{Otherwise, Tally, WhatIf};

/// Sessions that are told in one go, their columns aligned.
const BATCH_MAX: usize = 1000;

/// What is to be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct WhatIfOptions {
    /// The data directory.
    pub data: PathBuf,
    /// The other configuration.
    pub config: ConfigFile,
    /// For people, or for programs.
    pub format: TextOrJson,
}

/// Takes one entry of the log, and the frame that it stands in.
pub type Take<'a> = dyn FnMut(u64, &Entry) -> Result<(), Halt> + 'a;

/// How the comparison is written.
trait Report {
    /// Tells of sessions that would have gone otherwise.
    fn sessions(&mut self, sessions: &[Otherwise]) -> io::Result<()>;
    /// Tells what was counted, and why it ended before the end of the log, where it did.
    fn finish(&mut self, tally: Tally, fault: Option<&str>) -> io::Result<()>;
}

/// Compares a data directory with a configuration, on standard output.
pub fn run(options: &WhatIfOptions) -> Result<(), Failure> {
    what_if(options, &mut BufWriter::new(io::stdout()), Screen::of_stdout())
}

/// Compares a data directory with a configuration.
pub fn what_if(options: &WhatIfOptions, out: &mut dyn Write, screen: Screen) -> Result<(), Failure> {
    let mut examination = Examination::open(&options.data)?;
    let mut what_if = WhatIf::new(&options.config.document);
    let under_way = what_if.begin(examination.reader()).map_err(Failure::Found)?;
    if examination.reader().base().is_some() {
        let first = examination.reader().first_seq();
        eprintln!(
            "note: the log begins with seq {first}; {under_way} sessions that were under way there are not compared"
        );
    }
    let entries = |take: &mut Take<'_>| {
        examination.walk(|frame| frame.entries.iter().try_for_each(|entry| take(frame.header.frame, entry)))
    };
    let compared = match options.format {
        TextOrJson::Text => compare(what_if, entries, &mut text::Text::new(out, screen)),
        TextOrJson::Json => compare(what_if, entries, &mut json::Json::new(out)),
    };
    compared.map_err(|failure| match failure {
        Failure::Found(text) => Failure::Found(format!("{}: {text}", options.data.display())),
        failure => failure,
    })
}

/// Compares entries, wherever they come from. Up to a fault everything is told.
fn compare(
    mut what_if: WhatIf,
    entries: impl FnOnce(&mut Take<'_>) -> Result<(), Halt>,
    report: &mut dyn Report,
) -> Result<(), Failure> {
    let mut sessions = Vec::new();
    let walked = entries(&mut |frame, entry| {
        let fault = |text| Halt::Fault(format!("frame {frame}, seq {}: {text}", entry.first_seq));
        what_if.take(&entry.line).map_err(fault)?;
        sessions.append(&mut what_if.told());
        if sessions.len() >= BATCH_MAX {
            report.sessions(&sessions).map_err(Failure::from)?;
            sessions.clear();
        }
        Ok(())
    });
    let fault = match walked {
        Ok(()) => None,
        Err(Halt::Fault(text)) => Some(text),
        Err(Halt::Failure(failure)) => return Err(failure),
    };
    let tally = what_if.finish();
    sessions.append(&mut what_if.told());
    sessions.chunks(BATCH_MAX).try_for_each(|batch| report.sessions(batch))?;
    report.finish(tally, fault.as_deref())?;
    match fault {
        Some(text) => Err(Failure::Found(text)),
        None if tally.otherwise() > 0 => Err(Failure::Differs),
        None => Ok(()),
    }
}

/// An event's own fields, without those that a caller wrote for people.
fn own_fields(event: &Event) -> Value {
    let mut value = event.own_fields();
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !matches!(name.as_str(), "metadata" | "reason" | "continued_from" | "last_message_id"));
    }
    value
}
