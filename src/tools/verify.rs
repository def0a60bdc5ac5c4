//! `verify`: every rule, checksum and link of a log, and the cache beside it; the first fault by its place.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::examination::{Examination, Halt};
use super::failure::Failure;
use super::screen::Screen;
use super::table::write_pairs;
use super::words;
use crate::domain::Time;
use crate::log::Head;
use crate::switchboard::audit::{Audit, Tally};

/// What is to be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyOptions {
    /// The data directory.
    pub data: PathBuf,
}

/// Verifies a data directory and tells what was checked.
pub fn run(options: &VerifyOptions) -> Result<(), Failure> {
    verify(options, &mut BufWriter::new(io::stdout()), Screen::of_stdout())
}

/// Verifies a data directory and writes what was checked; what was found, where something was.
pub fn verify(options: &VerifyOptions, out: &mut dyn Write, screen: Screen) -> Result<(), Failure> {
    let mut examination = Examination::open(&options.data)?;
    let begun = begin(&examination);
    let (mut audit, begun) = begun.map_or_else(|halt| (Audit::default(), Err(halt)), |audit| (audit, Ok(())));
    let walked = begun.and_then(|()| {
        examination.walk(|frame| {
            let take = |entry| audit.take(frame.header.frame, entry);
            frame.entries.iter().try_for_each(take).map_err(|finding| Halt::Fault(finding.to_string()))
        })
    });
    let mut pairs = tell_log(&examination, audit.tally());
    let found = match walked {
        Ok(()) => {
            let (told, found) = look_at_cache(&examination, &audit);
            pairs.push(("cache", told));
            found
        }
        Err(Halt::Fault(text)) => {
            pairs.insert(0, ("good up to", "the fault told below".into()));
            Some(text)
        }
        Err(Halt::Failure(failure)) => return Err(failure),
    };
    write_pairs(out, &pairs, screen)?;
    out.flush()?;
    match found {
        Some(text) => Err(Failure::Found(format!("{}: {text}", options.data.display()))),
        None => Ok(()),
    }
}

/// What everything was where the log begins: read whole, and held to its digest and to the rules.
fn begin(examination: &Examination) -> Result<Audit, Halt> {
    let reader = examination.reader();
    reader.base().map_or(Ok(()), |base| base.check()).map_err(|fault| Halt::Fault(fault.to_string()))?;
    Audit::begin(reader).map_err(|text| Halt::Fault(format!("the base of the log: {text}")))
}

fn tell_log(examination: &Examination, tally: Tally) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("log", examination.directory().log_id().to_string())];
    if examination.reader().base().is_some() {
        pairs.push(("begins", format!("with seq {}, what was before is removed", examination.reader().first_seq())));
    }
    pairs.extend(tell(&examination.head, tally));
    pairs
}

/// What was checked of a log up to there.
pub(super) fn tell(head: &Head, tally: Tally) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("events", tally.events.to_string()),
        ("decisions", tally.decisions.to_string()),
        ("notes", format!("{} of activity between events", tally.notes)),
        ("conversations", format!("{}, {} of them open", tally.conversations, tally.open)),
        ("sessions", tally.sessions.to_string()),
        ("frames", head.frames.to_string()),
    ];
    if tally.redacted > 0 {
        pairs.push(("erased", format!("personal values of {} entries", tally.redacted)));
    }
    if head.last_at > 0 {
        let at = Time(head.last_at);
        pairs.push(("last entry", format!("{} {}", words::day(at), words::clock(at))));
    }
    pairs.push(("hash", head.hash.iter().map(|byte| format!("{byte:02x}")).collect()));
    pairs
}

/// What is to be said of the cache, and what is wrong with it. One that is not believed does no harm.
fn look_at_cache(examination: &Examination, audit: &Audit) -> (String, Option<String>) {
    let (cache, through) = match examination.cache() {
        Ok(found) => found,
        Err(why) => return (format!("{why}: the next start reads the whole log"), None),
    };
    let checked = audit.check_cache(&cache, through).inspect_err(|_| cache.doubt());
    let closed = cache.close().map_err(|error| error.to_string());
    match checked.and_then(|same| closed.map(|()| same)) {
        Ok(same) => (format!("{same} states as the log has them, up to frame {through}"), None),
        Err(text) => {
            let what = "stop the service, delete cache and cache.json there, and the next start builds it again";
            ("differs from the log".into(), Some(format!("cache: {text}: {what}")))
        }
    }
}
