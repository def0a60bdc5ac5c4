//! The one owner of state, driven by hand under a clock that stands still until told, and by its real threads.

mod command_ids;
mod configuration;
mod evenly;
mod heads;
mod heavy;
mod kept;
mod leaving;
mod pages;
mod past;
mod queue;
#[path = "../common/random.rs"]
mod random;
mod restarts;
mod resting;
mod say;
mod seldom;
mod site;
mod threads;
mod timers;
mod waiting;
mod walk;
mod ways;
mod witness;

use serde_json::{Value, json};

/// The configuration of most tests: a bot begins, people hold on, a survey comes last.
fn usual() -> Value {
    json!({
        "settings": {
            "default_integration": "bot",
            "multi_conversations": true,
            "end_user_can_end": true,
            "inactivity_timeout": "1h",
            "release_deadline": "10m"
        },
        "integration": [
            {"name": "bot", "next": "agents", "inactivity_timeout": "10m"},
            {"name": "agents", "on_end": "hold", "can_take": true, "inactivity_timeout": "never"},
            {"name": "survey", "on_end": "hold"},
            {"name": "listener", "standby": true}
        ],
        "channel": [
            {"name": "thread", "multi_conversations": false, "end_user_can_end": false},
            {"name": "reopening", "multi_conversations": false, "end_user_can_end": false, "reopen": true},
            {"name": "small", "open_conversations_max": 2}
        ]
    })
}
