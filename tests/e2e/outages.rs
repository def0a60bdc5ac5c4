//! The NATS server goes away and comes back under the service.

use std::time::Duration;

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn when_the_server_is_back_the_service_is_ready_again_and_no_event_is_missing() {
    let mut world = World::new().await;
    world.begin("c", "bot").await;
    world.ask("integration.bot.offer.c", json!({"to": "agents", "expires_in": "1s"})).await.applied("control.offered");
    world.begin("d", "bot").await;
    world.server.kill();
    world.said("the connection to NATS is lost", 1).await;
    // The offer falls due while nobody can be told, or asked.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Whoever listens is there before the service, which would not wait for anybody.
    world.signal("STOP");
    world.server.start_again().await;
    world.listen_again().await;
    world.signal("CONT");
    world.answering().await;
    world.event("c", "control.offer_withdrawn").await;
    world.ask("integration.bot.pass.c", json!({"to": "agents"})).await.ok();
    world.ask("integration.bot.pass.d", json!({"to": "agents"})).await.applied("control.passed");
    world.end().await;
}

#[tokio::test]
async fn a_service_without_a_server_waits_for_it_and_can_be_stopped_all_the_same() {
    let mut world = World::new().await;
    world.begin("c", "bot").await;
    world.ask("integration.bot.offer.c", json!({"to": "agents", "expires_in": "1s"})).await.applied("control.offered");
    world.server.kill();
    world.said("the connection to NATS is lost", 1).await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    world.signal("INT");
    assert_eq!(world.gone().await.code(), Some(0), "{}", world.log());
    // Started before the server, it says so and tries again.
    world.launch();
    world.said("no connection to NATS yet", 1).await;
    world.signal("STOP");
    world.server.start_again().await;
    world.listen_again().await;
    world.signal("CONT");
    world.answering().await;
    // What was recorded while nobody could be told is told now.
    world.event("c", "control.offer_withdrawn").await;
    world.end().await;
}
