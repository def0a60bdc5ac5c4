//! The rules: given a conversation, when a command, then events and nothing else.
//!
//! Checks stand in the order in which the contract lists the refusals. No clock, no randomness,
//! no log: what a rule must know arrives with the command.

use super::command::{ChannelCommand, Command, Due, Expected, IntegrationCommand, OperatorCommand, Target};
use super::config::{AfterClose, Config, Integration, OnEnd};
use super::conversation::{Conversation, Status};
use super::event::*;
use super::metadata::{Metadata, Patch};
use super::refusal::Refusal;
use super::words::{By, ConversationId, Name, Role, Text, Time};

/// What a rule knows beside the conversation.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Scene<'a> {
    pub id: &'a ConversationId,
    pub by: &'a By,
    pub now: Time,
    pub config: &'a Config,
    /// The last message that was reported, whether or not it was noted yet.
    pub last_message_id: Option<&'a Text>,
    /// How many conversations of the caller's channel are open.
    pub open_conversations: u64,
}

/// What comes of a command that is not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// These events happen, in this order. None for a message that is only relayed.
    Applied(Vec<Event>),
    /// What was asked is already so.
    Unchanged,
}

/// Decides one command.
pub fn decide(
    conversation: Option<&Conversation>,
    command: &Command,
    expected: Expected,
    scene: &Scene<'_>,
) -> Result<Verdict, Refusal> {
    if let Some(c) = conversation {
        check_channel(c, scene)?;
        if c.status == Status::Closed {
            return after_close(c, command, expected, scene);
        }
    } else if !command.may_begin() {
        return Err(Refusal::ConversationNotFound);
    } else if let Some(channel) = &scene.by.name {
        check_room(scene, channel)?;
    }
    check_expected(conversation, expected)?;
    match (command, conversation) {
        (Command::Channel(command), Some(c)) => channel(c, command, scene),
        (Command::Channel(command), None) => begin(None, command, scene),
        (Command::Integration(command), Some(c)) => integration(c, command, scene),
        (Command::Operator(command), Some(c)) => operator(c, command, scene),
        (Command::Due(due), Some(c)) => Ok(fell_due(c, *due, scene)),
        (_, None) => Err(Refusal::ConversationNotFound),
    }
}

/// Refuses a caller that the configuration does not know.
pub fn check_caller(by: &By, config: &Config) -> Result<(), Refusal> {
    match (by.role, &by.name) {
        (Role::Integration, Some(name)) if config.enabled(name).is_none() => {
            Err(Refusal::UnknownIntegration(name.clone()))
        }
        _ => Ok(()),
    }
}

/// Refuses a channel to which the conversation does not belong.
pub fn check_channel(c: &Conversation, scene: &Scene<'_>) -> Result<(), Refusal> {
    match scene.by.role {
        Role::Channel if scene.by.name.as_ref() != Some(&c.channel) => Err(Refusal::WrongChannel),
        _ => Ok(()),
    }
}

fn check_expected(conversation: Option<&Conversation>, expected: Expected) -> Result<(), Refusal> {
    let (epoch, version) = conversation.map_or((0, 0), |c| (c.epoch, c.version));
    let is_current = expected.epoch.is_none_or(|e| e == epoch) && expected.version.is_none_or(|v| v == version);
    if is_current { Ok(()) } else { Err(Refusal::StaleVersion) }
}

fn check_room(scene: &Scene<'_>, channel: &Name) -> Result<(), Refusal> {
    let limit = scene.config.settings(channel).open_conversations_max;
    if scene.open_conversations < limit { Ok(()) } else { Err(Refusal::LimitReached { limit }) }
}

// Channels

fn channel(c: &Conversation, command: &ChannelCommand, scene: &Scene<'_>) -> Result<Verdict, Refusal> {
    match command {
        ChannelCommand::Start { owner, metadata, .. } => {
            owner.as_ref().map(|owner| enabled_target(owner, scene)).transpose()?;
            Metadata::default().checked_merge(metadata)?;
            Ok(Verdict::Unchanged)
        }
        ChannelCommand::Message { .. } => {
            Ok(Verdict::Applied(match (&c.owner, scene.config.default_for(&c.channel)) {
                (None, Some(to)) => vec![assigned(to, AssignCause::Default, c.metadata.clone())],
                _ => Vec::new(),
            }))
        }
        ChannelCommand::End { last_message_id, reason } => {
            if !scene.config.settings(&c.channel).end_user_can_end {
                return Err(Refusal::EndNotAllowed);
            }
            if c.status == Status::Ending {
                return Ok(Verdict::Unchanged);
            }
            Ok(Verdict::Applied(end_users_end(c, last_message_id.as_ref(), reason.clone(), scene)))
        }
    }
}

