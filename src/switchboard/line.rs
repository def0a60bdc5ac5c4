//! Writes one JSON object into one buffer, and remembers where personal values stand.
//!
//! The log, the event and its copies share these bytes, so they are written once; the spans of
//! personal values let the log be sealed over their salted hashes, so that they can be erased.

use std::ops::Range;

use serde::Serialize;

use crate::domain::words::Written;
use crate::domain::{By, Time};

/// An object being written.
#[derive(Debug, Default)]
pub struct Line {
    bytes: Vec<u8>,
    personal: Vec<Range<u32>>,
}

impl Line {
    /// A line that needs no growth up to `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Line {
        Line { bytes: Vec::with_capacity(capacity), personal: Vec::new() }
    }

    /// Begins an object.
    pub fn open(&mut self) {
        self.bytes.push(b'{');
    }

    /// Ends an object.
    pub fn close(&mut self) {
        self.bytes.push(b'}');
    }

    /// Writes a key; its value must follow.
    #[inline]
    pub fn key(&mut self, key: &str) {
        self.bytes.reserve(key.len() + 4);
        if !matches!(self.bytes.last(), Some(b'{') | None) {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(b"\":");
    }

    /// Writes a value.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.bytes, value).expect("our values are JSON");
    }

    /// Writes a key and its value.
    pub fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        self.value(value);
    }

    /// Writes a key and a text in which nothing is to be escaped: a token, a name of ours.
    #[inline]
    pub fn token(&mut self, key: &str, text: &str) {
        self.key(key);
        self.quoted(text);
    }

    /// Writes a key and a token, if there is one.
    pub fn token_or_null(&mut self, key: &str, text: Option<&str>) {
        self.key(key);
        match text {
            Some(text) => self.quoted(text),
            None => self.raw(b"null"),
        }
    }

    /// Writes a key and a moment.
    pub fn time(&mut self, key: &str, time: Time) {
        self.token(key, time.written().as_str());
    }

    /// Writes a key and a moment, if there is one.
    pub fn time_or_null(&mut self, key: &str, time: Option<Time>) {
        self.token_or_null(key, time.map(Time::written).as_ref().map(Written::as_str));
    }

    /// Writes a key and who did it, as [`By`] is written.
    pub fn by(&mut self, key: &str, by: &By) {
        self.key(key);
        self.open();
        self.token("role", by.role.as_str());
        if let Some(name) = &by.name {
            self.token("name", name.as_str());
            self.field("actor", &by.actor);
        }
        self.close();
    }

    fn quoted(&mut self, text: &str) {
        self.bytes.reserve(text.len() + 2);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'"');
    }

    /// Writes a key and a personal value, which can be erased. Nothing and an empty object say nothing of anybody.
    pub fn personal<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        let start = self.bytes.len();
        self.value(value);
        if !matches!(&self.bytes[start..], b"null" | b"{}") {
            self.personal.push(start as u32..self.bytes.len() as u32);
        }
    }

    /// Writes bytes that are JSON already.
    pub fn raw(&mut self, json: &[u8]) {
        self.bytes.extend_from_slice(json);
    }

    /// Writes a list, each item by `write`.
    pub fn list<T>(&mut self, key: &str, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Line, T)) {
        self.key(key);
        self.bytes.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.bytes.push(b',');
            }
            write(self, item);
        }
        self.bytes.push(b']');
    }

    /// How many bytes are written.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, and where personal values stand in them.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Range<u32>>) {
        (self.bytes, self.personal)
    }

    /// The bytes alone.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Name, Role};

    #[test]
    fn what_is_written_by_hand_is_what_the_library_would_write() {
        let name = Name::parse("a:b@c+d=e~f_g-h").unwrap();
        let all = [By::timer(), By::config(), By::caller(Role::Channel, name.clone(), None)];
        let with_actor = |role| By::caller(role, name.clone(), Some("An\"na\n\u{1}é".into()));
        for by in all.into_iter().chain([Role::Channel, Role::Integration, Role::Operator].map(with_actor)) {
            let mut line = Line::default();
            line.open();
            line.by("by", &by);
            line.time("at", Time(1_769_860_800_007));
            line.time_or_null("none", None);
            line.time_or_null("some", Some(Time(0)));
            line.token("token", name.as_str());
            line.token_or_null("no_token", None);
            line.close();
            let expected = serde_json::to_string(&by).unwrap();
            let written = String::from_utf8(line.into_bytes()).unwrap();
            assert_eq!(
                written,
                format!(
                    r#"{{"by":{expected},"at":"2026-01-31T12:00:00.007Z","none":null,"some":"1970-01-01T00:00:00.000Z","token":"{name}","no_token":null}}"#
                )
            );
        }
    }
}
