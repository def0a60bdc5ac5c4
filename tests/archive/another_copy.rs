//! A log is held to what was noted of its end: another copy, that went another way, is not taken for it.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::log::{Directory, DiskLog, Draft, Log};

#[test]
fn a_log_whose_end_is_not_the_one_that_was_noted_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let open = || DiskLog::open(Arc::new(Directory::open_or_create(place.path()).unwrap()));
    let line = b"{}".as_slice().into();
    let draft = Draft {
        conversation: "c".into(),
        version: 0,
        first_seq: 1,
        events: 1,
        at: 1,
        line,
        personal: Default::default(),
        salt: None,
    };
    let mut log = open().unwrap();
    log.append(&[draft], 0).unwrap();
    Box::new(log).close(0).unwrap();
    Box::new(open().unwrap()).close(0).unwrap();
    let end = place.path().join("log.json");
    let noted = fs::read_to_string(&end).unwrap();
    let mut other: Value = serde_json::from_str(&noted).unwrap();
    other["hash"] = json!("0".repeat(64));
    fs::write(&end, other.to_string()).unwrap();
    let refused = open().err().expect("it is refused").to_string();
    assert!(refused.contains("is another"), "{refused}");
    fs::write(&end, noted).unwrap();
    open().unwrap();
}
