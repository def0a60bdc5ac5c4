//! The recorded commands decided again under another configuration: which sessions would have gone otherwise.
//!
//! Two worlds run side by side: the recorded one, as the log has it, and the other one. The rules of the comparison:
//!
//! 1. The other configuration stands from the first entry on, in the place of all that was configured; recorded changes
//!    of the configuration, and removals that followed from them, are not repeated.
//! 2. Commands are repeated as they were recorded, at their time. Timers are not: in the other world each acts at the
//!    moment at which it is due there, before any later command, as if the service had never been away.
//! 3. Sessions are compared from their start on, and again from the start after both worlds were closed. It counts what
//!    happens, from whom to whom, and for which cause; deadlines, metadata and message ids alone make no difference.
//! 4. What both worlds have due, and the other no sooner, comes when the recorded one came, however late that was.
//! 5. A command that would be refused or come to something else is certain, and so is a timer that would not have acted,
//!    or not yet.
//! 6. A timer that would have acted where none did is certain, unless a message that the log does not hold could have put
//!    it off: later than the last noted, by less than after which activity was noted again. What a decision says of the
//!    last activity is believed. It is uncertain, too, where the recorded timer was held up by an outage or a restart.
//! 7. A note of activity is taken for a message, or for a `start` where a message would have left more than a note. What
//!    that comes to is uncertain: a note does not say what it was.
//! 8. A refusal for too many open conversations is certain only if so many would be open of which nothing is uncertain.
//! 9. The end of a session that went otherwise is certain only where it comes with the first difference. A later one
//!    rests on commands sent in another world, or never sent.
//! 10. A session that begins where the one before would still be open does not begin, which is uncertain.
//! 11. Commands that were refused are not in the log: what the other configuration allows beyond the recorded one shows
//!     only where a recorded command comes to it.
//!
//! 12. In a log whose old volumes were removed, sessions that were under way where it begins are not compared: how they
//!     came to be so is not known. What was closed there is compared from its next session on.
//!
//! In memory is only what is open in one of the worlds. What is closed in both is forgotten; a later entry says itself
//! that there was a session before.

mod alike;
mod command;
mod outcome;
mod parted;
mod room;
mod twin;
mod why;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use serde::Deserialize;

pub use outcome::{Difference, Ended, EndsBy, Otherwise, Tally, Way};
use room::Room;
use twin::{Step, Twin};

use super::base;
use super::record::Entry;
use crate::domain::command::Due;
use crate::domain::config::{AfterClose, Document};
use crate::domain::conversation::Status;
use crate::domain::{By, Command, Config, Conversation, ConversationId, Event, Role, Time};
use crate::log::Reader;

/// The comparison under way. Entries go in by [`WhatIf::take`], in order; sessions come out as they are over.
pub struct WhatIf {
    recorded: Config,
    other: Config,
    twins: HashMap<ConversationId, Twin>,
    /// Under way where the log begins, and not compared before they are closed.
    under_way: HashMap<ConversationId, Conversation>,
    looks: BinaryHeap<Reverse<(Time, ConversationId)>>,
    room: Room,
    told: Vec<Otherwise>,
    tally: Tally,
}

/// What an event says of the session that it is of.
#[derive(Deserialize)]
struct OfSession {
    session: u32,
}

