//! Answers that show something: where in the order they can stand.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;

use crate::checker::Traced;
use crate::history::{Operation, Page, Said, Seen};
use crate::judge::{Expected, channel, judge};
use crate::listings::is_asked_for;
use crate::log::{CONFIG, Decision};
use crate::model::{Stage, World};
use crate::timeline::{Slot, Timeline};

/// Finds the first place of an answer, not before the one given.
pub type First<'a> = Box<dyn Fn(u64) -> Option<u64> + 'a>;

/// What answers are held against.
pub struct Reads<'a> {
    pub log: &'a [Decision],
    pub timeline: &'a Timeline,
    pub traced: &'a Traced,
    /// What was shown of a version once is shown of it always.
    pub digests: RefCell<HashMap<(String, u64), u64>>,
}

impl<'a> Reads<'a> {
    /// Holds an answer that names events against the decision in the log.
    pub fn check_applied(&self, operation: &Operation, said: &Said, own: Option<&Decision>) -> Result<(), String> {
        let decision = own.ok_or_else(|| format!("answered as applied, and not in the log: {:?}", said.events))?;
        let recorded: Vec<(u64, String)> = decision.numbered().map(|(seq, event)| (seq, event.kind.clone())).collect();
        if said.events != recorded {
            return Err(format!("answered with {:?}, the log has {recorded:?}", said.events));
        }
        if said.replayed {
            return Ok(());
        }
        if operation.conversation == CONFIG {
            let version = decision.events.last().map(|event| event.version);
            return expect(said.version == version, || format!("expected version {version:?}"));
        }
        let (_, after) = self.timeline.around(&decision.conversation, decision.last).ok_or("it has no place")?;
        let seen = said.states.first().ok_or("expected the conversation")?;
        expect(seen.whole.is_some(), || "expected the whole conversation".into())?;
        expect(shows(after, seen), || format!("expected {after:?}"))?;
        expect(is_relayed_well(operation, said, after), || "relayed to somebody else".into())?;
        self.check_digest(seen)
    }

