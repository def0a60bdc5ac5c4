//! What the contract says must come of a request, in a state and at a place of the order.
//!
//! The rules themselves are those of the model of the small worlds; this adds what it leaves out: callers and channels,
//! expected versions, command ids, metadata, `state`.

use serde_json::Map;
use switchboard::domain::config::AfterClose;

use crate::history::Operation;
use crate::metadata::{is_too_large, merged};
use crate::model::{A, Answer, C, Move, OnEnd, Rules, Stage, To, World};
use crate::timeline::{NAMES, Slot};

/// The integration that stands by.
pub const STANDBY: &str = "s";
/// A channel to which no conversation belongs.
pub const STRANGER: &str = "mail";

/// What must come of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    Refused(&'static str),
    Unchanged,
    /// The conversation is that afterwards; the same where nothing is recorded.
    Becomes(World),
    /// The state is shown.
    Shown,
}

/// Judges what is no repeat.
pub fn judge(operation: &Operation, slot: &Slot, c_is_on: bool) -> Expected {
    let world = World { c_is_on, ..slot.world };
    let caller = NAMES.iter().position(|name| *name == operation.name);
    let is_known = operation.role != "integration" || caller.is_some() || operation.name == STANDBY;
    if !is_known || (operation.role == "integration" && caller == Some(C) && !c_is_on) {
        return Expected::Refused("unknown_integration");
    }
    if operation.verb == "list" {
        return Expected::Shown;
    }
    if world.stage == Stage::Unknown && !may_begin(operation) {
        return Expected::Refused("conversation_not_found");
    }
    if operation.role == "channel" && operation.name != channel(&operation.conversation) {
        return Expected::Refused("wrong_channel");
    }
    if operation.verb == "state" {
        let concerns = caller.is_some() && (world.owner == caller || world.offer == caller);
        let may_see = operation.role != "integration" || concerns || operation.name == STANDBY;
        return if may_see { Expected::Shown } else { Expected::Refused("not_allowed") };
    }
    let Some(asked) = asked(operation) else { panic!("the clients ask nothing of that kind: {operation:?}") };
    let answer = rules(channel(&operation.conversation)).answer(world, asked);
    let is_answered_before_versions = match answer {
        Answer::Refused(code) => code == "conversation_closed",
        Answer::Unchanged => world.stage == Stage::Closed,
        Answer::Becomes(_) => false,
    };
    if !is_answered_before_versions && is_stale(operation, slot) {
        return Expected::Refused("stale_version");
    }
    match answer {
        Answer::Refused(code) => Expected::Refused(code),
        _ if is_too_much(operation, slot, answer) => Expected::Refused("metadata_too_large"),
        Answer::Unchanged => Expected::Unchanged,
        Answer::Becomes(world) => Expected::Becomes(world),
    }
}

/// Whether it sets or deletes more metadata than it may, or more would be there afterwards. A `start` begins from none,
/// and after the close nothing is looked at.
fn is_too_much(operation: &Operation, slot: &Slot, answer: Answer) -> bool {
    let Some(patch) = operation.body["metadata"].as_object() else { return false };
    let is_offered = slot.offered_to.as_ref() == Some(&operation.name);
    match operation.verb.as_str() {
        _ if slot.world.stage == Stage::Closed && answer == Answer::Unchanged => false,
        "start" => is_too_large(&Map::new(), patch),
        "accept" if is_offered => is_too_large(&merged(&slot.metadata, &slot.offered_metadata), patch),
        _ => is_too_large(&slot.metadata, patch),
    }
}

/// What must come of what fell due, or of a removal where the slot is orphaned.
pub fn judge_due(verb: &str, slot: &Slot, conversation: &str, c_is_on: bool, is_orphaned: bool) -> Expected {
    let world = World { c_is_on, ..slot.world };
    let answer = match verb {
        "inactivity" => rules(channel(conversation)).answer(world, Move::Inactivity),
        "deadline" => rules(channel(conversation)).answer(world, Move::Deadline),
        "offer_expiry" => rules(channel(conversation)).answer(world, Move::Expiry),
        // In the model it goes with the switch.
        "removal" if is_orphaned => {
            rules(channel(conversation)).answer(World { c_is_on: true, ..world }, Move::SwitchC)
        }
        _ => Answer::Refused("nothing of that kind falls due"),
    };
    match answer {
        Answer::Refused(code) => Expected::Refused(code),
        Answer::Unchanged => Expected::Unchanged,
        Answer::Becomes(world) => Expected::Becomes(world),
    }
}

/// The channel that starts a conversation stands before the first hyphen of its id.
pub fn channel(conversation: &str) -> &str {
    conversation.split('-').next().unwrap_or_default()
}

/// The rules of a channel, as the configuration of these tests has them.
fn rules(channel: &str) -> Rules {
    let (default, after) = match channel {
        "thread" => (None, AfterClose::StartsOver),
        "again" => (Some(A), AfterClose::Reopens),
        _ => (Some(A), AfterClose::Refuses),
    };
    Rules { on_end: OnEnd::Pass(C), default, after }
}

fn may_begin(operation: &Operation) -> bool {
    operation.role == "channel" && matches!(operation.verb.as_str(), "start" | "message")
}

fn is_stale(operation: &Operation, slot: &Slot) -> bool {
    let differs = |field: &str, is: u64| operation.body[field].as_u64().is_some_and(|expected| expected != is);
    differs("expected_epoch", slot.epoch) || differs("expected_version", slot.version)
}

fn asked(operation: &Operation) -> Option<Move> {
    let body = &operation.body;
    let number = |name: &str| NAMES.iter().position(|known| *known == name);
    let target = || match body["to"].as_str().unwrap_or_default() {
        "next" => To::Next,
        name => number(name).map_or(To::Nobody, To::Named),
    };
    let me = number(&operation.name);
    Some(match (operation.role.as_str(), operation.verb.as_str()) {
        ("channel", "start") => Move::Start(body["owner"].as_str().and_then(number)),
        ("channel", "message") if body.get("sent_at").is_some() => Move::LateMessage,
        ("channel", "message") => Move::Message,
        ("channel", "end") => Move::End,
        ("operator", "pass") => Move::OrderPass(target()),
        ("operator", "release") => Move::OrderRelease,
        ("operator", "end") => Move::OrderEnd,
        ("integration", "pass") => Move::Pass(me?, target()),
        ("integration", "offer") => Move::Offer(me?, target()),
        ("integration", "accept") => Move::Accept(me?),
        ("integration", "decline") => Move::Decline(me?),
        ("integration", "withdraw") => Move::Withdraw(me?),
        ("integration", "take") => Move::Take(me?),
        ("integration", "release") => Move::Release(me?),
        ("integration", "reply") => Move::Reply(me?),
        ("integration", "end") => Move::Finish(me?),
        _ => return None,
    })
}
