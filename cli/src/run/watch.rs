//! Says when the manifests are worth reading again.
//!
//! State: the kernel's watches (inotify), and the files that somebody is writing. What is watched
//! follows what was read: each directory that was walked, and each name that the way to it depends
//! on. So a swapped link (the `..data` of a ConfigMap, `current -> release-2`), a link to a file
//! elsewhere, and a directory that is deleted and made anew are noticed like a saved file.
//!
//! What always holds: a change is told at most [`HELD`] and one [`SETTLE`] after its last write, or
//! [`AT_LAST`] after its first; and as far as these allow, not while a file is half written.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, DataChange, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::timeout;
use vipgate_api::manifest::Listing;

/// Files that are written together are read together: a change is told this long after the last.
const SETTLE: Duration = Duration::from_millis(50);
/// A file that was written to and not closed is waited for this long after each write.
const HELD: Duration = Duration::from_millis(110);
/// When changes never pause, the first moment without a half written file is taken after this.
const AT_MOST: Duration = Duration::from_millis(500);
/// And any moment after this.
const AT_LAST: Duration = Duration::from_secs(1);
/// Links on the way to one path (as many as the kernel follows).
const MAX_LINKS: usize = 40;

/// The watches of a directory of manifests.
#[derive(Debug)]
pub(super) struct Changes {
    root: PathBuf,
    hints: mpsc::Receiver<()>,
    /// When the first change was noticed that no reading followed yet.
    heard: Option<Instant>,
    interests: Arc<Mutex<Interests>>,
    /// What is watched, with device and inode: the same path may become another directory.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    watcher: RecommendedWatcher,
}

/// What an event has to be about to count.
#[derive(Debug, Default)]
struct Interests {
    directories: BTreeMap<PathBuf, Interest>,
    /// Files written to and not closed, with the last write.
    writing: BTreeMap<PathBuf, Instant>,
    /// Watched directories that were deleted or moved away. Another one at the same path may have
    /// the same inode number, so identity alone would not always show it.
    lost: BTreeSet<PathBuf>,
}

/// What counts in a directory.
#[derive(Debug, PartialEq, Eq)]
enum Interest {
    Everything,
    Names(BTreeSet<OsString>),
}

impl Changes {
    /// Prepares; watching begins with the first [`Self::follow`].
    pub(super) fn of(root: &Path) -> notify::Result<Self> {
        // One hint is enough, however many events it stands for.
        let (sender, hints) = mpsc::channel(1);
        let interests = Arc::new(Mutex::new(Interests::default()));
        let heard_of = Arc::clone(&interests);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| lock(&heard_of).take_in(&event)) {
                let _ = sender.try_send(());
            }
        })?;
        let root = root.to_owned();
        Ok(Self { root, hints, heard: None, interests, watched: BTreeMap::new(), watcher })
    }

    /// Watches what was read. What happened in a place before it was watched may have been missed,
    /// so with a new place [`Self::settled`] comes true once more.
    pub(super) fn follow(&mut self, read: &Listing) -> notify::Result<()> {
        let wanted = interests(&self.root, read);
        let lost = std::mem::take(&mut lock(&self.interests).lost);
        let is_gone = |path: &&PathBuf| !wanted.contains_key(*path) || lost.contains(*path);
        let gone: Vec<PathBuf> = self.watched.keys().filter(is_gone).cloned().collect();
        for path in gone {
            self.unwatch(&path);
        }
        let mut result = Ok(());
        for path in wanted.keys() {
            let Ok(metadata) = fs::metadata(path) else { continue };
            let identity = (metadata.dev(), metadata.ino());
            if self.watched.get(path) == Some(&identity) {
                continue;
            }
            self.unwatch(path);
            match self.watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), identity);
                    self.heard.get_or_insert_with(Instant::now);
                }
                Err(error) => result = Err(error),
            }
        }
        lock(&self.interests).directories = wanted;
        result
    }

    /// Waits until something changed and writing has settled. Safe to cancel: what was heard is
    /// remembered.
    pub(super) async fn settled(&mut self) {
        let heard = match self.heard {
            Some(heard) => heard,
            None => {
                if self.hints.recv().await.is_none() {
                    return std::future::pending().await;
                }
                *self.heard.insert(Instant::now())
            }
        };
        loop {
            let limit = if lock(&self.interests).half_written() { AT_LAST } else { AT_MOST };
            if heard.elapsed() >= limit {
                break;
            }
            let quiet = timeout(SETTLE, self.hints.recv()).await.is_err();
            if quiet && !lock(&self.interests).half_written() {
                break;
            }
        }
        self.heard = None;
    }

    fn unwatch(&mut self, path: &Path) {
        if self.watched.remove(path).is_some() {
            // Fails when the directory is gone, and the watch with it.
            let _ = self.watcher.unwatch(path);
        }
    }
}

