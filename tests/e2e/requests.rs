//! What is not of the right form is answered too, by name of what is wrong with it.

use serde_json::{Value, json};

use crate::world::{A_WHILE, USUAL, World};

#[tokio::test]
async fn every_malformed_subject_below_an_endpoint_is_answered() {
    let world = World::new().await;
    for (subject, fault) in [
        ("channel.web", "number of tokens"),
        ("channel.web.start", "number of tokens"),
        ("channel.web.start.c.more", "number of tokens"),
        ("channel.web.fetch.c", "verb"),
        ("channel.web.pass.c", "verb"),
        ("channel._web.start.c", "channel"),
        ("channel.web.start._config", "reserved"),
        ("channel.wéb.start.c", "channel"),
        ("integration.bot.list.c", "number of tokens"),
        ("integration.bot.start.c", "verb"),
        ("operator.ann.take.c", "verb"),
        ("config.ann.get", "verb"),
        ("config.put", "number of tokens"),
        ("query.everything", "query"),
        ("query.log.c", "number of tokens"),
        ("query.conversation", "number of tokens"),
        ("query.conversation._config", "reserved"),
    ] {
        let refused = world.ask_raw(subject, Vec::new()).await.refused("bad_request");
        assert!(refused["message"].as_str().unwrap().contains(fault), "{subject}: {refused}");
    }
    assert!(world.wire.below("rejection.").is_empty(), "what is malformed is counted only");
    world.end().await;
}

#[tokio::test]
async fn a_token_is_up_to_128_bytes_of_its_letters_and_never_a_wildcard() {
    let world = World::new().await;
    let every_sign = "Az09_-=:+@~";
    for token in [every_sign, "_underscored", "next", &*"c".repeat(128)] {
        world.ask(&format!("channel.web.start.{token}"), json!({})).await.ok();
        assert_eq!(world.state(token).await["id"], token);
    }
    let long_name = "w".repeat(128);
    world.ask(&format!("channel.{long_name}.start.long"), json!({})).await.ok();
    for token in ["c".repeat(129), "a*b".into(), "a>b".into(), "a/b".into(), "a%20b".into(), "ü".into()] {
        world.ask(&format!("channel.web.start.{token}"), json!({})).await.refused("bad_request");
    }
    world.ask(&format!("channel.{}.start.d", "w".repeat(129)), json!({})).await.refused("bad_request");
    // Only a client that checks nothing sends a wildcard; the server takes it as it is.
    for token in ["*", ">"] {
        world.ask(&format!("channel.web.start.{token}"), json!({})).await.refused("bad_request");
        world.ask(&format!("integration.{token}.list"), json!({})).await.refused("bad_request");
        world.ask("integration.bot.pass.next", json!({"to": token})).await.refused("bad_request");
    }
    world.end().await;
}

