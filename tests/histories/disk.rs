//! A file system of its own on a file, so that the power can be cut: what is in the file is what reached the device.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for the log, its reserve and what must stay free; for many volumes, of 9 MiB each, where these are small. The
/// file is sparse.
const BYTES: u64 = if cfg!(feature = "small-volumes") { 6 << 30 } else { 320 << 20 };

/// A mounted ext4 on a file.
pub struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// A new one in that directory; why not, where mounting is not allowed.
    pub fn new(directory: &Path) -> Result<Disk, String> {
        let image = directory.join("disk");
        std::fs::File::create(&image).and_then(|file| file.set_len(BYTES)).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", path(&image)])?;
        Disk::mount(image, directory.join("mounted"))
    }

    fn mount(image: PathBuf, folder: PathBuf) -> Result<Disk, String> {
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        run("mount", &["-o", "loop", path(&image), path(&folder)])?;
        Ok(Disk { image, folder })
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What would be there if the power were cut now, mounted beside it.
    pub fn cut(&self) -> Disk {
        let (image, folder) = (self.image.with_extension("cut"), self.folder.with_extension("cut"));
        run("cp", &["--sparse=always", path(&self.image), path(&image)]).expect("the image is copied");
        Disk::mount(image, folder).expect("what was cut can be mounted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(why) = run("umount", &[path(&self.folder)]) {
            eprintln!("{why}");
            let _ = run("umount", &["-l", path(&self.folder)]);
        }
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Runs a program to its end; what it complains of, where it fails.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr).trim())),
    }
}

/// A path as text.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
