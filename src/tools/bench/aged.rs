//! An aged log: what a service has recorded by the time that somebody measures it.
//!
//! It is filled by the real core and the real log, in this process and without NATS: requests are read from subjects
//! and bodies as they come over the wire, decided, synced, kept in the cache; only nothing is published. Thousands of
//! conversations go side by side, so that groups are as large as a busy service's. Most of them go through the whole
//! [script](super::script) and are closed; those that stay open are the last to begin, as in life.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::script::{STEPS, Step};
use crate::domain::Time;
use crate::edge::requests::{self, Headers};
use crate::edge::subjects::Endpoint;
use crate::log::{self, Cache, Directory, DiskLog, Log};
use crate::switchboard::core::Core;
use crate::switchboard::fingerprint::Secret;
use crate::switchboard::port::{Answer, Effect, Request};
use crate::switchboard::restore::restore;
use crate::switchboard::{self, Gauges, Handle, Threads};
use crate::tools::config_file::ConfigFile;
use crate::tools::progress::Progress;

/// Conversations that go through the script at once: four full groups, so that neither decisions nor writes wait.
const SIDE_BY_SIDE: usize = 4096;
/// Of them those that may begin at once: all steps of the script are then under way at any time, and not one.
const BEGIN_AT_ONCE: u64 = 512;
/// Requests that may wait, which is never reached.
const WAITING_MAX: usize = 8 * SIDE_BY_SIDE;
/// What those that stay open have come to: a start, a message, a reply.
const STEPS_OPEN: usize = 3;
/// What an event takes on the disk, at most: some 200 bytes, and what is written anew as it grows.
const BYTES_OF_AN_EVENT: u64 = 250;
/// Says that somebody wants the end.
const INTERRUPTED: &str = "interrupted";

/// How old a log is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// About how many events it holds.
    pub events: u64,
    /// How many conversations it leaves open.
    pub open: u64,
}

/// A fill under way, which ends where this is dropped.
struct Filling {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// Fills a directory on a thread of its own, so that whoever waits can be interrupted.
pub async fn filled(data: PathBuf, configuration: PathBuf, age: Age, with_ids: bool) -> Result<(), String> {
    check_room(&data, age)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let (done, is_done) = oneshot::channel();
    let stop = is_over.clone();
    let work = move || drop(done.send(fill(&data, &configuration, age, with_ids, &stop)));
    let thread = std::thread::Builder::new().name("fill".into()).spawn(work);
    let thread = Some(thread.map_err(|error| format!("could not start a thread: {error}"))?);
    let _filling = Filling { is_over, thread };
    is_done.await.unwrap_or_else(|_| Err("the thread that filled the log is gone".into()))
}

/// A disk that would be full in the middle is somebody else's too.
fn check_room(data: &Path, age: Age) -> Result<(), String> {
    let place = data.parent().unwrap_or(data);
    let (free, needed) = (log::free(place), age.events.saturating_mul(BYTES_OF_AN_EVENT));
    if free >= needed {
        return Ok(());
    }
    let place = place.display();
    Err(format!(
        "expected {needed} bytes free in {place}, for {} events, got {free}: name another disk with --data DIR, or fewer events",
        age.events
    ))
}

fn fill(data: &Path, configuration: &Path, age: Age, with_ids: bool, stop: &AtomicBool) -> Result<(), String> {
    let mut works = Works::open(data, with_ids)?;
    let filled = works.put(configuration).and_then(|()| works.age(age, stop));
    let closed = works.close();
    // Why it was not filled is what somebody wants to know, and not what came of it.
    filled.and(closed)
}

/// A service without its edge.
struct Works {
    handle: Handle,
    threads: Threads,
    cache: Cache,
    gauges: Arc<Gauges>,
    /// What leaves of each group: answers, and the word that they have left.
    left: Receiver<Vec<Effect>>,
    with_ids: bool,
    progress: Option<Progress>,
}

/// A conversation on its way through the script.
struct Place {
    conversation: Uuid,
    step: usize,
}

impl Works {
    fn open(data: &Path, with_ids: bool) -> Result<Works, String> {
        let directory = Arc::new(Directory::open_or_create(data).map_err(|error| error.to_string())?);
        let secret = Secret(*directory.key());
        let log = DiskLog::open(directory.clone()).map_err(|error| error.to_string())?;
        let reader = log.reader();
        let (cache, through) = Cache::open(directory, &reader).map_err(|error| error.to_string())?;
        let restored = restore(&reader, &cache, through, |_| {})?;
        let gauges = Arc::new(Gauges::default());
        Gauges::set(&gauges.durable_through, restored.next_seq - 1);
        let core = Core::new(secret, Box::new(cache.clone()), gauges.clone(), WAITING_MAX, restored);
        let (leave, left) = channel();
        let of_outlet = gauges.clone();
        let outlet = move |effects: Vec<Effect>| {
            // Nobody was there to hear of it, and nobody is to hear of it later.
            Gauges::set(&of_outlet.published_through, of_outlet.durable_through.load(Ordering::Relaxed));
            let left = effects.into_iter().filter(|effect| matches!(effect, Effect::Answer(_) | Effect::Gone(_)));
            let _ = leave.send(left.collect());
        };
        let threads = switchboard::start(
            core,
            Box::new(log),
            cache.clone(),
            gauges.clone(),
            WAITING_MAX,
            Box::new(outlet),
            Arc::new(now),
        );
        let (handle, threads) = threads.map_err(|error| format!("could not start a thread: {error}"))?;
        handle.ready(true);
        Ok(Works { handle, threads, cache, gauges, left, with_ids, progress: None })
    }

