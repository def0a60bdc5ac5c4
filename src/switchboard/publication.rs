//! How far publication got: what has been sent on this connection, and what is proved to have arrived.
//!
//! A client library says that something is sent before it has left. So only what came back through the
//! server counts; behind that, everything is read from the log and sent again on the next connection.

use std::ops::RangeInclusive;

/// Where publication stands, on a connection or between two.
#[derive(Debug, Clone, Copy)]
pub struct Publication {
    sent_through: u64,
    proved_through: u64,
}

impl Publication {
    /// As the log knows it at a start: nothing is sent yet.
    pub fn new(published_through: u64) -> Publication {
        Publication { sent_through: 0, proved_through: published_through }
    }

    /// There is a new connection: the events to be read from the log and sent first, if any.
    pub fn connected(&mut self, durable_through: u64) -> Option<RangeInclusive<u64>> {
        self.sent_through = self.proved_through;
        (self.proved_through < durable_through).then_some(self.proved_through + 1..=durable_through)
    }

    /// Whether that event has not been sent on this connection.
    pub fn is_for_sending(&self, seq: u64) -> bool {
        seq > self.sent_through
    }

    /// Takes in that the event is sent.
    pub fn sent(&mut self, seq: u64) {
        self.sent_through = seq;
    }

    /// The last event sent on this connection.
    pub fn sent_through(&self) -> u64 {
        self.sent_through
    }

    /// Through which event a proof is wanting, if any.
    pub fn unproved(&self) -> Option<u64> {
        (self.sent_through > self.proved_through).then_some(self.sent_through)
    }

    /// Takes in that everything up to that event has arrived; through which event publication is proved now.
    pub fn proved(&mut self, through: u64) -> u64 {
        // Of another connection's proof no more counts than was sent on this one.
        self.proved_through = self.proved_through.max(through.min(self.sent_through));
        self.proved_through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_proved_is_sent_again_on_the_next_connection_and_nothing_twice_on_one() {
        let mut publication = Publication::new(5);
        assert_eq!(publication.connected(8), Some(6..=8));
        assert!(!publication.is_for_sending(5) && publication.is_for_sending(6));
        (6..=8).for_each(|seq| publication.sent(seq));
        assert!(!publication.is_for_sending(8));
        assert_eq!((publication.unproved(), publication.proved(7)), (Some(8), 7));
        assert_eq!(publication.connected(8), Some(8..=8));
    }

    #[test]
    fn a_proof_counts_for_what_was_sent_on_its_connection_and_never_goes_back() {
        let mut publication = Publication::new(5);
        publication.connected(9);
        publication.sent(6);
        assert_eq!((publication.proved(9), publication.proved(3)), (6, 6));
        assert_eq!(publication.unproved(), None, "there is nothing more to prove");
    }
}
