//! Metadata as the contract has it: how it merges, what is too much of it, and some that nearly is.

use serde_json::{Map, Value, json};

/// Keys merge, `null` deletes.
pub fn merged(metadata: &Map<String, Value>, patch: &Map<String, Value>) -> Map<String, Value> {
    let mut after = metadata.clone();
    after.extend(patch.clone());
    after.retain(|_, value| !value.is_null());
    after
}

/// Over 64 keys or 4 KiB after merging, or over 128 keys or 8 KiB, deleted ones too, in the command.
pub fn is_too_large(metadata: &Map<String, Value>, patch: &Map<String, Value>) -> bool {
    let exceeds = |facts: &Map<String, Value>, keys, bytes| facts.len() > keys || bytes_of(facts) > bytes;
    exceeds(patch, 128, 8192) || exceeds(&merged(metadata, patch), 64, 4096)
}

/// As JSON.
pub fn bytes_of(metadata: &Map<String, Value>) -> usize {
    Value::Object(metadata.clone()).to_string().len()
}

/// What a command sets or deletes so that it comes to one less than a bound, to as much, or to one more; where so many
/// keys and bytes are held before it, none of them its own.
pub fn near_a_bound(mut below: impl FnMut(u64) -> u64, held_keys: usize, held_bytes: usize) -> Map<String, Value> {
    let mut near = |bound: u64| (bound - 1 + below(3)) as usize;
    let (keys, bytes, deleted, long) = (near(64), near(4096), near(128), near(8192));
    let text = |bytes: usize| "x".repeat(bytes);
    match below(4) {
        0 => (0..keys.saturating_sub(held_keys)).map(|at| (format!("many{at}"), json!(at))).collect(),
        1 => {
            let comma = usize::from(held_keys > 0);
            let left = bytes.saturating_sub(held_bytes + comma + r#""long":"""#.len());
            Map::from_iter([("long".to_owned(), json!(text(left)))])
        }
        2 => (0..deleted).map(|at| (format!("gone{at}"), Value::Null)).collect(),
        _ => Map::from_iter([(text(long - r#"{"":null}"#.len()), Value::Null)]),
    }
}
