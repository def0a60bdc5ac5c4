//! What the owner of state asks of the cache while it runs.

use crate::domain::ConversationId;
use crate::log::{Cache, Part};

/// Where conversations are found that are not in memory: closed ones, as memory holds all that are open.
pub trait Archive: Send {
    /// What was kept of the closed conversation, if anything.
    fn head(&self, id: &ConversationId) -> Result<Option<Vec<u8>>, String>;
    /// A part of it that is kept beside.
    fn part(&self, id: &ConversationId, part: Part, number: u64) -> Result<Vec<u8>, String>;
    /// Says that something in it does not read, so that the next start builds it again from the log.
    fn doubt(&self);
}

impl Archive for Cache {
    fn head(&self, id: &ConversationId) -> Result<Option<Vec<u8>>, String> {
        self.closed(id.as_str()).map_err(|error| error.to_string())
    }

    fn part(&self, id: &ConversationId, part: Part, number: u64) -> Result<Vec<u8>, String> {
        let found = Cache::part(self, id.as_str(), part, number).map_err(|error| error.to_string())?;
        found.ok_or_else(|| {
            self.doubt();
            format!("{part:?} {number} of conversation {id} is not in the cache: the next start builds it again")
        })
    }

    fn doubt(&self) {
        Cache::doubt(self);
    }
}
