//! switchboard: who holds a customer's conversation, decided by rules, kept in a log, driven over NATS.
//!
//! The map, from the bottom up; imports point down only.
//!
//! - [`domain`] — the rules, as functions of their arguments: a command and a conversation in, events or a
//!   refusal out. It knows nobody: no clock, no randomness, no disk, no network.
//! - [`log`] — the append-only log: decisions in, on stable storage when it says so; chained, compressed,
//!   never changed. It does not know what its lines mean. Beside it a cache of states, which may be deleted.
//! - [`switchboard`] — the one owner of state. It decides each command against its state in memory, gathers
//!   decisions into groups, and lets nothing leave before its group is on stable storage. Timers, command
//!   ids, pages, the past. Plain threads and bounded channels; its core is synchronous and runs under a
//!   simulated clock and disk.
//! - [`edge`] — NATS and HTTP: messages become requests, effects become messages, in the order given.
//! - [`tools`] — what a person runs beside the service: `show`, `list`, `replay`, `operator`, `verify`,
//!   `export`, `import`, `what-if`, `bench`.
//! - [`serve`] — the service put together; [`cli`] — what the command line may say; `main` — exit codes.
//!
//! What a command comes to: **decide** (`domain::decide`), **append** (`log`), **adopt** and **answer**
//! (`switchboard::core`), **publish** (`edge`). What must always hold is numbered in
//! [`domain::invariants`], checked after every event of the random walks under `tests/`.
//!
//! What must never be: a rule that reads a clock, an answer ahead of its fsync, an event that the log does
//! not hold, a second owner of state, a payload that says who its sender is.

pub mod cli;
pub mod domain;
pub mod edge;
pub mod log;
pub mod serve;
pub mod switchboard;
pub mod tools;
