//! Control goes from one integration to the next, and who comes too late is told so.

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn who_comes_too_late_is_refused_or_told_that_it_is_so_already() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let offered = world.ask("integration.bot.offer.c", json!({"to": "agents", "metadata": {"topic": "bill"}})).await;
    assert_eq!(offered.applied("control.offered")["offer"]["to"], "agents");
    let accepted = world.ask("integration.agents.accept.c", json!({"actor": "Maria Lind"})).await;
    let accepted = accepted.applied("control.accepted");
    assert_eq!((&accepted["owner"], &accepted["metadata"]["topic"]), (&json!("agents"), &json!("bill")));
    world.ask("integration.agents.accept.c", json!({})).await.unchanged();
    world.ask("integration.survey.accept.c", json!({})).await.refused("not_offered");
    world.ask("integration.bot.withdraw.c", json!({})).await.refused("not_in_control");
    // A release that arrives after a pass must not take control from the next owner.
    world.ask("integration.agents.pass.c", json!({"to": "bot"})).await.applied("control.passed");
    let refused = world.ask("integration.agents.release.c", json!({})).await.refused("not_in_control");
    assert_eq!((&refused["owner"], &refused["conversation"]["owner"]), (&json!("bot"), &json!("bot")));
    // An offer that a pass took away cannot be accepted any more.
    world.ask("integration.bot.offer.c", json!({"to": "survey"})).await.applied("control.offered");
    let taken = world.ask("integration.agents.take.c", json!({"reason": "mine"})).await;
    taken.applied("control.offer_withdrawn control.passed");
    world.ask("integration.survey.accept.c", json!({})).await.refused("not_offered");
    world.ask("integration.agents.take.c", json!({})).await.unchanged();
    world.ask("integration.survey.take.c", json!({})).await.refused("not_allowed");
    world.end().await;
}

#[tokio::test]
async fn offers_are_superseded_declined_and_withdrawn() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    world.ask("integration.bot.offer.c", json!({"to": "survey"})).await.applied("control.offered");
    let next = world.ask("integration.bot.offer.c", json!({"to": "next", "reason": "a person"})).await;
    next.applied("control.offer_withdrawn control.offered");
    let listed = world.ask("integration.agents.list", json!({})).await.ok();
    assert_eq!(listed["conversations"][0]["offer"]["reason"], "a person");
    world.ask("integration.agents.decline.c", json!({"reason": "busy"})).await.applied("control.offer_withdrawn");
    world.ask("integration.agents.decline.c", json!({})).await.refused("not_offered");
    world.ask("integration.bot.withdraw.c", json!({})).await.unchanged();
    world.ask("integration.bot.offer.c", json!({"to": "bot"})).await.refused("invalid_target");
    world.ask("integration.bot.offer.c", json!({"to": "nobody"})).await.refused("invalid_target");
    world.ask("integration.bot.pass.c", json!({"to": "bot"})).await.unchanged();
    world
        .ask("integration.bot.pass.c", json!({"to": "next", "metadata": {"a": 1, "b": null}}))
        .await
        .applied("control.passed");
    world.ask("integration.agents.pass.c", json!({"to": "next"})).await.refused("invalid_target");
    let causes: Vec<Value> = withdrawn_causes(&world, "c");
    assert_eq!(causes, ["superseded", "declined"]);
    world.end().await;
}

fn withdrawn_causes(world: &World, conversation: &str) -> Vec<Value> {
    let events = world.wire.below(&format!("event.{conversation}.control.offer_withdrawn"));
    events.iter().map(|heard| heard.json()["data"]["cause"].clone()).collect()
}

#[tokio::test]
async fn an_operator_overrules_without_owning() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let released = world.ask("operator.ann.release.c", json!({"reason": "stuck", "actor": "Ann"})).await;
    assert_eq!(released.applied("control.released")["owner"], Value::Null);
    world.ask("operator.ann.release.c", json!({})).await.unchanged();
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await.applied("control.passed");
    let passed = world.event("c", "control.passed").await.json();
    assert_eq!((&passed["data"]["from"], &passed["data"]["cause"]), (&Value::Null, &json!("operator")));
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await.unchanged();
    world.ask("operator.ann.pass.c", json!({"to": "next"})).await.refused("invalid_target");
    world.ask("operator.ann.pass.unknown", json!({"to": "agents"})).await.refused("conversation_not_found");
    world
        .ask("operator.ann.end.c", json!({}))
        .await
        .applied("conversation.end_requested control.released conversation.closed");
    world.ask("operator.ann.end.c", json!({})).await.unchanged();
    world.ask("operator.ann.release.c", json!({})).await.unchanged();
    world.ask("operator.ann.pass.c", json!({"to": "agents"})).await.refused("conversation_closed");
    world.end().await;
}

