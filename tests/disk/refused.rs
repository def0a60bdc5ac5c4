//! Directories that are not to be served: whose they are and why is said, and nothing in them is changed.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::process::{Ran, run};
use crate::world::{USUAL, World};

/// Serves a directory that it should not.
async fn serve(world: &World, data: &Path) -> Ran {
    let mut program = world.program(&["serve", "--nats", &world.server.url, "--prefix", "another"]);
    program.arg("--data").arg(data);
    run(program).await
}

/// A copy of a stopped service's directory.
async fn stopped(world: &mut World) -> std::path::PathBuf {
    world.begin("c1", "bot").await;
    world.stop().await;
    world.data()
}

#[tokio::test]
async fn a_directory_of_another_format_is_refused_with_both_formats() {
    let mut world = World::new().await;
    let data = stopped(&mut world).await;
    let file = data.join("switchboard.json");
    let metadata = fs::read_to_string(&file).unwrap();
    fs::write(&file, metadata.replace("\"format\": 4", "\"format\": 9")).unwrap();
    let refused = serve(&world, &data).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("format 9, expected 1 to 5") && refused.err.contains("export"), "{}", refused.err);
    fs::write(&file, metadata).unwrap();
    world.start().await;
    assert_eq!(world.state("c1").await["owner"], "bot");
    world.end().await;
}

#[tokio::test]
async fn snapshots_that_a_kill_left_half_written_are_no_hindrance() {
    let mut world = World::new().await;
    let data = stopped(&mut world).await;
    fs::write(data.join("log/1/snap.00000000FFFFFFFF.generating"), b"half").unwrap();
    world.start().await;
    assert_eq!(world.state("c1").await["owner"], "bot");
    world.ask("integration.bot.pass.c1", json!({"to": "agents"})).await.applied("control.passed");
    world.end().await;
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_refused_with_what_to_look_at() {
    let mut world = World::idle(USUAL, &[]).await;
    let data = world.data();
    fs::create_dir_all(&data).unwrap();
    let Some(_mounted) = crate::mounted::Mounted::new(&mut world, "tmpfs", "ro,size=1m") else { return };
    let refused = serve(&world, &data).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("cannot be written: check its owner, its mode and how it is mounted"),
        "{}",
        refused.err
    );
}
