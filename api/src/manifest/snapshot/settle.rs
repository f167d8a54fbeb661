//! Which version of which object is in use, after the files were read.

use std::collections::{BTreeMap, BTreeSet};

use super::{FileState, Held, Origin, Snapshot, Update};
use crate::manifest::decode::{Item, Loaded};
use crate::manifest::problem::Problem;
use crate::{Age, Object, ObjectRef};

impl Snapshot {
    /// Decides anew from all files, and tells what changed.
    pub(super) fn settle(&mut self) -> Update {
        let mut settling = Settling::new(&self.held);
        for (path, state) in &self.files {
            settling.file(path, state);
        }
        settling.bad_objects();
        let Settling { next, kept, incomplete, mut duplicates, .. } = settling;

        for (path, state) in &mut self.files {
            // A file that cannot be read now is as complete as it was.
            if state.reading.is_ok() {
                state.complete = !incomplete.contains(path);
            }
        }
        let mut update =
            Update { complete: self.files.values().all(|s| s.complete), ..Update::default() };
        update.problems.append(&mut duplicates);
        self.collect_reports(&kept, &mut update);
        update.removed =
            self.held.keys().filter(|object| !next.contains_key(object)).cloned().collect();
        update.applied = next
            .iter()
            .filter(|(object, held)| {
                !self.held.get(object).is_some_and(|before| {
                    is_like(&before.object, &held.object) && before.age == held.age
                })
            })
            .map(|(_, held)| (held.object.clone(), held.age.clone()))
            .collect();
        self.held = next;
        update
    }

    fn collect_reports(&self, kept: &Kept, update: &mut Update) {
        let mut kinds = BTreeSet::new();
        for (path, state) in &self.files {
            match &state.reading {
                Ok(reading) => {
                    let problems = reading.problems.iter().cloned();
                    update.problems.extend(problems.map(|problem| kept.say(problem)));
                    let first = |s: &&_| -> bool {
                        let super::Skipped { api_version, kind, .. } = *s;
                        kinds.insert((api_version.clone(), kind.clone()))
                    };
                    update.skipped.extend(reading.skipped.iter().filter(first).cloned());
                }
                Err(problem) => update.problems.push(kept.say_of_file(path, problem.clone())),
            }
        }
    }
}

/// The decision while it is made.
struct Settling<'s> {
    held: &'s BTreeMap<ObjectRef, Held>,
    /// The objects of `held` by the file they came from.
    by_file: BTreeMap<&'s str, Vec<&'s ObjectRef>>,
    next: BTreeMap<ObjectRef, Held>,
    kept: Kept,
    /// Bad objects that nothing stands for yet, with their files.
    bad: Vec<(&'s ObjectRef, &'s str)>,
    /// Files with something that no good version is known of.
    incomplete: BTreeSet<String>,
    duplicates: Vec<Problem>,
}

/// What is in use although its document is bad now.
#[derive(Default)]
struct Kept {
    objects: BTreeSet<ObjectRef>,
    /// Number of objects kept for a file as a whole, or for its nameless documents.
    files: BTreeMap<String, usize>,
}

impl<'s> Settling<'s> {
    fn new(held: &'s BTreeMap<ObjectRef, Held>) -> Self {
        let mut by_file: BTreeMap<&str, Vec<&ObjectRef>> = BTreeMap::new();
        for (object, held) in held {
            by_file.entry(&held.origin.file).or_default().push(object);
        }
        Self {
            held,
            by_file,
            next: BTreeMap::new(),
            kept: Kept::default(),
            bad: Vec::new(),
            incomplete: BTreeSet::new(),
            duplicates: Vec::new(),
        }
    }

    fn file(&mut self, path: &'s str, state: &'s FileState) {
        let Ok(reading) = &state.reading else {
            self.keep_vanished(path);
            return;
        };
        let mut nameless = 0;
        for item in &reading.items {
            match (&item.reference, &item.loaded) {
                (Some(object), Some(loaded)) => self.good(path, item, object, loaded),
                (Some(object), None) => self.bad_object(path, object),
                (None, _) => nameless += 1,
            }
        }
        if nameless > 0 && self.keep_vanished(path) < nameless {
            self.incomplete.insert(path.to_owned());
        }
    }

