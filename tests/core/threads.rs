//! The real threads over the log on disk: a few thousand commands, a stop, a start, and the same state.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use switchboard::domain::{Text, Time};
use switchboard::log::{
    Cache, Directory, DiskLog, Draft, Log, LogError, MemoryLog, Outcome, Reader, Room, SimulatedCache, SimulatedDisk,
};
use switchboard::switchboard::core::{Core, Limits};
use switchboard::switchboard::fingerprint::Secret;
use switchboard::switchboard::past::{Archive, ReadOutcome, read};
use switchboard::switchboard::port::{Ask, Effect, Request};
use switchboard::switchboard::restore::restore;
use switchboard::switchboard::{Clock, Gauges, Handle, PartSizes, Threads, start as start_threads};

use super::say::*;
use super::usual;

const WAITING_MAX: usize = 4096;

/// A running switchboard on a data directory, with an edge that answers into a map.
struct Running {
    handle: Handle,
    threads: Threads,
    cache: Cache,
    gauges: Arc<Gauges>,
    answers: Receiver<(Text, Value)>,
    seqs: Arc<Mutex<Vec<u64>>>,
    got: HashMap<Text, Value>,
    asked: u64,
}

impl Running {
    fn start(path: &Path) -> Running {
        let clock = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            Time(since.as_millis() as u64)
        };
        Running::start_by(path, Arc::new(clock), true)
    }

    /// By another clock, with an edge that may keep to itself what has left.
    fn start_by(path: &Path, clock: Clock, tells: bool) -> Running {
        let directory = Arc::new(Directory::open_or_create(path).unwrap());
        let log = DiskLog::open(directory.clone()).unwrap();
        let reader = log.reader();
        let (cache, through) = Cache::open(directory.clone(), &reader).unwrap();
        let restored = restore(&reader, &cache, through, |_| {}).unwrap();
        let gauges = Arc::new(Gauges::default());
        let secret = Secret(*directory.key());
        let core = Core::new(secret, Box::new(cache.clone()), gauges.clone(), WAITING_MAX, restored);
        let (to_answers, answers) = channel();
        let (to_reads, reads) = channel();
        let (to_gone, gone) = channel();
        let seqs = Arc::new(Mutex::new(Vec::new()));
        let published = seqs.clone();
        let answered = to_answers.clone();
        let outlet = move |effects: Vec<Effect>| {
            for effect in effects {
                match effect {
                    Effect::Recorded(recorded) => {
                        published.lock().unwrap().extend(recorded.events.iter().map(|event| event.seq));
                    }
                    Effect::Answer(answer) => {
                        let _ = answered.send((answer.to, serde_json::from_slice(&answer.body).unwrap()));
                    }
                    Effect::Read(job) => drop(to_reads.send(job)),
                    Effect::Gone(number) if tells => drop(to_gone.send(number)),
                    Effect::Relay(_) | Effect::Rejection(_) | Effect::Gone(_) => {}
                }
            }
        };
        let archive = Archive { reader, cache: Some(cache.clone()), key: [0; 32] };
        let (handle, threads) =
            start_threads(core, Box::new(log), cache.clone(), gauges.clone(), WAITING_MAX, Box::new(outlet), clock)
                .unwrap();
        let back = handle.clone();
        std::thread::spawn(move || gone.into_iter().for_each(|number| back.gone(number)));
        let back = handle.clone();
        std::thread::spawn(move || {
            for job in reads {
                match read(*job, &archive) {
                    ReadOutcome::Answer(answer) => {
                        let _ = to_answers.send((answer.to, serde_json::from_slice(&answer.body).unwrap()));
                    }
                    ReadOutcome::Closed(job) => back.closed_page(job),
                    ReadOutcome::Nothing => {}
                }
            }
        });
        handle.ready(true);
        Running { handle, threads, cache, gauges, answers, seqs, got: HashMap::new(), asked: 0 }
    }

    fn reply(&mut self) -> Text {
        self.asked += 1;
        format!("_INBOX.{}", self.asked).into()
    }

    fn hand(&mut self, mut request: Request) -> Text {
        let reply = self.reply();
        request.reply = Some(reply.clone());
        while let Err(again) = self.handle.request(request) {
            request = again;
            std::thread::sleep(Duration::from_millis(1));
        }
        reply
    }

    fn send(&mut self, call: Call) -> Text {
        self.hand(call.request(None))
    }

    fn answer(&mut self, reply: &Text) -> Value {
        while !self.got.contains_key(reply) {
            let (to, body) = self.answers.recv_timeout(PATIENCE).expect("an answer in time");
            assert!(self.got.insert(to, body).is_none(), "nothing is answered twice");
        }
        self.got[reply].clone()
    }

    fn question(&mut self, ask: Ask) -> Value {
        let reply = self.hand(Request { by: anybody(), ask, reply: None });
        self.answer(&reply)
    }

    /// All states, page by page.
    fn states(&mut self) -> Vec<Value> {
        let mut ask = everything(100);
        let mut rows = Vec::new();
        loop {
            let page = self.question(Ask::List(Box::new(ask.clone())));
            rows.extend(page["conversations"].as_array().expect("a page").iter().cloned());
            match page["next"].as_str() {
                Some(next) => ask.after = Some(next.into()),
                None => return rows,
            }
        }
    }

    /// Stops as the service does, and says which events had been published.
    fn stop(self) -> Vec<u64> {
        let Running { handle, threads, cache, seqs, .. } = self;
        handle.stop();
        let log = threads.join().expect("no thread panicked");
        cache.close().unwrap();
        log.close(0).unwrap();
        let seqs = seqs.lock().unwrap();
        seqs.clone()
    }
}

