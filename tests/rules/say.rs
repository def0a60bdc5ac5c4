//! The words of the stories: who, what they ask, what happens. Whatever a story does not mention is absent.

use serde_json::Value;
use switchboard::domain::command::{ChannelCommand, IntegrationCommand, OperatorCommand, Target};
use switchboard::domain::config::OnEnd;
use switchboard::domain::event::*;
use switchboard::domain::metadata::{Metadata, Patch};
use switchboard::domain::words::SentAt;
use switchboard::domain::{By, Event, Name, Role, Text, Time};

/// A name.
pub fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// The channel of that name.
pub fn channel(text: &str) -> By {
    By::caller(Role::Channel, name(text), None)
}

/// The channel that most stories are about.
pub fn web() -> By {
    channel("web")
}

/// The integration of that name.
pub fn integration(text: &str) -> By {
    By::caller(Role::Integration, name(text), None)
}

/// The integration that begins most stories.
pub fn bot() -> By {
    integration("bot")
}

/// The desk, which holds on at an end.
pub fn agents() -> By {
    integration("agents")
}

/// The operator of most stories.
pub fn olga() -> By {
    By::caller(Role::Operator, name("olga"), None)
}

/// What a command sets.
pub fn patch(value: Value) -> Patch {
    serde_json::from_value(value).expect("a patch")
}

/// The facts as they stand.
pub fn facts(value: Value) -> Metadata {
    serde_json::from_value(value).expect("metadata")
}

fn target(text: &str) -> Target {
    if text == "next" { Target::Next } else { Target::Name(name(text)) }
}

fn some(text: &str) -> Option<Text> {
    Some(text.into())
}

// What channels ask.

pub fn start() -> ChannelCommand {
    ChannelCommand::Start { user: None, owner: None, metadata: Patch::default(), continued_from: None }
}

pub fn start_with(user: &str, owner: &str, metadata: Value) -> ChannelCommand {
    let owner = Some(name(owner));
    ChannelCommand::Start { user: some(user), owner, metadata: patch(metadata), continued_from: None }
}

pub fn start_for(owner: &str) -> ChannelCommand {
    ChannelCommand::Start { user: None, owner: Some(name(owner)), metadata: Patch::default(), continued_from: None }
}

pub fn start_continuing(conversation: &str) -> ChannelCommand {
    ChannelCommand::Start { user: None, owner: None, metadata: Patch::default(), continued_from: some(conversation) }
}

pub fn message() -> ChannelCommand {
    ChannelCommand::Message { message_id: None, user: None, sent_at: None }
}

pub fn message_id(id: &str) -> ChannelCommand {
    ChannelCommand::Message { message_id: some(id), user: None, sent_at: None }
}

pub fn message_sent_at(text: &str) -> ChannelCommand {
    ChannelCommand::Message { message_id: None, user: None, sent_at: Some(SentAt::parse(text).expect("a time")) }
}

pub fn end() -> ChannelCommand {
    ChannelCommand::End { last_message_id: None, reason: None }
}

pub fn end_under(last_message_id: &str, reason: &str) -> ChannelCommand {
    ChannelCommand::End { last_message_id: some(last_message_id), reason: some(reason) }
}

// What integrations ask.

pub fn pass(to: &str) -> IntegrationCommand {
    IntegrationCommand::Pass { to: target(to), reason: None, metadata: Patch::default() }
}

pub fn pass_with(to: &str, reason: &str, metadata: Value) -> IntegrationCommand {
    IntegrationCommand::Pass { to: target(to), reason: some(reason), metadata: patch(metadata) }
}

pub fn offer(to: &str) -> IntegrationCommand {
    IntegrationCommand::Offer { to: target(to), reason: None, expires_in_ms: None, metadata: Patch::default() }
}

pub fn offer_for_ms(to: &str, expires_in_ms: u64) -> IntegrationCommand {
    let expires_in_ms = Some(expires_in_ms);
    IntegrationCommand::Offer { to: target(to), reason: None, expires_in_ms, metadata: Patch::default() }
}

pub fn offer_with(to: &str, reason: &str, metadata: Value) -> IntegrationCommand {
    IntegrationCommand::Offer { to: target(to), reason: some(reason), expires_in_ms: None, metadata: patch(metadata) }
}

pub fn accept() -> IntegrationCommand {
    IntegrationCommand::Accept { metadata: Patch::default() }
}

pub fn accept_with(metadata: Value) -> IntegrationCommand {
    IntegrationCommand::Accept { metadata: patch(metadata) }
}

pub fn decline() -> IntegrationCommand {
    IntegrationCommand::Decline { reason: None }
}

pub fn decline_because(reason: &str) -> IntegrationCommand {
    IntegrationCommand::Decline { reason: some(reason) }
}

pub fn withdraw() -> IntegrationCommand {
    IntegrationCommand::Withdraw
}

pub fn take() -> IntegrationCommand {
    IntegrationCommand::Take { reason: None, metadata: Patch::default() }
}

pub fn take_with(reason: &str, metadata: Value) -> IntegrationCommand {
    IntegrationCommand::Take { reason: some(reason), metadata: patch(metadata) }
}

pub fn release() -> IntegrationCommand {
    IntegrationCommand::Release { reason: None, metadata: Patch::default(), last_message_id: None }
}

pub fn release_with(reason: &str, metadata: Value) -> IntegrationCommand {
    IntegrationCommand::Release { reason: some(reason), metadata: patch(metadata), last_message_id: None }
}

