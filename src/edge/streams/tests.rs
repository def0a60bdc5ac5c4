//! What becomes of the streams' state, step by step, without a server: there is no connection in any of these.

use async_nats::header::NATS_EXPECTED_STREAM;
use uuid::Uuid;

use super::wanted::Which;
use super::*;
use crate::log::{Log, MemoryLog, SimulatedDisk};

fn streams() -> Streams {
    let log = MemoryLog::open(&SimulatedDisk::default(), Uuid::nil()).unwrap();
    Streams::new(Parts {
        prefix: "switchboard".into(),
        log_id: "log".into(),
        archive: Archive { reader: log.reader(), cache: None, key: [0; 32] },
        gauges: Arc::default(),
        stats: Arc::default(),
        health: Arc::default(),
        receivers: BTreeSet::new(),
    })
}

fn published(streams: &Streams) -> u64 {
    streams.parts.gauges.published_through.load(Relaxed)
}

fn message(place: Place, id: &str) -> Outgoing {
    Outgoing { place, subject: "s".into(), id: id.into(), payload: "abc".into() }
}

fn acknowledgement(number: u64, text: &str) -> Message {
    Message {
        subject: format!("acks.{number}").into(),
        reply: None,
        payload: text.to_owned().into(),
        headers: None,
        status: None,
        description: None,
        length: 0,
    }
}

fn ends(event: u64, inbox: u64) -> Ends {
    Ends { event, inbox, ..Ends::default() }
}

#[test]
fn what_no_stream_took_does_not_count_as_published() {
    let mut streams = streams();
    for state in [State::Off, State::Waiting(Instant::now()), State::Asking] {
        streams.state = state;
        streams.whole(3);
        assert_eq!((published(&streams), streams.position), (0, 0), "{state:?}");
    }
    streams.state = State::InStep;
    streams.flight.add(Which::Events, "id", 1, None);
    streams.whole(3);
    assert_eq!((published(&streams), streams.position), (0, 3), "it is under way");
    streams.acknowledged(&acknowledgement(0, r#"{"stream":"E","seq":1}"#));
    assert_eq!(published(&streams), 3);
    streams.whole(4);
    assert_eq!(published(&streams), 4, "nothing of it was to be sent");
}

#[test]
fn too_much_under_way_leaves_the_streams_behind() {
    let mut streams = streams();
    streams.state = State::InStep;
    assert!(streams.takes());
    for _ in 0..MESSAGES_MAX {
        streams.flight.add(Which::Events, "id", 1, None);
    }
    assert!(!streams.takes() && streams.state == State::Behind);
}

#[test]
fn a_relayed_message_is_kept_until_it_is_acknowledged() {
    let mut streams = streams();
    assert_eq!(streams.kept.keep(1, &message(Place::Inbox, "a")), Keep::Kept(0));
    assert!(streams.kept.next_before(None).is_some());
    streams.flight.add(Which::Inbox, "id", 1, Some(0));
    assert_eq!(streams.kept(), 1);
    streams.acknowledged(&acknowledgement(0, r#"{"stream":"I","seq":1}"#));
    assert_eq!(streams.kept(), 0);
}

#[test]
fn where_the_streams_end_says_what_is_sent_next() {
    let mut streams = streams();
    Gauges::set(&streams.parts.gauges.published_through, 12);
    for id in ["a", "b"] {
        streams.kept.keep(7, &message(Place::Inbox, id));
    }
    let found = Ends { last_inbox_id: "a".into(), ..ends(9, 7) };
    streams.found(Ok((found, [5, 6]))).unwrap();
    assert_eq!((streams.position, published(&streams)), (7, 7), "what both hold, though more was published once");
    assert_eq!(streams.kept(), 1, "the stream holds the first");
    assert_eq!(
        (streams.flight.add(Which::Events, "id", 1, None).after, streams.flight.add(Which::Inbox, "id", 1, None).after),
        (5, 6)
    );
    assert_eq!(streams.state, State::Behind);
}

#[test]
fn what_somebody_must_mend_ends_a_start_and_is_waited_for_later() {
    let mut streams = streams();
    assert!(streams.found(Err(Trouble::Refused("it differs".into()))).is_err());
    assert!(streams.found(Err(Trouble::Refused("it differs".into()))).is_ok());
    assert!(matches!(streams.state, State::Waiting(_)) && streams.parts.health.is_troubled());
}

#[tokio::test]
async fn a_fault_lets_go_of_what_was_read_ahead_and_of_what_is_under_way() {
    let mut streams = streams();
    streams.state = State::InStep;
    streams.flight.add(Which::Events, "id", 1, None);
    streams.flight.be_late();
    streams.ahead.push_back(Step::Whole(7));
    streams.reading = Some(tokio::sync::mpsc::channel(1).1);
    streams.look(0).await;
    assert!(matches!(streams.state, State::Waiting(until) if until > Instant::now()), "{:?}", streams.state);
    assert!(streams.ahead.is_empty() && streams.reading.is_none() && streams.flight.is_empty());
}

#[tokio::test]
async fn a_stop_waits_for_what_may_still_be_stored_and_for_nothing_else() {
    let soon = Duration::from_secs(20);
    let mut lost = streams();
    assert_eq!(tokio::time::timeout(soon, lost.finish(0)).await, Ok(false), "there is no connection");
    let mut away = streams();
    away.state = State::Waiting(Instant::now() + 3 * soon);
    away.parts.health.trouble("away");
    assert_eq!(tokio::time::timeout(soon, away.finish(0)).await, Ok(false));
    let mut whole = streams();
    whole.state = State::InStep;
    assert_eq!(tokio::time::timeout(soon, whole.finish(0)).await, Ok(true));
    whole.flight.add(Which::Events, "id", 1, None);
    assert!(tokio::time::timeout(LOOK_EVERY, whole.finish(0)).await.is_err(), "it is not acknowledged");
}

#[test]
fn what_is_published_apart_names_a_stream_that_is_none_unless_no_stream_could_take_it() {
    for (place, expected) in [(Place::Event, Some(NO_STREAM)), (Place::Inbox, Some(NO_STREAM)), (Place::Standby, None)]
    {
        let (_, headers, _) = Streams::apart(message(place, "a"));
        assert_eq!(headers.get(NATS_EXPECTED_STREAM).map(|name| name.as_str()), expected, "{place:?}");
    }
}
