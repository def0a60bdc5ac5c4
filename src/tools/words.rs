//! How people read what machines wrote: spans of time, moments, text of strangers.
//!
//! Reasons, actors and metadata come from whoever may send a command. Nothing of them reaches a
//! terminal as it is: a control character could rewrite the screen of the person reading.

use std::fmt::Write;

use serde_json::Value;

use crate::domain::Time;

/// Longest value shown of a field that is not known, in characters.
const VALUE_CHARS_MAX: usize = 200;

const UNITS_MS: [(&str, u64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];

/// A span of time by its two largest units, such as `3m 12s`.
pub fn duration(ms: u64) -> String {
    let Some(largest) = UNITS_MS.iter().position(|(_, unit_ms)| ms >= *unit_ms) else {
        return if ms == 0 { "0s".into() } else { format!("{ms}ms") };
    };
    let (unit, unit_ms) = UNITS_MS[largest];
    let mut text = format!("{}{unit}", ms / unit_ms);
    if let Some((unit, smaller_ms)) = UNITS_MS.get(largest + 1) {
        let rest = ms % unit_ms / smaller_ms;
        if rest > 0 {
            let _ = write!(text, " {rest}{unit}");
        }
    }
    text
}

/// The day of a moment, as in `2026-11-22`.
pub fn day(at: Time) -> String {
    at.to_string().chars().take_while(|c| *c != 'T').collect()
}

/// The time of day of a moment in UTC, to the millisecond.
pub fn clock(at: Time) -> String {
    let text = at.to_string();
    text.split_once('T').map_or_else(|| text.clone(), |(_, clock)| clock.trim_end_matches('Z').to_owned())
}

/// A moment as seen from another: without the day where it is the same, without milliseconds where there are none.
pub fn moment(at: Time, seen_from: Time) -> String {
    let clock = clock(at);
    let clock = clock.strip_suffix(".000").unwrap_or(&clock);
    if day(at) == day(seen_from) { clock.to_owned() } else { format!("{} {clock}", day(at)) }
}

/// A stranger's text with everything escaped that could command a terminal or hide what stands there; of a personal
/// value that was erased, that it was.
pub fn plain(text: &str) -> String {
    if is_erased(text) {
        return "(erased)".into();
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

fn is_erased(text: &str) -> bool {
    text.strip_prefix("redacted:").is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Marks that turn the direction of writing, or join and part characters unseen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A stranger's text in quotation marks.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text))
}

/// A JSON value in few words: text as it is, everything else as JSON, shortened.
pub fn value(value: &Value) -> String {
    let text = match value {
        Value::String(text) => plain(text),
        Value::Null => "none".into(),
        other => plain(&other.to_string()),
    };
    shortened(text, VALUE_CHARS_MAX)
}

/// Fields and values, as in `topic=parcel score=5`.
pub fn fields<'a>(fields: impl IntoIterator<Item = (&'a String, &'a Value)>) -> String {
    let words: Vec<String> =
        fields.into_iter().map(|(name, field)| format!("{}={}", plain(name), spaced(value(field)))).collect();
    words.join(" ")
}

/// In quotation marks where its end could not be seen otherwise.
fn spaced(text: String) -> String {
    if text.is_empty() || text.contains(' ') { format!("\"{text}\"") } else { text }
}

/// A text of at most so many characters, the rest shown as missing.
pub fn shortened(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_erased_is_told_in_a_word() {
        assert_eq!(plain(&format!("redacted:{}", "0f".repeat(32))), "(erased)");
        assert_eq!(plain("redacted: by me"), "redacted: by me");
    }

    #[test]
    fn a_span_of_time_shows_its_two_largest_units() {
        let cases = [
            (0, "0s"),
            (7, "7ms"),
            (999, "999ms"),
            (1000, "1s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (192_000, "3m 12s"),
            (3_600_000, "1h"),
            (3_661_000, "1h 1m"),
            (90_000_000, "1d 1h"),
            (86_400_000 * 400 + 59_000, "400d"),
        ];
        for (ms, words) in cases {
            assert_eq!(duration(ms), words, "{ms}");
        }
    }

    #[test]
    fn a_moment_of_the_same_day_goes_without_it() {
        let noon = Time::parse("2026-11-22T12:00:00Z").unwrap();
        assert_eq!(moment(Time::parse("2026-11-22T14:05:00Z").unwrap(), noon), "14:05:00");
        assert_eq!(moment(Time::parse("2026-11-22T14:05:00.250Z").unwrap(), noon), "14:05:00.250");
        assert_eq!(moment(Time::parse("2026-11-23T00:00:00Z").unwrap(), noon), "2026-11-23 00:00:00");
    }

    #[test]
    fn nothing_that_commands_a_terminal_gets_through() {
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\u{9b}31m\u{7f}"), "a\\u{1b}[2Jb\\r\\nc\\u{9b}31m\\u{7f}");
        assert_eq!(plain("evil\u{202e}txt"), "evil\\u{202e}txt");
        assert_eq!(plain("čeština 日本語 👍"), "čeština 日本語 👍");
    }

    #[test]
    fn fields_are_quoted_where_their_end_would_not_be_seen() {
        let data = serde_json::json!({ "a": "x y", "b": 5, "c": "z", "d": "" });
        assert_eq!(fields(data.as_object().unwrap()), "a=\"x y\" b=5 c=z d=\"\"");
    }

    #[test]
    fn long_values_are_shortened() {
        assert_eq!(shortened("abcdef".into(), 6), "abcdef");
        assert_eq!(shortened("abcdefg".into(), 6), "abcde…");
    }
}
