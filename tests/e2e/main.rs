//! The whole service as its callers see it: the real program, a real NATS server, a log on a real disk.
//!
//! Every message that goes over the wire is held against the schemas, and what was published against the log.

mod answer;
mod bare;
mod process;
#[path = "../common/schemas.rs"]
mod schemas;
mod server;
mod wire;
mod world;

mod backup;
mod bench;
mod command_ids;
mod control;
mod crashes;
mod forms;
mod large;
mod logins;
mod outages;
mod overload;
mod past;
mod permissions;
mod queries;
mod relays;
mod removal;
mod replays;
mod requests;
mod serving;
mod sessions;
mod timers;
mod tools;
mod two_instances;
