//! Looks for JetStream streams that would answer commands before the service does.
//!
//! A stream acknowledges whatever is published to its subjects with a reply subject: a caller
//! would take that for the answer, and for a decision that was never taken.

use async_nats::Client;
use serde::Deserialize;
use serde_json::json;

use super::subjects::Endpoint;

const STREAM_NAMES: &str = "$JS.API.STREAM.NAMES";

#[derive(Deserialize)]
struct Names {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

/// Warns of every stream that holds subjects of commands below `prefix`.
pub async fn warn_of_streams(client: Client, prefix: String) {
    for endpoint in Endpoint::ALL {
        let subject = format!("{prefix}.{}.>", endpoint.name());
        // Where there is no JetStream, or this user may not ask, there is nothing to warn of.
        let Ok(answer) = client.request(STREAM_NAMES, json!({ "subject": subject }).to_string().into()).await else {
            return;
        };
        for stream in names_in(&answer.payload) {
            tracing::warn!(
                stream,
                subject,
                "a stream holds subjects of commands and answers them itself: take them out of it"
            );
        }
    }
}

fn names_in(answer: &[u8]) -> Vec<String> {
    serde_json::from_slice::<Names>(answer).ok().and_then(|names| names.streams).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_streams_are_read() {
        let answer = br#"{"type":"io.nats.jetstream.api.v1.stream_names_response","total":1,"streams":["ALL"]}"#;
        assert_eq!(names_in(answer), ["ALL"]);
        assert!(names_in(br#"{"total":0,"streams":null}"#).is_empty());
        assert!(names_in(br#"{"error":{"code":503}}"#).is_empty());
    }
}
