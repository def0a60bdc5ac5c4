//! A log whose chain holds, and whose records no rule allows.

use switchboard::log::Entry;

use super::place::{Place, imported};

/// The story with one text in the line of a decision replaced by another.
fn forged(verb: &str, conversation: &str, from: &str, to: &str) -> Place {
    let mut entries = Place::of_story().entries();
    let is_it = |entry: &&mut Entry| {
        let line = text(entry);
        line.contains(&format!("\"verb\":\"{verb}\"")) && line.contains(&format!("\"conversation\":\"{conversation}\""))
    };
    let entry = entries.iter_mut().find(is_it).expect("such a decision");
    let line = text(entry);
    assert!(line.contains(from), "{from} in {line}");
    entry.line = line.replacen(from, to, 1).into_bytes();
    Place::of(&entries)
}

fn text(entry: &Entry) -> String {
    String::from_utf8(entry.line.clone()).unwrap()
}

#[test]
fn every_state_that_is_recorded_is_held_against_the_events() {
    let cases = [
        ("pass", "\"version\":3", "\"version\":4", "version"),
        ("pass", "\"epoch\":2", "\"epoch\":1", "epoch"),
        ("pass", "\"session\":1", "\"session\":2", "session"),
        ("pass", "\"owner\":\"agents\"", "\"owner\":\"survey\"", "conversation.owner"),
        ("pass", "\"status\":\"open\"", "\"status\":\"ending\"", "conversation.status"),
        ("pass", "\"send_csat\":true", "\"send_csat\":false", "conversation.affordances"),
        ("pass", "\"command_id\":\"pass-1\"", "\"command_id\":\"pass-2\"", "command_id"),
        ("offer", "\"offer\":{\"to\":\"survey\"", "\"offer\":{\"to\":\"bot\"", "conversation.offer.to"),
        ("release", "\"duration_ms\":", "\"duration_ms\":9", "duration_ms"),
        ("end", "\"on_end\":\"hold\"", "\"on_end\":7", "expected the data of"),
    ];
    for (verb, from, to, field) in cases {
        let place = forged(verb, "c-1", from, to);
        let finding = place.finding();
        assert!(finding.contains("frame ") && finding.contains(", seq "), "{finding}");
        assert!(finding.contains(field), "{finding}");
        let (told, _) = place.verify();
        assert!(told.starts_with("good up to"), "{told}");
    }
}

#[test]
fn an_event_that_no_rule_allows_is_found() {
    let place = forged("pass", "c-1", "\"from\":\"bot\"", "\"from\":\"survey\"");
    let finding = place.finding();
    assert!(finding.contains("I3: switchboard.control.passed found status Some(Open), owner bot"), "{finding}");
    let mut entries = Place::of_story().entries();
    let at = entries.iter().position(|entry| text(entry).contains("conversation.reopened")).unwrap();
    let seq = entries[at].first_seq;
    entries[at].line = text(&entries[at]).replacen("conversation.reopened", "conversation.started", 1).into_bytes();
    let finding = Place::of(&entries).finding();
    assert!(finding.contains(&format!("seq {seq}: I5: session")), "{finding}");
}

#[test]
fn a_command_id_that_decides_twice_is_found() {
    let mut entries = Place::of_story().entries();
    let release = entries.iter_mut().find(|entry| text(entry).contains("\"verb\":\"release\"")).unwrap();
    let asked = "\"verb\":\"offer\"";
    let line = text(release);
    assert!(!line.contains(asked));
    // The agents' take and their release under one command id.
    for entry in &mut entries {
        let line = text(entry);
        if line.contains("\"name\":\"agents\"")
            && (line.contains("\"verb\":\"take\"") || line.contains("\"verb\":\"release\""))
        {
            let verb = if line.contains("\"verb\":\"take\"") { "\"verb\":\"take\"" } else { "\"verb\":\"release\"" };
            let line = line.replacen(verb, &format!("{verb},\"id\":\"twice\""), 1);
            entry.line = line.replace("\"command_id\":null", "\"command_id\":\"twice\"").into_bytes();
        }
    }
    let finding = Place::of(&entries).finding();
    assert!(finding.contains("I7: command id \"twice\" decided already at seq"), "{finding}");
}

#[test]
fn a_name_that_is_not_registered_cannot_change() {
    let mut entries = Place::of_story().entries();
    let entry = entries.iter_mut().find(|entry| text(entry).contains("integration.removed")).unwrap();
    entry.line = text(entry).replacen("\"name\":\"trial\"", "\"name\":\"other\"", 1).into_bytes();
    let finding = Place::of(&entries).finding();
    assert!(finding.contains("integration.removed of other, which is not registered"), "{finding}");
}

/// A newer version writes events that this one does not know: it may not go on as if nothing had happened.
#[test]
fn an_unknown_event_stops_whoever_reads_it_with_its_seq() {
    let mut entries = Place::of_story().entries();
    let entry = entries.iter_mut().find(|entry| text(entry).contains("\"verb\":\"take\"")).unwrap();
    let seq = entry.first_seq;
    entry.line = text(entry).replacen("switchboard.control.passed", "switchboard.control.lent", 1).into_bytes();
    let place = Place::of(&entries);
    let words = format!(
        "event switchboard.control.lent at seq {seq} is not known to this version: use the version that wrote it, or a later one"
    );
    assert!(place.finding().contains(&words), "{}", place.finding());
    let failure = super::fixture::replayed(&place).unwrap_err();
    assert!(failure.contains(&words), "{failure}");
    // It can be moved all the same: an older version keeps what it cannot read.
    imported(&place.exported());
}
