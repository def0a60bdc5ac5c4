//! Durable publication: everything published to events and inboxes is also put into two JetStream streams,
//! in the order of the log, once, and acknowledged.
//!
//! The messages on the wire are what the streams take in, so the streams could take them at the wrong place.
//! Therefore each message says where it belongs: either after an exact sequence (`Nats-Expected-Last-Sequence`),
//! so that the server takes it there or refuses it, or, while the streams are behind, into no stream at all
//! (`Nats-Expected-Stream`); who listens hears it all the same. What is behind is read from the log and put in
//! from where the streams end ([`ends`]), until they are in step again. So JetStream may go and come back as it
//! likes: commands, answers and what is heard on the wire do not wait for it, and the streams have no gap, no
//! repetition and no event that the log does not hold. `published_through` follows acknowledgements alone.
//!
//! Relayed messages have their place too. They are not in the log, so those that are not acknowledged yet are
//! kept in memory ([`kept`]); a crash of the service loses these, as it loses any message that it has not answered.

pub mod api;
mod ends;
mod finding;
mod flight;
mod health;
mod kept;
mod pace;
mod readers;
mod reading;
mod sending;
#[cfg(test)]
mod tests;
mod wanted;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use async_nats::header::NATS_EXPECTED_STREAM;
use async_nats::{Client, HeaderMap, Message, Subject};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::{JoinSet, unconstrained};

use super::message::{self, Outgoing, Place, seq_in};
use super::stats::Stats;
use super::subjects::Subjects;
use crate::switchboard::Gauges;
use crate::switchboard::past::Archive;
use crate::switchboard::port::Recorded;
use api::Trouble;
use ends::Ends;
use finding::{Placed, find};
use flight::Flight;
pub use health::Health;
use kept::{Keep, Kept};
use pace::MESSAGES_MAX;
use readers::Readers;
pub use readers::Receiver;
use reading::{Reading, read, read_on};
pub use sending::Acks;
use sending::{heard, send};

/// On a relayed message: the last event before it. By it a stream that ends with one says how far it got.
const AFTER_SEQ: &str = "Switchboard-After-Seq";
/// A stream's name that none of ours can have.
const NO_STREAM: &str = "none";

/// What an acknowledgement that does not come may mean.
const LATE: &str = "an acknowledgement is late: look at the server, and whether this user may publish there";

/// The pause before JetStream is asked again where it could not be.
const PAUSE: Duration = Duration::from_secs(1);
/// How often is looked for what is late, at the end of the service.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the streams work with.
pub struct Parts {
    /// Below which prefix.
    pub prefix: String,
    /// The log's id.
    pub log_id: String,
    /// The log.
    pub archive: Archive,
    /// How far publication got.
    pub gauges: Arc<Gauges>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What is shown.
    pub health: Arc<Health>,
    /// Who has an inbox by the configuration.
    pub receivers: BTreeSet<Receiver>,
}

/// The two streams, as this end sees them.
pub struct Streams {
    parts: Parts,
    subjects: Subjects,
    state: State,
    acks: Option<Acks>,
    flight: Flight,
    kept: Kept,
    ends: Ends,
    /// The last event that was sent into the streams whole.
    position: u64,
    asking: JoinSet<Result<Placed, Trouble>>,
    reading: Option<Reading>,
    /// What was read and is not sent yet.
    ahead: VecDeque<Step>,
    was_asked: bool,
    readers: Readers,
}

