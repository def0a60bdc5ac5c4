//! Publishing what was recorded once more, below another prefix: each event as the service published it.
//!
//! What the server has confirmed counts as published. Whatever ends the work before its time, the command line that
//! goes on behind it is told; an event that goes out twice has the same id both times.

use std::ffi::OsString;
use std::time::Duration;

use async_nats::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::nats::{Access, Connection};
use super::source::SourceError;
use super::values::is_event_name;
use crate::domain::ConversationId;
use crate::domain::words::CONFIG_ID;

/// How long to listen for whether somebody serves the prefix that is to be published on.
const PROBE_WAIT: Duration = Duration::from_millis(500);

/// Publishes events below another prefix, under the ids they were first published with.
pub struct Publisher {
    connection: Connection,
    prefix: String,
    sent: u64,
    last_sent: Option<u64>,
    /// Events that the server has confirmed, and the seq of the last one.
    confirmed: u64,
    last_confirmed: Option<u64>,
}

#[derive(Deserialize)]
struct Address<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    full_name: &'a str,
    subject: &'a str,
    data: Position,
}

#[derive(Deserialize)]
struct Position {
    seq: u64,
}

impl Publisher {
    /// Refuses a prefix that somebody serves: what was recorded long ago would pass for news there.
    pub fn open(access: &Access, prefix: &str) -> Result<Publisher, Failure> {
        let mut connection = Connection::open(access)?;
        if connection.is_answered(&format!("{prefix}.query.config"), PROBE_WAIT)? {
            let text = format!("a switchboard serves prefix {prefix}: choose another for --publish");
            return Err(Failure::Usage(vec![text]));
        }
        connection.hear_interruption();
        let prefix = prefix.to_owned();
        let (sent, last_sent, confirmed, last_confirmed) = (0, None, 0, None);
        Ok(Publisher { connection, prefix, sent, last_sent, confirmed, last_confirmed })
    }

    /// Hands one event to the connection.
    pub fn publish(&mut self, event: &RawValue) -> Result<(), Failure> {
        self.wait(Duration::ZERO)?;
        let address: Address<'_> = serde_json::from_str(event.get()).map_err(SourceError::Unreadable)?;
        let name = address.full_name.strip_prefix("switchboard.").filter(|name| is_event_name(name));
        let is_token = address.subject == CONFIG_ID || ConversationId::parse(address.subject).is_ok();
        let Some(name) = name.filter(|_| is_token) else {
            let text = format!("event {:?} cannot be published: its type or subject is not of tokens", address.id);
            return Err(Failure::text(text));
        };
        let subject = format!("{}.event.{}.{name}", self.prefix, address.subject);
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/cloudevents+json");
        headers.insert("Nats-Msg-Id", address.id);
        self.connection.publish(subject, headers, event.get().to_owned().into())?;
        (self.sent, self.last_sent) = (self.sent + 1, Some(address.data.seq));
        Ok(())
    }

    /// Waits until the server has confirmed what was handed over.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.confirmed < self.sent {
            self.connection.flush()?;
            (self.confirmed, self.last_confirmed) = (self.sent, self.last_sent);
        }
        Ok(())
    }

    /// Waits so long, if neither somebody asks this program to end nor the connection is lost.
    pub fn wait(&mut self, wait: Duration) -> Result<(), Failure> {
        Ok(self.connection.pause(wait)?)
    }

    /// What was published.
    pub fn told(&self) -> String {
        let through = self.last_confirmed.map(|seq| format!(", through seq {seq}")).unwrap_or_default();
        format!("published {} events below {}.event{through}", self.confirmed, self.prefix)
    }

    /// What is to be said where something ended it before its time.
    pub fn ended(mut self, failure: &Failure) -> String {
        // Where it was not the connection, what is under way arrives and counts.
        let _ = self.flush();
        let next = match self.last_confirmed {
            Some(seq) => format!("go on with: {}", continued(std::env::args_os(), seq + 1)),
            None => "begin again".into(),
        };
        format!("{failure}\n{}; {next}", self.told())
    }
}

/// The command line that goes on from that seq.
pub fn continued(arguments: impl IntoIterator<Item = OsString>, from: u64) -> String {
    let mut words = vec![];
    let mut arguments = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--from" => drop(arguments.next()),
            text if text.starts_with("--from=") => {}
            text => words.push(quoted(text)),
        }
    }
    words.push(format!("--from {from}"));
    words.join(" ")
}

/// As a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-=:+@~./,%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn continued_from(line: &[&str]) -> String {
        continued(line.iter().map(OsString::from), 1043)
    }

    #[test]
    fn a_replay_goes_on_with_the_same_command_line_from_another_seq() {
        assert_eq!(
            continued_from(&["switchboard", "replay", "--publish", "again", "--nats", "nats://localhost:4222"]),
            "switchboard replay --publish again --nats nats://localhost:4222 --from 1043"
        );
        for from in [&["--from", "7"][..], &["--from=2026-11-22T14:00:00Z"]] {
            let line = [&["switchboard", "replay"], from, &["--to", "9000"]].concat();
            assert_eq!(continued_from(&line), "switchboard replay --to 9000 --from 1043");
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        assert_eq!(
            continued_from(&["my bin/switchboard", "--type", "it's", ""]),
            "'my bin/switchboard' --type 'it'\\''s' '' --from 1043"
        );
    }
}
