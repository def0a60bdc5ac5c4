//! The contract written a second time: a configuration, a conversation in plain words, a command, and what must come
//! of it — the events in full, or the refusal. It knows nothing of how the service does it.
//!
//! `tests/histories/model.rs` is the same in a few words, for who has only answers and the log to go by: it tells what
//! becomes of a state, and this one what is recorded of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::metadata::{is_too_large, merged};
use super::talk::{Stage, Talk};

/// Milliseconds; none is `never`.
pub type Span = Option<u64>;

#[derive(Debug, Clone, PartialEq)]
pub enum OnEnd {
    Release,
    Hold,
    Pass(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Integration {
    pub next: Option<String>,
    pub on_end: OnEnd,
    pub standby: bool,
    pub can_take: bool,
    /// None: the channel's applies.
    pub timeout: Option<Span>,
    pub enabled: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub default: Option<String>,
    pub multi: bool,
    pub reopen: bool,
    pub user_can_end: bool,
    pub legacy_csat: bool,
    pub timeout: Span,
    pub deadline: Span,
    pub open_max: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    pub settings: Settings,
    pub channels: BTreeMap<String, Settings>,
    pub integrations: BTreeMap<String, Integration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    // Channels
    Start,
    Message,
    EndUser,
    // Integrations
    Pass,
    Offer,
    Accept,
    Decline,
    Withdraw,
    Take,
    Release,
    Reply,
    End,
    // Operators
    OrderPass,
    OrderRelease,
    OrderEnd,
    // Nobody
    Inactivity,
    Deadline,
    Expiry,
    Removal,
}

/// One command. What its verb does not know is left empty.
#[derive(Debug, Clone)]
pub struct Asked {
    pub who: String,
    pub verb: Verb,
    /// The target of a pass or an offer, the owner that a start names.
    pub to: Option<String>,
    pub reason: Option<String>,
    pub metadata: Map<String, Value>,
    /// The message that it reports, or under which it is noted.
    pub message: Option<String>,
    pub user: Option<String>,
    pub continued_from: Option<String>,
    pub sent_at: Option<u64>,
    pub expires_in: Option<u64>,
    pub epoch: Option<u64>,
    pub version: Option<u64>,
}

/// What comes of it. No events: the message is only relayed.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Refused(&'static str),
    Unchanged,
    Happens(Vec<Value>),
}

/// Beside the conversation: the time, the last message known, how many of the channel's conversations are open.
#[derive(Debug, Clone)]
pub struct Around {
    pub now: u64,
    pub last_message: Option<String>,
    pub open: u64,
}

use Answer::{Happens, Refused, Unchanged};
use Verb::*;

impl Rules {
    pub fn of(&self, channel: &str) -> &Settings {
        self.channels.get(channel).unwrap_or(&self.settings)
    }

    pub fn enabled(&self, name: &str) -> Option<&Integration> {
        self.integrations.get(name).filter(|integration| integration.enabled)
    }

    fn default_of(&self, channel: &str) -> Option<&String> {
        self.of(channel).default.as_ref().filter(|name| self.enabled(name).is_some())
    }

    /// How long a conversation may rest.
    pub fn rest(&self, talk: &Talk) -> Span {
        let own = talk.owner.as_ref().and_then(|owner| self.integrations.get(owner)?.timeout);
        own.unwrap_or(self.of(&talk.channel).timeout)
    }

    /// The answer, checked in the order of the contract's table.
    pub fn answer(&self, talk: Option<&Talk>, asked: &Asked, around: &Around) -> Answer {
        if asked.verb.is_an_integrations() && self.enabled(&asked.who).is_none() {
            return Refused("unknown_integration");
        }
        let Some(talk) = talk else {
            return match asked.verb {
                Start | Message if around.open >= self.of(&asked.who).open_max => Refused("limit_reached"),
                Start | Message if asked.is_stale(0, 0) => Refused("stale_version"),
                Start | Message => self.begins(&asked.who, asked),
                _ => Refused("conversation_not_found"),
            };
        };
        if asked.verb.is_a_channels() && asked.who != talk.channel {
            return Refused("wrong_channel");
        }
        if talk.stage == Stage::Closed {
            return self.after_the_close(talk, asked, around);
        }
        if asked.is_stale(talk.epoch, talk.version) {
            return Refused("stale_version");
        }
        match asked.verb {
            Start => match self.faults_of_start(asked) {
                Some(code) => Refused(code),
                None => Unchanged,
            },
            Message => Happens(match (&talk.owner, self.default_of(&talk.channel)) {
                (None, Some(to)) => vec![assigned(to, "default", &talk.metadata)],
                _ => Vec::new(),
            }),
            EndUser if !self.of(&talk.channel).user_can_end => Refused("end_not_allowed"),
            EndUser if talk.stage == Stage::Ending => Unchanged,
            EndUser => Happens(self.end_users_end(talk, asked, around)),
            Inactivity | Deadline | Expiry | Removal => self.falls_due(talk, asked.verb, around),
            OrderPass | OrderRelease | OrderEnd => self.ordered(talk, asked, around),
            Accept | Decline | Take => self.without_control(talk, asked),
            _ if talk.owner.as_ref() != Some(&asked.who) => Refused("not_in_control"),
            _ => self.in_control(talk, asked, around),
        }
    }

