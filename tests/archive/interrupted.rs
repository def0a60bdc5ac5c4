//! An import that is killed leaves nothing that anybody would take for a log.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::place::{Place, imported};

fn program(arguments: &[&str], data: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SWITCHBOARD_")) {
        program.env_remove(name);
    }
    program.args(arguments).arg("--data").arg(data);
    program
}

fn start_import(data: &Path) -> Child {
    let mut import = program(&["import"], data);
    import.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut import: Child) {
    import.kill().unwrap();
    import.wait().unwrap();
}

/// Exit code and complaint of a command on the directory.
pub fn told(arguments: &[&str], data: &Path) -> (Option<i32>, String) {
    let output = program(arguments, data).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Whatever the moment was: nothing, the mark of an import that did not end, or the whole log.
fn check_left(place: &Place, text: &str) -> &'static str {
    if place.path.join("switchboard.json").exists() {
        place.assert_good();
        assert_eq!(place.exported(), text);
        return "whole";
    }
    if !place.path.join("switchboard.json.import").exists() {
        let left = std::fs::read_dir(&place.path).map_or(0, |files| files.flatten().filter(is_of_a_log).count());
        assert_eq!(left, 0, "a log without a mark");
        return "nothing";
    }
    let nowhere = "nats://127.0.0.1:1";
    for command in [&["serve", "--nats", nowhere][..], &["show", "c-1"], &["replay"], &["verify"], &["export"]] {
        let (code, complaint) = told(command, &place.path);
        assert_eq!(code, Some(1), "{command:?}: {complaint}");
        let words = "holds an import that did not come to its end: remove the directory and import again";
        assert!(complaint.contains(words), "{command:?}: {complaint}");
    }
    let (code, complaint) = told(&["import"], &place.path);
    assert_ne!(code, Some(0), "{complaint}");
    "unfinished"
}

fn is_of_a_log(file: &std::fs::DirEntry) -> bool {
    file.file_name() == "log" || file.file_name().to_string_lossy().starts_with("log.")
}

#[test]
fn an_import_that_is_killed_before_the_last_line_is_served_by_nobody() {
    let text = Place::of_story().exported();
    let place = Place::empty();
    let mut import = start_import(&place.path);
    let half = text.len() / 2;
    import.stdin.as_mut().unwrap().write_all(&text.as_bytes()[..half]).unwrap();
    let began = Instant::now();
    while !place.path.join("log/1/db").exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "the import does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(import);
    assert_eq!(check_left(&place, &text), "unfinished");
    std::fs::remove_dir_all(&place.path).unwrap();
    assert_eq!(imported(&text).exported(), text);
}

#[test]
fn an_import_that_is_killed_at_any_moment_leaves_nothing_or_everything() {
    let text = Place::of_story().exported();
    let began = Instant::now();
    let place = Place::empty();
    let mut import = start_import(&place.path);
    import.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    assert_eq!(check_left(&place, &text), "whole");
    let whole = began.elapsed();
    // A prime number of moments, so that none repeats while the machine's pace changes.
    for moment in 0..13 {
        let place = Place::empty();
        let mut import = start_import(&place.path);
        // Who was killed already hears nothing more.
        let _ = import.stdin.take().unwrap().write_all(text.as_bytes());
        std::thread::sleep(whole * moment / 13);
        kill(import);
        check_left(&place, &text);
    }
}

#[test]
fn a_variable_that_is_empty_is_not_set() {
    let place = Place::of_story();
    let empty = ["NATS", "CREDS", "NKEY", "OWNER", "STATUS", "CONFIG", "CONVERSATION", "TO", "PUBLISH", "FORMAT", "AT"];
    let told = |arguments: &[&str]| {
        let mut program = program(arguments, &place.path);
        let output = program.envs(empty.map(|name| (format!("SWITCHBOARD_{name}"), ""))).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in [&["list"][..], &["show", "c-1"], &["replay"]] {
        assert_eq!(told(arguments), (Some(0), String::new()), "{arguments:?}");
    }
    let (code, complaint) = told(&["show"]);
    assert!(code == Some(64) && complaint.contains("CONVERSATION"), "{complaint}");
    let (code, complaint) = told(&["serve"]);
    assert!(code == Some(64) && complaint.contains("--nats: expected"), "{complaint}");
}
