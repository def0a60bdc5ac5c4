//! Metadata: a few small facts that travel with a conversation from owner to owner.
//!
//! Where they were erased from the log a text stands in their place, and nothing is known of them.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use super::words::Text;

/// Most keys after merging.
pub const METADATA_KEYS_MAX: usize = 64;
/// Most bytes after merging, counted as JSON.
pub const METADATA_BYTES_MAX: usize = 4096;

/// Most keys that one command sets or deletes: all that there may be give way to as many others.
pub const PATCH_KEYS_MAX: usize = 2 * METADATA_KEYS_MAX;
/// Most bytes of what one command sets and deletes, for the same reason.
pub const PATCH_BYTES_MAX: usize = 2 * METADATA_BYTES_MAX;

/// What a text that stands for erased facts begins with.
const ERASED: &str = "redacted:";

/// One value: a string, a finite number or a boolean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A boolean.
    Flag(bool),
    /// A finite number, as it was written.
    Number(serde_json::Number),
    /// A string.
    Text(Text),
}

/// The facts as they stand. Cloning shares them.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(
    #[serde(serialize_with = "facts", deserialize_with = "facts_or_erased")] Arc<BTreeMap<Text, Scalar>>,
);

/// What a command sets: keys merge, a null deletes.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patch(
    #[serde(serialize_with = "facts", deserialize_with = "facts_or_erased")] Arc<BTreeMap<Text, Option<Scalar>>>,
);

/// The facts would be more than a conversation may carry, or a command sets and deletes more than that can need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataTooLarge {
    /// Whether it is of the command itself, and not of what would come of it.
    pub is_patch: bool,
    /// Keys, after merging.
    pub keys: usize,
    /// Bytes of JSON, after merging.
    pub bytes: usize,
}

impl Metadata {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These facts with `patch` applied.
    pub fn merged(&self, patch: &Patch) -> Metadata {
        if patch.is_empty() {
            return self.clone();
        }
        let mut merged = self.0.as_ref().clone();
        for (key, value) in patch.0.iter() {
            match value {
                Some(value) => drop(merged.insert(key.clone(), value.clone())),
                None => drop(merged.remove(key)),
            }
        }
        Metadata(Arc::new(merged))
    }

    /// These facts with `patch` applied, unless that is too much.
    pub fn checked_merge(&self, patch: &Patch) -> Result<Metadata, MetadataTooLarge> {
        if patch.is_empty() {
            return Ok(self.clone());
        }
        // What is deleted leaves no trace in the facts, and stands in the log all the same.
        let (keys, bytes) = (patch.0.len(), json_bytes(patch));
        if keys > PATCH_KEYS_MAX || bytes > PATCH_BYTES_MAX {
            return Err(MetadataTooLarge { is_patch: true, keys, bytes });
        }
        let merged = self.merged(patch);
        let (keys, bytes) = (merged.0.len(), json_bytes(&merged));
        if keys > METADATA_KEYS_MAX || bytes > METADATA_BYTES_MAX {
            return Err(MetadataTooLarge { is_patch: false, keys, bytes });
        }
        Ok(merged)
    }
}

impl Patch {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn json_bytes(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

/// Where bytes are not for people, and do not say what they are, facts are JSON in a text; none are an empty one.
fn facts<S: Serializer, V: Serialize>(facts: &Arc<BTreeMap<Text, V>>, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return facts.serialize(serializer);
    }
    let text =
        if facts.is_empty() { String::new() } else { serde_json::to_string(facts).map_err(ser::Error::custom)? };
    serializer.serialize_str(&text)
}

fn facts_or_erased<'de, D, V>(deserializer: D) -> Result<Arc<BTreeMap<Text, V>>, D::Error>
where
    D: Deserializer<'de>,
    V: DeserializeOwned,
{
    if !deserializer.is_human_readable() {
        let text = String::deserialize(deserializer)?;
        return match text.is_empty() {
            true => Ok(Arc::default()),
            false => serde_json::from_str(&text).map_err(D::Error::custom),
        };
    }
    deserializer.deserialize_any(Facts(PhantomData))
}

struct Facts<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Facts<V> {
    type Value = Arc<BTreeMap<Text, V>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(Arc::new)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.starts_with(ERASED) {
            true => Ok(Arc::default()),
            false => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }
}

impl FromIterator<(Text, Option<Scalar>)> for Patch {
    fn from_iter<I: IntoIterator<Item = (Text, Option<Scalar>)>>(entries: I) -> Patch {
        Patch(Arc::new(entries.into_iter().collect()))
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
