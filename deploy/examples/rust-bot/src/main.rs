//! A bot that answers common questions and hands over to people.
//!
//!     NATS_URL=… FAQ_BOT_PASSWORD=… cargo run
//!
//! Each command carries an id made of the event's own: it may be repeated, and an event may come twice, and still it
//! counts once.

use std::env;
use std::error::Error;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap};
use futures_util::StreamExt;
use serde_json::{Value, json};

const NAME: &str = "faq-bot";
const TRIES: u32 = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = ConnectOptions::with_user_and_password(NAME.into(), env::var("FAQ_BOT_PASSWORD")?)
        .name(NAME)
        .custom_inbox_prefix(format!("_INBOX.{NAME}"))
        .connect(env::var("NATS_URL")?)
        .await?;
    let mut inbox = client.subscribe(format!("switchboard.inbox.integration.{NAME}.*.message.received")).await?;
    client.flush().await?;
    println!("ready");
    while let Some(message) = inbox.next().await {
        let event: Value = serde_json::from_slice(&message.payload)?;
        // A task for each, so that one conversation does not wait for another.
        tokio::spawn(answer(client.clone(), event));
    }
    Ok(())
}

async fn answer(client: Client, event: Value) {
    let (id, conversation) = (text(&event["id"]), text(&event["subject"]));
    let said = text(&event["data"]["content"]["text"]);
    let (verb, body) = if said.contains("human") {
        // Only as long as the bot is the owner that it was when this was said.
        ("pass", json!({"to": "next", "reason": "asked for a human", "expected_epoch": event["data"]["epoch"]}))
    } else {
        ("reply", json!({"content": {"text": "We are open from nine to five. For a person, say 'human'."}}))
    };
    let subject = format!("switchboard.integration.{NAME}.{verb}.{conversation}");
    match ask(&client, subject, &body, &format!("{id}/{verb}")).await {
        Ok(reply) => match text(&reply["error"]["code"]) {
            "" => {}
            // The conversation moved on in the meantime: no longer this bot's turn.
            "not_in_control" | "stale_version" | "conversation_closed" => {}
            code => eprintln!("{conversation}: {code}: {}", text(&reply["error"]["message"])),
        },
        Err(fault) => eprintln!("{conversation}: {fault}"),
    }
}

/// Asks until there is an answer, under the same command id.
async fn ask(
    client: &Client,
    subject: String,
    body: &Value,
    command_id: &str,
) -> Result<Value, Box<dyn Error + Send + Sync>> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", command_id);
    for tries in 1.. {
        match client.request_with_headers(subject.clone(), headers.clone(), body.to_string().into()).await {
            Ok(reply) => {
                let reply: Value = serde_json::from_slice(&reply.payload)?;
                if reply["error"]["code"] != "busy" || tries == TRIES {
                    return Ok(reply);
                }
            }
            Err(fault) if tries == TRIES => return Err(fault.into()),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    unreachable!("the last try returns")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
