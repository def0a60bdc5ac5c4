//! A file system of a test's own under the data directory, seen by nobody else: in a mount namespace that a process holds.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::world::World;

/// The mounted file system; gone when this is.
pub struct Mounted {
    holder: Child,
    root: PathBuf,
}

impl Mounted {
    /// Mounts one, and has the service started inside; none where this may not be done, which is said.
    pub fn new(world: &mut World, kind: &str, options: &str) -> Option<Mounted> {
        let data = world.data();
        std::fs::create_dir_all(&data).unwrap();
        let mount = r#"mount -t "$0" -o "$1" "$0" "$2" && echo mounted && exec sleep 600"#;
        let mut holder = Command::new("unshare");
        holder.args(["--mount", "sh", "-c", mount, kind, options]).arg(&data);
        let holder = holder.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut holder = match holder {
            Ok(holder) => holder,
            Err(error) => {
                eprintln!("left out: unshare does not run ({error})");
                return None;
            }
        };
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said.trim() != "mounted" {
            let output = holder.wait_with_output().unwrap();
            eprintln!("left out: nothing may be mounted here ({})", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        let process = holder.id();
        world.wrapper = ["nsenter", "--mount", "--target", &process.to_string()].map(str::to_owned).to_vec();
        let root = PathBuf::from(format!("/proc/{process}/root")).join(data.strip_prefix("/").unwrap());
        Some(Mounted { holder, root })
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.root).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Leaves that many bytes free at the most, none as exactly as can be.
    pub fn leave(&self, bytes: u64) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        let block = vec![7; 1 << 16];
        loop {
            let more = self.free().saturating_sub(bytes).min(block.len() as u64) as usize;
            if more == 0 || filler.write_all(&block[..more]).is_err() {
                return;
            }
        }
    }

    /// Gives the space back.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.root.join("filler")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
