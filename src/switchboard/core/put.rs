//! A new configuration: all or nothing, recorded as the events by which it differs from today's.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Core;
use crate::domain::config::change::changes;
use crate::domain::config::document::{Document, Faults};
use crate::domain::words::CONFIG_ID;
use crate::domain::{By, Config, Refusal, Text, Time};
use crate::log::LINE_BYTES_MAX;
use crate::switchboard::answer::{self, Applied, Facts, Told};
use crate::switchboard::fingerprint::{of_command_id, of_file};
use crate::switchboard::port::{Answer, Effect, Inbox, PutAsk, Recorded, Rejection};
use crate::switchboard::record::{Cause, Writer};

/// The verb under which a new configuration is recorded.
const VERB: &str = "put";

/// The configuration, and what is kept beside it.
#[derive(Debug, Default)]
pub struct Kept {
    /// As its events have made it.
    pub config: Arc<Config>,
    /// The frames of the log that hold its entries, ascending.
    pub frames: Vec<u64>,
    /// What the last file that was applied is told by.
    pub file: Option<String>,
    /// Which command ids decided what: a configuration is changed seldom, so all are kept.
    pub ids: HashMap<u64, PutDecided>,
    /// The last group that an entry of it went into.
    pub in_group: u64,
}

/// What a command id decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutDecided {
    /// The fingerprint of the body.
    pub digest: u64,
    /// The events: seq and full name.
    pub events: Vec<(u64, &'static str)>,
}

impl Kept {
    /// Takes in that the log holds an entry of it in that frame.
    pub fn is_in_frame(&mut self, frame: u64) {
        if self.frames.last() != Some(&frame) {
            self.frames.push(frame);
        }
    }
}

impl Core {
    /// Puts a configuration in the place of today's.
    pub(super) fn put(&mut self, by: By, ask: PutAsk, reply: Option<Text>, now: Time) {
        let digest = self.secret.of_body(VERB, &ask.canonical);
        let document = match ask.document.clone() {
            Err(faults @ Faults::Form(_)) => return self.reject_put(by, &ask, reply, faults.into(), now),
            document => document,
        };
        if self.is_storage_full() && ask.is_file {
            self.file_waiting = Some((by, Box::new(ask)));
            return;
        }
        if self.is_storage_full() {
            return self.reject_put(by, &ask, reply, Refusal::StorageFull, now);
        }
        let key = ask.command_id.as_ref().map(|id| of_command_id(&by, CONFIG_ID, id));
        match key.and_then(|key| self.config.ids.get(&key)) {
            Some(decided) if decided.digest == digest => {
                let events = decided.events.as_slice().into();
                let applied = Applied { is_applied: true, is_replayed: true, relayed_to: None, events };
                let body = answer::put(&applied, &self.config.config);
                return self.answer(by, reply, body);
            }
            Some(_) => return self.reject_put(by, &ask, reply, Refusal::CommandIdReused, now),
            None => {}
        }
        if ask.expected_version.is_some_and(|expected| expected != self.config.config.version()) {
            return self.reject_put(by, &ask, reply, Refusal::StaleVersion, now);
        }
        match document {
            Err(faults) => self.reject_put(by, &ask, reply, faults.into(), now),
            Ok(document) => self.apply(by, &ask, &document, digest, reply, now),
        }
    }

    /// Applies the configuration file that waited for room on the disk.
    pub(super) fn put_waiting_file(&mut self, now: Time) {
        if self.is_storage_full() {
            return;
        }
        if let Some((by, ask)) = self.file_waiting.take() {
            self.put(by, *ask, None, now);
        }
    }

    fn apply(&mut self, by: By, ask: &PutAsk, document: &Document, digest: u64, reply: Option<Text>, now: Time) {
        let file = ask.is_file.then(|| of_file(&ask.canonical));
        if file.is_some() && file == self.config.file {
            return;
        }
        let before = Arc::clone(&self.config.config);
        let events = changes(&before, document);
        let seq = self.next_seq;
        let cause = Cause {
            by: &by,
            at: now,
            verb: VERB,
            command_id: ask.command_id.as_ref(),
            key: None,
            digest: Some(digest),
            body: None,
            traceparent: ask.traceparent.as_ref(),
        };
        let mut writer = Writer::begin(self.sheets.line(), seq, CONFIG_ID, &cause);
        if let Some(file) = &file {
            writer.file(file);
        }
        let mut config = Config::clone(&before);
        for (at, event) in events.iter().enumerate() {
            let seq = seq + at as u64;
            config.evolve(event, seq, now);
            writer.config_event(event, seq, config.version(), &cause);
        }
        let (line, recorded) = writer.finish();
        if line.len() > LINE_BYTES_MAX {
            let text = format!(
                "the change would be recorded in {} bytes, expected at most {LINE_BYTES_MAX}: put it in two steps",
                line.len()
            );
            return self.reject_put(by, ask, reply, Refusal::SettingsConflict(vec![text]), now);
        }
        let told: Told = recorded.iter().map(|event| (event.seq, event.full_name)).collect();
        if !events.is_empty() || file.is_some() {
            self.next_seq += events.len() as u64;
            self.last_at = now;
            self.push_draft(None, before.version(), seq, events.len() as u32, now, line);
            self.config.in_group = self.group.number;
            self.config.file = file.or(self.config.file.take());
        }
        if !events.is_empty() {
            self.config.config = Arc::new(config);
            if let Some(id) = &ask.command_id {
                let key = of_command_id(&by, CONFIG_ID, id);
                self.config.ids.insert(key, PutDecided { digest, events: told.to_vec() });
            }
            let recorded = Recorded {
                conversation: CONFIG_ID.into(),
                channel: None,
                at: now,
                traceparent: ask.traceparent.clone(),
                inbox: Inbox::new(),
                standby: Vec::new(),
                line: Bytes::new(),
                events: recorded,
                hash: [0; 32],
            };
            self.group.push_recorded(recorded);
            self.begin_round();
        }
        let applied = Applied { is_applied: !told.is_empty(), is_replayed: false, relayed_to: None, events: told };
        let body = answer::put(&applied, &self.config.config);
        self.answer(by, reply, body);
    }

    fn reject_put(&mut self, by: By, ask: &PutAsk, reply: Option<Text>, refusal: Refusal, now: Time) {
        let config_version = Some((ask.expected_version, self.config.config.version()));
        let facts = Facts { config_version, ..Facts::default() };
        if !refusal.is_only_counted() {
            let id = ask.command_id.as_ref();
            let body = answer::rejection(now, &by, VERB, CONFIG_ID, id, &refusal, &facts);
            self.group.push(Effect::Rejection(Rejection { conversation: CONFIG_ID.into(), verb: VERB, body }));
        }
        if let Some(to) = reply {
            let body = answer::error_body(&refusal, &facts).into();
            self.group.push(Effect::Answer(Answer { to, by, body, refusal: Some(refusal) }));
        }
    }
}
