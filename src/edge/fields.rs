//! The fields of a request's body, read one by one by name, so that each fault names its field.
//!
//! Values stay slices of the body until something asks for them: `content` is never taken apart,
//! and a refusal costs nothing that an accepted request would not need.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::domain::metadata::{Patch, Scalar};
use crate::domain::words::shown;
use crate::domain::{Name, Refusal, Text, Time};

/// Means the caller's own next where control is passed, and so is no integration's name.
pub const NEXT: &str = "next";
/// Positions and counts stay below what every JSON reader can hold exactly.
const WHOLE_MAX: u64 = (1 << 53) - 1;

/// A field: its name, and its value as it was written.
pub type Field<'a> = (Cow<'a, str>, &'a RawValue);

/// The fields of most requests; more of them take memory of their own.
const USUAL: usize = 8;
/// The fields that most requests may have.
const KNOWN_USUAL: usize = 12;

/// The fields of an object.
pub type List<'a> = SmallVec<[Field<'a>; USUAL]>;

/// The fields that nobody has asked for yet, in the order in which they stood.
#[derive(Debug)]
pub struct Fields<'a> {
    left: List<'a>,
    known: SmallVec<[&'static str; KNOWN_USUAL]>,
}

impl<'a> Fields<'a> {
    /// Reads the body: one object, or nothing at all for an empty one.
    pub fn parse(body: &'a [u8]) -> Result<Fields<'a>, Refusal> {
        let known = SmallVec::new();
        if body.is_empty() {
            return Ok(Fields { left: SmallVec::new(), known });
        }
        let text = std::str::from_utf8(body)
            .map_err(|error| bad(format!("body: expected UTF-8, got another byte at {}", error.valid_up_to())))?;
        let Object(left) = serde_json::from_str(text).map_err(|error| not_an_object(text, &error))?;
        Ok(Fields { left, known })
    }

    /// All fields that stood in the body, if none has been asked for yet.
    pub fn all(&self) -> &[Field<'a>] {
        &self.left
    }

    /// Refuses what nobody asked for.
    pub fn finish(&self) -> Result<(), Refusal> {
        let Some((unknown, _)) = self.left.first() else { return Ok(()) };
        let known = if self.known.is_empty() { "none".into() } else { self.known.join(", ") };
        Err(bad(format!("unknown field {:?}; known here: {known}", shown(unknown))))
    }

    /// Any JSON.
    pub fn raw(&mut self, key: &'static str) -> Option<&'a RawValue> {
        self.known.push(key);
        let at = self.left.iter().position(|(name, _)| name == key)?;
        Some(self.left.remove(at).1)
    }

    /// A text of at most `bytes_max` bytes.
    pub fn text(&mut self, key: &'static str, bytes_max: usize) -> Result<Option<Given<'a, Text>>, Refusal> {
        self.read(key, |text| {
            if text.len() > bytes_max {
                return Err(format!("expected at most {bytes_max} bytes, got {}", text.len()));
            }
            Ok(Text::from(text))
        })
    }

    /// The name of an integration.
    pub fn integration(&mut self, key: &'static str) -> Result<Option<Given<'a, Name>>, Refusal> {
        self.read(key, integration_name)
    }

    /// The name of a caller or channel.
    pub fn name(&mut self, key: &'static str) -> Result<Option<Given<'a, Name>>, Refusal> {
        self.read(key, |text| Name::parse(text).map_err(|bad| bad.to_string()))
    }

    /// A moment.
    pub fn time(&mut self, key: &'static str) -> Result<Option<Time>, Refusal> {
        Ok(self.read(key, Time::parse)?.map(|given| given.value))
    }

    /// A string that `parse` understands.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<Given<'a, T>>, Refusal> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let text = string(raw).ok_or_else(|| wrong(key, "a string", raw))?;
        let value = parse(&text).map_err(|fault| bad(format!("{key}: {fault}")))?;
        Ok(Some(Given { value, raw }))
    }

    /// A whole number from `min` to `max`.
    pub fn whole(&mut self, key: &'static str, min: u64, max: u64) -> Result<Option<u64>, Refusal> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let number = whole(raw).filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or_else(|| wrong(key, &format!("a whole number from {min} to {max}"), raw))
    }

    /// A count or position.
    pub fn count(&mut self, key: &'static str, min: u64) -> Result<Option<u64>, Refusal> {
        self.whole(key, min, WHOLE_MAX)
    }

    /// What is set in the metadata: an object of strings, finite numbers, booleans, and null, which deletes.
    pub fn patch(&mut self, key: &'static str) -> Result<Option<Given<'a, Patch>>, Refusal> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let Object(entries) =
            serde_json::from_str(raw.get()).map_err(|_| wrong(key, "an object without doubled keys", raw))?;
        let entries = entries.into_iter().map(|(name, value)| match scalar(value) {
            Some(scalar) => Ok((Text::from(name.as_ref()), scalar)),
            None => {
                let expected = "a string, a finite number, true, false or null";
                Err(wrong(&format!("{key}.{}", shown(&name)), expected, value))
            }
        });
        Ok(Some(Given { value: entries.collect::<Result<Patch, Refusal>>()?, raw }))
    }

    /// A list of strings.
    pub fn strings(&mut self, key: &'static str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let list = serde_json::from_str(raw.get()).map_err(|_| wrong(key, "a list of strings", raw))?;
        Ok(Some(list))
    }
}

/// A value that was given, and how it was written.
#[derive(Debug)]
pub struct Given<'a, T> {
    /// The value.
    pub value: T,
    /// How it was written.
    pub raw: &'a RawValue,
}

/// Reads the name of an integration.
pub fn integration_name(text: &str) -> Result<Name, String> {
    match text {
        NEXT => Err(format!("expected the name of an integration, got {NEXT:?}, which is reserved")),
        name => Name::parse(name).map_err(|bad| bad.to_string()),
    }
}

/// A request that is not of the right form.
pub fn bad(text: String) -> Refusal {
    Refusal::BadRequest(text)
}

/// A field that is not what was expected of it.
pub fn wrong(key: &str, expected: &str, got: &RawValue) -> Refusal {
    bad(format!("{key}: expected {expected}, got {}", shown(got.get())))
}

/// The text of a JSON string; none where it is something else.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw.get()).ok().map(Cow::Owned)
}

fn whole(raw: &RawValue) -> Option<u64> {
    if let Ok(number) = raw.get().parse() {
        return Some(number);
    }
    let number: f64 = serde_json::from_str(raw.get()).ok()?;
    (number.fract() == 0.0 && (0.0..=WHOLE_MAX as f64).contains(&number)).then_some(number as u64)
}

fn scalar(raw: &RawValue) -> Option<Option<Scalar>> {
    match raw.get() {
        "null" => Some(None),
        "true" => Some(Some(Scalar::Flag(true))),
        "false" => Some(Some(Scalar::Flag(false))),
        text if text.starts_with('"') => Some(Some(Scalar::Text(Text::from(string(raw)?.as_ref())))),
        text => serde_json::from_str(text).ok().map(|number| Some(Scalar::Number(number))),
    }
}

fn not_an_object(text: &str, error: &serde_json::Error) -> Refusal {
    if error.is_data() && serde_json::from_str::<&RawValue>(text).is_ok() && !text.trim_start().starts_with('{') {
        return bad(format!("body: expected a JSON object, got {}", shown(text.trim())));
    }
    bad(format!("body: expected a JSON object: {error}"))
}

/// The fields of an object; none where it is something else, or has a key twice.
pub fn fields_of(json: &str) -> Option<List<'_>> {
    serde_json::from_str(json).ok().map(|Object(fields)| fields)
}

/// An object whose keys all differ.
struct Object<'a>(List<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// Refuses a text in which some object has a key twice, however deep: which of the two is meant nobody can know.
pub fn check_keys(json: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Once>(json).map(|Once| ())
}

/// JSON of which only is asked whether each key stands once.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
        while list.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some((Key(key), Once)) = map.next_entry::<Key<'de>, Once>()? {
            if seen.contains(&key) {
                return Err(serde::de::Error::custom(format_args!("the key {:?} stands twice", shown(&key))));
            }
            seen.insert(key);
        }
        Ok(Once)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut entries = List::new();
        let mut seen = std::collections::HashSet::new();
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            // A scan is quickest for the handful of fields that requests have; a body of many keys must not cost their square.
            let is_double = match entries.len() {
                0..16 => entries.iter().any(|(known, _)| *known == key),
                _ => {
                    if seen.is_empty() {
                        seen.extend(entries.iter().map(|(known, _)| known.clone()));
                    }
                    !seen.insert(key.clone())
                }
            };
            if is_double {
                return Err(serde::de::Error::custom(format_args!("the key {:?} stands twice", shown(&key))));
            }
            entries.push((key, value));
        }
        Ok(Object(entries))
    }
}

/// A key, borrowed where it holds no escape.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}
