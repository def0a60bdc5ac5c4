//! The configuration: all faults at once, what it requires, what changed as events with resolved values.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use switchboard::domain::config::change::changes;
use switchboard::domain::config::document::{Document, Faults};
use switchboard::domain::config::{AfterClose, ConfigEvent, OnEnd};
use switchboard::domain::words::Wait;
use switchboard::domain::{Config, Refusal, Time};

use super::given::*;
use super::say::*;

fn parse(text: &str) -> Result<Document, Faults> {
    let value: Value = toml::from_str(text).expect("TOML");
    Document::parse(&value)
}

/// The faults of form of a configuration that has some.
fn faults(text: &str) -> Vec<String> {
    match parse(text) {
        Err(Faults::Form(texts)) => texts,
        other => panic!("expected faults of form, got {other:?}"),
    }
}

/// The requirements that a configuration does not meet.
fn unmet(text: &str) -> Vec<String> {
    match parse(text) {
        Err(Faults::Requirements(texts)) => texts,
        other => panic!("expected requirements not met, got {other:?}"),
    }
}

fn configured(text: &str) -> Config {
    given(text).config
}

/// What putting the second configuration over the first does, as full names.
fn changed(from: &str, to: &str) -> Vec<String> {
    let events = changes(&configured(from), &document(to));
    let named = |event: &ConfigEvent| {
        let data = serde_json::to_value(event).expect("JSON");
        let name = data["name"].as_str().map_or(String::new(), |name| format!(" {name}"));
        format!("{}{name}", event.full_name().trim_start_matches("switchboard."))
    };
    events.iter().map(named).collect()
}

// Form

#[test]
fn an_empty_configuration_is_sound_and_everything_is_off() {
    let settings = parse("").expect("sound").settings;
    assert_eq!(settings.default_integration, None);
    assert!(!settings.multi_conversations && !settings.reopen && !settings.end_user_can_end && !settings.legacy_csat);
    assert_eq!((settings.inactivity_timeout, settings.release_deadline), (Wait::Never, Wait::Never));
    assert_eq!(settings.open_conversations_max, 10_000_000);
}

#[test]
fn an_integration_says_what_it_is_and_the_rest_is_off() {
    let document = parse("[[integration]]\nname = \"bot\"").expect("sound");
    let bot = &document.integrations[0];
    assert_eq!((bot.name.as_str(), bot.next.as_ref(), &bot.on_end), ("bot", None, &OnEnd::Release));
    assert!(!bot.standby && !bot.can_take && bot.enabled);
    assert_eq!(bot.inactivity_timeout, None);
}

#[test]
fn all_faults_of_form_are_told_at_once_each_with_its_place() {
    let told = faults(
        r#"
        colour = "red"
        [settings]
        reopen = "yes"
        inactivity_timeout = "1 hour"
        speed = 9
        open_conversations_max = 0
        [[integration]]
        name = "bot"
        on_end = "wait"
        can_take = 1
        [[integration]]
        next = "bot"
        [[channel]]
        name = "_web"
        release_deadline = 10
        "#,
    );
    let places = [
        "colour",
        "reopen",
        "inactivity_timeout",
        "speed",
        "open_conversations_max",
        "on_end",
        "can_take",
        "name",
        "_web",
        "release_deadline",
    ];
    assert_eq!(told.len(), places.len(), "{told:#?}");
    for place in places {
        assert!(told.iter().any(|fault| fault.contains(place)), "no fault speaks of {place}: {told:#?}");
    }
}