/// A session begins: the conversation's first, or the next one of a single thread.
fn begin(before: Option<&Conversation>, command: &ChannelCommand, scene: &Scene<'_>) -> Result<Verdict, Refusal> {
    let name = scene.by.name.as_ref().expect("channels have names");
    let channel = before.map_or(name, |c| &c.channel);
    let (owner, patch, continued_from) = match command {
        ChannelCommand::Start { owner, metadata, continued_from, .. } => {
            (owner.as_ref(), metadata.clone(), continued_from.clone())
        }
        ChannelCommand::Message { .. } => (None, Patch::default(), None),
        ChannelCommand::End { .. } => return Err(Refusal::ConversationNotFound),
    };
    let owner = owner.map(|owner| enabled_target(owner, scene)).transpose()?;
    let metadata = Metadata::default().checked_merge(&patch)?;
    let mut events = vec![Event::Started(Started { metadata: metadata.clone(), continued_from })];
    match (owner, scene.config.default_for(channel)) {
        (Some(to), _) => events.push(assigned(to, AssignCause::Start, metadata)),
        (None, Some(to)) => events.push(assigned(to, AssignCause::Default, metadata)),
        (None, None) => {}
    }
    Ok(Verdict::Applied(events))
}

fn reopen(c: &Conversation, scene: &Scene<'_>) -> Result<Verdict, Refusal> {
    let mut events =
        vec![Event::Reopened(Reopened { metadata: c.metadata.clone(), continued_from: c.continued_from.clone() })];
    if let Some(to) = scene.config.default_for(&c.channel) {
        events.push(assigned(to, AssignCause::Default, c.metadata.clone()));
    }
    Ok(Verdict::Applied(events))
}

/// The end user's end, in the four ways that it can go.
fn end_users_end(
    c: &Conversation,
    last_message_id: Option<&Text>,
    reason: Option<Text>,
    scene: &Scene<'_>,
) -> Vec<Event> {
    let last_message_id = last_message_id.or(scene.last_message_id).cloned();
    let requested = |on_end: Option<&OnEnd>, deadline| {
        Event::EndRequested(EndRequested {
            cause: EndCause::EndUser,
            reason: reason.clone(),
            on_end: on_end.cloned(),
            deadline,
            last_message_id: last_message_id.clone(),
        })
    };
    let wait = scene.config.settings(&c.channel).release_deadline;
    let deadline = wait.ms().map(|ms| scene.now.plus_ms(ms));
    let closed = closed(c, EndCause::EndUser, last_message_id.clone(), scene);
    let withdrawn = withdrawn(c, WithdrawCause::EndRequested, None);
    let Some(owner) = &c.owner else {
        return [Some(requested(None, None)), withdrawn, Some(closed)].into_iter().flatten().collect();
    };
    let on_end = scene.config.enabled(owner).map_or(&OnEnd::Release, |integration| &integration.on_end);
    let at_once = |cause| {
        let released = released(owner, cause, None, Patch::default());
        [Some(requested(Some(on_end), None)), withdrawn.clone(), Some(released), Some(closed.clone())]
            .into_iter()
            .flatten()
            .collect()
    };
    match on_end {
        OnEnd::Release => at_once(ReleaseCause::EndRequested),
        OnEnd::Pass(to) if scene.config.enabled(to).is_none() => at_once(ReleaseCause::EndTargetMissing),
        OnEnd::Pass(to) if to != owner => {
            let passed = passed(Some(owner), to, PassCause::OnEnd, None, Patch::default());
            [Some(requested(Some(on_end), deadline)), withdrawn, Some(passed)].into_iter().flatten().collect()
        }
        OnEnd::Hold | OnEnd::Pass(_) => {
            [Some(requested(Some(on_end), deadline)), withdrawn].into_iter().flatten().collect()
        }
    }
}

// Integrations

