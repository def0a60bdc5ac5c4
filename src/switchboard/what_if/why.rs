//! Which settings make a difference, in words.

use super::begins;
use super::twin::{Rules, Step};
use crate::domain::command::Due;
use crate::domain::config::{AfterClose, OnEnd, Settings};
use crate::domain::event::{AssignCause, Kind, PassCause};
use crate::domain::{Conversation, Event, Name, Refusal};

/// Why a timer would have acted where none did.
pub(super) fn of_timer(due: Due, recorded: &Conversation, rules: Rules<'_>) -> String {
    match due {
        Due::Inactivity => inactivity(recorded, rules),
        Due::Deadline => deadline(recorded, rules),
        Due::OfferExpiry | Due::Removal => "the offer would have stood until then".into(),
    }
}

/// Why what fell due in the recorded world would not have, or not yet.
pub(super) fn of_recorded_timer(verb: &str, recorded: &Conversation, rules: Rules<'_>) -> String {
    if verb == Due::Inactivity.verb() {
        inactivity(recorded, rules)
    } else if verb == Due::Deadline.verb() {
        deadline(recorded, rules)
    } else {
        "no integration would have been removed".into()
    }
}

/// Why a command would have come to something else.
pub(super) fn of_command(
    step: &Step<'_>,
    instead: &[Event],
    refusal: Option<&Refusal>,
    c: &Conversation,
    rules: Rules<'_>,
) -> String {
    let settings = [rules.recorded, rules.other].map(|config| config.settings(&c.channel));
    match refusal {
        Some(Refusal::ConversationClosed) => return after_close(settings),
        Some(refusal) => return refusal.message(),
        None => {}
    }
    let both = [step.events, instead];
    if let [Some(was), Some(is)] = both.map(on_end) {
        return if was == is {
            "the target of on_end is enabled in one of the two only".into()
        } else {
            format!("on_end is {}, was {}", mode(is), mode(was))
        };
    }
    if beginning(step.events) != beginning(instead) {
        return after_close(settings);
    }
    match (both.map(defaulted), both.map(next)) {
        ([was, is], _) if was != is => {
            format!("default_integration is {}, was {}", integration(is), integration(was))
        }
        (_, [Some(was), Some(is)]) => format!("next is {is}, was {was}"),
        _ => "the rules come to something else under it".into(),
    }
}

fn inactivity(c: &Conversation, rules: Rules<'_>) -> String {
    let [was, is] = [rules.recorded, rules.other].map(|config| config.inactivity(c.owner.as_ref(), &c.channel).0);
    let whose = c.owner.as_ref().map_or_else(String::new, |owner| format!(" while {owner} holds control"));
    match was == is {
        true => format!("inactivity_timeout is {is}{whose}, and has been from the beginning"),
        false => format!("inactivity_timeout is {is}{whose}, was {was}"),
    }
}

fn deadline(c: &Conversation, rules: Rules<'_>) -> String {
    let [was, is] = [rules.recorded, rules.other].map(|config| config.settings(&c.channel).release_deadline);
    match was == is {
        true => format!("release_deadline is {is}, and has been from the beginning"),
        false => format!("release_deadline is {is}, was {was}"),
    }
}

fn after_close([was, is]: [&Settings; 2]) -> String {
    let [was, is] = [was, is].map(|settings| match settings.after_close() {
        AfterClose::Reopens => "goes on (reopen on)",
        AfterClose::StartsOver => "starts over (reopen and multi_conversations off)",
        AfterClose::Refuses => "stays closed (reopen off, multi_conversations on)",
    });
    format!("after the close it {is}, not: {was}")
}

fn on_end(events: &[Event]) -> Option<Option<&OnEnd>> {
    events.iter().find_map(|event| match event {
        Event::EndRequested(requested) => Some(requested.on_end.as_ref()),
        _ => None,
    })
}

fn mode(on_end: Option<&OnEnd>) -> String {
    match on_end {
        Some(OnEnd::Release) => "release".into(),
        Some(OnEnd::Hold) => "hold".into(),
        Some(OnEnd::Pass(to)) => format!("pass to {to}"),
        None => "not asked".into(),
    }
}

fn beginning(events: &[Event]) -> Option<Kind> {
    events.first().filter(|_| begins(events)).map(Event::kind)
}

fn defaulted(events: &[Event]) -> Option<&Name> {
    events.iter().find_map(|event| match event {
        Event::Assigned(assigned) if assigned.cause == AssignCause::Default => Some(&assigned.to),
        _ => None,
    })
}

fn next(events: &[Event]) -> Option<&Name> {
    events.iter().find_map(|event| match event {
        Event::Passed(passed) if passed.cause == PassCause::Next => Some(&passed.to),
        _ => None,
    })
}

fn integration(name: Option<&Name>) -> &str {
    name.map_or("none", Name::as_str)
}
