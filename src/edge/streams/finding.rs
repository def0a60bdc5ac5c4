//! Finds where the streams end, and holds that against the log.

use async_nats::Client;

use super::api::{self, Found, Trouble};
use super::ends::{Ends, place_of};
use super::wanted::Which;
use crate::switchboard::envelope::event_id;
use crate::switchboard::past::{self, Archive};

/// How many messages that are not of this log are passed over to find the last one that is: each costs a question.
const FOREIGN_MAX: u64 = 1000;

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
    let events = ensure(&client, &prefix, Which::Events, &log_id).await?;
    let inbox = ensure(&client, &prefix, Which::Inbox, &log_id).await?;
    let ends = Ends::new(&events, &inbox, &log_id, published);
    let last = [events.last_sequence, inbox.last_sequence];
    let checked = tokio::task::spawn_blocking(move || {
        check_log(&ends, &archive, &log_id)?;
        Ok(ends.not_before(archive.reader.first_seq()))
    });
    let ends = checked.await.map_err(|error| Trouble::Away(format!("the log could not be read: {error}")))??;
    Ok((ends, last))
}

/// Whoever may publish to inboxes may have put something of its own behind our last message.
async fn ensure(client: &Client, prefix: &str, which: Which, log_id: &str) -> Result<Found, Trouble> {
    let mut found = api::ensure(client, prefix, which).await?;
    let mut sequence = found.last_sequence;
    while found.last.is_some() && place_of(found.last.as_ref(), log_id).is_none() {
        sequence -= 1;
        let foreign = found.last_sequence - sequence;
        found.last = match sequence {
            1.. if foreign <= FOREIGN_MAX => api::message(client, &which.name(prefix), sequence).await?,
            _ => None,
        };
        if found.last.is_none() || place_of(found.last.as_ref(), log_id).is_some() {
            let stream = which.name(prefix);
            tracing::warn!(
                stream,
                foreign,
                "at the end of the stream stand messages that are not of this log: somebody else publishes there"
            );
        }
    }
    Ok(found)
}

/// Refuses a log that does not hold what the streams hold of it: an older copy, or one that went another way since.
fn check_log(ends: &Ends, archive: &Archive, log_id: &str) -> Result<(), Trouble> {
    let head = archive.reader.head().next_seq - 1;
    let held = ends.event.max(ends.part.as_ref().map_or(ends.inbox, |(seq, _)| *seq));
    let advice = "serve the data directory that they were written from; where that is lost, and this a backup of it, delete \
                  both streams, which are made again, and tell their readers that what came after it is void";
    if held > head {
        return Err(Trouble::Refused(format!(
            "the streams hold event {held} of this log, and the log ends with {head}: it is an older copy; {advice}"
        )));
    }
    let first = archive.reader.first_seq();
    if ends.event + 1 < first {
        return Err(Trouble::Refused(format!(
            "the streams end with event {} of this log, and it begins with {first}, since what was before was removed: \
             they cannot be filled; delete both streams, which are made again and go on behind the last event published",
            ends.event
        )));
    }
    let Some(id) = ends.last_event_id.as_ref().filter(|_| ends.event >= first) else { return Ok(()) };
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::log::{Draft, Log, MemoryLog, Outcome, SimulatedDisk};

    const LINE: &str = r#"{"seq":1,"at":"2031-02-03T04:05:06.789Z","conversation":"_config","events":[{"type":"switchboard.channel.removed","data":{"seq":1}}]}"#;

    #[test]
    fn a_log_is_held_against_what_the_streams_hold_of_it() {
        let mut log = MemoryLog::open(&SimulatedDisk::default(), Uuid::nil()).unwrap();
        let (line, conversation) = (LINE.into(), "_config".into());
        let draft =
            Draft { conversation, version: 0, first_seq: 1, events: 1, at: 1, line, personal: Vec::new(), salt: None };
        let Outcome::Durable(position) = log.append(&[draft], 0).unwrap().remove(0) else { panic!("it is alone") };
        let archive = Archive { reader: log.reader(), cache: None, key: [0; 32] };
        let own = event_id("log", 1, &position.hash);
        let of = |event, id: &str| Ends { event, inbox: event, last_event_id: Some(id.into()), ..Ends::default() };
        let refused = |ends: &Ends| match check_log(ends, &archive, "log") {
            Err(Trouble::Refused(why)) => why,
            other => panic!("expected a refusal, got {other:?}"),
        };
        assert_eq!(check_log(&of(1, &own), &archive, "log"), Ok(()));
        assert_eq!(check_log(&Ends { event: 1, ..Ends::default() }, &archive, "log"), Ok(()));
        assert!(refused(&of(1, "log-1-00000000")).contains("the log has another there"));
        assert!(refused(&of(2, "log-2-00000000")).contains("it is an older copy"));
        let inbox_ahead = Ends { part: Some((2, "log-2-00000000/channel.web".into())), ..of(1, &own) };
        assert!(refused(&inbox_ahead).contains("it is an older copy"));
    }
}
