//! The past, which depends on the log alone.

use serde_json::{Value, json};
use switchboard::switchboard::past::recorded_from;
use switchboard::switchboard::port::{Ask, Moment, PastAsk, Span};

use super::say::*;
use super::site::{BEGIN, Cached, Site};
use super::usual;

fn span(limit: usize) -> Span {
    Span { limit, ..Span::default() }
}

fn seqs(page: &Value) -> Vec<u64> {
    let seq = |event: &Value| event["data"]["seq"].as_u64().expect("a seq");
    page["events"].as_array().expect("events").iter().map(seq).collect()
}

/// Two conversations, a step a minute.
fn lived() -> Site {
    let mut site = Site::new(&usual());
    site.ask(start("c1").metadata(json!({"step": 1, "amount": 0.1})));
    site.ask(start("c2"));
    site.later(MINUTE);
    site.ask(offer(bot(), "c1", "agents", Some(HOUR)));
    site.later(MINUTE);
    site.ask(accept(agents(), "c1").metadata(json!({"step": null})));
    site.later(MINUTE);
    site.ask(end("c1"));
    site.later(MINUTE);
    site.ask(release(agents(), "c1"));
    site
}

#[test]
fn a_conversation_is_shown_as_it_was_after_each_decision() {
    let mut site = Site::new(&usual());
    let mut seen = Vec::new();
    for call in [
        start("c1").metadata(json!({"step": 1, "amount": 0.1})),
        start("c2"),
        offer(bot(), "c1", "agents", Some(HOUR)),
        accept(agents(), "c1").metadata(json!({"step": null})),
        end("c1"),
        release(agents(), "c1"),
    ] {
        site.later(MINUTE);
        site.ask(call);
        seen.push((site.head().next_seq - 1, site.now, site.state("c1")));
    }
    site.later(MINUTE);
    let mut later = usual();
    later["settings"]["multi_conversations"] = json!(false);
    later["settings"]["end_user_can_end"] = json!(false);
    site.put(put(&later));
    for cached in [Cached::AsItIs, Cached::Nothing] {
        for (seq, at, state) in &seen {
            assert_eq!(site.conversation_at("c1", Moment::Seq(*seq))["conversation"], *state, "at {seq}");
            assert_eq!(site.conversation_at("c1", Moment::Time(*at))["conversation"], *state, "at {at}");
            let just_before_the_next = at.plus_ms(MINUTE - 1);
            assert_eq!(site.conversation_at("c1", Moment::Time(just_before_the_next))["conversation"], *state);
        }
        site = site.restart(cached);
    }
}

#[test]
fn within_a_decision_the_one_before_it_is_shown() {
    let mut site = lived();
    let last = site.served("c1").seq;
    let before = site.conversation_at("c1", Moment::Seq(last - 1));
    assert_eq!(before["conversation"]["status"], "ending", "released and closed are one decision");
    assert_eq!(before["conversation"]["owner"], "agents");
}

#[test]
fn before_its_first_decision_and_within_it_a_conversation_is_not_found() {
    let mut site = lived();
    let first = site.history("c1", span(1));
    let first = seqs(&first)[0];
    for at in [Moment::Seq(first - 1), Moment::Seq(first), Moment::Time(switchboard::domain::Time(BEGIN.0 - 1))] {
        assert_eq!(site.conversation_at("c1", at)["error"]["code"], "conversation_not_found", "{at:?}");
    }
    assert!(site.conversation_at("c1", Moment::Seq(first + 1)).get("conversation").is_some());
    assert_eq!(site.conversation_at("c9", Moment::Seq(1))["error"]["code"], "conversation_not_found");
}

#[test]
fn a_seq_that_no_event_has_is_a_bad_request() {
    let mut site = lived();
    let head = site.head().next_seq - 1;
    assert_eq!(site.conversation_at("c1", Moment::Seq(head + 1))["error"]["code"], "bad_request");
    assert_eq!(site.conversation_at("never", Moment::Seq(head + 1))["error"]["code"], "bad_request");
    assert_eq!(site.conversation_at("never", Moment::Seq(head))["error"]["code"], "conversation_not_found");
    assert_eq!(site.config_at(Moment::Seq(head + 1))["error"]["code"], "bad_request");
    assert!(site.config_at(Moment::Seq(head)).get("config").is_some());
}

