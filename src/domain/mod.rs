//! The rules of the switchboard, pure: what may be asked, what is refused, what happens.
//!
//! [`decide::decide`] thinks and [`conversation::evolve`] writes down. Nothing here knows a clock,
//! a random number, a disk or a network.

pub mod command;
pub mod config;
pub mod conversation;
pub mod decide;
pub mod event;
pub mod invariants;
pub mod metadata;
pub mod refusal;
pub mod timers;
pub mod words;

pub use command::Command;
pub use config::Config;
pub use conversation::Conversation;
pub use event::Event;
pub use refusal::Refusal;
pub use words::{By, ConversationId, Name, Role, Text, Time};
