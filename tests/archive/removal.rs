//! Old volumes leave the log, and everything goes on as if they were there; what is gone is said to be gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use switchboard::domain::{Refusal, Time};
use switchboard::log::{Cache, Directory, DiskLog, Entry, Log};
use switchboard::switchboard::past::{NoAnswer, answer_past, find_frames};
use switchboard::switchboard::port::{Moment, PastAsk, Span};
use switchboard::switchboard::restore::restore_in_parts;
use switchboard::switchboard::{Archive, PartSizes};
use switchboard::tools::config_file::ConfigFile;
use switchboard::tools::export_file;
use switchboard::tools::failure::Failure;
use switchboard::tools::screen::Screen;
use switchboard::tools::values::TextOrJson;
use switchboard::tools::volumes::{RemoveOptions, Until, list, remove};
use switchboard::tools::what_if::{WhatIfOptions, what_if};

use super::live::{BEGIN, Live};
use super::place::{Place, import_into, imported};
use super::say::*;
use super::story::{self, CONVERSATIONS, PERSONAL};

mod kept;

fn log(place: &Place) -> DiskLog {
    DiskLog::open(Arc::new(Directory::open(&place.path).unwrap())).unwrap()
}

/// The next entry begins a volume.
fn seal(place: &Place) {
    let mut log = log(place);
    log.seal().unwrap();
    let published = log.reader().head().published_through;
    Box::new(log).close(published).unwrap();
}

/// The story in the first volume, a second and a third part in volumes of their own.
fn three_volumes() -> Place {
    let place = Place::empty();
    let mut live = story::lived(&place.path);
    live.go(start("open-1").user("u-open").metadata(json!({"topic": "bill"})).command_id("opened"));
    live.go(offer(bot(), "open-1", "agents", None));
    live.stop();
    seal(&place);
    let mut live = Live::open(&place.path, BEGIN);
    live.later(MINUTE);
    live.go(start("second-1").user("u-second"));
    live.go(pass(bot(), "second-1", "agents"));
    assert_eq!(live.put_as("put-1", &story::config())["outcome"], "applied");
    live.stop();
    seal(&place);
    let mut live = Live::open(&place.path, BEGIN);
    live.later(MINUTE);
    live.go(accept(agents(), "open-1"));
    live.stop();
    place
}

fn copied(place: &Place) -> Place {
    let to = Place::empty();
    let status = std::process::Command::new("cp").arg("-a").arg(&place.path).arg(&to.path).status().unwrap();
    assert!(status.success());
    to
}

fn removed_with(place: &Place, until: Until, export: Option<PathBuf>) -> Result<String, Failure> {
    let mut out = Vec::new();
    remove(&place.path, &RemoveOptions { until, export }, &mut out, Screen::unbounded())?;
    Ok(String::from_utf8(out).unwrap())
}

fn remove_through(place: &Place, volume: u64) -> String {
    removed_with(place, Until::Volume(volume), None).unwrap()
}

fn states(place: &Place) -> Vec<Value> {
    let mut live = Live::open(&place.path, BEGIN);
    let states = CONVERSATIONS.iter().chain(&["open-1", "second-1"]).map(|id| live.state(id)).collect();
    live.stop();
    states
}

/// Commands that rest on what was before, and what they are answered.
fn go_on(place: &Place) -> Vec<Value> {
    let mut live = Live::open(&place.path, BEGIN);
    let mut answers = vec![
        live.ask(start("c-2").command_id("second").metadata(json!({"kept": true}))),
        live.ask(start("c-2").command_id("second").user("other")),
        live.ask(start("open-1").user("u-open").metadata(json!({"topic": "bill"})).command_id("opened")),
        live.ask(message("thread-1").by(channel("thread")).user("u-thread")),
        live.ask(start("c-1").user("again")),
        live.ask(message("again-1").by(channel("reopening"))),
        live.ask(release(agents(), "open-1")),
        live.ask(end("open-1")),
        live.put_as("put-1", &story::config()),
        live.put_as("put-1", &json!({"settings": {}})),
    ];
    live.go_by(3 * HOUR);
    answers.extend(CONVERSATIONS.iter().map(|id| live.state(id)));
    live.stop();
    answers
}

fn base_digest(place: &Place) -> [u8; 32] {
    *log(place).reader().base().expect("a base").digest()
}

fn first_seq(place: &Place) -> u64 {
    log(place).reader().first_seq()
}

