//! The conversations that the clients compete for, and what is known of them, so that most requests make sense.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::history::{Said, Seen};
use crate::random::Random;

/// Conversations under way at once on each channel.
const CONVERSATIONS: u64 = 2;
/// The channels that conversations belong to.
pub const CHANNELS: [&str; 3] = ["web", "thread", "again"];

/// What all clients know together. What is known may be old by the time it is used: that is the point.
#[derive(Default)]
pub struct Board {
    /// How often a conversation was followed by the next one, by channel and place.
    generations: [[AtomicU64; CONVERSATIONS as usize]; CHANNELS.len()],
    known: Mutex<HashMap<String, Seen>>,
    /// The last event that any answer named.
    last_seq: AtomicU64,
    /// The last version of the configuration that any answer named.
    pub config_version: AtomicU64,
}

impl Board {
    /// A conversation of that channel; what is over is followed by another one sooner or later.
    pub fn conversation(&self, channel: usize, random: &mut Random) -> String {
        let place = random.below(CONVERSATIONS);
        let generation = &self.generations[channel][place as usize];
        let current = generation.load(Relaxed);
        // Now and then one that is long over, and may have left memory.
        let back = if random.is(6) { random.below(current.min(20) + 1) } else { 0 };
        let current = current - back;
        let id = format!("{}-{place}-{current}", CHANNELS[channel]);
        let is_over = self.known(&id).is_some_and(|seen| seen.status == "closed");
        if is_over && back == 0 && random.is(if channel == 0 { 20 } else { 3 }) {
            let _ = generation.compare_exchange(current, current + 1, Relaxed, Relaxed);
        }
        id
    }

    /// What was last said of a conversation.
    pub fn known(&self, id: &str) -> Option<Seen> {
        self.known.lock().unwrap().get(id).cloned()
    }

    /// The last event that any answer named.
    pub fn last_seq(&self) -> u64 {
        self.last_seq.load(Relaxed)
    }

    /// Takes in an answer about something of now.
    pub fn learn(&self, said: &Said) {
        let mut known = self.known.lock().unwrap();
        for seen in &said.states {
            self.last_seq.fetch_max(seen.seq, Relaxed);
            let is_newer = known.get(&seen.id).is_none_or(|before| before.version <= seen.version);
            if is_newer {
                known.insert(seen.id.clone(), seen.clone());
            }
        }
        if let Some(version) = said.version {
            self.config_version.fetch_max(version, Relaxed);
        }
    }
}
