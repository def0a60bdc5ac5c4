//! Why a command is refused: an answer, not a failure. In the order in which the checks are made.

use super::config::document::Faults;
use super::metadata::{METADATA_BYTES_MAX, METADATA_KEYS_MAX, MetadataTooLarge, PATCH_BYTES_MAX, PATCH_KEYS_MAX};
use super::words::Name;

/// Texts of a refusal that has to be short.
const SHORTENED_TEXTS: usize = 3;

/// Why a command was refused. Nothing was recorded, but for the last two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The body has more bytes than a request may have.
    TooLarge {
        /// Bytes allowed.
        bytes_max: usize,
        /// Bytes that came.
        bytes: usize,
    },
    /// The request is not of a form that can be understood; the text names the field.
    BadRequest(String),
    /// The configuration is not of the form of one: all its faults.
    BadConfiguration(Vec<String>),
    /// The queue is full.
    Busy,
    /// The service is stopping.
    Stopping,
    /// Another instance decides too.
    NotAlone,
    /// There is no room for writing on the disk.
    StorageFull,
    /// One caller may not let more grow.
    LimitReached {
        /// What is bounded.
        limit: u64,
    },
    /// The caller is not configured, or disabled.
    UnknownIntegration(Name),
    /// The command id was used for something else.
    CommandIdReused,
    /// Nothing is known of that conversation.
    ConversationNotFound,
    /// The conversation belongs to another channel.
    WrongChannel,
    /// The session has ended.
    ConversationClosed,
    /// The conversation is not as the caller knew it.
    StaleVersion,
    /// End users of this channel may not end conversations.
    EndNotAllowed,
    /// The caller does not hold control.
    NotInControl {
        /// Who does.
        owner: Option<Name>,
    },
    /// The caller may not take control, or may not see this conversation.
    NotAllowed(&'static str),
    /// Control is not offered to the caller.
    NotOffered,
    /// The end was requested: nothing is offered any more.
    ConversationEnding,
    /// Control cannot go there.
    InvalidTarget(String),
    /// More metadata than a conversation may carry.
    MetadataTooLarge(MetadataTooLarge),
    /// The configuration breaks requirements.
    SettingsConflict(Vec<String>),
    /// The log could not be written: the outcome is unknown.
    LogFailed,
    /// The answer has more bytes than the NATS server takes. What was asked is done all the same.
    AnswerTooLarge {
        /// Bytes that it would have.
        bytes: usize,
    },
}

