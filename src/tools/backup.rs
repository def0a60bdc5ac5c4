//! An export of a running switchboard: asked for piece by piece, and followed entry by entry as it comes.
//!
//! It holds everything up to the moment when it began. A piece can be asked for any number of times, so a restart of
//! the service is waited for; what comes must go on with what came, or it is not written.

use std::io::Write;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::export::Eraser;
use super::failure::Failure;
use super::nats::{Access, Connection, NatsError};
use super::progress::Progress;
use super::source::{SourceError, refusal};
use crate::domain::Name;
use crate::edge::requests::EXPORT_BYTES_MAX;
use crate::log::export::{BadExport, Exported, Exporter, Importer};

/// How long one piece may take: the service reads less than a megabyte for it.
const PIECE_WAIT: Duration = Duration::from_secs(5);
/// How long to wait before asking again.
const AGAIN_WAIT: Duration = Duration::from_millis(200);
/// Bytes of an answer around the text of a piece.
const ENVELOPE_BYTES: usize = 1024;

/// A running switchboard, asked by an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Where it is.
    pub access: Access,
    /// Who asks.
    pub operator: Name,
    /// How long it may be away before the export is given up.
    pub patience: Duration,
}

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow)]
    text: std::borrow::Cow<'a, str>,
    next: Option<String>,
    through_seq: u64,
}

/// Copies the log of a running switchboard. The last line is written only when everything before it is there.
pub fn copy(service: &Service, eraser: Eraser<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let mut copying = Copying {
        pieces: Pieces::open(service)?,
        importer: Importer::default(),
        exporter: None,
        eraser,
        is_whole: false,
        out,
    };
    match copying.run() {
        Ok(()) => copying.eraser.finish(),
        Err(failure) if failure.is_reader_gone() || !copying.importer.has_begun() => Err(failure),
        Err(failure) => {
            let entries = copying.importer.entries();
            let text = format!("{failure}; {entries} entries are written, without a last line: an import refuses them");
            Err(if let Failure::Found(_) = failure { Failure::Found(text) } else { Failure::text(text) })
        }
    }
}

struct Copying<'a> {
    pieces: Pieces<'a>,
    importer: Importer,
    exporter: Option<Exporter>,
    eraser: Eraser<'a>,
    is_whole: bool,
    out: &'a mut dyn Write,
}

impl Copying<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut progress = None;
        let (mut begun, mut lines) = (Vec::new(), Vec::new());
        while !self.is_whole {
            let body = self.pieces.next()?;
            let piece: Piece<'_> = serde_json::from_slice(&body).map_err(SourceError::Unreadable)?;
            self.pieces.after = piece.next;
            let is_last = self.pieces.after.is_none();
            // A piece may end within a line, and even within a line that began pieces ago.
            for line in piece.text.split_inclusive('\n') {
                begun.extend_from_slice(line.as_bytes());
                if let Some(line) = begun.strip_suffix(b"\n") {
                    self.line(line, &mut lines)?;
                    begun.clear();
                }
            }
            self.out.write_all(&lines)?;
            lines.clear();
            if is_last && !self.is_whole {
                return Err(bad(&self.importer.cut(b"")));
            }
            let progress = progress.get_or_insert_with(|| Progress::new(Some(piece.through_seq), "seq"));
            progress.reached(self.importer.seq());
        }
        progress.inspect(Progress::finish);
        self.out.flush().map_err(Failure::from)
    }

    fn line(&mut self, line: &[u8], lines: &mut Vec<u8>) -> Result<(), Failure> {
        match (self.importer.take(line).map_err(|why| bad(&why))?, &mut self.exporter) {
            (Exported::Begin(log_id), _) => {
                self.exporter = Some(Exporter::begin(log_id, self.importer.awaits_base(), lines));
            }
            (Exported::State(key, state), Some(exporter)) => {
                exporter.state(&key, &self.eraser.erase_state(&key, state).map_err(Failure::from)?, lines);
            }
            (Exported::Base(end, is_erased), Some(exporter)) => {
                exporter.base(&end, is_erased || self.eraser.has_erased_state, lines);
            }
            (Exported::Entry(mut entry), Some(exporter)) => {
                self.eraser.erase(&mut entry).map_err(Failure::from)?;
                exporter.entry(&entry, lines);
            }
            (Exported::End(key), exporter) => {
                self.is_whole = true;
                if let Some(exporter) = exporter.take().filter(|_| self.eraser.has_seen_all()) {
                    exporter.end(key.as_ref(), lines);
                }
            }
            (_, None) => return Err(bad(&self.importer.cut(b""))),
        }
        Ok(())
    }
}

/// The pieces of one export, asked for one after the other.
struct Pieces<'a> {
    service: &'a Service,
    connection: Connection,
    limit: usize,
    after: Option<String>,
}

impl<'a> Pieces<'a> {
    fn open(service: &'a Service) -> Result<Pieces<'a>, Failure> {
        let connection = Connection::open(&service.access)?;
        // Its text is quoted, which may double it.
        let fitting = connection.max_payload().saturating_sub(ENVELOPE_BYTES) / 2;
        Ok(Pieces { service, connection, limit: fitting.min(EXPORT_BYTES_MAX as usize), after: None })
    }

    /// The next piece, waited for while the service is away; only its absence at the very beginning is told at once.
    fn next(&mut self) -> Result<bytes::Bytes, Failure> {
        let began = Instant::now();
        loop {
            let (failure, is_busy) = match self.ask() {
                Ok(body) => return Ok(body),
                Err(Again::Never(failure)) => return Err(failure),
                Err(Again::Later(failure, is_busy)) => (failure, is_busy),
            };
            let is_nobody_there = self.after.is_none() && !is_busy;
            if is_nobody_there || began.elapsed() >= self.service.patience {
                return Err(failure);
            }
            std::thread::sleep(AGAIN_WAIT);
        }
    }

    fn ask(&mut self) -> Result<bytes::Bytes, Again> {
        let subject = format!("operator.{}.export", self.service.operator);
        let mut body = json!({ "limit": self.limit });
        if let Some(after) = &self.after {
            body["after"] = json!(after);
        }
        let answer = self.connection.ask(&subject, HeaderMap::new(), body.to_string().into_bytes(), PIECE_WAIT);
        match answer {
            Ok(answer) if !answer.is_refusal => Ok(answer.body),
            Ok(answer) => Err(match refusal(&answer.body) {
                SourceError::Refused { code, message } if code == "busy" => {
                    Again::Later(SourceError::Refused { code, message }.into(), true)
                }
                SourceError::Refused { code, .. } if code == "log_failed" => Again::Never(Failure::Found(
                    "the service cannot read its log further: stop it, and look with switchboard verify --data DIR"
                        .into(),
                )),
                refused => Again::Never(refused.into()),
            }),
            Err(error @ (NatsError::Denied(_) | NatsError::Login(..))) => Err(Again::Never(error.into())),
            Err(error) => Err(Again::Later(error.into(), false)),
        }
    }
}

/// Whether to ask once more.
enum Again {
    /// And whether somebody is there who has no room now.
    Later(Failure, bool),
    Never(Failure),
}

/// What came over the wire does not go on with what came before it.
fn bad(why: &BadExport) -> Failure {
    Failure::Found(format!("{why}; does another log answer now?"))
}
