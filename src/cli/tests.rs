//! What command lines come to, and what is said of bad ones.

use super::*;
use crate::domain::Name;
use crate::tools::export::Origin;
use crate::tools::nats::Login;
use crate::tools::operator::Verb;
use crate::tools::replay::{Output, Scope};
use crate::tools::source::Place;
use crate::tools::values::Speed;
use crate::tools::volumes::{RemoveOptions, Until, What};

fn parse_in(line: &str, environment: &[(&str, &str)]) -> Result<Command, Stop> {
    let words = std::iter::once("switchboard").chain(line.split_whitespace()).map(OsString::from);
    let set = |name: &str| environment.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
    super::parse(words, &set)
}

fn faults(line: &str) -> Vec<String> {
    match parse_in(line, &[]) {
        Err(Stop::Faults { faults, .. }) => faults,
        other => panic!("expected faults of {line:?}, got {other:?}"),
    }
}

#[test]
fn serve_takes_its_defaults() {
    let Ok(Command::Serve(options)) = parse_in("serve --nats nats://localhost:4222 --data d", &[]) else {
        panic!("expected serve")
    };
    assert_eq!((options.queue, options.events, options.log_format), (16_384, Events::Core, TextOrJson::Text));
    assert_eq!((options.access.prefix.as_str(), options.reply_prefix.as_str()), ("switchboard", "_INBOX"));
    assert_eq!(options.access.inbox_prefix, "_INBOX");
}

#[test]
fn events_are_carried_by_core_or_jetstream() {
    let Ok(Command::Serve(options)) = parse_in("serve --nats nats://localhost --data d --events jetstream", &[]) else {
        panic!("expected serve")
    };
    assert_eq!(options.events, Events::JetStream);
    assert!(faults("serve --nats nats://localhost --data d --events tape")[0].contains("core or jetstream"));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let told = faults("serve --queue 0 --http here --events tape --prefix a.*");
    let named: Vec<&str> = told.iter().filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(named, ["--prefix", "--nats", "--data", "--http", "--events", "--queue"]);
}

#[test]
fn faults_of_the_configuration_stand_beside_those_of_the_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("switchboard.toml");
    std::fs::write(&path, "[settings]\nreopen = 1\nno_such = 2\n").unwrap();
    let told = faults(&format!("serve --nats nats://localhost --config {}", path.display()));
    assert_eq!(told.iter().filter(|fault| fault.contains("switchboard.toml: ")).count(), 2, "{told:?}");
    assert!(told.iter().any(|fault| fault.starts_with("--data: ")), "{told:?}");
}

#[test]
fn bad_usage_exits_with_64_and_help_with_0() {
    for line in ["", "nonsense", "show", "show c-1 --no-such", "show c-1 --at"] {
        let stop = parse_in(line, &[]).unwrap_err();
        let Stop::Parser(error) = &stop else { panic!("expected the parser to stop {line:?}") };
        assert!(error.use_stderr(), "{line:?}");
        assert_eq!(stop.tell(), 64, "{line:?}");
    }
    for line in ["--help", "--version", "replay --help"] {
        let Err(Stop::Parser(error)) = parse_in(line, &[]) else { panic!("expected {line:?} to tell") };
        assert!(!error.use_stderr(), "{line:?}");
    }
}

#[test]
fn a_place_is_a_server_or_a_directory() {
    let Ok(Command::Show(options)) = parse_in("show c-1 --data d --at 1042", &[]) else { panic!("expected show") };
    assert_eq!(options.place, Place::Directory("d".into()));
    assert!(faults("show c-1")[0].contains("got neither"));
    assert!(faults("show c-1 --nats nats://localhost --data d")[0].contains("exclude each other"));
}

#[test]
fn a_replay_may_read_a_directory_and_publish_on_a_server() {
    let line = "replay --data d --nats nats://localhost --publish trial --speed 60 --type control.passed";
    let Ok(Command::Replay(options)) = parse_in(line, &[]) else { panic!("expected replay") };
    assert_eq!(options.place, Place::Directory("d".into()));
    assert!(matches!(&options.output, Output::Publish { prefix, .. } if prefix == "trial"));
    assert_eq!((options.speed, options.types), (Speed::Times(60.0), vec!["switchboard.control.passed".to_owned()]));
    assert!(faults("replay --data d --publish trial")[0].contains("--nats"));
}

