//! How a conversation is shown: whole in answers, in short in errors, and as events carry it.

use super::line::Line;
use crate::domain::config::Settings;
use crate::domain::conversation::{EndRequest, Offer};
use crate::domain::{Conversation, Name};

/// The whole state, as answers and queries give it.
pub fn write_state(line: &mut Line, c: &Conversation, settings: &Settings) {
    line.open();
    line.token("id", c.id.as_str());
    line.field("session", &c.session);
    line.token("channel", c.channel.as_str());
    line.personal("user", &c.user);
    line.field("continued_from", &c.continued_from);
    line.field("status", &c.status);
    line.token_or_null("owner", c.owner.as_ref().map(Name::as_str));
    line.time_or_null("owner_since", c.owner_since());
    write_offer(line, c.offer.as_deref());
    line.field("version", &c.version);
    line.field("epoch", &c.epoch);
    line.field("seq", &c.seq);
    line.time("started_at", c.started_at);
    line.time("last_activity_at", c.last_activity_at);
    line.field("last_message_id", &c.last_message_id);
    write_end_requested(line, c.end_requested.as_deref());
    line.field("closed", &c.closed);
    line.personal("metadata", &c.metadata);
    line.field("waiting_for", &c.waiting_for());
    line.field("affordances", &c.affordances(settings));
    line.close();
}

/// The six fields that errors carry.
pub fn write_short(line: &mut Line, c: &Conversation) {
    line.open();
    line.token("id", c.id.as_str());
    line.field("status", &c.status);
    line.token_or_null("owner", c.owner.as_ref().map(Name::as_str));
    line.field("version", &c.version);
    line.field("epoch", &c.epoch);
    line.field("seq", &c.seq);
    line.close();
}

/// The conversation after an event, as the event carries it.
pub fn write_after(line: &mut Line, c: &Conversation, settings: &Settings) {
    line.open();
    line.field("status", &c.status);
    line.token_or_null("owner", c.owner.as_ref().map(Name::as_str));
    write_offer(line, c.offer.as_deref());
    line.token("channel", c.channel.as_str());
    line.personal("user", &c.user);
    write_end_requested(line, c.end_requested.as_deref());
    line.field("affordances", &c.affordances(settings));
    line.close();
}

fn write_offer(line: &mut Line, offer: Option<&Offer>) {
    line.key("offer");
    let Some(offer) = offer else { return line.raw(b"null") };
    line.open();
    line.token("to", offer.to.as_str());
    line.by("by", &offer.by);
    line.personal("reason", &offer.reason);
    line.personal("metadata", &offer.metadata);
    line.time_or_null("expires_at", offer.expires_at);
    line.close();
}

fn write_end_requested(line: &mut Line, request: Option<&EndRequest>) {
    line.key("end_requested");
    let Some(request) = request else { return line.raw(b"null") };
    line.open();
    line.by("by", &request.by);
    line.field("cause", &request.cause);
    line.personal("reason", &request.reason);
    line.time("at", request.at);
    line.time_or_null("deadline", request.deadline);
    line.field("last_message_id", &request.last_message_id);
    line.close();
}
