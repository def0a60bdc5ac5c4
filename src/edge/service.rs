//! The service on NATS: connects, has requests taken in, and stops in good order.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subject};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, Purpose, Thread};
use super::discovery::Identity;
use super::http::{Readiness, Reason};
use super::intake::{self, Intake, Stopping};
use super::publisher::Turn;
use super::refusals::Refusals;
use super::stats::Stats;
use super::streams::{self, api::Trouble};
use super::subjects::may_answer;
use super::{EdgeError, Events, Options, covering};
use crate::switchboard::Handle;
use crate::switchboard::past::Archive;

/// How long another instance has to make itself known at the start.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How long it has later, where its answer competes with a full load.
const LATER_LOOK: Duration = Duration::from_secs(1);
/// How often another instance is looked for, and it is told what was lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pause between two looks while another instance is there, as commands wait until it is gone, and at the beginning …
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// … so often: another that starts at the same moment is not there yet to answer the first.
const EARLY_LOOKS: u32 = 4;
/// It is gone when it is silent so often in a row: one answer may be late or lost.
const SILENT_LOOKS: u32 = 3;
/// The longest message that the service may send: a page, or a configuration, with what stands around it.
const PAYLOAD_BYTES_NEEDED: usize = 1024 * 1024;
/// How long requests may find nobody until that is an outage, in which timers rest.
const SHORT_CUT: Duration = Duration::from_secs(2);
/// How long connections live that were not lost to somebody's ill will.
const CALM: Duration = Duration::from_secs(1);
/// The pause before the next connections, where the last were lost at once …
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// … and what it grows to.
const PAUSE_MAX: Duration = Duration::from_millis(800);
/// The pause before a thread is asked for again, where there was none.
const THREAD_PAUSE: Duration = Duration::from_secs(1);
/// How long the server has to confirm that it sends no more requests.
const UNSUBSCRIBE_WAIT: Duration = Duration::from_secs(5);

/// The service: what its tasks share.
pub struct Service {
    /// How it was asked to run.
    pub options: Options,
    /// The switchboard.
    pub handle: Handle,
    /// The past.
    pub archive: Archive,
    /// The log's id.
    pub log_id: String,
    /// Who it is.
    pub identity: Identity,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What keeps it from being ready.
    pub readiness: Arc<Readiness>,
    /// Where the publisher works, and so the connection that it publishes on.
    pub publisher: Arc<Thread>,
}

/// Why a connection is used no longer.
enum Ended {
    Lost,
    Asked,
}

/// Serves until `stop` turns true; the connection, if there is one, is left open for the last answers.
pub async fn serve(
    service: &Arc<Service>,
    turns: &mpsc::Sender<Turn>,
    mut stop: watch::Receiver<bool>,
) -> Result<Option<Box<Connection>>, EdgeError> {
    let mut is_first = true;
    loop {
        let connection = tokio::select! {
            made = service.connect(Purpose::Publishing, is_first) => Box::new(made?),
            () = asked(&mut stop) => return Ok(None),
        };
        if is_first {
            service.refuse_to_be_second(&connection).await?;
            service.check_streams(&connection).await?;
        }
        is_first = false;
        let ended = tokio::select! {
            ended = serve_on(service, &connection, turns, &mut stop) => ended,
            () = connection.lost() => Ended::Lost,
        };
        if let Ended::Asked = ended {
            return Ok(Some(connection));
        }
        drop(connection);
        service.is_cut_off();
        let _ = turns.send(Turn::Lost).await;
    }
}

/// Serves on one connection: first what was recorded is published, then requests are taken, on connections of their own.
async fn serve_on(
    service: &Arc<Service>,
    connection: &Connection,
    turns: &mpsc::Sender<Turn>,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    warn_of_small_payloads(&connection.client);
    tokio::select! {
        caught_up = catch_up(service, connection, turns) => if caught_up.is_none() {
            return Ended::Lost;
        },
        () = asked(stop) => return Ended::Asked,
    }
    let mut beside = JoinSet::new();
    beside.spawn(look_around(service.clone(), connection.client.clone()));
    let mut pause = Duration::ZERO;
    loop {
        let (requests, refusals) = match connect_for_requests(service, pause, stop).await {
            Ok(both) => both,
            Err(ended) => return ended,
        };
        let began = Instant::now();
        if let Ended::Asked = take_requests(service, connection, &requests, refusals, stop).await {
            return Ended::Asked;
        }
        pause = if began.elapsed() > CALM { Duration::ZERO } else { (2 * pause).clamp(PAUSE_MIN, PAUSE_MAX) };
        // Who is cut off again and again hears nobody, however short each time is.
        if pause == PAUSE_MAX {
            service.is_cut_off();
        }
    }
}

