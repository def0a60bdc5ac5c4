//! A group: decisions that go to disk together, and what leaves once they are there.

use super::answer::{self, Facts};
use super::port::{Answer, Effect, ReadJob, Recorded};
use crate::domain::{ConversationId, Refusal, Text};
use crate::log::Draft;

/// Decisions and effects in the order in which they came about.
#[derive(Debug, Default)]
pub struct Group {
    /// Its number; groups are written in this order.
    pub number: u64,
    /// What is to be recorded.
    pub drafts: Vec<Draft>,
    /// Whose each draft is; none is the configuration.
    pub owners: Vec<Option<ConversationId>>,
    /// What leaves afterwards.
    pub effects: Vec<Leaving>,
    /// About as many bytes as all of it takes.
    pub bytes: usize,
    /// Whether the owner of state is told when all that leaves of it has left.
    pub tells_when_gone: bool,
}

/// Something that leaves once its group is on stable storage.
#[derive(Debug)]
pub enum Leaving {
    /// The events of that draft, whose hash is known only then.
    Recorded(usize, Recorded),
    /// Anything else.
    Other(Effect),
}

impl Group {
    /// An empty group.
    pub fn new(number: u64) -> Group {
        Group { number, ..Group::default() }
    }

    /// Whether there is nothing to write and nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty() && self.effects.is_empty()
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.bytes += effect.bytes();
        self.effects.push(Leaving::Other(effect));
    }

    /// The effects, once each draft is recorded under its hash.
    pub fn into_effects(self, hashes: &[[u8; 32]]) -> Vec<Effect> {
        let mut drafts: Vec<Option<Draft>> = self.drafts.into_iter().map(Some).collect();
        let leave = |leaving| match leaving {
            Leaving::Other(effect) => effect,
            Leaving::Recorded(at, mut recorded) => {
                recorded.line = drafts[at].take().map(|draft| draft.line).unwrap_or_default();
                recorded.hash = hashes[at];
                Effect::Recorded(recorded)
            }
        };
        let last = self.tells_when_gone.then_some(Effect::Gone(self.number));
        self.effects.into_iter().map(leave).chain(last).collect()
    }

    /// What leaves of a group that could not be written: nothing but the word that its outcome is unknown.
    pub fn into_failure(self) -> Vec<Effect> {
        let body = answer::error_body(&Refusal::LogFailed, &Facts::default());
        let waiting = self.effects.into_iter().filter_map(|leaving| match leaving {
            Leaving::Other(Effect::Answer(Answer { to, by, .. })) => Some((to, by)),
            Leaving::Other(Effect::Read(job)) => {
                let ReadJob { by, reply, .. } = *job;
                reply.map(|to| (to, by))
            }
            _ => None,
        });
        let answers = waiting
            .map(|(to, by)| Effect::Answer(Answer { to, by, body: body.clone(), refusal: Some(Refusal::LogFailed) }));
        answers.collect()
    }
}

/// What the writer says of a group that is on stable storage.
#[derive(Debug)]
pub struct Written {
    /// Which group.
    pub number: u64,
    /// Whose each draft was, and the frame that holds it.
    pub frames: Vec<(Option<ConversationId>, u64)>,
    /// How long that took.
    pub took_ms: u64,
}

/// The name under which the log knows a conversation, or the configuration.
pub fn log_name(id: Option<&ConversationId>) -> Text {
    id.map_or_else(|| crate::domain::words::CONFIG_ID.into(), ConversationId::text)
}
