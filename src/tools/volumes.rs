//! `volumes`: what the log takes on the disk, and how its old volumes are removed once they are copied elsewhere.

mod removing;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::examination;
use super::failure::Failure;
use super::screen::Screen;
use super::table::Table;
use super::values::TextOrJson;
use super::words;
use crate::domain::Time;
use crate::log::{Directory, DiskLog, ListedVolume, Log, Reader};
pub use removing::remove;

const HEADINGS: [&str; 7] = ["volume", "seq", "from", "to", "frames", "on disk", "state"];

/// What is to be done with the volumes of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumesOptions {
    /// The data directory.
    pub data: PathBuf,
    /// What with them.
    pub what: What,
}

/// What is to be done with volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// They are listed.
    List(TextOrJson),
    /// Old ones are removed.
    Remove(RemoveOptions),
}

/// Which volumes are removed, and what becomes of what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Which.
    pub until: Until,
    /// The file that they are exported to; none where they are to be lost.
    pub export: Option<PathBuf>,
}

/// Up to where volumes are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Up to the one of that number, with it.
    Volume(u64),
    /// All that end before that time.
    Time(Time),
}

/// Does it, and tells on standard output.
pub fn run(options: &VolumesOptions) -> Result<(), Failure> {
    let out = &mut BufWriter::new(io::stdout());
    match &options.what {
        What::List(format) => list(&options.data, *format, out, Screen::of_stdout()),
        What::Remove(removal) => remove(&options.data, removal, out, Screen::of_stdout()),
    }
}

/// Lists the volumes.
pub fn list(data: &Path, format: TextOrJson, out: &mut dyn Write, screen: Screen) -> Result<(), Failure> {
    let log = open(data)?.1;
    let listed = log.listed().map_err(examination::failure)?;
    match format {
        TextOrJson::Json => writeln!(out, "{:#}", as_json(&log.reader(), &listed))?,
        TextOrJson::Text => {
            let removed = removed(&log.reader()).into_iter();
            let rows: Vec<_> = removed.chain(listed.iter().map(row)).collect();
            Table::new(&HEADINGS, screen).write(out, &rows)?;
            let bytes = listed.iter().map(|volume| volume.bytes).sum();
            writeln!(out, "\n{} on disk", size(bytes))?;
        }
    }
    Ok(out.flush()?)
}

fn open(data: &Path) -> Result<(Arc<Directory>, DiskLog), Failure> {
    let directory = Arc::new(Directory::open(data).map_err(examination::failure)?);
    let log = DiskLog::open(directory.clone()).map_err(examination::failure)?;
    Ok((directory, log))
}

fn removed(reader: &Reader) -> Option<Vec<String>> {
    let base = reader.base()?;
    let numbers = match base.volume() {
        0 => "-".into(),
        1 => "1".into(),
        last => format!("1-{last}"),
    };
    let end = base.end();
    let seqs = seqs(1, end.next_seq);
    Some(vec![
        numbers,
        seqs,
        String::new(),
        moment(end.last_at),
        end.frames.to_string(),
        size(base.bytes()),
        "removed".into(),
    ])
}

fn row(volume: &ListedVolume) -> Vec<String> {
    let state = if volume.is_sealed { "sealed" } else { "written to" };
    let frames = (volume.end.frames + 1).saturating_sub(volume.first_frame);
    let to = volume.first_at.map(|_| moment(volume.end.last_at)).unwrap_or_default();
    vec![
        volume.number.to_string(),
        seqs(volume.first_seq, volume.end.next_seq),
        volume.first_at.map(moment).unwrap_or_default(),
        to,
        frames.to_string(),
        size(volume.bytes),
        state.into(),
    ]
}

fn seqs(first: u64, next: u64) -> String {
    if next > first { format!("{first}-{}", next - 1) } else { "-".into() }
}

fn moment(at: u64) -> String {
    let at = Time(at);
    format!("{} {}", words::day(at), words::clock(at))
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    match bytes {
        ..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

fn as_json(reader: &Reader, listed: &[ListedVolume]) -> Value {
    let volume = |volume: &ListedVolume| {
        json!({
            "volume": volume.number,
            "first_seq": volume.first_seq,
            "last_seq": volume.end.next_seq - 1,
            "events": volume.end.next_seq - volume.first_seq,
            "from": volume.first_at.map(Time),
            "to": volume.first_at.map(|_| Time(volume.end.last_at)),
            "frames": (volume.end.frames + 1).saturating_sub(volume.first_frame),
            "bytes": volume.bytes,
            "sealed": volume.is_sealed,
        })
    };
    let removed = reader.base().map(|base| {
        let end = base.end();
        json!({ "through": base.volume(), "last_seq": end.next_seq - 1, "to": Time(end.last_at), "base_bytes": base.bytes() })
    });
    json!({ "removed": removed, "volumes": listed.iter().map(volume).collect::<Vec<_>>() })
}
