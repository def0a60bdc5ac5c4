//! Asks JetStream: makes sure that the streams are there as they should be, and reads their last message.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::wanted::{Which, differences};

/// How long JetStream may take to answer.
const API_WAIT: Duration = Duration::from_secs(3);
/// Servers before it let two writers through with one expected sequence.
const SERVER_MIN: (u64, u64) = (2, 12);

const NO_MESSAGE: u64 = 10037;
const NOT_ENABLED: [u64; 2] = [10039, 10076];
const NAME_IN_USE: u64 = 10058;
const STREAM_NOT_FOUND: u64 = 10059;
const OVERLAP: u64 = 10065;
const NO_ROOM: u64 = 10047;
const CONSUMER_EXISTS: u64 = 10148;

/// Why the streams cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Somebody must do something about it.
    Refused(String),
    /// It may pass.
    Away(String),
}

/// The last message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its headers.
    pub headers: Vec<(String, String)>,
}

impl Last {
    /// A header of it.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A stream that is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The sequence of the last message that it ever held.
    pub last_sequence: u64,
    /// That message; none where it is no longer there.
    pub last: Option<Last>,
}

/// Says what is wrong with a server for JetStream: before 2.12 two writers could be let through at once.
pub fn check_version(version: &str) -> Result<(), Trouble> {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= SERVER_MIN {
        return Ok(());
    }
    let (major, minor) = SERVER_MIN;
    Err(Trouble::Refused(format!(
        "--events jetstream: expected nats-server {major}.{minor} or later, got {version}, whose JetStream lets two writers \
         through with one expected sequence: upgrade the server, or use --events core"
    )))
}

/// Makes the stream where it is not there, and refuses one that differs.
pub async fn ensure(client: &Client, prefix: &str, which: Which) -> Result<Found, Trouble> {
    let name = which.name(prefix);
    let wanted = which.config(prefix);
    let mut answer = ask(client, &format!("STREAM.INFO.{name}"), json!({})).await?;
    if code_in(&answer) == Some(STREAM_NOT_FOUND) {
        answer = ask(client, &format!("STREAM.CREATE.{name}"), wanted.clone()).await?;
        match code_in(&answer) {
            None => tracing::info!(stream = name, "made the stream, which was not there"),
            // Somebody else was first: what is there is looked at like any other.
            Some(NAME_IN_USE) => answer = ask(client, &format!("STREAM.INFO.{name}"), json!({})).await?,
            Some(_) => {}
        }
    }
    if code_in(&answer).is_some() {
        return Err(trouble(&name, &answer));
    }
    let differing = differences(&wanted, &answer["config"]);
    if !differing.is_empty() {
        return Err(Trouble::Refused(format!(
            "the stream {name} is not as this service makes it ({}): set it so, or keep what it holds elsewhere and \
             delete it, or choose another --prefix; it is never changed or made again on its own",
            differing.join("; ")
        )));
    }
    let last_sequence = answer["state"]["last_seq"].as_u64().unwrap_or(0);
    let last = match last_sequence {
        0 => None,
        sequence => message(client, &name, sequence).await?,
    };
    Ok(Found { last_sequence, last })
}

