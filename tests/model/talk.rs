//! A conversation in plain words: what its events make of it, what is shown of it, and when something falls due.

use serde_json::{Map, Value, json};

use super::contract::{Asked, Rules, Span, Verb, time};
use super::metadata::merged;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Open,
    Ending,
    Closed,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    pub to: String,
    pub by: Value,
    pub reason: Value,
    pub metadata: Map<String, Value>,
    pub expires_at: Option<u64>,
    pub at: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub by: Value,
    pub cause: String,
    pub reason: Value,
    pub at: u64,
    pub deadline: Option<u64>,
    pub last_message: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Close {
    pub by: Value,
    pub cause: String,
    pub at: u64,
    pub last_message: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Talk {
    pub id: String,
    pub session: u64,
    pub channel: String,
    pub user: Option<String>,
    pub continued_from: Option<String>,
    pub stage: Stage,
    pub owner: Option<String>,
    pub owner_changed_at: u64,
    pub is_accepted: bool,
    pub last_owner: Option<String>,
    pub offer: Option<Offer>,
    pub version: u64,
    pub epoch: u64,
    pub started_at: u64,
    pub last_activity_at: u64,
    pub last_message: Option<String>,
    pub end_requested: Option<Request>,
    pub closed: Option<Close>,
    pub metadata: Map<String, Value>,
    /// Integrations that were removed or disabled while it rested on them.
    pub gone: Vec<String>,
    /// When the inactivity timeout that applies to it last changed by a new configuration.
    pub ruled_since: u64,
}

/// What every event is recorded with.
#[derive(Debug, Clone)]
pub struct Stamp {
    pub at: u64,
    pub by: Value,
    pub user: Option<String>,
    pub last_activity_at: u64,
    pub last_message: Option<String>,
}

impl Talk {
    /// Before its first event.
    pub fn unborn(id: &str, channel: &str, at: u64) -> Talk {
        Talk {
            id: id.to_owned(),
            session: 0,
            channel: channel.to_owned(),
            user: None,
            continued_from: None,
            stage: Stage::Open,
            owner: None,
            owner_changed_at: at,
            is_accepted: false,
            last_owner: None,
            offer: None,
            version: 0,
            epoch: 0,
            started_at: at,
            last_activity_at: at,
            last_message: None,
            end_requested: None,
            closed: None,
            metadata: Map::new(),
            gone: Vec::new(),
            ruled_since: 0,
        }
    }

    /// Writes down one event.
    pub fn happened(&mut self, event: &Value, stamp: &Stamp) {
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let set = event["metadata"].as_object().cloned().unwrap_or_default();
        let cause = text("cause").unwrap_or_default();
        let kind = event["type"].as_str().expect("a type");
        match kind {
            "conversation.started" => {
                let (version, epoch, ruled_since) = (self.version, self.epoch, self.ruled_since);
                let fresh = Talk::unborn(&self.id, &self.channel, stamp.at);
                let continued_from = text("continued_from");
                let session = self.session + 1;
                *self = Talk { session, version, epoch, ruled_since, continued_from, metadata: set.clone(), ..fresh };
            }
            "conversation.reopened" => {
                (self.stage, self.end_requested, self.closed) = (Stage::Open, None, None);
            }
            "control.assigned" => self.owner = text("to"),
            "control.offered" => {
                self.offer = Some(Offer {
                    to: text("to").expect("a target"),
                    by: stamp.by.clone(),
                    reason: event["reason"].clone(),
                    metadata: set.clone(),
                    expires_at: moment(&event["expires_at"]),
                    at: stamp.at,
                });
            }
            "control.offer_withdrawn" => self.offer = None,
            "control.passed" => {
                self.owner = text("to");
                self.metadata = merged(&self.metadata, &set);
            }
            "control.accepted" => {
                self.owner = text("to");
                let offered = self.offer.take().expect("an offer").metadata;
                self.metadata = merged(&merged(&self.metadata, &offered), &set);
            }
            "control.released" => {
                self.last_owner = self.owner.take();
                self.metadata = merged(&self.metadata, &set);
            }
            "conversation.end_requested" => {
                self.stage = Stage::Ending;
                self.end_requested = Some(Request {
                    by: stamp.by.clone(),
                    cause,
                    reason: event["reason"].clone(),
                    at: stamp.at,
                    deadline: moment(&event["deadline"]),
                    last_message: text("last_message_id"),
                });
            }
            "conversation.closed" => {
                self.stage = Stage::Closed;
                let last_message = event["last_message_id"].clone();
                self.closed = Some(Close { by: stamp.by.clone(), cause, at: stamp.at, last_message });
            }
            other => panic!("{other} is no event"),
        }
        self.version += 1;
        self.user.clone_from(&stamp.user);
        self.last_activity_at = stamp.last_activity_at;
        self.last_message.clone_from(&stamp.last_message);
        if matches!(kind, "control.assigned" | "control.passed" | "control.accepted" | "control.released") {
            self.epoch += 1;
            self.owner_changed_at = stamp.at;
            self.is_accepted = kind == "control.accepted";
        }
    }

    /// The whole state, as answers and queries give it, but for `seq`.
    pub fn shown(&self, rules: &Rules) -> Value {
        let settings = rules.of(&self.channel);
        let is_closed = self.stage == Stage::Closed;
        let by_user = self.end_requested.as_ref().is_some_and(|request| request.cause == "end_user");
        let refuses = !settings.reopen && settings.multi;
        json!({
            "id": self.id, "session": self.session, "channel": self.channel, "user": self.user,
            "continued_from": self.continued_from, "status": self.stage.said(), "owner": self.owner,
            "owner_since": self.owner.as_ref().map(|_| time(self.owner_changed_at)),
            "offer": self.offer.as_ref().map(|offer| json!({
                "to": offer.to, "by": offer.by, "reason": offer.reason, "metadata": offer.metadata,
                "expires_at": offer.expires_at.map(time)
            })),
            "version": self.version, "epoch": self.epoch, "started_at": time(self.started_at),
            "last_activity_at": time(self.last_activity_at), "last_message_id": self.last_message,
            "end_requested": self.end_requested.as_ref().map(|request| json!({
                "by": request.by, "cause": request.cause, "reason": request.reason, "at": time(request.at),
                "deadline": request.deadline.map(time), "last_message_id": request.last_message
            })),
            "closed": self.closed.as_ref().map(|closed| json!({
                "by": closed.by, "cause": closed.cause, "at": time(closed.at),
                "last_message_id": closed.last_message
            })),
            "metadata": self.metadata,
            "waiting_for": self.end_requested.as_ref().filter(|_| self.stage == Stage::Ending).map(|request| json!({
                "owner": self.owner, "since": time(request.at.max(self.owner_changed_at)),
                "deadline": request.deadline.map(time)
            })),
            "affordances": {
                "end_conversation": self.stage == Stage::Open && settings.user_can_end,
                "send_message": !(is_closed && refuses),
                "continue_on_other_channels": !settings.user_can_end,
                "start_new_conversation": is_closed || settings.multi,
                "send_csat": !(settings.legacy_csat && by_user)
            }
        })
    }

    /// The six fields of errors, but for `seq`.
    pub fn short(&self) -> Value {
        let (status, owner) = (self.stage.said(), &self.owner);
        json!({"id": self.id, "status": status, "owner": owner, "version": self.version, "epoch": self.epoch})
    }

    /// What falls due next, and when, given the last sign of life of the end user: by due time.
    pub fn due(&self, rules: &Rules, active_at: u64, ready_since: u64) -> Option<(u64, Verb)> {
        let put_off = |due: u64, wait: u64| due.max(ready_since + wait.min(60_000));
        let expiry = self.offer.as_ref().and_then(|offer| {
            let due = offer.expires_at?;
            Some((put_off(due, due - offer.at), due, Verb::Expiry))
        });
        let deadline = self.end_requested.as_ref().filter(|_| self.stage == Stage::Ending).and_then(|request| {
            let due = request.deadline?;
            Some((put_off(due, due - request.at), due, Verb::Deadline))
        });
        let silence = rules.rest(self).filter(|_| self.stage == Stage::Open).map(|wait| {
            let due = active_at.max(self.owner_changed_at).max(self.ruled_since) + wait;
            (put_off(due, wait), due, Verb::Inactivity)
        });
        let all = [expiry, deadline, silence];
        all.into_iter().flatten().min_by_key(|(at, due, _)| (*at, *due)).map(|(at, _, what)| (at, what))
    }

    /// Whether activity is to be noted: at most once in a tenth of the timeout, or an hour with `never`.
    pub fn is_to_be_noted(&self, rules: &Rules, now: u64) -> bool {
        let every: Span = rules.rest(self).map(|wait| wait / 10);
        now.saturating_sub(self.last_activity_at) >= every.unwrap_or(3_600_000)
    }

    /// A new configuration: whoever is gone is gone, and a timeout that changed counts from now.
    pub fn ruled_anew(&mut self, before: &Rules, after: &Rules, now: u64) {
        let is_gone = |name: &String| after.enabled(name).is_none();
        let holders = self.owner.iter().chain(self.offer.as_ref().map(|offer| &offer.to));
        self.gone = holders.filter(|name| is_gone(name)).cloned().collect();
        if before.rest(self) != after.rest(self) {
            self.ruled_since = now;
        }
    }
}

impl Stage {
    pub fn said(self) -> &'static str {
        match self {
            Stage::Open => "open",
            Stage::Ending => "ending",
            Stage::Closed => "closed",
        }
    }
}

impl Asked {
    /// Who it is, as it is recorded.
    pub fn by(&self) -> Value {
        let role = match self.verb {
            verb if verb.is_a_channels() => "channel",
            verb if verb.is_an_integrations() => "integration",
            Verb::Removal => return json!({"role": "config"}),
            verb if verb.is_nobodys() => return json!({"role": "timer"}),
            _ => "operator",
        };
        json!({"role": role, "name": self.who, "actor": null})
    }
}

fn moment(value: &Value) -> Option<u64> {
    Some(switchboard::domain::Time::parse(value.as_str()?).expect("a time").0)
}
