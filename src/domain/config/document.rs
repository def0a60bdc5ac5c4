//! A configuration as somebody wrote it: read whole, with all its faults at once.
//!
//! TOML and JSON come in as the same tree of values. A fault of form (a wrong type, an unknown
//! key) is told apart from a requirement not met, because callers are answered differently.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Channel, Config, ENTRIES_MAX, Field, Integration, OnEnd, STANDBY_MAX, Settings};
use crate::domain::words::{Name, Wait};

/// Faults that are told at once.
pub const FAULTS_MAX: usize = 100;
/// Characters of a value that a fault shows.
const SHOWN_CHARS_MAX: usize = 160;
/// Most open conversations that one channel may be allowed.
const OPEN_CONVERSATIONS_LIMIT: u64 = 10_000_000_000;

/// Stands for the caller's own next in a pass, so that no integration can have it for a name.
const NEXT: &str = "next";

/// What a configuration is made of.
const TABLES: [&str; 3] = ["settings", "integration", "channel"];

/// A whole configuration that keeps every requirement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Document {
    pub settings: Settings,
    pub integrations: Vec<Integration>,
    pub channels: Vec<Channel>,
}

/// Why a configuration cannot be taken: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Faults {
    /// It is not of the form of a configuration; and which requirements it breaks, as far as it could be read.
    Form(Vec<String>),
    /// It breaks requirements.
    Requirements(Vec<String>),
}

impl Faults {
    /// Each fault, in words.
    pub fn texts(&self) -> &[String] {
        match self {
            Faults::Form(texts) | Faults::Requirements(texts) => texts,
        }
    }
}

impl Document {
    /// Reads a configuration from a tree of values, or says all that is wrong with it.
    pub fn parse(value: &Value) -> Result<Document, Faults> {
        let mut form = Form::default();
        let document = form.document(value);
        let unmet = requirements(&document, !form.lacks_names);
        match (form.faults.is_empty(), unmet.is_empty()) {
            (true, true) => Ok(document),
            (true, false) => Err(Faults::Requirements(first_of(unmet))),
            (false, _) => Err(Faults::Form(first_of([form.faults, unmet].concat()))),
        }
    }
}

impl Config {
    /// The configuration as a document that could be put again.
    pub fn to_json(&self) -> Value {
        let integrations: Vec<Value> = self.integrations.values().map(|known| integration_json(&known.value)).collect();
        let channels: Vec<Value> = self.channels.values().map(|known| channel_json(&known.value)).collect();
        json!({ "settings": settings_json(&self.settings, None), "integration": integrations, "channel": channels })
    }
}

fn integration_json(integration: &Integration) -> Value {
    let mut value = serde_json::to_value(integration).unwrap_or_default();
    drop_nulls(&mut value);
    value
}

fn channel_json(channel: &Channel) -> Value {
    let mut value = settings_json(&channel.settings, Some(&channel.overrides));
    value["name"] = json!(channel.name);
    value
}

fn settings_json(settings: &Settings, only: Option<&[Field]>) -> Value {
    let mut value = serde_json::to_value(settings).unwrap_or_default();
    drop_nulls(&mut value);
    if let (Some(only), Value::Object(fields)) = (only, &mut value) {
        fields.retain(|key, _| only.iter().any(|field| field.key() == key));
    }
    value
}

fn drop_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
    }
}

impl Field {
    /// Every setting.
    pub const ALL: [Field; 8] = [
        Field::DefaultIntegration,
        Field::MultiConversations,
        Field::Reopen,
        Field::EndUserCanEnd,
        Field::LegacyCsat,
        Field::InactivityTimeout,
        Field::ReleaseDeadline,
        Field::OpenConversationsMax,
    ];

    /// Its key in a document.
    pub fn key(self) -> &'static str {
        match self {
            Field::DefaultIntegration => "default_integration",
            Field::MultiConversations => "multi_conversations",
            Field::Reopen => "reopen",
            Field::EndUserCanEnd => "end_user_can_end",
            Field::LegacyCsat => "legacy_csat",
            Field::InactivityTimeout => "inactivity_timeout",
            Field::ReleaseDeadline => "release_deadline",
            Field::OpenConversationsMax => "open_conversations_max",
        }
    }
}

