//! What the server refused to let this user publish. A publish that it refuses is lost without an answer: this is all that tells.

use std::sync::{Mutex, PoisonError};

/// The last refusal on a connection.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<Option<String>>);

impl Complaints {
    /// Notes what the server says.
    pub fn note(&self, text: &str) {
        if text.to_ascii_lowercase().contains("violation for publish to") {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
        }
    }

    /// Takes the refusal of something that belongs into a stream, if there was one.
    pub fn denied(&self, prefix: &str) -> Option<String> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours =
            |text: &String| [".event.", ".inbox."].iter().any(|part| text.contains(&format!("\"{prefix}{part}")));
        last.take_if(|text| is_ours(text))
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
