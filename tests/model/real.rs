//! The same configuration and the same commands in the service's own words.

use serde_json::{Map, Value, json};
use switchboard::domain::command::{ChannelCommand, Due, Expected, IntegrationCommand, OperatorCommand, Target};
use switchboard::domain::config::Document;
use switchboard::domain::decide::Verdict;
use switchboard::domain::metadata::Patch;
use switchboard::domain::words::SentAt;
use switchboard::domain::{By, Command, Event, Name, Refusal, Role, Text};

use super::contract::{Answer, Asked, Rules, Settings, Span, Verb, time};

impl Rules {
    pub fn document(&self) -> Value {
        let integrations = self.integrations.iter().map(|(name, it)| {
            let mut entry = json!({
                "name": name, "on_end": it.on_end.said(), "standby": it.standby, "can_take": it.can_take,
                "enabled": it.enabled
            });
            if let Some(next) = &it.next {
                entry["next"] = json!(next);
            }
            if let Some(timeout) = it.timeout {
                entry["inactivity_timeout"] = json!(span(timeout));
            }
            entry
        });
        let channels = self.channels.iter().map(|(name, settings)| {
            let mut entry = settings.document();
            entry["name"] = json!(name);
            entry
        });
        json!({
            "settings": self.settings.document(), "integration": integrations.collect::<Vec<_>>(),
            "channel": channels.collect::<Vec<_>>()
        })
    }

    pub fn parsed(&self) -> Document {
        Document::parse(&self.document()).unwrap_or_else(|faults| panic!("{faults:?}: {:#}", self.document()))
    }
}

impl Settings {
    fn document(&self) -> Value {
        let mut entry = json!({
            "multi_conversations": self.multi, "reopen": self.reopen, "end_user_can_end": self.user_can_end,
            "legacy_csat": self.legacy_csat, "inactivity_timeout": span(self.timeout),
            "release_deadline": span(self.deadline), "open_conversations_max": self.open_max
        });
        if let Some(default) = &self.default {
            entry["default_integration"] = json!(default);
        }
        entry
    }
}

fn span(ms: Span) -> String {
    ms.map_or("never".to_owned(), |ms| format!("{}s", ms / 1000))
}

impl Asked {
    pub fn caller(&self) -> By {
        let role = match self.verb {
            Verb::Removal => return By::config(),
            verb if verb.is_nobodys() => return By::timer(),
            verb if verb.is_a_channels() => Role::Channel,
            verb if verb.is_an_integrations() => Role::Integration,
            _ => Role::Operator,
        };
        By::caller(role, Name::parse(&self.who).expect("a name"), None)
    }

    pub fn expected(&self) -> Expected {
        Expected { epoch: self.epoch, version: self.version }
    }

    pub fn command(&self) -> Command {
        let text = |text: &Option<String>| text.as_deref().map(Text::from);
        let (reason, metadata, message) = (text(&self.reason), patch(&self.metadata), text(&self.message));
        let (user, continued_from) = (text(&self.user), text(&self.continued_from));
        let to = || match self.to.as_deref().expect("a target") {
            "next" => Target::Next,
            name => Target::Name(Name::parse(name).expect("a name")),
        };
        let owner = self.to.as_ref().map(|owner| Name::parse(owner).expect("a name"));
        let sent_at = self.sent_at.map(|ms| SentAt::parse(&time(ms)).expect("a time"));
        match self.verb {
            Verb::Start => Command::Channel(ChannelCommand::Start { user, owner, metadata, continued_from }),
            Verb::Message => Command::Channel(ChannelCommand::Message { message_id: message, user, sent_at }),
            Verb::EndUser => Command::Channel(ChannelCommand::End { last_message_id: message, reason }),
            Verb::OrderPass => Command::Operator(OperatorCommand::Pass { to: to(), reason }),
            Verb::OrderRelease => Command::Operator(OperatorCommand::Release { reason }),
            Verb::OrderEnd => Command::Operator(OperatorCommand::End { reason }),
            Verb::Inactivity => Command::Due(Due::Inactivity),
            Verb::Deadline => Command::Due(Due::Deadline),
            Verb::Expiry => Command::Due(Due::OfferExpiry),
            Verb::Removal => Command::Due(Due::Removal),
            verb => Command::Integration(match verb {
                Verb::Pass => IntegrationCommand::Pass { to: to(), reason, metadata },
                Verb::Offer => IntegrationCommand::Offer { to: to(), reason, expires_in_ms: self.expires_in, metadata },
                Verb::Accept => IntegrationCommand::Accept { metadata },
                Verb::Decline => IntegrationCommand::Decline { reason },
                Verb::Withdraw => IntegrationCommand::Withdraw,
                Verb::Take => IntegrationCommand::Take { reason, metadata },
                Verb::Release => IntegrationCommand::Release { reason, metadata, last_message_id: message },
                Verb::Reply => IntegrationCommand::Reply { message_id: message },
                _ => IntegrationCommand::End { last_message_id: message, reason },
            }),
        }
    }
}

fn patch(metadata: &Map<String, Value>) -> Patch {
    serde_json::from_value(Value::Object(metadata.clone())).expect("a patch")
}

/// The rules' answer, said as the model says it.
pub fn said(answer: &Result<Verdict, Refusal>) -> Answer {
    match answer {
        Err(refusal) => Answer::Refused(refusal.code()),
        Ok(Verdict::Unchanged) => Answer::Unchanged,
        Ok(Verdict::Applied(events)) => Answer::Happens(events.iter().map(event).collect()),
    }
}

fn event(event: &Event) -> Value {
    let mut data = event.own_fields();
    data["type"] = json!(event.kind().full_name().trim_start_matches("switchboard."));
    data
}
