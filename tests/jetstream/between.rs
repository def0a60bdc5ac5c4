//! Stands between the service and its server, for what comes about in a moment that no test would hit, and for servers
//! that are not to be had: what passes is as it was, but for that.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What is done first, once.
type First = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is different for whoever connects by way of it.
#[derive(Clone, Default)]
struct Different {
    version: Option<&'static str>,
    first: Option<(String, Arc<Mutex<Option<First>>>)>,
}

/// Where it listens; the service is told the address of a server that says it is of another version.
pub async fn of_version(server: &str, version: &'static str) -> String {
    listen(server, Different { version: Some(version), first: None }).await
}

/// Where it listens; before the service has asked for that, something else is done.
pub async fn done_before(server: &str, asked: &str, first: impl Future<Output = ()> + Send + 'static) -> String {
    let first: First = Box::pin(first);
    listen(server, Different { version: None, first: Some((asked.to_owned(), Arc::new(Mutex::new(Some(first))))) })
        .await
}

async fn listen(server: &str, different: Different) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("nats://").to_owned();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.expect("the server is there");
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            connections.spawn(tell(from_server, to_client, different.version));
            connections.spawn(ask(from_client, to_server, different.first.clone()));
        }
    });
    url
}

/// Of what the server says the first line tells its version.
async fn tell(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, version: Option<&str>) {
    let mut said = Vec::new();
    while !said.contains(&b'\n') && matches!(from.read_buf(&mut said).await, Ok(1..)) {}
    let mut text = String::from_utf8(said).expect("a server begins with text");
    if let Some(version) = version {
        let (before, after) = text.split_once(r#""version":""#).expect("it says its version");
        let (_, after) = after.split_once('"').expect("it says its version");
        text = format!(r#"{before}"version":"{version}"{after}"#);
    }
    if to.write_all(text.as_bytes()).await.is_ok() {
        let _ = tokio::io::copy(&mut from, &mut to).await;
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, first: Option<(String, Arc<Mutex<Option<First>>>)>) {
    let mut asked = vec![0; 64 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut asked).await {
        let is_asked = |text: &str| String::from_utf8_lossy(&asked[..bytes]).contains(text);
        let due = first.as_ref().filter(|(text, _)| is_asked(text)).and_then(|(_, first)| first.lock().unwrap().take());
        if let Some(due) = due {
            due.await;
        }
        if to.write_all(&asked[..bytes]).await.is_err() {
            return;
        }
    }
}
