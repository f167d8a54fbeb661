//! The directory of manifests, read again whenever something in it has changed ([`super::watch`]).
//!
//! Owns the last good version of every object (`api::manifest::Snapshot`).

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;
use vipgate_api::manifest::{
    Held, Listing, Mode, Problem, Skipped, Snapshot, Update, read_directory,
};
use vipgate_api::{Object, ObjectRef};

use super::watch::Changes;

/// Why the directory cannot be watched.
#[derive(Debug, Error)]
#[error("{} cannot be watched: {error}; does it exist, and is fs.inotify.max_user_watches high enough?",
    directory.display())]
pub(crate) struct WatchError {
    directory: PathBuf,
    error: io::Error,
}

/// The directory and what was read from it.
#[derive(Debug)]
pub(crate) struct Source {
    directory: PathBuf,
    changes: Changes,
    snapshot: Snapshot,
    problems: Vec<Problem>,
    skipped: Vec<Skipped>,
}

impl Source {
    /// Prepares; nothing is read or watched yet.
    pub(crate) fn open(directory: &Path) -> Result<Self, WatchError> {
        let failed = |error| WatchError { directory: directory.to_owned(), error };
        fs::metadata(directory).map_err(failed)?;
        Ok(Self {
            directory: directory.to_owned(),
            changes: Changes::of(directory).map_err(failed)?,
            snapshot: Snapshot::new(Mode::Standalone),
            problems: Vec::new(),
            skipped: Vec::new(),
        })
    }

    /// Reads the directory as it is now, and returns what changed.
    pub(crate) fn read(&mut self) -> Update {
        let (listing, watched) = self.changes.read(read_directory);
        self.take(listing, watched)
    }

    /// Waits until the directory has changed, and returns what changed. Safe to cancel.
    pub(crate) async fn changed(&mut self) -> Update {
        let (listing, watched) = self.changes.reading(read_directory).await;
        self.take(listing, watched)
    }

    fn take(&mut self, listing: Listing, watched: io::Result<()>) -> Update {
        let mut update = self.snapshot.update(listing);
        self.problems = std::mem::take(&mut update.problems);
        if let Err(error) = watched {
            let error = WatchError { directory: self.directory.clone(), error };
            let file = self.directory.to_string_lossy();
            self.problems.push(Problem::of_file(&file, error.to_string()));
        }
        self.skipped = std::mem::take(&mut update.skipped);
        update
    }

    /// What is wrong with the files.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Kinds that are not read.
    pub(crate) fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// An object in use.
    pub(crate) fn object(&self, reference: &ObjectRef) -> Option<&Held> {
        self.snapshot.object(reference)
    }

    /// `file:line` of an object.
    pub(crate) fn place(&self, reference: &ObjectRef) -> Option<String> {
        let origin = self.snapshot.origin(reference, "")?;
        Some(format!("{}:{}", origin.file, origin.line))
    }
}

/// Every object of a directory, with no regard to what is wrong in it.
pub(crate) fn read_once(directory: &Path) -> Vec<Object> {
    let update = Snapshot::new(Mode::Standalone).update(read_directory(directory));
    update.applied.into_iter().map(|(object, _)| object).collect()
}

#[cfg(test)]
mod tests;
