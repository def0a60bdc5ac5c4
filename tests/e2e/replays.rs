//! A replay that is published: nothing is missed where it was interrupted, and how it goes on is told.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::process::{Ran, exit, run, signal};
use crate::server::Server;
use crate::world::World;

/// Slow enough that what lies milliseconds apart takes minutes.
const SLOW: &str = "0.0001";

async fn lived() -> World {
    let world = World::new().await;
    for n in 0..5 {
        world.begin(&format!("c-{n}"), "bot").await;
    }
    world
}

fn start(mut program: Command) -> Child {
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn ended(mut child: Child) -> Ran {
    let code = exit(&mut child).await.code();
    let output = child.wait_with_output().unwrap();
    Ran { code, out: String::new(), err: String::from_utf8(output.stderr).unwrap() }
}

fn seqs(world: &World) -> Vec<u64> {
    let again = world.wire.all().into_iter().filter(|heard| heard.subject.starts_with("again.event."));
    again.map(|heard| heard.json()["data"]["seq"].as_u64().unwrap()).collect()
}

/// The arguments of the command line that was told, and the seq that it goes on from: the first, where the server had
/// confirmed nothing.
fn told(ran: &Ran) -> (Vec<String>, u64) {
    if ran.err.contains("published 0 events below again.event; begin again") {
        return (Vec::new(), 1);
    }
    let line = ran.err.split("go on with: ").nth(1).unwrap_or_else(|| panic!("{}", ran.err)).trim();
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let from = words.last().unwrap().parse().unwrap();
    (words[1..].to_vec(), from)
}

#[tokio::test]
async fn an_interrupted_replay_says_how_to_go_on_and_nothing_is_missed() {
    for name in ["INT", "TERM"] {
        let world = lived().await;
        let mut replay = world.program(&["replay", "--publish", "again", "--from", "3", "--nats", &world.server.url]);
        replay.args(["--speed", SLOW]);
        let replay = start(replay);
        world
            .until("something is replayed", |wire| wire.all().iter().any(|h| h.subject.starts_with("again.event.")))
            .await;
        signal(replay.id(), name);
        let ran = ended(replay).await;
        assert_eq!((ran.code, ran.err.contains("error: interrupted")), (Some(1), true), "{}", ran.err);
        world.caught_up().await;
        let heard = seqs(&world);
        let (arguments, from) = told(&ran);
        assert_eq!(heard.last(), Some(&(from - 1)), "{}", ran.err);
        assert!(ran.err.contains(&format!(
            "published {} events below again.event, through seq {}",
            heard.len(),
            from - 1
        )));
        let mut rest: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let slow = rest.iter().position(|word| *word == SLOW).unwrap();
        rest[slow] = "max";
        run(world.program(&rest)).await.well();
        world.caught_up().await;
        let whole: Vec<u64> = (3..=world.log_events().await.len() as u64).collect();
        assert_eq!(seqs(&world), whole);
        world.end().await;
    }
}

#[tokio::test]
async fn a_replay_whose_connection_is_lost_says_how_to_go_on() {
    let mut world = lived().await;
    let events: Vec<Value> = world.log_events().await;
    world.stop().await;
    let url = world.server.url.clone();
    let mut replay = world.program(&["replay", "--publish", "again", "--nats", &url, "--speed", SLOW, "--data"]);
    replay.arg(world.data());
    let replay = start(replay);
    world.until("something is replayed", |wire| wire.all().iter().any(|h| h.subject.starts_with("again.event."))).await;
    world.server.kill();
    let ran = ended(replay).await;
    assert_eq!((ran.code, ran.err.contains("the connection to NATS was lost")), (Some(1), true), "{}", ran.err);
    let (_, from) = told(&ran);
    assert!((1..=events.len() as u64).contains(&from), "{}", ran.err);
    world.server.start_again().await;
    world.listen_again().await;
    let from = from.to_string();
    let mut rest = world.program(&["replay", "--publish", "again", "--nats", &url, "--from", &from, "--data"]);
    rest.arg(world.data());
    let told = run(rest).await;
    assert_eq!(told.code, Some(0), "{}", told.err);
    world.caught_up().await;
    let last = seqs(&world);
    assert_eq!(last.last(), Some(&(events.len() as u64)));
    world.start().await;
    world.end().await;
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_what_to_do() {
    let world = lived().await;
    for command in [&["replay"][..], &["show", "c-1"], &["export"], &["verify"]] {
        let mut program = world.program(command);
        program.arg("--data").arg(world.data());
        let ran = run(program).await;
        assert_eq!(ran.code, Some(1), "{command:?}: {}", ran.err);
        assert!(ran.err.contains("stop it, or ask it with --nats URL"), "{command:?}: {}", ran.err);
    }
    world.end().await;
}

/// What the server refuses it says behind the answers to what was sent later, so this is tried several times.
#[tokio::test]
async fn a_replay_that_the_server_does_not_take_is_no_published_one() {
    let mut world = lived().await;
    world.stop().await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("nats.conf");
    let permissions = r#"{ publish: { allow: ">", deny: "again.event.>" }, subscribe: ">" }"#;
    let users = format!("users: [{{ user: anybody, password: anything, permissions: {permissions} }}]");
    std::fs::write(&file, format!("authorization {{ {users} }}\nno_auth_user: anybody\n")).unwrap();
    let server = Server::start_with(place.path(), &["-c", file.to_str().unwrap()], &[]).await;
    for _ in 0..30 {
        let mut replay = world.program(&["replay", "--publish", "again", "--to", "2", "--nats", &server.url, "--data"]);
        replay.arg(world.data());
        let ran = run(replay).await;
        assert_eq!((ran.code, ran.err.contains("does not allow it")), (Some(1), true), "{}", ran.err);
        assert!(ran.err.contains("published 0 events"), "{}", ran.err);
    }
    world.start().await;
    world.end().await;
}