/// The durable consumers of a stream by name, each with its configuration.
pub async fn consumers(client: &Client, stream: &str) -> Result<BTreeMap<String, Value>, Trouble> {
    let mut all = BTreeMap::new();
    loop {
        let answer = ask(client, &format!("CONSUMER.LIST.{stream}"), json!({ "offset": all.len() })).await?;
        if code_in(&answer).is_some() {
            return Err(trouble(stream, &answer));
        }
        let page = answer["consumers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let known = all.len();
        all.extend(page.iter().filter_map(|one| Some((one["name"].as_str()?.to_owned(), one["config"].clone()))));
        if all.len() == known || all.len() as u64 >= answer["total"].as_u64().unwrap_or(0) {
            return Ok(all);
        }
    }
}

/// Makes a consumer that is not there; one that is there in the meantime stays as it is.
pub async fn make_consumer(
    client: &Client,
    stream: &str,
    name: &str,
    subjects: &str,
    config: Value,
) -> Result<(), Trouble> {
    let body = json!({ "stream_name": stream, "config": config, "action": "create" });
    let answer = ask(client, &format!("CONSUMER.CREATE.{stream}.{name}.{subjects}"), body).await?;
    match code_in(&answer) {
        None | Some(CONSUMER_EXISTS) => Ok(()),
        Some(_) => Err(trouble(&format!("{stream}, whose consumer {name} cannot be made"), &answer)),
    }
}

/// A message of a stream; none where it is not there.
pub async fn message(client: &Client, stream: &str, sequence: u64) -> Result<Option<Last>, Trouble> {
    let answer = ask(client, &format!("STREAM.MSG.GET.{stream}"), json!({ "seq": sequence })).await?;
    match code_in(&answer) {
        Some(NO_MESSAGE) => Ok(None),
        Some(_) => Err(trouble(stream, &answer)),
        None => Ok(Some(Last { headers: headers_in(answer["message"]["hdrs"].as_str().unwrap_or_default()) })),
    }
}

async fn ask(client: &Client, what: &str, body: Value) -> Result<Value, Trouble> {
    let request = client.request(format!("$JS.API.{what}"), body.to_string().into());
    match timeout(API_WAIT, request).await {
        Err(_) => Err(Trouble::Away(format!(
            "JetStream did not answer {what} in {API_WAIT:?}: look at the server, and whether this user may ask that"
        ))),
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Err(not_enabled()),
        Ok(Err(error)) => Err(Trouble::Away(format!("JetStream could not be asked for {what}: {error}"))),
        Ok(Ok(answer)) => serde_json::from_slice(&answer.payload)
            .map_err(|error| Trouble::Away(format!("the answer to {what} could not be read: {error}"))),
    }
}

fn not_enabled() -> Trouble {
    Trouble::Refused(
        "--events jetstream: JetStream is not enabled on the server, or not for this account: start nats-server with a \
         jetstream block (store_dir), or with -js, or use --events core"
            .into(),
    )
}

fn code_in(answer: &Value) -> Option<u64> {
    answer.get("error").map(|error| error["err_code"].as_u64().unwrap_or(0))
}

fn trouble(stream: &str, answer: &Value) -> Trouble {
    let (code, error) = (code_in(answer).unwrap_or(0), answer["error"]["description"].as_str().unwrap_or("no reason"));
    match code {
        code if NOT_ENABLED.contains(&code) => not_enabled(),
        OVERLAP => Trouble::Refused(format!(
            "the stream {stream} cannot be made, as another stream holds its subjects ({error}): take them out of that one"
        )),
        NO_ROOM => Trouble::Refused(format!(
            "the stream {stream} cannot be made, as it may grow to 4 GiB and the server has less to give ({error}): raise \
             max_file_store of the server, or the account's storage"
        )),
        _ => Trouble::Away(format!("the stream {stream}: {error} (code {code})")),
    }
}

/// The headers of a stored message, which come in base64.
fn headers_in(text: &str) -> Vec<(String, String)> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let lines = String::from_utf8_lossy(&bytes).into_owned();
    let pairs = lines.split("\r\n").filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_before_2_12_is_refused_with_the_reason() {
        for old in ["2.9.10", "2.11.9", "1.4.1", "", "nonsense"] {
            let Err(Trouble::Refused(text)) = check_version(old) else { panic!("expected {old:?} to be refused") };
            assert!(text.contains("2.12 or later") && text.contains("two writers"), "{text}");
        }
        for new in ["2.12.0", "2.12.0-RC.1", "2.15.1", "3.0.0"] {
            assert_eq!(check_version(new), Ok(()), "{new}");
        }
    }

    #[test]
    fn the_headers_of_a_stored_message_are_read() {
        let stored = STANDARD.encode("NATS/1.0\r\nNats-Msg-Id: log-7-ab/channel.web\r\nA:b\r\n\r\n");
        let last = Last { headers: headers_in(&stored) };
        assert_eq!(last.header("Nats-Msg-Id"), Some("log-7-ab/channel.web"));
        assert_eq!(last.header("a"), Some("b"));
        assert_eq!(last.header("c"), None);
    }

    #[test]
    fn what_somebody_must_mend_is_told_apart_from_what_may_pass() {
        let error = |code: u64| json!({"error": {"code": 503, "err_code": code, "description": "why"}});
        assert!(matches!(trouble("S", &error(10039)), Trouble::Refused(text) if text.contains("jetstream block")));
        assert!(matches!(trouble("S", &error(10065)), Trouble::Refused(_)));
        assert!(matches!(trouble("S", &error(10008)), Trouble::Away(text) if text.contains("code 10008")));
    }
}