#[test]
fn the_configuration_is_shown_as_it_was() {
    let mut site = Site::new(&usual());
    let first = site.question(anybody(), Ask::Config);
    let seq = site.head().next_seq - 1;
    site.later(MINUTE);
    let mut other = usual();
    other["settings"]["inactivity_timeout"] = json!("2h");
    site.put(put(&other));
    assert_eq!(site.config_at(Moment::Seq(seq)), first);
    assert_eq!(site.config_at(Moment::Time(site.now.plus_ms(0)))["config"]["settings"]["inactivity_timeout"], "2h");
    assert_eq!(site.config_at(Moment::Time(BEGIN)), first);
    let within = site.config_at(Moment::Seq(seq - 1));
    assert_eq!(within["version"], 0, "nothing of a decision that was not whole");
}

#[test]
fn affordances_of_the_past_are_those_under_the_configuration_of_then() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let seq = site.head().next_seq - 1;
    site.later(MINUTE);
    let mut other = usual();
    other["settings"]["end_user_can_end"] = json!(false);
    site.put(put(&other));
    let then = site.conversation_at("c1", Moment::Seq(seq));
    assert_eq!(then["conversation"]["affordances"]["end_conversation"], true);
    let now = site.conversation_at("c1", Moment::Time(site.now));
    assert_eq!(now["conversation"]["affordances"]["end_conversation"], false);
    assert_eq!(now["conversation"], site.state("c1"));
}

#[test]
fn a_configuration_on_its_way_to_disk_is_waited_for() {
    let mut site = Site::new(&usual());
    site.ask(start("c1"));
    let mut other = usual();
    other["settings"]["end_user_can_end"] = json!(false);
    site.hand(olga(), Ask::Put(Box::new(put(&other))));
    site.step();
    site.take();
    let moment = Moment::Time(site.now);
    let asked = site.hand(anybody(), Ask::from(PastAsk::Conversation { id: conversation("c1"), at: moment }));
    site.run();
    let shown = site.answer(&asked).unwrap();
    assert_eq!(shown["conversation"]["affordances"]["end_conversation"], false);
}

