//! Questions about the past stand back for commands.
//!
//! The rule: while commands are decided, all questions together take a tenth of the machine's processors. Whoever has
//! read for some milliseconds rests nine times as long on one core, four on two, and questions that read at once share
//! the same time. The first milliseconds of a question are free, so that a short one is answered at once; a loop of
//! short ones is not. Where nothing is decided nobody rests.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crate::switchboard::{Archive, Gauges};

/// How long one reads before it looks whether to rest: longer than a frame takes, and no command notices it.
const SLICE: Duration = Duration::from_millis(2);
/// The part of the machine's time that questions take beside commands is one in so many.
const SHARE: u32 = 10;
/// How much questions may have taken beyond their part before the next one waits.
const FREE: Duration = Duration::from_millis(20);
/// The longest rest: what could not be cut into slices, such as opening an old volume, is not made up in full.
const REST_MAX: Duration = Duration::from_millis(500);
/// Decisions a second from which on commands are to be stood back for: fewer leave most of a core free.
const BUSY_MIN: u64 = 100;
/// How often is looked how many there are.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long commands are stood back for after so many were decided: a group holds a thousand, and the next may be long
/// on its way.
const BUSY_FOR: Duration = Duration::from_secs(1);

/// How much of the machine questions took lately.
pub struct Pace {
    gauges: Arc<Gauges>,
    /// For each time worked, how often the same is rested.
    rest: u32,
    state: Mutex<State>,
}

struct State {
    /// When what questions took until now is made up for.
    even_at: Instant,
    looked_at: Instant,
    decisions: u64,
    busy_until: Instant,
}

/// One question, while it is read.
struct Question {
    pace: Arc<Pace>,
    since: Mutex<Instant>,
}

impl Pace {
    /// Nothing was asked yet.
    pub fn new(gauges: Arc<Gauges>, now: Instant) -> Pace {
        let cores = available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(SHARE));
        Pace::with_cores(gauges, cores, now)
    }

    fn with_cores(gauges: Arc<Gauges>, cores: u32, now: Instant) -> Pace {
        let decisions = gauges.decisions.load(Relaxed);
        let state = State { even_at: now, looked_at: now, decisions, busy_until: now };
        Pace { gauges, rest: (SHARE / cores.max(1)).saturating_sub(1), state: Mutex::new(state) }
    }

    /// How long a new question waits.
    pub fn wait(&self, now: Instant) -> Duration {
        let state = self.look(now);
        if now < state.busy_until { state.even_at.saturating_duration_since(now + FREE) } else { Duration::ZERO }
    }

    /// Reads one question from an archive that stands back, and counts what that took.
    pub fn read<T>(self: Arc<Pace>, archive: &Archive, read: impl FnOnce(&Archive) -> T) -> T {
        let question = Arc::new(Question { pace: self, since: Mutex::new(Instant::now()) });
        let between = question.clone();
        let reader = archive.reader.clone().with_pause(Arc::new(move || between.pause()));
        let read = read(&Archive { reader, ..archive.clone() });
        question.pace.took(question.since().elapsed(), Instant::now());
        read
    }

    /// Takes in how long one has read; how long it rests now.
    fn took(&self, time: Duration, now: Instant) -> Duration {
        let mut state = self.look(now);
        if now >= state.busy_until {
            return Duration::ZERO;
        }
        state.even_at = (state.even_at.max(now) + time * self.rest).min(now + REST_MAX);
        state.even_at - now
    }

    fn look(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(state.looked_at);
        if since >= LOOK_EVERY {
            let decisions = self.gauges.decisions.load(Relaxed);
            let a_second = (decisions - state.decisions) as f64 / since.as_secs_f64();
            (state.looked_at, state.decisions) = (now, decisions);
            if a_second >= BUSY_MIN as f64 {
                state.busy_until = now + BUSY_FOR;
            }
        }
        state
    }
}

