//! The words everything else is written in: names, texts, times, spans of time, who did it.
//!
//! A value of one of these types has passed its checks; nothing above asks again.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

/// Longest token, in bytes; the same bound for names and conversation ids.
pub const TOKEN_BYTES_MAX: usize = 128;

/// Text of a caller's, bounded where it was read.
pub type Text = Arc<str>;

/// Says why a token cannot be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadToken(String);

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadToken {}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident($text:ty), $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name($text);

        impl $name {
            /// Takes `text` if it is a token that may stand here.
            pub fn parse(text: &str) -> Result<Self, BadToken> {
                check_token(text)?;
                let check: fn(&str) -> Result<(), BadToken> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The token as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

token!(
    /// The name of an integration, a channel or an operator. Usual ones are short, and stand where they are kept: some
    /// twenty are made, copied and compared for each command, on one thread, and dropped on another.
    Name(SmolStr),
    |text| match text.starts_with('_') {
        true => Err(BadToken(format!("expected a name that does not start with \"_\", got {text:?}"))),
        false => Ok(()),
    }
);

token!(
    /// The id of a conversation, chosen by its channel.
    ConversationId(Arc<str>),
    |text| match text {
        CONFIG_ID => Err(BadToken(format!("the conversation id \"{CONFIG_ID}\" is reserved: choose another"))),
        _ => Ok(()),
    }
);

impl ConversationId {
    /// The id as text that can be shared.
    pub fn text(&self) -> Text {
        self.0.clone()
    }
}

/// Longest piece of a wrong value that an error repeats: an answer must not be many times what was asked.
const SHOWN_CHARS_MAX: usize = 40;

/// The beginning of what somebody wrote, for an error that repeats it.
pub fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Stands in the place of a conversation id where the configuration is meant.
pub const CONFIG_ID: &str = "_config";

fn check_token(text: &str) -> Result<(), BadToken> {
    if text.is_empty() || text.len() > TOKEN_BYTES_MAX {
        return Err(BadToken(format!("expected 1 to {TOKEN_BYTES_MAX} bytes, got {}", text.len())));
    }
    // Nearly all are, and bytes are looked at more quickly.
    if text.bytes().all(|byte| is_token_char(byte.into())) {
        return Ok(());
    }
    match text.chars().find(|c| !is_token_char(*c)) {
        Some(c) => Err(BadToken(format!("expected only A-Z a-z 0-9 _ - = : + @ ~, got {c:?}"))),
        None => Ok(()),
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '=' | ':' | '+' | '@' | '~')
}

/// A moment: milliseconds since 1970, UTC. Written as RFC 3339 with three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

/// The last moment that can be written, in the year 9999.
const TIME_MS_MAX: u64 = 253_402_207_200_000;

impl Time {
    /// The moment that `span` later it will be; the end of time where there is none.
    pub fn plus_ms(self, span_ms: u64) -> Time {
        Time(self.0.saturating_add(span_ms).min(TIME_MS_MAX))
    }

    /// How long after `earlier` this is, in milliseconds; 0 where it is not after.
    pub fn ms_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads an RFC 3339 moment with any offset and precision.
    pub fn parse(text: &str) -> Result<Time, String> {
        let stamp = rfc3339(text).ok_or_else(|| {
            format!("expected an RFC 3339 time such as 2026-01-31T12:00:00.000Z, got {:?}", shown(text))
        })?;
        u64::try_from(stamp.as_millisecond())
            .map(|ms| Time(ms.min(TIME_MS_MAX)))
            .map_err(|_| format!("expected a time after 1970, got {:?}", shown(text)))
    }
}

/// Bytes of a moment as it is written.
pub const WRITTEN_BYTES: usize = 24;

/// A moment as it is written.
pub struct Written([u8; WRITTEN_BYTES]);

impl Time {
    /// As it is written. Some ten times are, for each command: so here is the one form that is wanted, and no other.
    pub fn written(self) -> Written {
        let ms = self.0.min(TIME_MS_MAX);
        let (year, month, day) = date(ms / 86_400_000);
        let of_day = ms % 86_400_000;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |end: usize, digits: usize, mut value: u64| {
            for place in text[end - digits..end].iter_mut().rev() {
                *place = b'0' + (value % 10) as u8;
                value /= 10;
            }
        };
        put(4, 4, year);
        put(7, 2, month);
        put(10, 2, day);
        put(13, 2, of_day / 3_600_000);
        put(16, 2, of_day / 60_000 % 60);
        put(19, 2, of_day / 1000 % 60);
        put(23, 3, of_day % 1000);
        Written(text)
    }
}

impl Written {
    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits and signs are ASCII")
    }

    /// The text's bytes, for those who write bytes: to see that they are a text takes longer than to copy them.
    pub fn as_bytes(&self) -> &[u8; WRITTEN_BYTES] {
        &self.0
    }
}

/// Year, month and day, so many days after 1970-01-01. Years begin in March here, so that a leap day is their last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, of_era) = (days / 146_097, days % 146_097); // 400 years
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written().as_str())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_u64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u64::deserialize(deserializer).map(|ms| Time(ms.min(TIME_MS_MAX)));
        }
        let text = Cow::<str>::deserialize(deserializer)?;
        Time::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Finest decimals of a second that are kept: nanoseconds.
const DECIMALS_MAX: usize = 9;

