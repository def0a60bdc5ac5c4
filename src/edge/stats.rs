//! What is counted, for Prometheus and for the NATS service protocol.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics::{Counter, counter};

use super::subjects::Endpoint;
use crate::domain::{By, Refusal, Role, Text};

/// The status and code of [`Refusal::Busy`].
const BUSY: &str = "503:busy";

/// All counters of the edge.
#[derive(Debug)]
pub struct Stats {
    /// Requests whose reply subject is none that answers may go to.
    pub dropped_replies: Counter,
    /// Requests that the client library dropped because too many waited.
    pub dropped_requests: Losses,
    /// Requests for which there was no room, and no room either to say so.
    pub unanswered: Losses,
    /// Messages that the client library could not read, each of which cost a connection.
    pub unreadable: Counter,
    /// Answers that found no connection.
    pub dropped_answers: Counter,
    /// Events published.
    pub events: Counter,
    /// Copies of events published.
    pub copies: Counter,
    /// Messages relayed.
    pub relays: Counter,
    /// Refused commands told to those who watch.
    pub rejections: Counter,
    /// Connections made.
    pub connections: Counter,
    /// Times the streams were asked where they end because they did not take something.
    pub stream_restarts: Counter,
    /// Relayed messages for which there was no room while the streams were behind: they are in no stream.
    pub relays_not_kept: Counter,
    endpoints: [EndpointStats; 5],
    /// Where answers to configurations go: an operator sends them, so that the caller alone does not tell the endpoint.
    puts: Mutex<HashSet<Text>>,
    began: Instant,
}

/// What is counted of one endpoint.
#[derive(Debug)]
pub struct EndpointStats {
    /// Requests that came.
    pub requests: AtomicU64,
    /// Requests answered with an error.
    pub errors: AtomicU64,
    /// The last error: its status and code.
    pub last_error: Mutex<String>,
    /// Requests taken and not yet answered.
    waiting: AtomicI64,
    /// Moments of answers less moments of arrival, of all requests: with the waiting ones added, the time spent on all.
    span_ns: AtomicI64,
    requests_total: Counter,
    answers_total: Counter,
    busy_total: Counter,
}

/// Something that is lost: counted for whoever looks, and for the service's own word about it.
#[derive(Debug)]
pub struct Losses {
    total: Counter,
    untold: AtomicU64,
}

impl Losses {
    fn new(total: Counter) -> Losses {
        Losses { total, untold: AtomicU64::new(0) }
    }

    /// One more.
    pub fn increment(&self) {
        self.total.increment(1);
        self.untold.fetch_add(1, Relaxed);
    }

    /// How many there were since this was asked last.
    pub fn since(&self) -> u64 {
        self.untold.swap(0, Relaxed)
    }
}

impl Stats {
    /// Counters from zero. The recorder of metrics must be installed before.
    pub fn new() -> Stats {
        describe();
        Stats {
            dropped_replies: counter!("switchboard_dropped_replies_total"),
            dropped_requests: Losses::new(counter!("switchboard_dropped_requests_total")),
            unanswered: Losses::new(counter!("switchboard_unanswered_requests_total")),
            unreadable: counter!("switchboard_unreadable_messages_total"),
            dropped_answers: counter!("switchboard_dropped_answers_total"),
            events: counter!("switchboard_events_published_total"),
            copies: counter!("switchboard_copies_published_total"),
            relays: counter!("switchboard_messages_relayed_total"),
            rejections: counter!("switchboard_rejections_published_total"),
            connections: counter!("switchboard_connections_total"),
            stream_restarts: counter!("switchboard_stream_restarts_total"),
            relays_not_kept: counter!("switchboard_messages_not_kept_total"),
            endpoints: Endpoint::ALL.map(EndpointStats::new),
            puts: Mutex::default(),
            began: Instant::now(),
        }
    }

    /// What is counted of `endpoint`.
    pub fn of(&self, endpoint: Endpoint) -> &EndpointStats {
        &self.endpoints[endpoint as usize]
    }

    /// A request came.
    pub fn came(&self, endpoint: Endpoint) {
        let stats = self.of(endpoint);
        stats.requests.fetch_add(1, Relaxed);
        stats.requests_total.increment(1);
    }

    /// A request that waits for an answer at `reply` is handed on.
    pub fn taken(&self, endpoint: Endpoint, reply: &Text) {
        if endpoint == Endpoint::Config {
            self.puts().insert(reply.clone());
        }
        let stats = self.of(endpoint);
        stats.waiting.fetch_add(1, Relaxed);
        stats.span_ns.fetch_sub(self.now_ns(), Relaxed);
    }

    /// A request that was handed on is answered.
    pub fn answered(&self, by: &By, to: &Text, refusal: Option<&Refusal>) {
        let endpoint = self.endpoint_of(by, to);
        let stats = self.of(endpoint);
        stats.waiting.fetch_sub(1, Relaxed);
        stats.span_ns.fetch_add(self.now_ns(), Relaxed);
        match refusal {
            Some(refusal) => self.refused(endpoint, refusal),
            None => stats.answers_total.increment(1),
        }
    }

