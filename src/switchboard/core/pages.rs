//! Pages of conversations, in the order of their ids: those in memory, and closed ones from the cache.
//!
//! A page is put together a bounded step at a time, so that commands go on in between.

use std::borrow::Cow;
use std::ops::Bound;

use super::Core;
use crate::domain::conversation::Status;
use crate::domain::decide::check_caller;
use crate::domain::{By, Conversation, ConversationId, Name, Refusal, Text};
use crate::switchboard::answer::{self, Facts};
use crate::switchboard::head::Glance;
use crate::switchboard::port::{Effect, ListAsk, ListJob, PAGE_CLOSED_MAX, Read, ReadJob};
use crate::switchboard::rest::Rest;

/// Pages under way at once: each may hold half a megabyte, and the next is asked for when one is there.
const PAGES_MAX: usize = 128;
/// Most bytes of a page.
pub const PAGE_BYTES_MAX: usize = 512 * 1024;

impl Core {
    /// Begins a page.
    pub(super) fn list(&mut self, by: By, ask: ListAsk, reply: Option<Text>) {
        if let Err(refusal) = check_caller(&by, self.config()) {
            return self.refuse(by, reply, refusal, &Facts::default());
        }
        if self.pages.len() + self.pages_out >= PAGES_MAX {
            return self.refuse(by, reply, Refusal::Busy, &Facts::default());
        }
        if reply.is_none() {
            return;
        }
        let job = ListJob {
            by,
            reply,
            ask,
            rows: Vec::new(),
            closed: Vec::new(),
            closed_through: None,
            looked_at: 0,
            fault: None,
            evictions: self.evictions,
        };
        self.look_for_closed(job);
    }

    /// Takes back a page whose closed conversations were read from the cache.
    pub fn closed_page(&mut self, job: ListJob) {
        self.pages_out = self.pages_out.saturating_sub(1);
        match job.fault {
            Some(refusal) => self.refuse(job.by, job.reply, refusal, &Facts::default()),
            None => self.pages.push_back(job),
        }
    }

    /// Whether somebody's page rests on what the cache holds, and on nothing leaving memory meanwhile.
    pub(super) fn has_pages(&self) -> bool {
        self.pages_out > 0 || !self.pages.is_empty()
    }

    /// A page records nothing, so a group that is full of commands takes it all the same: no flood of them keeps it back.
    pub(super) fn has_room_for_page(&self) -> bool {
        self.group.effects.len() < self.limits.group_effects_max + PAGES_MAX
            && self.group.bytes < 2 * self.limits.group_bytes_max
    }

    fn look_for_closed(&mut self, mut job: ListJob) {
        job.evictions = self.evictions;
        job.closed.clear();
        job.closed_through = None;
        if job.ask.may_be_closed() {
            self.pages_out += 1;
            let (by, reply) = (job.by.clone(), job.reply.clone());
            self.group.push(Effect::Read(Box::new(ReadJob { by, reply, read: Read::Closed(Box::new(job)) })));
        } else {
            self.pages.push_back(job);
        }
    }

    /// Goes on with the page whose turn it is.
    pub(super) fn continue_pages(&mut self) {
        if !self.has_room_for_page() {
            return;
        }
        let Some(mut job) = self.pages.pop_front() else { return };
        // A conversation that left memory since the cache was read would be in neither.
        if job.ask.may_be_closed() && job.evictions != self.evictions {
            job.looked_at = 0;
            return self.look_for_closed(job);
        }
        match self.fill(job) {
            // One page after the other: many half done hold more memory than one done.
            Filled::More(job) => self.pages.push_front(job),
            Filled::Further(job) => self.look_for_closed(job),
            Filled::Whole(job, next) => {
                let body = answer::page(&job.rows, next.as_deref());
                self.answer(job.by, job.reply, body);
            }
            // A page without it would say that it is not there.
            Filled::Unreadable(job, error) => self.archive_failed(job.by, job.reply, &error),
        }
    }

