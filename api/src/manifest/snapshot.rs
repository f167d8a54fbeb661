//! The objects in use: of every object the last good version.
//!
//! The rules, for one update with all files of the directory:
//!
//! * A good object is used. When several places define it, the first by (path, place in the file)
//!   counts and the others are problems.
//! * A bad object keeps its last good version, wherever that came from, as long as a document says
//!   that it is this object.
//! * A document too broken to say what it is keeps the objects that vanished from its file, also
//!   against definitions in later files.
//! * A file that cannot be read at all, or a directory that cannot be listed, keeps all its objects.
//! * Otherwise an object that no file has is removed.
//!
//! So a slip of the pen never takes anything down, and deleting works by deleting. Files whose
//! bytes did not change are not read again, and what they define is not decided again, unless it has
//! to do with what changed ([`reach`]).

mod reach;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::Mode;
use super::decode::{FileReading, Skipped, read_manifest};
use super::directory::{File, Listing};
use super::path::FieldLines;
use super::problem::Problem;
use crate::{Age, Object, ObjectRef};

/// The objects in use, and what is needed to follow changes of their files.
#[derive(Debug, Default)]
pub struct Snapshot {
    mode: Mode,
    files: BTreeMap<String, FileState>,
    held: BTreeMap<ObjectRef, Held>,
    /// Files that name an object which stands elsewhere, or is not in use.
    rivals: BTreeMap<ObjectRef, BTreeSet<String>>,
    /// By file, objects in use that stood in it, and that it does not name any more.
    strays: BTreeMap<String, BTreeSet<ObjectRef>>,
    /// Unlisted prefixes whose content was never known.
    never_listed: BTreeSet<String>,
}

/// An object in use.
#[derive(Clone, Debug)]
pub struct Held {
    /// The object; `metadata.generation` counts the changes of everything but metadata.
    pub object: Object,
    /// How old it is.
    pub age: Age,
    /// Where it stands (or stood, when this is the last good version of something now bad).
    pub origin: Origin,
    /// Lines of its fields there.
    pub lines: FieldLines,
    /// The version of its kind that it is written in.
    pub version: &'static str,
    /// `metadata.generation` as written.
    written: Option<i64>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Path of the file.
    pub file: String,
    /// Line from 1 on.
    pub line: u32,
}

/// What an update changed, and the state of affairs after it.
#[derive(Debug, Default)]
pub struct Update {
    /// Objects that are new or changed.
    pub applied: Vec<(Object, Age)>,
    /// Objects that are gone.
    pub removed: Vec<ObjectRef>,
    /// Objects of which anything may be another now, be it the place.
    pub reached: BTreeSet<ObjectRef>,
    /// Everything that is wrong now (not only since this update), by file and line.
    pub problems: Vec<Problem>,
    /// Kinds that are not read, each at the first place where it occurs.
    pub skipped: Vec<Skipped>,
    /// Whether everything that the files mean is known, if only from a version before. While it is
    /// not, the absence of an object proves nothing: what it had must not be given to others.
    pub complete: bool,
}

/// One file, as it was read last.
#[derive(Debug)]
struct FileState {
    /// What its bytes come to ([`xxh3_128`]); `None` when it could not be read.
    content: Option<u128>,
    reading: Result<FileReading, Problem>,
    /// For each item of the reading: `metadata.generation` as written. In the objects themselves it counts.
    written: Vec<Option<i64>>,
    /// Whether all its objects were known (good, or with a last good version) when it was last
    /// readable.
    complete: bool,
    /// What is wrong with it.
    problems: Vec<Problem>,
}

impl Snapshot {
    /// A snapshot without objects.
    pub fn new(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Every object in use.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectRef, &Held)> {
        self.held.iter()
    }

    /// An object in use.
    pub fn object(&self, object: &ObjectRef) -> Option<&Held> {
        self.held.get(object)
    }

    /// Where a field (`spec.listeners[0].port`; empty for the object) of an object stands, for
    /// problems that only show against other objects.
    pub fn origin(&self, object: &ObjectRef, field: &str) -> Option<Origin> {
        let held = self.held.get(object)?;
        let line = if field.is_empty() { held.origin.line } else { held.lines.line(field) };
        Some(Origin { file: held.origin.file.clone(), line })
    }

    /// Takes in the files as they are now.
    pub fn update(&mut self, listing: Listing) -> Update {
        let Listing { files, mut problems, unread, .. } = listing;
        let below = |path: &str, prefix: &str| Path::new(path).starts_with(prefix);
        let listed_before = |prefix: &str| self.files.keys().any(|path| below(path, prefix));
        self.never_listed = unread
            .iter()
            .filter(|prefix| self.never_listed.contains(*prefix) || !listed_before(prefix))
            .cloned()
            .collect();
        let mut before = std::mem::take(&mut self.files);
        let mut changed = BTreeMap::new();
        for File { path, content } in files {
            let old = before.remove(&path);
            let state = match (content, old) {
                (Ok(content), Some(old)) if old.content == Some(xxh3_128(&content)) => old,
                (content, old) => {
                    let state = FileState::read(&path, content, old.as_ref(), self.mode);
                    changed.insert(path.clone(), old);
                    state
                }
            };
            self.files.insert(path, state);
        }
        let (hidden, gone): (BTreeMap<_, _>, _) = before
            .into_iter()
            .partition(|(path, _)| unread.iter().any(|prefix| below(path, prefix)));
        self.files.extend(hidden);
        changed.extend(gone.into_iter().map(|(path, state)| (path, Some(state))));

        let reach = self.reach(&changed);
        drop(changed);
        let mut update = self.settle(reach);
        update.problems.append(&mut problems);
        update.problems.sort();
        update.problems.dedup();
        update.complete &= self.never_listed.is_empty();
        update
    }
}

impl FileState {
    fn read(
        path: &str,
        content: Result<Vec<u8>, Problem>,
        before: Option<&Self>,
        mode: Mode,
    ) -> Self {
        let (content, mut reading) = match content {
            Ok(content) => {
                let reading = read_manifest(path, &content, mode);
                (Some(xxh3_128(&content)), reading)
            }
            Err(problem) => (None, Err(problem)),
        };
        let items = reading.iter_mut().flat_map(|reading| &mut reading.items);
        let written = items.map(|item| {
            let generation = &mut item.loaded.as_mut()?.object.metadata_mut().generation;
            let first = generation.unwrap_or(1).max(1);
            generation.replace(first)
        });
        let written = written.collect();
        // A file that was not there before has nothing to be complete by.
        let complete = before.is_some_and(|state| state.complete);
        Self { content, reading, written, complete, problems: Vec::new() }
    }

    /// The objects that it names, well or badly.
    fn names(&self) -> impl Iterator<Item = &ObjectRef> {
        let items = self.reading.iter().flat_map(|reading| &reading.items);
        items.filter_map(|item| item.reference.as_ref())
    }
}
