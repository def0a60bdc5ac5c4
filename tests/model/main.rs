//! The contract as a model ([`contract`], [`talk`]), written apart from the rules and from the contract alone, and the
//! service held to it: in small worlds gone through whole, and in large ones at random.

#[allow(dead_code)]
#[path = "../core/say.rs"]
mod say;
#[allow(dead_code)]
#[path = "../core/site.rs"]
mod site;

#[path = "../common/metadata.rs"]
mod metadata;
#[path = "../common/random.rs"]
mod random;

mod contract;
mod large;
mod real;
mod small;
mod talk;
