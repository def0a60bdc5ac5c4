//! What the server refused to let this user publish. A publish that it refuses is lost without an answer: this is all that tells.

use std::sync::{Mutex, PoisonError};

/// Refusals kept until somebody looks, which is often.
const COMPLAINTS_MAX: usize = 16;

/// The refusals on a connection that nobody has looked at.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<Vec<String>>);

impl Complaints {
    /// Notes what the server says.
    pub fn note(&self, text: &str) {
        if text.to_ascii_lowercase().contains("violation for publish to") {
            let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            noted.truncate(COMPLAINTS_MAX - 1);
            noted.push(text.to_owned());
        }
    }

    /// Takes all, and tells the first that is about something that belongs into a stream.
    pub fn denied(&self, prefix: &str) -> Option<String> {
        let noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let is_ours =
            |text: &String| [".event.", ".inbox."].iter().any(|part| text.contains(&format!("\"{prefix}{part}")));
        noted.into_iter().find(is_ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_not_be_published_into_a_stream_is_told_and_once() {
        let complaints = Complaints::default();
        for other in [
            "Authorization Violation",
            "Permissions Violation for Subscription to \"switchboard.event.>\"",
            "Permissions Violation for Publish to \"$JS.API.INFO\"",
            "Permissions Violation for Publish to \"other.event.c.control.passed\"",
        ] {
            complaints.note(other);
            assert_eq!(complaints.denied("switchboard"), None, "{other}");
        }
        let text = "Permissions Violation for Publish to \"switchboard.event.c.control.passed\"";
        complaints.note(text);
        assert_eq!(complaints.denied("switchboard").as_deref(), Some(text));
        assert_eq!(complaints.denied("switchboard"), None);
    }
}
