//! A durable consumer for each receiver of the inboxes, and one for observers of the events: where each reads on.
//!
//! The service makes them, because whoever may make a consumer names the subject that it delivers to, and could
//! have the server publish there what looks like another caller's command. A receiver fetches and acknowledges, no
//! more. Those of the configuration have theirs from the start; a channel that is not in it has one from its first
//! conversation on. The service deletes none: the server lets go of one that nobody has read from for longer than
//! the stream keeps anything, when a new one at the stream's beginning misses and repeats nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::api::{self, Trouble};
use super::wanted::{AGE_DAYS_MAX, SECOND_NS, Which};
use crate::domain::Name;
use crate::domain::config::ConfigEvent;
use crate::switchboard::port::Recorded;

/// How often it is made sure that all are there: the server lets go of those that nobody uses.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// The pause before it is tried again where it could not be done.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the server keeps one that nobody reads from.
const UNUSED_DAYS_MAX: u64 = AGE_DAYS_MAX + 1;
/// How long a receiver has to acknowledge a message before it comes again.
const ACK_WAIT_NS: u64 = 30 * SECOND_NS;
/// Most receivers beyond those of the configuration: twice what that may hold, as channels need not be in it.
const RECEIVERS_MAX: usize = 4000;
/// The consumer of the stream of events.
const OBSERVER: &str = "observer";

/// Who has an inbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receiver {
    /// An integration.
    Integration(Name),
    /// A channel.
    Channel(Name),
}

/// Knows the receivers, and makes their consumers.
#[derive(Debug)]
pub struct Readers {
    receivers: BTreeSet<Receiver>,
    /// When the consumers are looked for; none while that would be in vain.
    due: Option<Instant>,
    making: JoinSet<Result<(), Trouble>>,
    /// What was said last of what is wrong.
    told: String,
    /// Whether it was said that there are too many receivers.
    is_full: bool,
}

impl Readers {
    /// For those whom the configuration names now.
    pub fn new(receivers: BTreeSet<Receiver>) -> Readers {
        Readers { receivers, due: None, making: JoinSet::new(), told: String::new(), is_full: false }
    }

    /// The streams are there, as if for the first time.
    pub fn begin(&mut self) {
        self.due = Some(Instant::now());
    }

    /// There is no connection, or the streams are not there.
    pub fn stop(&mut self) {
        self.due = None;
        self.making.abort_all();
        self.making = JoinSet::new();
    }

    /// Takes in who comes and goes with a decision.
    pub fn heard(&mut self, recorded: &Recorded) {
        let is_new = match &recorded.channel {
            Some(name) => self.add(Receiver::Channel(name.clone()), RECEIVERS_MAX),
            None => recorded.events.iter().filter_map(|event| change(recorded, event)).fold(false, |is_new, change| {
                match change {
                    Change::Comes(receiver) => self.add(receiver, usize::MAX) || is_new,
                    Change::Goes(receiver) => {
                        self.receivers.remove(&receiver);
                        is_new
                    }
                }
            }),
        };
        if is_new && self.due.is_some() {
            self.begin();
        }
    }

    /// Makes what is due, and says what came of it.
    pub fn look(&mut self, client: &Client, prefix: &str) {
        match self.making.try_join_next() {
            Some(Ok(Err(Trouble::Refused(why) | Trouble::Away(why)))) => self.not_made(why),
            Some(Ok(Ok(()))) => self.told.clear(),
            _ => {}
        }
        if self.making.is_empty() && self.due.is_some_and(|due| due <= Instant::now()) {
            self.due = Some(Instant::now() + LOOK_EVERY);
            self.making.spawn(make(client.clone(), prefix.to_owned(), self.receivers.clone()));
        }
    }

    fn not_made(&mut self, why: String) {
        self.due = Some(Instant::now() + PAUSE);
        if self.told != why {
            tracing::warn!(
                why,
                "not all consumers of inboxes are there, and whoever lacks its own cannot read on: trying again"
            );
            self.told = why;
        }
    }