#[test]
fn thousands_of_commands_survive_a_stop_and_a_start() {
    let place = tempfile::tempdir().unwrap();
    let mut site = Running::start(place.path());
    let applied = site.question(Ask::Put(Box::new(put(&usual()))));
    assert_eq!(applied["outcome"], "applied");
    let mut replies = Vec::new();
    for n in 0..600 {
        let id = format!("c{n:04}");
        replies.push(site.send(start(&id).command_id("s").metadata(json!({"n": n}))));
        replies.push(site.send(message(&id).content("hello").message_id("m1")));
        replies.push(site.send(pass(bot(), &id, "agents")));
        replies.push(site.send(reply(agents(), &id).content("hi")));
        if n % 3 == 0 {
            replies.push(site.send(overrule_end(&id).command_id("e")));
        }
    }
    let outcomes: Vec<Value> = replies.iter().map(|reply| site.answer(reply)).collect();
    assert_eq!(outcomes.len(), replies.len(), "everything is answered once");
    let before = site.states();
    assert_eq!(before.len(), 600);
    assert_eq!(
        site.gauges.open.load(Ordering::Relaxed),
        before.iter().filter(|c| c["closed"].is_null()).count() as u64
    );
    let groups = site.gauges.groups.load(Ordering::Relaxed);
    let decisions = site.gauges.decisions.load(Ordering::Relaxed);
    assert!(groups < decisions / 2, "{decisions} decisions in {groups} groups");
    let published = site.stop();
    assert_eq!(published, (1..=published.len() as u64).collect::<Vec<_>>(), "each event once and in order");

    let mut site = Running::start(place.path());
    assert_eq!(site.states(), before);
    let again = site.send(start("c0001").command_id("s").metadata(json!({"n": 1})));
    assert_eq!(site.answer(&again)["replayed"], true);
    let published = site.stop();
    assert!(published.is_empty(), "nothing happened");
}

#[test]
fn beside_one_who_asks_little_it_goes_on_as_soon_as_what_was_decided_has_left() {
    let place = tempfile::tempdir().unwrap();
    // By a clock that stands still nobody who asks little is ever forgotten.
    let mut site = Running::start_by(place.path(), Arc::new(|| Time(1_800_000_000_000)), true);
    site.question(Ask::Put(Box::new(put(&usual()))));
    for (round, requests) in [2000, 500].into_iter().enumerate() {
        let calm = site.send(start(&format!("calm-{round}")).by(super::say::channel("calm")));
        let ask = |n| start(&format!("flood-{round}-{n}")).by(super::say::channel("flood"));
        let replies: Vec<Text> = (0..requests).map(|n| site.send(ask(n))).collect();
        for reply in replies.iter().chain([&calm]) {
            assert_eq!(site.answer(reply)["outcome"], "applied");
        }
    }
    site.stop();
}

#[test]
fn a_stop_waits_for_nobody_to_say_that_something_has_left() {
    let place = tempfile::tempdir().unwrap();
    let mut site = Running::start_by(place.path(), Arc::new(|| Time(1_800_000_000_000)), false);
    site.question(Ask::Put(Box::new(put(&usual()))));
    let flood = |round, n| start(&format!("flood-{round}-{n}")).by(super::say::channel("flood"));
    let replies: Vec<Text> = (0..2000).map(|n| site.send(flood(0, n))).collect();
    replies.iter().for_each(|reply| drop(site.answer(reply)));
    let calm = site.send(start("calm").by(super::say::channel("calm")));
    assert_eq!(site.answer(&calm)["outcome"], "applied");
    let waiting: Vec<Text> = (0..500).map(|n| site.send(flood(1, n))).collect();
    site.handle.stop();
    assert!(waiting.iter().all(|reply| site.answer(reply)["outcome"] == "applied"));
    site.stop();
}

