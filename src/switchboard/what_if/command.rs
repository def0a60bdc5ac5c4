//! A recorded command, read back so that it can be decided again.

use serde::Deserialize;

use crate::domain::command::{ChannelCommand, IntegrationCommand, OperatorCommand, Target};
use crate::domain::event::{AssignCause, PassCause};
use crate::domain::metadata::Patch;
use crate::domain::words::{SentAt, Wait};
use crate::domain::{By, Command, Event, Name, Role, Text, Time};
use crate::switchboard::record::{Entry, EntryCommand};

/// Stands in a body for the caller's own next.
const NEXT: &str = "next";

/// Who asked for a recorded decision, and what; none where nobody did: it fell due, or followed from the configuration.
/// `events` is what it came to.
pub(super) fn recorded(line: &Entry<'_>, events: &[Event]) -> Result<Option<(By, Command)>, String> {
    let (Some(by), Some(command)) = (&line.by, &line.command) else { return Ok(None) };
    let body = Body::read(command)?;
    let known = match by.role {
        Role::Timer | Role::Config => return Ok(None),
        Role::Channel => body.channel_command(&command.verb, events).map(Command::Channel),
        Role::Integration => body.integration_command(&command.verb, events, line.at).map(Command::Integration),
        Role::Operator => body.operator_command(&command.verb, events).map(Command::Operator),
    };
    let unknown = || format!("{:?} of {:?} is not known to this version: use a later one", command.verb, by.role);
    known.ok_or_else(unknown).map(|command| Some((by.clone(), command)))
}

/// What the rules ask of a body. What the events tell as well may be missing: not every log was made over the wire.
#[derive(Debug, Default, Deserialize)]
struct Body {
    to: Option<Text>,
    owner: Option<Name>,
    sent_at: Option<Text>,
    expires_in: Option<Text>,
    #[serde(default)]
    metadata: Patch,
}

impl Body {
    fn read(command: &EntryCommand<'_>) -> Result<Body, String> {
        let Some(body) = command.body else { return Ok(Body::default()) };
        serde_json::from_str(body.get()).map_err(|error| format!("expected the body of {}: {error}", command.verb))
    }

    fn channel_command(self, verb: &str, events: &[Event]) -> Option<ChannelCommand> {
        Some(match verb {
            "start" => {
                let asked = events.iter().find_map(|event| match event {
                    Event::Assigned(assigned) if assigned.cause == AssignCause::Start => Some(assigned.to.clone()),
                    _ => None,
                });
                let owner = self.owner.or(asked);
                ChannelCommand::Start { user: None, owner, metadata: self.metadata, continued_from: None }
            }
            "message" => {
                let sent_at = self.sent_at.and_then(|text| SentAt::parse(&text).ok());
                ChannelCommand::Message { message_id: None, user: None, sent_at }
            }
            "end" => ChannelCommand::End { last_message_id: None, reason: None },
            _ => return None,
        })
    }

    fn integration_command(self, verb: &str, events: &[Event], at: Time) -> Option<IntegrationCommand> {
        let reason = None;
        Some(match verb {
            "pass" => IntegrationCommand::Pass { to: self.target(events)?, reason, metadata: self.metadata },
            "offer" => IntegrationCommand::Offer {
                to: self.target(events)?,
                reason,
                expires_in_ms: self.expires_in_ms(events, at),
                metadata: self.metadata,
            },
            "accept" => IntegrationCommand::Accept { metadata: self.metadata },
            "decline" => IntegrationCommand::Decline { reason },
            "withdraw" => IntegrationCommand::Withdraw,
            "take" => IntegrationCommand::Take { reason, metadata: self.metadata },
            "release" => IntegrationCommand::Release { reason, metadata: self.metadata, last_message_id: None },
            "reply" => IntegrationCommand::Reply { message_id: None },
            "end" => IntegrationCommand::End { last_message_id: None, reason },
            _ => return None,
        })
    }

    fn operator_command(self, verb: &str, events: &[Event]) -> Option<OperatorCommand> {
        Some(match verb {
            "pass" => OperatorCommand::Pass { to: self.target(events)?, reason: None },
            "release" => OperatorCommand::Release { reason: None },
            "end" => OperatorCommand::End { reason: None },
            _ => return None,
        })
    }

    fn target(&self, events: &[Event]) -> Option<Target> {
        match self.to.as_deref() {
            Some(NEXT) => Some(Target::Next),
            Some(name) => Name::parse(name).ok().map(Target::Name),
            None => events.iter().find_map(|event| match event {
                Event::Passed(passed) if passed.cause == PassCause::Next => Some(Target::Next),
                Event::Passed(passed) => Some(Target::Name(passed.to.clone())),
                Event::Offered(offered) => Some(Target::Name(offered.to.clone())),
                _ => None,
            }),
        }
    }

    fn expires_in_ms(&self, events: &[Event], at: Time) -> Option<u64> {
        match &self.expires_in {
            Some(text) => Wait::parse(text).ok().and_then(Wait::ms),
            None => events.iter().find_map(|event| match event {
                Event::Offered(offered) => offered.expires_at.map(|expires_at| expires_at.ms_since(at)),
                _ => None,
            }),
        }
    }
}
