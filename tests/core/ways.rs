//! The two ways to the disk: where there is little to do the owner of state writes by itself, and whatever may take
//! longer than a write is left to the writer's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use switchboard::domain::Time;
use switchboard::log::{Cache, Draft, Log, LogError, MemoryLog, Outcome, Reader, Room, SimulatedCache, SimulatedDisk};
use switchboard::switchboard::core::Core;
use switchboard::switchboard::fingerprint::Secret;
use switchboard::switchboard::port::{Ask, Effect, Request};
use switchboard::switchboard::restore::restore;
use switchboard::switchboard::{Gauges, Handle, Outlet, Threads, start as start_threads};

use super::random::Dice;
use super::say::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// Few, so that it shows whether the owner takes requests in.
const WAITING_MAX: usize = 8;
/// More requests than make a small group, and than may wait.
const MANY: usize = 40;

/// What leaves: on which thread, the code of each answer, and the seqs.
struct Left {
    thread: String,
    codes: Vec<Option<&'static str>>,
    seqs: Vec<u64>,
}

/// An outlet whose taker may be behind.
struct Slow {
    left: Sender<Left>,
    has_room: Arc<AtomicBool>,
}

impl Outlet for Slow {
    fn take(&mut self, effects: Vec<Effect>) {
        while !self.has_room.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut left = Left { thread: thread(), codes: Vec::new(), seqs: Vec::new() };
        for effect in effects {
            match effect {
                Effect::Answer(answer) => left.codes.push(answer.refusal.map(|refusal| refusal.code())),
                Effect::Recorded(recorded) => left.seqs.extend(recorded.events.iter().map(|event| event.seq)),
                _ => {}
            }
        }
        let _ = self.left.send(left);
    }

    fn has_room(&self) -> bool {
        self.has_room.load(SeqCst)
    }
}

fn thread() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// A log whose writes take their time.
struct Timed {
    log: MemoryLog,
    now: Arc<AtomicU64>,
    /// How long each takes by the clock of the threads.
    write_ms: Arc<AtomicU64>,
    /// While it does, none ends.
    hangs: Arc<AtomicBool>,
    /// Whether one has come to that.
    hung: Arc<AtomicBool>,
    /// The next ends by a panic.
    breaks: Arc<AtomicBool>,
}

