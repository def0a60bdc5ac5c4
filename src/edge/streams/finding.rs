//! Finds where the streams end, and holds that against the log.

use std::ops::Range;

use async_nats::Client;
use futures_util::{FutureExt, Stream, StreamExt, stream};

use super::api::{self, Found, Last, Trouble};
use super::ends::{Ends, place_of};
use super::wanted::Which;
use crate::switchboard::envelope::event_id;
use crate::switchboard::past::{self, Archive};

/// How many messages that are not of this log are passed over to find the last one that is: each costs a question, and
/// so many some seconds. Behind more the streams go on from what is known to be published.
const FOREIGN_MAX: u64 = 100_000;
/// How many of these questions are open at once: each answer may be of a megabyte.
const QUESTIONS_MAX: usize = 16;
/// How often it is looked whether more came while they were passed over. The next send finds out in any case.
const LOOKS_MAX: usize = 8;

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
    let (mut events, mut inbox) = (None, None);
    for _ in 0..LOOKS_MAX {
        let is_new = look(&client, &prefix, Which::Events, &log_id, &mut events).await?;
        if !look(&client, &prefix, Which::Inbox, &log_id, &mut inbox).await? && !is_new {
            break;
        }
    }
    let (events, inbox) = events.zip(inbox).expect("both were looked at");
    let ends = Ends::new(&events, &inbox, &log_id, published);
    let last = [events.last_sequence, inbox.last_sequence];
    let checked = tokio::task::spawn_blocking(move || {
        check_log(&ends, &archive, &log_id)?;
        Ok(ends.not_before(archive.reader.first_seq()))
    });
    let ends = checked.await.map_err(|error| Trouble::Away(format!("the log could not be read: {error}")))??;
    Ok((ends, last))
}

/// Looks where a stream ends, `found` being what was known of it. Whoever may publish there may have put something of its
/// own behind our last message; true where that was passed over, which takes its time, in which more may have come.
async fn look(
    client: &Client,
    prefix: &str,
    which: Which,
    log_id: &str,
    found: &mut Option<Found>,
) -> Result<bool, Trouble> {
    let mut now = api::ensure(client, prefix, which).await?;
    let is_own = |last: &Option<Last>| place_of(last.as_ref(), log_id).is_some();
    let known = found.take().filter(|known| known.last_sequence <= now.last_sequence);
    let from = known.as_ref().map_or(0, |known| known.last_sequence) + 1;
    let mut foreign = 0;
    if now.last.is_some() && !is_own(&now.last) && from <= now.last_sequence {
        let name = which.name(prefix);
        let first = from.max(now.last_sequence.saturating_sub(FOREIGN_MAX));
        foreign = 1;
        let mut before = backwards(client, &name, first..now.last_sequence);
        now.last = loop {
            match before.next().await {
                Some(message) => {
                    let message = message?;
                    // Where there is none, it was deleted: it may have been ours.
                    if message.is_none() || is_own(&message) {
                        break message;
                    }
                    foreign += 1;
                }
                None => break known.and_then(|known| known.last),
            }
        };
        tracing::warn!(
            stream = name,
            foreign,
            is_ours_found = now.last.is_some(),
            "at the end of the stream stand messages that are not of this log: somebody else publishes there"
        );
    } else if let Some(known) = known.filter(|known| known.last_sequence == now.last_sequence) {
        now.last = known.last;
    }
    *found = Some(now);
    Ok(foreign > 0)
}

/// The messages of a stream from the last to the first, several being asked for at once.
fn backwards(
    client: &Client,
    name: &str,
    sequences: Range<u64>,
) -> impl Stream<Item = Result<Option<Last>, Trouble>> + Unpin {
    let (client, name) = (client.clone(), name.to_owned());
    let questions = sequences.rev().map(move |sequence| {
        let (client, name) = (client.clone(), name.clone());
        async move { api::message(&client, &name, sequence).await }.boxed()
    });
    stream::iter(questions).buffered(QUESTIONS_MAX)
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
        let draft = Draft {
            conversation,
            version: 0,
            first_seq: 1,
            events: 1,
            at: 1,
            line,
            personal: Default::default(),
            salt: None,
        };
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
