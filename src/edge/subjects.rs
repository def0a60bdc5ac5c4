//! Subjects: who asks what of which conversation, and where events and messages go.
//!
//! A caller is known by the subject alone, which the NATS server's permissions guard. What is
//! published goes only to subjects made of checked tokens: the client library would let `*`, `>`
//! and `..` through.

use async_nats::Subject;
use bytes::{BufMut, Bytes, BytesMut};

use super::fields::integration_name;
use crate::domain::words::{CONFIG_ID, shown};
use crate::domain::{ConversationId, Name, Refusal, Role};

/// What the server itself puts in the place of a reply subject, between accounts and gateways.
const SERVER_REPLY_TOKENS: [&str; 2] = ["_R_", "_GR_"];

/// One of the service's endpoints: everything below one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Requests of channels.
    Channel,
    /// Requests of integrations.
    Integration,
    /// Requests of operators.
    Operator,
    /// Requests that put a configuration.
    Config,
    /// Questions of whoever may ask everything.
    Query,
}

impl Endpoint {
    /// Every endpoint; its place here is its number.
    pub const ALL: [Endpoint; 5] =
        [Endpoint::Channel, Endpoint::Integration, Endpoint::Operator, Endpoint::Config, Endpoint::Query];

    /// Its token in subjects, and its name in the service protocol.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Channel => "channel",
            Endpoint::Integration => "integration",
            Endpoint::Operator => "operator",
            Endpoint::Config => "config",
            Endpoint::Query => "query",
        }
    }

    fn verbs(self) -> &'static [&'static str] {
        match self {
            Endpoint::Channel => &["start", "message", "end", "state"],
            Endpoint::Integration => {
                &["pass", "offer", "accept", "decline", "withdraw", "take", "release", "reply", "end", "state", "list"]
            }
            Endpoint::Operator => &["pass", "release", "end", "export"],
            Endpoint::Config => &["put"],
            Endpoint::Query => &["conversation", "history", "conversations", "log", "config"],
        }
    }

    fn form(self) -> &'static str {
        match self {
            Endpoint::Channel => "channel.<channel>.<verb>.<conversation>",
            Endpoint::Integration => {
                "integration.<integration>.<verb>.<conversation> or integration.<integration>.list"
            }
            Endpoint::Operator => "operator.<operator>.<verb>.<conversation> or operator.<operator>.export",
            Endpoint::Config => "config.<operator>.put",
            Endpoint::Query => "query.<what>, with .<conversation> after conversation and history",
        }
    }
}

/// What a request's subject says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A verb of a caller on a conversation.
    Conversation {
        /// In which role the caller speaks.
        role: Role,
        /// The caller.
        name: Name,
        /// The verb, one of the role's.
        verb: &'static str,
        /// Which conversation.
        id: ConversationId,
    },
    /// What an integration holds or is offered.
    List(Name),
    /// A configuration is put by that operator.
    Put(Name),
    /// The whole log as text, for that operator.
    Export(Name),
    /// A question about one conversation.
    QueryConversation(ConversationId),
    /// A question about the history of one conversation; none is the configuration's.
    QueryHistory(Option<ConversationId>),
    /// A question for conversations.
    QueryConversations,
    /// A question about the whole log.
    QueryLog,
    /// A question for the configuration.
    QueryConfig,
}

/// Reads what stands below an endpoint's token.
pub fn parse(endpoint: Endpoint, tail: &str) -> Result<Route, Refusal> {
    let mut tokens = [""; 3];
    let mut count = 0;
    for token in split(tail) {
        *tokens.get_mut(count).ok_or_else(|| bad_form(endpoint))? = token;
        count += 1;
    }
    let tokens = &tokens[..count];
    match (endpoint, tokens) {
        (Endpoint::Query, [what, rest @ ..]) => parse_query(known_verb(endpoint, what)?, rest),
        (Endpoint::Config, [operator, verb]) => {
            known_verb(endpoint, verb).and(Ok(Route::Put(name(Endpoint::Operator, operator)?)))
        }
        (Endpoint::Integration, [integration, "list"]) => Ok(Route::List(name(endpoint, integration)?)),
        (Endpoint::Operator, [operator, "export"]) => Ok(Route::Export(name(endpoint, operator)?)),
        (Endpoint::Integration, [_, "list", _]) | (Endpoint::Operator, [_, "export", _]) => Err(bad_form(endpoint)),
        (Endpoint::Channel | Endpoint::Integration | Endpoint::Operator, [caller, verb, id]) => {
            Ok(Route::Conversation {
                role: role_of(endpoint),
                name: name(endpoint, caller)?,
                verb: known_verb(endpoint, verb)?,
                id: conversation(id)?,
            })
        }
        _ => Err(bad_form(endpoint)),
    }
}

