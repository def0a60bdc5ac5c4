//! The NATS server goes away and comes back under the service.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::bare::{Bare, ask};
use crate::process::PATIENCE;
use crate::server::Server;
use crate::serving::{becomes, get};
use crate::world::{USUAL, World};

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

/// A connection that is lost takes whatever it is given, and sends none of it.
#[tokio::test]
async fn what_is_recorded_without_a_server_counts_as_published_once_it_is() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut world = World::with(USUAL, &["--http", &address]).await;
    world.begin("c", "bot").await;
    becomes(&address, "HTTP/1.1 200", r#""lag_events":0"#).await;
    world.server.kill();
    becomes(&address, "HTTP/1.1 503", r#""lag_events":0"#).await;
    std::fs::write(world.config_file(), format!("{USUAL}\n[[integration]]\nname = \"late\"")).unwrap();
    world.signal("HUP");
    becomes(&address, "HTTP/1.1 503", r#""lag_events":1"#).await;
    world.signal("STOP");
    world.server.start_again().await;
    world.listen_again().await;
    world.signal("CONT");
    world.answering().await;
    becomes(&address, "HTTP/1.1 200", r#""lag_events":0"#).await;
    let (metrics, head) = (get(&address, "/metrics").await, world.log_events().await.len());
    assert!(metrics.contains(&format!("switchboard_events_published_total {head}\n")), "{head} events: {metrics}");
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

/// Requests that the service has before the message that it cannot read.
const BEFORE: usize = 1000;

#[tokio::test]
async fn a_message_that_breaks_the_protocol_is_told_of_and_costs_no_answer_and_no_event() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let service = Bare::start(directory, &["--nats", &server.url], &[]);
    service.said(" ready").await;
    let client = async_nats::connect(&server.url).await.unwrap();
    let mut events = client.subscribe("switchboard.event.>").await.unwrap();
    let mut answers = client.subscribe("_INBOX.before.*").await.unwrap();
    let mut marks = client.subscribe("_INBOX.mark").await.unwrap();
    let poisons: [&[u8]; 2] = [
        b"HPUB switchboard.channel.web.start.d 22 22\r\nNATS/1.0\r\nno colon\r\n\r\n\r\n",
        b"PUB switchboard.channel.web.start.\xff\xfe 0\r\n\r\n",
    ];
    for (times, poison) in poisons.iter().enumerate() {
        service.signal("STOP");
        for at in 0..BEFORE {
            let (subject, reply) =
                (format!("switchboard.channel.web.start.{times}-{at}"), format!("_INBOX.before.{at}"));
            client.publish_with_reply(subject, reply, "".into()).await.unwrap();
        }
        // What came back through the server shows that it has all that was sent before.
        client.publish("_INBOX.mark", "".into()).await.unwrap();
        timeout(PATIENCE, marks.next()).await.unwrap().unwrap();
        send_raw(&server.url, poison);
        service.signal("CONT");
        for at in 0..BEFORE {
            let answer = timeout(PATIENCE, answers.next()).await.unwrap_or_else(|_| panic!("only {at} answers"));
            assert!(answer.unwrap().payload.starts_with(b"{\"outcome\":\"applied\""));
        }
        service.said_times("a message that cannot be read", times + 1).await;
        service.said_times("purpose=Requests", 2 * times + 3).await;
        // Until the server has seen the end of the old connection, it sends half of the requests there.
        let mut answered = 0;
        while answered < 20 {
            let asked = client.request("switchboard.query.config", "".into());
            let is_answered = matches!(timeout(Duration::from_millis(500), asked).await, Ok(Ok(_)));
            answered = if is_answered { answered + 1 } else { 0 };
        }
    }
    let page = ask(&client, "switchboard.query.log").await;
    let head = page["head_seq"].as_u64().unwrap();
    let mut last = 0;
    while last < head {
        let event = timeout(PATIENCE, events.next()).await.expect("an event in time").unwrap();
        let event: Value = serde_json::from_slice(&event.payload).unwrap();
        // The configuration's own events were published before anybody listened.
        assert!(last == 0 || event["data"]["seq"] == last + 1, "{event} after {last}");
        last = event["data"]["seq"].as_u64().unwrap();
    }
    assert!(!service.log().contains("purpose=Publishing why="), "{}", service.log());
    service.stop().await;
}

#[tokio::test]
async fn what_is_due_is_not_put_off_by_messages_that_break_the_protocol() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    world.ask("integration.bot.offer.c", json!({"to": "agents", "expires_in": "3s"})).await.applied("control.offered");
    let is_withdrawn = || world.wire.below("event.c.").iter().any(|heard| heard.subject.ends_with("offer_withdrawn"));
    for _ in 0..12 {
        send_raw(&world.server.url, b"HPUB switchboard.channel.web.start.d 22 22\r\nNATS/1.0\r\nno colon\r\n\r\n\r\n");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        if is_withdrawn() {
            break;
        }
    }
    assert!(is_withdrawn(), "each such message has put it off: {}", world.log());
    world.said("a message that cannot be read", 1).await;
    world.end().await;
}

/// Speaks to the server as a client that keeps to no rules.
fn send_raw(url: &str, bytes: &[u8]) {
    let mut server = TcpStream::connect(url.strip_prefix("nats://").unwrap()).unwrap();
    server.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n").unwrap();
    server.write_all(bytes).unwrap();
    server.write_all(b"PING\r\n").unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"PONG\r\n") {
        let mut some = [0; 4096];
        let count = server.read(&mut some).unwrap();
        assert!(count > 0, "the server ended the connection");
        heard.extend_from_slice(&some[..count]);
    }
}
