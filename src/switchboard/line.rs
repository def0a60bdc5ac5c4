//! Writes one JSON object into one buffer, and remembers where personal values stand.
//!
//! The log, the event and its copies share these bytes, so they are written once; the spans of
//! personal values let the log be sealed over their salted hashes, so that they can be erased.

use std::ops::Range;

use serde::Serialize;

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
    pub fn key(&mut self, key: &str) {
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