/// Who asks, as far as that is known before anything is checked; a question has no name.
pub fn caller(endpoint: Endpoint, tail: &str) -> (Role, &str) {
    let name = if endpoint == Endpoint::Query { "" } else { split(tail).next().unwrap_or_default() };
    (role_of(endpoint), name)
}

fn parse_query(what: &str, rest: &[&str]) -> Result<Route, Refusal> {
    match (what, rest) {
        ("conversation", [id]) => Ok(Route::QueryConversation(conversation(id)?)),
        ("history", [CONFIG_ID]) => Ok(Route::QueryHistory(None)),
        ("history", [id]) => Ok(Route::QueryHistory(Some(conversation(id)?))),
        ("conversations", []) => Ok(Route::QueryConversations),
        ("log", []) => Ok(Route::QueryLog),
        ("config", []) => Ok(Route::QueryConfig),
        _ => Err(bad_form(Endpoint::Query)),
    }
}

fn role_of(endpoint: Endpoint) -> Role {
    match endpoint {
        Endpoint::Channel => Role::Channel,
        Endpoint::Integration => Role::Integration,
        Endpoint::Operator | Endpoint::Config | Endpoint::Query => Role::Operator,
    }
}

fn known_verb(endpoint: Endpoint, token: &str) -> Result<&'static str, Refusal> {
    let verbs = endpoint.verbs();
    verbs.iter().find(|verb| **verb == token).copied().ok_or_else(|| {
        let what = if endpoint == Endpoint::Query { "query" } else { "verb" };
        Refusal::BadRequest(format!("{what}: expected one of {}, got {:?}", verbs.join(", "), shown(token)))
    })
}

fn name(endpoint: Endpoint, token: &str) -> Result<Name, Refusal> {
    let name = match endpoint {
        Endpoint::Integration => integration_name(token),
        _ => Name::parse(token).map_err(|bad| bad.to_string()),
    };
    name.map_err(|bad| Refusal::BadRequest(format!("{} in the subject: {bad}", endpoint.name())))
}

fn conversation(token: &str) -> Result<ConversationId, Refusal> {
    ConversationId::parse(token).map_err(|bad| Refusal::BadRequest(format!("conversation in the subject: {bad}")))
}

fn bad_form(endpoint: Endpoint) -> Refusal {
    Refusal::BadRequest(format!("subject: expected {}, got another number of tokens", endpoint.form()))
}

/// Whether an answer may be published to `subject`: whoever sends a request names it, and could
/// otherwise have the service forge events.
pub fn may_answer(reply_prefix: &str, subject: &str) -> bool {
    let first = split(subject).next().unwrap_or_default();
    let is_plain = subject.bytes().all(|byte| byte.is_ascii_graphic());
    (first.starts_with(reply_prefix) || SERVER_REPLY_TOKENS.contains(&first))
        && split(subject).all(|token| !matches!(token, "" | "*" | ">"))
        && (is_plain || !subject.contains(|c: char| c.is_whitespace() || c.is_control()))
}

/// The tokens of a subject. They are short: to look for the next dot byte by byte is quicker than what looks for it in
/// any text.
fn split(subject: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(subject);
    std::iter::from_fn(move || {
        let text = rest?;
        let dot = text.bytes().position(|byte| byte == b'.');
        rest = dot.map(|dot| &text[dot + 1..]);
        Some(&text[..dot.unwrap_or(text.len())])
    })
}

