//! A conversation as its events have made it: who holds control, and how far its end has come.
//!
//! [`evolve`] writes down what happened and judges nothing; whether it may happen is decided in `decide`.

use super::config::Settings;
use super::event::{EndCause, Event};
use super::metadata::{Metadata, Patch};
use super::words::{By, ConversationId, Name, Text, Time};

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Under way.
    Open,
    /// Still open to talk: an end was requested and control is not yet released.
    Ending,
    /// Ended.
    Closed,
}

impl Status {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Ending => "ending",
            Status::Closed => "closed",
        }
    }
}

/// Control proposed and not yet accepted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct Offer {
    pub to: Name,
    pub by: By,
    pub reason: Option<Text>,
    pub metadata: Patch,
    pub expires_at: Option<Time>,
    pub offered_at: Time,
    pub seq: u64,
}

/// The request that a session end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct EndRequest {
    pub by: By,
    pub cause: EndCause,
    pub reason: Option<Text>,
    pub at: Time,
    pub deadline: Option<Time>,
    pub last_message_id: Option<Text>,
}

/// How a session ended; `by` is who completed it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct Close {
    pub by: By,
    pub cause: EndCause,
    pub at: Time,
    pub last_message_id: Option<Text>,
}

/// A conversation, folded from its events.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct Conversation {
    pub id: ConversationId,
    pub session: u32,
    pub channel: Name,
    pub user: Option<Text>,
    pub continued_from: Option<Text>,
    pub status: Status,
    pub owner: Option<Name>,
    /// When the owner last changed, also to nobody.
    pub owner_changed_at: Time,
    /// The event with which the owner last changed.
    pub owner_seq: u64,
    /// Whether that change was an accepted offer.
    pub owner_accepted: bool,
    /// Who held control before nobody did.
    pub last_owner: Option<Name>,
    /// The last activity noted in the log or carried by an event.
    pub last_activity_at: Time,
    pub offer: Option<Box<Offer>>,
    pub version: u64,
    pub epoch: u64,
    pub seq: u64,
    pub started_at: Time,
    pub last_message_id: Option<Text>,
    pub end_requested: Option<Box<EndRequest>>,
    pub closed: Option<Box<Close>>,
    pub metadata: Metadata,
}

/// What every event is recorded with, besides what it says of its own.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Stamp<'a> {
    pub seq: u64,
    pub at: Time,
    pub by: &'a By,
    pub user: Option<&'a Text>,
    pub last_activity_at: Time,
    pub last_message_id: Option<&'a Text>,
}

/// Activity, as noted in the log between events.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct Note {
    pub user: Option<Text>,
    pub last_activity_at: Time,
    pub last_message_id: Option<Text>,
}

/// What an integrator's user interface may show to the end user. Advice, not a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct Affordances {
    pub end_conversation: bool,
    pub send_message: bool,
    pub continue_on_other_channels: bool,
    pub start_new_conversation: bool,
    pub send_csat: bool,
}

/// Why an ending conversation is still open.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs)]
pub struct WaitingFor<'a> {
    pub owner: Option<&'a Name>,
    pub since: Time,
    pub deadline: Option<Time>,
}

/// Writes down one event.
pub fn evolve(c: &mut Conversation, event: &Event, stamp: &Stamp<'_>) {
    apply(c, event, stamp);
    c.version += 1;
    c.seq = stamp.seq;
    c.user = stamp.user.cloned();
    c.last_activity_at = stamp.last_activity_at;
    c.last_message_id = stamp.last_message_id.cloned();
    if event.changes_owner() {
        c.epoch += 1;
        c.owner_seq = stamp.seq;
        c.owner_changed_at = stamp.at;
        c.owner_accepted = matches!(event, Event::Accepted(_));
    }
}

