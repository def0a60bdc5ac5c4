//! What goes wrong: kills, stops and restarts of both sides, one after the other, under load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::clients::Clients;
use crate::progress::Progress;
use crate::random::Random;
use crate::site::{PATIENCE, Site};
use crate::wire::Breaks;

/// Answers that come between two faults at least, so that each meets work under way.
const ANSWERS_BETWEEN: u64 = 150;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    ServiceKilled,
    ServiceKilledWhileStarting,
    ServiceStopped,
    ServiceToldToEnd,
    ServerKilled,
    ServerStopped,
    ServerToldToEnd,
    BothKilled,
}

const FAULTS: [(u64, Fault); 8] = [
    (25, Fault::ServiceKilled),
    (15, Fault::ServiceKilledWhileStarting),
    (15, Fault::ServiceStopped),
    (5, Fault::ServiceToldToEnd),
    (15, Fault::ServerKilled),
    (15, Fault::ServerStopped),
    (5, Fault::ServerToldToEnd),
    (5, Fault::BothKilled),
];

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    pub faults: BTreeMap<Fault, usize>,
    pub breaks: Breaks,
}

/// Does so many faults to a site whose clients are at work.
pub async fn rage(
    site: &mut Site,
    clients: &mut Clients,
    count: usize,
    random: &mut Random,
    progress: &Progress,
) -> Done {
    let mut done = Done::default();
    done.breaks.connections = 1;
    for number in 0..count {
        work(site, clients, random).await;
        // Every kind at least once, in a long run.
        let fault = FAULTS.get(number).map_or_else(|| random.weighed(&FAULTS), |(_, fault)| *fault);
        commit(fault, site, clients, random, &mut done.breaks).await;
        *done.faults.entry(fault).or_default() += 1;
        progress.tell(|| format!("{} of {count} faults, {} answers", number + 1, clients.answered()));
    }
    work(site, clients, random).await;
    done
}

/// Waits until the clients have had answers again, and a little longer.
pub async fn work(site: &mut Site, clients: &Clients, random: &mut Random) {
    let (began, before) = (Instant::now(), clients.answered());
    while clients.answered() < before + ANSWERS_BETWEEN {
        sleep(Duration::from_millis(5)).await;
        site.check_alive();
        assert!(began.elapsed() < PATIENCE, "the clients get no answers:\n{}", site.log());
    }
    pause(random, 200).await;
}

async fn commit(fault: Fault, site: &mut Site, clients: &mut Clients, random: &mut Random, breaks: &mut Breaks) {
    match fault {
        Fault::ServiceKilled => site.kill(),
        Fault::ServiceKilledWhileStarting => {
            site.kill();
            for _ in 0..1 + random.below(3) {
                site.launch();
                pause(random, 150).await;
                site.kill();
                breaks.connections += 1;
            }
        }
        Fault::ServiceStopped => {
            site.signal("STOP");
            pause(random, 500).await;
            return site.signal("CONT");
        }
        Fault::ServiceToldToEnd => {
            let status = site.stop().await;
            assert_eq!(status.code(), Some(0), "told to end:\n{}", site.log());
        }
        Fault::ServerKilled | Fault::ServerToldToEnd => {
            clients.heard_until_now().await;
            if fault == Fault::ServerToldToEnd {
                site.signal_server("TERM");
            }
            restart_server(site, random, breaks).await;
            return clients.hears_again().await;
        }
        Fault::ServerStopped => {
            site.signal_server("STOP");
            pause(random, 500).await;
            return site.signal_server("CONT");
        }
        Fault::BothKilled => {
            clients.heard_until_now().await;
            site.kill();
            restart_server(site, random, breaks).await;
            clients.hears_again().await;
        }
    }
    breaks.connections += 1;
    pause(random, 50).await;
    site.launch();
}

async fn restart_server(site: &mut Site, random: &mut Random, breaks: &mut Breaks) {
    pause(random, 100).await;
    site.server.kill();
    pause(random, 300).await;
    site.server.start_again().await;
    breaks.connections += 1;
    breaks.outages += 1;
}

async fn pause(random: &mut Random, ms_max: u64) {
    sleep(Duration::from_millis(random.below(ms_max + 1))).await;
}