impl WhatIf {
    /// A comparison with that configuration.
    pub fn new(document: &Document) -> WhatIf {
        WhatIf {
            recorded: Config::default(),
            other: Config::from_the_beginning(document),
            twins: HashMap::new(),
            under_way: HashMap::new(),
            looks: BinaryHeap::new(),
            room: Room::default(),
            told: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Takes in what everything was where the log begins; how many sessions were under way there.
    pub fn begin(&mut self, reader: &Reader) -> Result<usize, String> {
        self.recorded = Config::clone(&base::config(reader)?.config);
        for c in base::conversations(reader) {
            let c = c?;
            if c.status != Status::Closed {
                self.under_way.insert(c.id.clone(), c);
            }
        }
        Ok(self.under_way.len())
    }

    /// Takes the next line of the log. What is wrong with it, where something is.
    pub fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let line = Entry::parse(line)?;
        self.look_until(line.at);
        self.tally.last_at = Some(line.at);
        if line.is_config() {
            line.fold_config(&mut self.recorded)?;
            self.twins.values_mut().for_each(|twin| twin.config_changed(&self.recorded));
            return Ok(());
        }
        self.take_conversation(&line)
    }

    /// Sessions that would have gone otherwise, as far as they are over and were not given yet.
    pub fn told(&mut self) -> Vec<Otherwise> {
        std::mem::take(&mut self.told)
    }

    /// Ends the comparison where the log ends: what was counted.
    pub fn finish(&mut self) -> Tally {
        let until = self.tally.last_at.unwrap_or_default();
        let mut ids: Vec<ConversationId> = self.twins.keys().cloned().collect();
        ids.sort();
        for id in ids {
            let Some(mut twin) = self.twins.remove(&id) else { continue };
            let rules = self.room.rules(&self.recorded, &self.other, twin.channel());
            twin.wait_until(until, rules);
            self.tell(twin.told_at_last(rules));
        }
        self.tally
    }

    fn take_conversation(&mut self, line: &Entry<'_>) -> Result<(), String> {
        let id = ConversationId::parse(&line.conversation).map_err(|bad| bad.to_string())?;
        if let Some(c) = self.under_way.remove(&id) {
            let mut state = Some(c);
            line.fold(&mut state)?;
            self.under_way.extend(state.filter(|c| c.status != Status::Closed).map(|c| (id, c)));
            return Ok(());
        }
        // What cannot be read leaves everything as it was, so that it can still be told.
        let begun = if self.twins.contains_key(&id) { None } else { Some(unknown(&id, line)?) };
        let mut after = begun.as_ref().or_else(|| self.twins.get(&id)).and_then(Twin::recorded).cloned();
        line.fold_note(&mut after);
        let events = (0..line.events.len()).map(|at| line.fold_event(at, &mut after)).collect::<Result<Vec<_>, _>>()?;
        let after = after.ok_or_else(|| format!("expected {id} to have begun"))?;
        let asked = command::recorded(line, &events)?;
        let known = self.twins.remove(&id).inspect(|twin| self.room.leave(twin));
        let Some(mut twin) = known.or(begun) else { return Ok(()) };
        twin.is_presumed_closed = false;
        let channel = By::caller(Role::Channel, after.channel.clone(), None);
        let step = step(line, &events, asked.as_ref(), &channel);
        let rules = self.room.rules(&self.recorded, &self.other, &after.channel);
        twin.wait_for(&step, &after, rules);
        if twin.is_over() && begins(&events) {
            self.tell(std::mem::replace(&mut twin, unknown(&id, line)?).told_at_last(rules));
        }
        self.tally.sessions += u64::from(begins(&events));
        let rules = self.room.rules(&self.recorded, &self.other, &after.channel);
        twin.take(&step, after, rules);
        self.keep(id, twin);
        Ok(())
    }

    /// Keeps a conversation as long as it is open in one of the worlds and something may still come of it.
    fn keep(&mut self, id: ConversationId, mut twin: Twin) {
        self.tell(twin.told());
        self.room.enter(&twin);
        let rules = self.room.rules(&self.recorded, &self.other, twin.channel());
        if twin.is_over() {
            return self.tell(twin.told_at_last(rules));
        }
        let due = twin.next_due(rules).map(|(at, _)| at);
        let takes_nothing = self.recorded.settings(twin.channel()).after_close() == AfterClose::Refuses;
        if twin.is_left_to_itself() && due.is_none() && takes_nothing {
            return self.tell(twin.told_at_last(rules));
        }
        if let Some(due) = due.filter(|due| twin.looked_at.is_none_or(|at| *due < at)) {
            twin.looked_at = Some(due);
            self.looks.push(Reverse((due, id.clone())));
        }
        self.twins.insert(id, twin);
    }

    /// Looks at what is due in the other world until then: nothing may be recorded of it ever again.
    fn look_until(&mut self, now: Time) {
        while self.looks.peek().is_some_and(|Reverse((at, _))| *at < now) {
            let Some(Reverse((at, id))) = self.looks.pop() else { return };
            let Some(mut twin) = self.twins.remove(&id) else { continue };
            if twin.looked_at != Some(at) {
                self.twins.insert(id, twin);
                continue;
            }
            twin.looked_at = None;
            let rules = self.room.rules(&self.recorded, &self.other, twin.channel());
            match twin.next_due(rules).filter(|(due, _)| *due <= at) {
                Some((_, due)) if !twin.is_left_to_itself() => {
                    // What is recorded next says more: it is waited for.
                    self.room.leave(&twin);
                    twin.is_presumed_closed = due != Due::OfferExpiry;
                    self.room.enter(&twin);
                    self.twins.insert(id, twin);
                }
                _ => {
                    self.room.leave(&twin);
                    twin.is_presumed_closed = false;
                    twin.wait_until(at, rules);
                    self.keep(id, twin);
                }
            }
        }
    }

    fn tell(&mut self, sessions: Vec<Otherwise>) {
        sessions.iter().for_each(|session| self.tally.count(session));
        self.told.extend(sessions);
    }
}

/// Whether a session begins or goes on with these events.
fn begins(events: &[Event]) -> bool {
    matches!(events.first(), Some(Event::Started(_) | Event::Reopened(_)))
}

/// A conversation of which nothing is held: it begins, or was closed in both worlds.
fn unknown(id: &ConversationId, line: &Entry<'_>) -> Result<Twin, String> {
    if line.note.is_some() {
        return Err(format!("a note of {id}, which has not begun or is closed"));
    }
    let (Some(channel), Some(event)) = (&line.channel, line.events.first()) else {
        return Err(format!("expected {id} to begin with an event and its channel"));
    };
    let of: OfSession =
        serde_json::from_str(event.data.get()).map_err(|error| format!("expected a session: {error}"))?;
    let sessions = match &*event.full_name {
        "switchboard.conversation.started" => of.session.saturating_sub(1),
        "switchboard.conversation.reopened" => of.session,
        other => return Err(format!("expected {id} to begin with conversation.started, got {other}")),
    };
    Ok(Twin::closed(id, channel, sessions, line.at))
}

fn step<'a>(line: &'a Entry<'_>, events: &'a [Event], asked: Option<&'a (By, Command)>, channel: &'a By) -> Step<'a> {
    Step {
        seq: line.seq,
        at: line.at,
        by: line.by.as_ref().unwrap_or(channel),
        asked: asked.map(|(_, command)| command),
        verb: line.command.as_ref().map_or("", |command| command.verb.as_str()),
        events,
        is_activity: line.note.is_some() || asked.is_some_and(|(_, command)| command.may_begin()),
    }
}
