//! More than can be served: nothing stays unanswered, and a flood is its sender's own trouble.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Subscriber};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::bare::{Bare, ask};
use crate::process::PATIENCE;
use crate::server::Server;

/// More than the client library keeps for one subscription if nobody says otherwise.
const BURST: usize = 100_000;

struct Flooded {
    server: Server,
    service: Bare,
    client: Client,
}

impl Flooded {
    async fn new(queue: &str) -> Flooded {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(directory.path()).await;
        let service = Bare::start(directory, &["--nats", &server.url, "--queue", queue], &[]);
        service.said(" ready").await;
        let client = connect(&server).await;
        Flooded { server, service, client }
    }
}

async fn connect(server: &Server) -> Client {
    ConnectOptions::new().subscription_capacity(1 << 20).connect(&server.url).await.unwrap()
}

/// How many answers come, until all are there or none comes any more: those that carry out and those that are busy.
async fn count(answers: &mut Subscriber, expected: usize) -> (usize, usize) {
    let (mut applied, mut busy, mut seen) = (0, 0, HashSet::new());
    while seen.len() < expected {
        let Ok(Some(answer)) = timeout(PATIENCE, answers.next()).await else { break };
        assert!(seen.insert(answer.subject.to_string()), "{} is answered twice", answer.subject);
        match std::str::from_utf8(&answer.payload).unwrap() {
            body if body.contains(r#""code":"busy""#) => busy += 1,
            body if body.contains(r#""outcome":"applied""#) => applied += 1,
            body => panic!("{body}"),
        }
    }
    (applied, busy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_that_comes_at_once_is_answered_to_the_last_request() {
    let Flooded { server, service, client } = Flooded::new("256").await;
    let mut answers = client.subscribe("_INBOX.burst.*").await.unwrap();
    client.flush().await.unwrap();
    // While the service stands still the server gathers the burst, and then sends it as fast as it can.
    service.signal("STOP");
    let sender = connect(&server).await;
    for at in 0..BURST {
        let subject = format!("switchboard.channel.flood.start.c{at}");
        sender.publish_with_reply(subject, format!("_INBOX.burst.{at}"), "".into()).await.unwrap();
    }
    sender.flush().await.unwrap();
    service.signal("CONT");
    let (applied, busy) = count(&mut answers, BURST).await;
    assert_eq!(applied + busy, BURST, "{} stay unanswered", BURST - applied - busy);
    assert!(applied > 0 && busy > 0, "{applied} applied, {busy} busy");
    assert_eq!(ask(&client, "switchboard.channel.flood.start.c0").await["conversation"]["channel"], "flood");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_others_flood_a_calm_caller_is_never_refused() {
    let Flooded { server, service, client } = Flooded::new("64").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut floods = Vec::new();
    for flood in 0..2 {
        let (sender, is_over) = (connect(&server).await, is_over.clone());
        let mut answers = sender.subscribe(format!("_INBOX.flood{flood}.*")).await.unwrap();
        floods.push(tokio::spawn(async move {
            let (mut sent, mut busy) = (0, 0);
            while !is_over.load(Relaxed) {
                for _ in 0..500 {
                    let subject = format!("switchboard.channel.flood{flood}.start.f{flood}-{sent}");
                    sender.publish_with_reply(subject, format!("_INBOX.flood{flood}.{sent}"), "".into()).await.unwrap();
                    sent += 1;
                }
                busy += count(&mut answers, 500).await.1;
            }
            busy
        }));
    }
    let began = Instant::now();
    for at in 0..200 {
        let answer = ask(&client, &format!("switchboard.channel.calm.start.calm{at}")).await;
        assert_eq!(answer["outcome"], "applied", "{answer}");
        assert!(began.elapsed() < 3 * PATIENCE, "{at} calm requests took {:?}", began.elapsed());
    }
    is_over.store(true, Relaxed);
    for flood in floods {
        assert!(flood.await.unwrap() > 0, "the flood was never refused anything");
    }
    service.stop().await;
}

/// Asks without a pause, so many requests under way at once, until it is over: how long each answer took, once as many
/// have come as are under way.
async fn keep_asking(
    client: Client,
    under_way: usize,
    begun: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
) -> Vec<Duration> {
    let mut answers = client.subscribe("_INBOX.busy.*").await.unwrap();
    let mut began = vec![Instant::now(); under_way];
    let send = async |line: usize, at: usize| {
        let subject = format!("switchboard.channel.busy.start.busy{at}");
        client.publish_with_reply(subject, format!("_INBOX.busy.{line}"), "".into()).await.unwrap();
    };
    for line in 0..under_way {
        send(line, line).await;
    }
    let mut took = Vec::new();
    while !is_over.load(Relaxed) {
        let answer = timeout(PATIENCE, answers.next()).await.expect("an answer in time").unwrap();
        let line: usize = answer.subject.rsplit('.').next().unwrap().parse().unwrap();
        took.push(began[line].elapsed());
        began[line] = Instant::now();
        send(line, under_way + took.len()).await;
        begun.store(took.len() >= 2 * under_way, Relaxed);
    }
    took.split_off(under_way)
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_little_waits_a_fraction_of_what_who_asks_much_does() {
    let Flooded { server, service, client } = Flooded::new("16384").await;
    let (begun, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let busy = tokio::spawn(keep_asking(connect(&server).await, 4096, begun.clone(), is_over.clone()));
    while !begun.load(Relaxed) {
        assert!(!busy.is_finished(), "the busy caller goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut took = Vec::new();
    for at in 0..100 {
        let began = Instant::now();
        let answer = ask(&client, &format!("switchboard.channel.calm.start.calm{at}")).await;
        assert_eq!(answer["outcome"], "applied", "{answer}");
        took.push(began.elapsed());
    }
    is_over.store(true, Relaxed);
    let (calm, busy) = (median(took), median(busy.await.unwrap()));
    // Served in the order in which they came, both would wait alike.
    assert!(3 * calm < busy, "the calm caller waits {calm:?}, the busy one {busy:?}");
    service.stop().await;
}
