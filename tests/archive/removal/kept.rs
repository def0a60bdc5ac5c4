//! What a removal must not lose: commands that are repeated later, and everything where it fails half way.

use super::*;

/// However long a session was closed, it goes on at the next message where its channel says so, and so do its commands.
#[test]
fn a_session_that_goes_on_after_a_removal_knows_its_commands() {
    let whole = Place::empty();
    let handed = || pass(agents(), "again-1", "survey").command_id("handed");
    let mut live = story::lived(&whole.path);
    live.go(handed());
    live.go(overrule_end("again-1"));
    assert_eq!(live.state("again-1")["status"], "closed");
    let session = live.state("again-1")["session"].clone();
    live.go_by(2 * DAY);
    live.go(start("between"));
    live.stop();
    seal(&whole);
    let mut live = Live::open(&whole.path, BEGIN);
    live.go(start("after"));
    live.stop();
    let shorter = copied(&whole);
    remove_through(&shorter, 1);
    for place in [&whole, &shorter] {
        let mut live = Live::open(&place.path, BEGIN);
        live.go(message("again-1").by(channel("reopening")));
        assert_eq!(live.state("again-1")["session"], session);
        assert_eq!(live.ask(handed())["replayed"], true);
        live.stop();
        seal(place);
        let mut live = Live::open(&place.path, BEGIN);
        assert_eq!(live.ask(handed())["replayed"], true);
        live.go(start("at-last"));
        live.stop();
        remove_through(place, 2);
        place.assert_good();
    }
    assert_eq!(base_digest(&whole), base_digest(&shorter), "a base of a base is that of the whole");
}

#[test]
#[cfg_attr(feature = "small-volumes", ignore = "volumes are counted")]
fn nothing_is_removed_while_the_directory_is_served() {
    let place = three_volumes();
    let live = Live::open(&place.path, BEGIN);
    let failure = removed_with(&place, Until::Volume(1), None).unwrap_err();
    assert!(failure.to_string().contains("in use by a running switchboard: stop it"), "{failure}");
    live.stop();
    assert!(place.path.join("log/1").exists() && !place.path.join("log/base.json").exists());
    assert_eq!(place.volumes().len(), 3);
}

#[test]
fn a_removal_that_fails_at_its_moment_says_where_it_shows_what_became_of_it() {
    let place = three_volumes();
    let in_the_way = place.path.join("switchboard.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let failure = removed_with(&place, Until::Volume(2), None).unwrap_err().to_string();
    let told = "; it shows at the next start whether the removal counts: switchboard volumes list";
    assert!(failure.ends_with(told), "{failure}");
    fs::remove_dir(&in_the_way).unwrap();
    assert!(place.path.join("log/base.json").exists());
    assert_eq!(first_seq(&place), 1);
    assert!(!place.path.join("log/base.json").exists(), "it came to nothing, and nothing is left of it");
    place.assert_good();
    remove_through(&place, 2);
    place.assert_good();
}

/// Whoever edits an export can make its digest again.
#[test]
fn a_base_that_says_too_little_is_refused_by_verify_and_import() {
    use sha2::{Digest, Sha256};
    let place = three_volumes();
    remove_through(&place, 1);
    let text = place.exported();
    let edited = |edit: &dyn Fn(&str) -> Option<String>| {
        let (mut digest, mut count, mut lines) = (Sha256::new(), 0, Vec::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("{\"key\":\"") {
                let Some(line) = edit(line) else { continue };
                let rest = if line.is_empty() { rest } else { &line[8..] };
                let (key, state) = rest.split_once("\",\"state\":").unwrap();
                digest.update(format!("{key} {}\n", &state[..state.len() - 1]));
                count += 1;
                lines.push(format!("{{\"key\":\"{rest}"));
            } else if line.starts_with("{\"base\"") {
                let mut base: Value = serde_json::from_str(line).unwrap();
                let hex: String = digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                let (old, new) = (base["base"]["digest"].take(), json!(hex));
                let lines_before = format!("\"lines\":{}", base["base"]["lines"]);
                let line = line.replace(old.as_str().unwrap(), new.as_str().unwrap());
                lines.push(line.replace(&lines_before, &format!("\"lines\":{count}")));
            } else {
                lines.push(line.to_owned());
            }
        }
        lines.join("\n") + "\n"
    };
    assert_eq!(edited(&|_| Some(String::new())), text, "nothing edited");
    let without_config = edited(&|line| (!line.contains("\"config\"") && !line.contains("\"puts\"")).then(String::new));
    let orphan = edited(&|line| {
        let is_first = line.starts_with("{\"key\":\"c-1\"");
        Some(if is_first { "{\"key\":\"c-1\",\"state\":{}}".into() } else { String::new() })
    });
    for (changed, why) in [(without_config, "expected the configuration"), (orphan, "expected conversation c-1")] {
        let at = Place::empty();
        let refused = import_into(&at.path, &changed, None).unwrap_err().to_string();
        assert!(refused.contains(why) && !at.path.exists(), "{refused}");
        let file = at.path.with_extension("ndjson");
        fs::write(&file, changed).unwrap();
        let refused = export_file::verify(&file, &mut Vec::new(), Screen::unbounded()).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

/// The cache is wiped before the moment from which a removal counts: a crash in between leaves the whole log without one.
#[test]
fn a_cache_that_is_gone_or_left_at_the_moment_of_a_removal_changes_nothing() {
    let place = three_volumes();
    let before = states(&place);
    let done = copied(&place);
    remove_through(&done, 2);
    let with = |names: &[&str], has_cache: bool| {
        let at = copied(&place);
        for name in names {
            fs::copy(done.path.join(name), at.path.join(name)).unwrap();
        }
        if !has_cache {
            fs::remove_dir_all(at.path.join("cache")).unwrap();
            fs::remove_file(at.path.join("cache.json")).unwrap();
        }
        at
    };
    let prepared: &[&str] = &["log/base.2.zst", "log/base.json"];
    let counts: &[&str] = &["log/base.2.zst", "log/base.json", "switchboard.json"];
    for (names, has_cache, first) in
        [(prepared, false, 1), (counts, false, first_seq(&done)), (counts, true, first_seq(&done))]
    {
        let at = with(names, has_cache);
        assert_eq!((states(&at), first_seq(&at)), (before.clone(), first), "{names:?}, cache {has_cache}");
        assert_eq!(at.path.join("log/1").exists(), first == 1);
        at.assert_good();
    }
}
