//! Two instances of one prefix, each with a log of its own: while both answer, neither decides.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::process::{PATIENCE, exit, signal};
use crate::serving::{becomes, get};
use crate::world::{USUAL, World};

#[tokio::test]
async fn while_two_instances_answer_neither_decides_and_the_one_that_stays_goes_on_by_itself() {
    let [first, second] = [address(), address()];
    let world = World::with(USUAL, &["--http", &first]).await;
    world.begin("c", "bot").await;
    let held = world.log_events().await.len();
    // Only one that cannot answer just then lets a second one start.
    world.signal("STOP");
    let mut other = serve_beside(&world, &second).stderr(Stdio::null()).spawn().unwrap();
    is_ready(&second).await;
    world.signal("CONT");
    for page in [&first, &second] {
        becomes(page, "HTTP/1.1 503", "another instance").await;
    }
    // Whichever of the two a command comes to.
    for at in 0..16 {
        for (subject, body) in [
            (format!("channel.web.start.x{at}"), json!({})),
            (format!("channel.web.message.c{at}"), json!({"content": at})),
            (format!("integration.bot.pass.c{at}"), json!({"to": "agents"})),
            ("operator.ann.end.c".into(), json!({})),
            ("config.ann.put".into(), json!({"config": {}})),
        ] {
            let error = world.ask(&subject, body).await.refused("busy");
            let message = error["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains("another switchboard") && message.contains("stop one"), "{subject}: {error}");
        }
        world.ask("query.config", json!({})).await.ok();
        world.ask("integration.bot.list", json!({})).await.ok();
    }
    signal(other.id(), "TERM");
    assert_eq!(exit(&mut other).await.code(), Some(0));
    becomes(&first, "HTTP/1.1 200", r#""ready":true"#).await;
    assert_eq!(world.log_events().await.len(), held, "nothing was recorded of them");
    world.ask("integration.bot.pass.c", json!({"to": "agents"})).await.applied("control.passed");
    world.begin("x", "bot").await;
    let mut world = world;
    assert_eq!(world.stop().await.code(), Some(0), "{}", world.log());
}

/// Its answers may come late, or be lost with a connection.
#[tokio::test]
async fn an_instance_that_answers_every_other_time_only_is_there_all_the_time() {
    let page = address();
    let world = World::with(USUAL, &["--http", &page]).await;
    let mut asked = world.client.subscribe("$SRV.PING.switchboard").await.unwrap();
    world.client.flush().await.unwrap();
    let answer = json!({"name": "switchboard", "id": "other", "metadata": {"prefix": "switchboard", "log_id": "x"}});
    for at in 0..9 {
        let question = timeout(PATIENCE, asked.next()).await.expect("it asks").unwrap();
        if at > 0 {
            // It asks again only when it has drawn its conclusions from the last answer, or the lack of one.
            world.ask("operator.ann.end.c", json!({})).await.refused("busy");
        }
        if at % 2 == 0 {
            world.client.publish(question.reply.unwrap(), answer.to_string().into()).await.unwrap();
        }
    }
    becomes(&page, "HTTP/1.1 503", "another instance").await;
    drop(asked);
    becomes(&page, "HTTP/1.1 200", r#""ready":true"#).await;
    world.ask("operator.ann.end.c", json!({})).await.refused("conversation_not_found");
    world.end().await;
}

/// A second service on a directory of its own.
fn serve_beside(world: &World, address: &str) -> Command {
    let mut serve = world.program(&["serve", "--nats", &world.server.url, "--http", address]);
    serve.arg("--data").arg(world.path().join("beside")).arg("--config").arg(world.config_file()).stdout(Stdio::null());
    serve
}

/// Waits until something listens there, and is ready.
async fn is_ready(address: &str) {
    let began = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() || !get(address, "/readyz").await.contains(" 200 ") {
        assert!(began.elapsed() < PATIENCE, "the second service is not ready");
        sleep(Duration::from_millis(50)).await;
    }
}

fn address() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("127.0.0.1:{port}")
}
