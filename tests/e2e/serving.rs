//! How the program starts, says that it is ready, and refuses to start.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::{Ran, run};
use crate::world::{USUAL, World};

#[tokio::test]
async fn a_second_service_on_the_directory_or_on_the_prefix_says_so_and_ends() {
    let world = World::new().await;
    let data = world.data();
    let same = serve(&world, data.to_str().unwrap(), &["--prefix", "other"]).await;
    assert_eq!(same.code, Some(1), "{}", same.err);
    assert!(same.err.contains("error: ") && same.err.contains(data.to_str().unwrap()), "{}", same.err);
    let elsewhere = world.path().join("elsewhere");
    let prefix = serve(&world, elsewhere.to_str().unwrap(), &[]).await;
    assert_eq!(prefix.code, Some(1), "{}", prefix.err);
    assert!(prefix.err.contains("another switchboard serves prefix switchboard"), "{}", prefix.err);
    world.begin("c", "bot").await;
    world.end().await;
}

async fn serve(world: &World, data: &str, more: &[&str]) -> Ran {
    let arguments = [&["serve", "--data", data][..], more].concat();
    world.run(&arguments).await
}

#[tokio::test]
async fn bad_usage_and_configuration_are_told_all_at_once() {
    let world = World::new().await;
    let arguments =
        ["serve", "--queue", "none", "--http", "here", "--events", "pigeons", "--log-format", "xml", "--prefix", "a.*"];
    let ran = run(world.program(&arguments)).await;
    assert_eq!(ran.code, Some(64), "{}", ran.err);
    for option in ["--nats", "--data", "--queue", "--http", "--events", "--log-format", "--prefix"] {
        assert!(ran.err.contains(option), "{option} is not told of in\n{}", ran.err);
    }
    let config = world.path().join("wrong.toml");
    std::fs::write(&config, "[settings]\ninactivity_timeout = \"soon\"\n[[integration]]\nname = \"next\"\n[[integration]]\nname = \"a\"\non_end = \"never\"\n").unwrap();
    let ran = serve(&world, "unused", &["--config", config.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(64), "{}", ran.err);
    for fault in ["inactivity_timeout", "next", "on_end"] {
        assert!(ran.err.contains(fault), "{fault} is not told of in\n{}", ran.err);
    }
    std::fs::write(&config, "[settings]\nend_user_can_end = true\nreopen = true\n").unwrap();
    let ran = serve(&world, "unused", &["--config", config.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(64), "{}", ran.err);
    assert!(ran.err.contains("multi_conversations") && ran.err.contains("reopen"), "{}", ran.err);
    assert_eq!(run(world.program(&["dance"])).await.code, Some(64));
    world.end().await;
}

#[tokio::test]
async fn the_file_is_applied_once_and_does_not_undo_a_put() {
    let mut world = World::new().await;
    let version = world.ask("query.config", json!({})).await.ok()["version"].clone();
    let put = world
        .ask("config.ann.put", json!({"config": {"integration": [{"name": "solo"}]}, "expected_version": version}))
        .await;
    let put = put.ok();
    world.stop().await;
    world.start().await;
    assert_eq!(world.ask("query.config", json!({})).await.ok()["version"], put["version"]);
    // Another file is applied on SIGHUP; a broken one changes nothing.
    std::fs::write(world.config_file(), "[[integration]]\nname = \"duo\"\n").unwrap();
    world.signal("HUP");
    world
        .until("the file is applied", |wire| {
            !wire.below("event._config.integration.removed").iter().all(|heard| heard.json()["data"]["name"] != "solo")
        })
        .await;
    let event = world.wire.below("event._config.integration.registered").pop().unwrap().json();
    assert_eq!((&event["data"]["name"], &event["data"]["by"]), (&json!("duo"), &json!({"role": "config"})));
    std::fs::write(world.config_file(), "[[integration]]\nname = \"a b\"\n").unwrap();
    world.signal("HUP");
    world.said("the configuration stays as it was", 1).await;
    assert_eq!(world.ask("query.config", json!({})).await.ok()["config"]["integration"][0]["name"], "duo");
    world.end().await;
}

#[tokio::test]
async fn health_readiness_and_metrics_are_served_and_a_second_instance_ends_readiness() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let world = World::with(USUAL, &["--http", &address, "--log-format", "json"]).await;
    world.begin("c", "bot").await;
    world.ask("integration.agents.release.c", json!({})).await.refused("not_in_control");
    world.said("\"ready\"", 1).await;
    assert!(get(&address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let ready = get(&address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains(r#""ready":true"#), "{ready}");
    let metrics = get(&address, "/metrics").await;
    for line in [
        "switchboard_open_conversations 1",
        "switchboard_ready 1",
        "switchboard_requests_total{endpoint=\"integration\"} 1",
        "switchboard_errors_total{endpoint=\"integration\",code=\"not_in_control\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(get(&address, "/nothing").await.starts_with("HTTP/1.1 404"));
    let mut asked = world.client.subscribe("$SRV.PING.switchboard").await.unwrap();
    let client = world.client.clone();
    let other = tokio::spawn(async move {
        let answer =
            json!({"name": "switchboard", "id": "other", "metadata": {"prefix": "switchboard", "log_id": "x"}});
        while let Some(question) = asked.next().await {
            let _ = client.publish(question.reply.unwrap(), answer.to_string().into()).await;
        }
    });
    becomes(&address, "HTTP/1.1 503", "another instance").await;
    other.abort();
    becomes(&address, "HTTP/1.1 200", r#""ready":true"#).await;
    world.end().await;
}

/// Waits until `/readyz` is so.
pub async fn becomes(address: &str, status: &str, text: &str) {
    for _ in 0..200 {
        let page = get(address, "/readyz").await;
        if page.starts_with(status) && page.contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("/readyz did not become {status}");
}

/// A page, with its status.
pub async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}