#[test]
fn a_stop_is_quick_and_answers_what_was_taken() {
    let place = tempfile::tempdir().unwrap();
    let mut site = Running::start(place.path());
    site.question(Ask::Put(Box::new(put(&usual()))));
    let replies: Vec<Text> = (0..200).map(|n| site.send(start(&format!("c{n}")))).collect();
    site.handle.stop();
    let begun = std::time::Instant::now();
    for reply in &replies {
        let answer = site.answer(reply);
        assert!(answer["outcome"] == "applied" || answer["error"]["code"] == "busy", "{answer}");
    }
    let Running { threads, .. } = site;
    threads.join().expect("no thread panicked");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn timers_run_by_the_clock_of_the_threads() {
    let place = tempfile::tempdir().unwrap();
    let mut site = Running::start(place.path());
    let mut config = usual();
    config["integration"][0]["inactivity_timeout"] = json!("1s");
    site.question(Ask::Put(Box::new(put(&config))));
    let begun = std::time::Instant::now();
    let reply = site.send(start("c1"));
    site.answer(&reply);
    let ended = loop {
        let state = site.question(Ask::State { id: conversation("c1") });
        if state["conversation"]["status"] == "closed" {
            break begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{state}");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended >= Duration::from_millis(990), "{ended:?}");
    site.stop();
}

/// The threads over a log in memory, whose disk can be made to fail; what is heard is the codes of the answers.
fn over(disk: &SimulatedDisk, folder: &Path) -> (Handle, Threads, Receiver<Option<&'static str>>, Arc<Gauges>) {
    let directory = Arc::new(Directory::open_or_create(folder).unwrap());
    let log = MemoryLog::open(disk, directory.log_id()).unwrap();
    let (cache, _) = Cache::open(directory, &log.reader()).unwrap();
    on(log, cache, Arc::new(|| Time(1_000_000)))
}

fn on(log: MemoryLog, cache: Cache, clock: Clock) -> (Handle, Threads, Receiver<Option<&'static str>>, Arc<Gauges>) {
    within(Limits::default(), log, cache, clock)
}

fn within(
    limits: Limits,
    log: impl Log + 'static,
    cache: Cache,
    clock: Clock,
) -> (Handle, Threads, Receiver<Option<&'static str>>, Arc<Gauges>) {
    let gauges = Arc::new(Gauges::default());
    let restored = restore(&log.reader(), &cache, None, |_| {}).unwrap();
    let core = Core::new(Secret([7; 32]), Box::new(cache.clone()), gauges.clone(), WAITING_MAX, restored);
    let core = core.with_limits(limits);
    let (answered, answers) = channel();
    let outlet = move |effects: Vec<Effect>| {
        for effect in effects {
            if let Effect::Answer(answer) = effect {
                answered.send(answer.refusal.map(|refusal| refusal.code())).unwrap();
            }
        }
    };
    let (handle, threads) =
        start_threads(core, Box::new(log), cache, gauges.clone(), WAITING_MAX, Box::new(outlet), clock).unwrap();
    (handle, threads, answers, gauges)
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A log that says how many decisions it is to write, and waits for a word before it does.
struct Held {
    log: MemoryLog,
    asked: Sender<usize>,
    go: Receiver<()>,
}

impl Log for Held {
    fn append(&mut self, group: &[Draft], published_through: u64) -> Result<Vec<Outcome>, LogError> {
        self.asked.send(group.len()).unwrap();
        self.go.recv().unwrap();
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

#[test]
fn what_is_decided_during_a_write_is_written_together() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open_or_create(folder.path()).unwrap());
    let log = MemoryLog::open(&SimulatedDisk::default(), directory.log_id()).unwrap();
    let (cache, _) = Cache::open(directory, &log.reader()).unwrap();
    let ((asked, sizes), (go, of_log)) = (channel(), channel());
    let log = Held { log, asked, go: of_log };
    let (handle, threads, answers, _) = within(Limits::default(), log, cache, Arc::new(|| Time(1_000_000)));
    let say = |at: usize| handle.request(start(&format!("c{at}")).request(Some("_INBOX.c".into()))).unwrap();
    say(0);
    assert_eq!(sizes.recv_timeout(PATIENCE), Ok(1));
    for at in 1..=20 {
        say(at);
        // Long enough for each to be decided by itself.
        std::thread::sleep(Duration::from_millis(3));
    }
    (0..2).for_each(|_| go.send(()).unwrap());
    assert_eq!(sizes.recv_timeout(PATIENCE), Ok(20));
    (0..=20).for_each(|_| assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), None));
    handle.stop();
    assert!(threads.join().is_ok());
}

#[test]
fn a_log_that_fails_answers_all_that_waits_and_the_threads_end() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (handle, threads, answers, gauges) = over(&disk, folder.path());
    handle.request(start("before").request(Some("_INBOX.before".into()))).unwrap();
    assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), None);
    disk.fail_syncs(true);
    for at in 0..100 {
        let _ = handle.request(start(&format!("c{at}")).request(Some(format!("_INBOX.{at}").into())));
    }
    assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), Some("log_failed"));
    assert!(threads.join().is_ok(), "the threads end by themselves");
    assert!(answers.iter().all(|code| code == Some("log_failed")));
    assert!(gauges.log_failed.load(Ordering::Relaxed));
}

