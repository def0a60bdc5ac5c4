//! What a later version wrote stops every command with its place and what to do, and nothing is passed over.

use super::interrupted::told;
use super::place::{Place, imported};

const NOWHERE: &str = "nats://127.0.0.1:1";

/// Each command on the directory: its name, exit code and complaint.
fn everybody(place: &Place) -> Vec<(&'static str, Option<i32>, String)> {
    let commands: [(&str, &[&str]); 5] = [
        ("serve", &["serve", "--nats", NOWHERE]),
        ("show", &["show", "c-1"]),
        ("replay", &["replay"]),
        ("verify", &["verify"]),
        ("export", &["export"]),
    ];
    let ran = commands.into_iter().map(|(name, command)| {
        let (code, complaint) = told(command, &place.path);
        (name, code, complaint)
    });
    ran.collect()
}

#[test]
fn an_unknown_event_stops_all_but_who_moves_it_unread() {
    let mut entries = Place::of_story().entries();
    let taken = |line: &[u8]| String::from_utf8_lossy(line).contains("\"verb\":\"take\"");
    let entry = entries.iter_mut().find(|entry| taken(&entry.line)).unwrap();
    let line = String::from_utf8(entry.line.clone()).unwrap();
    entry.line = line.replacen("switchboard.control.passed", "switchboard.control.lent", 1).into_bytes();
    let seq = entry.first_seq;
    let place = Place::of(&entries);
    let words = format!(
        "event switchboard.control.lent at seq {seq} is not known to this version: use the version that wrote it, or a later one"
    );
    for (name, code, complaint) in everybody(&place) {
        match name {
            "export" => assert_eq!((code, complaint.as_str()), (Some(0), "")),
            "verify" => assert!(code == Some(2) && complaint.contains(&words), "{name}: {complaint}"),
            _ => assert!(code == Some(1) && complaint.contains(&words), "{name}: {complaint}"),
        }
    }
    // What is moved unread is no better for it.
    assert!(imported(&place.exported()).finding().contains(&words));
}

#[test]
fn a_newer_frame_is_named_by_all() {
    let place = Place::of_story();
    place.tamper(place.frames(), |mut bytes| {
        bytes[2..4].copy_from_slice(&3u16.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..100]).to_be_bytes();
        bytes[100..104].copy_from_slice(&crc);
        Some(bytes)
    });
    let at = format!("frame {}", place.frames());
    for (name, code, complaint) in everybody(&place) {
        let expected = if name == "serve" { 1 } else { 2 };
        assert_eq!(code, Some(expected), "{name}: {complaint}");
        let words = "frame format 3, expected 2 at most: use a newer release";
        assert!(complaint.contains(&at) && complaint.contains(words), "{name}: {complaint}");
        assert!(name == "serve" || complaint.contains(", seq "), "{name}: {complaint}");
    }
}

#[test]
fn a_newer_directory_is_named_by_all() {
    let place = Place::of_story();
    let file = place.path.join("switchboard.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"format\": 4", "\"format\": 6", 1)).unwrap();
    for (name, code, complaint) in everybody(&place) {
        assert_eq!(code, Some(1), "{name}: {complaint}");
        assert!(
            complaint.contains("has format 6, expected 1 to 5: use the release of switchboard that wrote it"),
            "{complaint}"
        );
    }
}
