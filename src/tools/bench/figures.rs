//! What was measured.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time that is told apart from longer ones, in microseconds.
const MICROSECONDS_MAX: u64 = 120_000_000;

/// A histogram of microseconds, to three digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_max(MICROSECONDS_MAX, 3).expect("these bounds are allowed")
}

/// How commands are begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// So many are under way at once: one is begun when another is answered.
    InFlight(usize),
    /// So many are begun a second, whatever is answered.
    Rate(u64),
}

/// What one round came to.
#[derive(Debug, Clone)]
pub struct Round {
    /// How long it was measured.
    pub time: Duration,
    /// Commands answered meanwhile.
    pub answered: u64,
    /// Of them those answered with an error.
    pub refused: u64,
    /// Commands that were never answered.
    pub lost: u64,
    /// How long answers took, in microseconds: from the moment at which a command was due.
    pub latency: Histogram<u64>,
    /// Processor time of whoever answered.
    pub processor: Option<Duration>,
}

impl Round {
    /// Commands answered a second.
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.time.as_secs_f64()
    }

    /// Processor time for one command, in microseconds.
    pub fn processor_us(&self) -> Option<f64> {
        let time = self.processor?;
        (self.answered > 0).then(|| time.as_secs_f64() * 1e6 / self.answered as f64)
    }
}

/// All rounds of one target under one pressure.
#[derive(Debug, Clone, Default)]
pub struct Rounds(pub Vec<Round>);

impl Rounds {
    /// The middle one of the rounds' rates.
    pub fn rate(&self) -> Option<f64> {
        median(self.0.iter().map(Round::rate).collect())
    }

    /// Latency at a quantile over all rounds, in microseconds.
    pub fn latency(&self, quantile: f64) -> Option<u64> {
        let mut all = new_histogram();
        for round in &self.0 {
            all.add(&round.latency).expect("all have the same bounds");
        }
        (!all.is_empty()).then(|| all.value_at_quantile(quantile))
    }

    /// The middle one of the rounds' processor times for a command, in microseconds.
    pub fn processor_us(&self) -> Option<f64> {
        median(self.0.iter().filter_map(Round::processor_us).collect())
    }

    /// Commands refused, and commands never answered.
    pub fn failed(&self) -> (u64, u64) {
        (self.0.iter().map(|round| round.refused).sum(), self.0.iter().map(|round| round.lost).sum())
    }

    /// The middle one of what each round's rate is of that of the other's same round.
    pub fn ratio_to(&self, other: &Rounds) -> Option<f64> {
        let pairs = self.0.iter().zip(&other.0).filter(|(_, other)| other.answered > 0);
        median(pairs.map(|(one, other)| one.rate() / other.rate()).collect())
    }
}

/// What the service recorded, and what that took.
#[derive(Debug, Clone, Default)]
pub struct Grown {
    /// Events recorded.
    pub events: u64,
    /// What its data directory takes on disk, in bytes.
    pub disk_bytes: u64,
    /// What it has had written to disk, in bytes; none where the system does not tell.
    pub written_bytes: Option<u64>,
}

impl Grown {
    /// What came since. A directory may have shrunk.
    pub fn since(&self, before: &Grown) -> Grown {
        Grown {
            events: self.events - before.events,
            disk_bytes: self.disk_bytes.saturating_sub(before.disk_bytes),
            written_bytes: self.written_bytes.zip(before.written_bytes).map(|(now, before)| now - before),
        }
    }

    /// Takes in what came in another round.
    pub fn add(&mut self, more: &Grown) {
        self.events += more.events;
        self.disk_bytes += more.disk_bytes;
        self.written_bytes = more.written_bytes.map(|bytes| bytes + self.written_bytes.unwrap_or(0));
    }

    /// Bytes on disk for an event.
    pub fn disk_bytes_each(&self) -> u64 {
        self.disk_bytes / self.events.max(1)
    }

    /// Bytes written for an event.
    pub fn written_bytes_each(&self) -> Option<u64> {
        self.written_bytes.map(|bytes| bytes / self.events.max(1))
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Line {
    /// How commands were begun.
    pub pressure: Pressure,
    /// The service.
    pub service: Rounds,
    /// The floor.
    pub floor: Rounds,
    /// Appends to JetStream, synced every two minutes.
    pub jetstream: Rounds,
    /// Appends to JetStream, each synced.
    pub always: Rounds,
    /// What the service recorded in its rounds.
    pub grown: Grown,
}

impl Line {
    /// Nothing measured yet.
    pub fn new(pressure: Pressure) -> Line {
        let none = Rounds::default;
        Line { pressure, service: none(), floor: none(), jetstream: none(), always: none(), grown: Grown::default() }
    }
}

/// The service as it was when it had just started on an aged log.
#[derive(Debug, Clone, Default)]
pub struct Started {
    /// What the log held, and what that took on disk.
    pub held: Grown,
    /// From the call of the program to the first answer.
    pub took: Duration,
    /// The memory that it held then, in bytes.
    pub memory: Option<u64>,
}

/// Everything measured in one run.
#[derive(Debug, Clone)]
pub struct Figures {
    /// How the service began; none where it began with an empty log.
    pub started: Option<Started>,
    /// One line a pressure.
    pub lines: Vec<Line>,
    /// The version of the NATS server.
    pub server_version: String,
    /// Small writes with `fdatasync`, in microseconds.
    pub disk: Histogram<u64>,
    /// Round trips through the server with one in flight, in microseconds.
    pub echo: Option<Histogram<u64>>,
    /// Messages that the service published for a whole conversation.
    pub messages: usize,
    /// Bytes of those messages.
    pub message_bytes: usize,
    /// What the files of the service took before the first round.
    pub disk_bytes_before: u64,
    /// What the service recorded in the whole run, without what it began with.
    pub grown: Grown,
    /// The lines of that, in bytes, before they are compressed.
    pub line_bytes: u64,
    /// The most memory that it held, in bytes.
    pub memory_peak: Option<u64>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

impl Figures {
    /// Bytes of the log's lines for an event.
    pub fn line_bytes_each(&self) -> u64 {
        self.line_bytes / self.grown.events.max(1)
    }
}

/// The middle one of several numbers.
pub fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => None,
        count if count % 2 == 1 => Some(numbers[count / 2]),
        count => Some((numbers[count / 2 - 1] + numbers[count / 2]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_ratio_is_that_of_rounds_side_by_side() {
        let round = |answered| Round {
            time: Duration::from_secs(1),
            answered,
            refused: 0,
            lost: 0,
            latency: new_histogram(),
            processor: None,
        };
        let rounds = |all: [u64; 3]| Rounds(all.map(round).to_vec());
        assert_eq!(rounds([50, 10, 90]).ratio_to(&rounds([100, 20, 100])), Some(0.5));
    }
}
