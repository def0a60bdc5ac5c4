//! The words of these tests: who asks, and what. What a test does not mention is absent.

use serde_json::{Value, json};
use switchboard::domain::command::{ChannelCommand, Expected, IntegrationCommand, OperatorCommand, Target};
use switchboard::domain::config::Document;
use switchboard::domain::metadata::Patch;
use switchboard::domain::words::SentAt;
use switchboard::domain::{By, Command, ConversationId, Name, Role, Text};
use switchboard::switchboard::port::{Ask, CommandAsk, ListAsk, PutAsk, RecordedBody, Request};

pub const SECOND: u64 = 1000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

pub fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

pub fn conversation(text: &str) -> ConversationId {
    ConversationId::parse(text).expect("a conversation id")
}

pub fn channel(text: &str) -> By {
    By::caller(Role::Channel, name(text), None)
}

pub fn integration(text: &str) -> By {
    By::caller(Role::Integration, name(text), None)
}

pub fn web() -> By {
    channel("web")
}

pub fn bot() -> By {
    integration("bot")
}

pub fn agents() -> By {
    integration("agents")
}

pub fn olga() -> By {
    By::caller(Role::Operator, name("olga"), None)
}

/// Whoever asks through the query endpoint.
pub fn anybody() -> By {
    By { role: Role::Operator, name: None, actor: None }
}

/// One command on its way.
#[derive(Debug, Clone)]
pub struct Call {
    pub by: By,
    pub id: ConversationId,
    pub command: Command,
    pub expected: Expected,
    pub command_id: Option<Text>,
    pub content: Option<Value>,
}

fn call(by: By, id: &str, command: Command) -> Call {
    Call { by, id: conversation(id), command, expected: Expected::default(), command_id: None, content: None }
}

pub fn start(id: &str) -> Call {
    let start = ChannelCommand::Start {
        user: Some("u1".into()),
        owner: None,
        metadata: Patch::default(),
        continued_from: None,
    };
    call(web(), id, Command::Channel(start))
}

pub fn message(id: &str) -> Call {
    let message = ChannelCommand::Message { message_id: None, user: None, sent_at: None };
    call(web(), id, Command::Channel(message))
}

pub fn end(id: &str) -> Call {
    call(web(), id, Command::Channel(ChannelCommand::End { last_message_id: None, reason: None }))
}

fn of_integration(by: By, id: &str, command: IntegrationCommand) -> Call {
    call(by, id, Command::Integration(command))
}

fn target(to: &str) -> Target {
    if to == "next" { Target::Next } else { Target::Name(name(to)) }
}

pub fn pass(by: By, id: &str, to: &str) -> Call {
    let reason = Some("please".into());
    of_integration(by, id, IntegrationCommand::Pass { to: target(to), reason, metadata: Patch::default() })
}

pub fn offer(by: By, id: &str, to: &str, expires_in_ms: Option<u64>) -> Call {
    let metadata = patch(json!({"offered": true}));
    of_integration(by, id, IntegrationCommand::Offer { to: target(to), reason: None, expires_in_ms, metadata })
}

pub fn accept(by: By, id: &str) -> Call {
    of_integration(by, id, IntegrationCommand::Accept { metadata: Patch::default() })
}

pub fn decline(by: By, id: &str) -> Call {
    of_integration(by, id, IntegrationCommand::Decline { reason: None })
}

pub fn withdraw(by: By, id: &str) -> Call {
    of_integration(by, id, IntegrationCommand::Withdraw)
}

pub fn take(by: By, id: &str) -> Call {
    of_integration(by, id, IntegrationCommand::Take { reason: None, metadata: Patch::default() })
}

pub fn release(by: By, id: &str) -> Call {
    let metadata = Patch::default();
    of_integration(by, id, IntegrationCommand::Release { reason: None, metadata, last_message_id: None })
}

pub fn reply(by: By, id: &str) -> Call {
    of_integration(by, id, IntegrationCommand::Reply { message_id: None })
}

