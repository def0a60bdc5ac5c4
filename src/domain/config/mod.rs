//! The configuration: settings, integrations and channels, folded from the events of `_config`.
//!
//! A whole document comes in ([`document`]), what it changes is told as events with resolved
//! values ([`change`]), and rules read only what those events made, so that a replay never asks
//! today's configuration.

pub mod change;
pub mod document;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::words::{Name, Time, Wait};
pub use change::ConfigEvent;
pub use document::{Document, Faults};

/// Most integrations, and most channels.
pub const ENTRIES_MAX: usize = 1000;
/// Most enabled integrations that listen on standby: each event is copied to every one.
pub const STANDBY_MAX: usize = 8;
/// Most removed channels whose count is known for each: beyond it all channels without settings of their own count from
/// the last such change, which ends nothing early.
pub const DROPPED_MAX: usize = 10 * ENTRIES_MAX;
/// Open conversations of one channel, where nothing else is set.
pub const OPEN_CONVERSATIONS_MAX: u64 = 10_000_000;

/// What applies to the conversations of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Settings {
    pub default_integration: Option<Name>,
    pub multi_conversations: bool,
    pub reopen: bool,
    pub end_user_can_end: bool,
    pub legacy_csat: bool,
    pub inactivity_timeout: Wait,
    pub release_deadline: Wait,
    pub open_conversations_max: u64,
}

/// What a closed conversation does when its user comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterClose {
    /// The same session goes on at the next message.
    Reopens,
    /// A single thread: the next session starts from the beginning.
    StartsOver,
    /// It stays closed; the user starts another conversation.
    Refuses,
}

impl AfterClose {
    /// Whether a message of the end user is taken after the close.
    pub fn takes_messages(self) -> bool {
        self != AfterClose::Refuses
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            default_integration: None,
            multi_conversations: false,
            reopen: false,
            end_user_can_end: false,
            legacy_csat: false,
            inactivity_timeout: Wait::Never,
            release_deadline: Wait::Never,
            open_conversations_max: OPEN_CONVERSATIONS_MAX,
        }
    }
}

impl Settings {
    /// What happens to conversations of this channel after the close.
    pub fn after_close(&self) -> AfterClose {
        match (self.reopen, self.multi_conversations) {
            (true, _) => AfterClose::Reopens,
            (false, true) => AfterClose::Refuses,
            (false, false) => AfterClose::StartsOver,
        }
    }
}

/// What an integration's conversations do when their end user ends them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEnd {
    /// Control is released at once.
    #[default]
    Release,
    /// The owner is told, and releases when it is done.
    Hold,
    /// Control goes to another integration, which must release it.
    Pass(Name),
}

/// An integration as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Integration {
    pub name: Name,
    pub next: Option<Name>,
    pub on_end: OnEnd,
    pub standby: bool,
    pub can_take: bool,
    /// While it owns; none where the channel's applies.
    pub inactivity_timeout: Option<Wait>,
    pub enabled: bool,
}

/// A setting that a channel may set for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Field {
    DefaultIntegration,
    MultiConversations,
    Reopen,
    EndUserCanEnd,
    LegacyCsat,
    InactivityTimeout,
    ReleaseDeadline,
    OpenConversationsMax,
}

/// A channel as configured: which settings are its own, and what applies to it, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Channel {
    pub name: Name,
    pub overrides: Vec<Field>,
    #[serde(flatten)]
    pub settings: Settings,
}

/// The configuration at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    version: u64,
    settings: Settings,
    timeout_changed_at: Time,
    integrations: BTreeMap<Name, Known<Integration>>,
    channels: BTreeMap<Name, Known<Channel>>,
    gone: BTreeMap<Name, u64>,
    /// Of channels that were removed since the common inactivity timeout last changed: since when it has been theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dropped: BTreeMap<Name, Time>,
    /// Of the last put, where it changed the common inactivity timeout: what applied before. Settings are told before the
    /// channels, and one that is registered then with what applied to it already goes on with its count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<CommonTimeout>,
}

/// The inactivity timeout of channels without settings of their own, as it was until that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CommonTimeout {
    until: Time,
    timeout: Wait,
    since: Time,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    dropped: BTreeMap<Name, Time>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known<T> {
    value: T,
    /// When the inactivity timeout that it sets last changed.
    timeout_changed_at: Time,
}

impl Config {
    /// Counts the events of the configuration.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The settings that apply to conversations of `channel`.
    pub fn settings(&self, channel: &Name) -> &Settings {
        self.channels.get(channel).map_or(&self.settings, |known| &known.value.settings)
    }

    /// The integration of that name, unless it is unknown or disabled.
    pub fn enabled(&self, name: &Name) -> Option<&Integration> {
        self.integrations.get(name).map(|known| &known.value).filter(|integration| integration.enabled)
    }

    /// The names of all integrations, disabled ones too.
    pub fn integrations(&self) -> impl Iterator<Item = &Name> {
        self.integrations.keys()
    }

    /// The names of all channels that it names.
    pub fn channels(&self) -> impl Iterator<Item = &Name> {
        self.channels.keys()
    }

