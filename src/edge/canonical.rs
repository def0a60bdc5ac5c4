//! One canonical form of JSON: no space, keys in order, strings and numbers written one way.
//!
//! By it a repeat of a command is told from another command under the same id, whatever the
//! sender's library did with spaces and the order of keys.

use serde_json::Value;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::fields::{Field, List, fields_of};

/// The canonical form of an object given as its fields, with room for so many bytes behind it.
pub fn object(fields: &[Field<'_>], room: usize) -> Vec<u8> {
    let bytes = fields.iter().map(|(key, raw)| key.len() + raw.get().len() + 4).sum::<usize>() + 2;
    let mut out = Vec::with_capacity(bytes + room);
    write_object(fields, &mut out);
    out
}

fn write_object(fields: &[Field<'_>], out: &mut Vec<u8>) {
    let mut sorted: SmallVec<[&Field<'_>; 8]> = fields.iter().collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    out.push(b'{');
    for (at, (key, raw)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json(key, out);
        out.push(b':');
        write_raw(raw, out);
    }
    out.push(b'}');
}

fn write_raw(raw: &RawValue, out: &mut Vec<u8>) {
    let text = raw.get();
    let is_plain = !text.contains('\\')
        && (text.starts_with(['"', 't', 'f', 'n']) || text.bytes().all(|byte| byte.is_ascii_digit()));
    if is_plain {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    if let Some(fields) = plain_object(text) {
        return write_object(&fields, out);
    }
    match serde_json::from_str(text) {
        Ok(value) => write_value(&value, out),
        // No tree of values can hold it, for its depth or for half of a surrogate pair: told apart as it was written.
        Err(_) => write_without_space(text, out),
    }
}

/// Most digits of a number that a tree of values would surely write as they stand.
const DIGITS_SURE: usize = 15;

/// The fields of an object of texts, literals and small counts, as most contents are: they need no tree of values, which
/// would come to the same. With an escape anywhere it would not: half of a surrogate pair has no tree. Nor with the name
/// by which the library itself marks what it passes through as it is.
fn plain_object(text: &str) -> Option<List<'_>> {
    if !text.starts_with('{') || text.contains('\\') || text.contains("$serde_json::") {
        return None;
    }
    let is_sure = |text: &str| match text.as_bytes() {
        [b'"' | b't' | b'f' | b'n', ..] => true,
        digits => digits.len() <= DIGITS_SURE && digits.iter().all(u8::is_ascii_digit),
    };
    fields_of(text).filter(|fields| fields.iter().all(|(_, raw)| is_sure(raw.get())))
}

/// JSON without the space between its tokens.
fn write_without_space(text: &str, out: &mut Vec<u8>) {
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        is_string ^= byte == b'"' && !is_escaped;
        is_escaped = is_string && byte == b'\\' && !is_escaped;
        if is_string || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            // Sorted here: whether the tree keeps its keys in order depends on the features of a library.
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json(key.as_str(), out);
                out.push(b':');
                write_value(&fields[key], out);
            }
            out.push(b'}');
        }
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()).filter(is_whole) {
            // 1.0 and 1 are one number.
            Some(whole) => write_json(&(whole as i64), out),
            None => write_json(number, out),
        },
        scalar => write_json(scalar, out),
    }
}

/// Whether a number is whole, and not so large that it stands for several.
fn is_whole(number: &f64) -> bool {
    number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0
}

fn write_json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("keys and scalars are JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::fields::Fields;

    fn canonical(body: &str) -> String {
        String::from_utf8(object(Fields::parse(body.as_bytes()).unwrap().all(), 0)).unwrap()
    }

    #[test]
    fn space_and_order_make_no_difference() {
        let one = canonical(r#"{"to":"bot","metadata":{"b":[1, 2.50],"a":"x\/y"},"reason":"\u00e9"}"#);
        let other = canonical(" { \"reason\" : \"é\",\n\"metadata\":{\"a\":\"x/y\",\"b\":[1,2.5]}, \"to\":\"bot\" } ");
        assert_eq!(one, other);
        assert_eq!(one, r#"{"metadata":{"a":"x/y","b":[1,2.5]},"reason":"é","to":"bot"}"#);
    }

    #[test]
    fn space_makes_no_difference_either_where_no_tree_of_values_can_be_made() {
        for content in [r#"["\ud83d a\" ",1]"#, &format!("{}1{}", "[".repeat(300), "]".repeat(300))] {
            let spaced = content.replace(',', "\r\n ,\t").replace('[', "[ ");
            let canonical = |content: &str| canonical(&format!(r#"{{"content":{content}}}"#));
            assert_eq!(canonical(&spaced), canonical(content));
            assert!(canonical(content).contains(content));
        }
    }

    /// One command id on either side of an upgrade must stay one: by a tree of values they were all written once.
    #[test]
    fn a_plain_object_is_written_as_its_tree_of_values_would_be() {
        let plain = [
            r#"{}"#,
            r#"{ "type" : "text","text":"Hä/ß"}"#,
            r#"{"b":0,"a":123456789012345,"c":true,"d":null,"a b":""}"#,
        ];
        let others = [
            r#"{"b":1,"a":123456789012345678901234567890}"#,
            r#"{"a":1.0,"b":-0,"c":1e2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"c":1,"b":2}}"#,
            r#"{"b":"\u0041","a":[]}"#,
            r#"{"$serde_json::private::RawValue":"1"}"#,
        ];
        for content in plain.into_iter().chain(others) {
            let mut tree = br#"{"content":"#.to_vec();
            write_value(&serde_json::from_str(content).unwrap(), &mut tree);
            assert_eq!(canonical(&format!(r#"{{"content":{content}}}"#)).as_bytes(), [&tree[..], b"}"].concat());
            assert_eq!(plain_object(content).is_some(), plain.contains(&content), "{content}");
        }
    }

    #[test]
    fn values_make_a_difference() {
        assert_ne!(canonical(r#"{"to":"bot"}"#), canonical(r#"{"to":"bots"}"#));
        assert_ne!(canonical(r#"{"content":[1,2]}"#), canonical(r#"{"content":[2,1]}"#));
        assert_eq!(canonical(""), "{}");
    }
}