impl Log for Timed {
    fn append(&mut self, group: &[Draft], published_through: u64) -> Result<Vec<Outcome>, LogError> {
        assert!(!self.breaks.load(SeqCst), "broken on purpose");
        while self.hangs.load(SeqCst) {
            self.hung.store(true, SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        self.now.fetch_add(self.write_ms.load(SeqCst), SeqCst);
        self.log.append(group, published_through)
    }

    fn reader(&self) -> Reader {
        self.log.reader()
    }

    fn room(&self) -> Room {
        self.log.room()
    }

    fn close(self: Box<Self>, published_through: u64) -> Result<(), LogError> {
        Box::new(self.log).close(published_through)
    }
}

struct Running {
    handle: Handle,
    threads: Threads,
    left: Receiver<Left>,
    has_room: Arc<AtomicBool>,
    write_ms: Arc<AtomicU64>,
    hangs: Arc<AtomicBool>,
    hung: Arc<AtomicBool>,
    breaks: Arc<AtomicBool>,
    gauges: Arc<Gauges>,
    disk: SimulatedDisk,
    asked: u64,
}

impl Running {
    fn start() -> Running {
        let (disk, now) = (SimulatedDisk::default(), Arc::new(AtomicU64::new(1_000_000)));
        let (write_ms, hangs, hung) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let breaks = Arc::<AtomicBool>::default();
        let log = MemoryLog::open(&disk, uuid::Uuid::from_u128(1)).unwrap();
        let (cache, _) = Cache::open_simulated(&SimulatedCache::default(), &log.reader()).unwrap();
        let restored = restore(&log.reader(), &cache, None, |_| {}).unwrap();
        let gauges = Arc::new(Gauges::default());
        let core = Core::new(Secret([7; 32]), Box::new(cache.clone()), gauges.clone(), WAITING_MAX, restored);
        let (to_left, left) = channel();
        let has_room = Arc::new(AtomicBool::new(true));
        let outlet = Box::new(Slow { left: to_left, has_room: has_room.clone() });
        let log = Box::new(Timed {
            log,
            now: now.clone(),
            write_ms: write_ms.clone(),
            hangs: hangs.clone(),
            hung: hung.clone(),
            breaks: breaks.clone(),
        });
        let clock = Arc::new(move || Time(now.load(SeqCst)));
        let (handle, threads) = start_threads(core, log, cache, gauges.clone(), WAITING_MAX, outlet, clock).unwrap();
        Running { handle, threads, left, has_room, write_ms, hangs, hung, breaks, gauges, disk, asked: 0 }
    }

    /// Asks for something whose write does not end.
    fn hang(&mut self) {
        self.hangs.store(true, SeqCst);
        self.send();
        let begun = Instant::now();
        while !self.hung.load(SeqCst) {
            assert!(begun.elapsed() < PATIENCE, "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a request wait as soon as there is a place for it.
    fn send(&mut self) {
        self.asked += 1;
        let call = start(&format!("c{}", self.asked));
        self.hand(call.request(Some("_INBOX.a".into())));
    }

    fn hand(&self, mut request: Request) {
        let begun = Instant::now();
        while let Err(again) = self.handle.request(request) {
            assert!(begun.elapsed() < PATIENCE, "the owner takes no request in");
            request = again;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What leaves next.
    fn next(&self) -> Left {
        self.left.recv_timeout(PATIENCE).expect("something leaves in time")
    }

    /// Asks, and waits for the answer; on which thread it left.
    fn ask(&mut self) -> String {
        self.send();
        let left = self.next();
        assert_eq!(left.codes, [None]);
        left.thread
    }

    /// Asks until the owner writes by itself.
    fn calm_down(&mut self) {
        let is_calm = (0..1000).any(|_| self.ask() == "owner");
        assert!(is_calm, "the owner never writes by itself");
    }

    /// How many are answered from now on until somebody has waited for `answers`, and on which threads; all are applied.
    fn answered(&self, answers: usize) -> Vec<String> {
        let mut threads = Vec::new();
        while threads.len() < answers {
            let left = self.next();
            assert!(left.codes.iter().all(Option::is_none), "{:?}", left.codes);
            threads.extend(left.codes.iter().map(|_| left.thread.clone()));
        }
        threads
    }

    fn stop(self) {
        self.handle.stop();
        let log = self.threads.join().expect("no thread panicked");
        log.close(0).unwrap();
    }
}

#[test]
fn one_request_after_the_other_is_soon_written_by_the_owner_itself() {
    let mut site = Running::start();
    assert_eq!(site.ask(), "writer", "who knows how many there will be");
    site.calm_down();
    assert!((0..20).all(|_| site.ask() == "owner"));
    site.stop();
}

#[test]
fn after_a_slow_write_the_next_are_left_to_the_writers_thread() {
    let mut site = Running::start();
    site.calm_down();
    site.write_ms.store(1000, SeqCst);
    assert_eq!(site.ask(), "owner", "nobody could know");
    assert!((0..10).all(|_| site.ask() == "writer"), "a slow disk does not keep the owner");
    site.write_ms.store(0, SeqCst);
    site.calm_down();
    site.stop();
}

/// Lets the log fail under the group that is being written; on which thread, and what is heard until all have ended.
fn fail(site: Running) -> (String, Vec<Option<&'static str>>) {
    site.disk.fail_syncs(true);
    site.hangs.store(false, SeqCst);
    let (ended, end) = channel();
    std::thread::spawn(move || ended.send(site.threads.join().map(|log| log.close(0).is_err())));
    assert!(end.recv_timeout(PATIENCE).unwrap().unwrap(), "the threads end by themselves, and the log stays as it is");
    assert!(site.gauges.log_failed.load(SeqCst));
    let left: Vec<Left> = site.left.iter().collect();
    assert!(left.iter().all(|left| left.seqs.is_empty()), "nothing of it is published");
    (left[0].thread.clone(), left.into_iter().flat_map(|left| left.codes).collect())
}

#[test]
fn a_log_that_fails_while_the_owner_writes_ends_the_threads_with_the_word_that_it_failed() {
    let mut site = Running::start();
    site.calm_down();
    site.hang();
    assert_eq!(fail(site), ("owner".into(), vec![Some("log_failed")]));
}

#[test]
fn what_waits_while_the_owner_writes_hears_that_the_log_failed_too() {
    let mut site = Running::start();
    site.calm_down();
    site.hang();
    // No more than may wait: nobody takes them in.
    (1..WAITING_MAX / 2).for_each(|_| site.send());
    assert_eq!(fail(site), ("owner".into(), vec![Some("log_failed"); WAITING_MAX / 2]));
}

#[test]
fn questions_behind_a_group_that_fails_on_the_writers_thread_hear_the_same() {
    let mut site = Running::start();
    site.hang();
    let question =
        || Request { by: anybody(), ask: Ask::State { id: conversation("unknown") }, reply: Some("_INBOX.a".into()) };
    // More than may wait, so that some are decided already, and wait for the first to be written.
    (0..MANY).for_each(|_| site.hand(question()));
    assert_eq!(fail(site), ("writer".into(), vec![Some("log_failed"); MANY + 1]));
}

#[test]
fn a_panic_while_a_group_is_written_ends_the_threads_and_what_takes_what_leaves_whoever_wrote() {
    for is_calm in [false, true] {
        let mut site = Running::start();
        if is_calm {
            site.calm_down();
        }
        site.breaks.store(true, SeqCst);
        site.send();
        let (ended, end) = channel();
        std::thread::spawn(move || ended.send(site.threads.join().is_err()));
        assert_eq!(end.recv_timeout(PATIENCE), Ok(true), "by the owner: {is_calm}");
        assert_eq!(site.left.recv_timeout(PATIENCE).err(), Some(RecvTimeoutError::Disconnected));
    }
}

#[test]
fn a_disk_that_is_full_all_at_once_does_not_keep_the_owner_from_taking_requests() {
    let mut site = Running::start();
    site.calm_down();
    site.disk.fill(true);
    // More than may wait: they find room only where somebody takes them in.
    (0..MANY).for_each(|_| site.send());
    site.disk.fill(false);
    let mut codes = Vec::new();
    while codes.len() < MANY {
        codes.extend(site.next().codes);
    }
    assert!(codes.iter().all(|code| matches!(code, None | Some("storage_full"))), "{codes:?}");
    site.calm_down();
    site.stop();
}

#[test]
fn those_who_are_behind_with_what_leaves_do_not_keep_the_owner_from_taking_requests() {
    let mut site = Running::start();
    site.calm_down();
    site.has_room.store(false, SeqCst);
    (0..MANY).for_each(|_| site.send());
    assert!(site.left.try_recv().is_err(), "nothing is taken");
    site.has_room.store(true, SeqCst);
    assert!(site.answered(MANY).iter().all(|thread| thread == "writer"));
    assert_eq!(site.ask(), "writer", "there was much to do a moment ago");
    site.calm_down();
    site.stop();
}

#[test]
fn on_either_way_everything_leaves_once_and_in_order() {
    let mut site = Running::start();
    let (mut dice, mut seqs) = (Dice::new(11), Vec::new());
    let mut seen = [0, 0];
    for _ in 0..400 {
        site.write_ms.store(if dice.one_in(20) { 1000 } else { 0 }, SeqCst);
        let many = if dice.one_in(40) { MANY } else { 1 };
        site.has_room.store(many < MANY, SeqCst);
        (0..many).for_each(|_| site.send());
        site.has_room.store(true, SeqCst);
        let mut answers = 0;
        while answers < many {
            let left = site.next();
            answers += left.codes.len();
            seen[usize::from(left.thread == "owner")] += 1;
            seqs.extend(left.seqs);
        }
    }
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(seen.iter().all(|groups| *groups > 50), "both ways were gone: {seen:?}");
    site.stop();
}