fn integration(c: &Conversation, command: &IntegrationCommand, scene: &Scene<'_>) -> Result<Verdict, Refusal> {
    let me = scene.by.name.as_ref().expect("integrations have names");
    let applied = |events: Vec<Event>| Ok(Verdict::Applied(events));
    match command {
        IntegrationCommand::Pass { to, reason, metadata } => {
            check_control(c, me)?;
            let (to, cause) = resolve(to, me, scene)?;
            c.metadata.checked_merge(metadata)?;
            if to == me {
                return Ok(Verdict::Unchanged);
            }
            applied(pass(c, to, cause, reason.clone(), metadata.clone()))
        }
        IntegrationCommand::Offer { to, reason, expires_in_ms, metadata } => {
            check_control(c, me)?;
            if c.status == Status::Ending {
                return Err(Refusal::ConversationEnding);
            }
            let (to, _) = resolve(to, me, scene)?;
            if to == me {
                return Err(Refusal::InvalidTarget(
                    "expected another integration to offer control to, got the owner".into(),
                ));
            }
            c.metadata.checked_merge(metadata)?;
            let offered = Event::Offered(Offered {
                from: me.clone(),
                to: to.clone(),
                expires_at: expires_in_ms.map(|ms| scene.now.plus_ms(ms)),
                reason: reason.clone(),
                metadata: metadata.clone(),
            });
            applied(withdrawn(c, WithdrawCause::Superseded, None).into_iter().chain([offered]).collect())
        }
        IntegrationCommand::Accept { metadata } => accept(c, me, metadata),
        IntegrationCommand::Decline { reason } => {
            check_offered(c, me)?;
            applied(withdrawn(c, WithdrawCause::Declined, reason.clone()).into_iter().collect())
        }
        IntegrationCommand::Withdraw => {
            check_control(c, me)?;
            Ok(withdrawn(c, WithdrawCause::Withdrawn, None)
                .map_or(Verdict::Unchanged, |event| Verdict::Applied(vec![event])))
        }
        IntegrationCommand::Take { reason, metadata } => {
            if !scene.config.enabled(me).is_some_and(|integration| integration.can_take) {
                return Err(Refusal::NotAllowed("this integration may not take control: see can_take"));
            }
            c.metadata.checked_merge(metadata)?;
            if c.is_owned_by(me) {
                return Ok(Verdict::Unchanged);
            }
            applied(pass(c, me, PassCause::Take, reason.clone(), metadata.clone()))
        }
        IntegrationCommand::Release { reason, metadata, last_message_id } => {
            check_control(c, me)?;
            c.metadata.checked_merge(metadata)?;
            let last = last_message_id.as_ref();
            applied(release(c, ReleaseCause::Integration, reason.clone(), metadata.clone(), last, scene))
        }
        IntegrationCommand::Reply { .. } => {
            check_control(c, me)?;
            applied(Vec::new())
        }
        IntegrationCommand::End { last_message_id, reason } => {
            check_control(c, me)?;
            let last = last_message_id.as_ref();
            applied(end_now(c, EndCause::Integration, ReleaseCause::Integration, reason.clone(), last, scene))
        }
    }
}

fn accept(c: &Conversation, me: &Name, metadata: &Patch) -> Result<Verdict, Refusal> {
    if c.owner_accepted && c.is_owned_by(me) {
        c.metadata.checked_merge(metadata)?;
        return Ok(Verdict::Unchanged);
    }
    check_offered(c, me)?;
    let (Some(offer), Some(owner)) = (&c.offer, &c.owner) else { return Err(Refusal::NotOffered) };
    c.metadata.merged(&offer.metadata).checked_merge(metadata)?;
    let accepted = Accepted { from: owner.clone(), to: me.clone(), metadata: metadata.clone() };
    Ok(Verdict::Applied(vec![Event::Accepted(accepted)]))
}

fn check_control(c: &Conversation, me: &Name) -> Result<(), Refusal> {
    if c.is_owned_by(me) { Ok(()) } else { Err(Refusal::NotInControl { owner: c.owner.clone() }) }
}

fn check_offered(c: &Conversation, me: &Name) -> Result<(), Refusal> {
    if c.is_offered_to(me) { Ok(()) } else { Err(Refusal::NotOffered) }
}

fn resolve<'a>(to: &'a Target, me: &Name, scene: &Scene<'a>) -> Result<(&'a Name, PassCause), Refusal> {
    match to {
        Target::Name(name) => Ok((enabled_target(name, scene)?, PassCause::Name)),
        Target::Next => {
            let next = scene.config.enabled(me).and_then(|integration: &Integration| integration.next.as_ref());
            let next =
                next.ok_or_else(|| Refusal::InvalidTarget(format!("integration {me} has no next configured")))?;
            Ok((enabled_target(next, scene)?, PassCause::Next))
        }
    }
}

