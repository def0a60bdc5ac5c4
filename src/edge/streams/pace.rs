//! How fast the streams are tried: what is refused is heard on the wire each time it is sent again, so
//! after a fault one message goes first, and after faults in a row the pauses grow.

use std::time::Duration;

/// Most messages under way: a stream of the server takes in 10,000 at once and drops what is beyond.
pub const MESSAGES_MAX: usize = 8 * 1024;
/// The pause after the first fault; it doubles with each that follows before anything was stored.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const DOUBLINGS_MAX: u32 = 6;

/// How many messages may be under way, and how long the pause is after a fault.
#[derive(Debug)]
pub struct Pace {
    faults: u32,
    window: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { faults: 0, window: MESSAGES_MAX }
    }
}

impl Pace {
    /// How many messages may be under way.
    pub fn window(&self) -> usize {
        self.window
    }

    /// A message was stored: one more may be under way, so that the window doubles with each round trip.
    pub fn stored(&mut self) {
        self.faults = 0;
        self.window = MESSAGES_MAX.min(self.window + 1);
    }

    /// Something was refused or lost; the pause before it is tried again.
    pub fn fault(&mut self) -> Duration {
        let pause = PAUSE_MIN * (1 << self.faults.min(DOUBLINGS_MAX));
        self.faults = self.faults.saturating_add(1);
        self.window = 1;
        pause
    }

    /// Whether nothing was stored between the last two faults.
    pub fn is_stuck(&self) -> bool {
        self.faults > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_something_is_stored() {
        let mut pace = Pace::default();
        let pauses: Vec<u128> = (0..9).map(|_| pace.fault().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400]);
        assert!(pace.is_stuck());
        pace.stored();
        assert_eq!((pace.fault(), pace.is_stuck()), (PAUSE_MIN, false));
    }

    #[test]
    fn after_a_fault_one_message_goes_first_and_then_more() {
        let mut pace = Pace::default();
        assert_eq!(pace.window(), MESSAGES_MAX);
        pace.fault();
        assert_eq!(pace.window(), 1);
        pace.stored();
        assert_eq!(pace.window(), 2);
        (0..MESSAGES_MAX).for_each(|_| pace.stored());
        assert_eq!(pace.window(), MESSAGES_MAX);
    }
}