/// Makes the connections that requests come in on and refusals leave on. Where they were lost and are there again at
/// once, that is no outage: any caller can cost the service such a connection, and is not to put off what is due.
async fn connect_for_requests(
    service: &Service,
    pause: Duration,
    stop: &mut watch::Receiver<bool>,
) -> Result<(Connection, Connection), Ended> {
    let both = async {
        tokio::time::sleep(pause).await;
        let requests = service.connect(Purpose::Requests, false).await?;
        service.connect(Purpose::Refusals, false).await.map(|refusals| (requests, refusals))
    };
    tokio::pin!(both);
    tokio::select! {
        made = &mut both => return made.map_err(|_| Ended::Lost),
        () = asked(stop) => return Err(Ended::Asked),
        () = tokio::time::sleep(SHORT_CUT) => service.is_cut_off(),
    }
    tokio::select! {
        made = both => made.map_err(|_| Ended::Lost),
        () = asked(stop) => Err(Ended::Asked),
    }
}

/// A thread for a connection. Where the system has none to give, which passes, the other connections are not let go.
async fn thread(name: &'static str) -> Arc<Thread> {
    loop {
        match Thread::new(name) {
            Ok(thread) => return thread,
            Err(error) => tracing::warn!(%error, name, "no thread for a connection: trying again"),
        }
        tokio::time::sleep(THREAD_PAUSE).await;
    }
}

/// Publishes what was recorded; none where the connection is of no use.
async fn catch_up(service: &Service, connection: &Connection, turns: &mpsc::Sender<Turn>) -> Option<()> {
    let (caught_up, catching_up) = oneshot::channel();
    let has_streams = service.options.events == Events::JetStream;
    let link = connection.link(&service.options.inbox_prefix(), has_streams).await;
    let link = link.inspect_err(could_not_subscribe).ok()?;
    turns.send(Turn::Connected(link, caught_up)).await.ok()?;
    catching_up.await.ok()
}

/// Takes requests that come on the first of the two, and refuses on the second, until one is lost, or the service is
/// told to stop and has taken the last.
async fn take_requests(
    service: &Arc<Service>,
    connection: &Connection,
    requests: &Connection,
    refusing: Connection,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let mut sayers = JoinSet::new();
    let refusals = Refusals::leaving(&refusing.client, service.stats.clone(), &mut sayers);
    let intake = Arc::new(Intake { service: service.clone(), refusals, client: connection.client.clone() });
    let heard = Stopping { service: stop.clone(), connection: requests.losing() };
    let mut takers = tokio::select! {
        subscribed = intake::subscribe(intake, requests, &heard) => match subscribed {
            Ok(takers) => takers,
            Err(error) => {
                could_not_subscribe(&error);
                return Ended::Lost;
            }
        },
        () = requests.lost() => return Ended::Lost,
        () = asked(stop) => return Ended::Asked,
    };
    service.is_heard(&connection.client);
    tokio::select! {
        () = requests.lost() => {
            // What had come by then is taken, and decided or refused all the same: refusals leave while others come.
            let _ = timeout(UNSUBSCRIBE_WAIT, run_dry(&mut takers)).await;
            tokio::spawn(async move {
                let _ = timeout(UNSUBSCRIBE_WAIT, run_dry(&mut sayers)).await;
                drop(refusing);
            });
            return Ended::Lost;
        }
        () = refusing.lost() => return Ended::Lost,
        () = asked(stop) => {}
    }
    // The tasks have heard of it too: each ends when its subscription has run dry, and then the last refusals leave.
    let dry = async {
        run_dry(&mut takers).await;
        run_dry(&mut sayers).await;
    };
    if timeout(UNSUBSCRIBE_WAIT, dry).await.is_err() {
        tracing::warn!("the server did not confirm the end of subscriptions: some requests stay unanswered");
    }
    Ended::Asked
}

