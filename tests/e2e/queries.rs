//! The present and the past, asked for in pages.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn conversations_are_found_by_every_filter_and_in_pages() {
    let world = World::new().await;
    for (conversation, channel, user, owner) in [
        ("a", "web", "u", "bot"),
        ("b", "web", "v", "agents"),
        ("c", "kiosk", "u", "bot"),
        ("d", "web", "w", "survey"),
        ("e", "web", "u", "bot"),
    ] {
        world.ask(&format!("channel.{channel}.start.{conversation}"), json!({"owner": owner, "user": user})).await.ok();
    }
    world.ask("channel.web.end.d", json!({})).await.ok();
    world.ask("operator.ann.end.e", json!({})).await.ok();
    world.ask("operator.ann.release.b", json!({})).await.ok();
    world.ask("integration.bot.offer.a", json!({"to": "agents"})).await.ok();
    for (filter, found) in [
        (json!({}), "a b c d e"),
        (json!({"status": "open"}), "a b c"),
        (json!({"status": ["ending", "closed"]}), "d e"),
        (json!({"owner": "bot"}), "a c"),
        (json!({"owner": null}), "b e"),
        (json!({"owner": null, "status": "open"}), "b"),
        (json!({"offered_to": "agents"}), "a"),
        (json!({"channel": "kiosk"}), "c"),
        (json!({"user": "u"}), "a c e"),
        (json!({"waiting_before": "2100-01-01T00:00:00Z"}), "d"),
        (json!({"waiting_before": "2000-01-01T00:00:00Z"}), ""),
        (json!({"idle_before": "2100-01-01T00:00:00Z", "channel": "kiosk"}), "c"),
        (json!({"idle_before": "2000-01-01T00:00:00Z"}), ""),
    ] {
        for limit in [1, 2, 100] {
            assert_eq!(
                found_in_pages(&world, "query.conversations", &filter, limit).await,
                found,
                "{filter} by {limit}"
            );
        }
    }
    // An integration sees what it holds or is offered, and nothing else.
    assert_eq!(found_in_pages(&world, "integration.bot.list", &json!({}), 1).await, "a c");
    assert_eq!(found_in_pages(&world, "integration.agents.list", &json!({}), 1).await, "a");
    world.ask("integration.nobody.list", json!({})).await.refused("unknown_integration");
    world.end().await;
}

async fn found_in_pages(world: &World, subject: &str, filter: &Value, limit: u64) -> String {
    let (mut ids, mut ask) = (Vec::new(), filter.clone());
    ask["limit"] = json!(limit);
    loop {
        let page = world.ask(subject, ask.clone()).await.ok();
        let found = page["conversations"].as_array().unwrap();
        assert!(found.len() as u64 <= limit);
        ids.extend(found.iter().map(|found| found["id"].as_str().unwrap().to_owned()));
        match &page["next"] {
            Value::Null => break,
            next => ask["after"] = next.clone(),
        }
    }
    ids.sort();
    ids.join(" ")
}

