//! What can happen to a conversation: the ten control events, and why each of them came about.
//!
//! An event changes one thing. What it says of its own is here; what every event carries
//! besides (`seq`, `version`, the conversation after it) is added where it is recorded.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::OnEnd;
use super::metadata::{Metadata, Patch};
use super::words::{Name, Text, Time};

/// One thing that happened to a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session began: the first, or the next one after a close.
    Started(Started),
    /// A closed session goes on.
    Reopened(Reopened),
    /// Control was given to an integration that did not ask.
    Assigned(Assigned),
    /// Control went from one integration to another.
    Passed(Passed),
    /// Control was proposed to an integration.
    Offered(Offered),
    /// A proposal stands no longer.
    OfferWithdrawn(OfferWithdrawn),
    /// A proposal was taken up: control went over.
    Accepted(Accepted),
    /// Nobody holds control any more.
    Released(Released),
    /// The session is to end, which cannot be taken back.
    EndRequested(EndRequested),
    /// The session ended.
    Closed(Closed),
}

/// `conversation.started`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Started {
    pub metadata: Metadata,
    pub continued_from: Option<Text>,
}

/// `conversation.reopened`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Reopened {
    pub metadata: Metadata,
    pub continued_from: Option<Text>,
}

/// `control.assigned`; `metadata` is the whole, for whoever begins with it
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Assigned {
    pub to: Name,
    pub cause: AssignCause,
    pub metadata: Metadata,
}

/// `control.passed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Passed {
    pub from: Option<Name>,
    pub to: Name,
    pub cause: PassCause,
    pub reason: Option<Text>,
    pub metadata: Patch,
}

/// `control.offered`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Offered {
    pub from: Name,
    pub to: Name,
    pub expires_at: Option<Time>,
    pub reason: Option<Text>,
    pub metadata: Patch,
}

/// `control.offer_withdrawn`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct OfferWithdrawn {
    pub to: Name,
    pub cause: WithdrawCause,
    pub reason: Option<Text>,
}

/// `control.accepted`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Accepted {
    pub from: Name,
    pub to: Name,
    pub metadata: Patch,
}

/// `control.released`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Released {
    pub from: Name,
    pub cause: ReleaseCause,
    pub reason: Option<Text>,
    pub metadata: Patch,
}

/// `conversation.end_requested`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EndRequested {
    pub cause: EndCause,
    pub reason: Option<Text>,
    /// The owner's way to end that applied; none where nobody held control or the end was not an end user's.
    pub on_end: Option<OnEnd>,
    /// When control is released all the same; none where the end completes at once, or waits for ever.
    pub deadline: Option<Time>,
    pub last_message_id: Option<Text>,
}

/// `conversation.closed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Closed {
    pub cause: EndCause,
    pub last_message_id: Option<Text>,
    pub duration_ms: u64,
}

macro_rules! causes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs)]
        pub enum $name { $($variant),* }
    };
}

causes!(
    /// Why control was assigned.
    AssignCause { Start, Default }
);
causes!(
    /// Why control was passed.
    PassCause { Name, Next, OnEnd, Take, Operator }
);
causes!(
    /// Why an offer was withdrawn.
    WithdrawCause { Superseded, Declined, Withdrawn, Expired, Passed, Released, EndRequested, IntegrationRemoved }
);
causes!(
    /// Why control was released.
    ReleaseCause { Integration, Operator, EndRequested, EndTargetMissing, IntegrationRemoved, Deadline, Inactivity }
);
causes!(
    /// Who or what asked for the end.
    EndCause { EndUser, Integration, Operator, Inactivity }
);

/// The kinds of events of conversations, in the order of the contract's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Started,
    Reopened,
    Assigned,
    Passed,
    Offered,
    OfferWithdrawn,
    Accepted,
    Released,
    EndRequested,
    Closed,
}

impl Kind {
    /// Every kind; a kind's place here is its number.
    pub const ALL: [Kind; 10] = [
        Kind::Started,
        Kind::Reopened,
        Kind::Assigned,
        Kind::Passed,
        Kind::Offered,
        Kind::OfferWithdrawn,
        Kind::Accepted,
        Kind::Released,
        Kind::EndRequested,
        Kind::Closed,
    ];

