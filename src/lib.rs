//! switchboard: who holds a customer's conversation, decided by rules, kept in a log, driven over NATS.
pub mod domain;
pub mod log;
pub mod switchboard;