#[tokio::test]
async fn a_body_is_an_object_of_known_fields_each_once_and_of_its_type() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let long = |bytes: usize| "x".repeat(bytes);
    let message = "channel.web.message.c";
    for (subject, body, fault) in [
        (message, "nonsense".into(), "body"),
        (message, "{\"user\":".into(), "body"),
        (message, "[]".into(), "object"),
        (message, "null".into(), "object"),
        (message, "\"text\"".into(), "object"),
        (message, "{} {}".into(), "body"),
        (message, json!({"colour": "red"}).to_string(), "colour"),
        (message, r#"{"user":"a","user":"b"}"#.into(), "user"),
        (message, r#"{"user":"a","\u0075ser":"b"}"#.into(), "user"),
        (message, json!({"user": 1}).to_string(), "user"),
        (message, json!({"user": null}).to_string(), "user"),
        (message, json!({"user": long(257)}).to_string(), "user"),
        (message, json!({"user": "ü".repeat(129)}).to_string(), "user"),
        (message, json!({"message_id": long(257)}).to_string(), "message_id"),
        (message, json!({"actor": long(129)}).to_string(), "actor"),
        (message, json!({"sent_at": "yesterday"}).to_string(), "sent_at"),
        (message, json!({"sent_at": "2026-02-30T00:00:00Z"}).to_string(), "sent_at"),
        (message, json!({"content": long(32 * 1024 - 1)}).to_string(), "content"),
        (message, json!({"expected_epoch": -1}).to_string(), "expected_epoch"),
        (message, json!({"expected_version": 1.5}).to_string(), "expected_version"),
        (message, json!({"expected_version": "2"}).to_string(), "expected_version"),
        ("channel.web.start.n", json!({"continued_from": long(257)}).to_string(), "continued_from"),
        ("channel.web.start.n", json!({"owner": "next"}).to_string(), "owner"),
        ("channel.web.start.n", json!({"metadata": {"list": [1]}}).to_string(), "metadata.list"),
        ("channel.web.start.n", r#"{"metadata":{"a":1,"a":2}}"#.into(), "metadata"),
        ("channel.web.start.n", r#"{"metadata":{"a":1e999}}"#.into(), "metadata"),
        ("channel.web.end.c", json!({"reason": long(513)}).to_string(), "reason"),
        ("channel.web.end.c", json!({"last_message_id": long(257)}).to_string(), "last_message_id"),
        ("integration.bot.pass.c", "{}".into(), "to"),
        ("integration.bot.offer.c", json!({"to": "agents", "expires_in": 60}).to_string(), "expires_in"),
        ("integration.bot.offer.c", json!({"to": "agents", "expires_in": "0s"}).to_string(), "expires_in"),
        ("integration.bot.offer.c", json!({"to": "agents", "expires_in": "367d"}).to_string(), "expires_in"),
        ("integration.bot.state.c", json!({"actor": "a"}).to_string(), "actor"),
        ("operator.ann.pass.c", json!({"to": "agents", "metadata": {}}).to_string(), "metadata"),
        ("query.log", json!({"limit": 0}).to_string(), "limit"),
        ("query.log", json!({"limit": 1001}).to_string(), "limit"),
        ("query.log", json!({"types": ["control.passed"]}).to_string(), "types"),
        ("query.conversations", json!({"status": "gone"}).to_string(), "status"),
        ("query.conversation.c", json!({"at_seq": 1, "at": "2026-01-01T00:00:00Z"}).to_string(), "at_seq"),
        ("query.conversation.c", json!({"at_seq": 1_000_000}).to_string(), "at_seq"),
    ] {
        let refused = world.ask_raw(subject, body.clone().into_bytes()).await.refused("bad_request");
        assert!(refused["message"].as_str().unwrap().contains(fault), "{subject} {body:.80}: {refused}");
    }
    world.ask_raw(message, vec![b'{', 0xff, b'}']).await.refused("bad_request");
    // Right at each bound it is taken.
    let widest =
        json!({"user": long(256), "message_id": long(256), "actor": long(128), "content": long(32 * 1024 - 2)});
    world.ask(message, widest).await.applied("");
    world.ask("channel.web.end.c", json!({"reason": long(512), "last_message_id": long(256)})).await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_body_is_at_most_64_kib_and_a_configuration_512() {
    let world = World::new().await;
    let padded = |body: &str, bytes: usize| format!("{body}{}", " ".repeat(bytes - body.len())).into_bytes();
    world.ask_raw("channel.web.start.c", padded("{}", 64 * 1024)).await.ok();
    let refused = world.ask_raw("channel.web.start.d", padded("{}", 64 * 1024 + 1)).await.refused("too_large");
    assert!(refused["message"].as_str().unwrap().contains("65537"), "{refused}");
    // It comes before everything else, also before the subject is looked at.
    world.ask_raw("query.nonsense", padded("nonsense", 64 * 1024 + 1)).await.refused("too_large");
    let config = world.ask("query.config", json!({})).await.ok()["config"].clone();
    let put = json!({"config": config}).to_string();
    let answer = world.ask_raw("config.ann.put", padded(&put, 512 * 1024)).await.ok();
    assert_eq!((&answer["outcome"], &answer["config"]), (&json!("unchanged"), &config));
    world.ask_raw("config.ann.put", padded(&put, 512 * 1024 + 1)).await.refused("too_large");
    world.end().await;
}

#[tokio::test]
async fn metadata_has_its_bounds_after_merging() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let keys = |from: usize, to: usize| {
        (from..to).map(|at| (format!("k{at}"), json!(true))).collect::<serde_json::Map<_, _>>()
    };
    let pass = |to: &str, metadata: Value| json!({"to": to, "metadata": metadata});
    world.ask("integration.bot.pass.c", pass("agents", keys(0, 64).into())).await.applied("control.passed");
    world.ask("integration.agents.pass.c", pass("bot", keys(64, 65).into())).await.refused("metadata_too_large");
    world.ask("integration.agents.offer.c", pass("bot", keys(64, 65).into())).await.refused("metadata_too_large");
    let swapped = json!({"k0": null, "k64": 1});
    world.ask("integration.agents.pass.c", pass("bot", swapped)).await.applied("control.passed");
    let heavy = json!({"k1": "x".repeat(4096)});
    world.ask("integration.bot.pass.c", pass("agents", heavy)).await.refused("metadata_too_large");
    world.end().await;
}

#[tokio::test]
async fn a_refused_command_is_told_to_those_who_watch_and_never_its_body() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let secret = json!({"reason": "secret words", "actor": "Maria Lind"});
    let error = world.ask_as("k-1", "integration.agents.release.c", secret).await.refused("not_in_control");
    let rejection = world.wire.below("rejection.c.release").remove(0).json();
    assert_eq!(rejection["by"], json!({"role": "integration", "name": "agents", "actor": "Maria Lind"}));
    assert_eq!((&rejection["command_id"], &rejection["error"]), (&json!("k-1"), &error));
    assert!(!rejection.to_string().contains("secret"), "{rejection}");
    // Another channel learns nothing of a conversation that is not its own, and neither do those who watch it.
    let foreign = world.ask("channel.whatsapp.message.c", json!({"content": "secret"})).await.refused("wrong_channel");
    assert!(foreign.get("conversation").is_none(), "{foreign}");
    world.ask("channel.whatsapp.state.c", json!({})).await.refused("wrong_channel");
    world.ask("integration.unknown.take.c", json!({})).await.refused("unknown_integration");
    world.ask("integration.nobody.take.c", json!({})).await.refused("unknown_integration");
    world.ask("channel.web.end.none", json!({})).await.refused("conversation_not_found");
    world.ask("integration.agents.release.c", json!({"nonsense": 1})).await.refused("bad_request");
    let told = |tail: &str| world.wire.below(tail).len();
    assert_eq!((told("rejection.c.message"), told("rejection.none.end"), told("rejection.c.take")), (1, 1, 2));
    assert_eq!(told("rejection.c.release"), 1, "what is malformed is not told");
    // Also where nobody awaits an answer.
    world.client.publish("switchboard.integration.agents.reply.c", "{}".into()).await.unwrap();
    world.until("it is told", |wire| wire.below("rejection.c.reply").len() == 1).await;
    // A configuration that breaks the rules is refused with every one of them.
    let conflict = json!({"config": {"settings": {"end_user_can_end": true, "reopen": true}}});
    let refused = world.ask("config.ann.put", conflict).await.refused("settings_conflict");
    assert_eq!(refused["requirements"].as_array().unwrap().len(), 2, "{refused}");
    assert_eq!(told("rejection._config.put"), 1);
    let faults = world.ask("config.ann.put", json!({"config": {"settings": {"default_integration": "ghost"}, "integration": [{"name": "a", "next": "b"}]}})).await;
    faults.refused(faults.heard.json()["error"]["code"].as_str().unwrap());
    world.ask("config.ann.put", json!({"config": {}, "expected_version": 1})).await.refused("stale_version");
    // Nothing of all that was recorded.
    assert_eq!(world.state("c").await["version"], 2);
    world.end().await;
}

#[tokio::test]
async fn a_command_without_a_reply_subject_is_carried_out_and_a_foreign_reply_subject_is_none() {
    let world = World::new().await;
    world.client.publish("switchboard.channel.web.start.c", "{}".into()).await.unwrap();
    world.event("c", "control.assigned").await;
    let requests = [
        ("switchboard.channel.web.start.forged", "switchboard.event.c.control.passed"),
        ("switchboard.query.log", "answers.here"),
        ("switchboard.query.nonsense", "switchboard.event.x.y.z"),
        ("$SRV.PING", "switchboard.channel.web.end.c"),
        ("$SRV.STATS.switchboard", "answers.here"),
        ("switchboard.query.log", "_R_x.y"),
    ];
    let before = world.wire.all().len();
    for (subject, reply) in requests {
        world.client.publish_with_reply(subject, reply, "".into()).await.unwrap();
    }
    // Every first token that begins so is an inbox.
    world.client.publish_with_reply("switchboard.query.config", "_INBOX_ann.1", "".into()).await.unwrap();
    world
        .until("an inbox of another name is answered", |wire| {
            wire.all().iter().any(|heard| heard.subject == "_INBOX_ann.1")
        })
        .await;
    tokio::time::sleep(A_WHILE).await;
    let heard = world.wire.all();
    for (_, reply) in requests {
        assert!(heard[before..].iter().all(|heard| heard.subject != reply), "{reply} was answered");
    }
    // What could not be answered was not carried out either.
    world.ask("query.conversation.forged", json!({})).await.refused("conversation_not_found");
    world.end().await;
}

#[tokio::test]
async fn a_reply_prefix_of_ones_own_takes_the_place_of_the_usual_one() {
    // Whoever asks here has inboxes of that name.
    let world = World::with(USUAL, &["--reply-prefix", "_INBOX_asker"]).await;
    world.client.publish_with_reply("switchboard.query.config", "_INBOX.usual", "".into()).await.unwrap();
    world.begin("c", "bot").await;
    tokio::time::sleep(A_WHILE).await;
    assert!(world.wire.all().iter().all(|heard| heard.subject != "_INBOX.usual"));
    world.end().await;
}

#[tokio::test]
async fn the_service_protocol_tells_what_is_offered_and_counts_errors() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    world.ask("integration.agents.release.c", json!({})).await.refused("not_in_control");
    world.ask("integration.agents.nonsense.c", json!({})).await.refused("bad_request");
    world.ask("query.config", json!({})).await.ok();
    world.ask("config.ann.put", json!({"config": {}, "expected_version": 1})).await.refused("stale_version");
    let ping = service(&world, "PING").await;
    assert_eq!((&ping["type"], &ping["name"]), (&json!("io.nats.micro.v1.ping_response"), &json!("switchboard")));
    let info = service(&world, &format!("INFO.switchboard.{}", ping["id"].as_str().unwrap())).await;
    let subjects: Vec<&str> =
        info["endpoints"].as_array().unwrap().iter().filter_map(|one| one["subject"].as_str()).collect();
    let roles = ["channel", "integration", "operator", "config", "query"].map(|role| format!("switchboard.{role}.>"));
    assert_eq!(subjects, roles);
    let stats = service(&world, "STATS.switchboard").await;
    let counted = |name: &str| {
        let endpoints = stats["endpoints"].as_array().unwrap();
        let endpoint = endpoints.iter().find(|endpoint| endpoint["name"] == name).unwrap();
        (endpoint["num_requests"].as_u64().unwrap(), endpoint["num_errors"].as_u64().unwrap())
    };
    assert_eq!((counted("channel"), counted("integration"), counted("query")), ((1, 0), (2, 2), (1, 0)), "{stats:#}");
    assert_eq!(counted("config"), (1, 1), "{stats:#}");
    assert_eq!(stats["endpoints"][1]["last_error"], "400:bad_request");
    world.end().await;
}

async fn service(world: &World, what: &str) -> Value {
    let answer =
        world.send(&format!("$SRV.{what}"), Default::default(), Vec::new(), std::time::Duration::from_secs(5)).await;
    answer.expect("an answer").json()
}

#[tokio::test]
async fn a_body_may_be_laid_out_over_several_lines() {
    let world = World::new().await;
    let body = "{\n  \"user\": \"ann\",\r\n  \"metadata\": {\n\t\"plan\": \"gold\",\n\t\"seats\": 2\n  }\n}\n";
    world.ask_with("channel.web.start.c", &[("Nats-Msg-Id", "m1")], body.into()).await.ok();
    assert_eq!(world.state("c").await["metadata"], json!({"plan": "gold", "seats": 2}));
    world.end().await;
}
