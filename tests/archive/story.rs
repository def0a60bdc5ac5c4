//! A log in which everything has happened at least once.

use std::path::Path;

use serde_json::{Value, json};

use super::live::{BEGIN, Live};
use super::say::*;

/// Conversations of the story.
pub const CONVERSATIONS: [&str; 6] = ["c-1", "c-2", "c-3", "thread-1", "again-1", "gone-1"];

/// Personal values of conversation `c-1`, each in the log in several places.
pub const PERSONAL: [&str; 4] = ["+31 6 1234 5678", "Maria Lind", "wants her money back", "a friend of hers"];

pub fn config() -> Value {
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
            {"name": "passer", "on_end": {"pass": "survey"}},
            {"name": "trial"},
            {"name": "listener", "standby": true}
        ],
        "channel": [
            {"name": "thread", "multi_conversations": false, "end_user_can_end": false},
            {"name": "reopening", "multi_conversations": false, "end_user_can_end": false, "reopen": true},
            {"name": "shortlived", "reopen": true, "multi_conversations": false, "end_user_can_end": false}
        ]
    })
}

/// Without one integration and one channel, and with others changed.
fn later_config() -> Value {
    let mut config = config();
    config["settings"]["inactivity_timeout"] = json!("2h");
    config["integration"].as_array_mut().unwrap().retain(|integration| integration["name"] != "trial");
    config["integration"][0]["inactivity_timeout"] = json!("20m");
    config["channel"].as_array_mut().unwrap().retain(|channel| channel["name"] != "shortlived");
    config
}

/// Plays the story in a new directory, and stops.
pub fn play(path: &Path) {
    lived(path).stop();
}

/// Plays the story in a new directory, and goes on serving.
pub fn lived(path: &Path) -> Live {
    let mut live = Live::open(path, BEGIN);
    assert_eq!(live.put(&config())["outcome"], "applied");
    tell_of_maria(&mut live);
    tell_of_others(&mut live);
    assert_eq!(live.put(&later_config())["outcome"], "applied");
    assert_eq!(live.state("gone-1")["owner"], Value::Null);
    live.go(start("c-3").command_id("third"));
    live.later(DAY);
    assert_eq!(live.state("c-3")["status"], "closed");
    live.go(start("c-2").command_id("second").metadata(json!({"kept": true})));
    live
}

fn tell_of_maria(live: &mut Live) {
    let [user, name, reason, friend] = PERSONAL;
    live.go(start("c-1").user(user).metadata(json!({"name": name, "vip": true})).command_id("first"));
    live.later(5 * MINUTE);
    live.go(message("c-1").user(user).message_id("m-1"));
    live.go(pass(bot(), "c-1", "agents").metadata(json!({"about": reason})).command_id("pass-1"));
    live.go(offer(agents(), "c-1", "survey", Some(HOUR)));
    live.go(decline(integration("survey"), "c-1"));
    live.go(offer(agents(), "c-1", "survey", Some(HOUR)));
    live.go(accept(integration("survey"), "c-1").metadata(json!({"asks": friend})));
    live.go(take(agents(), "c-1"));
    live.go(offer(agents(), "c-1", "survey", None));
    live.go(end("c-1"));
    assert_eq!(live.state("c-1")["status"], "ending");
    live.go(release(agents(), "c-1").metadata(json!({"said": reason})));
    assert_eq!(live.state("c-1")["status"], "closed");
}

fn tell_of_others(live: &mut Live) {
    live.go(start("gone-1").owner("trial"));
    let thread = channel("thread");
    live.go(message("thread-1").by(thread.clone()).user("u-thread"));
    live.go(overrule_end("thread-1"));
    live.later(MINUTE);
    live.go(message("thread-1").by(thread).user("u-thread"));
    let reopening = channel("reopening");
    live.go(start("again-1").by(reopening.clone()).owner("passer"));
    live.go(finish(integration("passer"), "again-1"));
    live.later(MINUTE);
    live.go(message("again-1").by(reopening));
    live.go(overrule_release("again-1"));
    live.go(overrule_pass("again-1", "agents"));
}