fn entries_of(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("{\"entry\"")).collect()
}

#[test]
fn everything_goes_on_as_if_old_volumes_were_there() {
    let place = three_volumes();
    for volume in [1, 2] {
        let (whole, shorter) = (copied(&place), copied(&place));
        let told = remove_through(&shorter, volume);
        assert!(told.contains(&format!("volumes up to {volume}, with seq 1-")), "{told}");
        assert!(!shorter.path.join(format!("log/{volume}")).exists() && shorter.path.join("log/3").exists());
        let told = shorter.assert_good();
        assert!(told.contains(&format!("begins         with seq {}, what was before", first_seq(&shorter))), "{told}");
        assert_eq!(states(&whole), states(&shorter));
        shorter.assert_good();
        let answers = go_on(&whole);
        assert_eq!(answers[0]["replayed"], true, "{}", answers[0]);
        let put = |answer: &Value| (answer["replayed"].clone(), answer["error"]["code"].clone());
        assert_eq!(put(&answers[8]), (json!(true), Value::Null), "{}", answers[8]);
        assert_eq!(put(&answers[9]), (Value::Null, json!("command_id_reused")), "{}", answers[9]);
        assert_eq!(answers, go_on(&shorter), "without volumes up to {volume}");
        assert!([2, 3, 5, 6].iter().all(|at| answers[*at]["outcome"] == "applied"), "{answers:?}");
        whole.assert_good();
        shorter.assert_good();
        let left = entries_of(&shorter.exported()).len();
        assert_eq!(entries_of(&whole.exported())[whole.entries().len() - left..], entries_of(&shorter.exported()));
    }
}

#[test]
fn states_are_the_same_without_the_cache() {
    let place = three_volumes();
    let before = states(&place);
    remove_through(&place, 2);
    assert!(!place.path.join("cache").exists(), "it rests on what was removed");
    for _ in 0..2 {
        assert_eq!(states(&place), before);
        place.assert_good();
        fs::remove_dir_all(place.path.join("cache")).unwrap();
    }
    let mut live = Live::open(&place.path, BEGIN);
    live.go(message("again-1").by(channel("reopening")));
    live.stop();
    assert!(place.assert_good().contains("states as the log has them"));
}

/// What is closed goes to the cache while a long base is read, and what is open to rest.
#[test]
fn a_base_is_restored_in_rounds_of_any_length() {
    let place = three_volumes();
    remove_through(&place, 2);
    let restored = |changed_max| {
        let _ = fs::remove_dir_all(place.path.join("cache"));
        let directory = Arc::new(Directory::open(&place.path).unwrap());
        let reader = DiskLog::open(directory.clone()).unwrap().reader();
        let (cache, through) = Cache::open(directory, &reader).unwrap();
        assert_eq!(through, None);
        let restored = restore_in_parts(&reader, &cache, None, changed_max, PartSizes::default(), |_| {}).unwrap();
        let held = restored.heads().count();
        let mut heads: BTreeMap<String, Vec<u8>> =
            restored.heads().map(|(id, head)| (id.as_str().to_owned(), head)).collect();
        heads.extend(cache.closed_after(None, usize::MAX).map(Result::unwrap));
        (held, heads)
    };
    let ((all, at_once), (few, in_rounds)) = (restored(usize::MAX), restored(1));
    assert_eq!(at_once, in_rounds);
    assert!(all == at_once.len() && few < all, "{few} of {all} stay in memory");
}

#[test]
fn a_base_made_of_a_base_is_the_base_made_of_the_whole() {
    let place = three_volumes();
    let twice = copied(&place);
    remove_through(&twice, 1);
    assert_ne!(states(&twice), Vec::<Value>::new());
    remove_through(&twice, 2);
    remove_through(&place, 2);
    assert_eq!(base_digest(&place), base_digest(&twice));
}