fn apply(c: &mut Conversation, event: &Event, stamp: &Stamp<'_>) {
    match event {
        Event::Started(e) => {
            let (session, version, epoch) = (c.session + 1, c.version, c.epoch);
            *c = Conversation { session, version, epoch, ..Conversation::unborn(&c.id, &c.channel, stamp.at) };
            c.metadata = e.metadata.clone();
            c.continued_from = e.continued_from.clone();
        }
        Event::Reopened(_) => {
            c.status = Status::Open;
            c.end_requested = None;
            c.closed = None;
        }
        Event::Assigned(e) => c.owner = Some(e.to.clone()),
        Event::Passed(e) => {
            c.owner = Some(e.to.clone());
            c.metadata = c.metadata.merged(&e.metadata);
        }
        Event::Offered(e) => {
            c.offer = Some(Box::new(Offer {
                to: e.to.clone(),
                by: stamp.by.clone(),
                reason: e.reason.clone(),
                metadata: e.metadata.clone(),
                expires_at: e.expires_at,
                offered_at: stamp.at,
                seq: stamp.seq,
            }));
        }
        Event::OfferWithdrawn(_) => c.offer = None,
        Event::Accepted(e) => {
            let offered = c.offer.take().map(|offer| offer.metadata).unwrap_or_default();
            c.owner = Some(e.to.clone());
            c.metadata = c.metadata.merged(&offered).merged(&e.metadata);
        }
        Event::Released(e) => {
            c.last_owner = c.owner.take();
            c.metadata = c.metadata.merged(&e.metadata);
        }
        Event::EndRequested(e) => {
            c.status = Status::Ending;
            c.end_requested = Some(Box::new(EndRequest {
                by: stamp.by.clone(),
                cause: e.cause,
                reason: e.reason.clone(),
                at: stamp.at,
                deadline: e.deadline,
                last_message_id: e.last_message_id.clone(),
            }));
        }
        Event::Closed(e) => {
            c.status = Status::Closed;
            c.closed = Some(Box::new(Close {
                by: stamp.by.clone(),
                cause: e.cause,
                at: stamp.at,
                last_message_id: e.last_message_id.clone(),
            }));
        }
    }
}

impl Conversation {
    /// Before its first event.
    pub fn unborn(id: &ConversationId, channel: &Name, at: Time) -> Conversation {
        Conversation {
            id: id.clone(),
            session: 0,
            channel: channel.clone(),
            user: None,
            continued_from: None,
            status: Status::Open,
            owner: None,
            owner_changed_at: at,
            owner_seq: 0,
            owner_accepted: false,
            last_owner: None,
            offer: None,
            version: 0,
            epoch: 0,
            seq: 0,
            started_at: at,
            last_activity_at: at,
            last_message_id: None,
            end_requested: None,
            closed: None,
            metadata: Metadata::default(),
        }
    }

    /// Writes down a note.
    pub fn note(&mut self, note: &Note) {
        self.user = note.user.clone();
        self.last_activity_at = note.last_activity_at;
        self.last_message_id = note.last_message_id.clone();
    }

    /// Whether `name` holds control.
    pub fn is_owned_by(&self, name: &Name) -> bool {
        self.owner.as_ref() == Some(name)
    }

    /// Whether control is offered to `name`.
    pub fn is_offered_to(&self, name: &Name) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.to == *name)
    }

    /// Whether `name` holds control or is offered it.
    pub fn concerns(&self, name: &Name) -> bool {
        self.is_owned_by(name) || self.is_offered_to(name)
    }

    /// Since when the owner holds control.
    pub fn owner_since(&self) -> Option<Time> {
        self.owner.as_ref().map(|_| self.owner_changed_at)
    }

    /// Who must release an ending conversation, since when it is that one's turn, and until when.
    pub fn waiting_for(&self) -> Option<WaitingFor<'_>> {
        let request = self.end_requested.as_ref().filter(|_| self.status == Status::Ending)?;
        Some(WaitingFor {
            owner: self.owner.as_ref(),
            since: request.at.max(self.owner_changed_at),
            deadline: request.deadline,
        })
    }

    /// What to show to the end user under `settings`, those of the conversation's channel.
    pub fn affordances(&self, settings: &Settings) -> Affordances {
        let closed = self.status == Status::Closed;
        let ended_by_user = self.end_requested.as_ref().is_some_and(|request| request.cause == EndCause::EndUser);
        Affordances {
            end_conversation: self.status == Status::Open && settings.end_user_can_end,
            send_message: !closed || settings.after_close().takes_messages(),
            continue_on_other_channels: !settings.end_user_can_end,
            start_new_conversation: closed || settings.multi_conversations,
            send_csat: !(settings.legacy_csat && ended_by_user),
        }
    }
}