#[test]
fn requirements_are_told_beside_faults_of_form_and_nothing_is_blamed_for_what_could_not_be_read() {
    let told = faults(
        r#"
        [settings]
        end_user_can_end = true
        default_integration = "nobody"
        speed = 9
        [[integration]]
        name = "bot"
        next = "desk"
        "#,
    );
    for place in ["speed", "multi_conversations", "default_integration", "next"] {
        assert!(told.iter().any(|fault| fault.contains(place)), "no fault speaks of {place}: {told:#?}");
    }
    assert_eq!(told.len(), 4, "{told:#?}");
    let told = faults(
        r#"
        [settings]
        end_user_can_end = true
        multi_conversations = "yes"
        default_integration = "b ot"
        [[integration]]
        name = "b ot"
        [[integration]]
        name = "desk"
        next = "bot"
        [[channel]]
        name = "web"
        end_user_can_end = true
        "#,
    );
    assert_eq!(told.len(), 3, "{told:#?}");
    let integrations: Vec<Value> = (0..9).map(|n| json!({"name": format!("s{n}"), "standby": true})).collect();
    let mut standbys = json!({ "integration": integrations });
    standbys["integration"][3]["enabled"] = json!("no");
    let ending = json!({"name": "web", "end_user_can_end": true, "multi_conversations": true, "reopen": "false"});
    let off = json!({"name": "web", "end_user_can_end": "false", "multi_conversations": false});
    for config in [
        json!({"settings": {"reopen": true}, "channel": [ending]}),
        json!({"settings": {"multi_conversations": true, "end_user_can_end": true}, "channel": [off]}),
        json!({"settings": {"default_integration": "bot"}, "integrations": [{"name": "bot"}]}),
        standbys,
    ] {
        let Err(Faults::Form(told)) = Document::parse(&config) else { panic!("expected faults of form") };
        assert_eq!(told.len(), 1, "{told:#?}");
    }
    let beside = json!({"settings": "none", "channel": [{"name": "web", "end_user_can_end": true}]});
    let Err(Faults::Form(told)) = Document::parse(&beside) else { panic!("expected faults of form") };
    assert_eq!(told.len(), 1, "{told:#?}");
}

#[test]
fn a_configuration_is_a_table_of_settings_integrations_and_channels() {
    for value in [json!([]), json!("x"), json!(5)] {
        assert!(matches!(Document::parse(&value), Err(Faults::Form(_))), "{value}");
    }
    for value in
        [json!({"settings": []}), json!({"integration": {}}), json!({"channel": "x"}), json!({"integration": ["x"]})]
    {
        assert!(matches!(Document::parse(&value), Err(Faults::Form(_))), "{value}");
    }
}

/// Taken for "not given" it would do the opposite of what stands there: `{"pass": null}` would release.
#[test]
fn null_is_no_value_of_anything_and_each_is_told_with_its_place() {
    let config = json!({
        "settings": {"default_integration": null, "reopen": null, "release_deadline": null},
        "integration": [
            null,
            {"name": "bot", "next": null, "on_end": {"pass": null}, "standby": null, "inactivity_timeout": null},
            {"name": "desk", "on_end": null, "can_take": null, "enabled": null},
            {"name": null},
        ],
        "channel": [null, {"name": "web", "open_conversations_max": null, "inactivity_timeout": null}],
    });
    let Err(Faults::Form(told)) = Document::parse(&config) else { panic!("expected faults of form") };
    let places = [
        "settings: default_integration:",
        "settings: reopen:",
        "settings: release_deadline:",
        "integration 1:",
        "integration bot: next:",
        "integration bot: on_end.pass:",
        "integration bot: standby:",
        "integration bot: inactivity_timeout:",
        "integration desk: on_end:",
        "integration desk: can_take:",
        "integration desk: enabled:",
        "integration 4: name:",
        "channel 1:",
        "channel web: open_conversations_max:",
        "channel web: inactivity_timeout:",
    ];
    for place in places {
        let is_told = |fault: &&String| fault.starts_with(place) && fault.ends_with(", got null");
        assert_eq!(told.iter().filter(is_told).count(), 1, "{place} {told:#?}");
    }
    assert_eq!(told.len(), places.len(), "{told:#?}");
    for whole in [json!(null), json!({"settings": null}), json!({"integration": null}), json!({"channel": null})] {
        assert!(matches!(Document::parse(&whole), Err(Faults::Form(_))), "{whole}");
    }
}

