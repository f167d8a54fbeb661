//! Says when the manifests are worth reading again, and reads them.
//!
//! State: the kernel's watches (inotify), and the files that somebody is writing. What is watched
//! follows what was read: each directory that was walked, and each name that the way to it depends
//! on. So a swapped link (the `..data` of a ConfigMap, `current -> release-2`), a link to a file
//! elsewhere, and a directory that is deleted and made anew are noticed like a saved file.
//!
//! What always holds: no file is read while it is half written, as far as can be told: a reading
//! during which something changed is made again, and after [`AT_LAST`] it counts without the files
//! that changed, which stay as they were. A change is read at most [`HELD`] and one [`SETTLE`] after
//! its last write, or [`AT_LAST`] after the first of its neighbours.
//!
//! (The kernel queues an event before the call that caused it returns, so the queue is asked right
//! after the reading. A thread that hears of events would hear of them late on a busy machine. A file
//! is truncated before that is told, so one that has become empty is looked at for [`HELD`].)

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest as Readiness;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;
use vipgate_api::manifest::{File, Listing, Problem};

/// Files that are written together are read together: a change is read this long after the last.
const SETTLE: Duration = Duration::from_millis(20);
/// A file that was written to and not closed is waited for this long after each write (an empty one
/// for [`AT_LAST`]: that is what it is between being truncated and being written).
const HELD: Duration = Duration::from_millis(110);
/// When changes never pause, the first moment without a half written file is taken after this.
const AT_MOST: Duration = Duration::from_millis(500);
/// And any moment after this, without the files that are not at rest.
const AT_LAST: Duration = Duration::from_secs(2);
/// Links on the way to one path (as many as the kernel follows).
const MAX_LINKS: usize = 40;

/// What can change what a reading finds. (What reading itself causes is not among it.)
const WATCHED: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// The entry, or the watched directory, is not any more what it was.
const REPLACED: ReadFlags = ReadFlags::DELETE
    .union(ReadFlags::DELETE_SELF)
    .union(ReadFlags::MOVED_FROM)
    .union(ReadFlags::MOVED_TO)
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT);
/// Nobody is writing the file under this name.
const WRITTEN: ReadFlags = REPLACED.union(ReadFlags::CLOSE_WRITE).union(ReadFlags::CREATE);

/// What is in the file is another.
const CONTENT: ReadFlags = ReadFlags::MODIFY.union(ReadFlags::CLOSE_WRITE);

/// The watches of a directory of manifests.
#[derive(Debug)]
pub(super) struct Changes {
    root: PathBuf,
    queue: AsyncFd<OwnedFd>,
    /// When the first change was noticed that no reading followed yet.
    heard: Option<Instant>,
    interests: Interests,
    watched: BTreeMap<PathBuf, Watch>,
    /// Files that were empty in the last reading that counted. One more is doubted: a file is empty
    /// some time before the kernel tells that it was truncated (on ext4 the journal is between the two).
    empty: BTreeSet<String>,
}

/// A watched directory, with device and inode: the same path may become another one.
#[derive(Debug)]
struct Watch {
    number: i32,
    identity: (u64, u64),
}