#[test]
fn a_full_disk_refuses_and_does_not_keep_the_threads_from_ending() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (handle, threads, answers, gauges) = over(&disk, folder.path());
    // The cache keeps the first at once; the others wait for their time, which does not come while the clock stands.
    for at in 0..20 {
        handle.request(start(&format!("c{at}")).request(Some(format!("_INBOX.{at}").into()))).unwrap();
        assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), None);
        std::thread::sleep(Duration::from_millis(20));
    }
    disk.fill(true);
    while !gauges.storage_full.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
    }
    handle.request(start("after").request(Some("_INBOX.after".into()))).unwrap();
    assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), Some("storage_full"));
    handle.stop();
    let (ended, end) = channel();
    std::thread::spawn(move || ended.send(threads.join().is_ok()));
    assert_eq!(end.recv_timeout(PATIENCE), Ok(true), "the threads end");
}

#[test]
fn what_is_closed_stays_in_memory_where_the_cache_cannot_take_it() {
    let (disk, medium) = (SimulatedDisk::default(), SimulatedCache::default());
    let log = MemoryLog::open(&disk, uuid::Uuid::from_u128(1)).unwrap();
    let (cache, _) = Cache::open_simulated(&medium, &log.reader()).unwrap();
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = now.clone();
    let (handle, threads, answers, _) = on(log, cache.clone(), Arc::new(move || Time(clock.load(Ordering::Relaxed))));
    let ask = |call: Call| {
        handle.request(call.request(Some("_INBOX.a".into()))).unwrap();
        answers.recv_timeout(PATIENCE).unwrap()
    };
    assert_eq!(ask(start("c0")), None);
    while !cache.scan_open().any(|found| found.unwrap().0 == "c0") {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((ask(start("c1")), ask(overrule_end("c1"))), (None, None));
    // The next round is the one that keeps it, and cannot.
    medium.fail_after(Some(0));
    now.fetch_add(3_000, Ordering::Relaxed);
    for _ in 0..150 {
        let state =
            Request { by: anybody(), ask: Ask::State { id: conversation("c1") }, reply: Some("_INBOX.s".into()) };
        handle.request(state).unwrap();
        assert_eq!(answers.recv_timeout(PATIENCE).unwrap(), None, "c1 is in memory, or in the cache");
        std::thread::sleep(Duration::from_millis(5));
    }
    handle.stop();
    assert!(threads.join().is_ok());
}

/// The cache goes on as if nothing had been: what lacks a part must not be read from it all the same.
#[test]
fn what_lacks_a_part_that_the_cache_refused_once_stays_in_memory() {
    let (disk, medium) = (SimulatedDisk::default(), SimulatedCache::default());
    let log = MemoryLog::open(&disk, uuid::Uuid::from_u128(1)).unwrap();
    let (cache, _) = Cache::open_simulated(&medium, &log.reader()).unwrap();
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = now.clone();
    let limits = Limits { parts: PartSizes { page_items: 2, mark_entries: 2 }, ..Limits::default() };
    let (handle, threads, answers, _) =
        within(limits, log, cache, Arc::new(move || Time(clock.load(Ordering::Relaxed))));
    let ask = |call: Call| {
        handle.request(call.request(Some("_INBOX.a".into()))).unwrap();
        answers.recv_timeout(PATIENCE).unwrap()
    };
    medium.refuse_one_part();
    assert_eq!((ask(start("c1").command_id("first")), ask(overrule_end("c1").command_id("last"))), (None, None));
    let begun = std::time::Instant::now();
    while medium.is_to_refuse_one_part() {
        // A round that was under way may be over later than this, and the next one is due two seconds after it.
        now.fetch_add(100, Ordering::Relaxed);
        assert!(begun.elapsed() < PATIENCE, "nothing of it comes in parts");
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..50 {
        assert_eq!(ask(start("c1").command_id("first")), None, "it is in memory, as it was");
        std::thread::sleep(Duration::from_millis(5));
    }
    handle.stop();
    assert!(threads.join().is_ok());
}