/// Collects faults of form while it reads.
#[derive(Default)]
struct Form {
    faults: Vec<String>,
    /// Whether the name of an integration could not be read: whoever is referred to may be that one.
    lacks_names: bool,
}

impl Form {
    fn document(&mut self, value: &Value) -> Document {
        let Some(fields) = self.table("the configuration", value) else { return Document::default() };
        self.known_keys("", fields, &TABLES);
        let mut settings = Settings::default();
        match fields.get("settings").map(|value| self.table("settings", value)) {
            Some(Some(own)) => {
                let keys: Vec<&str> = Field::ALL.iter().map(|field| field.key()).collect();
                self.known_keys("settings: ", own, &keys);
                self.settings("settings: ", own, &mut settings);
            }
            // As below: a channel may rely on what stands there.
            Some(None) => settings.multi_conversations = true,
            None => {}
        }
        let entries = self.entries("integration", fields);
        let listed = fields.get("integration").and_then(Value::as_array).map_or(0, Vec::len);
        let integrations: Vec<_> = entries.into_iter().filter_map(|(path, own)| self.integration(&path, own)).collect();
        // A misspelt key may be that of the integrations.
        let is_list =
            fields.get("integration").map_or(fields.keys().all(|key| TABLES.contains(&key.as_str())), Value::is_array);
        self.lacks_names = !is_list || integrations.len() < listed;
        let channels = self.entries("channel", fields);
        let channels = channels.into_iter().filter_map(|(path, own)| self.channel(&path, own, &settings)).collect();
        Document { settings, integrations, channels }
    }

    fn integration(&mut self, path: &str, own: &Map<String, Value>) -> Option<Integration> {
        let keys = ["name", "next", "on_end", "standby", "can_take", "inactivity_timeout", "enabled"];
        self.known_keys(path, own, &keys);
        let name = self.required_name(path, own);
        if let Some(name) = &name {
            self.not_reserved(path, "name", name);
        }
        let integration = Integration {
            next: self.integration_name(path, own, "next"),
            on_end: self.on_end(path, own),
            standby: self.flag(path, own, "standby").unwrap_or(false),
            can_take: self.flag(path, own, "can_take").unwrap_or(false),
            inactivity_timeout: self.wait(path, own, "inactivity_timeout"),
            // One that cannot be read counts for nothing, among those on standby either.
            enabled: self.flag(path, own, "enabled").unwrap_or(!own.contains_key("enabled")),
            name: name?,
        };
        Some(integration)
    }

    fn channel(&mut self, path: &str, own: &Map<String, Value>, common: &Settings) -> Option<Channel> {
        let mut keys: Vec<&str> = Field::ALL.iter().map(|field| field.key()).collect();
        keys.push("name");
        self.known_keys(path, own, &keys);
        let name = self.required_name(path, own);
        let mut settings = common.clone();
        self.settings(path, own, &mut settings);
        let is_own = |field: &Field| own.contains_key(field.key());
        Some(Channel { name: name?, overrides: Field::ALL.into_iter().filter(is_own).collect(), settings })
    }