impl Refusal {
    /// The code, never reused for something else.
    pub fn code(&self) -> &'static str {
        self.code_and_status().0
    }

    /// The status, in HTTP's terms.
    pub fn status(&self) -> u16 {
        self.code_and_status().1
    }

    fn code_and_status(&self) -> (&'static str, u16) {
        match self {
            Refusal::TooLarge { .. } => ("too_large", 413),
            Refusal::BadRequest(_) | Refusal::BadConfiguration(_) => ("bad_request", 400),
            Refusal::Busy | Refusal::Stopping | Refusal::NotAlone => ("busy", 503),
            Refusal::StorageFull => ("storage_full", 507),
            Refusal::LimitReached { .. } => ("limit_reached", 429),
            Refusal::UnknownIntegration(_) => ("unknown_integration", 403),
            Refusal::CommandIdReused => ("command_id_reused", 409),
            Refusal::ConversationNotFound => ("conversation_not_found", 404),
            Refusal::WrongChannel => ("wrong_channel", 403),
            Refusal::ConversationClosed => ("conversation_closed", 409),
            Refusal::StaleVersion => ("stale_version", 409),
            Refusal::EndNotAllowed => ("end_not_allowed", 409),
            Refusal::NotInControl { .. } => ("not_in_control", 403),
            Refusal::NotAllowed(_) => ("not_allowed", 403),
            Refusal::NotOffered => ("not_offered", 403),
            Refusal::ConversationEnding => ("conversation_ending", 409),
            Refusal::InvalidTarget(_) => ("invalid_target", 409),
            Refusal::MetadataTooLarge(_) => ("metadata_too_large", 413),
            Refusal::SettingsConflict(_) => ("settings_conflict", 409),
            Refusal::LogFailed => ("log_failed", 500),
            Refusal::AnswerTooLarge { .. } => ("answer_too_large", 500),
        }
    }

    /// What was wrong, what was expected, what to do.
    pub fn message(&self) -> String {
        match self {
            Refusal::TooLarge { bytes_max, bytes } => format!("expected a body of at most {bytes_max} bytes, got {bytes}"),
            Refusal::AnswerTooLarge { bytes } => format!(
                "the answer has {bytes} bytes, more than the NATS server takes: ask for fewer with limit, or raise its max_payload"
            ),
            Refusal::BadRequest(text) | Refusal::InvalidTarget(text) => text.clone(),
            Refusal::Busy => "the queue is full: repeat later, with the same command id".into(),
            Refusal::Stopping => "the service is stopping: repeat later, with the same command id".into(),
            Refusal::NotAlone => "another switchboard answers with this prefix, and a conversation may have one owner only: stop one of \
                                  them, and repeat then, with the same command id; queries go on"
                .into(),
            Refusal::StorageFull => "no room on the service's disk: nothing is recorded until there is some; queries go on".into(),
            Refusal::LimitReached { limit } => {
                format!("this channel has {limit} open conversations (open_conversations_max): end some first")
            }
            Refusal::UnknownIntegration(name) => {
                format!("no enabled integration {name} in the configuration: add or enable it")
            }
            Refusal::CommandIdReused => "this command id was used with another verb or body: choose a new one".into(),
            Refusal::ConversationNotFound => "no such conversation: check its id; a channel's start makes one".into(),
            Refusal::WrongChannel => "the conversation belongs to another channel".into(),
            Refusal::ConversationClosed => "the conversation is closed: the end user starts another one".into(),
            Refusal::StaleVersion => "it has changed since: read how it stands and decide again".into(),
            Refusal::EndNotAllowed => "end users may not end conversations here: see end_user_can_end".into(),
            Refusal::NotInControl { owner: Some(owner) } => format!("control is held by {owner}, not by the caller"),
            Refusal::NotInControl { owner: None } => "nobody holds control, so the caller does not".into(),
            Refusal::NotAllowed(text) => (*text).into(),
            Refusal::NotOffered => "control is not offered to the caller (any longer)".into(),
            Refusal::ConversationEnding => "the end was requested: pass control or release it".into(),
            Refusal::MetadataTooLarge(MetadataTooLarge { is_patch: false, keys, bytes }) => format!(
                "expected metadata of at most {METADATA_KEYS_MAX} keys and {METADATA_BYTES_MAX} bytes after merging, got {keys} keys and {bytes} bytes"
            ),
            Refusal::MetadataTooLarge(MetadataTooLarge { is_patch: true, keys, bytes }) => format!(
                "expected at most {PATCH_KEYS_MAX} keys and {PATCH_BYTES_MAX} bytes of metadata in one command, deleted keys too, got {keys} keys and {bytes} bytes"
            ),
            Refusal::SettingsConflict(texts) | Refusal::BadConfiguration(texts) => texts.join("; "),
            Refusal::LogFailed => {
                "the log could not be written, the outcome is unknown: repeat with the same command id after the restart".into()
            }
        }
    }

    /// The same with the first of its texts only: for an answer that was too long with all of them.
    pub fn shortened(&self) -> Refusal {
        let first = |texts: &[String]| {
            // The last may count others itself.
            let counted = texts.last().and_then(|last| last.strip_prefix("and ")?.strip_suffix(" more")?.parse().ok());
            let more = texts.len().saturating_sub(SHORTENED_TEXTS) + counted.map_or(0, |more: usize| more - 1);
            let told = texts.iter().take(SHORTENED_TEXTS).cloned();
            told.chain((more > 0).then(|| format!("and {more} more"))).collect()
        };
        match self {
            Refusal::BadConfiguration(texts) => Refusal::BadConfiguration(first(texts)),
            Refusal::SettingsConflict(texts) => Refusal::SettingsConflict(first(texts)),
            other => other.clone(),
        }
    }

    /// Whether only the counters hear of it: it says more of the caller than of the conversation.
    pub fn is_only_counted(&self) -> bool {
        matches!(self.code(), "too_large" | "bad_request" | "busy")
    }
}

impl From<MetadataTooLarge> for Refusal {
    fn from(too_large: MetadataTooLarge) -> Refusal {
        Refusal::MetadataTooLarge(too_large)
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Refusal {
        match faults {
            Faults::Form(texts) => Refusal::BadConfiguration(texts),
            Faults::Requirements(texts) => Refusal::SettingsConflict(texts),
        }
    }
}
