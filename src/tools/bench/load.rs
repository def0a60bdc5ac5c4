//! The load: commands begun as fast as answers come, or at a given rate whatever comes back.
//!
//! At a given rate latency counts from the moment at which a command was due, not from when there was room to send
//! it: so a pause of the service shows in all the commands that it held up, not in one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::figures::{Pressure, Round, new_histogram};
use super::usage;

/// Part of a round that is not counted, while everything gets warm.
const WARM_UP: f64 = 0.2;
/// How long answers are waited for at the end of a round.
const LAST_ANSWERS_WAIT: Duration = Duration::from_secs(20);
/// How often commands that are due are looked for.
const DUE_EVERY: Duration = Duration::from_micros(500);
/// Header that marks an answer as an error.
const ERROR_CODE: &str = "Nats-Service-Error-Code";

/// What is asked, of whom, and what the answers mean.
pub trait Target {
    /// The next command of a conversation.
    fn command(&mut self, conversation: usize) -> Command;
    /// Takes in the answer; whether it is what the command should come to.
    fn answered(&mut self, conversation: usize, answer: &Message) -> bool;
    /// Takes in that there was none: another conversation takes the place of this one.
    fn lost(&mut self, conversation: usize);
    /// How many conversations there are.
    fn conversations(&self) -> usize;
    /// The process that answers.
    fn process(&self) -> u32;
}

/// A command on its way.
pub struct Command {
    /// Where it goes.
    pub subject: String,
    /// Its headers.
    pub headers: Option<HeaderMap>,
    /// Its body.
    pub body: Bytes,
}

/// A client that puts load on targets.
pub struct Load {
    client: Client,
    inbox: String,
    answers: Subscriber,
}

/// One round under way.
struct Going<'a, T> {
    load: &'a mut Load,
    target: &'a mut T,
    began: Instant,
    counted_from: Instant,
    until: Instant,
    /// When the command under way of each conversation was due.
    due: Vec<Option<Instant>>,
    idle: VecDeque<usize>,
    /// Commands due that no conversation is free for.
    late: VecDeque<Instant>,
    under_way: usize,
    round: Round,
}

impl Load {
    /// One on that connection.
    pub async fn new(client: Client) -> Result<Load, async_nats::SubscribeError> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await?;
        Ok(Load { client, inbox, answers })
    }

    /// Puts load on a target for so long.
    pub async fn round<T: Target>(
        &mut self,
        target: &mut T,
        pressure: Pressure,
        time: Duration,
    ) -> Result<Round, String> {
        let began = Instant::now();
        let conversations = target.conversations();
        let mut going = Going {
            load: self,
            began,
            counted_from: began + time.mul_f64(WARM_UP),
            until: began + time.mul_f64(1.0 + WARM_UP),
            due: vec![None; conversations],
            idle: (0..conversations).collect(),
            late: VecDeque::new(),
            under_way: 0,
            round: Round { time, answered: 0, refused: 0, lost: 0, latency: new_histogram(), processor: None },
            target,
        };
        going.go(pressure).await?;
        Ok(going.round)
    }

    /// Asks one thing and waits for the answer.
    pub async fn ask(&mut self, command: Command) -> Result<Message, String> {
        self.send(command, 0).await?;
        let answer = timeout(LAST_ANSWERS_WAIT, self.answers.next()).await.map_err(|_| "no answer came".to_owned())?;
        answer.ok_or_else(|| "the connection to NATS is lost".into())
    }

    async fn send(&self, command: Command, conversation: usize) -> Result<(), String> {
        let reply = format!("{}.{conversation}", self.inbox);
        let Command { subject, headers, body } = command;
        let sent = match headers {
            Some(headers) => self.client.publish_with_reply_and_headers(subject, reply, headers, body).await,
            None => self.client.publish_with_reply(subject, reply, body).await,
        };
        sent.map_err(|error| format!("a command could not be sent: {error}"))
    }
}

