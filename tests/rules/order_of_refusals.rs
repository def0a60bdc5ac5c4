//! Refusals are checked in the order of the contract's table: of two that apply, the earlier one is the answer.

use serde_json::{Map, Value, json};
use switchboard::domain::{By, Command};

use super::given::*;
use super::say::*;

/// A command of which two refusals hold, and one alike of which only the later holds.
struct Row {
    earlier: &'static str,
    both: Asked,
    later: &'static str,
    one: Asked,
}

type Asked = (Given, By, Command);

fn asked(story: Given, by: By, command: impl Ask) -> Asked {
    (story, by, command.command())
}

fn row(earlier: &'static str, both: Asked, later: &'static str, one: Asked) -> Row {
    Row { earlier, both, later, one }
}

fn check(rows: Vec<Row>) {
    for Row { earlier, both, later, one } in rows {
        for ((story, by, command), code) in [(both, earlier), (one, later)] {
            let got = story.when(by, command).code();
            assert_eq!(got, Some(code), "{earlier} goes before {later}");
        }
    }
}

fn huge() -> Value {
    Value::Object((0..65).map(|at| (format!("k{at}"), json!(at))).collect::<Map<_, _>>())
}

fn open() -> Given {
    given(CENTRE).after(web(), start())
}

fn offered_to_agents() -> Given {
    open().after(bot(), offer("agents"))
}

fn ending() -> Given {
    given(CENTRE).after(web(), start_for("agents")).after(web(), end())
}

fn ended() -> Given {
    open().after(bot(), finish())
}

fn stale(story: Given) -> Given {
    story.expecting(Some(77), None)
}

fn full() -> Given {
    given(CENTRE).open_conversations(10_000_000)
}

#[test]
fn limit_reached_goes_before_what_is_said_of_a_conversation_that_is_not_there() {
    check(vec![
        row(
            "limit_reached",
            asked(stale(full()), web(), start()),
            "stale_version",
            asked(stale(given(CENTRE)), web(), start()),
        ),
        row(
            "limit_reached",
            asked(full(), web(), start_for("nobody")),
            "invalid_target",
            asked(given(CENTRE), web(), start_for("nobody")),
        ),
    ]);
}

#[test]
fn unknown_integration_goes_before_everything_that_is_said_of_the_conversation() {
    let stranger = || integration("nobody");
    check(vec![
        row(
            "unknown_integration",
            asked(given(CENTRE), stranger(), release()),
            "conversation_not_found",
            asked(given(CENTRE), bot(), release()),
        ),
        row(
            "unknown_integration",
            asked(ended(), stranger(), release()),
            "conversation_closed",
            asked(ended(), bot(), release()),
        ),
        row(
            "unknown_integration",
            asked(stale(open()), stranger(), release()),
            "stale_version",
            asked(stale(open()), bot(), release()),
        ),
        row(
            "unknown_integration",
            asked(open(), integration("old-bot"), release()),
            "not_in_control",
            asked(open(), agents(), release()),
        ),
    ]);
}

#[test]
fn conversation_not_found_goes_before_stale_version() {
    given(CENTRE).expecting(Some(1), None).when(bot(), release()).refused("conversation_not_found");
    given(CENTRE).expecting(None, Some(1)).when(olga(), order_pass("nobody")).refused("conversation_not_found");
    given(CENTRE).expecting(Some(1), None).when(web(), end()).refused("conversation_not_found");
}

#[test]
fn wrong_channel_goes_before_everything_that_is_said_of_the_conversation() {
    let other = || channel("mail");
    check(vec![
        row(
            "wrong_channel",
            asked(ended(), other(), message()),
            "conversation_closed",
            asked(ended(), web(), message()),
        ),
        row(
            "wrong_channel",
            asked(stale(open()), other(), message()),
            "stale_version",
            asked(stale(open()), web(), message()),
        ),
        row(
            "wrong_channel",
            asked(given(CENTRE).after(channel("thread"), start()), web(), end()),
            "end_not_allowed",
            asked(given(CENTRE).after(channel("thread"), start()), channel("thread"), end()),
        ),
    ]);
    ended().when(other(), end()).refused("wrong_channel");
}

#[test]
fn conversation_closed_goes_before_what_is_said_of_the_command() {
    let after = |story: Given, by: By, command: Command| (story, by, command);
    check(vec![
        row(
            "conversation_closed",
            after(stale(ended()), bot(), release().command()),
            "stale_version",
            after(stale(open()), bot(), release().command()),
        ),
        row(
            "conversation_closed",
            asked(ended(), agents(), pass("survey")),
            "not_in_control",
            asked(open(), agents(), pass("survey")),
        ),
        row("conversation_closed", asked(ended(), bot(), take()), "not_allowed", asked(open(), bot(), take())),
        row("conversation_closed", asked(ended(), bot(), accept()), "not_offered", asked(open(), bot(), accept())),
        row(
            "conversation_closed",
            asked(ended(), olga(), order_pass("next")),
            "invalid_target",
            asked(open(), olga(), order_pass("next")),
        ),
        row(
            "conversation_closed",
            asked(ended(), bot(), release_with("r", huge())),
            "metadata_too_large",
            asked(open(), bot(), release_with("r", huge())),
        ),
    ]);
}

