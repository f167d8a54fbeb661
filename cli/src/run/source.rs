//! Watches the directory of manifests: the kernel says that something changed, and [`SETTLE`] after
//! the last change the directory is read.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc;

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

/// Says when the directory is worth reading again.
#[derive(Debug)]
pub(crate) struct Changes {
    hints: mpsc::Receiver<()>,
    /// Whether a hint was taken that no read followed yet.
    heard: bool,
    /// Stops watching when dropped.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Starts watching. Read the directory after this, so that nothing is missed in between.
    pub(crate) fn of(directory: &Path) -> Result<Self, WatchError> {
        // One hint is enough, however many events it stands for.
        let (sender, hints) = mpsc::channel(1);
        let failed = |source| WatchError { directory: directory.to_owned(), source };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
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
    pub(crate) async fn settled(&mut self) {
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
