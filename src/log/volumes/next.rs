//! The volume that is to come: made ready beside the writer, so that no group waits for it.
//!
//! It is made in `log/next`, which holds nothing that counts: a start removes what it finds there. Only the rename
//! to its number makes it part of the log. sled names its folder again only when it opens, so it may be open meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};

use crate::log::error::LogError;
use crate::log::store::Store;

/// The volume that is to come.
pub struct Next {
    folder: PathBuf,
    making: Option<JoinHandle<Result<Store, LogError>>>,
}

impl Next {
    /// Nothing is made yet, and what was left of an attempt is removed.
    pub fn new(log: &Path) -> Result<Self, LogError> {
        let folder = log.join("next");
        remove(&folder)?;
        Ok(Self { folder, making: None })
    }

    /// Has it made, where nobody makes it yet.
    pub fn make(&mut self) {
        if self.making.is_none() {
            let folder = self.folder.clone();
            self.making = Builder::new().name("volume".into()).spawn(move || make(&folder)).ok();
        }
    }

    /// Whether it is there, or cannot be made.
    pub fn is_made(&self) -> bool {
        self.making.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// The volume, once it is there, on stable storage.
    pub fn take(&mut self) -> Result<Store, LogError> {
        match self.making.take().map(JoinHandle::join) {
            Some(Ok(made)) => made,
            Some(Err(_)) | None => make(&self.folder),
        }
    }

    /// Where it is until it has its number.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Next {
    /// The directory may be opened again right away.
    fn drop(&mut self) {
        if let Some(making) = self.making.take() {
            let _ = making.join();
        }
    }
}

fn make(folder: &Path) -> Result<Store, LogError> {
    remove(folder)?;
    Store::open(folder)
}

fn remove(folder: &Path) -> Result<(), LogError> {
    match folder.exists() {
        true => fs::remove_dir_all(folder).map_err(|e| LogError::io("remove", folder, e)),
        false => Ok(()),
    }
}