    /// Adds a receiver, up to so many.
    fn add(&mut self, receiver: Receiver, max: usize) -> bool {
        if self.receivers.contains(&receiver) {
            return false;
        }
        if self.receivers.len() >= max {
            if !std::mem::replace(&mut self.is_full, true) {
                tracing::warn!(
                    first = receiver.consumer(),
                    "no consumers are made for more channels: there are {RECEIVERS_MAX} receivers"
                );
            }
            return false;
        }
        self.receivers.insert(receiver)
    }
}

impl Receiver {
    /// The name of its consumer.
    fn consumer(&self) -> String {
        match self {
            Receiver::Integration(name) => format!("integration-{name}"),
            Receiver::Channel(name) => format!("channel-{name}"),
        }
    }

    fn subjects(&self, prefix: &str) -> String {
        match self {
            Receiver::Integration(name) => format!("{prefix}.inbox.integration.{name}.>"),
            Receiver::Channel(name) => format!("{prefix}.inbox.channel.{name}.>"),
        }
    }
}

enum Change {
    Comes(Receiver),
    Goes(Receiver),
}

fn change(recorded: &Recorded, event: &crate::switchboard::port::RecordedEvent) -> Option<Change> {
    let data = std::str::from_utf8(recorded.line.get(event.data.clone())?).ok()?;
    Some(match ConfigEvent::from_data(event.full_name, data).ok()?? {
        ConfigEvent::IntegrationRegistered(new) => Change::Comes(Receiver::Integration(new.name)),
        ConfigEvent::ChannelRegistered(new) => Change::Comes(Receiver::Channel(new.name)),
        ConfigEvent::IntegrationRemoved { name } => Change::Goes(Receiver::Integration(name)),
        ConfigEvent::ChannelRemoved { name } => Change::Goes(Receiver::Channel(name)),
        _ => return None,
    })
}

/// Makes the consumers that are not there, and holds those that are against what they may read.
async fn make(client: Client, prefix: String, receivers: BTreeSet<Receiver>) -> Result<(), Trouble> {
    let events = vec![(OBSERVER.to_owned(), format!("{prefix}.event.>"))];
    let inboxes = receivers.iter().map(|receiver| (receiver.consumer(), receiver.subjects(&prefix))).collect();
    let mut made = 0;
    for (which, wanted) in [(Which::Events, events), (Which::Inbox, inboxes)] {
        let stream = which.name(&prefix);
        let found = api::consumers(&client, &stream).await?;
        for (name, subjects) in wanted {
            match found.get(&name) {
                Some(config) => warn_of_another(&stream, &name, &subjects, config),
                None => {
                    api::make_consumer(&client, &stream, &name, &subjects, config(&name, &subjects)).await?;
                    made += 1;
                }
            }
        }
    }
    if made > 0 {
        tracing::info!(made, "made consumers, with which receivers read on where they were");
    }
    Ok(())
}

fn config(name: &str, subjects: &str) -> Value {
    json!({
        "durable_name": name,
        "description": "made by the switchboard: whoever hears these subjects reads on with it",
        "filter_subject": subjects,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": ACK_WAIT_NS,
        "max_deliver": -1,
        "replay_policy": "instant",
        "inactive_threshold": UNUSED_DAYS_MAX * 24 * 3600 * SECOND_NS,
    })
}

