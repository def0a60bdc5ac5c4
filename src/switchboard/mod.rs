//! The one owner of state: decide → append → adopt → effects; timers, command ids, reads.
//!
//! [`core::Core`] is plain and synchronous: time and requests go in, groups of decisions and their
//! effects come out. [`threads`] runs it between the edge and the log.

pub mod admission;
pub mod answer;
pub mod audit;
pub mod base;
mod command_ids;
pub mod core;
pub mod envelope;
pub mod fingerprint;
pub mod gauges;
pub mod group;
pub mod head;
mod line;
pub mod marks;
pub mod paged;
pub mod past;
pub mod port;
pub mod publication;
mod queue;
pub mod record;
pub mod rest;
pub mod restore;
mod sheets;
mod sizes;
pub mod slot;
mod state;
pub mod threads;
mod ways;
pub mod what_if;
pub mod writer;

pub use gauges::Gauges;
pub use past::Archive;
pub use sizes::PartSizes;
pub use threads::{Clock, Handle, Threads, start};
pub use writer::Outlet;
