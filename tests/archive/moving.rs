//! An export comes back byte for byte, or not at all.

use std::sync::Arc;

use serde_json::Value;
use switchboard::log::{Directory, DiskLog, Log};

use super::live::{BEGIN, Live};
use super::place::{Place, import_bytes, import_into, imported};
use super::say::*;
use super::story::CONVERSATIONS;

fn states(place: &Place) -> Vec<Value> {
    let mut live = Live::open(&place.path, BEGIN);
    let states = CONVERSATIONS.iter().map(|id| live.state(id)).collect();
    live.stop();
    states
}

fn published_through(place: &Place) -> (u64, u64) {
    let log = DiskLog::open(Arc::new(Directory::open(&place.path).unwrap())).unwrap();
    let head = log.reader().head();
    (head.published_through, head.next_seq - 1)
}

#[test]
fn an_import_exports_as_the_same_bytes() {
    let place = Place::of_story();
    let text = place.exported();
    let again = imported(&text);
    again.assert_good();
    assert_eq!(again.exported(), text);
    assert_eq!(place.entries(), again.entries());
}

#[test]
fn an_imported_log_is_served_as_it_was() {
    let place = Place::of_story();
    let again = imported(&place.exported());
    assert_eq!(states(&place), states(&again));
    again.assert_good();
}

#[test]
fn a_repeat_gets_its_answer_again_after_a_move() {
    let place = Place::of_story();
    let again = imported(&place.exported());
    let mut live = Live::open(&again.path, BEGIN);
    let second = || start("c-2").command_id("second").metadata(serde_json::json!({"kept": true}));
    assert_eq!(live.ask(second())["replayed"], true);
    assert_eq!(live.ask(second().user("other"))["error"]["code"], "command_id_reused");
    live.stop();
}

#[test]
fn what_an_export_does_not_hold_cannot_be_published_from() {
    let text = Place::of_story().exported();
    let place = Place::empty();
    let refused = import_into(&place.path, &text, Some(u64::MAX)).unwrap_err();
    assert_eq!(refused.exit_code(), 64);
    let next = {
        let told = refused.to_string();
        assert!(told.starts_with("--publish-from: expected at most "), "{told}");
        let number = told.trim_start_matches("--publish-from: expected at most ").split(',').next().unwrap();
        number.parse::<u64>().unwrap()
    };
    assert_eq!(import_into(&place.path, &text, Some(next + 1)).unwrap_err().exit_code(), 64, "nothing was left");
    import_into(&place.path, &text, Some(next)).unwrap();
    assert_eq!(published_through(&place).0, next - 1);
}

#[test]
fn what_is_imported_counts_as_published() {
    let text = Place::of_story().exported();
    let (published, last) = published_through(&imported(&text));
    assert_eq!(published, last);
    let place = Place::empty();
    let told = import_into(&place.path, &text, Some(9)).unwrap();
    assert!(told.contains("the next start publishes from seq 9 on"), "{told}");
    assert_eq!(published_through(&place).0, 8);
}

#[test]
fn an_empty_log_moves_too() {
    let place = Place::empty();
    Live::open(&place.path, BEGIN).stop();
    let text = place.exported();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(imported(&text).exported(), text);
}

#[test]
fn an_export_that_was_tampered_with_is_refused_with_the_line() {
    let text = Place::of_story().exported();
    let lines: Vec<&str> = text.lines().collect();
    let (third, last) = (2, lines.len() - 1);
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        lines.join("\n") + "\n"
    };
    let cases = [
        (3, "edited", with(&|l| l[third] = l[third].replacen("\"by\":", "\"by\" :", 1))),
        (3, "edited", with(&|l| l[third] = l[third].replacen("Maria Lind", "Maria Lint", 1))),
        (3, "edited", with(&|l| l[third] = l[third].replacen("{\"entry\"", "{ \"entry\"", 1))),
        (3, "expected an entry", with(&|l| l[third] = "nonsense".into())),
        (3, "seq", with(&|l| l.swap(2, 3))),
        (3, "seq", with(&|l| drop(l.remove(2)))),
        (4, "seq", with(&|l| l.insert(3, l[2].clone()))),
        (last + 1, "cut", with(&|l| drop(l.remove(last)))),
        (last, "lines were lost", with(&|l| drop(l.remove(last - 1)))),
        (last + 1, "cut", text[..text.len() - 1].to_owned()),
        (last + 2, "nothing after", with(&|l| l.push(l[2].clone()))),
        (1, "expected the first line", with(&|l| drop(l.remove(0)))),
        (last + 1, "the check of the key", with(&|l| l[last] = changed_key(&l[last]))),
        (last + 1, "the check of the key", with(&|l| l[last] = without(&l[last], "key"))),
        (last + 1, "the check of the key", with(&|l| l[last] = without(&l[last], "check"))),
        (1, "newer release", with(&|l| l[0] = l[0].replacen("\"format\":2", "\"format\":4", 1))),
        (2, "expected the base", with(&|l| l[0] = l[0].replacen("\"format\":2", "\"format\":3", 1))),
        (1, "newer release", with(&|l| l[0] = l[0].replacen("\"format\":2", "\"format\":0", 1))),
        (1, "CR LF", lines.join("\r\n") + "\r\n"),
        (3, "edited", with(&|l| l[third].push('\r'))),
        (1, "another encoding", format!("\u{feff}{text}")),
        (1, "nothing came", String::new()),
    ];
    let packed = [&[0x1f, 0x8b, 8][..], &[0x28, 0xb5, 0x2f, 0xfd]].map(|start| (1, "unpack it", start.to_vec()));
    let texts = cases.into_iter().map(|(line, words, text)| (line, words, text.into_bytes()));
    for (line, words, changed) in texts.chain(packed) {
        let place = Place::empty();
        let failure = import_bytes(&place.path, &changed, None).unwrap_err();
        assert_eq!(failure.exit_code(), 1, "{failure}");
        let refused = failure.to_string();
        assert!(refused.starts_with(&format!("line {line}: ")) && refused.contains(words), "{words}: {refused}");
        assert!(!place.path.exists(), "something is left after {refused}");
    }
}

fn changed_key(line: &str) -> String {
    let at = line.find("\"key\":\"").unwrap() + 7;
    let digit = if line[at..].starts_with('0') { "1" } else { "0" };
    format!("{}{digit}{}", &line[..at], &line[at + 1..])
}

fn without(line: &str, field: &str) -> String {
    let mut value: Value = serde_json::from_str(line).unwrap();
    value.as_object_mut().unwrap().remove(field).unwrap();
    // As an export writes it: the head, the key, the check.
    let rest = ["key", "check"].iter().filter_map(|name| Some(format!(",\"{name}\":{}", value.get(name)?)));
    let head = line.split_once("},").unwrap().0;
    format!("{head}}}{}}}", rest.collect::<String>())
}

#[test]
fn a_refused_import_leaves_an_empty_directory_empty() {
    let text = Place::of_story().exported();
    let place = Place::empty();
    std::fs::create_dir(&place.path).unwrap();
    import_into(&place.path, &text[..text.len() / 2], None).unwrap_err();
    assert_eq!(std::fs::read_dir(&place.path).unwrap().count(), 0);
    import_into(&place.path, &text, None).unwrap();
}

#[test]
fn an_import_goes_over_nothing() {
    let place = Place::of_story();
    let text = place.exported();
    let refused = import_into(&place.path, &text, None).unwrap_err();
    assert_eq!(refused.exit_code(), 1);
    assert!(refused.to_string().contains("holds a log already"), "{refused}");
    assert_eq!(place.exported(), text);
}