/// A step on the way to where the streams hold an event that was read from the log.
enum Step {
    /// A message of it that they lack.
    Message(u64, Outgoing),
    /// That was all of it.
    Whole(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no connection.
    Off,
    /// JetStream is asked then.
    Waiting(Instant),
    /// It is being asked where the streams end.
    Asking,
    /// They are filled from the log.
    Behind,
    /// They take in what is published as it is published.
    InStep,
}

/// What may happen to the streams.
pub enum Happening {
    /// A message was acknowledged, or refused.
    Acknowledged(Message),
    /// It is known where the streams end.
    Found(Box<Result<Placed, Trouble>>),
    /// More was read from the log; nothing where all of it was.
    Read(Vec<Result<Recorded, String>>),
}

/// Waits for what happens next; for ever where there are no streams.
pub async fn next(streams: &mut Option<Streams>) -> Happening {
    match streams {
        Some(streams) => streams.next().await,
        None => std::future::pending().await,
    }
}

/// Says, before the service serves, what somebody must mend; what may pass is waited for while it serves.
pub async fn check(client: &Client, prefix: &str, log_id: &str, archive: &Archive) -> Result<(), Trouble> {
    // Where they begin does not matter yet, only whether this log may go on with them.
    find(client.clone(), prefix.into(), log_id.into(), archive.clone(), 0).await.map(drop)
}

impl Streams {
    /// Not connected yet.
    pub fn new(mut parts: Parts) -> Streams {
        Streams {
            readers: Readers::new(std::mem::take(&mut parts.receivers)),
            subjects: Subjects::new(&parts.prefix),
            parts,
            state: State::Off,
            acks: None,
            flight: Flight::default(),
            kept: Kept::default(),
            ends: Ends::default(),
            position: 0,
            asking: JoinSet::new(),
            reading: None,
            ahead: VecDeque::new(),
            was_asked: false,
        }
    }

    /// There is a connection: JetStream is asked where the streams end.
    pub fn connected(&mut self, acks: Acks) {
        self.acks = Some(acks);
        self.ask();
    }

    /// There is no connection any more. What was under way may have arrived or not; the streams will say.
    pub fn lost(&mut self) {
        self.let_go(State::Off);
        self.readers.stop();
        self.acks = None;
    }

    /// Takes in who has an inbox.
    pub fn heard(&mut self, recorded: &Recorded) {
        self.readers.heard(recorded);
    }

    /// Whether an event may be sent into the streams as it is published. Where too much is under way, they are behind from here.
    pub fn takes(&mut self) -> bool {
        if self.state == State::InStep && !self.flight.has_room() {
            self.state = State::Behind;
            self.parts.health.behind();
        }
        self.state == State::InStep
    }

    /// A message that no stream takes in: subject, headers and payload.
    pub fn apart(message: Outgoing) -> (Subject, HeaderMap, Bytes) {
        let place = message.place;
        let (subject, mut headers, payload) = message.into_parts();
        if place != Place::Standby {
            headers.insert(NATS_EXPECTED_STREAM, NO_STREAM);
        }
        (subject, headers, payload)
    }

    /// Sends one of an event's messages into its stream, while they are in step; false where it must be published apart.
    pub async fn put(&mut self, message: &Outgoing) -> bool {
        self.state == State::InStep && self.put_event(message).await
    }

    /// All messages of event `seq` are sent into the streams.
    pub fn whole(&mut self, seq: u64) {
        // One of them could not be sent, and where the streams end is asked afresh.
        if !matches!(self.state, State::Behind | State::InStep) {
            return;
        }
        self.position = seq;
        if self.flight.completes(seq) {
            self.published(seq);
        }
    }

    /// Takes a relayed message for the inboxes, which comes after event `after`; false where it must be published apart.
    pub async fn relay(&mut self, message: &Outgoing, after: u64) -> bool {
        match self.kept.keep(after, message) {
            Keep::Repeat => false,
            Keep::Full => {
                self.parts.stats.relays_not_kept.increment(1);
                false
            }
            Keep::Kept(_) => self.takes() && self.put_kept(None).await,
        }
    }

    async fn next(&mut self) -> Happening {
        let is_reading = self.state == State::Behind && self.ahead.is_empty();
        tokio::select! {
            Some(message) = heard(&mut self.acks) => Happening::Acknowledged(message),
            Some(found) = self.asking.join_next(), if !self.asking.is_empty() => {
                let gone = |error| Err(Trouble::Away(format!("the question was not asked to its end: {error}")));
                Happening::Found(Box::new(found.unwrap_or_else(gone)))
            }
            batch = read_on(&mut self.reading), if is_reading => Happening::Read(batch),
            else => std::future::pending().await,
        }
    }

