//! The house is kept tidy: imports point down, the core knows no clock, files stay short.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. `serve`, `cli` and `main` stand above all of them.
const LAYERS: [&str; 5] = ["domain", "log", "switchboard", "edge", "tools"];

const FILE_LINES_MAX: usize = 500;

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is compiled into the program: tests at the end of a module are left out.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn imports_point_down_only() {
    for (height, layer) in LAYERS.iter().enumerate() {
        for (path, text) in sources(&root().join("src").join(layer)) {
            for above in LAYERS[height + 1..].iter().chain(&["serve", "cli"]) {
                let reached = code(&text).contains(&format!("crate::{above}"));
                assert!(!reached, "{} reaches up to {above}: move what it needs down, or itself up", path.display());
            }
        }
    }
}

/// `log` may wait for another process to let go of its files; the layers that decide have no time of their own.
#[test]
fn what_decides_knows_no_clock_no_runtime_and_no_randomness() {
    let pure = [("domain", true), ("switchboard", true), ("log", false)];
    for (layer, has_no_clock) in pure {
        for (path, text) in sources(&root().join("src").join(layer)) {
            let code = code(&text);
            assert!(!code.contains("tokio"), "{} knows tokio", path.display());
            assert!(!code.contains("async_nats"), "{} knows NATS", path.display());
            let clock = ["SystemTime", "Instant::now", "Uuid::new_v4", "rand::"];
            for word in clock.iter().filter(|_| has_no_clock) {
                assert!(!code.contains(word), "{} has {word}: let it come in as an argument", path.display());
            }
        }
    }
}

#[test]
fn files_stay_short() {
    for folder in ["src", "tests"] {
        for (path, text) in sources(&root().join(folder)) {
            let lines = text.lines().count();
            assert!(
                lines <= FILE_LINES_MAX,
                "{} has {lines} lines, at most {FILE_LINES_MAX}: where is the seam?",
                path.display()
            );
        }
    }
}

#[test]
fn the_top_level_holds_what_was_agreed() {
    let agreed = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "deploy",
        "schemas",
        "src",
        "target",
        "tests",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || agreed.contains(&name.as_str()), "{name} does not belong at the top level");
    }
}