    fn settings(&mut self, path: &str, own: &Map<String, Value>, settings: &mut Settings) {
        if let Some(name) = self.integration_name(path, own, "default_integration") {
            settings.default_integration = Some(name);
        }
        for (key, place) in [
            ("multi_conversations", &mut settings.multi_conversations),
            ("reopen", &mut settings.reopen),
            ("end_user_can_end", &mut settings.end_user_can_end),
            ("legacy_csat", &mut settings.legacy_csat),
        ] {
            *place = self.flag(path, own, key).unwrap_or(*place);
        }
        // What cannot be read is a fault of its own, and nothing else is blamed for it.
        let is_unreadable = |key: &str| own.get(key).is_some_and(|value| !value.is_boolean());
        settings.multi_conversations |= is_unreadable("multi_conversations");
        settings.reopen &= !is_unreadable("reopen");
        settings.end_user_can_end &= !is_unreadable("end_user_can_end");
        for (key, place) in [
            ("inactivity_timeout", &mut settings.inactivity_timeout),
            ("release_deadline", &mut settings.release_deadline),
        ] {
            *place = self.wait(path, own, key).unwrap_or(*place);
        }
        if let Some(value) = own.get("open_conversations_max") {
            match whole(value).filter(|count| (1..=OPEN_CONVERSATIONS_LIMIT).contains(count)) {
                Some(count) => settings.open_conversations_max = count,
                None => self.wrong(path, "open_conversations_max", "a whole number from 1 to 10000000000", value),
            }
        }
    }

    fn on_end(&mut self, path: &str, own: &Map<String, Value>) -> OnEnd {
        let Some(value) = own.get("on_end") else { return OnEnd::Release };
        let expected = "\"release\", \"hold\" or { pass = \"name\" }";
        match value {
            Value::String(text) if text == "release" => return OnEnd::Release,
            Value::String(text) if text == "hold" => return OnEnd::Hold,
            Value::Object(fields) if fields.len() == 1 && fields.contains_key("pass") => {
                let path = format!("{path}on_end.");
                return self.integration_name(&path, fields, "pass").map_or(OnEnd::Release, OnEnd::Pass);
            }
            _ => self.wrong(path, "on_end", expected, value),
        }
        OnEnd::Release
    }

    fn entries<'a>(&mut self, key: &str, fields: &'a Map<String, Value>) -> Vec<(String, &'a Map<String, Value>)> {
        let Some(value) = fields.get(key) else { return Vec::new() };
        let Value::Array(items) = value else {
            self.wrong("", key, &format!("a list of [[{key}]] entries"), value);
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let called = item.get("name").and_then(Value::as_str).map_or((at + 1).to_string(), shortened);
            let path = format!("{key} {called}");
            if let Some(own) = self.table(&path, item) {
                entries.push((format!("{path}: "), own));
            }
        }
        entries
    }

    fn table<'a>(&mut self, path: &str, value: &'a Value) -> Option<&'a Map<String, Value>> {
        match value {
            Value::Object(fields) => Some(fields),
            other => {
                self.faults.push(format!("{path}: expected a table, got {}", kind_of(other)));
                None
            }
        }
    }

    fn known_keys(&mut self, path: &str, fields: &Map<String, Value>, known: &[&str]) {
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            self.faults.push(format!("{path}unknown field {:?}; known are {}", shortened(key), known.join(", ")));
        }
    }

    fn required_name(&mut self, path: &str, own: &Map<String, Value>) -> Option<Name> {
        if !own.contains_key("name") {
            self.faults.push(format!("{path}expected a field \"name\", got none"));
        }
        self.name(path, own, "name")
    }

    fn name(&mut self, path: &str, own: &Map<String, Value>, key: &str) -> Option<Name> {
        let value = own.get(key)?;
        let Value::String(text) = value else {
            self.wrong(path, key, "a name", value);
            return None;
        };
        Name::parse(text).map_err(|bad| self.faults.push(format!("{path}{key}: {bad}"))).ok()
    }

    fn integration_name(&mut self, path: &str, own: &Map<String, Value>, key: &str) -> Option<Name> {
        let name = self.name(path, own, key)?;
        self.not_reserved(path, key, &name);
        Some(name)
    }

    fn not_reserved(&mut self, path: &str, key: &str, name: &Name) {
        if name.as_str() == NEXT {
            self.faults.push(format!("{path}{key}: {NEXT:?} is reserved for pass: choose another"));
        }
    }

    fn flag(&mut self, path: &str, own: &Map<String, Value>, key: &str) -> Option<bool> {
        let value = own.get(key)?;
        if !value.is_boolean() {
            self.wrong(path, key, "true or false", value);
        }
        value.as_bool()
    }

    fn wait(&mut self, path: &str, own: &Map<String, Value>, key: &str) -> Option<Wait> {
        let value = own.get(key)?;
        let Value::String(text) = value else {
            self.wrong(path, key, "a duration such as \"15m\", or \"never\"", value);
            return None;
        };
        Wait::parse(text).map_err(|wrong| self.faults.push(format!("{path}{key}: {wrong}"))).ok()
    }

    fn wrong(&mut self, path: &str, key: &str, expected: &str, got: &Value) {
        self.faults.push(format!("{path}{key}: expected {expected}, got {}", kind_of(got)));
    }
}