    fn faults_of_start(&self, asked: &Asked) -> Option<&'static str> {
        match () {
            _ if asked.to.as_ref().is_some_and(|to| self.enabled(to).is_none()) => Some("invalid_target"),
            _ if is_too_large(&Map::new(), &asked.metadata) => Some("metadata_too_large"),
            _ => None,
        }
    }

    /// A session from the beginning. A message says nothing of owner and metadata.
    fn begins(&self, channel: &str, asked: &Asked) -> Answer {
        if let Some(code) = self.faults_of_start(asked) {
            return Refused(code);
        }
        let metadata = merged(&Map::new(), &asked.metadata);
        let mut events = vec![json!({
            "type": "conversation.started", "metadata": metadata, "continued_from": asked.continued_from
        })];
        match (&asked.to, self.default_of(channel)) {
            (Some(to), _) => events.push(assigned(to, "start", &metadata)),
            (None, Some(to)) => events.push(assigned(to, "default", &metadata)),
            (None, None) => {}
        }
        Happens(events)
    }

    fn after_the_close(&self, talk: &Talk, asked: &Asked, around: &Around) -> Answer {
        let settings = self.of(&talk.channel);
        let is_single = !settings.reopen && !settings.multi;
        let closed_at = talk.closed.as_ref().map_or(0, |closed| closed.at);
        match asked.verb {
            EndUser | OrderRelease | OrderEnd | Inactivity | Deadline | Expiry | Removal => Unchanged,
            End if talk.last_owner.as_ref() == Some(&asked.who) => Unchanged,
            Message if asked.sent_at.is_some_and(|sent_at| sent_at < closed_at) => Unchanged,
            Start if settings.reopen => Unchanged,
            Start | Message if !settings.reopen && !is_single => Refused("conversation_closed"),
            Start | Message if around.open >= settings.open_max => Refused("limit_reached"),
            Start | Message if asked.is_stale(talk.epoch, talk.version) => Refused("stale_version"),
            Start | Message if is_single => self.begins(&talk.channel, asked),
            Message => {
                let (metadata, from) = (&talk.metadata, &talk.continued_from);
                let reopened = json!({"type": "conversation.reopened", "metadata": metadata, "continued_from": from});
                let assigned = self.default_of(&talk.channel).map(|to| assigned(to, "default", metadata));
                Happens([Some(reopened), assigned].into_iter().flatten().collect())
            }
            _ => Refused("conversation_closed"),
        }
    }

    fn end_users_end(&self, talk: &Talk, asked: &Asked, around: &Around) -> Vec<Value> {
        let last = asked.message.as_ref().or(around.last_message.as_ref());
        let at = self.of(&talk.channel).deadline.map(|span| time(around.now + span));
        let requested = |on_end: Value, deadline: Value| {
            json!({
                "type": "conversation.end_requested", "cause": "end_user", "reason": asked.reason, "on_end": on_end,
                "deadline": deadline, "last_message_id": last
            })
        };
        let withdrawn = withdrawn(talk, "end_requested", None);
        let close = closed(talk, "end_user", last, around.now);
        let Some(owner) = &talk.owner else {
            return list([Some(requested(Value::Null, Value::Null)), withdrawn, Some(close)]);
        };
        let on_end = self.enabled(owner).map_or(OnEnd::Release, |integration| integration.on_end.clone());
        let release = |cause: &str| {
            let released = released(owner, cause, None, &Map::new());
            list([Some(requested(on_end.said(), Value::Null)), withdrawn.clone(), Some(released), Some(close.clone())])
        };
        let waits = || requested(on_end.said(), json!(at));
        match &on_end {
            OnEnd::Release => release("end_requested"),
            OnEnd::Pass(to) if self.enabled(to).is_none() => release("end_target_missing"),
            OnEnd::Pass(to) if to != owner => {
                list([Some(waits()), withdrawn, Some(passed(Some(owner), to, "on_end", None, &Map::new()))])
            }
            _ => list([Some(waits()), withdrawn]),
        }
    }