    /// The configuration, as the service finds it in the same file.
    fn put(&mut self, file: &Path) -> Result<(), String> {
        let file = ConfigFile::read(file).map_err(|faults| faults.join("; "))?;
        self.ask(file.into_request(Some("0".into())))?;
        self.hear().map(drop)
    }

    /// One conversation of each kind shows how many events it has; then as many follow as are wanted.
    fn age(&mut self, age: Age, stop: &AtomicBool) -> Result<(), String> {
        let mut so_far = self.events();
        let mut learn = |works: &mut Works, steps| {
            works.take(1, steps, stop)?;
            let before = std::mem::replace(&mut so_far, works.events());
            Ok::<u64, String>((so_far - before).max(1))
        };
        let of_closed = learn(self, STEPS.len())?;
        let of_open = if age.open > 0 { learn(self, STEPS_OPEN)? } else { 0 };
        let open = age.open.saturating_sub(1);
        let closed = age.events.saturating_sub(self.events() + open * of_open) / of_closed;
        self.progress = Some(Progress::new(Some(self.events() + closed * of_closed + open * of_open), "events filled"));
        self.take(closed, STEPS.len(), stop)?;
        self.take(open, STEPS_OPEN, stop)?;
        self.progress.take().iter().for_each(Progress::finish);
        Ok(())
    }

    /// Takes so many new conversations through the first steps of the script.
    fn take(&mut self, conversations: u64, steps: usize, stop: &AtomicBool) -> Result<(), String> {
        let mut places: Vec<Place> = Vec::new();
        let mut free: VecDeque<usize> = VecDeque::new();
        let (mut begun, mut ended) = (0, 0);
        while ended < conversations {
            let upto = conversations.min(begun + BEGIN_AT_ONCE);
            while begun < upto {
                let new = Place { conversation: Uuid::new_v4(), step: 0 };
                let at = match free.pop_front() {
                    Some(at) => at,
                    None if places.len() < SIDE_BY_SIDE => places.len(),
                    None => break,
                };
                if at == places.len() {
                    places.push(new)
                } else {
                    places[at] = new
                }
                begun += 1;
                self.go_on(&places, at)?;
            }
            for at in self.hear()? {
                places[at].step += 1;
                if places[at].step < steps {
                    self.go_on(&places, at)?;
                } else {
                    ended += 1;
                    free.push_back(at);
                }
            }
            self.progress.iter().for_each(|progress| progress.reached(self.events()));
            if stop.load(Ordering::Relaxed) {
                return Err(INTERRUPTED.into());
            }
        }
        Ok(())
    }

    fn go_on(&self, places: &[Place], at: usize) -> Result<(), String> {
        let Place { conversation, step } = places[at];
        self.ask(request(&STEPS[step], conversation, at, self.with_ids)?)
    }

    fn ask(&self, request: Request) -> Result<(), String> {
        self.handle.request(request).map_err(|_| "the switchboard takes no more commands".into())
    }

    /// The places whose command was answered, once something of that kind comes.
    fn hear(&self) -> Result<Vec<usize>, String> {
        let left = self.left.recv().map_err(|_| "the switchboard is gone")?;
        let mut places = Vec::with_capacity(left.len());
        for effect in left {
            match effect {
                Effect::Answer(Answer { to, refusal: None, .. }) => places.extend(to.parse::<usize>()),
                Effect::Answer(Answer { body, .. }) => {
                    return Err(format!("the switchboard refuses a command: {}", String::from_utf8_lossy(&body)));
                }
                Effect::Gone(number) => self.handle.gone(number),
                _ => {}
            }
        }
        Ok(places)
    }

    fn events(&self) -> u64 {
        self.gauges.durable_through.load(Ordering::Relaxed)
    }

    /// Ends as a service does that is asked to, so that the next start is one after a clean stop.
    fn close(self) -> Result<(), String> {
        self.handle.stop();
        let log = self.threads.join().map_err(|_| "a thread of the switchboard panicked")?;
        log.close(self.gauges.published_through.load(Ordering::Relaxed)).map_err(|error| error.to_string())?;
        self.cache.close().map_err(|error| error.to_string())
    }
}

/// A step as it would come over the wire.
fn request(step: &Step, conversation: Uuid, place: usize, with_id: bool) -> Result<Request, String> {
    let (role, name) = step.caller.split_once('.').unwrap_or((step.caller, ""));
    let endpoint = if role == "channel" { Endpoint::Channel } else { Endpoint::Integration };
    let tail = format!("{name}.{}.{conversation}", step.verb);
    let id = with_id.then(|| Uuid::new_v4().to_string());
    let headers = Headers { command_id: id.as_deref(), traceparent: None };
    let request = requests::parse(endpoint, &tail, headers, step.body.as_bytes());
    let mut request = request.map_err(|refusal| format!("{tail} is no command: {refusal:?}"))?;
    request.reply = Some(place.to_string().into());
    Ok(request)
}

fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
}
