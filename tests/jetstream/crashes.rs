//! Kills of either side, in turn, under load: the streams hold the log, each event once and in order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::world::World;

const KILLS: usize = 20;

#[tokio::test]
async fn twenty_kills_of_service_and_server_leave_every_event_once_and_in_order() {
    let mut world = World::new().await;
    for turn in 0..KILLS {
        load(&world, turn).await;
        match turn % 2 {
            0 => world.kill(),
            _ => world.server.kill(),
        }
        match turn % 2 {
            0 => world.start().await,
            _ => {
                world.server.start_again().await;
                world.answering().await;
            }
        }
    }
    world.ask("channel.web.start.last", json!({})).await;
    world.check_streams().await;
    let count = world.log_events().await.len();
    assert!(count > 1000, "{count} events are little load");
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
    // Nothing rests on the server remembering ids for a while: it was never sent what it had.
    assert!(!world.log().contains("is there already"), "{}", world.log());
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
