//! One canonical form of JSON: no space, keys in order, strings and numbers written one way.
//!
//! By it a repeat of a command is told from another command under the same id, whatever the
//! sender's library did with spaces and the order of keys.

use serde_json::Value;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::fields::Field;

/// The canonical form of an object given as its fields.
pub fn object(fields: &[Field<'_>]) -> Vec<u8> {
    let mut sorted: SmallVec<[&Field<'_>; 8]> = fields.iter().collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut out =
        Vec::with_capacity(fields.iter().map(|(key, raw)| key.len() + raw.get().len() + 4).sum::<usize>() + 2);
    out.push(b'{');
    for (at, (key, raw)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json(key, &mut out);
        out.push(b':');
        write_raw(raw, &mut out);
    }
    out.push(b'}');
    out
}

fn write_raw(raw: &RawValue, out: &mut Vec<u8>) {
    let text = raw.get();
    let is_plain = !text.contains('\\')
        && (text.starts_with(['"', 't', 'f', 'n']) || text.bytes().all(|byte| byte.is_ascii_digit()));
    if is_plain {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    match serde_json::from_str(text) {
        Ok(value) => write_value(&value, out),
        // No tree of values can hold it, for its depth or for half of a surrogate pair: told apart as it was written.
        Err(_) => write_without_space(text, out),
    }
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
        String::from_utf8(object(Fields::parse(body.as_bytes()).unwrap().all())).unwrap()
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

    #[test]
    fn values_make_a_difference() {
        assert_ne!(canonical(r#"{"to":"bot"}"#), canonical(r#"{"to":"bots"}"#));
        assert_ne!(canonical(r#"{"content":[1,2]}"#), canonical(r#"{"content":[2,1]}"#));
        assert_eq!(canonical(""), "{}");
    }
}