#[test]
fn next_names_no_integration_wherever_one_is_named() {
    let told = faults(
        r#"
        settings = { default_integration = "next" }
        integration = [{ name = "bot", next = "next", on_end = { pass = "next" } }, { name = "next" }]
        channel = [{ name = "next", default_integration = "next" }]
        "#,
    );
    let places = [
        "settings: default_integration:",
        "integration bot: next:",
        "integration bot: on_end.pass:",
        "integration next: name:",
        "channel next: default_integration:",
    ];
    assert!(places.iter().all(|place| told.iter().any(|fault| fault.starts_with(place))), "{told:#?}");
    assert!(told.len() == places.len() && told.iter().all(|fault| fault.contains("reserved")), "{told:#?}");
}

#[test]
fn on_end_is_release_hold_or_one_to_pass_to() {
    let on_end = |text: &str| parse(&format!("[[integration]]\nname = \"bot\"\non_end = {text}"));
    assert_eq!(on_end("\"release\"").expect("sound").integrations[0].on_end, OnEnd::Release);
    assert_eq!(on_end("\"hold\"").expect("sound").integrations[0].on_end, OnEnd::Hold);
    assert_eq!(on_end("{ pass = \"bot\" }").expect("sound").integrations[0].on_end, OnEnd::Pass(name("bot")));
    for bad in ["\"pass\"", "true", "{}", "{ pass = 5 }", "{ hold = \"bot\" }", "{ pass = \"bot\", then = \"hold\" }"] {
        assert!(matches!(on_end(bad), Err(Faults::Form(_))), "{bad}");
    }
}

#[test]
fn next_is_no_name_for_an_integration_and_names_do_not_start_with_an_underscore() {
    faults("[[integration]]\nname = \"next\"");
    faults("[[integration]]\nname = \"_bot\"");
    faults("[[channel]]\nname = \"_web\"");
    assert!(parse("[[channel]]\nname = \"next\"").is_ok(), "only integrations are passed to");
}

#[test]
fn faults_of_form_are_a_bad_request_and_requirements_a_settings_conflict() {
    assert_eq!(Refusal::from(Faults::Form(vec!["x".into()])).code(), "bad_request");
    assert_eq!(Refusal::from(Faults::Requirements(vec!["x".into()])).code(), "settings_conflict");
    for faults in [Faults::Form(vec!["x".into(), "y".into()]), Faults::Requirements(vec!["x".into(), "y".into()])] {
        assert_eq!(faults.texts(), ["x", "y"]);
    }
}

// Requirements

#[test]
fn end_user_can_end_needs_multi_conversations_on_and_reopen_off_here_and_in_each_channel() {
    assert_eq!(unmet("[settings]\nend_user_can_end = true").len(), 1);
    assert_eq!(unmet("[settings]\nend_user_can_end = true\nreopen = true").len(), 2);
    assert_eq!(unmet("[settings]\nend_user_can_end = true\nmulti_conversations = true\nreopen = true").len(), 1);
    let on = "[settings]\nend_user_can_end = true\nmulti_conversations = true\n";
    assert!(parse(on).is_ok());
    let told = unmet(&format!("{on}[[channel]]\nname = \"sms\"\nreopen = true"));
    assert!(told.len() == 1 && told[0].contains("sms") && told[0].contains("reopen"), "{told:?}");
    assert!(parse(&format!("{on}[[channel]]\nname = \"sms\"\nreopen = true\nend_user_can_end = false")).is_ok());
    let told = unmet("[[channel]]\nname = \"sms\"\nend_user_can_end = true");
    assert!(told.len() == 1 && told[0].contains("multi_conversations"), "{told:?}");
}

#[test]
fn whoever_is_named_must_be_there_though_it_may_be_off() {
    let told = unmet(
        r#"
        [settings]
        default_integration = "nobody-1"
        [[integration]]
        name = "bot"
        next = "nobody-2"
        on_end = { pass = "nobody-3" }
        [[channel]]
        name = "sms"
        default_integration = "nobody-4"
        "#,
    );
    assert_eq!(told.len(), 4, "{told:#?}");
    for at in 1..=4 {
        assert!(told.iter().any(|text| text.contains(&format!("nobody-{at}"))), "{told:#?}");
    }
    assert!(
        parse("[settings]\ndefault_integration = \"bot\"\n[[integration]]\nname = \"bot\"\nenabled = false").is_ok()
    );
}