/// Writes the subjects of everything that is published, and what is published there, into one growing buffer: each is
/// a piece of it.
#[derive(Debug)]
pub struct Subjects {
    heads: Heads,
    buffer: BytesMut,
}

/// What subjects begin with, up to their last dot before what differs from message to message.
#[derive(Debug)]
struct Heads {
    event: String,
    integration_inbox: String,
    channel_inbox: String,
    standby: String,
    rejection: String,
}

/// Bytes that share one allocation: what waits to be written to the socket at once, so that it is soon free again.
const BUFFER_BYTES: usize = 64 * 1024;

impl Subjects {
    /// Subjects below `prefix`.
    pub fn new(prefix: &str) -> Subjects {
        let head = |tokens: &str| format!("{prefix}.{tokens}.");
        let heads = Heads {
            event: head("event"),
            integration_inbox: head("inbox.integration"),
            channel_inbox: head("inbox.channel"),
            standby: head("standby"),
            rejection: head("rejection"),
        };
        Subjects { heads, buffer: BytesMut::new() }
    }

    /// An event itself.
    pub fn event(&mut self, conversation: &str, noun_verb: &str) -> Subject {
        write(&mut self.buffer, [&self.heads.event, conversation, ".", noun_verb])
    }

    /// The copy for an integration that is concerned.
    pub fn integration_inbox(&mut self, integration: &Name, conversation: &str, noun_verb: &str) -> Subject {
        let head = &self.heads.integration_inbox;
        write(&mut self.buffer, [head, integration.as_str(), ".", conversation, ".", noun_verb])
    }

    /// The copy for the conversation's channel.
    pub fn channel_inbox(&mut self, channel: &Name, conversation: &str, noun_verb: &str) -> Subject {
        let head = &self.heads.channel_inbox;
        write(&mut self.buffer, [head, channel.as_str(), ".", conversation, ".", noun_verb])
    }

    /// The copy for an integration on standby.
    pub fn standby(&mut self, integration: &Name, conversation: &str, noun_verb: &str) -> Subject {
        let head = &self.heads.standby;
        write(&mut self.buffer, [head, integration.as_str(), ".", conversation, ".", noun_verb])
    }

    /// A refused command.
    pub fn rejection(&mut self, conversation: &str, verb: &str) -> Subject {
        write(&mut self.buffer, [&self.heads.rejection, conversation, ".", verb])
    }

    /// Where an answer goes.
    pub fn reply(&mut self, to: &str) -> Subject {
        write(&mut self.buffer, [to])
    }

    /// What `write` writes, of about so many bytes.
    pub fn payload(&mut self, bytes: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        make_room(&mut self.buffer, bytes);
        write(&mut self.buffer);
        self.buffer.split().freeze()
    }
}

fn write<const PARTS: usize>(buffer: &mut BytesMut, parts: [&str; PARTS]) -> Subject {
    make_room(buffer, parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| buffer.put_slice(part.as_bytes()));
    Subject::from_utf8(buffer.split().freeze()).expect("texts are UTF-8")
}

