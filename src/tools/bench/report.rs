//! What was measured, as a table for people or as one JSON document.

use std::io::Write;

use serde_json::{Value, json};

use super::BenchOptions;
use super::figures::{Figures, Grown, Line, Pressure, Rounds, Started};
use crate::tools::failure::Failure;
use crate::tools::screen::Screen;
use crate::tools::table::{Table, write_pairs};
use crate::tools::values::TextOrJson;

/// The quantiles that are told.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Writes what was measured.
pub fn write(figures: &Figures, options: &BenchOptions, out: &mut dyn Write, screen: Screen) -> Result<(), Failure> {
    match options.format {
        TextOrJson::Json => writeln!(out, "{:#}", document(figures, options))?,
        TextOrJson::Text => tell(figures, options, out, screen)?,
    }
    Ok(out.flush()?)
}

fn tell(figures: &Figures, options: &BenchOptions, out: &mut dyn Write, screen: Screen) -> std::io::Result<()> {
    write_pairs(out, &about(figures, options), screen)?;
    writeln!(out)?;
    let headings = ["load", "commands/s", "of floor", "p50", "p99", "p99.9", "CPU each", "floor/s", "p50", "CPU each"];
    write_table(out, screen, &headings, figures.lines.iter().map(line_cells).collect())?;
    if figures.lines.iter().any(|line| !line.jetstream.0.is_empty() || !line.always.0.is_empty()) {
        writeln!(out)?;
        let headings = ["load", "jetstream/s", "service is", "p50", "synced each/s", "service is", "p50"];
        write_table(out, screen, &headings, figures.lines.iter().map(stream_cells).collect())?;
    }
    writeln!(out)?;
    for text in remarks(figures) {
        for line in crate::tools::screen::wrapped(&text, screen.columns(), 2) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn about(figures: &Figures, options: &BenchOptions) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let p50 = |histogram: &hdrhistogram::Histogram<u64>| time(histogram.value_at_quantile(0.5));
    let mut pairs = vec![
        ("machine", format!("{cores} cores, shared by nats-server {}, service and load", figures.server_version)),
        (
            "rounds",
            format!("{} of {} s for each figure, in turns; medians", options.rounds, options.round.as_secs_f64()),
        ),
        (
            "a conversation",
            format!(
                "{} commands, {} messages of {} bytes published",
                super::script::STEPS.len(),
                figures.messages,
                figures.message_bytes / figures.messages.max(1)
            ),
        ),
        ("disk", format!("{} for a small write with fdatasync", p50(&figures.disk))),
    ];
    if let Some(echo) = &figures.echo {
        pairs.push(("echo", format!("{} through the server and back, one in flight", p50(echo))));
    }
    pairs.push(("log", format!("{} events, {} bytes each", grouped(figures.grown.events), figures.line_bytes_each())));
    pairs.push((
        "files",
        format!(
            "{} bytes an event, with everything beside the log, and {} MB before the first{}",
            figures.grown.disk_bytes_each(),
            figures.disk_bytes_before / 1_000_000,
            written(figures, &figures.grown).map(|written| format!("; written {written}")).unwrap_or_default()
        ),
    ));
    if let Some(started) = &figures.started {
        pairs.extend(beginning(started, options));
    }
    if let Some(bytes) = figures.memory_peak {
        pairs.push(("memory", format!("{} MB at most, of the service", bytes / 1_000_000)));
    }
    pairs
}

/// What the service began with, and how.
fn beginning(started: &Started, options: &BenchOptions) -> [(&'static str, String); 2] {
    let open = options.age.map_or(0, |age| age.open);
    let memory = started.memory.map(|bytes| format!("; {} MB resident", bytes / 1_000_000)).unwrap_or_default();
    [
        (
            "aged",
            format!(
                "{} events before the first round, {} bytes each on disk; {} conversations open",
                grouped(started.held.events),
                started.held.disk_bytes_each(),
                grouped(open)
            ),
        ),
        ("start", format!("{} after a clean stop{memory}", time(started.took.as_micros() as u64))),
    ]
}

/// What was written for an event, and how often that is what was recorded.
fn written(figures: &Figures, grown: &Grown) -> Option<String> {
    let each = grown.written_bytes_each()?;
    let times = each as f64 / figures.line_bytes_each().max(1) as f64;
    Some(format!("{} bytes, {times:.2} times the lines of the log", grouped(each)))
}

fn line_cells(line: &Line) -> Vec<String> {
    let Line { service, floor, .. } = line;
    let [p50, p99, p999] = QUANTILES.map(|(_, quantile)| service.latency(quantile).map(time));
    let cells = [
        Some(load(line.pressure)),
        service.rate().map(per_second),
        service.ratio_to(floor).map(|ratio| format!("{ratio:.2}")),
        p50,
        p99,
        p999,
        service.processor_us().map(|us| format!("{us:.1} µs")),
        floor.rate().map(per_second),
        floor.latency(0.5).map(time),
        floor.processor_us().map(|us| format!("{us:.1} µs")),
    ];
    cells.map(Option::unwrap_or_default).into()
}

fn stream_cells(line: &Line) -> Vec<String> {
    let times = |other: &Rounds| line.service.ratio_to(other).map(|ratio| format!("{ratio:.2} times"));
    let cells = [
        Some(load(line.pressure)),
        line.jetstream.rate().map(per_second),
        times(&line.jetstream),
        line.jetstream.latency(0.5).map(time),
        line.always.rate().map(per_second),
        times(&line.always),
        line.always.latency(0.5).map(time),
    ];
    cells.map(Option::unwrap_or_default).into()
}

/// Writes a table whose numbers end below each other.
fn write_table(
    out: &mut dyn Write,
    screen: Screen,
    headings: &[&'static str],
    rows: Vec<Vec<String>>,
) -> std::io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(headings[column].chars().count())
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect())
        .collect();
    Table::new(headings, screen).write(out, &rows)
}

/// What else is to be said: the ratios that have no column, what was refused, what was left out.
fn remarks(figures: &Figures) -> Vec<String> {
    let mut remarks = Vec::new();
    let disk = figures.disk.value_at_quantile(0.5) as f64;
    for line in figures.lines.iter().filter(|line| line.grown.events > 0) {
        let written = written(figures, &line.grown).map(|written| format!(", written {written}"));
        remarks.push(format!(
            "{}: the files grew by {} bytes an event{}",
            load(line.pressure),
            line.grown.disk_bytes_each(),
            written.unwrap_or_default()
        ));
    }
    for line in &figures.lines {
        let (Some(p50), Some(rate)) = (line.service.latency(0.5), line.service.rate()) else { continue };
        match (line.pressure, &figures.echo, line.floor.rate()) {
            (Pressure::InFlight(1), Some(echo), _) => {
                let best = echo.value_at_quantile(0.5) as f64 + disk;
                remarks
                    .push(format!("one in flight: {:.2} times an echo and a small write to disk", p50 as f64 / best));
            }
            (Pressure::InFlight(count), _, Some(floor)) => {
                let best = one_group_a_write(count, floor, disk);
                remarks.push(format!(
                    "{count} in flight: {:.2} of what one group for each write to disk allows",
                    rate / best
                ));
            }
            _ => {}
        }
        for (who, rounds) in [
            ("the service", &line.service),
            ("the floor", &line.floor),
            ("jetstream", &line.jetstream),
            ("jetstream, synced each", &line.always),
        ] {
            let (refused, lost) = rounds.failed();
            if refused + lost > 0 {
                let load = load(line.pressure);
                remarks.push(format!(
                    "{load}, {who}: {refused} refused and {lost} never answered: its figures mean little"
                ));
            }
        }
    }
    remarks.extend(figures.left_out.iter().map(|text| format!("left out: {text}")));
    remarks
}

/// Commands a second where all that are in flight are taken in one go as by the floor, then written, then answered.
fn one_group_a_write(in_flight: usize, floor_rate: f64, write_us: f64) -> f64 {
    let count = in_flight as f64;
    count / (count / floor_rate + write_us / 1e6)
}

fn document(figures: &Figures, options: &BenchOptions) -> Value {
    let latency = |rounds: &Rounds| -> Value {
        let of = |(name, quantile): (&str, f64)| (name.to_owned(), json!(rounds.latency(quantile)));
        Value::Object(QUANTILES.into_iter().map(of).collect())
    };
    let of = |rounds: &Rounds| {
        let (refused, lost) = rounds.failed();
        json!({"commands_per_second": rounds.rate(), "latency_us": latency(rounds), "processor_us": rounds.processor_us(),
            "refused": refused, "unanswered": lost})
    };
    let beside = |line: &Line, rounds: &Rounds| {
        (!rounds.0.is_empty()).then(|| {
            let mut told = of(rounds);
            told["ratio"] = json!(line.service.ratio_to(rounds));
            told
        })
    };
    let lines = figures.lines.iter().map(|line| {
        let (in_flight, rate) = match line.pressure {
            Pressure::InFlight(count) => (Some(count), None),
            Pressure::Rate(rate) => (None, Some(rate)),
        };
        json!({"in_flight": in_flight, "rate": rate, "service": of(&line.service), "floor": beside(line, &line.floor),
            "events": line.grown.events, "disk_bytes": line.grown.disk_bytes, "written_bytes": line.grown.written_bytes,
            "jetstream": beside(line, &line.jetstream), "jetstream_always": beside(line, &line.always)})
    });
    json!({
        "nats_server": figures.server_version,
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "rounds": options.rounds,
        "round_seconds": options.round.as_secs_f64(),
        "conversations": options.conversations,
        "aged": figures.started.as_ref().map(|started| json!({
            "events": started.held.events,
            "open": options.age.map(|age| age.open),
            "disk_bytes": started.held.disk_bytes,
            "start_us": started.took.as_micros() as u64,
            "memory_bytes": started.memory,
        })),
        "commands_of_a_conversation": super::script::STEPS.len(),
        "messages_of_a_conversation": figures.messages,
        "message_bytes_of_a_conversation": figures.message_bytes,
        "disk_write_us": figures.disk.value_at_quantile(0.5),
        "echo_us": figures.echo.as_ref().map(|echo| echo.value_at_quantile(0.5)),
        "events": figures.grown.events,
        "line_bytes": figures.line_bytes,
        "disk_bytes": figures.grown.disk_bytes,
        "disk_bytes_before": figures.disk_bytes_before,
        "written_bytes": figures.grown.written_bytes,
        "memory_peak_bytes": figures.memory_peak,
        "lines": lines.collect::<Vec<_>>(),
        "left_out": figures.left_out,
    })
}

fn load(pressure: Pressure) -> String {
    match pressure {
        Pressure::InFlight(count) => format!("{} in flight", grouped(count as u64)),
        Pressure::Rate(rate) => format!("{} a second", grouped(rate)),
    }
}

fn per_second(rate: f64) -> String {
    grouped(rate.round() as u64)
}

/// A time in a unit that suits it.
fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart_and_times_their_unit() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([250, 1500, 24_000, 2_500_000].map(time), ["250 µs", "1.50 ms", "24.0 ms", "2.50 s"]);
    }

    #[test]
    fn one_group_for_each_write_is_bounded_by_the_write_and_by_the_floor() {
        assert_eq!(one_group_a_write(64, f64::INFINITY, 1000.0), 64_000.0);
        assert_eq!(one_group_a_write(64, 64_000.0, 0.0), 64_000.0);
        assert_eq!(one_group_a_write(64, 64_000.0, 1000.0), 32_000.0);
    }
}
