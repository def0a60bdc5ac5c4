//! Subjects, three lines: what stands below an endpoint's token, how replies begin, and where a reply would go.

use switchboard::domain::{ConversationId, Name};
use switchboard::edge::subjects::{Endpoint, Route, Subjects, may_answer, parse};

const TOKEN_SIGNS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=:+@~";

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (tail, reply_prefix, reply) = (line(), line(), line());
    for endpoint in Endpoint::ALL {
        let route = parse(endpoint, tail);
        let is_taken = is_of_form(endpoint, &tail.split('.').collect::<Vec<_>>());
        assert_eq!(route.is_ok(), is_taken, "{} {tail:?}: {route:?}", endpoint.name());
        match route {
            Ok(route) => check_route(&route, tail),
            Err(refusal) => assert!(refusal.message().len() <= 1024, "{refusal:?}"),
        }
    }
    check_reply(reply_prefix, reply);
}

/// The forms of the contract, written a second time.
fn is_of_form(endpoint: Endpoint, tokens: &[&str]) -> bool {
    let verbs = match endpoint {
        Endpoint::Channel => "start message end state",
        Endpoint::Integration => "pass offer accept decline withdraw take release reply end state",
        Endpoint::Operator => "pass release end",
        Endpoint::Config | Endpoint::Query => "",
    };
    match (endpoint, tokens) {
        (Endpoint::Config, [operator, "put"]) => is_name(operator),
        (Endpoint::Integration, [integration, "list"]) => is_name(integration),
        (Endpoint::Query, ["conversation", id]) => is_conversation(id),
        (Endpoint::Query, ["history", id]) => *id == "_config" || is_conversation(id),
        (Endpoint::Query, ["conversations" | "log" | "config"]) => true,
        (_, [name, verb, id]) => {
            verbs.split_whitespace().any(|known| known == *verb) && is_name(name) && is_conversation(id)
        }
        _ => false,
    }
}

fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.chars().all(|c| TOKEN_SIGNS.contains(c))
}

fn is_name(text: &str) -> bool {
    is_token(text) && !text.starts_with('_')
}

fn is_conversation(text: &str) -> bool {
    is_token(text) && text != "_config"
}

/// What was read is what stood there, and gets onto subjects of the right number of plain tokens.
fn check_route(route: &Route, tail: &str) {
    let (name, id, written) = match route {
        Route::Conversation { name, verb, id, .. } => (Some(name), Some(id), format!("{name}.{verb}.{id}")),
        Route::List(name) => (Some(name), None, format!("{name}.list")),
        Route::Put(name) => (Some(name), None, format!("{name}.put")),
        Route::Export(name) => (Some(name), None, format!("{name}.export")),
        Route::QueryConversation(id) => (None, Some(id), format!("conversation.{id}")),
        Route::QueryHistory(Some(id)) => (None, Some(id), format!("history.{id}")),
        Route::QueryHistory(None) => (None, None, "history._config".into()),
        Route::QueryConversations => (None, None, "conversations".into()),
        Route::QueryLog => (None, None, "log".into()),
        Route::QueryConfig => (None, None, "config".into()),
    };
    assert_eq!(written, tail);
    if let (Some(name), Some(id)) = (name, id) {
        check_published(name, id);
    }
}

fn check_published(name: &Name, id: &ConversationId) {
    let mut subjects = Subjects::new("acme.switchboard");
    let (id, what) = (id.as_str(), "control.passed");
    for (subject, tokens) in [
        (subjects.event(id, what), 6),
        (subjects.integration_inbox(name, id, what), 8),
        (subjects.channel_inbox(name, id, what), 8),
        (subjects.standby(name, id, what), 7),
        (subjects.rejection(id, "pass"), 5),
    ] {
        assert!(subject.split('.').all(is_token) && subject.split('.').count() == tokens, "{subject:?}");
    }
}

fn check_reply(prefix: &str, subject: &str) {
    if prefix.is_empty() || !may_answer(prefix, subject) {
        return;
    }
    let first = subject.split('.').next().unwrap_or_default();
    assert!(first.starts_with(prefix) || matches!(first, "_R_" | "_GR_"), "{prefix:?} {subject:?}");
    for token in subject.split('.') {
        let is_plain = !token.is_empty() && !token.chars().any(|c| c.is_whitespace() || c.is_control());
        assert!(is_plain && token != "*" && token != ">", "{subject:?}");
    }
}
