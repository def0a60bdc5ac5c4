//! Two who hear events through all kills: one reads the stream on, one listens and fills gaps from the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::world::EVENTS;

/// How long the last events may take: what was on its way into a cut connection comes again after 30 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one of them has: each event once, in order.
#[derive(Default)]
struct Heard {
    events: Vec<Value>,
    /// What came before one that is missing, by its seq.
    held_back: BTreeMap<u64, Value>,
    repeated: u64,
    out_of_order: u64,
    filled: u64,
}

/// One who hears events.
pub struct Following {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Heard {
    fn next_seq(&self) -> u64 {
        self.events.len() as u64 + 1
    }

    /// Takes an event in: once, and not before the one before it.
    fn take(&mut self, event: Value) {
        let seq = event["data"]["seq"].as_u64().expect("an event has a seq");
        let id = event["id"].clone();
        if let Some(known) = self.events.get(seq as usize - 1).or_else(|| self.held_back.get(&seq)) {
            assert_eq!(known["id"], id, "two events with one seq");
            self.repeated += 1;
            return;
        }
        self.out_of_order += u64::from(seq != self.next_seq());
        self.held_back.insert(seq, event);
        while let Some(event) = self.held_back.remove(&self.next_seq()) {
            self.events.push(event);
        }
    }
}

impl Following {
    /// Reads the stream of events on with the consumer that the service made; asks nobody else.
    pub async fn reading_on(url: &str) -> Following {
        let client = async_nats::connect(url).await.expect("the server is there");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = tokio::spawn(read_on(client, heard.clone()));
        Following { heard, task }
    }

    /// Listens, without any stream, and asks the log for what is missing.
    pub async fn listening(url: &str) -> Following {
        let client = async_nats::connect(url).await.expect("the server is there");
        let events = client.subscribe("switchboard.event.>").await.unwrap();
        client.flush().await.unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = tokio::spawn(listen(client, events, heard.clone()));
        Following { heard, task }
    }

    /// Waits until it has the whole log, the same, and says how that went.
    pub async fn has(self, who: &str, log: &[Value]) {
        let began = Instant::now();
        while self.heard.lock().unwrap().events.len() < log.len() {
            let has = self.heard.lock().unwrap().events.len();
            assert!(!self.task.is_finished(), "{who} gave up after {has} events");
            assert!(began.elapsed() < PATIENCE, "{who} has {has} events of {}", log.len());
            sleep(Duration::from_millis(50)).await;
        }
        self.task.abort();
        let heard = self.heard.lock().unwrap();
        assert!(heard.held_back.is_empty() && heard.events == log, "{who} has other events than the log");
        let Heard { repeated, out_of_order, filled, .. } = &*heard;
        println!(
            "{who}: {} events, {repeated} repeated, {out_of_order} out of order, {filled} from the log",
            log.len()
        );
    }
}

async fn read_on(client: Client, heard: Arc<Mutex<Heard>>) {
    let inbox = client.new_inbox();
    let mut messages = client.subscribe(inbox.clone()).await.unwrap();
    loop {
        let body = json!({"batch": 200, "expires": 500_000_000}).to_string();
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.observer");
        if client.publish_with_reply(next, inbox.clone(), body.into()).await.is_err() {
            sleep(Duration::from_millis(50)).await;
            continue;
        }
        while let Ok(Some(message)) = timeout(Duration::from_secs(1), messages.next()).await {
            if message.status.is_some() {
                break;
            }
            heard.lock().unwrap().take(event(&message));
            if let Some(reply) = message.reply {
                let _ = client.publish(reply, "+ACK".into()).await;
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn listen(client: Client, mut events: Subscriber, heard: Arc<Mutex<Heard>>) {
    loop {
        // Now and then the log is asked in any case: the last event may be the one that was lost.
        let heard_one = timeout(Duration::from_millis(500), events.next()).await;
        let must_fill = match &heard_one {
            Ok(Some(message)) => {
                let mut heard = heard.lock().unwrap();
                heard.take(event(message));
                !heard.held_back.is_empty()
            }
            Ok(None) => return,
            Err(_) => true,
        };
        if must_fill {
            fill(&client, &heard).await;
        }
    }
}

async fn fill(client: &Client, heard: &Mutex<Heard>) {
    let from = heard.lock().unwrap().next_seq();
    let ask = client.request("switchboard.query.log", json!({"from_seq": from, "limit": 1000}).to_string().into());
    let Ok(Ok(answer)) = timeout(Duration::from_secs(2), ask).await else { return };
    let page: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
    let mut heard = heard.lock().unwrap();
    for event in page["events"].as_array().into_iter().flatten() {
        if event["data"]["seq"].as_u64() == Some(heard.next_seq()) {
            heard.filled += 1;
            heard.take(event.clone());
        }
    }
}

fn event(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).expect("an event is JSON")
}
