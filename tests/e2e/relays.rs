//! Messages go to whoever holds control, in their place among the events; events to whoever is concerned.

use serde_json::{Value, json};

use crate::wire::Heard;
use crate::world::World;

#[tokio::test]
async fn a_message_goes_to_the_owner_and_only_the_owner_may_reply() {
    let world = World::new().await;
    let content = json!({"text": "hi", "parts": [1, 2.50, {"deep": null}], "big": 12345678901234567890u64});
    let body = json!({"message_id": "m-1", "user": "u", "sent_at": "2026-01-01T10:00:00+01:00", "content": content});
    let answer = world.ask("channel.web.message.c", body).await;
    assert_eq!(answer.ok()["relayed_to"], "bot");
    answer.applied("conversation.started control.assigned");
    let received = world.wire.below("inbox.integration.bot.c.message.received").remove(0).json();
    let data = &received["data"];
    assert_eq!((&data["content"], &data["message_id"], &data["user"]), (&content, &json!("m-1"), &json!("u")));
    assert_eq!((&data["epoch"], &data["session"]), (&json!(1), &json!(1)));
    assert_eq!(data["by"], json!({"role": "channel", "name": "web", "actor": null}));
    // Without content nothing is relayed, and it is activity all the same.
    let silent = world.ask("channel.web.message.c", json!({"message_id": "m-2"})).await;
    silent.applied("");
    assert_eq!(silent.ok()["relayed_to"], Value::Null);
    let reply =
        world.ask("integration.bot.reply.c", json!({"message_id": "r-1", "content": "hello", "actor": "Bo"})).await;
    assert_eq!(reply.ok()["relayed_to"], "web");
    let sent = world.wire.below("inbox.channel.web.c.message.sent").remove(0).json();
    assert_eq!((&sent["data"]["content"], &sent["data"]["by"]["actor"]), (&json!("hello"), &json!("Bo")));
    // A bot that has lost control cannot answer beside the agent who took it.
    world.ask("integration.agents.take.c", json!({})).await.applied("control.passed");
    world.ask("integration.bot.reply.c", json!({"content": "too late"})).await.refused("not_in_control");
    assert_eq!(world.wire.below("inbox.channel.web.c.message.sent").len(), 1);
    assert!(
        world.log_events().await.iter().all(|event| !event.to_string().contains("hello")),
        "content is never stored"
    );
    world.end().await;
}

#[tokio::test]
async fn a_message_that_nobody_holds_control_for_goes_to_nobody() {
    let world = World::new().await;
    let answer = world.ask("channel.empty.message.c", json!({"content": "anybody?"})).await;
    answer.applied("conversation.started");
    assert_eq!(answer.ok()["relayed_to"], Value::Null);
    world.ask("integration.bot.reply.c", json!({"content": "me"})).await.refused("not_in_control");
    assert!(world.wire.all().iter().all(|heard| !heard.subject.contains(".message.received")));
    world.end().await;
}

#[tokio::test]
async fn a_message_keeps_its_place_among_the_events_and_comes_before_its_answer() {
    let world = World::new().await;
    world.begin("c", "bot").await;
    // Sent without waiting: each message goes to whoever holds control at its place.
    let mut sent = Vec::new();
    for turn in 0..60 {
        let to = if turn % 2 == 0 { "agents" } else { "bot" };
        for (subject, body) in
            [("operator.ann.pass.c", json!({"to": to})), ("channel.web.message.c", json!({"content": turn}))]
        {
            let inbox = format!("_INBOX.place.{turn}.{}", &subject[..7]);
            sent.push(world.wire.next_on(&inbox));
            let subject = format!("switchboard.{subject}");
            world.client.publish_with_reply(subject, inbox, body.to_string().into()).await.unwrap();
        }
    }
    for answer in sent {
        assert_eq!(answer.await.unwrap().json()["outcome"], "applied");
    }
    assert_relays_follow_control(&world.wire.all());
    let all = world.wire.all();
    for turn in 0..60 {
        let relay = position(&all, |heard| is_relay(heard) && heard.json()["data"]["content"] == turn);
        let answer = position(&all, |heard| heard.subject == format!("_INBOX.place.{turn}.channel"));
        assert!(relay < answer, "the relay of {turn} comes before its answer");
    }
    world.end().await;
}

fn is_relay(heard: &Heard) -> bool {
    heard.subject.ends_with(".message.received") && heard.subject.starts_with("switchboard.inbox.")
}