    /// Takes in what happened; `through` is the last event published. Fails where the first answer says that somebody must act.
    pub async fn happened(&mut self, happening: Happening, through: u64) -> Result<(), String> {
        match happening {
            Happening::Acknowledged(message) => self.acknowledged(&message),
            Happening::Found(found) => self.found(*found)?,
            Happening::Read(batch) if batch.is_empty() => self.reading = None,
            Happening::Read(batch) => {
                for recorded in batch {
                    let unread = |fault| format!("the log could not be read for publication: {fault}");
                    self.line_up(&recorded.map_err(unread)?);
                }
            }
        }
        self.go_on(through).await;
        Ok(())
    }

    /// Takes in the acknowledgements that have come and wait, so that what is sent next finds its room, and none
    /// counts as late that is there.
    pub async fn hear(&mut self, through: u64) {
        for _ in 0..MESSAGES_MAX {
            // The budget of the task must not hide what is there.
            let Some(Some(message)) = unconstrained(heard(&mut self.acks)).now_or_never() else { break };
            self.acknowledged(&message);
        }
        self.go_on(through).await;
    }

    /// Looks for what is late, and what is due.
    pub async fn look(&mut self, through: u64) {
        self.hear(through).await;
        match self.state {
            State::Waiting(until) if until <= Instant::now() => self.ask(),
            State::Behind | State::InStep => self.look_at_flight(),
            _ => {}
        }
        if let Some(acks) = &self.acks {
            self.readers.look(&acks.client, &self.parts.prefix);
        }
        self.go_on(through).await;
    }

    /// What the server will not take is known at once by its complaint, and the rest by what does not move.
    fn look_at_flight(&mut self) {
        if let Some(denied) = self.acks.as_ref().and_then(|acks| acks.complaints.denied(&self.parts.prefix)) {
            let why = format!("{denied}: give this user the permission");
            self.fault(&why);
            self.trouble(&why);
        } else if self.flight.is_late() {
            self.fault(LATE);
        }
    }

    /// Reads on, or is in step, where the streams are behind and nothing is being read.
    async fn go_on(&mut self, through: u64) {
        self.fill().await;
        if self.state != State::Behind || self.reading.is_some() || !self.ahead.is_empty() {
            return;
        }
        if self.position < through {
            self.reading = Some(read(self.parts.archive.clone(), self.position + 1, through));
            return;
        }
        while self.flight.has_room() {
            if !self.put_kept(None).await {
                self.state = State::InStep;
                if self.parts.health.in_step() {
                    tracing::info!(through_seq = through, "the streams are in step with the log");
                }
                return;
            }
        }
    }

    /// Lines up what the streams lack of a decision.
    fn line_up(&mut self, recorded: &Recorded) {
        let position = self.position;
        for event in recorded.events.iter().filter(|event| event.seq > position) {
            let all = message::event(&mut self.subjects, &self.parts.log_id, recorded, event);
            let missing = self.ends.missing(event.seq, all).into_iter();
            self.ahead.extend(missing.map(|message| Step::Message(event.seq, message)));
            self.ahead.push_back(Step::Whole(event.seq));
        }
    }

    /// Sends what is lined up, with the relayed messages in their place, as far as there is room.
    async fn fill(&mut self) {
        while self.state == State::Behind && self.flight.has_room() {
            let Some(Step::Message(seq, _) | Step::Whole(seq)) = self.ahead.front() else { return };
            let seq = *seq;
            if self.put_kept(Some(seq)).await {
                continue;
            }
            match self.ahead.pop_front() {
                Some(Step::Message(_, message)) => drop(self.put_event(&message).await),
                Some(Step::Whole(seq)) => self.whole(seq),
                None => return,
            }
        }
    }

    /// Sends one of an event's messages; false where it cannot be sent, and the streams wait until it can.
    async fn put_event(&mut self, message: &Outgoing) -> bool {
        let Err(why) = send(&self.acks, &mut self.flight, message, None).await else { return true };
        let seq = seq_in(&self.parts.log_id, &message.id).unwrap_or_default();
        let why = format!("event {seq} cannot be published on {}: {why}", message.subject);
        self.fault(&why);
        self.trouble(&why);
        false
    }