fn make_room(buffer: &mut BytesMut, bytes: usize) {
    if buffer.capacity() < bytes {
        buffer.reserve(BUFFER_BYTES.max(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(endpoint: Endpoint, tail: &str) -> String {
        let refusal = parse(endpoint, tail).expect_err(tail);
        assert_eq!(refusal.code(), "bad_request");
        refusal.message()
    }

    #[test]
    fn a_subject_names_role_caller_verb_and_conversation() {
        for (endpoint, role) in [
            (Endpoint::Channel, Role::Channel),
            (Endpoint::Integration, Role::Integration),
            (Endpoint::Operator, Role::Operator),
        ] {
            let expected = Route::Conversation {
                role,
                name: Name::parse("x:1").unwrap(),
                verb: "end",
                id: ConversationId::parse("_c-1").unwrap(),
            };
            assert_eq!(parse(endpoint, "x:1.end._c-1"), Ok(expected));
        }
        assert_eq!(parse(Endpoint::Integration, "bot.list"), Ok(Route::List(Name::parse("bot").unwrap())));
        assert_eq!(parse(Endpoint::Config, "ann.put"), Ok(Route::Put(Name::parse("ann").unwrap())));
        assert_eq!(parse(Endpoint::Operator, "ann.export"), Ok(Route::Export(Name::parse("ann").unwrap())));
        assert_eq!(parse(Endpoint::Query, "history._config"), Ok(Route::QueryHistory(None)));
        assert_eq!(parse(Endpoint::Query, "log"), Ok(Route::QueryLog));
    }

    #[test]
    fn a_malformed_subject_is_refused_with_what_was_expected() {
        assert!(refused(Endpoint::Channel, "web.start").contains("channel.<channel>.<verb>.<conversation>"));
        assert!(refused(Endpoint::Channel, "web.start.c.more.still").contains("number of tokens"));
        assert!(refused(Endpoint::Channel, "web.pass.c").contains("start, message, end, state"));
        assert!(refused(Endpoint::Integration, "bot.list.c").contains("list"));
        assert!(refused(Endpoint::Integration, "_bot.pass.c").contains("integration"));
        assert!(refused(Endpoint::Integration, "next.take.c").contains("reserved"));
        assert!(refused(Endpoint::Integration, "next.list").contains("reserved"));
        assert!(refused(Endpoint::Operator, "ann.pass._config").contains("reserved"));
        assert!(refused(Endpoint::Operator, "ann.export.c").contains("or operator.<operator>.export"));
        assert!(refused(Endpoint::Operator, "ann.pass.a*b").contains("got '*'"));
        assert!(refused(Endpoint::Config, "ann.get").contains("put"));
        assert!(refused(Endpoint::Query, "conversation").contains("subject"));
        assert!(refused(Endpoint::Query, "events").contains("conversations"));
        assert!(refused(Endpoint::Query, "conversation._config").contains("reserved"));
        assert!(refused(Endpoint::Channel, &format!("web.start.{}", "c".repeat(129))).contains("got 129"));
    }

    #[test]
    fn answers_go_only_where_answers_may_go() {
        for allowed in ["_INBOX.a.b", "_INBOX_bot.x", "_R_.x.y", "_GR_.a.b.c", "_INBOX.ä.>b"] {
            assert!(may_answer("_INBOX", allowed), "{allowed}");
        }
        for refused in [
            "switchboard.event.c.control.passed",
            "_R_x.y",
            "inbox.a",
            "_INBOX.>",
            "_INBOX.*.a",
            "_INBOX..a",
            "_INBOX.a b",
            "_INBOX.a\r\nPUB",
            "_INBOX.a\u{85}b",
            "_INBOX.a\u{a0}b",
            "",
        ] {
            assert!(!may_answer("_INBOX", refused), "{refused}");
        }
        assert!(may_answer("_ANSWERS", "_ANSWERS.a") && !may_answer("_ANSWERS", "_INBOX.a"));
    }

    #[test]
    fn subjects_are_made_of_the_prefix_and_the_tokens() {
        let mut subjects = Subjects::new("acme.switchboard");
        let name = Name::parse("bot").unwrap();
        let noun_verb = "control.passed";
        assert_eq!(subjects.event("c", noun_verb).as_str(), "acme.switchboard.event.c.control.passed");
        let inbox = subjects.integration_inbox(&name, "c", noun_verb);
        assert_eq!(inbox.as_str(), "acme.switchboard.inbox.integration.bot.c.control.passed");
        let inbox = subjects.channel_inbox(&name, "c", noun_verb);
        assert_eq!(inbox.as_str(), "acme.switchboard.inbox.channel.bot.c.control.passed");
        assert_eq!(subjects.standby(&name, "c", noun_verb).as_str(), "acme.switchboard.standby.bot.c.control.passed");
        assert_eq!(subjects.rejection("c", "pass").as_str(), "acme.switchboard.rejection.c.pass");
    }
}
