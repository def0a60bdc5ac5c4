//! The bytes of a head do not say what they are: a cache of older bytes, read as newer ones, would be served.

use serde_json::{Value, json};
use switchboard::domain::conversation::{Close, EndRequest, Offer, Status};
use switchboard::domain::event::{EndCause, Kind};
use switchboard::domain::{By, Conversation, Role, Time};
use switchboard::log::{Log, Place};
use switchboard::switchboard::PartSizes;
use switchboard::switchboard::head::{glance, read};
use switchboard::switchboard::port::Ask;
use switchboard::switchboard::slot::Slot;

use super::say::*;
use super::site::{Cached, Site};
use super::usual;

/// A conversation with something in every field, and what else stands in a cache beside it.
const BYTES: &str = include_str!("heads.hex");

/// Small, so that there are pages.
const SIZES: PartSizes = PartSizes { page_items: 2, mark_entries: 256 };

const KINDS: [Kind; 10] = [
    Kind::Started,
    Kind::Reopened,
    Kind::Assigned,
    Kind::Passed,
    Kind::Offered,
    Kind::OfferWithdrawn,
    Kind::Accepted,
    Kind::Released,
    Kind::EndRequested,
    Kind::Closed,
];

#[test]
fn the_bytes_in_a_cache_are_those_of_its_format() {
    let slot = full();
    let mut lines = vec![format!("head {}", hex(&slot.to_head()))];
    lines.extend(slot.parts().iter().map(|(part, number, bytes)| format!("{part:?} {number} {}", hex(bytes))));
    let status = postcard::to_allocvec(&(Status::Open, Status::Ending, Status::Closed));
    let roles = postcard::to_allocvec(&(Role::Channel, Role::Integration, Role::Operator, Role::Timer, Role::Config));
    let causes = (EndCause::EndUser, EndCause::Integration, EndCause::Operator, EndCause::Inactivity);
    lines.push(format!("status {}", hex(&status.unwrap())));
    lines.push(format!("roles {}", hex(&roles.unwrap())));
    lines.push(format!("causes {}", hex(&postcard::to_allocvec(&causes).unwrap())));
    let expected: Vec<&str> = BYTES.lines().collect();
    assert_eq!(lines, expected, "these bytes changed: raise FORMAT in log/cache.rs, then take them into heads.hex");
}

#[test]
fn a_head_that_does_not_read_is_told_of_and_the_next_start_builds_the_cache_again() {
    let asked: [fn(&mut Site) -> Value; 4] = [
        |site| site.question(anybody(), Ask::State { id: conversation("c1") }),
        |site| site.list(everything(10)),
        |site| site.ask(overrule_release("c1")),
        // Nobody asks: the round after a start looks at what is open.
        |site| {
            site.run();
            json!({"error": {"code": "log_failed"}})
        },
    ];
    for (at, ask) in asked.into_iter().enumerate() {
        for place in [Place::Open, Place::Closed] {
            if (at, place) == (3, Place::Closed) {
                continue;
            }
            let mut site = damaged(place);
            assert!(site.through.is_some(), "a glance does not see it");
            assert_eq!(ask(&mut site)["error"]["code"], "log_failed", "question {at}, {place:?}");
            assert_eq!(site.state("c2")["owner"], "bot", "others are served");
            let mut site = site.restart(Cached::AsItIs);
            assert_eq!(site.through, None, "question {at}, {place:?}");
            assert_eq!(site.state("c1")["user"], "u7");
            assert_eq!(site.list(everything(10))["conversations"].as_array().unwrap().len(), 2);
        }
    }
}

/// Started with a cache in which the head of one conversation ends too soon, under a checksum that fits.
fn damaged(place: Place) -> Site {
    let mut site = Site::new(&usual());
    site.ask(start("c1").user("u7"));
    site.ask(start("c2"));
    if place == Place::Closed {
        site.ask(overrule_end("c1"));
    }
    site.keep_everything().run();
    let open = site.cache.scan_open().map(Result::unwrap).find(|(id, _)| id == "c1");
    assert_eq!(open.is_some(), place == Place::Open);
    let head = open.map(|(_, head)| head).or_else(|| site.cache.closed("c1").unwrap()).unwrap();
    let short = (0..head.len()).map(|end| &head[..end]).find(|short| glance(short).is_ok()).expect("a glance");
    assert!(read(&conversation("c1"), short).is_err());
    let frames = site.head().frames;
    site.cache.put([("c1", place, short)].into_iter(), frames, &site.log.reader()).unwrap();
    site.restart(Cached::AsItIs)
}

fn full() -> Slot {
    let mut slot = Slot::new(full_conversation());
    (1..=5).for_each(|n| slot.is_in_frame(n * 300, SIZES));
    for n in 1..=3 {
        slot.ids.remember((n, n * 1000), n as u32, n * 10, KINDS.into_iter(), SIZES.page_items);
        slot.ids.session_began(n as u32, Time(n * 100), Time(n * 100), SIZES.page_items);
    }
    slot
}

/// No two fields hold the same, so that none can take the place of another.
fn full_conversation() -> Conversation {
    let patch = json!({"tier": "gold", "gone": null, "amount": 12.5, "vip": true});
    let by = |role, who| By::caller(role, name(who), Some(format!("{who}'s person").into()));
    Conversation {
        session: 3,
        user: Some("u7".into()),
        continued_from: Some("c6".into()),
        status: Status::Ending,
        owner: Some(name("bot")),
        owner_changed_at: Time(1_800_000_000_001),
        owner_seq: 1001,
        owner_accepted: true,
        last_owner: Some(name("desk")),
        last_activity_at: Time(1_800_000_000_002),
        offer: Some(Box::new(Offer {
            to: name("survey"),
            by: by(Role::Integration, "orders"),
            reason: Some("a question".into()),
            metadata: serde_json::from_value(patch).unwrap(),
            expires_at: Some(Time(1_800_000_000_003)),
            offered_at: Time(1_800_000_000_004),
            seq: 1002,
        })),
        version: 1003,
        epoch: 1004,
        seq: 1005,
        started_at: Time(1_800_000_000_005),
        last_message_id: Some("m1".into()),
        end_requested: Some(Box::new(EndRequest {
            by: by(Role::Channel, "web"),
            cause: EndCause::EndUser,
            reason: Some("done".into()),
            at: Time(1_800_000_000_006),
            deadline: Some(Time(1_800_000_000_007)),
            last_message_id: Some("m2".into()),
        })),
        closed: Some(Box::new(Close {
            by: by(Role::Operator, "olga"),
            cause: EndCause::Operator,
            at: Time(1_800_000_000_008),
            last_message_id: Some("m3".into()),
        })),
        metadata: serde_json::from_value(json!({"language": "pl", "score": -3})).unwrap(),
        ..Conversation::unborn(&conversation("c7"), &name("web"), Time(0))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