/// What an event has to be about to count.
#[derive(Debug, Default)]
struct Interests {
    directories: BTreeMap<PathBuf, Interest>,
    /// Files written to and not closed, with the last write.
    writing: BTreeMap<PathBuf, Instant>,
    /// What events that count were about since the last reading began.
    changed: BTreeSet<PathBuf>,
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
    /// Prepares, on a runtime; watching begins with the first reading.
    pub(super) fn of(root: &Path) -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // SAFETY: the descriptor is open and the same until the `OwnedFd` is dropped, and nothing that
        // `AsyncFd` gives away can replace or drop that.
        #[allow(unsafe_code)]
        let queue = unsafe { AsyncFd::register_with_interest(queue, Readiness::READABLE) }?;
        Ok(Self {
            root: root.to_owned(),
            queue,
            heard: None,
            interests: Interests::default(),
            watched: BTreeMap::new(),
            empty: BTreeSet::new(),
        })
    }

    /// Reads (with `read`, what is in the directory that this is given), whatever is being written.
    /// The second result says whether all of it could be watched.
    pub(super) fn read(&mut self, read: impl Fn(&Path) -> Listing) -> (Listing, io::Result<()>) {
        let mut listing = read(&self.root);
        let mut followed = self.follow(&listing);
        if let Ok(Followed::NewPlaces) = followed {
            // What happened there before it was watched may have been missed.
            listing = read(&self.root);
            followed = self.follow(&listing);
        }
        if let Ok(Followed::NewPlaces) = followed {
            self.heard.get_or_insert_with(Instant::now);
        }
        (listing, followed.map(|_| ()))
    }

    /// Waits until something changed and writing has settled, and reads; again, if something changed
    /// meanwhile. Safe to cancel.
    pub(super) async fn reading(
        &mut self,
        read: impl Fn(&Path) -> Listing,
    ) -> (Listing, io::Result<()>) {
        loop {
            let since = self.settled().await;
            self.heard = None;
            self.interests.changed.clear();
            let (mut listing, watched) = self.read(&read);
            let has_new_places = self.heard.is_some();
            // Not forgotten before it is certain that this reading counts.
            self.heard = Some(since);
            let empty = empty_files(&listing);
            let is_disturbed = has_new_places
                || self.hear()
                || self.interests.half_written()
                || (!empty.is_subset(&self.empty) && timeout(HELD, self.change()).await.is_ok());
            if !is_disturbed {
                self.heard = None;
                self.empty = empty;
                return (listing, watched);
            }
            if since.elapsed() >= AT_LAST {
                self.heard = Some(Instant::now());
                self.interests.leave_out(&self.root, &mut listing);
                return (listing, watched);
            }
        }
    }

    /// Waits until something changed and writing has settled; says since when there are changes.
    async fn settled(&mut self) -> Instant {
        if self.heard.is_none() {
            self.change().await;
        }
        let heard = *self.heard.get_or_insert_with(Instant::now);
        loop {
            let limit = if self.interests.half_written() { AT_LAST } else { AT_MOST };
            if heard.elapsed() >= limit {
                break;
            }
            let quiet = timeout(SETTLE, self.change()).await.is_err();
            if quiet && !self.interests.half_written() {
                break;
            }
        }
        heard
    }

    /// Waits for something that counts.
    async fn change(&mut self) {
        loop {
            let Ok(mut ready) = self.queue.readable().await else {
                // The runtime ends.
                return std::future::pending().await;
            };
            let counts = take_in(ready.get_inner(), &self.watched, &mut self.interests);
            ready.clear_ready();
            if counts {
                return;
            }
        }
    }

    /// Whether something that counts has happened and was not told yet.
    fn hear(&mut self) -> bool {
        take_in(self.queue.get_ref(), &self.watched, &mut self.interests)
    }

    /// Watches what was read.
    fn follow(&mut self, read: &Listing) -> io::Result<Followed> {
        let wanted = interests(&self.root, read);
        let lost = std::mem::take(&mut self.interests.lost);
        let is_gone = |path: &&PathBuf| !wanted.contains_key(*path) || lost.contains(*path);
        let gone: Vec<PathBuf> = self.watched.keys().filter(is_gone).cloned().collect();
        for path in gone {
            self.unwatch(&path);
        }
        let mut result = Ok(Followed::AsBefore);
        for path in wanted.keys() {
            let Ok(metadata) = fs::metadata(path) else { continue };
            let identity = (metadata.dev(), metadata.ino());
            if self.watched.get(path).is_some_and(|watch| watch.identity == identity) {
                continue;
            }
            self.unwatch(path);
            match inotify::add_watch(&self.queue, path, WATCHED) {
                Ok(number) => {
                    self.watched.insert(path.clone(), Watch { number, identity });
                    result = result.map(|_| Followed::NewPlaces);
                }
                Err(error) => result = Err(error.into()),
            }
        }
        self.interests.directories = wanted;
        result
    }

    fn unwatch(&mut self, path: &Path) {
        let Some(Watch { number, .. }) = self.watched.remove(path) else { return };
        // One directory may be mounted in two places.
        if !self.watched.values().any(|other| other.number == number) {
            // Fails when the directory is gone, and the watch with it.
            let _ = inotify::remove_watch(&self.queue, number);
        }
    }
}

