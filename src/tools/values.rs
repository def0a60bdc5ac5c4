//! Values of arguments, each read from text into a type of its own.

use async_nats::ServerAddr;

use crate::domain::conversation::Status;
use crate::domain::words::Wait;
use crate::domain::{ConversationId, Name, Time};
use crate::switchboard::port::Moment;

/// For people, or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextOrJson {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How fast recorded events go by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Speed {
    /// As fast as they can be read.
    #[default]
    Max,
    /// So many times as fast as they happened.
    Times(f64),
}

/// Reads `text` or `json`.
pub fn text_or_json(text: &str) -> Result<TextOrJson, String> {
    match text {
        "text" => Ok(TextOrJson::Text),
        "json" => Ok(TextOrJson::Json),
        _ => Err(format!("expected text or json, got {text:?}")),
    }
}

/// Reads `max`, or how many times as fast as it happened.
pub fn speed(text: &str) -> Result<Speed, String> {
    let wrong = || format!("expected max, or a number above 0 such as 1 or 60, got {text:?}");
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times: f64 = text.parse().map_err(|_| wrong())?;
    if times.is_finite() && times > 0.0 { Ok(Speed::Times(times)) } else { Err(wrong()) }
}

/// Reads a place in the log, by its number or by its time.
pub fn moment(text: &str) -> Result<Moment, String> {
    let wrong = || format!("expected a seq such as 1042 or a time such as 2026-01-31T12:00:00Z, got {text:?}");
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse() {
            Ok(seq) if seq > 0 => Ok(Moment::Seq(seq)),
            _ => Err(wrong()),
        };
    }
    Time::parse(text).map(Moment::Time).map_err(|_| wrong())
}

/// Reads a span of time, in milliseconds.
pub fn span_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a duration such as 30s, 10m, 2h or 1d, got {text:?}");
    Wait::parse(text).ok().and_then(Wait::ms).ok_or_else(wrong)
}

/// Reads states of conversations, one or several with commas between.
pub fn statuses(text: &str) -> Result<Vec<Status>, String> {
    let status = |word: &str| match word {
        "open" => Ok(Status::Open),
        "ending" => Ok(Status::Ending),
        "closed" => Ok(Status::Closed),
        _ => Err(format!("expected open, ending or closed, got {word:?}")),
    };
    text.split(',').map(status).collect()
}

/// Reads a name of an integration, a channel or an operator.
pub fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|error| error.to_string())
}

/// Reads the id of a conversation.
pub fn conversation(text: &str) -> Result<ConversationId, String> {
    ConversationId::parse(text).map_err(|error| error.to_string())
}

/// Reads the name of a type of events, full or without the part that all have in common.
pub fn event_type(text: &str) -> Result<String, String> {
    let short = text.strip_prefix("switchboard.").unwrap_or(text);
    if is_event_name(short) {
        return Ok(format!("switchboard.{short}"));
    }
    Err(format!("expected a type such as control.passed, got {text:?}"))
}

/// Whether that is a noun and a verb, as in `control.offer_withdrawn`.
pub fn is_event_name(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    text.split_once('.').is_some_and(|(noun, verb)| is_word(noun) && is_word(verb))
}

/// Reads what subjects begin with: one or more tokens with dots between.
pub fn prefix(text: &str) -> Result<String, String> {
    let is_token = |token: &str| Name::parse(token).is_ok();
    if text.split('.').all(is_token) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "expected tokens of A-Z a-z 0-9 _ - = : + @ ~ with dots between, none of which begins with _, such as switchboard, got {text:?}"
    ))
}

/// Reads the first token of the subjects that answers may go to, or the beginning of an inbox.
pub fn inbox_prefix(text: &str) -> Result<String, String> {
    let tokens = text.strip_prefix('_').unwrap_or(text);
    prefix(tokens).map(|_| text.to_owned()).map_err(|_| format!("expected tokens such as _INBOX.alice, got {text:?}"))
}

/// Reads the addresses of NATS servers, with commas between.
pub fn servers(text: &str) -> Result<Vec<ServerAddr>, String> {
    let server = |server: &str| match server.parse::<ServerAddr>() {
        Ok(address) if address.has_user_pass() || address.password().is_some() => {
            Err("expected no user, password or token in the address, where a list of processes shows them: \
                 set SWITCHBOARD_USER and SWITCHBOARD_PASSWORD, or SWITCHBOARD_TOKEN"
                .into())
        }
        Ok(address) if matches!(address.scheme(), "nats" | "tls") => Ok(address),
        // Not shown: a password may stand in it.
        _ => Err("expected the address of a NATS server such as nats://localhost:4222 or tls://nats.example".into()),
    };
    text.split(',').map(str::trim).map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_log_is_a_seq_or_a_time() {
        assert_eq!(moment("1042"), Ok(Moment::Seq(1042)));
        assert_eq!(moment("2026-11-22T14:05:00+01:00"), Ok(Moment::Time(Time::parse("2026-11-22T13:05:00Z").unwrap())));
        for wrong in ["0", "", "-1", "yesterday", "99999999999999999999999"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_speed_is_a_number_above_nothing() {
        assert_eq!(speed("max"), Ok(Speed::Max));
        assert_eq!(speed("0.5"), Ok(Speed::Times(0.5)));
        for wrong in ["0", "-1", "fast", "inf", "NaN"] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn types_may_be_written_short() {
        assert_eq!(event_type("control.passed").unwrap(), "switchboard.control.passed");
        assert_eq!(event_type("switchboard.control.offer_withdrawn").unwrap(), "switchboard.control.offer_withdrawn");
        for wrong in ["passed", "control.", "control.passed.x", "control.*"] {
            assert!(event_type(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn subjects_begin_with_tokens() {
        assert_eq!(prefix("acme.switchboard").unwrap(), "acme.switchboard");
        for wrong in ["", "a..b", "a.*", ">", "$SYS", "_INBOX"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
        assert_eq!(inbox_prefix("_INBOX.alice").unwrap(), "_INBOX.alice");
        assert!(inbox_prefix("_INBOX.>").is_err());
    }

    #[test]
    fn states_may_be_several() {
        assert_eq!(statuses("open,ending"), Ok(vec![Status::Open, Status::Ending]));
        assert!(statuses("open,done").is_err());
    }
}