    /// The full name, as in an event's `type`.
    pub fn full_name(self) -> &'static str {
        match self {
            Kind::Started => "switchboard.conversation.started",
            Kind::Reopened => "switchboard.conversation.reopened",
            Kind::Assigned => "switchboard.control.assigned",
            Kind::Passed => "switchboard.control.passed",
            Kind::Offered => "switchboard.control.offered",
            Kind::OfferWithdrawn => "switchboard.control.offer_withdrawn",
            Kind::Accepted => "switchboard.control.accepted",
            Kind::Released => "switchboard.control.released",
            Kind::EndRequested => "switchboard.conversation.end_requested",
            Kind::Closed => "switchboard.conversation.closed",
        }
    }

    /// The kind of that full name.
    pub fn from_full_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.full_name() == name)
    }
}

impl Event {
    /// Its own fields, as they are published.
    pub fn own_fields(&self) -> Value {
        let value = match self {
            Event::Started(e) => serde_json::to_value(e),
            Event::Reopened(e) => serde_json::to_value(e),
            Event::Assigned(e) => serde_json::to_value(e),
            Event::Passed(e) => serde_json::to_value(e),
            Event::Offered(e) => serde_json::to_value(e),
            Event::OfferWithdrawn(e) => serde_json::to_value(e),
            Event::Accepted(e) => serde_json::to_value(e),
            Event::Released(e) => serde_json::to_value(e),
            Event::EndRequested(e) => serde_json::to_value(e),
            Event::Closed(e) => serde_json::to_value(e),
        };
        value.expect("our values are JSON")
    }

    /// What kind of event it is.
    pub fn kind(&self) -> Kind {
        match self {
            Event::Started(_) => Kind::Started,
            Event::Reopened(_) => Kind::Reopened,
            Event::Assigned(_) => Kind::Assigned,
            Event::Passed(_) => Kind::Passed,
            Event::Offered(_) => Kind::Offered,
            Event::OfferWithdrawn(_) => Kind::OfferWithdrawn,
            Event::Accepted(_) => Kind::Accepted,
            Event::Released(_) => Kind::Released,
            Event::EndRequested(_) => Kind::EndRequested,
            Event::Closed(_) => Kind::Closed,
        }
    }

    /// Reads the event's own fields out of its `data`; what else stands there is passed over.
    pub fn from_data(kind: Kind, data: &str) -> serde_json::Result<Event> {
        Ok(match kind {
            Kind::Started => Event::Started(serde_json::from_str(data)?),
            Kind::Reopened => Event::Reopened(serde_json::from_str(data)?),
            Kind::Assigned => Event::Assigned(serde_json::from_str(data)?),
            Kind::Passed => Event::Passed(serde_json::from_str(data)?),
            Kind::Offered => Event::Offered(serde_json::from_str(data)?),
            Kind::OfferWithdrawn => Event::OfferWithdrawn(serde_json::from_str(data)?),
            Kind::Accepted => Event::Accepted(serde_json::from_str(data)?),
            Kind::Released => Event::Released(serde_json::from_str(data)?),
            Kind::EndRequested => Event::EndRequested(serde_json::from_str(data)?),
            Kind::Closed => Event::Closed(serde_json::from_str(data)?),
        })
    }

    /// Whether the owner changes with it, which is what `epoch` counts.
    pub fn changes_owner(&self) -> bool {
        matches!(self, Event::Assigned(_) | Event::Passed(_) | Event::Accepted(_) | Event::Released(_))
    }

    /// Which integrations it names, as owner or as offered.
    pub fn names(&self) -> [Option<&Name>; 2] {
        match self {
            Event::Assigned(e) => [Some(&e.to), None],
            Event::Passed(e) => [e.from.as_ref(), Some(&e.to)],
            Event::Offered(e) => [Some(&e.from), Some(&e.to)],
            Event::OfferWithdrawn(e) => [Some(&e.to), None],
            Event::Accepted(e) => [Some(&e.from), Some(&e.to)],
            Event::Released(e) => [Some(&e.from), None],
            Event::Started(_) | Event::Reopened(_) | Event::EndRequested(_) | Event::Closed(_) => [None, None],
        }
    }
}
