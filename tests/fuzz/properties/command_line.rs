//! Values of arguments, and the words that configurations and bodies share with them: times, durations, names.

use switchboard::domain::conversation::Status;
use switchboard::domain::words::{SentAt, Wait};
use switchboard::domain::{ConversationId, Name, Time};
use switchboard::switchboard::port::Moment;
use switchboard::tools::values;

/// The most that a fault may say.
const FAULT_BYTES_MAX: usize = 1024;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_times(text);
    check_waits(text);
    check_names(text);
    check_lists(text);
    let _ = values::servers(text);
    if let Ok(values::Speed::Times(times)) = values::speed(text) {
        assert!(times.is_finite() && times > 0.0);
    }
}

/// What is read is written in one form, which reads as the same.
fn check_times(text: &str) {
    let time = bounded(Time::parse(text));
    if let Ok(time) = time {
        let written = time.to_string();
        assert!(written.len() == 24 && written.ends_with('Z'), "{text}: {written}");
        assert_eq!(Time::parse(&written), Ok(time), "{text}: {written}");
        assert_eq!(values::moment(text), Ok(Moment::Time(time)));
    }
    if let Ok(Moment::Seq(seq)) = values::moment(text) {
        assert!(seq > 0 && text.trim_start_matches('0') == seq.to_string());
    }
    if let Ok(sent_at) = bounded(SentAt::parse(text)) {
        // A second as it was sent is before the next, and not before itself, however fine it was written.
        if let Ok(time) = time {
            assert!(sent_at.is_before(time.plus_ms(1000)) || time.plus_ms(1000).0 < time.0 + 1000, "{text}");
            assert!(!sent_at.is_before(time), "{text}");
        }
    }
}

fn check_waits(text: &str) {
    let wait = bounded(Wait::parse(text));
    if let Ok(wait) = wait {
        let written = wait.to_string();
        assert_eq!(Wait::parse(&written), Ok(wait), "{text}: {written}");
        assert!(written.len() <= text.len() + 1);
        assert!(wait.ms().is_none_or(|ms| (1000..=366 * 86_400_000).contains(&ms)));
    }
    assert_eq!(values::span_ms(text).ok(), wait.ok().and_then(Wait::ms));
}

fn check_names(text: &str) {
    assert_eq!(values::name(text).ok(), Name::parse(text).ok());
    let conversation = values::conversation(text);
    assert_eq!(conversation.is_ok(), text == "next" || ConversationId::parse(text).is_ok());
    if let Ok(prefix) = values::prefix(text) {
        assert!(prefix == text && text.split('.').all(|token| Name::parse(token).is_ok()));
    }
    if let Ok(prefix) = values::inbox_prefix(text) {
        assert!(
            values::prefix(prefix.strip_prefix('_').unwrap_or(&prefix)).is_ok() && !prefix.contains(['*', '>', ' '])
        );
    }
    if let Ok(full) = values::event_type(text) {
        assert_eq!(values::event_type(&full).as_ref(), Ok(&full));
        assert!(full.starts_with("switchboard.") && full.split('.').count() == 3, "{full}");
    }
}

fn check_lists(text: &str) {
    if let Ok(statuses) = values::statuses(text) {
        let word = |status: &Status| match status {
            Status::Open => "open",
            Status::Ending => "ending",
            Status::Closed => "closed",
        };
        assert_eq!(statuses.iter().map(word).collect::<Vec<_>>().join(","), text);
    }
}

/// A fault repeats what was written in part only.
fn bounded<T>(read: Result<T, String>) -> Result<T, String> {
    if let Err(fault) = &read {
        assert!(fault.len() <= FAULT_BYTES_MAX, "{} bytes", fault.len());
    }
    read
}
