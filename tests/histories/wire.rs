//! What was published, held against the log.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_nats::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::digest_of_event;
use crate::log::Decision;
use crate::rejections::Rejected;
use crate::timeline::{Slot, Timeline};

/// What somebody heard who lived through it all.
#[derive(Debug, Default)]
pub struct Wire {
    heard: Mutex<Heard>,
}

/// Events by `seq` and [digest](digest_of_event), in the order in which they came, and relayed messages.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    pub events: Vec<(u64, u64)>,
    pub relays: Vec<Relayed>,
    #[serde(default)]
    pub rejections: Vec<Rejected>,
    /// The times, from and to, through which all that was published was heard.
    #[serde(default)]
    pub spans: Vec<(u64, u64)>,
}

/// A message that was passed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relayed {
    pub conversation: String,
    pub epoch: u64,
    /// Who held control: the receiver of an end user's words, the sender of others.
    pub owner: Option<String>,
}

impl Wire {
    /// Takes in what came at that time on a subject below `switchboard.`.
    pub fn hear(&self, message: &Message, now: u64) {
        if let Some(rejected) = Rejected::read(message, now) {
            return self.heard.lock().unwrap().rejections.push(rejected);
        }
        let Ok(body) = serde_json::from_slice::<Value>(&message.payload) else { return };
        let tokens: Vec<&str> = message.subject.split('.').collect();
        let mut heard = self.heard.lock().unwrap();
        match tokens.as_slice() {
            [_, "event", ..] => {
                heard.events.push((body["data"]["seq"].as_u64().unwrap_or(0), digest_of_event(&body)));
            }
            [_, "inbox", "integration", owner, conversation, "message", "received"] => {
                heard.relays.push(Relayed::of(conversation, &body, Some(owner)));
            }
            [_, "inbox", "channel", _, conversation, "message", "sent"] => {
                heard.relays.push(Relayed::of(conversation, &body, body["data"]["by"]["name"].as_str()));
            }
            _ => {}
        }
    }

    /// From one time to the other nothing was missed.
    pub fn heard_all(&self, since: u64, until: u64) {
        self.heard.lock().unwrap().spans.push((since, until));
    }

    /// All of it so far.
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

impl Relayed {
    fn of(conversation: &str, body: &Value, owner: Option<&str>) -> Relayed {
        let epoch = body["data"]["epoch"].as_u64().unwrap_or(0);
        Relayed { conversation: conversation.to_owned(), epoch, owner: owner.map(str::to_owned) }
    }
}

/// How often the wire was cut for who listens, and publication began again.
#[derive(Debug, Default, Clone, Copy)]
pub struct Breaks {
    /// Connections that the service made: each may publish again what was not known to be published.
    pub connections: usize,
    /// Times that the server was gone: who listens may have missed what was published before it came back to it.
    pub outages: usize,
}

/// Holds what was heard against the log: each event as recorded, in order, none missing but around an outage.
/// How many events were missed, and how many publications were repeats.
pub fn check(heard: &Heard, log: &[Decision], breaks: Breaks) -> Result<(usize, usize), String> {
    let recorded: BTreeMap<u64, u64> =
        log.iter().flat_map(Decision::numbered).map(|(seq, e)| (seq, e.digest)).collect();
    let mut first_heard = BTreeMap::new();
    let (mut last, mut begun_again, mut repeats) = (0, 0, 0);
    for (seq, digest) in &heard.events {
        if recorded.get(seq) != Some(digest) {
            return Err(format!("event {seq} was published, and the log does not have it so"));
        }
        begun_again += usize::from(*seq <= last);
        last = *seq;
        repeats += usize::from(first_heard.insert(*seq, ()).is_some());
    }
    if begun_again > breaks.connections {
        return Err(format!("publication went back {begun_again} times, on {} connections", breaks.connections));
    }
    // The configuration was there before anybody listened.
    let since = first_heard.keys().next().copied().unwrap_or(0);
    let heard_of = recorded.range(since..).map(|(seq, _)| *seq);
    let missed: Vec<u64> = heard_of.filter(|seq| !first_heard.contains_key(seq)).collect();
    let holes = missed.chunk_by(|before, after| before + 1 == *after).count();
    if holes > breaks.outages {
        return Err(format!(
            "{holes} holes in what was heard, the server was gone {} times: {missed:?}",
            breaks.outages
        ));
    }
    check_relays(heard, log)?;
    Ok((missed.len(), repeats))
}

/// Words reach and leave nobody but the owner of that moment.
fn check_relays(heard: &Heard, log: &[Decision]) -> Result<(), String> {
    let timeline = Timeline::of(log)?;
    for relayed in &heard.relays {
        let slots = timeline.slots(&relayed.conversation);
        let slot: Option<&Slot> = slots.get(slots.partition_point(|slot| slot.epoch < relayed.epoch));
        if slot.is_none_or(|slot| slot.epoch != relayed.epoch || slot.owner != relayed.owner) {
            return Err(format!("{relayed:?}, and control was held by {:?}", slot.map(|slot| &slot.owner)));
        }
    }
    Ok(())
}