fn enabled_target<'a>(name: &'a Name, scene: &Scene<'_>) -> Result<&'a Name, Refusal> {
    match scene.config.enabled(name) {
        Some(_) => Ok(name),
        None => Err(Refusal::InvalidTarget(format!("expected an enabled integration, got {name}"))),
    }
}

// Operators

fn operator(c: &Conversation, command: &OperatorCommand, scene: &Scene<'_>) -> Result<Verdict, Refusal> {
    match command {
        OperatorCommand::Pass { to, reason } => {
            let Target::Name(to) = to else {
                return Err(Refusal::InvalidTarget(
                    "expected the name of an integration, got \"next\": an operator has none".into(),
                ));
            };
            enabled_target(to, scene)?;
            if c.is_owned_by(to) {
                return Ok(Verdict::Unchanged);
            }
            Ok(Verdict::Applied(pass(c, to, PassCause::Operator, reason.clone(), Patch::default())))
        }
        OperatorCommand::Release { .. } if c.owner.is_none() => Ok(Verdict::Unchanged),
        OperatorCommand::Release { reason } => {
            let events = release(c, ReleaseCause::Operator, reason.clone(), Patch::default(), None, scene);
            Ok(Verdict::Applied(events))
        }
        OperatorCommand::End { reason } => {
            let events = end_now(c, EndCause::Operator, ReleaseCause::Operator, reason.clone(), None, scene);
            Ok(Verdict::Applied(events))
        }
    }
}

// Time, and what the configuration took away

/// Guarded by the state that it was set for: what is no longer so, or not so yet, changes nothing.
fn fell_due(c: &Conversation, due: Due, scene: &Scene<'_>) -> Verdict {
    let is_past = |at: Time| at <= scene.now;
    let deadline = c.end_requested.as_ref().and_then(|request| request.deadline);
    let expiry = c.offer.as_ref().and_then(|offer| offer.expires_at);
    let events = match due {
        Due::Inactivity if c.status == Status::Open => {
            end_now(c, EndCause::Inactivity, ReleaseCause::Inactivity, None, None, scene)
        }
        Due::Deadline if c.status == Status::Ending && deadline.is_some_and(is_past) => {
            release(c, ReleaseCause::Deadline, None, Patch::default(), None, scene)
        }
        Due::OfferExpiry if expiry.is_some_and(is_past) => {
            withdrawn(c, WithdrawCause::Expired, None).into_iter().collect()
        }
        Due::Removal => removal(c, scene),
        Due::Inactivity | Due::Deadline | Due::OfferExpiry => Vec::new(),
    };
    if events.is_empty() { Verdict::Unchanged } else { Verdict::Applied(events) }
}

/// Whether an integration that the conversation rests on is configured no longer.
pub fn is_orphaned(c: &Conversation, config: &Config) -> bool {
    owner_is_gone(c, config) || offer_is_gone(c, config)
}

fn owner_is_gone(c: &Conversation, config: &Config) -> bool {
    c.owner.as_ref().is_some_and(|owner| config.is_gone_since(owner, c.owner_seq))
}

fn offer_is_gone(c: &Conversation, config: &Config) -> bool {
    c.offer.as_ref().is_some_and(|offer| config.is_gone_since(&offer.to, offer.seq))
}

fn removal(c: &Conversation, scene: &Scene<'_>) -> Vec<Event> {
    if owner_is_gone(c, scene.config) {
        return release(c, ReleaseCause::IntegrationRemoved, None, Patch::default(), None, scene);
    }
    if offer_is_gone(c, scene.config) {
        return withdrawn(c, WithdrawCause::IntegrationRemoved, None).into_iter().collect();
    }
    Vec::new()
}

// After the close

