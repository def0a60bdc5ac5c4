//! Why the client library gave a connection up.
//!
//! Its event of a lost connection does not say; a diagnostic of its own does, just before, on the same thread. It
//! matters where a message came that the library cannot read: any caller can send one, and it costs the connection.

use std::cell::RefCell;
use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The library's diagnostic, and what it says where it could not read something.
const TARGET: &str = "async_nats";
const MESSAGE: &str = "disconnected";
const UNREADABLE: [&str; 2] = ["InvalidInput", "could not parse status"];

thread_local! {
    static WHY: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Hears the library's word, to be put beside whatever writes diagnostics, under [`is_of_interest`].
#[derive(Debug, Default)]
pub struct Parting;

/// Whether it may be that word: decided once for each place in the code, so that all others cost nothing.
pub fn is_of_interest(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() == Level::DEBUG && metadata.fields().field("error").is_some()
}

/// Why the connection of this thread was given up, where that is known.
pub fn why() -> Option<String> {
    WHY.take()
}

/// Whether that means a message that the library could not read.
pub fn is_unreadable(why: &str) -> bool {
    UNREADABLE.iter().any(|sign| why.contains(sign))
}

impl<S: Subscriber> Layer<S> for Parting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut word = Word::default();
        event.record(&mut word);
        if word.message == MESSAGE {
            WHY.set(word.error.filter(|error| error != "None"));
        }
    }
}

#[derive(Default)]
struct Word {
    message: String,
    error: Option<String>,
}

impl Visit for Word {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            "error" => self.error = Some(format!("{value:?}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_last_word_of_the_library_is_heard_and_nothing_else() {
        let subscriber = tracing_subscriber::registry().with(Parting);
        tracing::subscriber::with_default(subscriber, || {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, "header isn't valid utf-8");
            tracing::debug!(target: TARGET, error = ?Some(error), "disconnected");
            tracing::debug!(target: TARGET, error = "refused", "connection attempt failed");
        });
        let why = why().unwrap();
        assert!(is_unreadable(&why) && why.contains("utf-8"), "{why}");
        assert!(!is_unreadable("Some(Os { code: 104, kind: ConnectionReset })"));
    }
}