#[tokio::test]
async fn a_conversation_is_shown_as_it_was_after_the_last_whole_decision() {
    let world = World::new().await;
    let mut states = Vec::new();
    world.ask("channel.web.start.c", json!({"user": "u", "metadata": {"k": 1}})).await.ok();
    states.push(world.state("c").await);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    for (subject, body) in [
        ("integration.bot.offer.c", json!({"to": "agents", "metadata": {"k": null}})),
        ("integration.agents.accept.c", json!({})),
        ("channel.web.end.c", json!({"last_message_id": "m"})),
        ("integration.agents.release.c", json!({})),
    ] {
        world.ask(subject, body).await.ok();
        states.push(world.state("c").await);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Another configuration of now must not show in the past.
    let config_before = world.ask("query.config", json!({})).await.ok();
    let put = world.ask("config.ann.put", json!({"config": {}})).await.ok();
    for state in &states {
        let at_seq =
            world.ask("query.conversation.c", json!({"at_seq": state["seq"]})).await.ok()["conversation"].clone();
        assert_eq!(&at_seq, state);
    }
    let head = world.ask("query.log", json!({"limit": 1})).await.ok()["head_seq"].clone();
    let now = world.ask("query.conversation.c", json!({"at_seq": head})).await.ok()["conversation"].clone();
    assert_eq!(now, world.state("c").await);
    let times: Vec<Value> = world.wire.below("event.c.").iter().map(|heard| heard.json()["time"].clone()).collect();
    let at = |time: &Value| json!({"at": time});
    let offered = world.ask("query.conversation.c", at(&times[2])).await.ok()["conversation"].clone();
    assert_eq!(offered, states[1]);
    // Within its first decision, and for an id never seen, there is none.
    let first = states[0]["seq"].as_u64().unwrap() - 1;
    world.ask("query.conversation.c", json!({"at_seq": first})).await.refused("conversation_not_found");
    world.ask("query.conversation.c", json!({"at": "2020-01-01T00:00:00Z"})).await.refused("conversation_not_found");
    world.ask("query.conversation.unseen", json!({"at_seq": 1})).await.refused("conversation_not_found");
    world.ask("query.history.unseen", json!({})).await.refused("conversation_not_found");
    // The configuration has a past of its own.
    let before = world.ask("query.config", json!({"at_seq": states[0]["seq"]})).await.ok();
    assert_eq!(before, config_before);
    let after = world.ask("query.config", json!({})).await.ok();
    assert_eq!((&after["config"], &after["version"]), (&put["config"], &put["version"]));
    world.end().await;
}

#[tokio::test]
async fn the_log_and_a_history_are_read_in_pages_and_by_filters() {
    let world = World::new().await;
    for conversation in ["a", "b", "c"] {
        world.begin(conversation, "bot").await;
    }
    world.ask("integration.bot.pass.b", json!({"to": "agents"})).await.ok();
    let all = world.log_events().await;
    let seqs = |events: &[Value]| events.iter().map(|event| event["data"]["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(seqs(&all), (1..=all.len() as u64).collect::<Vec<_>>());
    let mut from = 1;
    for event in &all {
        let page = world.ask("query.log", json!({"from_seq": from, "limit": 1})).await.ok();
        assert_eq!(page["events"], json!([event]));
        from = page["next_seq"].as_u64().unwrap_or(0);
    }
    assert_eq!(from, 0, "the last page says that it is the last");
    let passed = all.last().unwrap();
    let asked = |subject: &'static str, body: Value| {
        let world = &world;
        async move { world.ask(subject, body).await.ok()["events"].clone() }
    };
    assert_eq!(asked("query.log", json!({"types": ["switchboard.control.passed"]})).await, json!([passed]));
    assert_eq!(asked("query.log", json!({"by": "bot"})).await, json!([passed]));
    assert_eq!(asked("query.log", json!({"from": "2100-01-01T00:00:00Z"})).await, json!([]));
    let seq = passed["data"]["seq"].as_u64().unwrap();
    assert_eq!(asked("query.log", json!({"from_seq": seq, "to_seq": seq})).await, json!([passed]));
    assert_eq!(
        asked("query.log", json!({"from": passed["time"], "to": passed["time"], "by": "bot"})).await,
        json!([passed])
    );
    let history = asked("query.history.b", json!({})).await;
    assert_eq!(history.as_array().unwrap().len(), 3);
    assert_eq!(asked("query.history.b", json!({"limit": 1, "from_seq": seq})).await, json!([passed]));
    let config = asked("query.history._config", json!({})).await;
    assert!(config.as_array().unwrap().iter().all(|event| event["subject"] == "_config"));
    // A page ends early at 512 KiB and says where the next starts.
    let reason = "x".repeat(512);
    let pass = |turn: usize| {
        let to = if turn.is_multiple_of(2) { "survey" } else { "bot" };
        world.ask("operator.ann.pass.a", json!({"to": to, "reason": reason}))
    };
    join_all((0..500).map(pass)).await;
    let page = world.ask("query.history.a", json!({"limit": 1000})).await;
    assert!(page.heard.body.len() < 600 * 1024 && !page.ok()["next_seq"].is_null(), "{} bytes", page.heard.body.len());
    world.end().await;
}
