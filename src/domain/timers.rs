//! When something falls due: inactivity, a release deadline, an offer that nobody took up.
//!
//! Timers are computed from the state, never stored beside it: what is due follows from the
//! conversation, the configuration and the moment from which the service has been ready.

use super::command::Due;
use super::config::Config;
use super::conversation::{Conversation, Status};
use super::words::{Time, Wait};

/// After an outage nothing falls due sooner than this after the service is ready, or than its own wait if that is shorter.
pub const GRACE_MS: u64 = 60_000;

/// How often activity is noted where no timeout asks for it.
const NOTE_EVERY_MS_WITHOUT_TIMEOUT: u64 = 3_600_000;

/// The latest sign of life of the end user that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// When it was.
    pub at: Time,
    /// Whether there may have been later activity that the log does not hold, as after a kill.
    pub may_be_later: bool,
}

/// What falls due next in `c`, and when.
pub fn next_due(c: &Conversation, activity: Activity, config: &Config, ready_since: Time) -> Option<(Time, Due)> {
    let inactivity = inactivity_due(c, activity, config).map(|(due, wait_ms)| (due, wait_ms, Due::Inactivity));
    let deadline = c.end_requested.as_ref().filter(|_| c.status == Status::Ending).and_then(|request| {
        let due = request.deadline?;
        Some((due, due.ms_since(request.at), Due::Deadline))
    });
    let expiry = c.offer.as_ref().and_then(|offer| {
        let due = offer.expires_at?;
        Some((due, due.ms_since(offer.offered_at), Due::OfferExpiry))
    });
    let looks = [expiry, deadline, inactivity].into_iter().flatten().map(|(due, wait_ms, what)| {
        let not_before = ready_since.plus_ms(wait_ms.min(GRACE_MS));
        (due.max(not_before), due, what)
    });
    // What an outage put off to one moment still goes by when it was due.
    looks.min_by_key(|(at, due, _)| (*at, *due)).map(|(at, _, what)| (at, what))
}

fn inactivity_due(c: &Conversation, activity: Activity, config: &Config) -> Option<(Time, u64)> {
    if c.status != Status::Open {
        return None;
    }
    let (Wait::Ms(wait_ms), ruled_since) = config.inactivity(c.owner.as_ref(), &c.channel) else { return None };
    // What came a tenth after the last that is known would itself have been noted.
    let unknown_ms = if activity.may_be_later { wait_ms.div_ceil(10) } else { 0 };
    let last = activity.at.plus_ms(unknown_ms).max(c.owner_changed_at).max(ruled_since);
    Some((last.plus_ms(wait_ms), wait_ms))
}

/// Whether activity at `at` is to be noted in the log, given the last that was.
pub fn is_to_be_noted(c: &Conversation, at: Time, config: &Config) -> bool {
    at.ms_since(c.last_activity_at) >= note_every_ms(c, config)
}

/// How long after noted activity later activity goes unnoted.
pub fn note_every_ms(c: &Conversation, config: &Config) -> u64 {
    match config.inactivity(c.owner.as_ref(), &c.channel) {
        (Wait::Ms(wait_ms), _) => wait_ms / 10,
        (Wait::Never, _) => NOTE_EVERY_MS_WITHOUT_TIMEOUT,
    }
}
