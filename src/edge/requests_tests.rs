//! Every verb's body, and every fault of form.

use super::*;
use crate::domain::Time;
use crate::domain::metadata::Scalar;

fn ok(endpoint: Endpoint, tail: &str, body: &str) -> Request {
    parse(endpoint, tail, Headers::default(), body.as_bytes())
        .unwrap_or_else(|refusal| panic!("{tail} {body}: {refusal:?}"))
}

fn refused(endpoint: Endpoint, tail: &str, body: &str) -> String {
    match parse(endpoint, tail, Headers::default(), body.as_bytes()) {
        Err(refusal) => {
            assert_eq!(refusal.code(), "bad_request", "{tail} {body}");
            refusal.message()
        }
        Ok(request) => panic!("{tail} {body}: {request:?}"),
    }
}

fn command_of(request: Request) -> CommandAsk {
    match request.ask {
        Ask::Command(ask) => *ask,
        other => panic!("expected a command, got {other:?}"),
    }
}

fn past_of(request: Request) -> PastAsk {
    match request.ask {
        Ask::Past(ask) => *ask,
        other => panic!("expected a question about the past, got {other:?}"),
    }
}

fn recorded(ask: &CommandAsk) -> &str {
    std::str::from_utf8(ask.body.fields()).unwrap()
}

fn personal(ask: &CommandAsk) -> Vec<&str> {
    let values = ask.body.personal().iter();
    values.map(|value| &recorded(ask)[value.start as usize..value.end as usize]).collect()
}

