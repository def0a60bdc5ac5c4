//! Processes that a test starts: how they end, and that they do.

use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

/// How long anything may take: a loaded machine is slow, a hanging test is worse.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long the end of a service may take, which itself waits some 20 s for a server that does not answer.
const PATIENCE_FOR_AN_END: Duration = Duration::from_secs(60);
/// How a program ended.
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Ran {
    /// What it wrote, if it ended well.
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }
}

/// Runs a program to its end.
pub async fn run(program: Command) -> Ran {
    run_within(PATIENCE, program).await
}

/// Runs a program that takes its time.
pub async fn run_within(patience: Duration, mut program: Command) -> Ran {
    let ran = tokio::task::spawn_blocking(move || program.stdin(Stdio::null()).output());
    let Output { status, stdout, stderr } = timeout(patience, ran).await.expect("it ends").unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// Waits until a process has ended.
pub async fn exit(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < PATIENCE_FOR_AN_END, "the process does not end");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Sends a signal to a process that a test started.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{name} {process}");
    // It takes hold of one thread after the other, and last of one that waits for the disk.
    while name == "STOP" && !stands_still(process) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether no thread of a process goes on; one that is gone has none.
fn stands_still(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // The name of a thread, in brackets, may have spaces in it.
    let goes_on = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with(['R', 'S', 'D']));
    !states.into_iter().any(goes_on)
}