/// An owner's end.
pub fn finish(by: By, id: &str) -> Call {
    of_integration(by, id, IntegrationCommand::End { last_message_id: None, reason: None })
}

pub fn overrule_pass(id: &str, to: &str) -> Call {
    call(olga(), id, Command::Operator(OperatorCommand::Pass { to: target(to), reason: None }))
}

pub fn overrule_release(id: &str) -> Call {
    call(olga(), id, Command::Operator(OperatorCommand::Release { reason: None }))
}

pub fn overrule_end(id: &str) -> Call {
    call(olga(), id, Command::Operator(OperatorCommand::End { reason: None }))
}

pub fn patch(value: Value) -> Patch {
    serde_json::from_value(value).expect("a patch")
}

impl Call {
    pub fn by(mut self, by: By) -> Call {
        self.by = by;
        self
    }

    pub fn command_id(mut self, id: &str) -> Call {
        self.command_id = Some(id.into());
        self
    }

    pub fn content(mut self, words: &str) -> Call {
        self.content = Some(json!({"text": words}));
        self
    }

    pub fn epoch(mut self, epoch: u64) -> Call {
        self.expected.epoch = Some(epoch);
        self
    }

    pub fn version(mut self, version: u64) -> Call {
        self.expected.version = Some(version);
        self
    }

    pub fn user(mut self, text: &str) -> Call {
        match &mut self.command {
            Command::Channel(ChannelCommand::Start { user, .. } | ChannelCommand::Message { user, .. }) => {
                *user = Some(text.into());
            }
            other => panic!("{} names no user", other.verb()),
        }
        self
    }

    pub fn owner(mut self, text: &str) -> Call {
        match &mut self.command {
            Command::Channel(ChannelCommand::Start { owner, .. }) => *owner = Some(name(text)),
            other => panic!("{} names no owner", other.verb()),
        }
        self
    }

    pub fn metadata(mut self, value: Value) -> Call {
        match &mut self.command {
            Command::Channel(ChannelCommand::Start { metadata, .. })
            | Command::Integration(
                IntegrationCommand::Pass { metadata, .. }
                | IntegrationCommand::Release { metadata, .. }
                | IntegrationCommand::Accept { metadata },
            ) => *metadata = patch(value),
            other => panic!("{} sets no metadata", other.verb()),
        }
        self
    }

    pub fn message_id(mut self, text: &str) -> Call {
        match &mut self.command {
            Command::Channel(ChannelCommand::Message { message_id, .. })
            | Command::Integration(IntegrationCommand::Reply { message_id }) => *message_id = Some(text.into()),
            other => panic!("{} reports no message", other.verb()),
        }
        self
    }

    pub fn sent_at(mut self, text: &str) -> Call {
        match &mut self.command {
            Command::Channel(ChannelCommand::Message { sent_at, .. }) => *sent_at = SentAt::parse(text).ok(),
            other => panic!("{} was not sent", other.verb()),
        }
        self
    }

    /// As the edge hands it over.
    pub fn request(self, reply: Option<Text>) -> Request {
        let canonical = format!("{:?} {:?} {:?}", self.command, self.expected, self.content).into_bytes();
        let ask = CommandAsk {
            id: self.id,
            command: self.command,
            expected: self.expected,
            command_id: self.command_id,
            body: RecordedBody::new(canonical),
            content: self.content.map(|content| serde_json::value::to_raw_value(&content).expect("JSON")),
            traceparent: None,
            sent_at: None,
        };
        Request { by: self.by, ask: Ask::Command(Box::new(ask)), reply }
    }
}

/// A whole configuration, as an operator puts it.
pub fn put(config: &Value) -> PutAsk {
    PutAsk {
        document: Document::parse(config),
        canonical: config.to_string().into_bytes(),
        expected_version: None,
        command_id: None,
        traceparent: None,
        is_file: false,
    }
}

/// Every conversation, at most so many.
pub fn everything(limit: usize) -> ListAsk {
    ListAsk { limit, ..ListAsk::default() }
}
