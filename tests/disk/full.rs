//! A full disk: what would be recorded is refused, everything else goes on, and so does all once there is room.

use std::time::Instant;

use serde_json::json;
use tokio::time::sleep;

use crate::mounted::Mounted;
use crate::process::PATIENCE;
use crate::world::{A_WHILE, USUAL, World};

/// Room for both databases and the reserve, and for some more.
const SIZE: &str = "size=192m";

/// Free bytes below which nothing is recorded, and far more than none.
const TOO_FEW: u64 = 40 << 20;

async fn full(arguments: &[&str]) -> Option<(World, Mounted)> {
    let mut world = World::idle(USUAL, arguments).await;
    let mounted = Mounted::new(&mut world, "tmpfs", SIZE)?;
    world.start().await;
    Some((world, mounted))
}

/// Passes the conversation to and fro until that is answered as expected.
async fn until_answered(world: &World, code: Option<&str>) {
    let began = Instant::now();
    loop {
        let to = if world.state("c1").await["owner"] == "bot" { "agents" } else { "bot" };
        let answer = world.ask("operator.olga.pass.c1", json!({"to": to})).await.heard.json();
        if answer["error"]["code"].as_str() == code {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{code:?} is never answered, but {answer}");
        sleep(A_WHILE / 6).await;
    }
}

/// Everything that may be asked, and is not recorded.
async fn questions_are_answered(world: &World) {
    assert_eq!(world.state("c1").await["status"], "open");
    for subject in ["query.history.c1", "query.log", "query.conversations", "query.config", "channel.web.state.c1"] {
        world.ask(subject, json!({})).await.ok();
    }
    world.ask("query.conversation.c1", json!({"at_seq": world.state("c1").await["seq"]})).await.ok();
}

#[tokio::test]
async fn a_full_disk_refuses_what_it_would_record_answers_questions_and_needs_no_restart() {
    let Some((world, mounted)) = full(&[]).await else { return };
    world.begin("c1", "bot").await;
    for _ in 0..2 {
        mounted.leave(TOO_FEW);
        until_answered(&world, Some("storage_full")).await;
        let events = world.log_events().await.len();
        let refused = world.ask("channel.web.start.c2", json!({})).await;
        refused.refused("storage_full");
        questions_are_answered(&world).await;
        assert_eq!(world.log_events().await.len(), events, "nothing is recorded");
        mounted.make_room();
        until_answered(&world, None).await;
    }
    world.end().await;
}

#[tokio::test]
async fn a_service_stops_and_starts_on_a_disk_without_a_byte_and_goes_on_when_there_is_room() {
    let Some((mut world, mounted)) = full(&[]).await else { return };
    world.begin("c1", "bot").await;
    mounted.leave(0);
    until_answered(&world, Some("storage_full")).await;
    let before = world.state("c1").await;
    let status = world.stop().await;
    assert!(status.success(), "{status:?}\n{}", world.log());
    world.start().await;
    world.said("the reserve is given back", 1).await;
    assert_eq!(world.state("c1").await, before);
    questions_are_answered(&world).await;
    world.ask("integration.bot.release.c1", json!({})).await.refused("storage_full");
    mounted.make_room();
    until_answered(&world, None).await;
    world.end().await;
}