#[test]
fn what_is_removed_stands_in_the_export() {
    let (whole, folder) = (three_volumes(), tempfile::tempdir().unwrap());
    let place = copied(&whole);
    let files = [folder.path().join("one.ndjson"), folder.path().join("two.ndjson")];
    for (volume, file) in (1..).zip(&files) {
        let told = removed_with(&place, Until::Volume(volume), Some(file.clone())).unwrap();
        assert!(told.contains("ndjson: switchboard verify FILE"), "{told}");
        let mut out = Vec::new();
        export_file::verify(file, &mut out, Screen::unbounded()).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("conversations"));
    }
    let texts = files.map(|file| fs::read_to_string(file).unwrap());
    let left = place.exported();
    let all: Vec<&str> = texts.iter().chain([&left]).flat_map(|text| entries_of(text)).collect();
    assert_eq!(all, entries_of(&whole.exported()));
    assert!(texts[0].starts_with("{\"switchboard\":\"log\",\"format\":2,"), "an older release reads it");
    assert!(texts[1].starts_with("{\"switchboard\":\"log\",\"format\":3,"), "an older release refuses it by name");
    for text in &texts {
        let again = imported(text);
        again.assert_good();
        assert_eq!(again.exported(), *text);
    }
}

#[test]
fn a_log_with_a_base_moves_as_it_is() {
    let place = three_volumes();
    remove_through(&place, 2);
    let text = place.exported();
    let again = imported(&text);
    assert_eq!((again.exported(), first_seq(&again)), (text, first_seq(&place)));
    again.assert_good();
    assert_eq!(states(&again), states(&place));
    assert_eq!(go_on(&again), go_on(&place));
    again.assert_good();
    let (text, seq) = (again.exported(), first_seq(&again));
    let refused = import_into(&Place::empty().path, &text, Some(seq - 1)).unwrap_err();
    assert!(refused.to_string().contains(&format!("expected at least {seq}")), "{refused}");
}

#[test]
fn an_edited_base_is_refused_with_its_line_and_leaves_nothing() {
    let place = three_volumes();
    remove_through(&place, 1);
    let text = place.exported();
    let lines: Vec<&str> = text.lines().collect();
    let base = lines.iter().position(|line| line.starts_with("{\"base\"")).unwrap();
    let with = |at: usize, line: Option<String>| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        match line {
            Some(line) => lines[at] = line,
            None => drop(lines.remove(at)),
        }
        lines.join("\n") + "\n"
    };
    let edited = |at: usize, from: &str, to: &str| {
        assert!(lines[at].contains(from), "{}", lines[at]);
        with(at, Some(lines[at].replacen(from, to, 1)))
    };
    let maria = lines.iter().position(|line| line.starts_with("{\"key\":\"c-1\"")).unwrap();
    let cases = [
        (base + 1, edited(maria, "Maria", "Marie")),
        (base, with(maria, None)),
        (base + 2, edited(base, "\"seq\":", "\"seq\":1")),
        (lines.len(), edited(base, "\"at\":18", "\"at\":17")),
        (lines.len(), edited(base, "\"erased\":false", "\"erased\":true")),
        (base + 1, with(base, None)),
        (base + 2, edited(base, &lines[base][lines[base].find("\"hash\"").unwrap()..][..12], "\"hash\":\"0000")),
        (maria + 1, edited(maria, "{\"key\":\"c-1\",\"state\":{", "{\"key\":\"c-1\",\"state\": {")),
        (maria + 1, edited(maria, "{\"key\":\"c-1\"", "{\"key\":\"c-1x\"")),
        (maria + 1, edited(maria, "\"conversation\":{", "\"conversation\":[{")),
        (base, lines[..base - 1].join("\n") + "\n"),
    ];
    for (line, changed) in cases {
        let place = Place::empty();
        let refused = import_into(&place.path, &changed, None).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("line {line}: ")), "line {line}: {refused}");
        assert!(!place.path.exists(), "something is left after {refused}");
        let file = place.path.with_extension("ndjson");
        fs::write(&file, changed).unwrap();
        assert!(export_file::verify(&file, &mut Vec::new(), Screen::unbounded()).is_err());
    }
}

#[test]
fn personal_values_of_a_base_are_erased_too() {
    let place = three_volumes();
    remove_through(&place, 2);
    for value in [PERSONAL[0], PERSONAL[1], "u-open"] {
        assert!(place.exported().contains(value), "{value} is in the base");
    }
    let (text, exported) = place.export(&["c-1", "open-1"]);
    exported.unwrap();
    for value in PERSONAL.iter().chain(&["u-open", "bill"]) {
        assert!(!text.contains(value), "{value} is still there");
    }
    assert!(!text.lines().last().unwrap().contains("\"key\""), "with the secret values could be tried");
    let again = imported(&text);
    again.assert_good();
    assert_eq!(again.exported(), text);
    assert!(!again.exported().lines().last().unwrap().contains("\"key\""), "nor does it leave the copy");
    let mut live = Live::open(&again.path, BEGIN);
    assert_eq!(live.state("c-1")["status"], "closed");
    assert!(live.state("open-1")["user"].as_str().unwrap().starts_with("redacted:"));
    live.stop();
    again.assert_good();
    // Of this one only the base is left, and no entry.
    let (text, exported) = place.export(&["c-1"]);
    exported.unwrap();
    assert!(!text.contains(PERSONAL[0]) && !text.lines().last().unwrap().contains("\"key\""));
    let copy = imported(&text).exported();
    assert!(copy == text, "nor does the secret of the copy leave it");
    let (_, exported) = place.export(&["c-1", "c-99"]);
    assert!(exported.unwrap_err().to_string().contains("got c-99"));
}

