//! One conversation in two worlds: as it was recorded, and as it would have gone.

use super::alike::are_alike;
use super::outcome::{Difference, EndsBy, Otherwise};
use super::parted::Parted;
use super::{begins, why};
use crate::domain::command::{ChannelCommand, Due, Expected};
use crate::domain::conversation::{Stamp, Status, evolve};
use crate::domain::decide::{Scene, Verdict, check_caller, decide};
use crate::domain::metadata::Patch;
use crate::domain::timers::{Activity, next_due, note_every_ms};
use crate::domain::{By, Command, Config, Conversation, ConversationId, Event, Name, Refusal, Role, Time};

/// A recorded timer that acted later than this after it was due was held up: by an outage, or a restart.
const HELD_UP_MS: u64 = 1000;

/// What both worlds are decided by, and how full the other one is.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub recorded: &'a Config,
    pub other: &'a Config,
    /// Conversations of the channel that would be open.
    pub open: u64,
    /// Those of them that surely would.
    pub surely_open: u64,
}

/// One recorded decision or note.
pub(super) struct Step<'a> {
    pub seq: u64,
    pub at: Time,
    pub by: &'a By,
    /// What was asked; none where something fell due or followed from the configuration.
    pub asked: Option<&'a Command>,
    /// The verb of what fell due.
    pub verb: &'a str,
    /// What came of it. None for a note.
    pub events: &'a [Event],
    /// Whether it is activity itself.
    pub is_activity: bool,
}

/// A conversation in both worlds.
pub(super) struct Twin {
    id: ConversationId,
    channel: Name,
    /// As recorded; none before its first event.
    recorded: Option<Conversation>,
    /// As it would be; none where it would not have begun.
    other: Option<Conversation>,
    /// The last activity that is known.
    activity: Time,
    /// How long after it more may have gone unnoted.
    note_every_ms: u64,
    /// Whether something went otherwise since both were closed.
    is_parted: bool,
    /// The sessions in which something did, as far as they were not told yet.
    parted: Vec<Parted>,
    /// When its timers are looked at next, though nothing is recorded of it.
    pub looked_at: Option<Time>,
    /// Whether the other world's timer would have acted, as far as is known until its next entry.
    pub is_presumed_closed: bool,
}

/// A span of time in which nothing is recorded of a conversation.
struct Gap {
    until: Time,
    /// Until when there may have been activity that the log does not hold.
    unknown_until: Time,
    /// By how much the recorded timer at its end was held up, where it was.
    held_up_ms: u64,
}

impl Twin {
    /// A conversation that is not known in either world, or closed in both since a session before the one to come.
    pub fn closed(id: &ConversationId, channel: &Name, sessions: u32, at: Time) -> Twin {
        let closed = (sessions > 0).then(|| {
            let mut c = Conversation::unborn(id, channel, at);
            (c.session, c.status) = (sessions, Status::Closed);
            c
        });
        Twin {
            id: id.clone(),
            channel: channel.clone(),
            recorded: closed.clone(),
            other: closed,
            activity: at,
            note_every_ms: 0,
            is_parted: false,
            parted: Vec::new(),
            looked_at: None,
            is_presumed_closed: false,
        }
    }

    /// As recorded up to now.
    pub fn recorded(&self) -> Option<&Conversation> {
        self.recorded.as_ref()
    }

    /// Whose conversation it is.
    pub fn channel(&self) -> &Name {
        &self.channel
    }

    /// Whether it is over in both worlds.
    pub fn is_over(&self) -> bool {
        is_closed(self.recorded.as_ref()) && is_closed(self.other.as_ref())
    }

    /// Whether only the other world goes on.
    pub fn is_left_to_itself(&self) -> bool {
        is_closed(self.recorded.as_ref()) && !is_closed(self.other.as_ref())
    }

    /// Whether it would be open, and whether that is sure.
    pub fn is_open(&self) -> (bool, bool) {
        let is_open = !is_closed(self.other.as_ref()) && !self.is_presumed_closed;
        (is_open, is_open && !self.is_parted)
    }

    /// When a timer of the other world is due, as far as is known.
    pub fn next_due(&self, rules: Rules<'_>) -> Option<(Time, Due)> {
        self.other_due(self.activity, rules)
    }

    /// Takes in that from now on it may be noted less often that somebody is there.
    pub fn config_changed(&mut self, recorded: &Config) {
        if let Some(c) = &self.recorded {
            self.note_every_ms = self.note_every_ms.max(note_every_ms(c, recorded));
        }
    }

    /// Lets time go by up to what is recorded next at that time, `after` which the conversation is so.
    pub fn wait_for(&mut self, step: &Step<'_>, after: &Conversation, rules: Rules<'_>) {
        let last_unnoted = self.last_unnoted();
        let unknown_before = |at: Time| last_unnoted.min(Time(at.0.saturating_sub(1)));
        let said = after.last_activity_at.max(self.activity);
        let held_up_ms = match step.by.role {
            Role::Timer => self.recorded_due(said, rules).map_or(0, |(due, _)| step.at.ms_since(due)),
            _ => 0,
        };
        if !step.is_activity && said > self.activity {
            self.wait(&Gap { until: said, unknown_until: unknown_before(said), held_up_ms }, rules);
            self.activity = said;
        }
        let unknown_until = if step.is_activity { unknown_before(step.at) } else { self.activity };
        self.wait(&Gap { until: step.at, unknown_until, held_up_ms }, rules);
    }

