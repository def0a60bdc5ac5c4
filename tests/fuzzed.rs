//! What must hold of whatever comes in, asked of every seed that is kept for the fuzzer, as ordinary tests.
//!
//! A fault that was found once is a seed from then on. `tests/fuzz/run` goes on from the same seeds.

use std::fs;
use std::path::Path;

#[path = "fuzz/properties/mod.rs"]
mod properties;

fn replay(target: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for seed in seeds {
        println!("{}", seed.display());
        properties::check(target, &fs::read(seed).unwrap());
    }
}

#[test]
fn arguments_times_and_durations_are_read_and_written_as_one() {
    replay("command_line");
}

#[test]
fn whatever_is_asked_the_log_keeps_every_rule_and_everybody_is_answered() {
    replay("commands");
}

#[test]
fn a_configuration_is_taken_the_same_from_a_file_and_from_a_request_and_shown_as_it_can_be_put() {
    replay("configurations");
}

#[test]
fn an_export_is_taken_back_byte_for_byte_or_not_at_all() {
    replay("exports");
}

#[test]
fn a_frame_holds_what_its_header_says_and_no_byte_of_it_changes_unseen() {
    replay("frames");
}

#[test]
fn a_request_means_the_same_in_every_layout_and_is_refused_in_few_words() {
    replay("requests");
}

#[test]
fn what_the_cache_keeps_is_read_as_it_was_written() {
    replay("states");
}

#[test]
fn only_plain_tokens_get_onto_a_subject() {
    replay("subjects");
}

#[test]
fn every_target_is_replayed() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds")).unwrap();
    let mut found: Vec<_> = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, properties::ALL.map(|(target, _)| target));
}