    fn good(&mut self, path: &str, item: &Item, object: &ObjectRef, loaded: &Loaded) {
        if let Some(first) = self.next.get(object) {
            let Origin { file, line } = &first.origin;
            let message = if self.kept.objects.contains(object) {
                format!(
                    "{file}:{line} defines it too and is bad now, so its last good version stays \
                     in use: repair or remove that one"
                )
            } else {
                format!("is defined in {file}:{line} too, and that one counts: remove one of them")
            };
            self.duplicates.push(Problem::error(path, item.line, Some(object.clone()), message));
            return;
        }
        let held = in_use(path, item, loaded, self.held.get(object));
        self.next.insert(object.clone(), held);
    }

    /// A bad object holds its place against later definitions when its last good version came from
    /// this very file: breaking it must not bring another one up.
    fn bad_object(&mut self, path: &'s str, object: &'s ObjectRef) {
        match self.held.get(object) {
            Some(held) if held.origin.file == path => self.keep(object),
            _ => self.bad.push((object, path)),
        }
    }

    fn keep(&mut self, object: &ObjectRef) {
        let Some(held) = self.held.get(object) else { return };
        if !self.next.contains_key(object) {
            self.next.insert(object.clone(), held.clone());
            self.kept.objects.insert(object.clone());
        }
    }

    /// Keeps what came from this file and nothing stands for now; says how much that is.
    fn keep_vanished(&mut self, path: &str) -> usize {
        let mut vanished = self.by_file.get(path).cloned().unwrap_or_default();
        vanished.retain(|object| !self.next.contains_key(object));
        vanished.iter().for_each(|object| self.keep(object));
        self.kept.files.insert(path.to_owned(), vanished.len());
        vanished.len()
    }

    fn bad_objects(&mut self) {
        for (object, path) in std::mem::take(&mut self.bad) {
            self.keep(object);
            if !self.next.contains_key(object) {
                self.incomplete.insert(path.to_owned());
            }
        }
    }
}

impl Kept {
    fn say(&self, mut problem: Problem) -> Problem {
        let kept = match &problem.object {
            Some(object) => self.objects.contains(object),
            None => self.files.get(&problem.file).is_some_and(|count| *count > 0),
        };
        if kept && problem.is_error() {
            problem.message.push_str(" (until then its last good version stays in use)");
        }
        problem
    }

    fn say_of_file(&self, path: &str, mut problem: Problem) -> Problem {
        match self.files.get(path) {
            None | Some(0) => {}
            Some(count) => {
                let text = format!(" (until then its {count} objects stay as they were)");
                problem.message.push_str(&text);
            }
        }
        problem
    }
}

/// Nearly all are the very same as the last time.
fn is_like(one: &Object, two: &Object) -> bool {
    one.is_same(two) || one == two
}

fn in_use(path: &str, item: &Item, loaded: &Loaded, before: Option<&Held>) -> Held {
    let read = loaded.object.clone();
    let created = read.metadata().creation_timestamp.as_ref().map(|time| time.0);
    let object = match before {
        // Most objects do not change: they stay the same allocation.
        Some(before) if is_like(&before.read, &read) => before.object.clone(),
        _ => {
            let mut object = read.clone();
            object.metadata_mut().generation = Some(generation(&read, before));
            object
        }
    };
    Held {
        object,
        age: Age { created, place: (path.to_owned(), item.index) },
        origin: Origin { file: path.to_owned(), line: item.line },
        lines: loaded.lines.clone(),
        version: loaded.version,
        read,
    }
}

/// As an API server counts: 1 for a new object, one more whenever anything but metadata changes.
/// A manifest that was exported from a cluster brings its own count to start from.
fn generation(read: &Object, before: Option<&Held>) -> i64 {
    let written = read.metadata().generation.unwrap_or(1).max(1);
    let Some(before) = before else { return written };
    let last = before.object.metadata().generation.unwrap_or(1);
    let mut alike = read.clone();
    *alike.metadata_mut() = before.read.metadata().clone();
    if alike == before.read { last.max(written) } else { (last + 1).max(written) }
}