    /// Sends the next relayed message, where it belongs before that event; false where there is none.
    async fn put_kept(&mut self, before: Option<u64>) -> bool {
        let Some(relayed) = self.kept.next_before(before) else { return false };
        let (number, relay) = (relayed.number, Some((relayed.number, relayed.after)));
        if let Err(why) = send(&self.acks, &mut self.flight, &relayed.message, relay).await {
            // The log does not have it, so nothing is missing without it.
            tracing::error!(subject = %relayed.message.subject, why, "a message cannot be published, and is left out");
            self.parts.stats.relays_not_kept.increment(1);
            self.kept.stored(number);
        }
        true
    }

    fn acknowledged(&mut self, message: &Message) {
        let Some(number) = message.subject.rsplit('.').next().and_then(|number| number.parse().ok()) else { return };
        let (stored, outcome) = self.flight.acknowledged(number, message);
        stored.relays.iter().for_each(|number| self.kept.stored(*number));
        if let Some(seq) = stored.through {
            self.published(seq);
        }
        if let Err(why) = outcome {
            self.fault(&why);
        }
    }

    fn published(&self, seq: u64) {
        self.parts.gauges.published_through.fetch_max(seq, Relaxed);
    }

    /// The streams did not take something: where they end is asked afresh, and what they lack is sent again.
    fn fault(&mut self, why: &str) {
        tracing::info!(why, "the streams are asked where they end");
        self.parts.stats.stream_restarts.increment(1);
        let pause = self.flight.pace.fault();
        match self.flight.pace.is_stuck() {
            true => self.trouble(why),
            false => self.parts.health.behind(),
        }
        self.let_go(State::Waiting(Instant::now() + pause));
    }

    fn trouble(&self, why: &str) {
        if self.parts.health.trouble(why) {
            tracing::warn!(why, "the streams are not written: commands go on, and what is missing is added later");
        }
    }

    fn let_go(&mut self, state: State) {
        self.state = state;
        self.flight.begin([0, 0]);
        self.kept.unsend();
        self.reading = None;
        self.ahead.clear();
        self.asking.abort_all();
        self.asking = JoinSet::new();
    }

    fn ask(&mut self) {
        let Some(acks) = &self.acks else { return };
        let published = self.parts.gauges.published_through.load(Relaxed);
        let (prefix, log_id) = (self.parts.prefix.clone(), self.parts.log_id.clone());
        self.asking.spawn(find(acks.client.clone(), prefix, log_id, self.parts.archive.clone(), published));
        self.state = State::Asking;
    }

    fn found(&mut self, found: Result<Placed, Trouble>) -> Result<(), String> {
        let is_first = !std::mem::replace(&mut self.was_asked, true);
        let (ends, last) = match found {
            Ok(found) => found,
            Err(Trouble::Refused(why)) if is_first => return Err(why),
            Err(Trouble::Refused(why) | Trouble::Away(why)) => {
                self.trouble(&why);
                self.state = State::Waiting(Instant::now() + PAUSE);
                return Ok(());
            }
        };
        let published = self.parts.gauges.published_through.swap(ends.through(), Relaxed);
        if ends.event < published {
            tracing::warn!(
                through_seq = ends.event,
                published_seq = published,
                "the streams end before what was published: the rest is added from the log"
            );
        }
        if !ends.last_inbox_id.is_empty() {
            self.kept.stored_through(&ends.last_inbox_id, ends.part.as_ref().map_or(ends.inbox, |(seq, _)| *seq));
        }
        self.flight.begin(last);
        self.position = ends.through();
        self.ends = ends;
        self.state = State::Behind;
        self.parts.health.behind();
        self.readers.begin();
        Ok(())
    }

    /// Waits, at the end of the service, until everything is stored or JetStream turns out to be away; whether it is stored.
    pub async fn finish(&mut self, through: u64) -> bool {
        loop {
            self.look(through).await;
            match self.state {
                State::InStep if self.flight.is_empty() => return true,
                State::Off => return false,
                State::Waiting(_) if self.parts.health.is_troubled() => return false,
                _ => {}
            }
            if let Ok(happening) = tokio::time::timeout(LOOK_EVERY, self.next()).await
                && self.happened(happening, through).await.is_err()
            {
                return false;
            }
        }
    }

    /// Relayed messages that are not known to be stored.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }
}
