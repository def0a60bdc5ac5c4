//! Kills of either side, in turn and both at once, under load and during a start: streams and subscribers have the
//! whole log, each event once and in order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::progress::Progress;
use crate::subscribers::Following;
use crate::world::World;

/// How often, where `SWITCHBOARD_TEST_KILLS` does not say.
const KILLS: usize = 20;

#[tokio::test]
async fn kills_of_service_and_server_leave_every_event_once_and_in_order() {
    let kills = std::env::var("SWITCHBOARD_TEST_KILLS").map_or(KILLS, |text| text.parse().expect("a number of kills"));
    let progress = Progress::new();
    let mut world = World::new().await;
    let reading = Following::reading_on(&world.server.url).await;
    let listening = Following::listening(&world.server.url).await;
    for turn in 0..kills {
        load(&world, turn).await;
        match turn % 4 {
            0 => kill_service(&mut world).await,
            1 => kill_server(&mut world).await,
            2 => kill_both(&mut world).await,
            _ => kill_service_as_it_starts(&mut world, turn).await,
        }
        progress.tell(|| format!("{} of {kills} kills", turn + 1));
    }
    world.ask("channel.web.start.last", json!({})).await;
    world.check_streams().await;
    let log = world.log_events().await;
    assert!(log.len() > 40 * kills, "{} events are little load", log.len());
    reading.has("who reads the stream on", &log).await;
    listening.has("who listens and asks the log", &log).await;
    progress.end(&format!("{kills} kills, {} events: none lost, none twice after de-duplication", log.len()));
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
    // Nothing rests on the server remembering ids for a while: it was never sent what it had.
    assert!(!world.log().contains("is there already"), "{}", world.log());
}

async fn kill_service(world: &mut World) {
    world.kill();
    world.start().await;
}

async fn kill_server(world: &mut World) {
    world.server.kill();
    world.server.start_again().await;
    world.answering().await;
}

async fn kill_both(world: &mut World) {
    world.server.kill();
    world.kill();
    // The service may be there first, and wait.
    world.launch();
    world.server.start_again().await;
    world.answering().await;
}

/// At another moment of the start each time.
async fn kill_service_as_it_starts(world: &mut World, turn: usize) {
    world.kill();
    for again in 0..3 {
        world.launch();
        sleep(Duration::from_millis(((turn + again * 7) % 40 * 5) as u64)).await;
        world.kill();
    }
    world.start().await;
}

/// Callers that are in the middle of their commands when it returns.
async fn load(world: &World, turn: usize) {
    let stop = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let callers = join_all((0..16).map(|at| call(world, format!("c{turn}-{at}"), &stop, &answered)));
    let until = async {
        while answered.load(Relaxed) < 150 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    // The callers are dropped, and what they have sent is under way.
    tokio::select! { _ = callers => {}, () = until => {} }
    stop.store(true, Relaxed);
}

async fn call(world: &World, id: String, stop: &AtomicBool, answered: &AtomicUsize) {
    let wait = Duration::from_secs(10);
    world.try_ask(&format!("channel.web.start.{id}"), json!({}), &[], wait).await;
    for to in ["agents", "bot"].into_iter().cycle() {
        if stop.load(Relaxed) {
            return;
        }
        world.try_ask(&format!("operator.ann.pass.{id}"), json!({"to": to}), &[], wait).await;
        world.try_ask(&format!("channel.web.message.{id}"), json!({"content": to}), &[], wait).await;
        answered.fetch_add(2, Relaxed);
    }
}