    /// The moments that an answer shows; several where it is a page.
    pub fn items(&'a self, number: usize, operation: &'a Operation, said: &'a Said) -> Result<Vec<First<'a>>, String> {
        said.states.iter().try_for_each(|seen| self.check_digest(seen))?;
        if operation.conversation == CONFIG {
            return self.config(operation, said).map(|first| vec![first]);
        }
        if let Some(page) = &said.page {
            return self.page(operation, page).map(|first| vec![first]);
        }
        match operation.verb.as_str() {
            "conversations" | "list" if said.code.is_none() => {
                said.states.iter().map(|seen| self.row(operation, seen)).collect()
            }
            "conversation" if operation.body.get("at_seq").is_some() => self.past(operation, said).map(|it| vec![it]),
            _ => self.shown(number, operation, said).map(|first| vec![first]),
        }
    }

    /// An answer about one conversation.
    fn shown(&'a self, number: usize, operation: &'a Operation, said: &'a Said) -> Result<First<'a>, String> {
        let all = self.timeline.slots(&operation.conversation);
        let slots = match said.states.first() {
            None => all,
            Some(seen) => {
                expect(seen.id == operation.conversation, || "another conversation".into())?;
                let slot = self.timeline.with_version(&seen.id, seen.version).filter(|slot| shows(slot, seen));
                let slot = slot.ok_or_else(|| format!("the log never had it so: {seen:?}"))?;
                std::slice::from_ref(slot)
            }
        };
        Ok(Box::new(move |from| {
            let begin = slots.partition_point(|slot| slot.until < from);
            slots[begin..].iter().find_map(|slot| self.first_in(slot, number, operation, said, from))
        }))
    }

    fn first_in(&self, slot: &Slot, number: usize, operation: &Operation, said: &Said, from: u64) -> Option<u64> {
        let decided = self.traced.under_id_of(operation).map(|at| (at, 2 * self.log[at].last + 1));
        let mut place = from.max(slot.from) | 1;
        while place <= slot.until {
            let under_id = decided.filter(|(_, known_from)| place >= *known_from).map(|(at, _)| at);
            if self.is_right(number, operation, said, slot, place, under_id) {
                return Some(place);
            }
            let changes = [self.timeline.next_switch(place), decided.map(|(_, known_from)| known_from)];
            place = changes.into_iter().flatten().filter(|change| *change > place).min()?;
        }
        None
    }

    /// Whether the answer is what must come of the request in that state, at that place.
    fn is_right(
        &self,
        number: usize,
        operation: &Operation,
        said: &Said,
        slot: &Slot,
        place: u64,
        under_id: Option<usize>,
    ) -> bool {
        let is_unknown = slot.world.stage == Stage::Unknown;
        if operation.role == "query" {
            let code = is_unknown.then_some("conversation_not_found");
            return said.code.as_deref() == code && said.states.is_empty() == is_unknown;
        }
        let c_is_on = self.timeline.c_is_on(place);
        let expected = judge(operation, slot, c_is_on);
        let is_refused = |code: &str| said.code.as_deref() == Some(code) && facts_are_right(said, slot);
        if expected == Expected::Refused("unknown_integration") {
            return is_refused("unknown_integration");
        }
        let tells = !matches!(expected, Expected::Refused("wrong_channel" | "not_allowed")) || operation.verb == "take";
        if said.states.is_empty() == (tells && !is_unknown) {
            return false;
        }
        if let Some(at) = under_id {
            return match self.traced.operation_of(at) == Some(number) {
                true => said.replayed && is_relayed_well(operation, said, slot),
                false => is_refused("command_id_reused"),
            };
        }
        if said.replayed || (operation.verb != "state" && self.timeline.is_orphaned(slot, place)) {
            return false;
        }
        let outcome = |outcome: &str| said.outcome.as_deref() == Some(outcome) && said.events.is_empty();
        match expected {
            Expected::Refused(code) => is_refused(code),
            Expected::Unchanged => outcome("unchanged") && said.relayed_to.as_ref().is_none_or(Option::is_none),
            Expected::Becomes(world) if world == (World { c_is_on, ..slot.world }) => {
                outcome("applied") && is_relayed_well(operation, said, slot)
            }
            Expected::Becomes(_) => false,
            Expected::Shown => said.code.is_none() && said.outcome.is_none(),
        }
    }

    /// A row of a page stands where its conversation was so.
    fn row(&'a self, operation: &Operation, seen: &Seen) -> Result<First<'a>, String> {
        let slot = self.timeline.with_version(&seen.id, seen.version).filter(|slot| shows(slot, seen));
        let slot = slot.ok_or_else(|| format!("the log never had it so: {seen:?}"))?;
        expect(seen.whole.is_some(), || format!("expected the whole conversation, got {seen:?}"))?;
        expect(is_asked_for(operation, &seen.id, slot), || format!("nobody asked for it: {seen:?}"))?;
        Ok(Box::new(move |from| Some(from.max(slot.from) | 1).filter(|place| *place <= slot.until)))
    }

    /// The state of then: any moment after that will do.
    fn past(&'a self, operation: &Operation, said: &Said) -> Result<First<'a>, String> {
        let at_seq = operation.body["at_seq"].as_u64().unwrap_or(0);
        let slots = self.timeline.slots(&operation.conversation);
        let slot = &slots[slots.partition_point(|slot| slot.seq <= at_seq) - 1];
        match said.states.first() {
            Some(seen) => expect(shows(slot, seen), || format!("expected {slot:?} at seq {at_seq}"))?,
            None => {
                let is_right = slot.version == 0 && said.code.as_deref() == Some("conversation_not_found");
                expect(is_right, || format!("expected {slot:?} at seq {at_seq}"))?;
            }
        }
        // A conversation that nobody knows yet is refused before the moment is looked at.
        let whole = if said.states.is_empty() { None } else { self.timeline.whole(at_seq) };
        let known_from = whole.map_or(0, |last| 2 * last + 1);
        Ok(Box::new(move |from| Some(from.max(known_from))))
    }

    /// A page of events: all there are up to the head that it names, from where it was asked.
    fn page(&'a self, operation: &Operation, page: &Page) -> Result<First<'a>, String> {
        let (asked, limit) = (&operation.body, operation.body["limit"].as_u64().unwrap_or(100) as usize);
        let (from, until) = self.timeline.places_of_head(page.head_seq).ok_or("the log never ended there")?;
        let asked_from = asked["from_seq"].as_u64().unwrap_or(1);
        let begin = self.log.partition_point(|decision| decision.last < asked_from);
        let of_it = |decision: &&Decision| operation.verb == "log" || decision.conversation == operation.conversation;
        let decisions = self.log[begin..].iter().filter(of_it);
        let events = decisions.flat_map(Decision::numbered).map(|(seq, event)| (seq, event.digest));
        let mut events = events.filter(|(seq, _)| (asked_from..=page.head_seq).contains(seq));
        let expected: Vec<(u64, u64)> = events.by_ref().take(limit).collect();
        // A page may end early; it always says where the next one starts.
        let is_whole = page.next_seq.is_none();
        let fits = match is_whole {
            true => page.events == expected,
            false => expected.starts_with(&page.events) && !page.events.is_empty(),
        };
        expect(fits, || format!("expected {expected:?}"))?;
        let rest = expected.get(page.events.len()).copied().or_else(|| events.next());
        let rest = rest.map(|(seq, _)| seq);
        // It may lie before the event that comes next, not behind it, nor before what was shown.
        let shown = page.events.last().map_or(asked_from, |(seq, _)| seq + 1);
        let leads_on = |next: u64| rest.is_some_and(|seq| (shown..=seq).contains(&next));
        expect(page.next_seq.map_or(rest.is_none(), leads_on), || format!("{rest:?} comes next"))?;
        Ok(Box::new(move |after| Some(after.max(from) | 1).filter(|place| *place <= until)))
    }

    fn config(&'a self, operation: &Operation, said: &Said) -> Result<First<'a>, String> {
        let version = said.version.ok_or("expected a version")?;
        let (from, until) = self.timeline.config_places(version).ok_or("the configuration never had it")?;
        let is_stale = operation.body["expected_version"].as_u64().is_some_and(|expected| expected != version);
        let is_so = operation.body["c"] == Value::Bool(self.timeline.c_is_on(from));
        let is_right = match (operation.verb.as_str(), said.code.as_deref(), said.outcome.as_deref()) {
            ("config", None, None) => true,
            (_, Some("stale_version"), None) => is_stale,
            (_, None, Some("unchanged")) => !is_stale && is_so,
            _ => false,
        };
        expect(is_right, || format!("not right with configuration {version}"))?;
        Ok(Box::new(move |after| Some(after.max(from) | 1).filter(|place| *place <= until)))
    }

    fn check_digest(&self, seen: &Seen) -> Result<(), String> {
        let Some(whole) = &seen.whole else { return Ok(()) };
        let mut digests = self.digests.borrow_mut();
        let first = *digests.entry((seen.id.clone(), seen.version)).or_insert(whole.digest);
        expect(first == whole.digest, || format!("version {} of {} was shown otherwise", seen.version, seen.id))
    }
}

fn expect(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

/// Whether a state is shown as the log has it.
pub fn shows(slot: &Slot, seen: &Seen) -> bool {
    let is_short = (slot.version, slot.epoch, slot.seq) == (seen.version, seen.epoch, seen.seq)
        && slot.status == seen.status
        && slot.owner == seen.owner;
    is_short
        && seen.whole.as_ref().is_none_or(|whole| {
            (whole.session, whole.metadata) == (slot.session, slot.metadata_digest)
                && whole.channel == channel(&seen.id)
                && whole.offered_to == slot.offered_to
        })
}

fn facts_are_right(said: &Said, slot: &Slot) -> bool {
    let is_right = |name: &str, value: Value| said.facts.get(name).is_none_or(|fact| *fact == value);
    is_right("owner", slot.owner.clone().into())
        && is_right("epoch", slot.epoch.into())
        && is_right("version", slot.version.into())
        && (said.code.as_deref() != Some("not_in_control") || said.facts.get("owner").is_some())
}

/// Words go to who holds control, and from there to the channel; to nobody where there are none.
fn is_relayed_well(operation: &Operation, said: &Said, slot: &Slot) -> bool {
    let has_words = operation.body.get("content").is_some();
    let to = match operation.verb.as_str() {
        "message" => slot.owner.clone(),
        "reply" => Some(channel(&operation.conversation).to_owned()),
        _ => return said.relayed_to.is_none(),
    };
    said.relayed_to == Some(to.filter(|_| has_words))
}
