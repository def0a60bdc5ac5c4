//! A disk that fails: the service says so and ends, and whatever it answered is there at the next start.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::process::PATIENCE;
use crate::world::{USUAL, World};

/// Makes system calls of a process fail from now on; gone with the process.
struct Failing(Child);

impl Failing {
    /// None where nobody may look into processes, which is said.
    fn new(process: u32, call: &str) -> Option<Failing> {
        let inject = format!("inject={call}:error=EIO");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", &format!("trace={call}"), "-e", &inject, "-p", &process.to_string()]);
        let mut strace = match strace.stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
            Ok(strace) => strace,
            Err(error) => {
                eprintln!("left out: strace does not run ({error})");
                return None;
            }
        };
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        if !line.contains("attached") {
            eprintln!("left out: strace may not look into the service ({})", line.trim());
            let _ = strace.wait();
            return None;
        }
        // Whoever writes to a pipe that nobody reads waits for ever.
        std::thread::spawn(move || said.lines().for_each(drop));
        Some(Failing(strace))
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for as much as it takes until the service is gone; how many were carried out, by their answers.
async fn until_gone(world: &World) -> usize {
    let applied = carried_out(world, 200).await;
    assert!(applied < 200, "two hundred commands were carried out on a disk that fails:\n{}", world.log());
    applied
}

/// How many of so many commands are carried out before the service is gone.
async fn carried_out(world: &World, commands: usize) -> usize {
    for applied in 0..commands {
        let subject = format!("switchboard.channel.web.start.f{applied}");
        let answer = world.send(&subject, async_nats::HeaderMap::new(), Vec::new(), PATIENCE).await;
        let Some(answer) = answer else { return applied };
        let answer = answer.json();
        if answer["error"]["code"] == "log_failed" || answer.is_null() {
            return applied;
        }
        assert_eq!(answer["outcome"], "applied", "{answer}");
    }
    commands
}

async fn a_disk_that_fails_at(call: &str) {
    let mut world = World::with(USUAL, &[]).await;
    for at in 0..5 {
        world.begin(&format!("c{at}"), "bot").await;
    }
    let Some(failing) = Failing::new(world.process(), call) else { return };
    let applied = until_gone(&world).await;
    let status = world.gone().await;
    drop(failing);
    assert_eq!(status.code(), Some(1), "{}", world.log());
    assert!(world.log().contains("the log could not be written"), "{}", world.log());
    world.start().await;
    let log = world.log_events().await;
    let began = |id: &str| log.iter().any(|event| event["subject"] == id && event["data"]["version"] == 1);
    assert!((0..5).all(|at| began(&format!("c{at}"))));
    assert!((0..applied).all(|at| began(&format!("f{at}"))), "what was answered is there");
    assert_eq!(world.ask("channel.web.start.after", json!({})).await.heard.json()["outcome"], "applied");
    world.end().await;
}

/// What a kill leaves may be in the memory of the system only: nothing may rest on it before it is on the disk.
#[tokio::test]
async fn a_start_that_cannot_bring_to_the_disk_what_it_found_serves_nothing_of_it() {
    let mut world = World::with(USUAL, &[]).await;
    world.begin("c1", "bot").await;
    world.kill().await;
    let failing = "strace -D -f -qq -o /dev/null -e trace=fdatasync -e inject=fdatasync:error=EIO";
    world.wrapper = failing.split(' ').map(str::to_owned).collect();
    let may_trace = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    if !may_trace.is_ok_and(|status| status.success()) {
        return eprintln!("left out: strace does not run, or may not look into processes");
    }
    let said_before = world.log().len();
    world.launch();
    assert_eq!(world.gone().await.code(), Some(1), "{}", world.log());
    let said = world.log().split_off(said_before);
    assert!(said.contains("sync") && said.contains("/log") && !said.contains("ready"), "{said}");
    world.wrapper.clear();
    world.start().await;
    assert_eq!(world.state("c1").await["owner"], "bot");
    world.end().await;
}

#[tokio::test]
async fn a_failed_fsync_ends_the_service_and_nothing_that_was_answered_is_lost() {
    a_disk_that_fails_at("fdatasync").await;
}

#[tokio::test]
async fn a_failed_write_ends_the_service_and_nothing_that_was_answered_is_lost() {
    a_disk_that_fails_at("pwrite64").await;
}

/// The database hands over what was written ahead of it long ago: at a stop at the latest.
#[tokio::test]
async fn a_database_that_cannot_be_handed_over_to_the_disk_is_told_of_and_nothing_that_was_answered_is_lost() {
    let mut world = World::with(USUAL, &[]).await;
    let Some(failing) = Failing::new(world.process(), "sync_file_range") else { return };
    let applied = carried_out(&world, 20).await;
    let status = world.stop().await;
    drop(failing);
    assert_eq!(status.code(), Some(1), "{}", world.log());
    assert!(world.log().contains("the log could not be"), "{}", world.log());
    world.start().await;
    for at in 0..applied {
        assert_eq!(world.state(&format!("f{at}")).await["status"], "open");
    }
    world.end().await;
}