#[tokio::test]
async fn a_command_that_rests_on_an_old_state_is_refused() {
    let world = World::new().await;
    let at = |epoch: u64, version: u64| json!({"expected_epoch": epoch, "expected_version": version});
    let with = |mut body: Value, more: Value| {
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let refused = world.ask("channel.web.start.c", at(1, 0)).await.refused("stale_version");
    assert_eq!((&refused["epoch"], &refused["version"], &refused["expected_epoch"]), (&json!(0), &json!(0), &json!(1)));
    world.ask("channel.web.start.c", at(0, 0)).await.applied("conversation.started control.assigned");
    let refused =
        world.ask("integration.bot.pass.c", with(json!({"to": "agents"}), at(0, 2))).await.refused("stale_version");
    assert_eq!((&refused["epoch"], &refused["version"]), (&json!(1), &json!(2)));
    world.ask("integration.bot.pass.c", with(json!({"to": "agents"}), at(1, 2))).await.applied("control.passed");
    // It is checked before who holds control, and after whether the conversation is closed.
    world.ask("integration.bot.release.c", json!({"expected_epoch": 1})).await.refused("stale_version");
    world.ask("integration.agents.end.c", json!({"expected_epoch": 2})).await.ok();
    world.ask("integration.agents.release.c", json!({"expected_epoch": 2})).await.refused("conversation_closed");
    world.end().await;
}

#[tokio::test]
async fn what_an_integration_held_is_released_when_it_is_removed() {
    let world = World::new().await;
    for (conversation, owner) in [("open", "agents"), ("ending", "agents"), ("offering", "bot"), ("other", "bot")] {
        world.begin(conversation, owner).await;
    }
    world.ask("channel.web.end.ending", json!({})).await.applied("conversation.end_requested");
    world.ask("integration.bot.offer.offering", json!({"to": "agents"})).await.applied("control.offered");
    let mut put = world.ask("query.config", json!({})).await.ok();
    let integrations = put["config"]["integration"].as_array_mut().unwrap();
    integrations.retain(|integration| integration["name"] != "agents");
    integrations.iter_mut().for_each(|integration| drop(integration.as_object_mut().unwrap().remove("next")));
    let answer =
        world.ask("config.ann.put", json!({"config": put["config"], "expected_version": put["version"]})).await;
    assert!(answer.events().contains("integration.removed"), "{}", answer.events());
    // Whatever comes next finds it done, even where the background has not got there yet.
    let closed = world.state("ending").await;
    assert_eq!((&closed["status"], &closed["closed"]["by"]), (&json!("closed"), &json!({"role": "config"})));
    assert_eq!(closed["closed"]["cause"], "end_user");
    let message = world.ask("channel.web.message.open", json!({"content": "hello?"})).await;
    assert_eq!(message.applied("control.assigned")["owner"], "bot");
    world.ask("integration.bot.offer.offering", json!({"to": "survey"})).await.applied("control.offered");
    let released = world.event("open", "control.released").await.json();
    assert_eq!(released["data"]["cause"], "integration_removed");
    assert_eq!(withdrawn_causes(&world, "offering"), ["integration_removed"]);
    assert_eq!(world.state("other").await["version"], 2);
    world.ask("integration.agents.release.open", json!({})).await.refused("unknown_integration");
    world.end().await;
}

#[tokio::test]
async fn commands_of_one_caller_are_decided_in_the_order_in_which_they_were_sent() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    let mut inboxes = Vec::new();
    for turn in 0..200 {
        let (verb, body) = match turn % 4 {
            0 => ("offer", json!({"to": "agents"})),
            1 => ("withdraw", json!({})),
            2 => ("reply", json!({"content": turn})),
            _ => ("pass", json!({"to": "bot"})),
        };
        let inbox = format!("_INBOX.order.{turn}");
        inboxes.push((verb, world.wire.next_on(&inbox)));
        let subject = format!("switchboard.integration.bot.{verb}.c");
        world.client.publish_with_reply(subject, inbox, body.to_string().into()).await.unwrap();
    }
    for (verb, answer) in inboxes {
        let answer = answer.await.unwrap().json();
        let expected = if verb == "pass" { "unchanged" } else { "applied" };
        assert_eq!(answer["outcome"], expected, "{verb}: {answer}");
        let recorded = answer["events"].as_array().unwrap().len();
        assert_eq!(recorded, usize::from(["offer", "withdraw"].contains(&verb)), "{verb}: {answer}");
    }
    assert_eq!(world.state("c").await["version"], 2 + 100);
    world.end().await;
}