/// How much may wait for acknowledgement, and the like, may be set by whoever looks after the server; what is read, not.
fn warn_of_another(stream: &str, name: &str, subjects: &str, found: &Value) {
    if found["filter_subject"] != *subjects || found.get("deliver_subject").is_some() {
        tracing::warn!(
            stream,
            consumer = name,
            found = %found["filter_subject"],
            expected = subjects,
            "a consumer reads something else than it should: delete it, and it is made again as it should be"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn recorded(full_name: &'static str, data: &str, channel: Option<&str>) -> Recorded {
        Recorded {
            conversation: "c".into(),
            channel: channel.map(name),
            at: crate::domain::Time(0),
            traceparent: None,
            inbox: Default::default(),
            standby: Vec::new(),
            line: data.to_owned().into(),
            events: [crate::switchboard::port::RecordedEvent { seq: 1, full_name, data: 0..data.len() }]
                .into_iter()
                .collect(),
            hash: [0; 32],
        }
    }

    fn names(readers: &Readers) -> Vec<String> {
        readers.receivers.iter().map(Receiver::consumer).collect()
    }

    #[test]
    fn receivers_come_and_go_with_the_configuration() {
        let mut readers = Readers::new([Receiver::Integration(name("bot"))].into());
        readers.begin();
        readers.due = None;
        readers.heard(&recorded("switchboard.integration.removed", r#"{"name":"bot"}"#, None));
        assert_eq!(names(&readers), Vec::<String>::new());
        readers.heard(&recorded("switchboard.channel.removed", r#"{"name":"web"}"#, None));
        readers.heard(&recorded("switchboard.conversation.started", "{}", Some("web")));
        assert_eq!(names(&readers), ["channel-web"]);
        assert!(readers.due.is_none(), "nothing is due where there are no streams");
    }

    #[test]
    fn a_new_receiver_is_looked_for_at_once_and_a_known_one_is_not() {
        let mut readers = Readers::new(BTreeSet::new());
        let later = Instant::now() + LOOK_EVERY;
        readers.due = Some(later);
        readers.heard(&recorded("switchboard.conversation.started", "{}", Some("web")));
        assert!(readers.due < Some(later));
        readers.due = Some(later);
        readers.heard(&recorded("switchboard.conversation.closed", "{}", Some("web")));
        assert_eq!(readers.due, Some(later));
    }

    #[test]
    fn receivers_are_bounded_and_nothing_is_looked_for_while_the_streams_are_away() {
        let mut readers = Readers::new(BTreeSet::new());
        readers.begin();
        for at in 0..=RECEIVERS_MAX {
            readers.heard(&recorded("switchboard.conversation.started", "{}", Some(&format!("c{at}"))));
        }
        assert_eq!(readers.receivers.len(), RECEIVERS_MAX);
        assert!(readers.due.is_some());
        readers.stop();
        assert!(readers.due.is_none());
    }

    #[test]
    fn what_could_not_be_made_is_tried_again_soon() {
        let mut readers = Readers::new(BTreeSet::new());
        readers.due = Some(Instant::now() + LOOK_EVERY);
        readers.not_made("away".into());
        assert!(readers.due.is_some_and(|due| due <= Instant::now() + PAUSE));
    }

    #[tokio::test]
    async fn consumers_are_looked_for_again_as_one_may_go_while_the_service_runs() {
        let nowhere =
            async_nats::ConnectOptions::new().retry_on_initial_connect().connect("127.0.0.1:1").await.unwrap();
        let mut readers = Readers::new(BTreeSet::new());
        readers.begin();
        let since = Instant::now();
        readers.look(&nowhere, "switchboard");
        assert!(!readers.making.is_empty() && readers.due.is_some_and(|due| due >= since + LOOK_EVERY));
        readers.stop();
        readers.due = Some(since);
        readers.look(&nowhere, "switchboard");
        assert!(!readers.making.is_empty(), "it is due");
    }

    #[test]
    fn a_channel_and_an_integration_of_one_name_read_their_own() {
        let [bot, channel] = [Receiver::Integration(name("x")), Receiver::Channel(name("x"))];
        assert_ne!(bot.consumer(), channel.consumer());
        assert_eq!(channel.subjects("acme.board"), "acme.board.inbox.channel.x.>");
        let config = config("a", "s.>");
        assert_eq!(config["inactive_threshold"], 8 * 24 * 3600 * SECOND_NS);
        assert_eq!(config["max_deliver"], -1, "until it is acknowledged");
    }
}