fn text(text: &str) -> Option<Text> {
    Some(text.into())
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn patch(key: &str, value: &str) -> Patch {
    [(Text::from(key), Some(Scalar::Text(value.into())))].into_iter().collect()
}

#[test]
fn each_verb_of_channels_is_read() {
    let start = r#"{"user":"u","owner":"bot","metadata":{"a":"b"},"continued_from":"c0"}"#;
    let cases = [
        (
            "start",
            start,
            ChannelCommand::Start {
                user: text("u"),
                owner: Some(name("bot")),
                metadata: patch("a", "b"),
                continued_from: text("c0"),
            },
        ),
        (
            "message",
            r#"{"message_id":"m","user":"u","content":{"text":"hi"},"sent_at":"2026-01-31T12:00:00Z"}"#,
            ChannelCommand::Message {
                message_id: text("m"),
                user: text("u"),
                sent_at: Some(SentAt::parse("2026-01-31T12:00:00Z").unwrap()),
            },
        ),
        (
            "end",
            r#"{"last_message_id":"m","reason":"done"}"#,
            ChannelCommand::End { last_message_id: text("m"), reason: text("done") },
        ),
        ("end", "", ChannelCommand::End { last_message_id: None, reason: None }),
    ];
    for (verb, body, expected) in cases {
        let ask = command_of(ok(Endpoint::Channel, &format!("web.{verb}.c"), body));
        assert_eq!(ask.command, Command::Channel(expected));
    }
}

#[test]
fn each_verb_of_integrations_is_read() {
    let (metadata, reason) = (patch("a", "b"), text("why"));
    let both = r#""reason":"why","metadata":{"a":"b"}"#;
    let cases = [
        (
            "pass",
            format!(r#"{{"to":"next",{both}}}"#),
            IntegrationCommand::Pass { to: Target::Next, reason: reason.clone(), metadata: metadata.clone() },
        ),
        (
            "offer",
            format!(r#"{{"to":"desk","expires_in":"2m",{both}}}"#),
            IntegrationCommand::Offer {
                to: Target::Name(name("desk")),
                reason: reason.clone(),
                expires_in_ms: Some(120_000),
                metadata: metadata.clone(),
            },
        ),
        ("accept", r#"{"metadata":{"a":"b"}}"#.into(), IntegrationCommand::Accept { metadata: metadata.clone() }),
        ("decline", r#"{"reason":"why"}"#.into(), IntegrationCommand::Decline { reason: reason.clone() }),
        ("withdraw", "{}".into(), IntegrationCommand::Withdraw),
        (
            "take",
            format!("{{{both}}}"),
            IntegrationCommand::Take { reason: reason.clone(), metadata: metadata.clone() },
        ),
        (
            "release",
            format!(r#"{{"last_message_id":"m",{both}}}"#),
            IntegrationCommand::Release { reason: reason.clone(), metadata, last_message_id: text("m") },
        ),
        ("reply", r#"{"message_id":"m","content":"hi"}"#.into(), IntegrationCommand::Reply { message_id: text("m") }),
        (
            "end",
            r#"{"last_message_id":"m","reason":"why"}"#.into(),
            IntegrationCommand::End { last_message_id: text("m"), reason },
        ),
    ];
    for (verb, body, expected) in cases {
        let ask = command_of(ok(Endpoint::Integration, &format!("bot.{verb}.c"), &body));
        assert_eq!(ask.command, Command::Integration(expected));
    }
}

#[test]
fn each_verb_of_operators_is_read() {
    let cases = [
        (
            "pass",
            r#"{"to":"desk","reason":"r"}"#,
            OperatorCommand::Pass { to: Target::Name(name("desk")), reason: text("r") },
        ),
        ("release", "{}", OperatorCommand::Release { reason: None }),
        ("end", r#"{"reason":"r"}"#, OperatorCommand::End { reason: text("r") }),
    ];
    for (verb, body, expected) in cases {
        let ask = command_of(ok(Endpoint::Operator, &format!("ann.{verb}.c"), body));
        assert_eq!(ask.command, Command::Operator(expected));
    }
}

#[test]
fn every_command_may_say_what_it_expects_and_who_is_behind_it() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = Headers { command_id: Some("id 1"), traceparent: Some(trace) };
    let body =
        br#"{"to":"desk","actor":"Ann","expected_epoch":3,"expected_version":7,"reason":"r","metadata":{"k":null}}"#;
    let request = parse(Endpoint::Integration, "bot.pass.c", headers, body).unwrap();
    assert_eq!(request.by, By::caller(Role::Integration, name("bot"), text("Ann")));
    let ask = command_of(request);
    assert_eq!(ask.expected, Expected { epoch: Some(3), version: Some(7) });
    assert_eq!(recorded(&ask), r#""to":"desk","reason":"r","metadata":{"k":null}"#);
    assert_eq!(personal(&ask), [r#""r""#, r#"{"k":null}"#]);
    assert_eq!((ask.command_id, ask.traceparent), (text("id 1"), text(trace)));
    let canonical =
        r#"{"actor":"Ann","expected_epoch":3,"expected_version":7,"metadata":{"k":null},"reason":"r","to":"desk"}"#;
    assert_eq!(ask.body.canonical(), canonical.as_bytes());
}

#[test]
fn content_is_kept_as_it_came_and_never_recorded() {
    let ask = command_of(ok(Endpoint::Channel, "web.message.c", r#"{"content": {"b": 1,  "a":[1.0]}}"#));
    assert_eq!(recorded(&ask), "");
    assert_eq!(ask.content.unwrap().get(), r#"{"b": 1,  "a":[1.0]}"#);
    let null = command_of(ok(Endpoint::Integration, "bot.reply.c", r#"{"content":null}"#));
    assert_eq!(null.content.unwrap().get(), "null");
}

#[test]
fn each_fault_of_a_body_names_its_field() {
    let long = |key: &str, bytes: usize| format!(r#"{{"{key}":"{}"}}"#, "x".repeat(bytes));
    let content = format!(r#"{{"content":"{}"}}"#, "x".repeat(CONTENT_BYTES_MAX));
    let cases: &[(Endpoint, &str, &str, &str)] = &[
        (Endpoint::Channel, "web.start.c", "[1]", "body: expected a JSON object, got [1]"),
        (Endpoint::Channel, "web.start.c", "{", "body: expected a JSON object: EOF"),
        (Endpoint::Channel, "web.start.c", "{} {}", "body: expected a JSON object: trailing"),
        (Endpoint::Channel, "web.start.c", r#"{"usr":"u"}"#, r#"unknown field "usr"; known here: owner"#),
        (Endpoint::Channel, "web.start.c", r#"{"user":7}"#, "user: expected a string, got 7"),
        (Endpoint::Channel, "web.start.c", r#"{"user":null}"#, "user: expected a string, got null"),
        (Endpoint::Channel, "web.start.c", r#"{"user":"a","user":"b"}"#, r#"the key "user" stands twice"#),
        (Endpoint::Channel, "web.start.c", r#"{"user":"a","us\u0065r":"b"}"#, r#"the key "user" stands twice"#),
        (Endpoint::Channel, "web.start.c", &long("user", 257), "user: expected at most 256 bytes, got 257"),
        (Endpoint::Channel, "web.start.c", &long("continued_from", 257), "continued_from: expected at most 256"),
        (
            Endpoint::Channel,
            "web.start.c",
            r#"{"owner":"next"}"#,
            "owner: expected the name of an integration, got \"next\"",
        ),
        (Endpoint::Channel, "web.start.c", r#"{"metadata":[]}"#, "metadata: expected an object"),
        (Endpoint::Channel, "web.start.c", r#"{"metadata":{"a":{}}}"#, "metadata.a: expected a string, a finite"),
        (Endpoint::Channel, "web.start.c", r#"{"metadata":{"a":1,"a":2}}"#, "metadata: expected an object without"),
        (Endpoint::Channel, "web.start.c", r#"{"metadata":{"a":1e999}}"#, "metadata.a: expected a string, a finite"),
        (Endpoint::Channel, "web.message.c", &long("message_id", 257), "message_id: expected at most 256"),
        (Endpoint::Channel, "web.message.c", r#"{"sent_at":"noon"}"#, "sent_at: expected an RFC 3339 time"),
        (Endpoint::Channel, "web.message.c", &content, "content: expected at most 32768 bytes, got 32770"),
        (Endpoint::Channel, "web.end.c", &long("reason", 513), "reason: expected at most 512"),
        (Endpoint::Channel, "web.end.c", &long("actor", 129), "actor: expected at most 128"),
        (Endpoint::Channel, "web.state.c", r#"{"at":1}"#, "unknown field \"at\"; known here: none"),
        (Endpoint::Integration, "bot.pass.c", "{}", "to: expected the name of an integration, got nothing"),
        (Endpoint::Integration, "bot.pass.c", r#"{"to":"a b"}"#, "to: expected only A-Z"),
        (Endpoint::Integration, "bot.offer.c", r#"{"to":"a","expires_in":"0s"}"#, "expires_in: expected a duration"),
        (Endpoint::Integration, "bot.take.c", r#"{"expected_epoch":-1}"#, "expected_epoch: expected a whole number"),
        (Endpoint::Integration, "bot.take.c", r#"{"expected_version":1.5}"#, "expected_version: expected a whole"),
        (Endpoint::Integration, "bot.list", r#"{"limit":1001}"#, "limit: expected a whole number from 1 to 1000"),
        (Endpoint::Query, "conversations", r#"{"status":"shut"}"#, "status: expected \"open\""),
        (Endpoint::Query, "conversations", r#"{"status":[]}"#, "status: expected \"open\""),
        (Endpoint::Query, "conversations", r#"{"after":""}"#, "after: expected the \"next\""),
        (Endpoint::Query, "conversations", r#"{"owner":7}"#, "owner: expected the name of an integration, or null"),
        (Endpoint::Query, "conversation.c", r#"{"at_seq":0}"#, "at_seq: expected a whole number from 1"),
        (Endpoint::Query, "conversation.c", r#"{"at_seq":1,"at":"2026-01-01T00:00:00Z"}"#, "got both"),
        (Endpoint::Query, "log", r#"{"types":["control.passed"]}"#, "types: expected full names"),
        (Endpoint::Query, "log", r#"{"types":"switchboard.control.passed"}"#, "types: expected a list"),
        (Endpoint::Config, "ann.put", "{}", "config: expected the whole configuration, got nothing"),
        (Endpoint::Config, "ann.put", r#"{"config":null}"#, "config: expected an object, got null"),
    ];
    for (endpoint, tail, body, expected) in cases {
        let message = refused(*endpoint, tail, body);
        assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    }
    let not_utf8 = parse(Endpoint::Channel, "web.start.c", Headers::default(), b"{\"user\":\"\xff\"}").unwrap_err();
    assert!(not_utf8.message().contains("expected UTF-8"));
}

#[test]
fn what_is_nested_deep_is_relayed_where_anything_may_stand_and_refused_elsewhere() {
    let deep = |open: &str, close: &str, depth: usize| format!("{}{}", open.repeat(depth), close.repeat(depth));
    let headers = Headers { command_id: Some("id"), traceparent: None };
    for content in [deep("[", "]", 16_384), deep(r#"{"a":"#, "}", 5_000).replace(":}", ":0}")] {
        let body = format!(r#"{{"content":{content}}}"#);
        let request = parse(Endpoint::Channel, "web.message.c", headers, body.as_bytes()).unwrap();
        assert_eq!(command_of(request).content.unwrap().get(), content, "as it was written");
    }
    let lists = deep("[", "]", 20_000);
    for (endpoint, tail, key) in [
        (Endpoint::Channel, "web.start.c", "metadata"),
        (Endpoint::Channel, "web.start.c", "user"),
        (Endpoint::Query, "log", "types"),
        (Endpoint::Query, "conversations", "status"),
        (Endpoint::Config, "ann.put", "config"),
    ] {
        let body = format!(r#"{{"{key}":{lists}}}"#);
        let refusal = parse(endpoint, tail, headers, body.as_bytes()).unwrap_err();
        assert_eq!(refusal.code(), "bad_request", "{tail} {key}");
        assert!(refusal.message().len() < 1000, "what was sent is not sent back");
    }
    let refusal = parse(Endpoint::Channel, "web.start.c", headers, lists.as_bytes()).unwrap_err();
    assert!(refusal.message().len() < 1000);
}

#[test]
fn numbers_and_texts_of_every_kind_are_read_as_they_are_or_refused() {
    let metadata = |value: &str| format!(r#"{{"metadata":{{"a":{value}}}}}"#);
    for fine in
        ["1e308", "-0", "123456789012345678901234567890", "0.1e-999", r#""\u0000""#, r#""\ud83d\ude00""#, r#""""#]
    {
        ok(Endpoint::Channel, "web.start.c", &metadata(fine));
    }
    let many_digits = "9".repeat(400);
    for odd in [&many_digits, "1e999", "-1e999", "NaN", "Infinity", "+1", "01", ".5", "0x1", r#""\ud800""#, "\"\u{1}\""]
    {
        refused(Endpoint::Channel, "web.start.c", &metadata(odd));
    }
    for version in ["1e400", "18446744073709551616", "1e17", "-1", "\"1\"", "true"] {
        refused(Endpoint::Channel, "web.message.c", &format!(r#"{{"expected_version":{version}}}"#));
    }
    let marked = parse(Endpoint::Channel, "web.start.c", Headers::default(), b"\xef\xbb\xbf{}").unwrap_err();
    assert_eq!(marked.code(), "bad_request", "a byte order mark is no JSON");
}

#[test]
fn metadata_is_recorded_without_the_spaces_that_it_was_written_with() {
    let body = format!(r#"{{"metadata": {{{} "a" : 1 , "b":null}}}}"#, " ".repeat(60_000));
    let ask = command_of(ok(Endpoint::Channel, "web.start.c", &body));
    assert_eq!(recorded(&ask), r#""metadata":{"a":1,"b":null}"#);
    assert_eq!(personal(&ask), [r#"{"a":1,"b":null}"#]);
}

#[test]
fn a_body_over_the_limit_is_not_read() {
    let body = vec![b'x'; BODY_BYTES_MAX + 1];
    let refusal = parse(Endpoint::Channel, "not.a subject", Headers::default(), &body).unwrap_err();
    assert_eq!(refusal, Refusal::TooLarge { bytes_max: BODY_BYTES_MAX, bytes: BODY_BYTES_MAX + 1 });
    let refusal = parse(Endpoint::Config, "ann.put", Headers::default(), &body).unwrap_err();
    assert_eq!(refusal.code(), "bad_request");
}

#[test]
fn a_command_id_is_1_to_128_printable_characters() {
    let long = "i".repeat(129);
    for wrong in ["", "tab\there", "ümlaut", &long] {
        let headers = Headers { command_id: Some(wrong), traceparent: None };
        let refusal = parse(Endpoint::Operator, "ann.end.c", headers, b"").unwrap_err();
        assert!(refusal.message().contains("header Nats-Msg-Id"), "{wrong:?}");
    }
}

#[test]
fn of_a_later_version_of_traces_the_parts_that_are_known_are_taken() {
    let known = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for trace in [known.to_owned(), format!("{known}-what the-future-will be")] {
        let headers = Headers { command_id: None, traceparent: Some(&trace) };
        let ask = command_of(parse(Endpoint::Operator, "ann.end.c", headers, b"").unwrap());
        // By the W3C's rule what goes on is of the version that is known here.
        assert_eq!(ask.traceparent, text(&known.replace("cc-", "00-")), "{trace:?}");
    }
}

#[test]
fn a_malformed_trace_is_ignored() {
    for wrong in [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
    ] {
        let headers = Headers { command_id: None, traceparent: Some(wrong) };
        let ask = command_of(parse(Endpoint::Operator, "ann.end.c", headers, b"").unwrap());
        assert_eq!(ask.traceparent, None, "{wrong:?}");
    }
}

#[test]
fn a_configuration_is_read_with_all_its_faults() {
    let body = r#"{"config":{"settings":{"reopen":true}},"expected_version":2,"actor":"Ann"}"#;
    let headers = Headers { command_id: Some("id 1"), traceparent: None };
    let Ask::Put(ask) = parse(Endpoint::Config, "ann.put", headers, body.as_bytes()).unwrap().ask else {
        panic!("expected a put")
    };
    assert!(ask.document.unwrap().settings.reopen);
    assert_eq!((ask.expected_version, ask.is_file), (Some(2), false));
    assert_eq!(ask.canonical, br#"{"actor":"Ann","config":{"settings":{"reopen":true}},"expected_version":2}"#);
    let body = r#"{"config":{"settings":{"reopen":1,"x":2}}}"#;
    let Ask::Put(ask) = ok(Endpoint::Config, "ann.put", body).ask else { panic!("expected a put") };
    assert_eq!(ask.document.unwrap_err().texts().len(), 2);
}

#[test]
fn questions_are_read() {
    let state = ok(Endpoint::Query, "conversation.c", "");
    assert!(matches!(state.ask, Ask::State { .. }) && state.by.name.is_none());
    let channel = ok(Endpoint::Channel, "web.state.c", "{}");
    assert!(matches!(channel.ask, Ask::State { .. }) && channel.by.role == Role::Channel);
    let past = ok(Endpoint::Query, "conversation.c", r#"{"at_seq":9}"#);
    assert!(matches!(past_of(past), PastAsk::Conversation { at: Moment::Seq(9), .. }));
    let past = ok(Endpoint::Query, "config", r#"{"at":"1970-01-01T00:00:01Z"}"#);
    assert!(matches!(past_of(past), PastAsk::Config { at: Moment::Time(Time(1000)) }));
    assert!(matches!(ok(Endpoint::Query, "config", "").ask, Ask::Config));
    let body = r#"{"from_seq":2,"to_seq":5,"types":["switchboard.channel.removed"],"by":"ann","limit":7}"#;
    let PastAsk::History { id: None, span } = past_of(ok(Endpoint::Query, "history._config", body)) else {
        panic!("expected a history")
    };
    assert_eq!((span.from_seq, span.to_seq, span.limit, span.by.as_deref()), (Some(2), Some(5), 7, Some("ann")));
    assert_eq!(span.types, ["switchboard.channel.removed"]);
}

#[test]
fn filters_are_read() {
    let filters = |body: &str| match ok(Endpoint::Query, "conversations", body).ask {
        Ask::List(ask) => *ask,
        other => panic!("expected a list, got {other:?}"),
    };
    assert_eq!(filters(r#"{"status":"ending"}"#).status, [Status::Ending]);
    assert_eq!(filters(r#"{"status":["open","closed"]}"#).status, [Status::Open, Status::Closed]);
    assert_eq!(filters(r#"{"owner":null}"#).owner, Some(None));
    assert_eq!(filters(r#"{"owner":"bot"}"#).owner, Some(Some(name("bot"))));
    let none = filters("");
    assert_eq!((none.owner, none.limit, none.concerning), (None, 100, None));
    let Ask::List(own) = ok(Endpoint::Integration, "bot.list", r#"{"limit":5,"after":"t"}"#).ask else {
        panic!("expected a list")
    };
    assert_eq!((own.concerning, own.limit, own.after), (Some(name("bot")), 5, text("t")));
}

#[test]
fn the_examples_of_the_schemas_are_taken() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/examples/request");
    let mut taken = 0;
    for entry in std::fs::read_dir(folder).expect("the examples stand beside the sources") {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (endpoint, tail) = match stem.split_once('.').unwrap() {
            ("channel", verb) => (Endpoint::Channel, format!("web.{verb}.c")),
            ("integration", "list") => (Endpoint::Integration, "bot.list".into()),
            ("integration", verb) => (Endpoint::Integration, format!("bot.{verb}.c")),
            ("operator", "export") => (Endpoint::Operator, "ann.export".into()),
            ("operator", verb) => (Endpoint::Operator, format!("ann.{verb}.c")),
            ("config", verb) => (Endpoint::Config, format!("ann.{verb}")),
            ("query", what @ ("conversation" | "history")) => (Endpoint::Query, format!("{what}.c")),
            (_, what) => (Endpoint::Query, what.into()),
        };
        ok(endpoint, &tail, &std::fs::read_to_string(&path).unwrap());
        taken += 1;
    }
    assert_eq!(taken, 25);
}

#[test]
fn what_is_recorded_of_a_body_stands_on_one_line_however_it_was_laid_out() {
    let body = "{\n \"to\":\n\"bot\",\r\n \"metadata\": {\n\t\"a\":\n\"b\\nc\"\n }\n}\n";
    let ask = command_of(ok(Endpoint::Integration, "bot.pass.c", body));
    assert_eq!(recorded(&ask), r#""to":"bot","metadata":{"a":"b\nc"}"#);
    let ask = command_of(ok(Endpoint::Integration, "bot.reply.c", "{\"message_id\"\n:\n\"m\"}"));
    assert_eq!(recorded(&ask), r#""message_id":"m""#);
}
