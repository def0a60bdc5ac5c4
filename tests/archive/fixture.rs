//! A log of each format that was ever released is kept here, and every later version reads it.

use std::path::{Path, PathBuf};

use switchboard::tools::directory::DirectoryArchive;
use switchboard::tools::source::{Question, whole_span};

use super::live::{BEGIN, Live};
use super::place::{Place, imported};
use super::story::CONVERSATIONS;

pub fn file(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive/fixtures").join(format!("{version}.ndjson"))
}

/// The first page of everything that was recorded, as `replay` reads it.
pub fn replayed(place: &Place) -> Result<String, String> {
    let mut archive = DirectoryArchive::open(&place.path).map_err(|failure| failure.to_string())?;
    let page = archive.answer(&Question::Log { span: whole_span() });
    page.map(|body| String::from_utf8(body).unwrap()).map_err(|failure| failure.to_string())
}

/// An export without what format 2 added to it: the check of the key.
fn as_in_format_1(text: &str) -> String {
    let (rest, check) = text.split_once(",\"check\":\"").expect("a check");
    assert_eq!(check.len(), "\"}\n".len() + 64, "it stands at the very end");
    rest.replacen("\"format\":2", "\"format\":1", 1) + "}\n"
}

#[test]
fn logs_of_every_version_are_read_for_good() {
    for version in ["v1", "v2"] {
        let text = std::fs::read_to_string(file(version)).unwrap();
        let place = imported(&text);
        check_story(&place);
        let exported = place.exported();
        let again = if version == "v1" { as_in_format_1(&exported) } else { exported };
        assert_eq!(again, text, "nothing of {version} was rewritten");
    }
}

fn check_story(place: &Place) {
    let told = place.assert_good();
    assert!(told.contains("conversations  6, 2 of them open"), "{told}");
    let events = replayed(place).unwrap();
    for kind in [
        "conversation.started",
        "conversation.reopened",
        "control.assigned",
        "control.passed",
        "control.offered",
        "control.offer_withdrawn",
        "control.accepted",
        "control.released",
        "conversation.end_requested",
        "conversation.closed",
        "settings.changed",
        "integration.registered",
        "integration.changed",
        "integration.removed",
        "channel.registered",
        "channel.changed",
        "channel.removed",
    ] {
        assert!(events.contains(&format!("\"type\":\"switchboard.{kind}\"")), "{kind} is in the story");
    }
    let mut live = Live::open(&place.path, BEGIN);
    let states: Vec<_> = CONVERSATIONS.iter().map(|id| live.state(id)).collect();
    assert_eq!(states[0]["closed"]["cause"], "end_user");
    assert_eq!(states[0]["version"], 13);
    assert_eq!(states[3]["session"], 2);
    live.stop();
}

/// Writes the log of a new format once: `cargo test --test archive -- --ignored`. What was released is never rewritten.
#[test]
#[ignore = "writes into the sources, for a new format of the log"]
fn a_log_of_todays_format_is_written() {
    let file = file("v2");
    assert!(!file.exists(), "{} is there: give the new format a file of its own", file.display());
    std::fs::write(file, Place::of_story().exported()).unwrap();
}
