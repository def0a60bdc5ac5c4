//! A disk that is full, that fails, that may not be written, that is somebody else's, whose bits have turned, or whose power fails.

#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/answer.rs"]
mod answer;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../archive/live.rs"]
mod live;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/process.rs"]
mod process;
#[path = "../common/random.rs"]
mod random;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../core/say.rs"]
mod say;
#[path = "../common/schemas.rs"]
mod schemas;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/server.rs"]
mod server;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../archive/story.rs"]
mod story;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/wire.rs"]
mod wire;
#[allow(dead_code, reason = "not all of it is needed here")]
#[path = "../e2e/world.rs"]
mod world;

mod bits;
mod cuts;
mod errors;
mod full;
mod mounted;
mod refused;