#[test]
fn a_replay_is_never_published_onto_the_service() {
    for prefix in ["switchboard", "switchboard.trial"] {
        let told = faults(&format!("replay --nats nats://localhost --publish {prefix}"));
        assert!(told[0].contains("apart from the service's own"), "{told:?}");
    }
    let told = faults("replay --nats nats://localhost --prefix acme.board --publish acme");
    assert!(told[0].contains("apart from the service's own"), "{told:?}");
}

#[test]
fn the_events_of_the_configuration_have_a_name() {
    let Ok(Command::Replay(options)) = parse_in("replay --data d --conversation _config", &[]) else {
        panic!("expected replay")
    };
    assert_eq!(options.scope, Scope::Config);
}

#[test]
fn secrets_stand_in_the_environment_and_name_the_inbox() {
    let environment = [("SWITCHBOARD_NATS_USER", "alice"), ("SWITCHBOARD_NATS_PASSWORD", "secret")];
    let Ok(Command::List(options)) = parse_in("list --nats nats://localhost", &environment) else {
        panic!("expected list")
    };
    let Place::Nats(access) = options.place else { panic!("expected a server") };
    assert_eq!(access.login, Login::Password { user: "alice".into(), password: "secret".into() });
    assert_eq!(access.inbox_prefix, "_INBOX.alice");
    assert!(!format!("{access:?}").contains("secret"));
}

