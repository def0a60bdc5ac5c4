//! A group: decisions that go to disk together, and what leaves once they are there.

use bytes::Bytes;

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
    /// What leaves afterwards. What is recorded lacks its line and its hash as long as it waits.
    pub effects: Vec<Effect>,
    /// Of each effect that is a recorded decision, its place and that of its draft.
    recorded: Vec<(usize, usize)>,
    /// About as many bytes as all of it takes.
    pub bytes: usize,
    /// Whether the owner of state is told when all that leaves of it has left.
    pub tells_when_gone: bool,
}

impl Group {
    /// An empty group.
    pub fn new(number: u64) -> Group {
        Group { number, ..Group::default() }
    }

    /// An empty group after this one, with room for as much, or half of what this had room for: groups that follow each
    /// other are of about one size, with smaller ones between them.
    pub fn next(&self) -> Group {
        fn like<T>(list: &Vec<T>) -> Vec<T> {
            Vec::with_capacity(list.len().max(list.capacity() / 2))
        }
        let (drafts, owners) = (like(&self.drafts), like(&self.owners));
        let (effects, recorded) = (like(&self.effects), like(&self.recorded));
        Group { number: self.number + 1, drafts, owners, effects, recorded, ..Group::default() }
    }

    /// Whether there is nothing to write and nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty() && self.effects.is_empty()
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.bytes += effect.bytes();
        self.effects.push(effect);
    }

    /// Adds what is recorded by the last draft: it leaves with its line, under the hash that is known only then.
    pub fn push_recorded(&mut self, recorded: Recorded) {
        self.recorded.push((self.effects.len(), self.drafts.len() - 1));
        self.effects.push(Effect::Recorded(recorded));
    }

    /// The effects, once each draft is recorded under its hash.
    pub fn into_effects(mut self, hashes: &[[u8; 32]]) -> Vec<Effect> {
        for (effect, draft) in self.recorded {
            if let Some(Effect::Recorded(recorded)) = self.effects.get_mut(effect) {
                recorded.line = std::mem::take(&mut self.drafts[draft].line);
                recorded.hash = hashes[draft];
            }
        }
        self.effects.extend(self.tells_when_gone.then_some(Effect::Gone(self.number)));
        self.effects
    }

    /// What leaves of a group that could not be written: nothing but the word that its outcome is unknown.
    pub fn into_failure(self) -> Vec<Effect> {
        let body = Bytes::from(answer::error_body(&Refusal::LogFailed, &Facts::default()));
        let waiting = self.effects.into_iter().filter_map(|effect| match effect {
            Effect::Answer(Answer { to, by, .. }) => Some((to, by)),
            Effect::Read(job) => {
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
