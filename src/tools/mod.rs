//! The commands of the command line besides `serve`: what an operator looks at, and what they may overrule.
//!
//! [`source`] reads the past from a running switchboard or from its data directory, with the same answers;
//! [`timeline`] tells it in words; [`examination`] walks through a log that may be damaged. Everything that strangers
//! wrote is made harmless before a terminal sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::Time;

pub mod backup;
pub mod bench;
pub mod config_file;
pub mod directory;
pub mod examination;
pub mod export;
pub mod export_file;
pub mod failure;
pub mod holding;
pub mod import;
pub mod list;
pub mod nats;
pub mod operator;
pub mod past_event;
pub mod phrases;
pub mod progress;
pub mod replay;
pub mod republish;
pub mod screen;
pub mod show;
pub mod source;
pub mod state;
pub mod table;
pub mod timeline;
pub mod values;
pub mod verify;
pub mod volumes;
pub mod what_if;
pub mod words;

/// What time it is for whoever looks.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
