//! The rules as a specification: given events, when a command, then these events and nothing else.
//!
//! One file a matter. [`given`] is the language that they are written in, [`say`] its words.

mod given;
mod say;

mod affordances;
mod closing_and_after;
mod configuration;
mod ending;
mod faults;
mod held_to;
mod metadata;
mod names;
mod offers;
mod operators;
mod order_of_refusals;
mod passing;
#[path = "../common/random.rs"]
mod random;
mod removal;
mod starting;
mod telling;
mod timers;
mod walk;
mod words;