#[test]
fn stale_version_goes_before_what_is_said_of_the_command() {
    let thread = || given(CENTRE).after(channel("thread"), start());
    let rows = [
        ("end_not_allowed", asked(thread(), channel("thread"), end())),
        ("not_in_control", asked(open(), agents(), pass("survey"))),
        ("not_allowed", asked(open(), bot(), take())),
        ("not_offered", asked(open(), bot(), accept())),
        ("conversation_ending", asked(ending(), agents(), offer("survey"))),
        ("invalid_target", asked(open(), bot(), pass("nobody"))),
        ("metadata_too_large", asked(open(), bot(), pass_with("agents", "r", huge()))),
    ];
    let rows = rows.map(|(later, (story, by, command))| {
        row("stale_version", (stale(story.clone()), by.clone(), command.clone()), later, (story, by, command))
    });
    check(rows.into());
}

#[test]
fn who_may_ask_goes_before_where_control_is_to_go() {
    check(vec![
        row(
            "not_in_control",
            asked(ending(), bot(), offer("survey")),
            "conversation_ending",
            asked(ending(), agents(), offer("survey")),
        ),
        row(
            "not_in_control",
            asked(open(), agents(), pass("nobody")),
            "invalid_target",
            asked(open(), bot(), pass("nobody")),
        ),
        row(
            "not_in_control",
            asked(open(), integration("survey"), pass("next")),
            "invalid_target",
            asked(given(CENTRE).after(web(), start_for("survey")), integration("survey"), pass("next")),
        ),
        row(
            "not_in_control",
            asked(open(), agents(), release_with("r", huge())),
            "metadata_too_large",
            asked(open(), bot(), release_with("r", huge())),
        ),
        row(
            "not_allowed",
            asked(open(), integration("survey"), take_with("r", huge())),
            "metadata_too_large",
            asked(open(), agents(), take_with("r", huge())),
        ),
        row(
            "not_offered",
            asked(open(), agents(), accept_with(huge())),
            "metadata_too_large",
            asked(offered_to_agents(), agents(), accept_with(huge())),
        ),
    ]);
}

#[test]
fn conversation_ending_goes_before_invalid_target_and_that_before_metadata_too_large() {
    check(vec![
        row(
            "conversation_ending",
            asked(ending(), agents(), offer("nobody")),
            "invalid_target",
            asked(open(), bot(), offer("nobody")),
        ),
        row(
            "conversation_ending",
            asked(ending(), agents(), offer_with("survey", "r", huge())),
            "metadata_too_large",
            asked(open(), bot(), offer_with("survey", "r", huge())),
        ),
        row(
            "invalid_target",
            asked(open(), bot(), offer_with("nobody", "r", huge())),
            "metadata_too_large",
            asked(open(), bot(), offer_with("agents", "r", huge())),
        ),
        row(
            "invalid_target",
            asked(open(), bot(), pass_with("nobody", "r", huge())),
            "metadata_too_large",
            asked(open(), bot(), pass_with("agents", "r", huge())),
        ),
        row(
            "invalid_target",
            asked(given(CENTRE), web(), start_with("u", "nobody", huge())),
            "metadata_too_large",
            asked(given(CENTRE), web(), start_with("u", "bot", huge())),
        ),
    ]);
}

#[test]
fn unchanged_is_answered_after_all_refusals_while_the_conversation_is_not_closed() {
    stale(open()).when(web(), start()).refused("stale_version");
    stale(ending()).when(web(), end()).refused("stale_version");
    stale(open()).when(bot(), pass("bot")).refused("stale_version");
    stale(open()).when(bot(), withdraw()).refused("stale_version");
    stale(open()).when(olga(), order_pass("bot")).refused("stale_version");
    stale(open().after(bot(), release())).when(olga(), order_release()).refused("stale_version");
    stale(offered_to_agents().after(agents(), accept())).when(agents(), accept()).refused("stale_version");
    stale(open().after(agents(), take())).when(agents(), take()).refused("stale_version");
    open().when(bot(), pass_with("bot", "r", huge())).refused("metadata_too_large");
    open().after(agents(), take()).when(agents(), take_with("r", huge())).refused("metadata_too_large");
    let accepted = offered_to_agents().after(agents(), accept());
    accepted.when(agents(), accept_with(huge())).refused("metadata_too_large");
}

#[test]
fn unchanged_is_answered_in_the_place_of_conversation_closed_after_the_close() {
    stale(ended()).when(web(), end()).unchanged();
    stale(ended()).when(bot(), finish()).unchanged();
    stale(ended()).when(olga(), order_end()).unchanged();
    ended().when(channel("mail"), end()).refused("wrong_channel");
    ended().when(integration("nobody"), finish()).refused("unknown_integration");
}

#[test]
fn both_expectations_must_be_met() {
    let c = open();
    let (epoch, version) = (c.c().epoch, c.c().version);
    c.clone().expecting(Some(epoch), Some(version)).when(bot(), release()).applied();
    c.clone().expecting(Some(epoch), Some(version + 1)).when(bot(), release()).refused("stale_version");
    c.clone().expecting(Some(epoch - 1), Some(version)).when(bot(), release()).refused("stale_version");
    c.expecting(Some(0), Some(0)).when(bot(), release()).refused("stale_version");
}
