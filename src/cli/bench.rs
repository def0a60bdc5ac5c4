//! What `bench` may be asked for.

use std::time::Duration;

use super::arguments::BenchArguments;
use super::check::{Check, events};
use crate::tools::bench::aged::Age;
use crate::tools::bench::{BenchOptions, Beside};
use crate::tools::values;

/// One alone, one group of the log, what a busy service has, and more than it should.
const IN_FLIGHT_DEFAULT: [usize; 4] = [1, 64, 1024, 8192];
/// Conversations that are open at once where nothing else is said.
const CONVERSATIONS_DEFAULT: usize = 10_000;
/// Most conversations at once: beyond it the load itself takes gigabytes.
const CONVERSATIONS_MAX: usize = 2_000_000;
/// Most events in an aged log: they take some 200 GB.
const AGED_MAX: usize = 1_000_000_000;
/// Most conversations that it leaves open, each of some 300 bytes of memory: as many as a channel may have by default.
const OPEN_MAX: usize = 10_000_000;
/// Where nothing is said, one conversation in about two stays open at most.
const EVENTS_FOR_ONE_OPEN: u64 = 20;
/// Most commands begun a second: beyond it no server answers.
const RATE_MAX: u64 = 1_000_000;
/// How long a round is where nothing else is said.
const ROUND_MS_DEFAULT: u64 = 3000;
/// How many rounds there are where nothing else is said: the fewest that have a middle.
const ROUNDS_DEFAULT: usize = 3;
/// Most rounds.
const ROUNDS_MAX: usize = 1000;

impl Check<'_> {
    pub(super) fn bench(&mut self, arguments: &BenchArguments) -> Option<BenchOptions> {
        let access = self.access(&arguments.nats, None);
        // What stands in the environment is the service's: a load is put only on what is named here and now.
        let (is_server_named, is_data_named) = (self.is_written("nats"), self.is_written("data"));
        if self.is_written("prefix") {
            self.fault("--prefix: bench has a prefix of its own for each run: leave it out");
        }
        let mut in_flight = self.values("--in-flight", &arguments.in_flight, conversations);
        let rates = self.values("--rate", &arguments.rate, rate);
        if in_flight.is_empty() && rates.is_empty() {
            in_flight = IN_FLIGHT_DEFAULT.to_vec();
        }
        let at_once = self.value("--conversations", &arguments.conversations, conversations);
        let at_once = at_once.unwrap_or(CONVERSATIONS_DEFAULT);
        let age = self.age(&arguments.aged, &arguments.open, at_once as u64);
        let round = self.value("--round", &arguments.round, values::span_ms).unwrap_or(ROUND_MS_DEFAULT);
        let rounds = self.value("--rounds", &arguments.rounds, rounds).unwrap_or(ROUNDS_DEFAULT);
        let asked = self.values("--beside", &arguments.beside, beside);
        let events = self.value("--events", &arguments.events, events).unwrap_or_default();
        let format = self.value("--format", &arguments.format, values::text_or_json).unwrap_or_default();
        Some(BenchOptions {
            access: is_server_named.then_some(access).flatten(),
            nats_server: arguments.nats_server.clone().unwrap_or_else(|| "nats-server".into()),
            data: arguments.data.clone().filter(|_| is_data_named),
            in_flight,
            rates,
            conversations: at_once,
            age,
            round: Duration::from_millis(round),
            rounds,
            beside: if asked.is_empty() { Beside::ALL.to_vec() } else { asked.concat() },
            with_ids: !arguments.without_ids,
            events,
            format,
        })
    }

    fn age(&mut self, aged: &Option<String>, open: &Option<String>, at_once: u64) -> Option<Age> {
        let events = self.value("--aged", aged, |text| number(text, AGED_MAX)).map(|events| events as u64);
        let open = self.value("--open", open, |text| number_or_none(text, OPEN_MAX)).map(|open| open as u64);
        match (events, open) {
            (None, None) => None,
            (events, Some(open)) => Some(Age { events: events.unwrap_or(0), open }),
            (Some(events), None) => Some(Age { events, open: at_once.min(events / EVENTS_FOR_ONE_OPEN) }),
        }
    }
}

fn conversations(text: &str) -> Result<usize, String> {
    number(text, CONVERSATIONS_MAX)
}

fn rate(text: &str) -> Result<u64, String> {
    number(text, RATE_MAX as usize).map(|rate| rate as u64)
}

fn rounds(text: &str) -> Result<usize, String> {
    number(text, ROUNDS_MAX)
}

fn number(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("expected a whole number from 1 to {most}, got {text:?}"))
}

fn number_or_none(text: &str, most: usize) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { number(text, most) }
}

fn beside(text: &str) -> Result<Vec<Beside>, String> {
    match text {
        "none" => Ok(Vec::new()),
        "all" => Ok(Beside::ALL.to_vec()),
        _ => {
            let named = Beside::ALL.into_iter().find(|beside| beside.name() == text);
            let wrong = || format!("expected floor, jetstream, jetstream-always, all or none, got {text:?}");
            named.map(|beside| vec![beside]).ok_or_else(wrong)
        }
    }
}