fn position(all: &[Heard], is_it: impl Fn(&Heard) -> bool) -> usize {
    all.iter().position(is_it).expect("it was heard")
}

/// At each relay, the owner by the events heard so far is the one to whom it went, in the epoch that it says.
fn assert_relays_follow_control(all: &[Heard]) {
    let mut epoch_and_owner = (Value::Null, Value::Null);
    for heard in all {
        let data = &heard.json()["data"];
        if heard.subject.starts_with("switchboard.event.c.") {
            epoch_and_owner = (data["epoch"].clone(), data["conversation"]["owner"].clone());
        } else if is_relay(heard) {
            let to = heard.subject.split('.').nth(3).expect("a receiver");
            assert_eq!(epoch_and_owner, (data["epoch"].clone(), json!(to)), "{}", heard.subject);
        }
    }
}

#[tokio::test]
async fn each_event_of_a_decision_goes_to_all_who_are_concerned_before_during_and_after_it() {
    let world = World::new().await;
    world.begin("c", "closer").await;
    assert_eq!(receivers(&world, "c", "conversation.started"), ["closer"], "the first hears of the start");
    world.ask("integration.closer.offer.c", json!({"to": "agents"})).await.applied("control.offered");
    assert_eq!(receivers(&world, "c", "control.offered"), ["agents", "closer"]);
    world.ask("channel.web.end.c", json!({})).await.ok();
    for noun_verb in ["conversation.end_requested", "control.offer_withdrawn", "control.passed"] {
        assert_eq!(receivers(&world, "c", noun_verb), ["agents", "closer", "survey"], "{noun_verb}");
    }
    world.ask("integration.survey.release.c", json!({})).await.ok();
    assert_eq!(receivers(&world, "c", "conversation.closed"), ["survey"], "the last owner hears of the close");
    // The channel and the standbys get every event, and so do standbys the messages.
    world.begin("d", "bot").await;
    world.ask("channel.web.message.d", json!({"content": "hi"})).await.ok();
    world.ask("integration.bot.reply.d", json!({"content": "ho"})).await.ok();
    let of = |tail: &str| world.wire.below(tail).iter().map(|heard| heard.json()).collect::<Vec<_>>();
    let events = of("event.c.");
    assert_eq!(events.len(), 8);
    assert_eq!(of("inbox.channel.web.c."), events);
    assert_eq!(of("standby.listener.c."), events);
    assert_eq!((of("standby.listener.d.message.received").len(), of("standby.listener.d.message.sent").len()), (1, 1));
    // A standby that is concerned is served once, in its inbox; it may ask for the state.
    world.ask("integration.listener.state.d", json!({})).await.ok();
    world.ask("operator.ann.pass.d", json!({"to": "listener"})).await.applied("control.passed");
    assert_eq!(receivers(&world, "d", "control.passed"), ["bot", "listener"]);
    assert!(world.wire.below("standby.listener.d.control.passed").is_empty());
    world.ask("integration.survey.state.d", json!({})).await.refused("not_allowed");
    world.end().await;
}

/// Which integrations got a copy of the last event of that name, in order of their names.
fn receivers(world: &World, conversation: &str, noun_verb: &str) -> Vec<String> {
    let end = format!(".{conversation}.{noun_verb}");
    let copies = world.wire.below("inbox.integration.").into_iter().filter(|heard| heard.subject.ends_with(&end));
    let mut names: Vec<String> = copies.map(|heard| heard.subject.split('.').nth(3).unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_trace_and_a_command_id_are_carried_onto_every_event_of_the_command() {
    let world = World::new().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", trace), ("Nats-Msg-Id", "k 1")];
    world.ask_with("channel.web.start.c", &headers, Vec::new()).await.ok();
    for event in world.wire.below("event.c.") {
        let event = event.json();
        assert_eq!((&event["traceparent"], &event["data"]["command_id"]), (&json!(trace), &json!("k 1")));
    }
    world.ask_with("channel.web.start.e", &[("TraceParent", trace)], Vec::new()).await.ok();
    assert_eq!(world.wire.below("event.e.").remove(0).json()["traceparent"], json!(trace), "in any case");
    world.ask_with("channel.web.start.d", &[("traceparent", "nonsense")], Vec::new()).await.ok();
    assert!(world.wire.below("event.d.").remove(0).json().get("traceparent").is_none());
    world.end().await;
}
