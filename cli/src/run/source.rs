//! The directory of manifests: the kernel says that something changed, and [`SETTLE`] after the last
//! change the directory is read.
//!
//! Owns the last good version of every object (`api::manifest::Snapshot`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc;
use vipgate_api::manifest::{Mode, Problem, Skipped, Snapshot, Update, read_directory};
use vipgate_api::{Object, ObjectRef};

/// A change is applied this long after the last write, so that files written together are read
/// together.
const SETTLE: Duration = Duration::from_millis(50);
/// Writers that never pause cannot hold a change back for longer than this.
const AT_MOST: Duration = Duration::from_millis(500);

/// Why the directory cannot be watched.
#[derive(Debug, Error)]
#[error("{} cannot be watched: {source}; does it exist, and is fs.inotify.max_user_watches high enough?",
    directory.display())]
pub(crate) struct WatchError {
    directory: PathBuf,
    source: notify::Error,
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
#[derive(Debug)]
struct Changes {
    hints: mpsc::Receiver<()>,
    /// Whether a hint was taken that no read followed yet.
    heard: bool,
    /// Stops watching when dropped.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Starts watching. Read the directory after this, so that nothing is missed in between.
    fn of(directory: &Path) -> Result<Self, WatchError> {
        // One hint is enough, however many events it stands for.
        let (sender, hints) = mpsc::channel(1);
        let failed = |source| WatchError { directory: directory.to_owned(), source };
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.as_ref().map_or(true, |event| concerns_content(event.kind)) {
                    let _ = sender.try_send(());
                }
            })
            .map_err(failed)?;
        watcher.watch(directory, RecursiveMode::Recursive).map_err(failed)?;
        Ok(Self { hints, heard: false, _watcher: watcher })
    }

    /// Waits until something changed and writing has settled. Safe to cancel: what was heard is
    /// remembered.
    async fn settled(&mut self) {
        if !self.heard {
            if self.hints.recv().await.is_none() {
                return std::future::pending().await;
            }
            self.heard = true;
        }
        let deadline = Instant::now() + AT_MOST;
        while Instant::now() < deadline
            && tokio::time::timeout(SETTLE, self.hints.recv()).await.is_ok()
        {}
        self.heard = false;
    }
}

/// Reading the directory causes events too; only what can change content counts.
fn concerns_content(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