#[test]
fn a_history_is_paged_and_says_where_the_next_page_starts() {
    let mut site = lived();
    let whole = site.history("c1", span(100));
    let all = seqs(&whole);
    assert_eq!(whole["next_seq"], Value::Null);
    assert_eq!(whole["head_seq"], site.head().next_seq - 1);
    assert_eq!(whole["events"].as_array().unwrap().len(), 7);
    for limit in 1..=7 {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let page = site.history("c1", Span { from_seq: from, ..span(limit) });
            assert!(seqs(&page).len() <= limit);
            found.extend(seqs(&page));
            match page["next_seq"].as_u64() {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        assert_eq!(found, all, "{limit}");
    }
}

#[test]
fn the_log_is_paged_from_the_first_event_to_the_last() {
    let mut site = lived();
    let head = site.head().next_seq - 1;
    let mut found = Vec::new();
    let mut from = Some(1);
    while let Some(seq) = from {
        let page = site.log_of(Span { from_seq: Some(seq), ..span(3) });
        found.extend(seqs(&page));
        from = page["next_seq"].as_u64();
    }
    assert_eq!(found, (1..=head).collect::<Vec<_>>());
    let beyond = site.log_of(Span { from_seq: Some(head + 1), ..span(3) });
    assert_eq!((&beyond["events"], &beyond["next_seq"]), (&json!([]), &Value::Null));
}

#[test]
fn spans_types_and_callers_narrow() {
    let mut site = lived();
    let all = seqs(&site.history("c1", span(100)));
    let from_to = Span { from_seq: Some(all[1]), to_seq: Some(all[3]), ..span(100) };
    assert_eq!(seqs(&site.history("c1", from_to)), all[1..=3]);
    let minute = |n: u64| Some(BEGIN.plus_ms(n * MINUTE));
    let times = Span { from: minute(1), to: minute(3), ..span(100) };
    assert_eq!(seqs(&site.history("c1", times)), all[2..5]);
    let times = Span { from: minute(4), ..span(100) };
    assert_eq!(seqs(&site.log_of(times)), all[5..]);
    let types = vec!["switchboard.control.accepted".to_owned(), "switchboard.conversation.closed".to_owned()];
    let typed = Span { types, ..span(100) };
    assert_eq!(seqs(&site.log_of(typed)), [all[3], all[6]]);
    let by = Span { by: Some("agents".into()), ..span(100) };
    assert_eq!(seqs(&site.log_of(by)), [all[3], all[5], all[6]]);
    site.later(DAY).run();
    let timer = Span { by: Some("timer".into()), ..span(100) };
    assert_eq!(seqs(&site.log_of(timer)).len(), 3, "c2 fell asleep");
}

#[test]
fn events_are_read_as_they_were_published() {
    let mut site = lived();
    let page = site.history("c1", span(100));
    let event = &page["events"][3];
    assert_eq!(event["type"], "switchboard.control.accepted");
    assert_eq!(event["subject"], "c1");
    assert_eq!(event["time"], json!(BEGIN.plus_ms(2 * MINUTE)));
    assert_eq!(event["data"]["by"], json!({"role": "integration", "name": "agents", "actor": null}));
    assert_eq!(event["data"]["conversation"]["owner"], "agents");
    let id = event["id"].as_str().unwrap();
    assert!(id.starts_with(&format!("{}-{}-", site.archive().reader.log_id(), event["data"]["seq"])), "{id}");
}

#[test]
fn the_history_of_the_configuration_is_its_own() {
    let mut site = lived();
    let page = site.question(anybody(), Ask::from(PastAsk::History { id: None, span: span(100) }));
    assert!(seqs(&page).len() > 4);
    assert!(page["events"].as_array().unwrap().iter().all(|event| event["subject"] == "_config"));
}

#[test]
fn a_page_of_events_ends_before_it_grows_too_large() {
    let mut site = Site::new(&usual());
    let words = "x".repeat(3500);
    for n in 0..200 {
        site.send(start(&format!("c{n}")).metadata(json!({"words": words})));
    }
    site.run();
    let page = site.log_of(span(1000));
    assert!(page.to_string().len() < 520 * 1024);
    assert!(page["next_seq"].as_u64().is_some());
}

#[test]
fn what_was_recorded_is_read_again_for_publication() {
    let mut site = lived();
    site.later(2 * MINUTE);
    site.ask(message("c2"));
    let head = site.head().next_seq - 1;
    for from in 1..=head + 1 {
        let again: Vec<_> = recorded_from(&site.archive(), from, head).map(Result::unwrap).collect();
        let seqs: Vec<u64> = again.iter().flat_map(|recorded| recorded.events.iter().map(|event| event.seq)).collect();
        assert_eq!(seqs.last().copied(), (from <= head).then_some(head));
        assert!(seqs.first().is_none_or(|first| *first <= from), "the whole decision that holds {from}");
        for recorded in &again {
            for event in &recorded.events {
                let data: Value = serde_json::from_slice(&recorded.line[event.data.clone()]).unwrap();
                assert_eq!(data["seq"], event.seq);
            }
        }
    }
    let last = recorded_from(&site.archive(), 1, head).last().unwrap().unwrap();
    assert_eq!(last.inbox.as_slice(), [name("agents")]);
    assert_eq!(last.standby, [name("listener")]);
    assert_eq!(last.channel, Some(name("web")));
}

#[test]
fn an_answer_about_the_past_lacks_nothing_up_to_the_head_that_it_names() {
    let mut site = lived();
    site.ask(start("c3"));
    let all = || span(1000);
    let asked = [
        Ask::from(PastAsk::History { id: Some(conversation("c3")), span: all() }),
        Ask::from(PastAsk::Log { span: all() }),
    ];
    let replies = asked.map(|ask| site.hand(anybody(), ask));
    let ahead = Moment::Seq(site.head().next_seq);
    let then = site.hand(anybody(), Ask::from(PastAsk::Conversation { id: conversation("c3"), at: ahead }));
    site.step();
    assert!(site.take() && site.write(), "the questions have left for the log");
    // It goes on before it is read for them.
    site.send(offer(bot(), "c3", "agents", None));
    site.step();
    assert!(site.take() && site.write(), "the offer is recorded");
    while site.read() {}
    for reply in replies {
        let page = site.answer(&reply).expect("a page");
        assert_eq!(page["head_seq"], site.head().next_seq - 1);
        assert_eq!(page["events"].as_array().unwrap().last().unwrap()["type"], "switchboard.control.offered", "{page}");
    }
    assert_eq!(site.answer(&then).expect("a state")["conversation"]["offer"]["to"], "agents");
}
