//! The directory of manifests: the kernel says that something changed, and [`SETTLE`] after the last
//! change the directory is read.
//!
//! Owns the last good version of every object (`api::manifest::Snapshot`). The kernel watches a
//! directory, not its path: every [`LOOK`] the path is looked at, so that a directory that was made
//! anew, or a link that leads elsewhere, is followed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc;
use vipgate_api::manifest::{Mode, Problem, Skipped, Snapshot, Update, read_directory};
use vipgate_api::{Object, ObjectRef};

/// A change is applied this long after the last write, so that files written together are read
/// together.
const SETTLE: Duration = Duration::from_millis(50);
/// Writers that never pause cannot hold a change back for longer than this.
const AT_MOST: Duration = Duration::from_millis(500);
/// How often it is checked that the watched directory is still the one at its path.
const LOOK: Duration = Duration::from_secs(1);

/// Why the directory cannot be watched.
#[derive(Debug, Error)]
#[error("{} cannot be watched: {error} Does it exist, and is fs.inotify.max_user_watches high enough?",
    directory.display())]
pub(crate) struct WatchError {
    directory: PathBuf,
    error: notify::Error,
}

/// The directory and what was read from it.
pub(crate) struct Source {
    directory: PathBuf,
    changes: Changes,
    snapshot: Snapshot,
    problems: Vec<Problem>,
    skipped: Vec<Skipped>,
}

impl Source {
    /// Starts watching; nothing is read yet.
    pub(crate) fn open(directory: &Path) -> Result<Self, WatchError> {
        Ok(Self {
            directory: directory.to_owned(),
            changes: Changes::of(directory)?,
            snapshot: Snapshot::new(Mode::Standalone),
            problems: Vec::new(),
            skipped: Vec::new(),
        })
    }

    /// Waits until the directory is worth reading again.
    pub(crate) async fn changed(&mut self) {
        self.changes.settled().await;
    }

    /// Reads the directory and returns what changed.
    pub(crate) fn read(&mut self) -> Update {
        // Before reading, so that nothing is missed in between.
        self.changes.follow();
        let mut update = self.snapshot.update(read_directory(&self.directory));
        self.problems = std::mem::take(&mut update.problems);
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
    pub(crate) fn object(&self, reference: &ObjectRef) -> Option<&Object> {
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

/// Says when the directory is worth reading again.
struct Changes {
    directory: PathBuf,
    hints: mpsc::Receiver<()>,
    /// Whether a hint was taken that no read followed yet.
    heard: bool,
    watcher: RecommendedWatcher,
    /// Device and inode of what is watched; `None` when nothing is.
    watched: Option<(u64, u64)>,
    /// Whether what is watched was deleted or moved away since.
    lost: Arc<AtomicBool>,
}

impl Changes {
    /// Starts watching.
    fn of(directory: &Path) -> Result<Self, WatchError> {
        let failed = |error| WatchError { directory: directory.to_owned(), error };
        // One hint is enough, however many events it stands for.
        let (sender, hints) = mpsc::channel(1);
        let lost = Arc::new(AtomicBool::new(false));
        let (losing, root) = (Arc::clone(&lost), std::path::absolute(directory));
        let root = root.map_err(|error| failed(error.into()))?;
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.as_ref().is_ok_and(|event| takes_away(event, &root)) {
                losing.store(true, Ordering::Relaxed);
            }
            if event.as_ref().map_or(true, |event| concerns_content(event.kind)) {
                let _ = sender.try_send(());
            }
        })
        .map_err(failed)?;
        watcher.watch(directory, RecursiveMode::Recursive).map_err(failed)?;
        let directory = directory.to_owned();
        let watched = identity(&directory);
        Ok(Self { directory, hints, heard: false, watcher, watched, lost })
    }

    /// Whether something else than what is watched is at the path now.
    fn is_elsewhere(&self) -> bool {
        self.lost.load(Ordering::Relaxed) || identity(&self.directory) != self.watched
    }

    /// Watches what is at the path now. Where that cannot be watched, it is read every [`LOOK`].
    fn follow(&mut self) {
        if !self.is_elsewhere() {
            return;
        }
        self.lost.store(false, Ordering::Relaxed);
        // Fails when the kernel has dropped the watch by itself.
        let _ = self.watcher.unwatch(&self.directory);
        let now = identity(&self.directory);
        let watched = self.watcher.watch(&self.directory, RecursiveMode::Recursive).is_ok();
        self.watched = now.filter(|_| watched);
    }

    /// Waits until something changed and writing has settled. Safe to cancel: what was heard is
    /// remembered.
    async fn settled(&mut self) {
        while !self.heard {
            match tokio::time::timeout(LOOK, self.hints.recv()).await {
                Ok(Some(())) => self.heard = true,
                Ok(None) => return std::future::pending().await,
                Err(_) => self.heard = self.is_elsewhere(),
            }
        }
        let deadline = Instant::now() + AT_MOST;
        while Instant::now() < deadline
            && tokio::time::timeout(SETTLE, self.hints.recv()).await.is_ok()
        {}
        self.heard = false;
    }
}

fn identity(directory: &Path) -> Option<(u64, u64)> {
    fs::metadata(directory).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Whether the root itself is deleted or moved away. An inode number may be given out again at
/// once, so that [`identity`] alone would not always show it.
fn takes_away(event: &Event, root: &Path) -> bool {
    let gone = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
    gone && event.paths.iter().any(|path| path == root)
}

/// Reading the directory causes events too; only what can change content counts.
fn concerns_content(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
