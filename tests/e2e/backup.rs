//! A backup of a running service: what an export of its stopped directory gives, while commands go on.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use switchboard::domain::Name;
use switchboard::tools::backup::Service;
use switchboard::tools::export::{ExportOptions, Origin, export};
use switchboard::tools::failure::Failure;
use switchboard::tools::nats::{Access, Login};

use tokio::sync::oneshot;

use crate::process::{PATIENCE, Ran, run};
use crate::world::World;

/// Conversations of the quiet log: enough for several pieces of the least length.
const SOME: u64 = 20;

async fn talk(world: &World, conversation: &str) {
    world.begin(conversation, "bot").await;
    let handed = json!({"to": "agents", "reason": "asked for Maria \"Žofie\" Lind", "metadata": {"topic": "účet"}});
    world.ask(&format!("integration.bot.pass.{conversation}"), handed).await.ok();
    world.ask(&format!("integration.agents.end.{conversation}"), json!({})).await.ok();
}

/// An export in this process, so that it can be given up on earlier than a person would.
async fn exported(server: String, patience: Duration, mut out: Out) -> (String, Result<(), Failure>) {
    let access = Access {
        servers: vec![server.parse().unwrap()],
        login: Login::None,
        prefix: "switchboard".into(),
        inbox_prefix: "_INBOX_backup".into(),
    };
    let service = Service { access, operator: Name::parse("ann").unwrap(), patience };
    let options = ExportOptions { origin: Origin::Service(service), redact: Vec::new() };
    let exporting = tokio::task::spawn_blocking(move || {
        let exported = export(&options, &mut out);
        (String::from_utf8(out.text).unwrap(), exported)
    });
    exporting.await.unwrap()
}