    /// Lets time go by up to a moment until which nothing is recorded.
    pub fn wait_until(&mut self, until: Time, rules: Rules<'_>) {
        let unknown_until = self.last_unnoted().min(until);
        self.wait(&Gap { until, unknown_until, held_up_ms: 0 }, rules);
    }

    /// Takes what is recorded next, `after` which the conversation is so, once time has gone by up to it.
    pub fn take(&mut self, step: &Step<'_>, after: Conversation, rules: Rules<'_>) {
        match step.asked {
            Some(command) => self.command(step, command, &after, rules),
            None if step.events.is_empty() => self.hear(step, &after, rules),
            None if !self.is_parted => self.fell_due(step, &after, rules),
            None => {}
        }
        if step.is_activity {
            self.activity = step.at;
        }
        self.note_every_ms = note_every_ms(&after, rules.recorded);
        self.recorded = Some(after);
        self.keep_ends();
    }

    /// Sessions whose ends are known in both worlds.
    pub fn told(&mut self) -> Vec<Otherwise> {
        let known = self.parted.extract_if(.., |parted| parted.is_known());
        known.map(|parted| parted.told(self.id.clone(), self.channel.clone(), None)).collect()
    }

    /// All sessions that were not told yet: nothing more comes of it.
    pub fn told_at_last(self, rules: Rules<'_>) -> Vec<Otherwise> {
        let due = self.next_due(rules).and_then(|(at, due)| match due {
            Due::Inactivity => Some((at, EndsBy::Inactivity)),
            Due::Deadline => Some((at, EndsBy::Deadline)),
            Due::OfferExpiry | Due::Removal => None,
        });
        self.parted.into_iter().map(|parted| parted.told(self.id.clone(), self.channel.clone(), due)).collect()
    }

    /// When the last activity may have been that was not noted, if nothing speaks against it.
    fn last_unnoted(&self) -> Time {
        self.activity.plus_ms(self.note_every_ms.saturating_sub(1))
    }

    // What the other world does by itself

    fn wait(&mut self, gap: &Gap, rules: Rules<'_>) {
        while let Some((at, due)) = self.other_due(self.activity, rules).filter(|(at, _)| *at <= gap.until) {
            let (by, command) = (By::timer(), Command::Due(due));
            let events = match self.judge(&by, &command, at, rules) {
                Ok(events) if !events.is_empty() => events,
                _ => return,
            };
            if !self.is_parted {
                // Where the recorded world had it due as well by then, what is recorded says whether it came.
                if self.recorded_due(self.activity, rules).is_some_and(|(recorded, _)| recorded <= at) {
                    return;
                }
                self.part_by_timer(at, due, &events, gap, rules);
            }
            self.apply(&events, &by, at, 0);
            self.keep_ends();
        }
    }

    fn part_by_timer(&mut self, at: Time, due: Due, events: &[Event], gap: &Gap, rules: Rules<'_>) {
        let Some(recorded) = &self.recorded else { return };
        let latest = match due {
            Due::Inactivity => self.other_due(gap.unknown_until.max(self.activity), rules).map_or(at, |(at, _)| at),
            _ => at,
        };
        let uncertain = if latest > gap.until {
            Some("messages that were not noted in the log may have put it off".to_owned())
        } else {
            (gap.held_up_ms > HELD_UP_MS)
                .then(|| "the recorded timer was held up, by an outage or a restart".to_owned())
        };
        let first = Difference {
            seq: recorded.seq,
            at,
            latest: (latest > at && latest <= gap.until).then_some(latest),
            by: By::timer(),
            happened: Vec::new(),
            instead: events.to_vec(),
            refusal: None,
            why: why::of_timer(due, recorded, rules),
            uncertain,
        };
        self.part(first, recorded.session, true);
    }

    fn other_due(&self, activity: Time, rules: Rules<'_>) -> Option<(Time, Due)> {
        let c = self.other.as_ref().filter(|c| c.status != Status::Closed)?;
        next_due(c, known(activity), rules.other, Time(0))
    }

    fn recorded_due(&self, activity: Time, rules: Rules<'_>) -> Option<(Time, Due)> {
        let c = self.recorded.as_ref().filter(|c| c.status != Status::Closed)?;
        next_due(c, known(activity), rules.recorded, Time(0))
    }

    // What is recorded, decided again

    fn command(&mut self, step: &Step<'_>, command: &Command, after: &Conversation, rules: Rules<'_>) {
        let judged = self.judge(step.by, command, step.at, rules);
        let (instead, refusal) = match judged {
            Ok(events) => (events, None),
            Err(refusal) => (Vec::new(), Some(refusal)),
        };
        // A session that begins where the one before would still be open does not begin, and is told by itself.
        let is_told = self.is_parted && !begins(step.events);
        if !is_told && !are_alike(step.events, &instead) {
            let why = match self.is_parted {
                true => "the session before would still be open".into(),
                false => why::of_command(step, &instead, refusal.as_ref(), after, rules),
            };
            let uncertain = self.uncertainty(refusal.as_ref(), rules);
            let first = Difference { why, uncertain, ..self.difference(step, instead.clone(), refusal) };
            self.part(first, after.session, !begins(step.events) || begins(&instead));
        }
        self.apply(&instead, step.by, step.at, step.seq);
    }

