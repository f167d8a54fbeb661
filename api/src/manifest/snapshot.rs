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
//! bytes did not change are not read again.

mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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
    /// The object as read, before the generation was set.
    read: Object,
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
    /// Its bytes; `None` when it could not be read.
    content: Option<Vec<u8>>,
    reading: Result<FileReading, Problem>,
    /// Whether all its objects were known (good, or with a last good version) when it was last
    /// readable.
    complete: bool,
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
        for File { path, content } in files {
            let state = FileState::read(&path, content, before.remove(&path), self.mode);
            self.files.insert(path, state);
        }
        before.retain(|path, _| unread.iter().any(|prefix| below(path, prefix)));
        self.files.append(&mut before);

        let mut update = self.settle();
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
        before: Option<Self>,
        mode: Mode,
    ) -> Self {
        // A file that was not there before has nothing to be complete by.
        let complete = before.as_ref().is_some_and(|state| state.complete);
        match (content, before) {
            (Ok(content), Some(before)) if before.content.as_ref() == Some(&content) => before,
            (Ok(content), _) => {
                let reading = read_manifest(path, &content, mode);
                Self { content: Some(content), reading, complete }
            }
            (Err(problem), _) => Self { content: None, reading: Err(problem), complete },
        }
    }
}
