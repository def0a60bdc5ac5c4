//! What must hold of whatever comes in, as functions of bytes: they panic where it does not.
//!
//! A fuzzer drives them (`tests/fuzz/run`), and the ordinary tests replay every seed that is kept (`tests/fuzzed.rs`). More
//! is asked than that nothing panics: what is read is written the same, a change of layout changes nothing, what is
//! refused is refused in few words, and nothing unchecked gets onto a subject.

mod command_line;
mod commands;
mod configurations;
mod entries;
mod exports;
mod frames;
mod requests;
mod script;
mod states;
mod subjects;

/// A target's name, and what holds of its bytes.
type Target = (&'static str, fn(&[u8]));

/// Every target, in the order of their names.
pub const ALL: [Target; 8] = [
    ("command_line", command_line::check),
    ("commands", commands::check),
    ("configurations", configurations::check),
    ("exports", exports::check),
    ("frames", frames::check),
    ("requests", requests::check),
    ("states", states::check),
    ("subjects", subjects::check),
];

/// Holds bytes to the properties of the target of that name.
pub fn check(target: &str, bytes: &[u8]) {
    let (_, property) = ALL.iter().find(|(name, _)| *name == target).expect("a target's name");
    property(bytes);
}