    /// What needs no control.
    fn without_control(&self, talk: &Talk, asked: &Asked) -> Answer {
        let is_offered = talk.offer.as_ref().is_some_and(|offer| offer.to == asked.who);
        let is_owner = talk.owner.as_ref() == Some(&asked.who);
        let is_too_large_here = is_too_large(&talk.metadata, &asked.metadata);
        match asked.verb {
            Take if !self.enabled(&asked.who).is_some_and(|me| me.can_take) => Refused("not_allowed"),
            Take if is_too_large_here => Refused("metadata_too_large"),
            Take if is_owner => Unchanged,
            Take => Happens(pass(talk, &asked.who, "take", asked)),
            Accept if is_owner && talk.is_accepted && is_too_large_here => Refused("metadata_too_large"),
            Accept if is_owner && talk.is_accepted => Unchanged,
            _ if !is_offered => Refused("not_offered"),
            Decline => Happens(list([withdrawn(talk, "declined", asked.reason.as_ref())])),
            _ => {
                let offered = talk.offer.as_ref().map(|offer| offer.metadata.clone()).unwrap_or_default();
                match is_too_large(&merged(&talk.metadata, &offered), &asked.metadata) {
                    true => Refused("metadata_too_large"),
                    false => Happens(vec![json!({
                        "type": "control.accepted", "from": talk.owner, "to": asked.who, "metadata": asked.metadata
                    })]),
                }
            }
        }
    }

    fn in_control(&self, talk: &Talk, asked: &Asked, around: &Around) -> Answer {
        if asked.verb == Offer && talk.stage == Stage::Ending {
            return Refused("conversation_ending");
        }
        let next = self.integrations.get(&asked.who).and_then(|me| me.next.clone());
        let (to, cause) = match asked.to.as_deref() {
            Some("next") => (next, "next"),
            to => (to.map(str::to_owned), "name"),
        };
        let to = to.filter(|to| self.enabled(to).is_some());
        let is_mine = to.as_ref() == Some(&asked.who);
        if matches!(asked.verb, Pass | Offer) && (to.is_none() || (asked.verb == Offer && is_mine)) {
            return Refused("invalid_target");
        }
        if is_too_large(&talk.metadata, &asked.metadata) {
            return Refused("metadata_too_large");
        }
        match (asked.verb, to) {
            (Pass, Some(_)) if is_mine => Unchanged,
            (Pass, Some(to)) => Happens(pass(talk, &to, cause, asked)),
            (Offer, Some(to)) => {
                let expires_at = asked.expires_in.map(|span| time(around.now + span));
                let offered = json!({
                    "type": "control.offered", "from": asked.who, "to": to, "expires_at": expires_at,
                    "reason": asked.reason, "metadata": asked.metadata
                });
                Happens(list([withdrawn(talk, "superseded", None), Some(offered)]))
            }
            (Withdraw, _) if talk.offer.is_none() => Unchanged,
            (Withdraw, _) => Happens(list([withdrawn(talk, "withdrawn", None)])),
            (Release, _) => Happens(release(talk, "integration", asked, around)),
            (End, _) => Happens(ends_now(talk, "integration", asked, around)),
            _ => Happens(Vec::new()),
        }
    }

    fn ordered(&self, talk: &Talk, asked: &Asked, around: &Around) -> Answer {
        match (asked.verb, asked.to.as_ref().filter(|to| self.enabled(to).is_some())) {
            (OrderPass, None) => Refused("invalid_target"),
            (OrderPass, Some(to)) if talk.owner.as_ref() == Some(to) => Unchanged,
            (OrderPass, Some(to)) => Happens(pass(talk, to, "operator", asked)),
            (OrderRelease, _) if talk.owner.is_none() => Unchanged,
            (OrderRelease, _) => Happens(release(talk, "operator", asked, around)),
            _ => Happens(ends_now(talk, "operator", asked, around)),
        }
    }

    /// Guarded by the state that it was set for.
    fn falls_due(&self, talk: &Talk, what: Verb, around: &Around) -> Answer {
        let nothing = Asked::new("", what);
        let deadline = talk.end_requested.as_ref().and_then(|request| request.deadline);
        let expiry = talk.offer.as_ref().and_then(|offer| offer.expires_at);
        let is_past = |at: Option<u64>| at.is_some_and(|at| at <= around.now);
        let gone = |name: &str| talk.gone.iter().any(|gone| gone == name);
        match what {
            Inactivity if talk.stage == Stage::Open => Happens(ends_now(talk, "inactivity", &nothing, around)),
            Deadline if talk.stage == Stage::Ending && is_past(deadline) => {
                Happens(release(talk, "deadline", &nothing, around))
            }
            Expiry if is_past(expiry) => Happens(list([withdrawn(talk, "expired", None)])),
            Removal if talk.owner.as_ref().is_some_and(|owner| gone(owner)) => {
                Happens(release(talk, "integration_removed", &nothing, around))
            }
            Removal if talk.offer.as_ref().is_some_and(|offer| gone(&offer.to)) => {
                Happens(list([withdrawn(talk, "integration_removed", None)]))
            }
            _ => Unchanged,
        }
    }
}

