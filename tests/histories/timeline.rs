//! What the log says each conversation was, and when: the moments between its decisions.
//!
//! A place in the order of everything is a number: a decision whose last event has `seq` n stands at 2n, and what is
//! read between it and the next one at 2n + 1.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::history::digest_of_metadata;
use crate::log::{CONFIG, Decision, Happened};
use crate::metadata::merged;
use crate::model::{C, Stage, World};

/// The integrations of the model, by their place in it.
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// A conversation from one of its decisions to the next.
#[derive(Debug, Clone)]
pub struct Slot {
    /// In the model's words; of `c_is_on` nothing is meant here.
    pub world: World,
    pub session: u64,
    pub version: u64,
    pub epoch: u64,
    pub seq: u64,
    pub status: String,
    pub owner: Option<String>,
    pub offered_to: Option<String>,
    pub metadata: Map<String, Value>,
    /// What accepting the pending offer sets.
    pub offered_metadata: Map<String, Value>,
    pub metadata_digest: u64,
    /// When its pending offer expires, and when its end is completed for whoever has it, if that is limited.
    pub expires_at: Option<u64>,
    pub deadline: Option<u64>,
    /// The last `seq` of the decisions by which its owner got control, and the offered one its offer.
    owned_since: u64,
    offered_since: u64,
    /// The first place and the last one.
    pub from: u64,
    pub until: u64,
}

/// The whole log, by conversation.
pub struct Timeline {
    slots: HashMap<String, Vec<Slot>>,
    /// From which place on the integration `c` is enabled, or is not.
    switches: Vec<(u64, bool)>,
    /// The versions of the configuration, with the place of the decision.
    configs: Vec<(u64, u64)>,
    /// The last `seq` of every decision.
    ends: Vec<u64>,
    unknown: Vec<Slot>,
}

impl Timeline {
    /// Reads the decisions; says which of them is not where it must be.
    pub fn of(log: &[Decision]) -> Result<Timeline, String> {
        let mut timeline = Timeline {
            slots: HashMap::new(),
            switches: vec![(0, false)],
            configs: vec![(0, 0)],
            ends: Vec::new(),
            unknown: vec![Slot::unknown()],
        };
        let mut next = 1;
        for decision in log {
            if decision.first() != next || decision.events.is_empty() {
                return Err(format!("expected the log to go on at seq {next}, got {decision:?}"));
            }
            next = decision.last + 1;
            timeline.ends.push(decision.last);
            match decision.conversation.as_str() {
                CONFIG => timeline.take_config(decision),
                _ => timeline.take(decision)?,
            }
        }
        Ok(timeline)
    }

    /// The slots of a conversation; the first is that before its first decision.
    pub fn slots(&self, conversation: &str) -> &[Slot] {
        self.slots.get(conversation).unwrap_or(&self.unknown)
    }

    /// The ids of all conversations.
    pub fn conversations(&self) -> impl Iterator<Item = &str> {
        self.slots.keys().map(String::as_str)
    }

    /// The slot after the decision with that last `seq`, and the one before.
    pub fn around(&self, conversation: &str, last: u64) -> Option<(&Slot, &Slot)> {
        let slots = self.slots(conversation);
        let at = slots.binary_search_by_key(&last, |slot| slot.seq).ok().filter(|at| *at > 0)?;
        Some((&slots[at - 1], &slots[at]))
    }

    /// The slot that shows that version.
    pub fn with_version(&self, conversation: &str, version: u64) -> Option<&Slot> {
        let slots = self.slots(conversation);
        slots.binary_search_by_key(&version, |slot| slot.version).ok().map(|at| &slots[at])
    }

    /// Whether `c` is enabled for what stands at that place.
    pub fn c_is_on(&self, place: u64) -> bool {
        let later = self.switches.partition_point(|(at, _)| *at < place);
        self.switches[later.max(1) - 1].1
    }

    /// The first place after that one from which `c` is otherwise.
    pub fn next_switch(&self, place: u64) -> Option<u64> {
        let later = self.switches.partition_point(|(at, _)| *at < place);
        self.switches.get(later).map(|(at, _)| at + 1)
    }

    /// Whether `c` was switched off since it got control or its offer, be it on again or not: that is taken away before
    /// anything else is decided.
    pub fn is_orphaned(&self, slot: &Slot, place: u64) -> bool {
        let went = |since: u64| self.switches.iter().any(|(at, is_on)| !is_on && (2 * since..place).contains(at));
        let is_held = slot.world.owner == Some(C) && went(slot.owned_since);
        is_held || (slot.world.offer == Some(C) && went(slot.offered_since))
    }

    /// The first and the last place that show that version of the configuration.
    pub fn config_places(&self, version: u64) -> Option<(u64, u64)> {
        let at = self.configs.iter().position(|(_, found)| *found == version)?;
        Some((self.configs[at].0 + 1, self.configs.get(at + 1).map_or(u64::MAX, |(next, _)| next - 1)))
    }