impl Question {
    /// Before each frame.
    fn pause(&self) {
        let read = self.since().elapsed();
        if read >= SLICE {
            std::thread::sleep(self.pace.took(read, Instant::now()));
            *self.since() = Instant::now();
        }
    }

    fn since(&self) -> MutexGuard<'_, Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Two cores, and so many decisions in the second before.
    fn pace(decisions: u64) -> (Pace, Instant) {
        let gauges = Arc::new(Gauges::default());
        let began = Instant::now();
        let pace = Pace::with_cores(gauges.clone(), 2, began);
        gauges.decisions.store(decisions, Relaxed);
        (pace, began + 1000 * MS)
    }

    #[test]
    fn one_question_reads_a_fifth_of_the_time_beside_commands_which_is_a_tenth_of_two_cores() {
        let (pace, now) = pace(10_000);
        assert_eq!(pace.wait(now), Duration::ZERO);
        assert_eq!(pace.took(2 * MS, now), 8 * MS);
        // It comes back when it has rested; the next group is long on its way.
        assert_eq!(pace.took(3 * MS, now + 11 * MS), 12 * MS);
        assert_eq!(pace.took(3 * MS, now + 900 * MS), 12 * MS);
    }

    #[test]
    fn questions_at_once_share_that_time_and_more_of_them_wait() {
        let (pace, now) = pace(10_000);
        let rests: Vec<Duration> = (0..4).map(|_| pace.took(2 * MS, now)).collect();
        assert_eq!(rests, [8 * MS, 16 * MS, 24 * MS, 32 * MS]);
        assert_eq!(pace.wait(now), 12 * MS, "but for what is free");
        assert_eq!(pace.wait(now + 12 * MS), Duration::ZERO);
    }

    #[test]
    fn a_question_rests_while_it_is_read_and_what_it_took_is_made_up_for_by_the_next() {
        use uuid::Uuid;

        use crate::log::{Draft, Log, MemoryLog, SimulatedDisk};

        let mut log = MemoryLog::open(&SimulatedDisk::default(), Uuid::nil()).unwrap();
        for seq in 1..=3 {
            let (line, personal) = (br#"{"a":1}"#.as_slice().into(), Default::default());
            let draft = Draft {
                conversation: "c".into(),
                version: 0,
                first_seq: seq,
                events: 1,
                at: seq,
                line,
                personal,
                salt: None,
            };
            log.append(&[draft], 0).unwrap();
        }
        let archive = Archive { reader: log.reader(), cache: None, key: [0; 32] };
        let (pace, _) = pace(1_000_000);
        let pace = Arc::new(pace);
        // A second ago nothing had been decided.
        pace.state.lock().unwrap().looked_at -= 1000 * MS;
        let began = Instant::now();
        let work = |_: &_| {
            std::thread::sleep(2 * SLICE);
            pace.gauges.decisions.fetch_add(1_000_000, Relaxed);
        };
        let frames =
            pace.clone().read(&archive, |archive| archive.reader.frames(1).inspect(work).filter(Result::is_ok).count());
        // It rests before the second frame and the third, four times as long as it read.
        assert_eq!((frames, began.elapsed() >= 2 * SLICE * (3 + 2 * 4)), (3, true), "{:?}", began.elapsed());
        let even_at = pace.state.lock().unwrap().even_at;
        assert!(even_at >= began + 2 * SLICE * (3 + 3 * 4), "the last frame is not made up for");
    }

    #[test]
    fn nobody_rests_where_little_is_decided_and_nobody_for_long() {
        let (idle, now) = pace(BUSY_MIN - 1);
        assert_eq!((idle.took(60 * MS, now), idle.wait(now)), (Duration::ZERO, Duration::ZERO));
        let (busy, now) = pace(BUSY_MIN);
        assert_eq!(busy.took(10_000 * MS, now), REST_MAX);
        // Nothing more was decided: whoever waits need not.
        assert_eq!(busy.took(MS, now + BUSY_FOR), Duration::ZERO);
    }
}