/// Reads RFC 3339 as the schemas have it. The library alone also takes a space, a comma, a time without seconds and
/// an offset beyond a day, and no more than nanoseconds.
fn rfc3339(text: &str) -> Option<jiff::Timestamp> {
    let (whole, rest) = text.split_at_checked("2026-01-31T12:00:00".len())?;
    let (decimals, offset) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("0", rest),
    };
    let is_offset =
        matches!(offset, "Z" | "z") || (is_of_form(&offset.replacen('-', "+", 1), "+00:00") && offset[1..] < *"24:00");
    let is_whole = ["0000-00-00T00:00:00", "0000-00-00t00:00:00"].iter().any(|form| is_of_form(whole, form));
    if !is_whole || decimals.is_empty() || !is_offset {
        return None;
    }
    let parsed = match decimals.get(..DECIMALS_MAX) {
        Some(kept) => format!("{whole}.{kept}{offset}").parse().ok(),
        None => text.parse().ok(),
    };
    parsed.or_else(|| is_in_the_last_days(whole, offset).then_some(jiff::Timestamp::MAX))
}

/// Whether it is a moment of the last two days of the year 9999, with which many say "for ever": the library ends before
/// them, so that every moment can be told in every offset.
fn is_in_the_last_days(whole: &str, offset: &str) -> bool {
    let in_another_year = |rest| format!("2026-{rest}{offset}").parse::<jiff::Timestamp>().is_ok();
    whole.strip_prefix("9999-").filter(|rest| rest.starts_with("12-3")).is_some_and(in_another_year)
}

/// Whether `text` is like `form`, in which 0 stands for any digit.
fn is_of_form(text: &str, form: &str) -> bool {
    let is_like = |(byte, like): (u8, u8)| if like == b'0' { byte.is_ascii_digit() } else { byte == like };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(is_like)
}

/// A moment as a sender wrote it, with the precision that it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentAt {
    at_ns: i128,
    step_ns: i128,
}

impl SentAt {
    /// Reads an RFC 3339 moment and notes how fine it is.
    pub fn parse(text: &str) -> Result<SentAt, String> {
        let stamp = rfc3339(text)
            .ok_or_else(|| format!("expected an RFC 3339 time such as 2026-01-31T12:00:00Z, got {:?}", shown(text)))?;
        let decimals = text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
        let step_ns = 10_i128.pow(9 - decimals.min(9) as u32);
        Ok(SentAt { at_ns: stamp.as_nanosecond(), step_ns })
    }

    /// Whether this was before `moment`, as far as the sender's precision can tell.
    pub fn is_before(&self, moment: Time) -> bool {
        let moment_ns = i128::from(moment.0) * 1_000_000;
        self.at_ns < moment_ns - moment_ns.rem_euclid(self.step_ns)
    }
}

/// A length of time that a rule waits, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wait {
    /// So many milliseconds, from one second to 366 days.
    Ms(u64),
    /// For ever.
    Never,
}

const UNITS_MS: [(&str, u64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
const WAIT_MS_MAX: u64 = 366 * 86_400_000;

impl Wait {
    /// Reads `"15m"`: a whole number and one of `s m h d`, `"1s"` to `"366d"`, or `"never"`.
    pub fn parse(text: &str) -> Result<Wait, String> {
        if text == "never" {
            return Ok(Wait::Never);
        }
        let wrong = || {
            format!(
                "expected a duration from \"1s\" to \"366d\" (a whole number and one of s m h d) or \"never\", got {:?}",
                shown(text)
            )
        };
        let unit = text.bytes().last().filter(u8::is_ascii).ok_or_else(wrong)? as char;
        let digits = &text[..text.len() - 1];
        let (_, unit_ms) = UNITS_MS.into_iter().find(|(name, _)| name.starts_with(unit)).ok_or_else(wrong)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        match count.checked_mul(unit_ms) {
            Some(ms) if (1000..=WAIT_MS_MAX).contains(&ms) => Ok(Wait::Ms(ms)),
            _ => Err(wrong()),
        }
    }

    /// The length in milliseconds, none for `never`.
    pub fn ms(self) -> Option<u64> {
        match self {
            Wait::Ms(ms) => Some(ms),
            Wait::Never => None,
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Never => f.write_str("never"),
            Wait::Ms(ms) => {
                let (unit, unit_ms) =
                    UNITS_MS.into_iter().find(|(_, unit_ms)| ms % unit_ms == 0).unwrap_or(("s", 1000));
                write!(f, "{}{unit}", ms / unit_ms)
            }
        }
    }
}

impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Wait::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Whose request or doing something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A gateway that speaks for end users.
    Channel,
    /// Whatever can hold control.
    Integration,
    /// A person or program that may overrule.
    Operator,
    /// Time itself: a timer that fell due.
    Timer,
    /// The configuration: its file, or what follows from a change of it.
    Config,
}

impl Role {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Channel => "channel",
            Role::Integration => "integration",
            Role::Operator => "operator",
            Role::Timer => "timer",
            Role::Config => "config",
        }
    }
}

/// Who did it: a caller by its subject, with the person behind it as claimed; or a timer, or the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct By {
    /// In which role.
    pub role: Role,
    /// The caller's name; none for timers and the configuration file.
    #[serde(default)]
    pub name: Option<Name>,
    /// The person behind it, as claimed.
    #[serde(default)]
    pub actor: Option<Text>,
}

impl By {
    /// A caller.
    pub fn caller(role: Role, name: Name, actor: Option<Text>) -> By {
        By { role, name: Some(name), actor }
    }

    /// A timer.
    pub fn timer() -> By {
        By { role: Role::Timer, name: None, actor: None }
    }

    /// The configuration's file, or what follows from a change.
    pub fn config() -> By {
        By { role: Role::Config, name: None, actor: None }
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return (self.role, &self.name, &self.actor).serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", &self.role)?;
        if self.name.is_some() {
            map.serialize_entry("name", &self.name)?;
            map.serialize_entry("actor", &self.actor)?;
        }
        map.end()
    }
}