/// A conversation that is closed answers few things otherwise than with `conversation_closed`.
fn after_close(c: &Conversation, command: &Command, expected: Expected, scene: &Scene<'_>) -> Result<Verdict, Refusal> {
    let way = scene.config.settings(&c.channel).after_close();
    match command {
        Command::Channel(ChannelCommand::End { .. }) => Ok(Verdict::Unchanged),
        // Nobody holds what is closed, and nobody needs to end it.
        Command::Operator(OperatorCommand::Release { .. } | OperatorCommand::End { .. }) => Ok(Verdict::Unchanged),
        Command::Integration(IntegrationCommand::End { .. }) if c.last_owner == scene.by.name => Ok(Verdict::Unchanged),
        Command::Channel(ChannelCommand::Message { sent_at: Some(sent_at), .. })
            if c.closed.as_ref().is_some_and(|closed| sent_at.is_before(closed.at)) =>
        {
            Ok(Verdict::Unchanged)
        }
        Command::Channel(ChannelCommand::Start { .. }) if way == AfterClose::Reopens => Ok(Verdict::Unchanged),
        Command::Channel(ChannelCommand::Message { .. }) if way == AfterClose::Reopens => {
            check_room(scene, &c.channel)?;
            check_expected(Some(c), expected)?;
            reopen(c, scene)
        }
        Command::Channel(command) if way == AfterClose::StartsOver => {
            check_room(scene, &c.channel)?;
            check_expected(Some(c), expected)?;
            begin(Some(c), command, scene)
        }
        Command::Due(_) => Ok(Verdict::Unchanged),
        _ => Err(Refusal::ConversationClosed),
    }
}

// What several rules do

fn pass(c: &Conversation, to: &Name, cause: PassCause, reason: Option<Text>, metadata: Patch) -> Vec<Event> {
    let withdrawn = withdrawn(c, WithdrawCause::Passed, None);
    withdrawn.into_iter().chain([passed(c.owner.as_ref(), to, cause, reason, metadata)]).collect()
}

/// Control is released; a conversation whose end was requested closes with it.
fn release(
    c: &Conversation,
    cause: ReleaseCause,
    reason: Option<Text>,
    metadata: Patch,
    last_message_id: Option<&Text>,
    scene: &Scene<'_>,
) -> Vec<Event> {
    let withdraw_cause = match cause {
        ReleaseCause::IntegrationRemoved => WithdrawCause::IntegrationRemoved,
        _ => WithdrawCause::Released,
    };
    let mut events: Vec<Event> = withdrawn(c, withdraw_cause, None).into_iter().collect();
    events.extend(c.owner.as_ref().map(|owner| released(owner, cause, reason, metadata)));
    if let Some(request) = &c.end_requested {
        let last = last_message_id.or(request.last_message_id.as_ref()).cloned();
        events.push(closed(c, request.cause, last, scene));
    }
    events
}

/// The session ends whatever holds it: end requested, released, closed in one decision.
fn end_now(
    c: &Conversation,
    cause: EndCause,
    release_cause: ReleaseCause,
    reason: Option<Text>,
    last_message_id: Option<&Text>,
    scene: &Scene<'_>,
) -> Vec<Event> {
    if c.status == Status::Ending {
        return release(c, release_cause, reason, Patch::default(), last_message_id, scene);
    }
    let last_message_id = last_message_id.or(scene.last_message_id).cloned();
    let requested = Event::EndRequested(EndRequested {
        cause,
        reason,
        on_end: None,
        deadline: None,
        last_message_id: last_message_id.clone(),
    });
    let mut events = vec![requested];
    events.extend(withdrawn(c, WithdrawCause::EndRequested, None));
    events.extend(c.owner.as_ref().map(|owner| released(owner, release_cause, None, Patch::default())));
    events.push(closed(c, cause, last_message_id, scene));
    events
}

fn assigned(to: &Name, cause: AssignCause, metadata: Metadata) -> Event {
    Event::Assigned(Assigned { to: to.clone(), cause, metadata })
}

fn passed(from: Option<&Name>, to: &Name, cause: PassCause, reason: Option<Text>, metadata: Patch) -> Event {
    Event::Passed(Passed { from: from.cloned(), to: to.clone(), cause, reason, metadata })
}

fn released(from: &Name, cause: ReleaseCause, reason: Option<Text>, metadata: Patch) -> Event {
    Event::Released(Released { from: from.clone(), cause, reason, metadata })
}

fn withdrawn(c: &Conversation, cause: WithdrawCause, reason: Option<Text>) -> Option<Event> {
    let offer = c.offer.as_ref()?;
    Some(Event::OfferWithdrawn(OfferWithdrawn { to: offer.to.clone(), cause, reason }))
}

fn closed(c: &Conversation, cause: EndCause, last_message_id: Option<Text>, scene: &Scene<'_>) -> Event {
    let duration_ms = scene.now.ms_since(c.started_at);
    Event::Closed(Closed { cause, last_message_id, duration_ms })
}