    fn uncertainty(&self, refusal: Option<&Refusal>, rules: Rules<'_>) -> Option<String> {
        let is_full = matches!(refusal, Some(Refusal::LimitReached { limit }) if rules.surely_open < *limit);
        if self.is_parted {
            return Some("it rests on how the session before would have gone on".into());
        }
        is_full.then(|| "it counts conversations of which it is not certain that they would be open".into())
    }

    /// Activity of which only a note tells is taken for a message, unless a message would have left more than a note.
    fn hear(&mut self, step: &Step<'_>, after: &Conversation, rules: Rules<'_>) {
        let message = Command::Channel(ChannelCommand::Message { message_id: None, user: None, sent_at: None });
        let known = (self.recorded.as_ref(), rules.recorded);
        let is_start = self.judge_in(known, step.by, &message, step.at, 0).is_ok_and(|events| !events.is_empty());
        let start = ChannelCommand::Start { user: None, owner: None, metadata: Patch::default(), continued_from: None };
        let heard = if is_start { Command::Channel(start) } else { message };
        let Ok(events) = self.judge(step.by, &heard, step.at, rules) else { return };
        if !self.is_parted && !events.is_empty() {
            let first = Difference {
                seq: after.seq,
                why: why::of_command(step, &events, None, after, rules),
                uncertain: Some("the log notes that somebody was there, not whether by a message".into()),
                ..self.difference(step, events.clone(), None)
            };
            self.part(first, after.session, true);
        }
        self.apply(&events, step.by, step.at, step.seq);
    }

    /// What fell due in the recorded world, or was removed from it, while both worlds were the same.
    fn fell_due(&mut self, step: &Step<'_>, after: &Conversation, rules: Rules<'_>) {
        let due = self.other_due(self.activity, rules);
        let due = due.filter(|(at, due)| *at <= step.at && due.verb() == step.verb).map(|(_, due)| due);
        let judged = due.map(|due| self.judge(step.by, &Command::Due(due), step.at, rules));
        let instead = judged.and_then(Result::ok).unwrap_or_default();
        if !are_alike(step.events, &instead) {
            let recorded = self.recorded.as_ref().unwrap_or(after);
            let why = why::of_recorded_timer(step.verb, recorded, rules);
            let first = Difference { why, ..self.difference(step, instead.clone(), None) };
            self.part(first, after.session, true);
        }
        self.apply(&instead, step.by, step.at, step.seq);
    }

    fn difference(&self, step: &Step<'_>, instead: Vec<Event>, refusal: Option<Refusal>) -> Difference {
        Difference {
            seq: step.seq,
            at: step.at,
            latest: None,
            by: step.by.clone(),
            happened: step.events.to_vec(),
            instead,
            refusal,
            why: String::new(),
            uncertain: None,
        }
    }

    fn judge(&self, by: &By, command: &Command, now: Time, rules: Rules<'_>) -> Result<Vec<Event>, Refusal> {
        self.judge_in((self.other.as_ref(), rules.other), by, command, now, rules.open)
    }

    fn judge_in(
        &self,
        (c, config): (Option<&Conversation>, &Config),
        by: &By,
        command: &Command,
        now: Time,
        open_conversations: u64,
    ) -> Result<Vec<Event>, Refusal> {
        check_caller(by, config)?;
        let scene = Scene { id: &self.id, by, now, config, last_message_id: None, open_conversations };
        match decide(c, command, Expected::default(), &scene)? {
            Verdict::Applied(events) => Ok(events),
            Verdict::Unchanged => Ok(Vec::new()),
        }
    }

    fn apply(&mut self, events: &[Event], by: &By, at: Time, seq: u64) {
        if events.is_empty() {
            return;
        }
        let unborn = || Conversation::unborn(&self.id, &self.channel, at);
        let c = self.other.get_or_insert_with(unborn);
        for event in events {
            let last_activity_at = self.activity.max(c.started_at);
            evolve(c, event, &Stamp { seq, at, by, user: None, last_activity_at, last_message_id: None });
        }
    }

    // What is kept of the difference

    fn part(&mut self, first: Difference, session: u32, would_begin: bool) {
        self.is_parted = true;
        self.parted.push(Parted::with(first, session, would_begin));
    }

    fn keep_ends(&mut self) {
        let (recorded, other) = (self.recorded.as_ref(), self.other.as_ref());
        self.parted.iter_mut().for_each(|parted| parted.keep(recorded, other));
    }
}

fn known(at: Time) -> Activity {
    Activity { at, may_be_later: false }
}

fn is_closed(c: Option<&Conversation>) -> bool {
    c.is_none_or(|c| c.status == Status::Closed)
}
