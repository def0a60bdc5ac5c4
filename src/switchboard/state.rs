//! How a conversation is shown: whole in answers, in short in errors, and as events carry it.

use super::line::Line;
use crate::domain::config::Settings;
use crate::domain::conversation::{Affordances, EndRequest, Offer};
use crate::domain::{Conversation, Name};

/// The whole state, as answers and queries give it.
pub fn write_state(line: &mut Line, c: &Conversation, settings: &Settings) {
    line.open();
    line.token("id", c.id.as_str());
    line.field("session", &c.session);
    line.token("channel", c.channel.as_str());
    line.personal_text("user", c.user.as_ref());
    line.text_or_null("continued_from", c.continued_from.as_ref());
    line.token("status", c.status.as_str());
    line.token_or_null("owner", c.owner.as_ref().map(Name::as_str));
    line.time_or_null("owner_since", c.owner_since());
    write_offer(line, c.offer.as_deref());
    line.field("version", &c.version);
    line.field("epoch", &c.epoch);
    line.field("seq", &c.seq);
    line.time("started_at", c.started_at);
    line.time("last_activity_at", c.last_activity_at);
    line.text_or_null("last_message_id", c.last_message_id.as_ref());
    write_end_requested(line, c.end_requested.as_deref());
    line.field("closed", &c.closed);
    line.personal("metadata", &c.metadata);
    line.field("waiting_for", &c.waiting_for());
    write_affordances(line, c.affordances(settings));
    line.close();
}

/// The six fields that errors carry.
pub const SHORT_FIELDS: [&str; 6] = ["id", "status", "owner", "version", "epoch", "seq"];

/// Writes the six fields that errors carry.
pub fn write_short(line: &mut Line, c: &Conversation) {
    line.open();
    line.token("id", c.id.as_str());
    line.token("status", c.status.as_str());
    line.token_or_null("owner", c.owner.as_ref().map(Name::as_str));
    line.field("version", &c.version);
    line.field("epoch", &c.epoch);
    line.field("seq", &c.seq);
    line.close();
}

/// The conversation after an event, as the event carries it.
pub fn write_after(line: &mut Line, c: &Conversation, settings: &Settings) {
    line.open();
    line.token("status", c.status.as_str());
    line.token_or_null("owner", c.owner.as_ref().map(Name::as_str));
    write_offer(line, c.offer.as_deref());
    line.token("channel", c.channel.as_str());
    line.personal_text("user", c.user.as_ref());
    write_end_requested(line, c.end_requested.as_deref());
    write_affordances(line, c.affordances(settings));
    line.close();
}

fn write_affordances(line: &mut Line, shown: Affordances) {
    line.key("affordances");
    line.open();
    line.flag("end_conversation", shown.end_conversation);
    line.flag("send_message", shown.send_message);
    line.flag("continue_on_other_channels", shown.continue_on_other_channels);
    line.flag("start_new_conversation", shown.start_new_conversation);
    line.flag("send_csat", shown.send_csat);
    line.close();
}

fn write_offer(line: &mut Line, offer: Option<&Offer>) {
    line.key("offer");
    let Some(offer) = offer else { return line.raw(b"null") };
    line.open();
    line.token("to", offer.to.as_str());
    line.by("by", &offer.by);
    line.personal_text("reason", offer.reason.as_ref());
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
    line.personal_text("reason", request.reason.as_ref());
    line.time("at", request.at);
    line.time_or_null("deadline", request.deadline);
    line.text_or_null("last_message_id", request.last_message_id.as_ref());
    line.close();
}