/// What watching what was read has led to.
#[derive(Clone, Copy, Debug)]
enum Followed {
    AsBefore,
    NewPlaces,
}

/// Takes in the events that are there; says whether one counts.
fn take_in(queue: &OwnedFd, watched: &BTreeMap<PathBuf, Watch>, interests: &mut Interests) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(queue, &mut buffer);
    let mut counts = false;
    loop {
        let event = match events.next() {
            Ok(event) => event,
            Err(Errno::INTR) => continue,
            // None is left.
            Err(_) => return counts,
        };
        // The kernel had no room for what happened.
        counts |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
        for (directory, _) in watched.iter().filter(|(_, watch)| watch.number == event.wd()) {
            let path = name.map_or_else(|| directory.clone(), |name| directory.join(name));
            counts |= interests.take_in(event.events(), path);
        }
    }
}

fn empty_files(read: &Listing) -> BTreeSet<String> {
    let is_empty = |file: &&File| file.content.as_ref().is_ok_and(Vec::is_empty);
    read.files.iter().filter(is_empty).map(|file| file.path.clone()).collect()
}

impl Interests {
    /// Whether an event can change what a reading finds.
    fn take_in(&mut self, what: ReadFlags, path: PathBuf) -> bool {
        // The end of a watch: what it came from was told.
        if what.contains(ReadFlags::IGNORED) || !self.concern(what, &path) {
            return false;
        }
        if what.intersects(REPLACED) && self.directories.contains_key(&path) {
            self.lost.insert(path.clone());
        }
        self.changed.insert(path.clone());
        if what.contains(ReadFlags::MODIFY) {
            self.writing.insert(path, Instant::now());
        } else if what.intersects(WRITTEN) {
            self.writing.remove(&path);
        }
        true
    }

    fn concern(&self, what: ReadFlags, path: &Path) -> bool {
        let within = || {
            let (directory, name) = (path.parent()?, path.file_name()?);
            Some(match self.directories.get(directory)? {
                // Of what else is there only its name counts: it may be a directory.
                Interest::Everything => !what.intersects(CONTENT) || is_manifest(path),
                Interest::Names(names) => names.contains(name),
            })
        };
        self.directories.contains_key(path) || within().unwrap_or(false)
    }

    fn half_written(&mut self) -> bool {
        let is_empty =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
        self.writing.retain(|path, last| {
            let age = last.elapsed();
            age < HELD || (age < AT_LAST && is_empty(path))
        });
        !self.writing.is_empty()
    }

    /// Takes what is not at rest out of what was read.
    fn leave_out(&self, root: &Path, read: &mut Listing) {
        let moving: BTreeSet<&PathBuf> = self.changed.iter().chain(self.writing.keys()).collect();
        let real = |path: &Path| fs::canonicalize(path).ok();
        let mut left_out = BTreeSet::new();
        for directory in &read.directories {
            let Some(place) = real(directory) else { continue };
            let within = moving.iter().filter_map(|path| path.strip_prefix(&place).ok());
            let named = |path: &&Path| is_manifest(path) || path.extension().is_none();
            left_out.extend(within.filter(named).map(|path| directory.join(path)));
        }
        let named = read.links.iter().map(PathBuf::as_path).chain([root]);
        let linked = named.filter(|path| real(path).is_some_and(|path| moving.contains(&path)));
        left_out.extend(linked.map(Path::to_owned));
        for path in left_out {
            let path = path.to_string_lossy().into_owned();
            if read.files.iter().any(|file| file.path == path) {
                let message = "somebody writes it without a pause: what it was before counts";
                read.problems.push(Problem::of_file(&path, message));
                read.files.retain(|file| file.path != path);
            }
            read.unread.push(path);
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
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
