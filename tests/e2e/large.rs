//! As many integrations as there may be, each with the longest name: configured, found, listed, removed, kept.

use serde_json::{Value, json};

use crate::world::{USUAL, World};

/// As many as a configuration takes.
const INTEGRATIONS: usize = 1000;

/// A name of 128 bytes.
fn name(number: usize) -> String {
    format!("{number:-<128}").replacen('-', "=", 1)
}

fn config(integrations: usize) -> Value {
    let all: Vec<Value> = (0..integrations)
        .map(|number| json!({"name": name(number), "next": name((number + 1) % integrations), "on_end": "hold", "can_take": true}))
        .collect();
    json!({"settings": {"default_integration": name(0), "multi_conversations": true}, "integration": all})
}

#[tokio::test]
async fn a_thousand_integrations_with_the_longest_names_are_configured_found_listed_and_one_is_removed() {
    let mut world = World::idle("", &[]).await;
    world.start().await;
    let (all, last) = (config(INTEGRATIONS), name(INTEGRATIONS - 1));
    let put = world.ask("config.olga.put", json!({"config": all})).await.ok();
    let is_new = |event: &&Value| event["type"] == "switchboard.integration.registered";
    assert_eq!(put["events"].as_array().unwrap().iter().filter(is_new).count(), INTEGRATIONS);
    let mut one_more = all.clone();
    one_more["integration"].as_array_mut().unwrap().push(json!({"name": "one-more"}));
    world.ask("config.olga.put", json!({"config": one_more})).await.refused("settings_conflict");

    for (conversation, owner) in [("c1", last.clone()), ("c2", last.clone()), ("c3", name(7))] {
        world.ask(&format!("channel.web.start.{conversation}"), json!({"owner": owner})).await.ok();
    }
    world.ask(&format!("integration.{last}.pass.c2"), json!({"to": "next"})).await.applied("control.passed");
    let place = format!("inbox.integration.{}.c2.control.passed", name(0));
    world.until(&place, |wire| !wire.below(&place).is_empty()).await;
    assert_eq!(held(&world, &last).await, ["c1"]);
    let found = world.ask("query.config", json!({})).await.ok();
    assert_eq!(found["config"]["integration"].as_array().unwrap().len(), INTEGRATIONS);

    let mut fewer = config(INTEGRATIONS);
    let integrations = fewer["integration"].as_array_mut().unwrap();
    integrations.pop();
    integrations.last_mut().unwrap()["next"] = json!(name(0));
    world.ask("config.olga.put", json!({"config": fewer})).await.ok();
    world.event("c1", "control.released").await;
    assert_eq!(world.state("c1").await["owner"], Value::Null);
    world.ask(&format!("integration.{last}.list"), json!({})).await.refused("unknown_integration");
    assert_eq!(held(&world, &name(7)).await, ["c3"]);

    world.kill().await;
    world.start().await;
    let again = world.ask("query.config", json!({})).await.ok();
    assert_eq!(again["config"]["integration"].as_array().unwrap().len(), INTEGRATIONS - 1);
    assert_eq!((held(&world, &name(0)).await, held(&world, &name(7)).await), (vec!["c2".into()], vec!["c3".into()]));
    world.end().await;
}

/// What an integration lists.
async fn held(world: &World, name: &str) -> Vec<String> {
    let page = world.ask(&format!("integration.{name}.list"), json!({})).await.ok();
    page["conversations"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn whoever_asks_for_more_than_the_server_takes_is_told_so_and_may_ask_for_less() {
    let mut world = World::behind("max_payload: 20000", USUAL, &[]).await;
    world.start().await;
    world.begin("c", "bot").await;
    for turn in 0..30 {
        let (from, to) = if turn % 2 == 0 { ("bot", "agents") } else { ("agents", "bot") };
        world.ask(&format!("integration.{from}.pass.c"), json!({"to": to})).await.applied("control.passed");
    }
    for subject in ["query.history.c", "query.log"] {
        let refused = world.ask(subject, json!({})).await.refused("answer_too_large");
        let text = refused["message"].as_str().unwrap_or_default().to_owned();
        assert!(text.contains("max_payload") && text.contains("limit"), "{text}");
        assert_eq!(world.ask(subject, json!({"limit": 5})).await.ok()["events"].as_array().unwrap().len(), 5);
    }
    assert_eq!(world.run(&["replay", "--conversation", "c"]).await.well().lines().count(), 32);
    assert!(world.run(&["show", "c"]).await.well().contains("bot"));
    for number in 0..60 {
        world.begin(&format!("d-{number}"), "bot").await;
    }
    assert_eq!(world.run(&["list", "--format", "json"]).await.well().matches("\"id\"").count(), 61);
    assert!(!world.log().contains("could not publish"), "{}", world.log());
    let fields: serde_json::Map<String, Value> = (0..130).map(|n| (format!("{n:x<100}"), json!(1))).collect();
    let refused = world.ask("config.olga.put", json!({"config": fields})).await.refused("bad_request");
    assert_eq!((refused["faults"].as_array().unwrap().len(), &refused["faults"][3]), (4, &json!("and 127 more")));
    // Its end asks for the whole log at once.
    assert!(world.stop().await.success());
}

#[tokio::test]
async fn a_command_gets_its_outcome_though_the_whole_answer_is_more_than_the_server_takes() {
    let mut world = World::behind("max_payload: 3000", USUAL, &[]).await;
    world.start().await;
    let body = json!({"user": "u", "metadata": {"k": "v".repeat(2500)}});
    let started = world.ask_as("k-1", "channel.web.start.c", body.clone()).await.ok();
    assert_eq!(started["outcome"], "applied");
    let mut fields: Vec<&str> = started["conversation"].as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["epoch", "id", "owner", "seq", "status", "version"]);
    let again = world.ask_as("k-1", "channel.web.start.c", body).await.ok();
    assert_eq!((&again["replayed"], &again["events"]), (&json!(true), &started["events"]));
    world.ask("channel.web.state.c", json!({})).await.refused("answer_too_large");
    let pass = json!({"to": "agents", "metadata": {"k": null}});
    world.ask("integration.bot.pass.c", pass).await.applied("control.passed");
    // That there is more cannot be asked for here, which is no sign that it was removed.
    let replayed = world.run(&["replay", "--conversation", "c", "--to", "1"]).await;
    assert_eq!((replayed.code, replayed.err.as_str()), (Some(0), ""));
    let integration: Vec<Value> = (0..60).map(|n| json!({"name": format!("bot-{n}")})).collect();
    let put = world.ask_as("k-2", "config.olga.put", json!({"config": {"integration": integration}})).await.ok();
    assert_eq!(
        (&put["outcome"], put.get("config"), put["events"].as_array().map(Vec::is_empty)),
        (&json!("applied"), None, Some(false))
    );
    world.kill().await;
}
