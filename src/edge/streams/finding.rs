//! Finds where the streams end, and holds that against the log.

use async_nats::Client;

use super::api::{self, Trouble};
use super::ends::Ends;
use super::wanted::Which;
use crate::edge::message::event_id;
use crate::switchboard::past::{self, Archive};

/// Where the streams end, and their last sequences.
pub type Placed = (Ends, [u64; 2]);

/// Asks where the streams end, made where they are not there.
pub async fn find(
    client: Client,
    prefix: String,
    log_id: String,
    archive: Archive,
    published: u64,
) -> Result<Placed, Trouble> {
    api::check_version(&client.server_info().version)?;
    let events = api::ensure(&client, &prefix, Which::Events).await?;
    let inbox = api::ensure(&client, &prefix, Which::Inbox).await?;
    let ends = Ends::new(&events, &inbox, &log_id, published);
    let last = [events.last_sequence, inbox.last_sequence];
    let checked = tokio::task::spawn_blocking(move || check_log(&ends, &archive, &log_id).map(|()| ends));
    let ends = checked.await.map_err(|error| Trouble::Away(format!("the log could not be read: {error}")))??;
    Ok((ends, last))
}

/// Refuses a log that does not hold what the streams hold of it: an older copy, or one that went another way since.
fn check_log(ends: &Ends, archive: &Archive, log_id: &str) -> Result<(), Trouble> {
    let head = archive.reader.head().next_seq - 1;
    let held = ends.event.max(ends.part.as_ref().map_or(ends.inbox, |(seq, _)| *seq));
    let advice = "serve the data directory that they were written from, or delete the streams";
    if held > head {
        return Err(Trouble::Refused(format!(
            "the streams hold event {held} of this log, and the log ends with {head}: it is an older copy; {advice}"
        )));
    }
    let Some(id) = &ends.last_event_id else { return Ok(()) };
    let read = past::recorded_from(archive, ends.event, ends.event).next();
    match read {
        Some(Ok(recorded)) if event_id(log_id, ends.event, &recorded.hash) == *id => Ok(()),
        Some(Err(fault)) => Err(Trouble::Away(format!("the log could not be read: {fault}"))),
        _ => Err(Trouble::Refused(format!(
            "the streams hold event {} of this log as {id}, and the log has another there: {advice}",
            ends.event
        ))),
    }
}
