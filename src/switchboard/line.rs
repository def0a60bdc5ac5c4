//! Writes one JSON object into one buffer, and remembers where personal values stand.
//!
//! The log, the event and its copies share these bytes, so they are written once; the spans of
//! personal values let the log be sealed over their salted hashes, so that they can be erased.

use std::ops::Range;

use serde::Serialize;

use crate::domain::words::WRITTEN_BYTES;
use crate::domain::{By, Text, Time};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The longest key, to spare.
const KEY_BYTES_MAX: usize = 60;

/// An object being written.
#[derive(Debug, Default)]
pub struct Line {
    bytes: Vec<u8>,
    /// Where personal values stand, if anybody asks.
    personal: Vec<Range<u32>>,
    is_kept: bool,
}

impl Line {
    /// An object to be sent, that needs no growth up to `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Line {
        Line { bytes: Vec::with_capacity(capacity), ..Line::default() }
    }

    /// Begins anew, without growing what has grown: an object to be sent.
    pub fn for_sending(mut self) -> Line {
        self.bytes.clear();
        self.personal.clear();
        Line { is_kept: false, ..self }
    }

    /// Begins anew, without growing what has grown: a line of the log.
    pub fn for_keeping(self) -> Line {
        Line { is_kept: true, ..self.for_sending() }
    }

    /// Begins an object.
    pub fn open(&mut self) {
        self.bytes.push(b'{');
    }

    /// Ends an object.
    pub fn close(&mut self) {
        self.bytes.push(b'}');
    }

    /// Writes a key; its value must follow. A hundred are written for each command, nearly all of them constant: inlined,
    /// such a key is one piece with its quotes, put there at once.
    #[inline(always)]
    pub fn key(&mut self, key: &'static str) {
        let mut piece = [0; KEY_BYTES_MAX + 4];
        let end = 2 + key.len();
        (piece[0], piece[1]) = (b',', b'"');
        piece[2..end].copy_from_slice(key.as_bytes());
        (piece[end], piece[end + 1]) = (b'"', b':');
        let is_first = matches!(self.bytes.last(), Some(b'{') | None);
        self.bytes.extend_from_slice(&piece[usize::from(is_first)..end + 2]);
    }

    /// Writes a value.
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.bytes, value).expect("our values are JSON");
    }

    /// Writes a key and its value.
    #[inline(always)]
    pub fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) {
        self.key(key);
        self.value(value);
    }

    /// Writes a key and a text in which nothing is to be escaped: a token, a name of ours.
    #[inline(always)]
    pub fn token(&mut self, key: &'static str, text: &str) {
        self.key(key);
        self.quoted(text);
    }

    /// Writes a key and a token, if there is one.
    #[inline(always)]
    pub fn token_or_null(&mut self, key: &'static str, text: Option<&str>) {
        self.key(key);
        match text {
            Some(text) => self.quoted(text),
            None => self.raw(b"null"),
        }
    }

    /// Writes a key and a digest: sixteen digits.
    pub fn digest(&mut self, key: &'static str, digest: u64) {
        let digits = (0..16).rev().map(|place| HEX[(digest >> (4 * place) & 0xf) as usize]);
        self.key(key);
        self.bytes.push(b'"');
        self.bytes.extend(digits);
        self.bytes.push(b'"');
    }

    /// Writes a key and whether something is so.
    #[inline(always)]
    pub fn flag(&mut self, key: &'static str, is_so: bool) {
        self.key(key);
        self.raw(if is_so { b"true" } else { b"false" });
    }

    /// Writes a key and a moment.
    #[inline(always)]
    pub fn time(&mut self, key: &'static str, time: Time) {
        self.key(key);
        self.moment(time);
    }

    /// Writes a key and a moment, if there is one.
    #[inline(always)]
    pub fn time_or_null(&mut self, key: &'static str, time: Option<Time>) {
        self.key(key);
        match time {
            Some(time) => self.moment(time),
            None => self.raw(b"null"),
        }
    }

    /// Writes a key and a text of somebody's, if there is one.
    #[inline(always)]
    pub fn text_or_null(&mut self, key: &'static str, text: Option<&Text>) {
        self.key(key);
        self.words(text);
    }

    /// Writes a key and who did it, as [`By`] is written.
    #[inline(always)]
    pub fn by(&mut self, key: &'static str, by: &By) {
        self.key(key);
        self.who(by);
    }

    fn who(&mut self, by: &By) {
        self.open();
        self.token("role", by.role.as_str());
        if let Some(name) = &by.name {
            self.token("name", name.as_str());
            self.text_or_null("actor", by.actor.as_ref());
        }
        self.close();
    }

    fn moment(&mut self, time: Time) {
        let mut quoted = [b'"'; WRITTEN_BYTES + 2];
        quoted[1..=WRITTEN_BYTES].copy_from_slice(time.written().as_bytes());
        self.raw(&quoted);
    }

    /// Writes a text in which nothing is to be escaped: an item of a list.
    pub fn quoted(&mut self, text: &str) {
        self.bytes.reserve(text.len() + 2);
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(b'"');
    }

    fn words(&mut self, text: Option<&Text>) {
        // What JSON escapes. Seldom is anything: then one look at all bytes at once is quicker than one at each.
        let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        match text {
            None => self.raw(b"null"),
            Some(text) if text.bytes().fold(false, |any, byte| any | is_escaped(byte)) => self.value(text),
            Some(text) => self.quoted(text),
        }
    }

    /// Writes a key and a personal value, which can be erased. Nothing and an empty object say nothing of anybody.
    #[inline(always)]
    pub fn personal<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) {
        self.key(key);
        let start = self.bytes.len();
        self.value(value);
        self.note_personal(start..self.bytes.len());
    }

    /// Writes a key and a personal text, if there is one.
    #[inline(always)]
    pub fn personal_text(&mut self, key: &'static str, text: Option<&Text>) {
        self.key(key);
        let start = self.bytes.len();
        self.words(text);
        self.note_personal(start..self.bytes.len());
    }

    /// Writes all fields of an object that has just begun, of which those values are personal.
    pub fn fields(&mut self, fields: &[u8], personal: &[Range<u32>]) {
        let start = self.bytes.len();
        self.raw(fields);
        for value in personal {
            self.note_personal(start + value.start as usize..start + value.end as usize);
        }
    }

    fn note_personal(&mut self, value: Range<usize>) {
        if self.is_kept && !matches!(&self.bytes[value.clone()], b"null" | b"{}") {
            self.personal.push(value.start as u32..value.end as u32);
        }
    }

    /// Writes bytes that are JSON already.
    pub fn raw(&mut self, json: &[u8]) {
        self.bytes.extend_from_slice(json);
    }

    /// Writes a list, each item by `write`.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Line, T),
    ) {
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

    /// What is written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where personal values stand in a line of the log.
    pub fn spans(&self) -> &[Range<u32>] {
        &self.personal
    }

    /// What is written, for good.
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
            line.digest("digest", 0x0123_4567_89ab_cdef);
            line.digest("low", 1);
            line.flag("flag", true);
            line.list("list", ["a", "b"], Line::quoted);
            line.close();
            let expected = serde_json::to_string(&by).unwrap();
            let written = String::from_utf8(line.into_bytes()).unwrap();
            assert_eq!(
                written,
                format!(
                    r#"{{"by":{expected},"at":"2026-01-31T12:00:00.007Z","none":null,"some":"1970-01-01T00:00:00.000Z","token":"{name}","no_token":null,"digest":"0123456789abcdef","low":"0000000000000001","flag":true,"list":["a","b"]}}"#
                )
            );
        }
    }

    #[test]
    fn a_text_is_what_the_library_would_write() {
        let all_of_ascii: String = (0..=0x7f).map(char::from).collect();
        let each = (0..=0x7f).map(|byte| char::from(byte).to_string());
        let others = ["", "plain", "ünï¢ode 漢字 \u{2028}\u{ffff}", all_of_ascii.as_str()].map(str::to_owned);
        for text in each.chain(others) {
            for around in ["", "a long text around it that fills more than one register "] {
                let text = Text::from(format!("{around}{text}{around}"));
                let mut line = Line::default();
                line.text_or_null("text", Some(&text));
                let expected = format!("\"text\":{}", serde_json::to_string(&text).unwrap());
                assert_eq!(String::from_utf8(line.into_bytes()).unwrap(), format!(",{expected}")[1..]);
            }
        }
    }

    #[test]
    fn only_a_line_of_the_log_notes_what_is_personal() {
        let user = Text::from("u-1");
        let mut line = Line::default();
        for expected in [vec![8..13, 46..51], vec![]] {
            line = if expected.is_empty() { line.for_sending() } else { line.for_keeping() };
            line.open();
            line.personal_text("user", Some(&user));
            line.personal_text("reason", None);
            line.personal("metadata", &serde_json::json!({}));
            line.personal("b", &"u-1");
            line.close();
            assert_eq!(line.spans(), expected, "{}", String::from_utf8_lossy(line.bytes()));
        }
    }
}