pub fn release_under(last_message_id: &str) -> IntegrationCommand {
    let last_message_id = some(last_message_id);
    IntegrationCommand::Release { reason: None, metadata: Patch::default(), last_message_id }
}

pub fn reply() -> IntegrationCommand {
    IntegrationCommand::Reply { message_id: None }
}

pub fn finish() -> IntegrationCommand {
    IntegrationCommand::End { last_message_id: None, reason: None }
}

pub fn finish_under(last_message_id: &str, reason: &str) -> IntegrationCommand {
    IntegrationCommand::End { last_message_id: some(last_message_id), reason: some(reason) }
}

// What operators ask.

pub fn order_pass(to: &str) -> OperatorCommand {
    OperatorCommand::Pass { to: target(to), reason: None }
}

pub fn order_pass_because(to: &str, reason: &str) -> OperatorCommand {
    OperatorCommand::Pass { to: target(to), reason: some(reason) }
}

pub fn order_release() -> OperatorCommand {
    OperatorCommand::Release { reason: None }
}

pub fn order_end() -> OperatorCommand {
    OperatorCommand::End { reason: None }
}

pub fn order_end_because(reason: &str) -> OperatorCommand {
    OperatorCommand::End { reason: some(reason) }
}

// What happens.

pub fn started() -> Event {
    started_with(Value::Object(Default::default()))
}

pub fn started_with(metadata: Value) -> Event {
    Event::Started(Started { metadata: facts(metadata), continued_from: None })
}

pub fn started_continuing(conversation: &str) -> Event {
    Event::Started(Started { metadata: Metadata::default(), continued_from: some(conversation) })
}

pub fn reopened() -> Event {
    reopened_with(Value::Object(Default::default()), None)
}

pub fn reopened_with(metadata: Value, continued_from: Option<&str>) -> Event {
    Event::Reopened(Reopened { metadata: facts(metadata), continued_from: continued_from.map(Into::into) })
}

pub fn assigned(to: &str, cause: AssignCause) -> Event {
    assigned_with(to, cause, Value::Object(Default::default()))
}

pub fn assigned_with(to: &str, cause: AssignCause, metadata: Value) -> Event {
    Event::Assigned(Assigned { to: name(to), cause, metadata: facts(metadata) })
}

pub fn passed<'a>(from: impl Into<Option<&'a str>>, to: &str, cause: PassCause) -> Event {
    let from = from.into().map(name);
    Event::Passed(Passed { from, to: name(to), cause, reason: None, metadata: Patch::default() })
}

pub fn offered(from: &str, to: &str) -> Event {
    offered_until(from, to, None)
}

pub fn offered_until(from: &str, to: &str, expires_at: Option<Time>) -> Event {
    let (from, to) = (name(from), name(to));
    Event::Offered(Offered { from, to, expires_at, reason: None, metadata: Patch::default() })
}

pub fn offer_withdrawn(to: &str, cause: WithdrawCause) -> Event {
    Event::OfferWithdrawn(OfferWithdrawn { to: name(to), cause, reason: None })
}

pub fn accepted(from: &str, to: &str) -> Event {
    Event::Accepted(Accepted { from: name(from), to: name(to), metadata: Patch::default() })
}

pub fn released(from: &str, cause: ReleaseCause) -> Event {
    Event::Released(Released { from: name(from), cause, reason: None, metadata: Patch::default() })
}

/// An end that completes at once, and was not asked for under a mode.
pub fn end_requested(cause: EndCause) -> Event {
    end_requested_by(cause, None, None)
}

pub fn end_requested_by(cause: EndCause, on_end: Option<OnEnd>, deadline: Option<Time>) -> Event {
    Event::EndRequested(EndRequested { cause, reason: None, on_end, deadline, last_message_id: None })
}

pub fn closed(cause: EndCause, duration_ms: u64) -> Event {
    Event::Closed(Closed { cause, last_message_id: None, duration_ms })
}

/// Says more of an event than stories mostly do.
pub trait Saying {
    /// The caller's reason.
    fn because(self, reason: &str) -> Event;
    /// What the command set.
    fn setting(self, metadata: Value) -> Event;
    /// The message under which it is noted.
    fn under(self, last_message_id: &str) -> Event;
}

impl Saying for Event {
    fn because(mut self, reason: &str) -> Event {
        match &mut self {
            Event::Passed(Passed { reason: place, .. })
            | Event::Offered(Offered { reason: place, .. })
            | Event::OfferWithdrawn(OfferWithdrawn { reason: place, .. })
            | Event::Released(Released { reason: place, .. })
            | Event::EndRequested(EndRequested { reason: place, .. }) => *place = some(reason),
            other => panic!("{other:?} has no reason"),
        }
        self
    }

    fn setting(mut self, metadata: Value) -> Event {
        match &mut self {
            Event::Passed(Passed { metadata: place, .. })
            | Event::Offered(Offered { metadata: place, .. })
            | Event::Accepted(Accepted { metadata: place, .. })
            | Event::Released(Released { metadata: place, .. }) => *place = patch(metadata),
            other => panic!("{other:?} sets nothing"),
        }
        self
    }

    fn under(mut self, last_message_id: &str) -> Event {
        match &mut self {
            Event::EndRequested(EndRequested { last_message_id: place, .. })
            | Event::Closed(Closed { last_message_id: place, .. }) => *place = some(last_message_id),
            other => panic!("{other:?} is noted under no message"),
        }
        self
    }
}