#[test]
fn a_name_stands_once() {
    let told = unmet(
        "[[integration]]\nname = \"bot\"\n[[integration]]\nname = \"bot\"\n[[channel]]\nname = \"a\"\n[[channel]]\nname = \"a\"",
    );
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(parse("[[integration]]\nname = \"a\"\n[[channel]]\nname = \"a\"").is_ok());
}

#[test]
fn a_thousand_integrations_and_channels_and_no_more() {
    let many =
        |what: &str, count: usize| (0..count).map(|at| format!("[[{what}]]\nname = \"n{at}\"\n")).collect::<String>();
    assert!(parse(&(many("integration", 1000) + &many("channel", 1000))).is_ok());
    assert_eq!(unmet(&(many("integration", 1001) + &many("channel", 1001))).len(), 2);
}

#[test]
fn eight_enabled_integrations_stand_by_and_no_more() {
    let standby = |at: usize| format!("[[integration]]\nname = \"n{at}\"\nstandby = true\n");
    let eight: String = (0..8).map(standby).collect();
    assert_eq!(configured(&eight).standbys().count(), 8);
    assert_eq!(unmet(&format!("{eight}{}", standby(8))).len(), 1);
    assert!(parse(&format!("{eight}{}enabled = false\n", standby(8))).is_ok());
}

// Changes, as events

#[test]
fn the_first_configuration_registers_everything() {
    let text = "[settings]\nreopen = true\n[[integration]]\nname = \"bot\"\n[[channel]]\nname = \"sms\"";
    assert_eq!(changed("", text), ["settings.changed", "integration.registered bot", "channel.registered sms"]);
}

#[test]
fn the_same_configuration_again_changes_nothing_in_whatever_order_it_is_written() {
    assert!(changed(CENTRE, CENTRE).is_empty());
    let two = "[[integration]]\nname = \"a\"\n[[integration]]\nname = \"b\"";
    let other_way_round = "[[integration]]\nname = \"b\"\n[[integration]]\nname = \"a\"";
    assert!(changed(two, other_way_round).is_empty());
    assert!(changed("", "[settings]\ninactivity_timeout = \"never\"\nreopen = false").is_empty());
    assert!(changed("[settings]\ninactivity_timeout = \"60m\"", "[settings]\ninactivity_timeout = \"1h\"").is_empty());
}