/// As many faults as somebody would mend in one go.
fn first_of(mut faults: Vec<String>) -> Vec<String> {
    if faults.len() > FAULTS_MAX {
        let more = faults.len() - FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        faults.push(format!("and {more} more"));
    }
    faults
}

/// What somebody wrote, as far as it helps to find it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// A whole number, also where it is written as 1e3.
fn whole(value: &Value) -> Option<u64> {
    let from_float = || value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=1e15).contains(n)).map(|n| n as u64);
    value.as_u64().or_else(from_float)
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a table".into(),
        scalar => shortened(&scalar.to_string()),
    }
}

/// The requirements that it breaks; who is referred to is looked for only where all names are known.
fn requirements(document: &Document, knows_names: bool) -> Vec<String> {
    let mut unmet = Vec::new();
    count_requirements(document, &mut unmet);
    end_requirements("settings", &document.settings, &mut unmet);
    for channel in &document.channels {
        end_requirements(&format!("channel {}", channel.name), &channel.settings, &mut unmet);
    }
    let known: BTreeSet<&Name> = document.integrations.iter().map(|integration| &integration.name).collect();
    let mut refer = |place: String, name: Option<&Name>| {
        if let Some(name) = name.filter(|name| knows_names && !known.contains(name)) {
            unmet.push(format!("{place}: no integration {name} is configured: add it or name another"));
        }
    };
    refer("settings.default_integration".into(), document.settings.default_integration.as_ref());
    for channel in document.channels.iter().filter(|channel| channel.overrides.contains(&Field::DefaultIntegration)) {
        refer(format!("channel {}: default_integration", channel.name), channel.settings.default_integration.as_ref());
    }
    for integration in &document.integrations {
        refer(format!("integration {}: next", integration.name), integration.next.as_ref());
        if let OnEnd::Pass(target) = &integration.on_end {
            refer(format!("integration {}: on_end.pass", integration.name), Some(target));
        }
    }
    unmet
}

fn count_requirements(document: &Document, unmet: &mut Vec<String>) {
    let integrations: Vec<&Name> = document.integrations.iter().map(|integration| &integration.name).collect();
    let channels: Vec<&Name> = document.channels.iter().map(|channel| &channel.name).collect();
    for (what, names) in [("integration", integrations), ("channel", channels)] {
        if names.len() > ENTRIES_MAX {
            unmet.push(format!("expected at most {ENTRIES_MAX} {what}s, got {}", names.len()));
        }
        let mut seen = BTreeSet::new();
        for name in names.into_iter().filter(|name| !seen.insert(*name)) {
            unmet.push(format!("{what} {name} stands twice: remove one"));
        }
    }
    let standbys = document.integrations.iter().filter(|i| i.enabled && i.standby).count();
    if standbys > STANDBY_MAX {
        unmet.push(format!("expected at most {STANDBY_MAX} enabled integrations with standby = true, got {standbys}"));
    }
}

fn end_requirements(place: &str, settings: &Settings, unmet: &mut Vec<String>) {
    if !settings.end_user_can_end {
        return;
    }
    if !settings.multi_conversations {
        unmet.push(format!("{place}: end_user_can_end needs multi_conversations = true"));
    }
    if settings.reopen {
        unmet.push(format!("{place}: end_user_can_end needs reopen = false"));
    }
}