    /// Whoever gets conversations of `channel` that nobody holds.
    pub fn default_for(&self, channel: &Name) -> Option<&Name> {
        let name = self.settings(channel).default_integration.as_ref()?;
        self.enabled(name).map(|integration| &integration.name)
    }

    /// The enabled integrations that listen on standby.
    pub fn standbys(&self) -> impl Iterator<Item = &Name> {
        let enabled = self.integrations.values().map(|known| &known.value).filter(|i| i.enabled && i.standby);
        enabled.map(|integration| &integration.name)
    }

    /// How long a conversation may rest, and since when that has been the rule.
    pub fn inactivity(&self, owner: Option<&Name>, channel: &Name) -> (Wait, Time) {
        let channels = match self.channels.get(channel) {
            Some(known) => (known.value.settings.inactivity_timeout, known.timeout_changed_at),
            None => self.common_timeout(channel),
        };
        match owner.and_then(|owner| self.integrations.get(owner)) {
            Some(known) => match known.value.inactivity_timeout {
                Some(own) => (own, known.timeout_changed_at),
                None => (channels.0, channels.1.max(known.timeout_changed_at)),
            },
            None => channels,
        }
    }

    /// The inactivity timeout of a channel that has no settings of its own, and since when it has been its.
    fn common_timeout(&self, channel: &Name) -> (Wait, Time) {
        let since = self.dropped.get(channel).copied().unwrap_or(self.timeout_changed_at);
        (self.settings.inactivity_timeout, since)
    }

    /// Whether `name` was removed or disabled after the event `since`: what it held then is to be released.
    pub fn is_gone_since(&self, name: &Name, since: u64) -> bool {
        self.gone.get(name).is_some_and(|gone| *gone > since)
    }

    /// Writes down one event of the configuration.
    pub fn evolve(&mut self, event: &ConfigEvent, seq: u64, at: Time) {
        self.version += 1;
        // Events of one put have one time.
        self.before = self.before.take().filter(|before| before.until == at);
        match event {
            ConfigEvent::SettingsChanged(settings) => self.set_settings(settings, at),
            ConfigEvent::IntegrationRegistered(integration) | ConfigEvent::IntegrationChanged(integration) => {
                self.set_integration(integration, seq, at);
            }
            ConfigEvent::IntegrationRemoved { name } => {
                self.integrations.remove(name);
                self.gone.insert(name.clone(), seq);
            }
            ConfigEvent::ChannelRegistered(channel) | ConfigEvent::ChannelChanged(channel) => {
                self.set_channel(channel, at)
            }
            ConfigEvent::ChannelRemoved { name } => self.drop_channel(name, at),
        }
    }

    fn set_settings(&mut self, settings: &Settings, at: Time) {
        let before = std::mem::replace(&mut self.settings, settings.clone());
        if before.inactivity_timeout != settings.inactivity_timeout {
            let since = std::mem::replace(&mut self.timeout_changed_at, at);
            let dropped = std::mem::take(&mut self.dropped);
            self.before = Some(CommonTimeout { until: at, timeout: before.inactivity_timeout, since, dropped });
        }
    }

    fn set_integration(&mut self, integration: &Integration, seq: u64, at: Time) {
        if !integration.enabled {
            self.gone.insert(integration.name.clone(), seq);
        }
        let before = self.integrations.get(&integration.name);
        let timeout_changed_at = match before {
            Some(known) if known.value.inactivity_timeout == integration.inactivity_timeout => known.timeout_changed_at,
            _ => at,
        };
        self.integrations.insert(integration.name.clone(), Known { value: integration.clone(), timeout_changed_at });
    }

    fn set_channel(&mut self, channel: &Channel, at: Time) {
        let (before, changed_at) = match self.channels.get(&channel.name) {
            Some(known) => (known.value.settings.inactivity_timeout, known.timeout_changed_at),
            None => self.timeout_before_put(&channel.name),
        };
        self.dropped.remove(&channel.name);
        let timeout_changed_at = if before == channel.settings.inactivity_timeout { changed_at } else { at };
        self.channels.insert(channel.name.clone(), Known { value: channel.clone(), timeout_changed_at });
    }

    /// What applied to a channel without settings of its own before the put that is written down.
    fn timeout_before_put(&self, channel: &Name) -> (Wait, Time) {
        match &self.before {
            Some(before) => (before.timeout, before.dropped.get(channel).copied().unwrap_or(before.since)),
            None => self.common_timeout(channel),
        }
    }

    fn drop_channel(&mut self, name: &Name, at: Time) {
        let Some(known) = self.channels.remove(name) else { return };
        let is_same = known.value.settings.inactivity_timeout == self.settings.inactivity_timeout;
        let since = if is_same { known.timeout_changed_at } else { at };
        // Another put within the same millisecond may bring the channel back.
        if let Some(before) = &mut self.before {
            before.dropped.insert(name.clone(), at);
        }
        // What never ends by inactivity has no count.
        if since != self.timeout_changed_at && self.settings.inactivity_timeout != Wait::Never {
            self.dropped.insert(name.clone(), since);
        }
        if self.dropped.len() > DROPPED_MAX {
            let all = std::mem::take(&mut self.dropped).into_values();
            self.timeout_changed_at = all.fold(self.timeout_changed_at, Time::max);
        }
    }
}