    /// The first and the last place where the log ends at `head`; none where no decision ends there.
    pub fn places_of_head(&self, head: u64) -> Option<(u64, u64)> {
        let at = self.ends.binary_search(&head).ok()?;
        Some((2 * head + 1, self.ends.get(at + 1).map_or(u64::MAX, |next| 2 * next - 1)))
    }

    /// The last `seq` of the decision of which `seq` is an event.
    pub fn whole(&self, seq: u64) -> Option<u64> {
        self.ends.get(self.ends.partition_point(|end| *end < seq)).copied()
    }

    fn take(&mut self, decision: &Decision) -> Result<(), String> {
        let slots = self.slots.entry(decision.conversation.clone()).or_insert_with(|| vec![Slot::unknown()]);
        let before = slots.last_mut().expect("the first is that of the unknown");
        let mut after = before.clone();
        before.until = 2 * decision.last - 1;
        decision.events.iter().try_for_each(|event| after.take(event, decision))?;
        (after.seq, after.from, after.until) = (decision.last, 2 * decision.last + 1, u64::MAX);
        slots.push(after);
        Ok(())
    }

    fn take_config(&mut self, decision: &Decision) {
        let place = 2 * decision.last;
        for event in &decision.events {
            match &event.enabled {
                Some((name, is_on)) if name == NAMES[2] => self.switches.push((place, *is_on)),
                _ => {}
            }
        }
        self.configs.push((place, decision.events.last().map_or(0, |event| event.version)));
    }
}

impl Slot {
    fn unknown() -> Slot {
        Slot {
            world: World::BEGINNING,
            session: 0,
            version: 0,
            epoch: 0,
            seq: 0,
            status: String::new(),
            owner: None,
            offered_to: None,
            metadata: Map::new(),
            offered_metadata: Map::new(),
            metadata_digest: digest_of_metadata(None),
            expires_at: None,
            deadline: None,
            owned_since: 0,
            offered_since: 0,
            from: 1,
            until: u64::MAX,
        }
    }

    fn take(&mut self, event: &Happened, decision: &Decision) -> Result<(), String> {
        let wrong = |what: &str| format!("{what} in {decision:?} after {self:?}");
        let kind = event.kind.strip_prefix("switchboard.").unwrap_or_default();
        let changes_owner =
            matches!(kind, "control.assigned" | "control.passed" | "control.accepted" | "control.released");
        let expected = (
            self.version + 1,
            self.epoch + u64::from(changes_owner),
            self.session + u64::from(kind == "conversation.started"),
        );
        if (event.version, event.epoch, event.session) != expected {
            return Err(wrong(&format!("expected version, epoch and session {expected:?}")));
        }
        if !changes_owner && event.owner != self.owner && kind != "conversation.started" {
            return Err(wrong("the owner changed with an event that changes none"));
        }
        let status = event.status.as_deref().ok_or_else(|| wrong("expected a status"))?;
        let number = |name: &Option<String>| NAMES.iter().position(|known| Some(*known) == name.as_deref());
        self.world = World {
            stage: stage(status).ok_or_else(|| wrong("expected a known status"))?,
            owner: number(&event.owner),
            offer: number(&event.offered_to),
            accepted: if changes_owner { kind == "control.accepted" } else { self.world.accepted },
            last_owner: match kind {
                "conversation.started" => None,
                "control.released" => number(&self.owner),
                _ => self.world.last_owner,
            },
            c_is_on: true,
        };
        if changes_owner {
            self.owned_since = decision.last;
        }
        match kind {
            "control.offered" => (self.expires_at, self.offered_since) = (event.due, decision.last),
            "conversation.end_requested" => self.deadline = event.due,
            _ => {}
        }
        self.take_metadata(kind, &event.metadata);
        (self.version, self.epoch, self.session) = expected;
        self.status = status.to_owned();
        self.owner.clone_from(&event.owner);
        self.offered_to.clone_from(&event.offered_to);
        Ok(())
    }
}

impl Slot {
    fn take_metadata(&mut self, kind: &str, given: &Map<String, Value>) {
        match kind {
            "conversation.started" | "conversation.reopened" | "control.assigned" => self.metadata = given.clone(),
            "control.offered" => self.offered_metadata = given.clone(),
            "control.accepted" => self.metadata = merged(&merged(&self.metadata, &self.offered_metadata), given),
            "control.passed" | "control.released" => self.metadata = merged(&self.metadata, given),
            _ => return,
        }
        self.metadata_digest = digest_of_metadata(Some(&self.metadata));
    }
}

fn stage(status: &str) -> Option<Stage> {
    match status {
        "open" => Some(Stage::Open),
        "ending" => Some(Stage::Ending),
        "closed" => Some(Stage::Closed),
        _ => None,
    }
}