// What happens

fn list<const N: usize>(events: [Option<Value>; N]) -> Vec<Value> {
    events.into_iter().flatten().collect()
}

fn assigned(to: &str, cause: &str, metadata: &Map<String, Value>) -> Value {
    json!({"type": "control.assigned", "to": to, "cause": cause, "metadata": metadata})
}

fn passed(from: Option<&String>, to: &str, cause: &str, reason: Option<&String>, set: &Map<String, Value>) -> Value {
    json!({"type": "control.passed", "from": from, "to": to, "cause": cause, "reason": reason, "metadata": set})
}

fn released(from: &str, cause: &str, reason: Option<&String>, set: &Map<String, Value>) -> Value {
    json!({"type": "control.released", "from": from, "cause": cause, "reason": reason, "metadata": set})
}

fn withdrawn(talk: &Talk, cause: &str, reason: Option<&String>) -> Option<Value> {
    let offer = talk.offer.as_ref()?;
    Some(json!({"type": "control.offer_withdrawn", "to": offer.to, "cause": cause, "reason": reason}))
}

fn closed(talk: &Talk, cause: &str, last: Option<&String>, now: u64) -> Value {
    let lasted = now - talk.started_at;
    json!({"type": "conversation.closed", "cause": cause, "last_message_id": last, "duration_ms": lasted})
}

fn pass(talk: &Talk, to: &str, cause: &str, asked: &Asked) -> Vec<Value> {
    let passed = passed(talk.owner.as_ref(), to, cause, asked.reason.as_ref(), &asked.metadata);
    list([withdrawn(talk, "passed", None), Some(passed)])
}

/// Control is released; an ending conversation closes with it, for the cause of the request.
fn release(talk: &Talk, cause: &str, asked: &Asked, around: &Around) -> Vec<Value> {
    let why = if cause == "integration_removed" { cause } else { "released" };
    let owner = talk.owner.as_ref().expect("somebody holds control");
    let close = talk.end_requested.as_ref().map(|request| {
        let last = asked.message.as_ref().or(request.last_message.as_ref());
        closed(talk, &request.cause, last, around.now)
    });
    list([withdrawn(talk, why, None), Some(released(owner, cause, asked.reason.as_ref(), &asked.metadata)), close])
}

fn ends_now(talk: &Talk, cause: &str, asked: &Asked, around: &Around) -> Vec<Value> {
    if talk.stage == Stage::Ending {
        return release(talk, cause, asked, around);
    }
    let last = asked.message.as_ref().or(around.last_message.as_ref());
    let requested = json!({
        "type": "conversation.end_requested", "cause": cause, "reason": asked.reason, "on_end": null,
        "deadline": null, "last_message_id": last
    });
    let released = talk.owner.as_ref().map(|owner| released(owner, cause, None, &Map::new()));
    let close = closed(talk, cause, last, around.now);
    list([Some(requested), withdrawn(talk, "end_requested", None), released, Some(close)])
}

// Words

impl Verb {
    pub fn is_a_channels(self) -> bool {
        matches!(self, Start | Message | EndUser)
    }

    pub fn is_an_integrations(self) -> bool {
        matches!(self, Pass | Offer | Accept | Decline | Withdraw | Take | Release | Reply | End)
    }

    pub fn is_nobodys(self) -> bool {
        matches!(self, Inactivity | Deadline | Expiry | Removal)
    }
}

impl OnEnd {
    pub fn said(&self) -> Value {
        match self {
            OnEnd::Release => json!("release"),
            OnEnd::Hold => json!("hold"),
            OnEnd::Pass(to) => json!({"pass": to}),
        }
    }
}

impl Asked {
    pub fn new(who: &str, verb: Verb) -> Asked {
        Asked {
            who: who.to_owned(),
            verb,
            to: None,
            reason: None,
            metadata: Map::new(),
            message: None,
            user: None,
            continued_from: None,
            sent_at: None,
            expires_in: None,
            epoch: None,
            version: None,
        }
    }

    pub fn to(mut self, to: &str) -> Asked {
        self.to = Some(to.to_owned());
        self
    }

    fn is_stale(&self, epoch: u64, version: u64) -> bool {
        self.epoch.is_some_and(|expected| expected != epoch) || self.version.is_some_and(|expected| expected != version)
    }
}

/// A time as it is written.
pub fn time(ms: u64) -> String {
    switchboard::domain::Time(ms).to_string()
}
