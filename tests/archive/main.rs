//! What becomes of a log: it is verified, damaged, exported, moved, erased in part, and read by later versions.

#[path = "../core/say.rs"]
#[allow(dead_code)]
mod say;
#[path = "../common/schemas.rs"]
#[allow(dead_code)]
mod schemas;

mod another_copy;
mod bits;
mod damage;
mod erasing;
mod fixture;
mod interrupted;
mod live;
mod moving;
mod newer;
mod place;
mod removal;
mod rules;
mod story;
mod what_if;