    /// A request is answered with an error.
    pub fn refused(&self, endpoint: Endpoint, refusal: &Refusal) {
        let stats = self.of(endpoint);
        stats.answers_total.increment(1);
        stats.errors.fetch_add(1, Relaxed);
        if let Ok(mut last) = stats.last_error.lock() {
            *last = format!("{}:{}", refusal.status(), refusal.code());
        }
        counter!("switchboard_errors_total", "endpoint" => endpoint.name(), "code" => refusal.code()).increment(1);
    }

    /// A request finds no room: that must cost little.
    pub fn busy(&self, endpoint: Endpoint) {
        let stats = self.of(endpoint);
        stats.answers_total.increment(1);
        stats.errors.fetch_add(1, Relaxed);
        stats.busy_total.increment(1);
        if let Ok(mut last) = stats.last_error.lock()
            && last.as_str() != BUSY
        {
            *last = BUSY.into();
        }
    }

    /// Nanoseconds from arrival to answer, of all requests of `endpoint` together.
    pub fn processing_ns(&self, endpoint: Endpoint) -> u64 {
        let stats = self.of(endpoint);
        let waiting = stats.waiting.load(Relaxed);
        u64::try_from(stats.span_ns.load(Relaxed).wrapping_add(waiting.wrapping_mul(self.now_ns()))).unwrap_or(0)
    }

    /// The endpoint that was asked: questions come from nobody by name.
    fn endpoint_of(&self, by: &By, to: &Text) -> Endpoint {
        match (by.role, &by.name) {
            (Role::Channel, _) => Endpoint::Channel,
            (Role::Integration, _) => Endpoint::Integration,
            (_, None) => Endpoint::Query,
            (_, Some(_)) if self.puts().remove(to) => Endpoint::Config,
            (_, Some(_)) => Endpoint::Operator,
        }
    }

    fn puts(&self) -> MutexGuard<'_, HashSet<Text>> {
        self.puts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ns(&self) -> i64 {
        self.began.elapsed().as_nanos() as i64
    }
}

impl Default for Stats {
    fn default() -> Self {
        Stats::new()
    }
}

impl EndpointStats {
    fn new(endpoint: Endpoint) -> EndpointStats {
        EndpointStats {
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_error: Mutex::new(String::new()),
            waiting: AtomicI64::new(0),
            span_ns: AtomicI64::new(0),
            requests_total: counter!("switchboard_requests_total", "endpoint" => endpoint.name()),
            answers_total: counter!("switchboard_answers_total", "endpoint" => endpoint.name()),
            busy_total: counter!("switchboard_errors_total", "endpoint" => endpoint.name(), "code" => Refusal::Busy.code()),
        }
    }
}

fn describe() {
    for (name, what) in [
        ("switchboard_requests_total", "Requests that came, by endpoint"),
        ("switchboard_answers_total", "Requests answered, by endpoint"),
        ("switchboard_errors_total", "Requests answered with an error, by endpoint and code"),
        ("switchboard_dropped_replies_total", "Requests dropped because their reply subject is not allowed"),
        ("switchboard_dropped_requests_total", "Requests lost because too many waited to be taken, at least so many"),
        ("switchboard_unanswered_requests_total", "Requests without room, and without room to say so"),
        ("switchboard_unreadable_messages_total", "Messages that broke the protocol, each at the cost of a connection"),
        ("switchboard_dropped_answers_total", "Answers lost because there was no connection"),
        ("switchboard_events_published_total", "Events published, without their copies"),
        ("switchboard_copies_published_total", "Copies of events published to inboxes and standbys"),
        ("switchboard_messages_relayed_total", "Messages relayed between end users and owners"),
        ("switchboard_rejections_published_total", "Refused commands published"),
        ("switchboard_connections_total", "Connections made to NATS"),
        (
            "switchboard_stream_restarts_total",
            "Times that a stream did not take something, and was filled from the log",
        ),
        (
            "switchboard_messages_not_kept_total",
            "Messages relayed that are in no stream: too many waited for JetStream",
        ),
    ] {
        metrics::describe_counter!(name, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Name;

    #[test]
    fn processing_time_is_that_from_arrival_to_answer() {
        let (stats, by, to) = (Stats::new(), caller(Role::Channel), Text::from("_INBOX.a"));
        stats.taken(Endpoint::Channel, &to);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(stats.processing_ns(Endpoint::Channel) >= 2_000_000);
        stats.answered(&by, &to, Some(&Refusal::Busy));
        let settled = stats.processing_ns(Endpoint::Channel);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(stats.processing_ns(Endpoint::Channel), settled);
        assert_eq!(stats.processing_ns(Endpoint::Query), 0);
        assert_eq!(*stats.of(Endpoint::Channel).last_error.lock().unwrap(), "503:busy");
    }

    #[test]
    fn an_answer_is_counted_at_the_endpoint_that_was_asked() {
        let (stats, by) = (Stats::new(), caller(Role::Operator));
        let (put, pass) = (Text::from("_INBOX.put"), Text::from("_INBOX.pass"));
        stats.taken(Endpoint::Config, &put);
        assert_eq!(stats.endpoint_of(&by, &pass), Endpoint::Operator);
        assert_eq!(stats.endpoint_of(&by, &put), Endpoint::Config);
        assert_eq!(stats.endpoint_of(&By { name: None, ..by }, &put), Endpoint::Query);
    }

    fn caller(role: Role) -> By {
        By::caller(role, Name::parse("a").unwrap(), None)
    }
}