fn asked(place: &Place, ask: &PastAsk) -> Result<Value, String> {
    let archive = Archive { reader: log(place).reader(), cache: None, key: [0; 32] };
    let id = conversation("open-1");
    let frames = find_frames(&archive.reader, Some(&id)).unwrap();
    match answer_past(ask, &frames, &archive) {
        Ok(body) => Ok(serde_json::from_slice(&body).unwrap()),
        Err(NoAnswer::Refused(Refusal::BadRequest(text))) => Err(text),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_past_is_as_it_was_and_what_was_before_is_said_to_be_gone() {
    let whole = three_volumes();
    let place = copied(&whole);
    remove_through(&place, 2);
    let (first, last) = (first_seq(&place), log(&place).reader().head().next_seq - 1);
    let began = Time(log(&place).reader().beginning().last_at);
    let at = |at| PastAsk::Conversation { id: conversation("open-1"), at };
    for seq in first..=last {
        let seq = Moment::Seq(seq);
        assert_eq!(asked(&place, &at(seq)), asked(&whole, &at(seq)), "{seq:?}");
        assert_eq!(asked(&place, &PastAsk::Config { at: seq }), asked(&whole, &PastAsk::Config { at: seq }));
    }
    let moment = Moment::Time(began);
    assert_eq!(asked(&place, &at(moment)), asked(&whole, &at(moment)));
    let words = format!("at_seq: expected at least {first}, got {}: the events before were removed", first - 1);
    assert!(asked(&place, &at(Moment::Seq(first - 1))).unwrap_err().starts_with(&words));
    assert!(asked(&place, &PastAsk::Config { at: Moment::Seq(1) }).is_err());
    let before = asked(&place, &at(Moment::Time(Time(began.0 - 1)))).unwrap_err();
    assert!(before.starts_with(&format!("at: expected {began} or later")), "{before}");
    let span = |from_seq| Span { from_seq, limit: 1000, ..Span::default() };
    let history = |from_seq| PastAsk::History { id: Some(conversation("open-1")), span: span(from_seq) };
    for ask in [history(Some(first)), PastAsk::Log { span: span(Some(first)) }] {
        assert_eq!(asked(&place, &ask), asked(&whole, &ask));
    }
    assert_eq!(asked(&place, &history(None)), asked(&whole, &history(Some(first))));
    for ask in [history(Some(1)), PastAsk::Log { span: span(Some(first - 1)) }] {
        assert!(asked(&place, &ask).unwrap_err().starts_with("from_seq: expected at least"));
    }
}

#[test]
#[cfg_attr(feature = "small-volumes", ignore = "volumes are counted")]
fn what_cannot_be_removed_stays() {
    let (place, folder) = (three_volumes(), tempfile::tempdir().unwrap());
    let refused = |until, export: Option<&Path>| {
        let failure = removed_with(&place, until, export.map(Path::to_owned)).unwrap_err();
        (failure.exit_code(), failure.to_string())
    };
    for number in [3, 4] {
        let (code, text) = refused(Until::Volume(number), None);
        assert!(code == 64 && text.contains("expected one that is sealed, from 1 to 2, got"), "{text}");
    }
    let there = folder.path().join("there");
    fs::write(&there, "mine").unwrap();
    assert!(refused(Until::Volume(1), Some(&there)).1.contains("is there already"));
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
    let nowhere = folder.path().join("no/file");
    assert!(refused(Until::Volume(1), Some(&nowhere)).1.contains("cannot create"));
    let told = removed_with(&place, Until::Time(Time(1)), None).unwrap();
    assert!(told.contains("nothing is removed"), "{told}");
    assert_eq!((first_seq(&place), place.volumes().len()), (1, 3));
    let ends = log(&place).listed().unwrap()[0].end.last_at;
    removed_with(&place, Until::Time(Time(ends + 1)), None).unwrap();
    assert_eq!(log(&place).listed().unwrap()[0].number, 2);
    let (code, text) = refused(Until::Volume(1), None);
    assert!(code == 64 && text.contains("from 2 to 2, got 1"), "{text}");
}

#[test]
fn what_nobody_heard_of_yet_is_not_removed() {
    let text = three_volumes().exported();
    let place = Place::empty();
    import_into(&place.path, &text, Some(3)).unwrap();
    seal(&place);
    let failure = removed_with(&place, Until::Volume(1), None).unwrap_err();
    assert!(failure.to_string().starts_with("events from seq 3 to"), "{failure}");
    assert_eq!(first_seq(&place), 1);
}

#[test]
fn what_does_not_verify_is_not_removed() {
    let (place, folder) = (three_volumes(), tempfile::tempdir().unwrap());
    place.tamper(2, |mut bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        Some(bytes)
    });
    let file = folder.path().join("file");
    let failure = removed_with(&place, Until::Volume(1), Some(file)).unwrap_err();
    assert!(failure.exit_code() == 2 && failure.to_string().contains("nothing is removed"), "{failure}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no half of an export is left");
    assert!(place.path.join("log/1").exists() && !place.path.join("log/base.json").exists());
}

#[test]
fn an_older_release_refuses_the_directory_by_its_format() {
    let place = three_volumes();
    let format = |place: &Place| fs::read_to_string(place.path.join("switchboard.json")).unwrap();
    assert!(format(&place).contains("\"format\": 4"));
    remove_through(&place, 1);
    assert!(format(&place).contains("\"format\": 5"));
    states(&place);
    assert!(format(&place).contains("\"format\": 5"), "it stays so");
    assert!(format(&imported(&place.exported())).contains("\"format\": 5"));
}

#[test]
#[cfg_attr(feature = "small-volumes", ignore = "volumes are counted")]
fn volumes_are_listed_with_what_is_gone() {
    let place = three_volumes();
    remove_through(&place, 1);
    let told = |format| {
        let mut out = Vec::new();
        list(&place.path, format, &mut out, Screen::unbounded()).unwrap();
        String::from_utf8(out).unwrap()
    };
    let text = told(TextOrJson::Text);
    let states: Vec<&str> = text.lines().filter_map(|line| line.rsplit("  ").next()).collect();
    assert_eq!(states[..4], ["state", "removed", "sealed", "written to"], "{text}");
    let value: Value = serde_json::from_str(&told(TextOrJson::Json)).unwrap();
    let first = first_seq(&place);
    assert_eq!((&value["removed"]["through"], &value["removed"]["last_seq"]), (&json!(1), &json!(first - 1)));
    assert_eq!((&value["volumes"][0]["volume"], &value["volumes"][0]["first_seq"]), (&json!(2), &json!(first)));
    assert!(value["volumes"][1]["bytes"].as_u64().unwrap() > 0);
}

#[test]
#[cfg_attr(feature = "small-volumes", ignore = "volumes are counted")]
fn sessions_under_way_where_the_log_begins_are_not_compared() {
    let place = three_volumes();
    remove_through(&place, 1);
    go_on(&place);
    let file = place.path.with_extension("toml");
    fs::write(&file, "[settings]\ndefault_integration = \"other\"\n[[integration]]\nname = \"other\"\n").unwrap();
    let options =
        WhatIfOptions { data: place.path.clone(), config: ConfigFile::read(&file).unwrap(), format: TextOrJson::Json };
    let mut out = Vec::new();
    assert_eq!(what_if(&options, &mut out, Screen::unbounded()).unwrap_err().exit_code(), 2);
    let told: Value = serde_json::from_slice(&out).unwrap();
    let ids: Vec<&str> =
        told["sessions"].as_array().unwrap().iter().map(|s| s["conversation"].as_str().unwrap()).collect();
    assert!(ids.contains(&"second-1") && !ids.contains(&"open-1"), "{ids:?}");
}

#[test]
fn each_entry_is_in_the_export_or_in_the_log() {
    let whole = three_volumes();
    let place = copied(&whole);
    let before: Vec<Entry> = whole.entries();
    remove_through(&place, 2);
    let after = place.entries();
    assert!(!after.is_empty() && before.ends_with(&after));
}