#[test]
fn only_what_changed_is_told() {
    let from = "[[integration]]\nname = \"a\"\n[[integration]]\nname = \"b\"\n[[channel]]\nname = \"x\"\n[[channel]]\nname = \"y\"";
    let to = "[[integration]]\nname = \"a\"\ncan_take = true\n[[integration]]\nname = \"c\"\n[[channel]]\nname = \"x\"\nlegacy_csat = true";
    let told = changed(from, to);
    let expected = [
        "integration.changed a",
        "integration.registered c",
        "integration.removed b",
        "channel.changed x",
        "channel.removed y",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_change_of_the_settings_is_a_change_of_each_channel_for_which_something_else_applies() {
    let channels = "[[channel]]\nname = \"own\"\nreopen = false\n[[channel]]\nname = \"inherits\"\nlegacy_csat = true";
    let to = format!("[settings]\nreopen = true\n{channels}");
    assert_eq!(changed(channels, &to), ["settings.changed", "channel.changed inherits"]);
}

#[test]
fn a_channel_that_makes_a_setting_its_own_has_changed_though_the_same_applies() {
    let from = "[[channel]]\nname = \"sms\"";
    assert_eq!(changed(from, "[[channel]]\nname = \"sms\"\nreopen = false"), ["channel.changed sms"]);
}

#[test]
fn the_version_counts_the_events() {
    let story = given("[[integration]]\nname = \"a\"");
    assert_eq!(story.config.version(), 1);
    assert_eq!(story.configured("[settings]\nreopen = true").config.version(), 3);
}

#[test]
fn events_carry_resolved_values() {
    let events = changes(
        &Config::default(),
        &document(
            "[settings]\ninactivity_timeout = \"120m\"\ndefault_integration = \"bot\"\n[[integration]]\nname = \"bot\"\n\
         [[channel]]\nname = \"sms\"\nreopen = true",
        ),
    );
    let data: Vec<Value> = events.iter().map(|event| serde_json::to_value(event).expect("JSON")).collect();
    let settings = json!({
        "default_integration": "bot", "multi_conversations": false, "reopen": false, "end_user_can_end": false,
        "legacy_csat": false, "inactivity_timeout": "2h", "release_deadline": "never",
        "open_conversations_max": 10_000_000,
    });
    assert_eq!(data[0], settings);
    assert_eq!(
        data[1],
        json!({
            "name": "bot", "next": null, "on_end": "release", "standby": false, "can_take": false,
            "inactivity_timeout": null, "enabled": true,
        })
    );
    let mut sms = settings;
    sms["name"] = json!("sms");
    sms["overrides"] = json!(["reopen"]);
    sms["reopen"] = json!(true);
    assert_eq!(data[2], sms);
}

#[test]
fn events_are_read_back_as_they_were_written() {
    let from = configured(CENTRE);
    let mut events = changes(&Config::default(), &document(CENTRE));
    let changed =
        CENTRE.replacen("can_take = true", "can_take = false", 1).replacen("reopen = true", "reopen = false", 1);
    events.extend(changes(&from, &document(&changed)));
    events.extend(changes(&from, &document("")));
    let names: BTreeSet<&str> = events.iter().map(ConfigEvent::full_name).collect();
    assert_eq!(names.len(), 7, "each kind of event is read back: {names:?}");
    for event in events {
        let data = serde_json::to_string(&event).expect("JSON");
        let read = ConfigEvent::from_data(event.full_name(), &data).expect("read back");
        assert_eq!(read, Some(event));
    }
    assert_eq!(ConfigEvent::from_data("switchboard.settings.unheard_of", "{}").expect("read"), None);
}

#[test]
fn the_configuration_in_force_can_be_put_again_and_changes_nothing() {
    let config = configured(CENTRE);
    let document = Document::parse(&config.to_json()).expect("what is in force is sound");
    assert!(changes(&config, &document).is_empty());
    let mut other = Config::default();
    for (at, event) in changes(&other, &document).iter().enumerate() {
        other.evolve(event, at as u64, Time(0));
    }
    assert_eq!(other.to_json(), config.to_json());
    assert!(!config.to_json().to_string().contains("null"), "what is not given is left out");
}

// What applies

#[test]
fn a_channel_overrides_what_it_sets_and_inherits_the_rest() {
    let config = configured(CENTRE);
    let thread = config.settings(&name("thread"));
    assert!(!thread.multi_conversations && !thread.end_user_can_end);
    assert_eq!(thread.inactivity_timeout, Wait::Ms(86_400_000));
    assert_eq!(thread.default_integration, Some(name("bot")));
    assert_eq!(config.settings(&name("unheard-of")), config.settings(&name("web")));
}

#[test]
fn a_disabled_default_is_nobody() {
    let config = configured(CENTRE);
    assert_eq!(config.default_for(&name("silent")), None);
    assert_eq!(config.default_for(&name("web")), Some(&name("bot")));
    assert!(config.enabled(&name("old-bot")).is_none() && config.enabled(&name("nobody")).is_none());
}

#[test]
fn after_the_close_reopen_goes_first_then_several_conversations_then_a_single_thread() {
    let after = |reopen: bool, multi: bool| {
        let text = format!("[settings]\nreopen = {reopen}\nmulti_conversations = {multi}");
        configured(&text).settings(&name("web")).after_close()
    };
    assert_eq!((after(true, true), after(true, false)), (AfterClose::Reopens, AfterClose::Reopens));
    assert_eq!((after(false, true), after(false, false)), (AfterClose::Refuses, AfterClose::StartsOver));
}