impl<T: Target> Going<'_, T> {
    async fn go(&mut self, pressure: Pressure) -> Result<(), String> {
        let mut processor = None;
        let mut begun = 0u64;
        loop {
            let now = Instant::now();
            if processor.is_none() && now >= self.counted_from {
                processor = Some(usage::processor_time(self.target.process()));
            }
            if now >= self.until {
                break;
            }
            match pressure {
                Pressure::InFlight(most) => {
                    while self.under_way < most && !self.idle.is_empty() {
                        self.begin(Instant::now()).await?;
                    }
                }
                Pressure::Rate(rate) => {
                    let due = ((now - self.began).as_secs_f64() * rate as f64) as u64;
                    while begun < due {
                        self.late.push_back(self.began + Duration::from_secs_f64(begun as f64 / rate as f64));
                        begun += 1;
                    }
                    self.begin_late().await?;
                }
            }
            self.hear(DUE_EVERY).await?;
        }
        self.round.time = self.until.elapsed() + (self.until - self.counted_from);
        let used = usage::processor_time(self.target.process());
        self.round.processor = used.zip(processor.flatten()).map(|(after, before)| after.saturating_sub(before));
        self.settle().await
    }

    async fn begin_late(&mut self) -> Result<(), String> {
        while !self.idle.is_empty() {
            let Some(due) = self.late.pop_front() else { break };
            self.begin(due).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, due: Instant) -> Result<(), String> {
        let Some(conversation) = self.idle.pop_front() else { return Ok(()) };
        self.due[conversation] = Some(due);
        self.under_way += 1;
        let command = self.target.command(conversation);
        self.load.send(command, conversation).await
    }

    /// Takes in the answers that are there, or the first to come within `wait`.
    async fn hear(&mut self, wait: Duration) -> Result<bool, String> {
        let Ok(heard) = timeout(wait, self.load.answers.next()).await else { return Ok(false) };
        let mut next = heard;
        loop {
            let Some(answer) = next else { return Err("the connection to NATS is lost".into()) };
            self.take(&answer);
            // A few at a time: those begun in their place must not wait.
            match futures_util::FutureExt::now_or_never(self.load.answers.next()) {
                Some(more) if self.idle.len() < 64 => next = more,
                Some(more) => {
                    let Some(answer) = more else { return Err("the connection to NATS is lost".into()) };
                    self.take(&answer);
                    return Ok(true);
                }
                None => return Ok(true),
            }
        }
    }

    fn take(&mut self, answer: &Message) {
        let now = Instant::now();
        let conversation = answer.subject.rsplit('.').next().and_then(|token| token.parse::<usize>().ok());
        let Some(conversation) = conversation.filter(|number| *number < self.due.len()) else { return };
        // An answer to a command of an earlier round that was given up.
        let Some(due) = self.due[conversation].take() else { return };
        self.under_way -= 1;
        self.idle.push_back(conversation);
        let is_error = answer.headers.as_ref().is_some_and(|headers| headers.get(ERROR_CODE).is_some());
        let is_right = self.target.answered(conversation, answer) && !is_error && answer.status.is_none();
        if (self.counted_from..self.until).contains(&now) {
            self.round.answered += 1;
        }
        if due >= self.counted_from && due < self.until {
            self.round.refused += u64::from(!is_right);
            self.round.latency.saturating_record((now - due).as_micros() as u64);
        }
    }

    /// Waits for what is under way; what is due and was never sent counts as late by as much.
    async fn settle(&mut self) -> Result<(), String> {
        let until = Instant::now() + LAST_ANSWERS_WAIT;
        while self.under_way > 0 && Instant::now() < until {
            self.hear(LAST_ANSWERS_WAIT).await?;
        }
        for due in std::mem::take(&mut self.late) {
            self.round.latency.saturating_record(due.elapsed().as_micros() as u64);
        }
        for conversation in 0..self.due.len() {
            if self.due[conversation].is_some() {
                self.round.lost += 1;
                self.target.lost(conversation);
            }
        }
        Ok(())
    }
}