/// Takes an export, and waits between the first piece and the next one where there is a gate.
#[derive(Default)]
struct Out {
    text: Vec<u8>,
    gate: Option<(oneshot::Sender<()>, Receiver<()>)>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if let Some((tell, go_on)) = self.gate.take() {
            tell.send(()).unwrap();
            go_on.recv().unwrap();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn from_directory(world: &World, arguments: &[&str]) -> Ran {
    let mut program = world.program(arguments);
    program.arg("--data").arg(world.data());
    run(program).await
}

/// Imports the text into a new directory, and verifies it there.
async fn imported(world: &World, name: &str, text: &str) -> (PathBuf, Ran) {
    let (file, data) = (world.path().join(format!("{name}.ndjson")), world.path().join(name));
    std::fs::write(&file, text).unwrap();
    let mut import = world.program(&["import", "--data"]);
    import.arg(&data);
    let ran = run_with(import, &file).await;
    if ran.code == Some(0) {
        let mut verify = world.program(&["verify", "--data"]);
        verify.arg(&data);
        run(verify).await.well();
    }
    (data, ran)
}

async fn run_with(mut program: std::process::Command, input: &std::path::Path) -> Ran {
    let input = std::fs::File::open(input).unwrap();
    let ran = tokio::task::spawn_blocking(move || program.stdin(input).output());
    let output = ran.await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test]
async fn a_backup_of_a_running_service_is_byte_for_byte_that_of_its_stopped_directory() {
    let mut world = World::new().await;
    for n in 0..SOME {
        talk(&world, &format!("c-{n}")).await;
    }
    let backup = world.run(&["export", "--as", "ann"]).await.well();
    let redacted = world.run(&["export", "--redact", "c-3", "--redact", "c-5"]).await.well();
    let told = "an export of the whole log begins";
    world.said(told, 1).await;
    let unknown = world.run(&["export", "--redact", "c-99"]).await;
    assert_eq!((unknown.code, unknown.err.contains("got c-99")), (Some(1), true), "{}", unknown.err);
    assert!(!unknown.out.contains("{\"head\":"), "it is not whole");
    world.stop().await;
    assert_eq!(from_directory(&world, &["export"]).await.well(), backup);
    let expected = from_directory(&world, &["export", "--redact", "c-3,c-5"]).await.well();
    assert_eq!(redacted, expected);
    assert!(backup.contains("\"key\":\"") && !redacted.contains("\"key\":\""));
    world.start().await;
    world.end().await;
}

#[tokio::test]
async fn pieces_of_any_length_are_asked_for_by_hand() {
    let world = World::new().await;
    for n in 0..SOME {
        talk(&world, &format!("c-{n}")).await;
    }
    let whole = world.run(&["export"]).await.well();
    for limit in [1024, 5000, 262_144] {
        let (mut text, mut after, mut pieces) = (String::new(), Value::Null, 0);
        loop {
            let body = if after.is_null() { json!({"limit": limit}) } else { json!({"limit": limit, "after": after}) };
            let piece = world.ask("operator.ann.export", body).await.ok();
            assert!(piece["text"].as_str().unwrap().len() <= limit);
            text.push_str(piece["text"].as_str().unwrap());
            (after, pieces) = (piece["next"].clone(), pieces + 1);
            if after.is_null() {
                break;
            }
        }
        assert_eq!(text, whole);
        assert!(pieces >= whole.len().div_ceil(limit));
    }
    for (body, word) in [
        (json!({"limit": 1023}), "limit"),
        (json!({"limit": 262_145}), "limit"),
        (json!({"after": "x"}), "after"),
        (json!({"after": "1.0.0.0.99999"}), "begin again"),
        (json!({"from": 1}), "from"),
    ] {
        let refused = world.ask("operator.ann.export", body).await.refused("bad_request");
        assert!(refused["message"].as_str().unwrap().contains(word), "{refused}");
    }
    world.ask("query.export", json!({})).await.refused("bad_request");
    world.end().await;
}

#[tokio::test]
async fn a_backup_under_load_is_whole_and_commands_go_on() {
    let world = World::new().await;
    for n in 0..SOME {
        talk(&world, &format!("c-{n}")).await;
    }
    let before = world.log_events().await.len();
    let (is_over, talks) = (AtomicBool::new(false), AtomicU64::new(0));
    let load = async {
        while !is_over.load(Relaxed) {
            talk(&world, &format!("busy-{}", talks.fetch_add(1, Relaxed))).await;
        }
    };
    let backup = async {
        let mut backups = Vec::new();
        for _ in 0..3 {
            let (text, exported) = exported(world.server.url.clone(), PATIENCE, Out::default()).await;
            exported.unwrap();
            backups.push(text);
        }
        is_over.store(true, Relaxed);
        backups
    };
    let (backups, ()) = tokio::join!(backup, load);
    assert!(talks.load(Relaxed) > 0, "commands went on");
    let log = world.log_events().await;
    for (n, text) in backups.iter().enumerate() {
        let (data, ran) = imported(&world, &format!("copy-{n}"), text).await;
        ran.well();
        let mut replay = world.program(&["replay", "--data"]);
        replay.arg(data);
        let events: Vec<Value> =
            run(replay).await.well().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.len() >= before, "everything that was recorded when it began");
        assert_eq!(events, log[..events.len()]);
    }
    world.end().await;
}

#[tokio::test]
async fn a_backup_goes_on_when_the_service_is_back_and_is_no_whole_one_where_it_stays_away() {
    let mut world = World::new().await;
    for n in 0..SOME {
        talk(&world, &format!("c-{n}")).await;
    }
    let whole = world.run(&["export"]).await.well();
    let first = world.ask("operator.ann.export", json!({"limit": 2000})).await.ok();
    world.kill().await;
    world.start().await;
    talk(&world, "later").await;
    let rest = json!({"after": first["next"]});
    let rest = world.ask("operator.ann.export", rest).await.ok();
    assert_eq!(first["text"].as_str().unwrap().to_owned() + rest["text"].as_str().unwrap(), whole);

    talk_long(&world).await;
    let (text, exported) = killed_in_the_middle(&mut world, PATIENCE, true).await;
    exported.unwrap();
    imported(&world, "whole", &text).await.1.well();
    let (text, failed) = killed_in_the_middle(&mut world, Duration::from_millis(300), false).await;
    let failure = failed.unwrap_err();
    assert_eq!(failure.exit_code(), 1);
    assert!(failure.to_string().contains("without a last line: an import refuses them"), "{failure}");
    assert!(!text.is_empty() && !text.contains("{\"head\":"));
    let (_, refused) = imported(&world, "partial", &text).await;
    assert_eq!((refused.code, refused.err.contains("it was cut")), (Some(1), true), "{}", refused.err);
    world.start().await;
    world.end().await;
}

/// An export of more than one piece, of a service that is killed when the first piece was given.
async fn killed_in_the_middle(
    world: &mut World,
    patience: Duration,
    comes_back: bool,
) -> (String, Result<(), Failure>) {
    let (tell, told) = oneshot::channel();
    let (go_on, wait) = channel();
    let out = Out { gate: Some((tell, wait)), ..Out::default() };
    let server = world.server.url.clone();
    let exporting = tokio::spawn(exported(server, patience, out));
    told.await.unwrap();
    world.kill().await;
    go_on.send(()).unwrap();
    if comes_back {
        world.start().await;
    }
    exporting.await.unwrap()
}

/// A conversation whose events are more than one piece.
async fn talk_long(world: &World) {
    world.begin("long", "bot").await;
    let reason = "x".repeat(500);
    while world.ask("operator.ann.export", json!({})).await.ok()["next"].is_null() {
        for to in ["agents", "bot"].repeat(25) {
            world.ask("operator.ann.pass.long", json!({"to": to, "reason": reason})).await.ok();
        }
    }
}
