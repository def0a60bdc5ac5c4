//! What callers may ask, each request already of its type. Who asks, and when, comes beside it.

use super::metadata::Patch;
use super::words::{Name, SentAt, Text};

/// A request that can change a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Of a channel, on behalf of its end user.
    Channel(ChannelCommand),
    /// Of an integration.
    Integration(IntegrationCommand),
    /// Of an operator.
    Operator(OperatorCommand),
    /// Of nobody: something fell due, or was removed.
    Due(Due),
}

/// What a channel may ask.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum ChannelCommand {
    Start { user: Option<Text>, owner: Option<Name>, metadata: Patch, continued_from: Option<Text> },
    Message { message_id: Option<Text>, user: Option<Text>, sent_at: Option<SentAt> },
    End { last_message_id: Option<Text>, reason: Option<Text> },
}

/// What an integration may ask.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum IntegrationCommand {
    Pass { to: Target, reason: Option<Text>, metadata: Patch },
    Offer { to: Target, reason: Option<Text>, expires_in_ms: Option<u64>, metadata: Patch },
    Accept { metadata: Patch },
    Decline { reason: Option<Text> },
    Withdraw,
    Take { reason: Option<Text>, metadata: Patch },
    Release { reason: Option<Text>, metadata: Patch, last_message_id: Option<Text> },
    Reply { message_id: Option<Text> },
    End { last_message_id: Option<Text>, reason: Option<Text> },
}

/// What an operator may ask.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum OperatorCommand {
    Pass { to: Target, reason: Option<Text> },
    Release { reason: Option<Text> },
    End { reason: Option<Text> },
}

/// What happens to a conversation without anybody asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing came for too long.
    Inactivity,
    /// The owner of an ending conversation did not release it in time.
    Deadline,
    /// Nobody took up an offer in time.
    OfferExpiry,
    /// An integration that holds or is offered control is configured no longer.
    Removal,
}

impl Due {
    /// Its name in the log, where a command has its verb.
    pub fn verb(self) -> &'static str {
        match self {
            Due::Inactivity => "inactivity",
            Due::Deadline => "deadline",
            Due::OfferExpiry => "offer_expiry",
            Due::Removal => "removal",
        }
    }
}

/// Whom control is to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The caller's own `next`.
    Next,
    /// That one.
    Name(Name),
}

/// What the caller knew of the conversation; refused where it is no longer so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Expected {
    pub epoch: Option<u64>,
    pub version: Option<u64>,
}

impl Command {
    /// The verb, as in the subject; for what fell due, as in the log.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Channel(command) => match command {
                ChannelCommand::Start { .. } => "start",
                ChannelCommand::Message { .. } => "message",
                ChannelCommand::End { .. } => "end",
            },
            Command::Integration(command) => match command {
                IntegrationCommand::Pass { .. } => "pass",
                IntegrationCommand::Offer { .. } => "offer",
                IntegrationCommand::Accept { .. } => "accept",
                IntegrationCommand::Decline { .. } => "decline",
                IntegrationCommand::Withdraw => "withdraw",
                IntegrationCommand::Take { .. } => "take",
                IntegrationCommand::Release { .. } => "release",
                IntegrationCommand::Reply { .. } => "reply",
                IntegrationCommand::End { .. } => "end",
            },
            Command::Operator(command) => match command {
                OperatorCommand::Pass { .. } => "pass",
                OperatorCommand::Release { .. } => "release",
                OperatorCommand::End { .. } => "end",
            },
            Command::Due(due) => due.verb(),
        }
    }

    /// Whether it may be the first that is heard of a conversation.
    pub fn may_begin(&self) -> bool {
        matches!(self, Command::Channel(ChannelCommand::Start { .. } | ChannelCommand::Message { .. }))
    }

    /// Whether it carries words between end user and owner.
    pub fn is_message(&self) -> bool {
        matches!(
            self,
            Command::Channel(ChannelCommand::Message { .. }) | Command::Integration(IntegrationCommand::Reply { .. })
        )
    }

    /// The message that it reports as the conversation's last.
    pub fn last_message_id(&self) -> Option<&Text> {
        match self {
            Command::Channel(ChannelCommand::Message { message_id, .. })
            | Command::Integration(IntegrationCommand::Reply { message_id }) => message_id.as_ref(),
            Command::Channel(ChannelCommand::End { last_message_id, .. })
            | Command::Integration(
                IntegrationCommand::Release { last_message_id, .. } | IntegrationCommand::End { last_message_id, .. },
            ) => last_message_id.as_ref(),
            _ => None,
        }
    }

    /// The end user that it names.
    pub fn user(&self) -> Option<&Text> {
        match self {
            Command::Channel(ChannelCommand::Start { user, .. } | ChannelCommand::Message { user, .. }) => {
                user.as_ref()
            }
            _ => None,
        }
    }
}
