//! What JetStream keeps of the events.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::history::digest_of_event;
use crate::site::{PATIENCE, Site, ask};

const STREAM: &str = "SWITCHBOARD_EVENTS";
/// Messages asked for at once.
const BATCH: usize = 500;

/// Every event that the stream holds, in its order, once it holds so many.
pub async fn events(site: &Site, count: usize) -> Vec<(u64, u64)> {
    let client = site.connect().await;
    let began = Instant::now();
    loop {
        let info = ask(&client, &format!("$JS.API.STREAM.INFO.{STREAM}"), json!({})).await;
        if info["state"]["messages"].as_u64() >= Some(count as u64) {
            return fetch(site).await;
        }
        assert!(began.elapsed() < PATIENCE, "the stream is not filled to {count}: {info}\n{}", site.log());
        sleep(Duration::from_millis(50)).await;
    }
}

async fn fetch(site: &Site) -> Vec<(u64, u64)> {
    let client = site.connect().await;
    let config = json!({"deliver_policy": "all", "ack_policy": "none", "inactive_threshold": 60_000_000_000u64});
    let create = format!("$JS.API.CONSUMER.CREATE.{STREAM}");
    let made = ask(&client, &create, json!({"stream_name": STREAM, "config": config})).await;
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{}", made["name"].as_str().expect("a consumer"));
    let inbox = client.new_inbox();
    let mut messages = client.subscribe(inbox.clone()).await.unwrap();
    let mut events = Vec::new();
    loop {
        let body = json!({"batch": BATCH, "no_wait": true}).to_string();
        client.publish_with_reply(next.clone(), inbox.clone(), body.into()).await.unwrap();
        for got in 0.. {
            if got == BATCH {
                break;
            }
            let message = timeout(PATIENCE, messages.next()).await.expect("the stream answers").expect("a message");
            match message.status.map(|status| status.as_u16()) {
                Some(404) => return events,
                Some(_) => break,
                None => {}
            }
            let event: Value = serde_json::from_slice(&message.payload).expect("an event");
            events.push((event["data"]["seq"].as_u64().unwrap_or(0), digest_of_event(&event)));
        }
    }
}