impl Interests {
    /// Whether an event can change what a reading finds. Reading causes events too.
    fn take_in(&mut self, event: &Event) -> bool {
        if matches!(event.kind, EventKind::Access(kind) if kind != CLOSED_AFTER_WRITING) {
            return false;
        }
        // An event without a path says that others were lost.
        let counts = event.paths.is_empty() || event.paths.iter().any(|path| self.concern(path));
        if counts {
            for path in &event.paths {
                if takes_away(event.kind) && self.directories.contains_key(path) {
                    self.lost.insert(path.clone());
                }
                match event.kind {
                    WRITTEN => drop(self.writing.insert(path.clone(), Instant::now())),
                    _ => drop(self.writing.remove(path)),
                }
            }
        }
        counts
    }

    fn concern(&self, path: &Path) -> bool {
        let within = || {
            let (directory, name) = (path.parent()?, path.file_name()?);
            Some(match self.directories.get(directory)? {
                Interest::Everything => true,
                Interest::Names(names) => names.contains(name),
            })
        };
        self.directories.contains_key(path) || within().unwrap_or(false)
    }

    fn half_written(&mut self) -> bool {
        self.writing.retain(|_, last| last.elapsed() < HELD);
        !self.writing.is_empty()
    }
}

const CLOSED_AFTER_WRITING: AccessKind = AccessKind::Close(AccessMode::Write);
const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

fn takes_away(kind: EventKind) -> bool {
    matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

/// No holder of the lock panics.
fn lock(interests: &Mutex<Interests>) -> MutexGuard<'_, Interests> {
    interests.lock().unwrap_or_else(PoisonError::into_inner)
}

fn interests(root: &Path, read: &Listing) -> BTreeMap<PathBuf, Interest> {
    let mut interests = BTreeMap::new();
    for (directory, name) in std::iter::once(root)
        .chain(read.links.iter().map(PathBuf::as_path))
        .flat_map(names_on_the_way)
    {
        match interests.entry(directory).or_insert_with(|| Interest::Names(BTreeSet::new())) {
            Interest::Names(names) => drop(names.insert(name)),
            Interest::Everything => {}
        }
    }
    // One that is gone again was seen to go by the watch of the directory it was in.
    let walked = read.directories.iter().filter_map(|directory| fs::canonicalize(directory).ok());
    interests.extend(walked.map(|directory| (directory, Interest::Everything)));
    interests
}

/// The names that decide where a path leads: every link on the way, and the last name; of a path
/// that leads nowhere the first that is missing. Each with the real directory it is in.
fn names_on_the_way(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut names = Vec::new();
    let Ok(path) = std::path::absolute(path) else { return names };
    let mut at = PathBuf::new();
    let mut rest = reversed(&path);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let Ok(metadata) = fs::symlink_metadata(&next) else {
            names.push((at, name));
            break;
        };
        if metadata.is_symlink() {
            names.push((at.clone(), name));
            links += 1;
            match fs::read_link(&next) {
                Ok(target) if links <= MAX_LINKS => rest.append(&mut reversed(&target)),
                _ => break,
            }
        } else {
            if rest.is_empty() && name != "/" {
                names.push((at, name));
            }
            at = next;
        }
    }
    names
}

/// The parts of a path, the first one last; of an absolute path the first is `/`.
fn reversed(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| *part != std::path::Component::CurDir);
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests;