    /// Adds rows from where the page has come to, for a step.
    fn fill(&self, mut job: ListJob) -> Filled {
        let from = job.ask.after.clone();
        let from = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let until = job.closed_through.clone();
        let until = until.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let mut read = std::mem::take(&mut job.closed);
        let mut closed = read.iter().filter(|c| !self.known.contains_key(&c.id)).peekable();
        let mut bytes: usize = job.rows.iter().map(Vec::len).sum();
        let mut in_memory = self.known.range::<str, _>((from, until)).peekable();
        for _ in 0..self.limits.page_conversations_max {
            let is_closed_next = match (in_memory.peek(), closed.peek()) {
                (None, None) => {
                    let next = job.closed_through.take();
                    if next.is_some() && job.rows.len() < job.ask.limit && job.looked_at < PAGE_CLOSED_MAX {
                        job.ask.after = next;
                        return Filled::Further(job);
                    }
                    return Filled::Whole(job, next);
                }
                (Some((open, _)), Some(closed)) => closed.id < **open,
                (open, _) => open.is_none(),
            };
            let from_cache = if is_closed_next { closed.next() } else { None };
            let from_memory = if is_closed_next { None } else { in_memory.next() };
            let (id, found) = match (from_cache, from_memory) {
                (Some(c), _) => (c.id.text(), Some(Cow::Borrowed(c))),
                (None, Some((id, rest))) => match self.seen_if_asked(id, rest.as_ref(), &job.ask) {
                    Ok(found) => (id.text(), found),
                    Err(error) => return Filled::Unreadable(job, error),
                },
                (None, None) => continue,
            };
            if let Some(c) = found.filter(|c| job.ask.matches(c)) {
                let row = answer::row(&c, self.config.config.settings(&c.channel));
                let is_full = job.rows.len() >= job.ask.limit || bytes + row.len() > PAGE_BYTES_MAX;
                if is_full && !job.rows.is_empty() {
                    let next = job.ask.after.take();
                    return Filled::Whole(job, next);
                }
                bytes += row.len();
                job.rows.push(row);
            }
            job.ask.after = Some(id);
        }
        // Those that are in memory now, too: they may have left before their turn comes.
        read.retain(|c| job.ask.after.as_deref().is_none_or(|after| c.id.as_str() > after));
        job.closed = read;
        Filled::More(job)
    }

    /// A conversation in memory, unless a glance says that it is not asked for.
    fn seen_if_asked<'a>(
        &'a self,
        id: &ConversationId,
        rest: Option<&Rest>,
        ask: &ListAsk,
    ) -> Result<Option<Cow<'a, Conversation>>, String> {
        // What does not read at a glance does not read whole, and is told of there.
        let may_match = rest.is_none_or(|rest| rest.glance().map_or(true, |seen| ask.may_match(&seen)));
        if may_match { self.seen(id, rest) } else { Ok(None) }
    }
}

enum Filled {
    More(ListJob),
    /// What was found in the cache did not fill it: many there are open again.
    Further(ListJob),
    Whole(ListJob, Option<Text>),
    Unreadable(ListJob, String),
}

impl ListAsk {
    /// Whether closed conversations can match.
    pub fn may_be_closed(&self) -> bool {
        let status = self.status.is_empty() || self.status.contains(&Status::Closed);
        let holds = matches!(self.owner, Some(Some(_))) || self.offered_to.is_some() || self.concerning.is_some();
        status && !holds && self.waiting_before.is_none()
    }

    /// Whether the conversation may be asked for, for all that a glance shows of it.
    pub fn may_match(&self, seen: &Glance<'_>) -> bool {
        let holds = |name: &Name| seen.owner == Some(name.as_str());
        (self.status.is_empty() || self.status.contains(&seen.status))
            && self.owner.as_ref().is_none_or(|owner| seen.owner == owner.as_ref().map(Name::as_str))
            && (self.offered_to.is_none() || seen.is_offered)
            && self.concerning.as_ref().is_none_or(|name| holds(name) || seen.is_offered)
            && self.channel.as_ref().is_none_or(|channel| seen.channel == channel.as_str())
            && self.user.as_ref().is_none_or(|user| seen.user == Some(user))
            // Only what is ending is waited for.
            && (self.waiting_before.is_none() || seen.status == Status::Ending)
            && self.idle_before.is_none_or(|time| seen.last_activity_at < time)
    }

    /// Whether the conversation is asked for.
    pub fn matches(&self, c: &Conversation) -> bool {
        (self.status.is_empty() || self.status.contains(&c.status))
            && self.owner.as_ref().is_none_or(|owner| c.owner == *owner)
            && self.offered_to.as_ref().is_none_or(|name| c.is_offered_to(name))
            && self.concerning.as_ref().is_none_or(|name| c.concerns(name))
            && self.channel.as_ref().is_none_or(|channel| c.channel == *channel)
            && self.user.as_ref().is_none_or(|user| c.user.as_ref() == Some(user))
            && self.waiting_before.is_none_or(|time| c.waiting_for().is_some_and(|waiting| waiting.since < time))
            && self.idle_before.is_none_or(|time| c.last_activity_at < time)
    }
}
