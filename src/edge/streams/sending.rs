//! Sends messages into the streams, each to its place, and hears what becomes of them.

use std::sync::Arc;

use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_EXPECTED_LAST_SEQUENCE};
use async_nats::{Client, HeaderName, Message, PublishErrorKind, Subscriber};
use futures_util::StreamExt;

use super::AFTER_SEQ;
use super::flight::Flight;
use super::wanted::Which;
use crate::edge::complaints::Complaints;
use crate::edge::message::{Outgoing, Place, as_it_is};

/// Bytes of a message besides its payload, about.
const AROUND_BYTES: usize = 512;

/// The connection, and where acknowledgements come back.
pub struct Acks {
    /// The connection.
    pub client: Client,
    /// What their subjects begin with; the message's number follows.
    pub base: String,
    /// Hears them.
    pub heard: Subscriber,
    /// What the server complained of.
    pub complaints: Arc<Complaints>,
}

/// Sends a message to its place in its stream; a relayed one with its number, and the event before it. Fails, with
/// what to do, where the client library does not take it: it would not with the next try either.
pub async fn send(
    acks: &Option<Acks>,
    flight: &mut Flight,
    message: &Outgoing,
    relay: Option<(u64, u64)>,
) -> Result<(), String> {
    let Some(acks) = acks else { return Ok(()) };
    let which = if message.place == Place::Event { Which::Events } else { Which::Inbox };
    let bytes = message.payload.len() + AROUND_BYTES;
    let slot = flight.add(which, &message.id, bytes, relay.map(|(number, _)| number));
    let mut headers = message.headers();
    headers.insert(NATS_EXPECTED_LAST_SEQUENCE, slot.after.to_string());
    if let Some(behind) = slot.behind {
        headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, as_it_is(behind));
    }
    if let Some((_, after)) = relay {
        headers.insert(HeaderName::from_static(AFTER_SEQ), after.to_string());
    }
    let reply = format!("{}.{}", acks.base, slot.number);
    let published =
        acks.client.publish_with_reply_and_headers(message.subject.clone(), reply, headers, message.payload.clone());
    match published.await {
        Err(error) if error.kind() != PublishErrorKind::Send => {
            flight.take_back(which);
            Err(match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => {
                    format!("it has {bytes} bytes with its headers, about: raise max_payload of the server")
                }
                _ => error.to_string(),
            })
        }
        _ => Ok(()),
    }
}

/// The next acknowledgement; none where there is no connection.
pub async fn heard(acks: &mut Option<Acks>) -> Option<Message> {
    match acks {
        Some(acks) => acks.heard.next().await,
        None => None,
    }
}