#[test]
fn one_way_to_log_in_is_enough() {
    let environment = [("SWITCHBOARD_TOKEN", "t"), ("SWITCHBOARD_USER", "alice")];
    let Err(Stop::Faults { faults, .. }) = parse_in("list --nats nats://localhost --creds /dev/null", &environment)
    else {
        panic!("expected faults")
    };
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn a_login_that_cannot_be_read_is_told_before_anything_is_begun() {
    let told = faults("serve --nats nats://localhost --data d --creds no/such --queue many");
    assert_eq!((told.len(), told[0].contains("--creds: cannot read no/such")), (2, true), "{told:?}");
    assert!(faults("list --nats nats://localhost --nkey no/such")[0].contains("--nkey: cannot read no/such"));
    assert!(faults("list --nats nats://localhost --creds src")[0].contains("--creds: cannot read src"));
    let told = faults("serve --data d --nats nats://localhost --creds Cargo.toml --nkey Cargo.toml").join("\n");
    for fault in [
        "--creds: Cargo.toml: expected credentials of a user",
        "--nkey: Cargo.toml: expected the seed of a user's nkey",
    ] {
        assert!(told.contains(fault), "{told}");
    }
}

#[test]
fn an_operator_is_who_uses_the_system() {
    let operator = |user: &str| match parse_in("operator end c-1 --nats nats://localhost", &[("USER", user)]) {
        Ok(Command::Operator(options)) => (options.operator, options.actor),
        other => panic!("expected operator, got {other:?}"),
    };
    assert_eq!(operator("alice"), (Name::parse("alice").unwrap(), Some("alice".into())));
    assert_eq!(operator("al.ice"), (Name::parse("operator").unwrap(), Some("al.ice".into())));
}

#[test]
fn a_log_is_examined_and_moved_in_its_directory() {
    let Ok(Command::Verify(options)) = parse_in("verify --data d", &[]) else { panic!("expected verify") };
    assert_eq!(options.data, PathBuf::from("d"));
    let Ok(Command::Export(options)) = parse_in("export --data d --redact c-1 --redact c-2,c-3", &[]) else {
        panic!("expected export")
    };
    let redact: Vec<&str> = options.redact.iter().map(|id| id.as_str()).collect();
    assert_eq!(redact, ["c-1", "c-2", "c-3"]);
    let Ok(Command::Import(options)) = parse_in("import --data d --publish-from 42", &[]) else {
        panic!("expected import")
    };
    assert_eq!(options.publish_from, Some(42));
}

#[test]
fn what_would_erase_nothing_or_publish_nothing_is_told() {
    for line in ["verify", "import"] {
        assert!(faults(line)[0].starts_with("--data: "), "{line}");
    }
    assert!(faults("export")[0].starts_with("expected --nats URL"));
    assert!(faults("export --data d --redact _config")[0].starts_with("--redact: "));
    assert!(faults("import --data d --publish-from 0")[0].starts_with("--publish-from: "));
}

#[test]
fn an_empty_value_on_the_command_line_is_told_by_its_name_and_never_taken_for_none() {
    let empty = |line: &str, places: &[&str]| {
        let words = line.split_whitespace().map(|word| if word == "''" { "" } else { word });
        let stop = super::parse(std::iter::once("switchboard").chain(words).map(OsString::from), &|_| None);
        let Err(Stop::Faults { faults, .. }) = stop else { panic!("expected faults of {line:?}, got {stop:?}") };
        let of_empty = |fault: &String| fault.split(": expected a value, got an empty one").next().map(str::to_owned);
        let named: Vec<String> = faults.iter().filter(|fault| fault.contains("empty")).filter_map(of_empty).collect();
        assert_eq!((named.len(), faults.len()), (places.len(), places.len()), "{line}: {faults:?}");
        assert!(named.iter().all(|name| places.contains(&name.as_str())), "{line}: {faults:?}");
    };
    empty("export --data d --redact ''", &["--redact"]);
    empty("export --data d --redact c-1,,c-2", &["--redact"]);
    empty("replay --data d --conversation '' --type= --from= --to=", &["--conversation", "--type", "--from", "--to"]);
    empty("list --data d --owner= --channel= --status '' --idle=", &["--owner", "--channel", "--status", "--idle"]);
    empty("show --data d ''", &["CONVERSATION"]);
    empty("operator pass c --nats nats://localhost --to= --reason=", &["--to", "--reason"]);
    empty("replay --nats nats://localhost --publish=", &["--publish"]);
    empty("volumes --data d list --format=", &["--format"]);
    empty("serve --nats= --data d --http=", &["--nats", "--http"]);
    for (line, name) in [("verify --data=", "--data"), ("list --creds=", "--creds"), ("serve --config=", "--config")] {
        let Err(Stop::Parser(error)) = parse_in(line, &[]) else { panic!("expected the parser to stop {line:?}") };
        assert!(error.use_stderr() && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_login_in_the_address_of_a_server_is_told_where_to_stand_and_not_shown() {
    for address in ["nats://alice:secret@localhost", "nats://secret@localhost:4222", "tls://a,nats://:secret@b"] {
        let told = faults(&format!("serve --data d --nats {address}"));
        assert!(told.len() == 1 && told[0].starts_with("--nats: "), "{told:?}");
        assert!(["_USER", "_PASSWORD", "_TOKEN"].iter().all(|name| told[0].contains(&format!("SWITCHBOARD{name}"))));
        assert!(!told[0].contains("secret"), "{told:?}");
    }
}

#[test]
fn answers_may_not_go_below_the_services_own_prefix() {
    let told = |prefix: &str, reply_prefix: &str| {
        let line = format!("serve --nats nats://localhost --data d --prefix {prefix} --reply-prefix {reply_prefix}");
        match parse_in(&line, &[]) {
            Err(Stop::Faults { faults, .. }) => faults,
            _ => Vec::new(),
        }
    };
    for (prefix, reply_prefix) in
        [("switchboard", "switchboard"), ("switchboard", "switch"), ("acme.board", "acme"), ("acme.board", "a")]
    {
        let told = told(prefix, reply_prefix);
        assert!(told.len() == 1 && told[0].starts_with("--reply-prefix: "), "{prefix} {reply_prefix}: {told:?}");
    }
    for (prefix, reply_prefix) in
        [("switchboard", "_INBOX"), ("switchboard", "switchboard-replies"), ("acme.board", "board")]
    {
        assert_eq!(told(prefix, reply_prefix), Vec::<String>::new(), "{prefix} {reply_prefix}");
    }
    let with_others = faults("serve --prefix acme.board --reply-prefix acme");
    for name in ["--nats: ", "--data: ", "--reply-prefix: "] {
        assert!(with_others.iter().any(|fault| fault.starts_with(name)), "{name}{with_others:?}");
    }
}

#[test]
fn what_if_reads_the_other_configuration_and_tells_all_that_is_wrong_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.toml");
    std::fs::write(&path, "[settings]\nreopen = true\n").unwrap();
    let line = format!("what-if --config {} --data d --format json", path.display());
    let Ok(Command::WhatIf(options)) = parse_in(&line, &[]) else { panic!("expected what-if") };
    assert!(options.config.document.settings.reopen);
    assert_eq!((options.data, options.format), (PathBuf::from("d"), TextOrJson::Json));
    std::fs::write(&path, "[settings]\nreopen = 1\nno_such = 2\n").unwrap();
    let told = faults(&format!("what-if --config {} --format tape", path.display()));
    assert_eq!(told.iter().filter(|fault| fault.contains("other.toml: ")).count(), 2, "{told:?}");
    assert!(told.iter().any(|fault| fault.starts_with("--data: ")), "{told:?}");
    assert!(told.iter().any(|fault| fault.starts_with("--format: ")), "{told:?}");
    assert!(faults("what-if --data d")[0].starts_with("--config: "));
}

#[test]
fn a_running_service_is_exported_by_an_operator() {
    let origin = |line: &str, environment: &[(&str, &str)]| match parse_in(line, environment) {
        Ok(Command::Export(options)) => options.origin,
        other => panic!("{line}: {other:?}"),
    };
    let operator = |origin| match origin {
        Origin::Service(service) => service.operator.to_string(),
        Origin::Directory(path) => panic!("{path:?}"),
    };
    assert_eq!(origin("export --data d", &[]), Origin::Directory("d".into()));
    assert_eq!(operator(origin("export --nats nats://localhost --as ops", &[])), "ops");
    let login = [("SWITCHBOARD_USER", "alice"), ("SWITCHBOARD_PASSWORD", "secret")];
    assert_eq!(operator(origin("export --nats nats://localhost", &login)), "alice");
    assert_eq!(operator(origin("export --nats nats://localhost", &[])), "operator");
}

#[test]
fn a_pass_says_to_whom() {
    let line = "operator pass c-1 --to agents --as ops --nats nats://localhost";
    let Ok(Command::Operator(options)) = parse_in(line, &[]) else { panic!("expected operator") };
    assert_eq!(options.verb, Verb::Pass { to: Name::parse("agents").unwrap() });
    assert!(faults("operator pass c-1 --nats nats://localhost")[0].starts_with("--to: "));
}

#[test]
fn bench_takes_several_loads_and_its_own_defaults() {
    let Ok(Command::Bench(options)) = parse_in("bench --in-flight 1,64 --rate 5000 --beside floor", &[]) else {
        panic!("expected bench")
    };
    assert_eq!((options.in_flight.as_slice(), options.rates.as_slice()), ([1, 64].as_slice(), [5000].as_slice()));
    assert_eq!(options.beside, [crate::tools::bench::Beside::Floor]);
    assert_eq!((options.access.is_none(), options.with_ids, options.rounds), (true, true, 3));
    let told = faults("bench --in-flight 0 --rate x --round soon --beside tape");
    let named: Vec<&str> = told.iter().filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(named, ["--in-flight", "--rate", "--round", "--beside"]);
}

#[test]
fn volumes_are_listed_or_removed_with_a_copy_or_none_said_so() {
    for line in ["volumes --data d list", "volumes list --data d"] {
        let Ok(Command::Volumes(options)) = parse_in(line, &[]) else { panic!("expected volumes of {line}") };
        assert_eq!((options.data, options.what), (PathBuf::from("d"), What::List(TextOrJson::Text)));
    }
    let removal = |line: &str| match parse_in(line, &[]) {
        Ok(Command::Volumes(VolumesOptions { what: What::Remove(options), .. })) => options,
        other => panic!("expected a removal of {line:?}, got {other:?}"),
    };
    let through = removal("volumes remove --data d --through 3 --export f");
    assert_eq!(through, RemoveOptions { until: Until::Volume(3), export: Some("f".into()) });
    let before = removal("volumes remove --data d --before 2026-01-31T12:00:00Z --without-export");
    assert!(matches!(before, RemoveOptions { until: Until::Time(_), export: None }));
    let told = faults("volumes remove");
    assert!(told.len() == 3 && told[0].starts_with("--data") && told[2].contains("--without-export"), "{told:?}");
    for line in ["--through 0 --export f", "--through 1 --before 2026-01-31T12:00:00Z --export f"] {
        assert_eq!(faults(&format!("volumes remove --data d {line}")).len(), 1, "{line}");
    }
    assert_eq!(faults("volumes remove --data d --through 1 --export f --without-export").len(), 1);
}

#[test]
fn a_file_or_a_directory_is_verified() {
    assert_eq!(parse_in("verify log.ndjson", &[]).unwrap(), Command::VerifyFile("log.ndjson".into()));
    assert_eq!(faults("verify log.ndjson --data d").len(), 1);
    assert_eq!(faults("verify").len(), 1);
}
