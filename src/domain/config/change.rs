//! What a new configuration changes, told as events with resolved values.

use serde::{Deserialize, Serialize};

use super::document::Document;
use super::{Channel, Config, Integration, Settings};
use crate::domain::words::{Name, Time};

/// One thing that happened to the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ConfigEvent {
    /// The settings for all channels.
    SettingsChanged(Settings),
    /// An integration that was not known.
    IntegrationRegistered(Integration),
    /// An integration, other than it was.
    IntegrationChanged(Integration),
    /// An integration is known no longer.
    IntegrationRemoved {
        /// Which.
        name: Name,
    },
    /// A channel with settings of its own.
    ChannelRegistered(Channel),
    /// A channel for which something else applies than did.
    ChannelChanged(Channel),
    /// A channel has no settings of its own any longer.
    ChannelRemoved {
        /// Which.
        name: Name,
    },
}

#[derive(Deserialize)]
struct Named {
    name: Name,
}

impl ConfigEvent {
    /// The full name, as in an event's `type`.
    pub fn full_name(&self) -> &'static str {
        match self {
            ConfigEvent::SettingsChanged(_) => "switchboard.settings.changed",
            ConfigEvent::IntegrationRegistered(_) => "switchboard.integration.registered",
            ConfigEvent::IntegrationChanged(_) => "switchboard.integration.changed",
            ConfigEvent::IntegrationRemoved { .. } => "switchboard.integration.removed",
            ConfigEvent::ChannelRegistered(_) => "switchboard.channel.registered",
            ConfigEvent::ChannelChanged(_) => "switchboard.channel.changed",
            ConfigEvent::ChannelRemoved { .. } => "switchboard.channel.removed",
        }
    }

    /// Reads the event's own fields out of its `data`; none where the full name is not known.
    pub fn from_data(full_name: &str, data: &str) -> serde_json::Result<Option<ConfigEvent>> {
        Ok(Some(match full_name {
            "switchboard.settings.changed" => ConfigEvent::SettingsChanged(serde_json::from_str(data)?),
            "switchboard.integration.registered" => ConfigEvent::IntegrationRegistered(serde_json::from_str(data)?),
            "switchboard.integration.changed" => ConfigEvent::IntegrationChanged(serde_json::from_str(data)?),
            "switchboard.integration.removed" => {
                ConfigEvent::IntegrationRemoved { name: serde_json::from_str::<Named>(data)?.name }
            }
            "switchboard.channel.registered" => ConfigEvent::ChannelRegistered(serde_json::from_str(data)?),
            "switchboard.channel.changed" => ConfigEvent::ChannelChanged(serde_json::from_str(data)?),
            "switchboard.channel.removed" => {
                ConfigEvent::ChannelRemoved { name: serde_json::from_str::<Named>(data)?.name }
            }
            _ => return Ok(None),
        }))
    }
}

impl Config {
    /// What `document` says, as if it had stood from the beginning of time.
    pub fn from_the_beginning(document: &Document) -> Config {
        let mut config = Config::default();
        for event in changes(&Config::default(), document) {
            config.evolve(&event, 0, Time(0));
        }
        config
    }
}

/// What must happen for `config` to become what `document` says: settings first, then
/// integrations, then channels, removals last in each.
pub fn changes(config: &Config, document: &Document) -> Vec<ConfigEvent> {
    let mut events = Vec::new();
    if config.settings != document.settings {
        events.push(ConfigEvent::SettingsChanged(document.settings.clone()));
    }
    for integration in &document.integrations {
        match config.integrations.get(&integration.name) {
            None => events.push(ConfigEvent::IntegrationRegistered(integration.clone())),
            Some(known) if known.value != *integration => {
                events.push(ConfigEvent::IntegrationChanged(integration.clone()))
            }
            Some(_) => {}
        }
    }
    for name in config.integrations.keys().filter(|name| !document.integrations.iter().any(|i| i.name == **name)) {
        events.push(ConfigEvent::IntegrationRemoved { name: name.clone() });
    }
    for channel in &document.channels {
        match config.channels.get(&channel.name) {
            None => events.push(ConfigEvent::ChannelRegistered(channel.clone())),
            Some(known) if known.value != *channel => events.push(ConfigEvent::ChannelChanged(channel.clone())),
            Some(_) => {}
        }
    }
    for name in config.channels.keys().filter(|name| !document.channels.iter().any(|c| c.name == **name)) {
        events.push(ConfigEvent::ChannelRemoved { name: name.clone() });
    }
    events
}