/// Waits until all that came is taken, or the last refusal has left.
async fn run_dry(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

fn could_not_subscribe(error: &impl std::fmt::Display) {
    tracing::warn!(%error, "could not subscribe: check this user's permissions");
}

/// Pages and configurations reach half a megabyte, and a message that the server does not take is lost.
fn warn_of_small_payloads(client: &Client) {
    let max_payload = client.server_info().max_payload;
    if max_payload < PAYLOAD_BYTES_NEEDED {
        tracing::warn!(
            max_payload,
            needed = PAYLOAD_BYTES_NEEDED,
            "the server takes small messages only: raise its max_payload"
        );
    }
}

async fn look_around(service: Arc<Service>, client: Client) {
    let mut looks = 0;
    loop {
        // At once, too: while there was no connection another may have been started.
        service.look_for_others(&client).await;
        service.tell_losses();
        looks += 1;
        let is_soon = looks < EARLY_LOOKS || service.readiness.holds(Reason::Duplicate);
        sleep(if is_soon { LOOK_AGAIN } else { LOOK_EVERY }).await;
    }
}

/// Returns once the service is told to stop.
pub(super) async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Service {
    async fn connect(&self, purpose: Purpose, is_first: bool) -> Result<Connection, EdgeError> {
        let thread = match purpose {
            Purpose::Publishing => self.publisher.clone(),
            Purpose::Requests => thread("requests").await,
            Purpose::Refusals => thread("refusals").await,
        };
        Connection::make(&self.options, purpose, &thread, &self.stats, is_first).await
    }

    fn is_heard(&self, client: &Client) {
        self.readiness.set(Reason::NotConnected, false);
        let is_start = self.readiness.set(Reason::Starting, false);
        if is_start {
            // Nothing waits for it: where it may not ask, its question stays open for a while.
            tokio::spawn(covering::warn_of_streams(client.clone(), self.options.prefix.clone()));
            // Timers count from the moment that the switchboard hears of it, which is not to be before this is said.
            tracing::info!(prefix = %self.options.prefix, "ready");
        }
        self.handle.ready(self.readiness.is_ready());
    }

    fn is_cut_off(&self) {
        self.handle.ready(false);
        self.readiness.set(Reason::NotConnected, true);
    }

    fn tell_losses(&self) {
        let (dropped, unanswered) = (self.stats.dropped_requests.since(), self.stats.unanswered.since());
        if dropped + unanswered > 0 {
            tracing::warn!(
                dropped,
                unanswered,
                "requests came faster than they could be refused: some stay unanswered, and nothing was recorded of them"
            );
        }
    }

    /// Whether an answer may go to that subject; counted where it may not.
    pub fn may_answer(&self, reply: &Subject) -> bool {
        let may = may_answer(&self.options.reply_prefix, reply);
        if !may {
            self.stats.dropped_replies.increment(1);
        }
        may
    }

    async fn refuse_to_be_second(&self, connection: &Connection) -> Result<(), EdgeError> {
        let inbox_prefix = self.options.inbox_prefix();
        match self.identity.look_for_others(&connection.client, &inbox_prefix, FIRST_LOOK).await {
            Ok(Some(other)) => Err(EdgeError::Duplicate { prefix: self.options.prefix.clone(), other }),
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "could not ask whether another instance is there");
                Ok(())
            }
        }
    }

    async fn check_streams(&self, connection: &Connection) -> Result<(), EdgeError> {
        if self.options.events == Events::Core {
            return Ok(());
        }
        match streams::check(&connection.client, &self.options.prefix, &self.log_id, &self.archive).await {
            Err(Trouble::Refused(why)) => Err(EdgeError::Publication(why)),
            Err(Trouble::Away(why)) => {
                tracing::warn!(why, "JetStream is away: commands go on, and the streams are filled when it is back");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// While another instance is seen, no command is decided here: see [`Reason::Duplicate`].
    async fn look_for_others(&self, client: &Client) {
        let mut silent = 0;
        let found = loop {
            let found = self.identity.look_for_others(client, &self.options.inbox_prefix(), LATER_LOOK).await;
            let Ok(found) = found else { return };
            silent += 1;
            if found.is_some() || !self.readiness.holds(Reason::Duplicate) || silent == SILENT_LOOKS {
                break found;
            }
        };
        let is_new = self.readiness.set(Reason::Duplicate, found.is_some());
        match found {
            Some(other) if is_new => {
                let prefix = &self.options.prefix;
                tracing::error!(
                    prefix,
                    other,
                    "another instance serves the same prefix: commands are answered busy until one of them is stopped"
                );
            }
            None if is_new => {
                tracing::info!("no other instance serves the same prefix any more: commands are decided again");
            }
            _ => {}
        }
        // Each time: another may have told the state before this one as the last.
        self.handle.ready(self.readiness.is_ready());
    }
}
