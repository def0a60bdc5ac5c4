//! Durable publication with a real server that keeps streams: what the streams hold is held against the log.

mod between;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/process.rs"]
mod process;
#[path = "../common/progress.rs"]
mod progress;
#[path = "../e2e/server.rs"]
mod server;
mod world;

mod crashes;
mod foreign;
mod making;
mod outages;
mod reading_on;
mod receiving;
mod subscribers;
