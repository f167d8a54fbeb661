//! Which version of which object is in use, after the files were read.

use std::collections::{BTreeMap, BTreeSet};

use super::reach::Reach;
use super::{FileState, Held, Origin, Snapshot, Update};
use crate::manifest::decode::{Item, Loaded};
use crate::manifest::problem::Problem;
use crate::{Age, Object, ObjectRef};

impl Snapshot {
    /// Decides anew about what changes reach, and tells what changed.
    pub(super) fn settle(&mut self, Reach { files, objects }: Reach) -> Update {
        let mut settling = Settling::new(&self.held, &objects);
        for (path, state) in files.iter().filter_map(|path| self.files.get_key_value(path)) {
            settling.file(path, state);
        }
        settling.bad_objects();
        let Settling { next, kept, incomplete, mut duplicates, .. } = settling;

        for path in &files {
            let Some(state) = self.files.get_mut(path) else { continue };
            // A file that cannot be read now is as complete as it was.
            if state.reading.is_ok() {
                state.complete = !incomplete.contains(path);
            }
            state.problems = match &state.reading {
                Ok(reading) => {
                    reading.problems.iter().map(|problem| kept.say(problem.clone())).collect()
                }
                Err(problem) => vec![kept.say_of_file(path, problem.clone())],
            };
            state.problems.extend(duplicates.remove(path).into_iter().flatten());
        }
        let mut update = Update::default();
        self.take_over(next, &objects, &mut update);
        self.note_places(&files, &objects, &kept);
        self.collect_reports(&mut update);
        update.reached = objects;
        update
    }

    /// Puts what was decided into use.
    fn take_over(
        &mut self,
        mut next: BTreeMap<ObjectRef, Held>,
        objects: &BTreeSet<ObjectRef>,
        update: &mut Update,
    ) {
        for object in objects {
            let Some(held) = next.remove(object) else {
                if self.held.remove(object).is_some() {
                    update.removed.push(object.clone());
                }
                continue;
            };
            let is_as_before = self.held.get(object).is_some_and(|before| {
                is_like(&before.object, &held.object) && before.age == held.age
            });
            if !is_as_before {
                update.applied.push((held.object.clone(), held.age.clone()));
            }
            self.held.insert(object.clone(), held);
        }
    }

    /// Remembers for each of these files what stands in it and what does not; and the objects in use there,
    /// so that there is one of each in memory.
    fn note_places(
        &mut self,
        files: &BTreeSet<String>,
        objects: &BTreeSet<ObjectRef>,
        kept: &Kept,
    ) {
        let Self { files: states, held, rivals, strays, .. } = self;
        let mut unnamed = objects.clone();
        for object in objects {
            rivals.remove(object);
        }
        for path in files {
            strays.remove(path);
            let Some(state) = states.get_mut(path) else { continue };
            let items = state.reading.iter_mut().flat_map(|reading| &mut reading.items);
            for item in items {
                let Some(object) = &item.reference else { continue };
                let place = held.get(object).filter(|held| held.origin.file == *path);
                let Some(place) = place else {
                    rivals.entry(object.clone()).or_default().insert(path.clone());
                    continue;
                };
                unnamed.remove(object);
                let is_this = place.age.place.1 == item.index && !kept.objects.contains(object);
                if let Some(loaded) = item.loaded.as_mut().filter(|_| is_this) {
                    loaded.object = place.object.clone();
                }
            }
        }
        for object in unnamed {
            if let Some(held) = held.get(&object) {
                strays.entry(held.origin.file.clone()).or_default().insert(object);
            }
        }
    }

    fn collect_reports(&self, update: &mut Update) {
        let mut kinds = BTreeSet::new();
        update.complete = self.files.values().all(|state| state.complete);
        for state in self.files.values() {
            update.problems.extend(state.problems.iter().cloned());
            let Ok(reading) = &state.reading else { continue };
            let first = |s: &&_| -> bool {
                let super::Skipped { api_version, kind, .. } = *s;
                kinds.insert((api_version.clone(), kind.clone()))
            };
            update.skipped.extend(reading.skipped.iter().filter(first).cloned());
        }
    }
}

/// The decision while it is made.
struct Settling<'s> {
    held: &'s BTreeMap<ObjectRef, Held>,
    /// Those of `held` that are to be decided about, by the file they came from.
    by_file: BTreeMap<&'s str, Vec<&'s ObjectRef>>,
    next: BTreeMap<ObjectRef, Held>,
    kept: Kept,
    /// Bad objects that nothing stands for yet, with their files.
    bad: Vec<(&'s ObjectRef, &'s str)>,
    /// Files with something that no good version is known of.
    incomplete: BTreeSet<String>,
    /// By file.
    duplicates: BTreeMap<String, Vec<Problem>>,
}

/// What is in use although its document is bad now.
#[derive(Default)]
struct Kept {
    objects: BTreeSet<ObjectRef>,
    /// Number of objects kept for a file as a whole, or for its nameless documents.
    files: BTreeMap<String, usize>,
}

impl<'s> Settling<'s> {
    fn new(held: &'s BTreeMap<ObjectRef, Held>, objects: &'s BTreeSet<ObjectRef>) -> Self {
        let mut by_file: BTreeMap<&str, Vec<&ObjectRef>> = BTreeMap::new();
        for object in objects {
            if let Some(held) = held.get(object) {
                by_file.entry(&held.origin.file).or_default().push(object);
            }
        }
        Self {
            held,
            by_file,
            next: BTreeMap::new(),
            kept: Kept::default(),
            bad: Vec::new(),
            incomplete: BTreeSet::new(),
            duplicates: BTreeMap::new(),
        }
    }

    fn file(&mut self, path: &'s str, state: &'s FileState) {
        let Ok(reading) = &state.reading else {
            self.keep_vanished(path);
            return;
        };
        let mut nameless = 0;
        for (item, written) in reading.items.iter().zip(&state.written) {
            match (&item.reference, &item.loaded) {
                (Some(object), Some(loaded)) => self.good(path, item, *written, object, loaded),
                (Some(object), None) => self.bad_object(path, object, &reading.items),
                (None, _) => nameless += 1,
            }
        }
        if nameless > 0 && self.keep_vanished(path) < nameless {
            self.incomplete.insert(path.to_owned());
        }
    }

    fn good(
        &mut self,
        path: &str,
        item: &Item,
        written: Option<i64>,
        object: &ObjectRef,
        loaded: &Loaded,
    ) {
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
            let problem = Problem::error(path, item.line, Some(object.clone()), message);
            self.duplicates.entry(path.to_owned()).or_default().push(problem);
            return;
        }
        let held = in_use(path, item, written, loaded, self.held.get(object));
        self.next.insert(object.clone(), held);
    }

    /// A bad object holds its place against later definitions when its last good version came from
    /// this very file: breaking it must not bring another one up. It does not when that version still stands
    /// in the file.
    fn bad_object(&mut self, path: &'s str, object: &'s ObjectRef, items: &[Item]) {
        match self.held.get(object) {
            Some(held) if held.origin.file == path && !stands(object, held, items) => {
                self.keep(object);
            }
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

/// Whether an object is well defined in the place that it is in use from.
fn stands(object: &ObjectRef, held: &Held, items: &[Item]) -> bool {
    let place = held.age.place.1;
    let first = items.partition_point(|item| item.index < place);
    let mut there = items[first..].iter().take_while(|item| item.index == place);
    there.any(|item| item.loaded.is_some() && item.reference.as_ref() == Some(object))
}

/// Nearly all are the very same as the last time.
fn is_like(one: &Object, two: &Object) -> bool {
    one.is_same(two) || one == two
}

fn in_use(
    path: &str,
    item: &Item,
    written: Option<i64>,
    loaded: &Loaded,
    before: Option<&Held>,
) -> Held {
    let mut object = loaded.object.clone();
    let created = object.metadata().creation_timestamp.as_ref().map(|time| time.0);
    match before {
        Some(before) => count(&mut object, written, before),
        None => set_generation(&mut object, written.unwrap_or(1).max(1)),
    }
    Held {
        object,
        age: Age { created, place: (path.to_owned(), item.index) },
        origin: Origin { file: path.to_owned(), line: item.line },
        lines: loaded.lines.clone(),
        version: loaded.version,
        written,
    }
}

/// As an API server counts: 1 for a new object, one more whenever anything but metadata changes.
/// A manifest that was exported from a cluster brings its own count to start from. One that did not change stays
/// the same allocation.
fn count(object: &mut Object, written: Option<i64>, before: &Held) {
    if object.is_same(&before.object) {
        return;
    }
    let last = before.object.metadata().generation.unwrap_or(1);
    set_generation(object, last);
    if before.written == written && *object == before.object {
        *object = before.object.clone();
        return;
    }
    let mut alike = object.clone();
    *alike.metadata_mut() = before.object.metadata().clone();
    let least = written.unwrap_or(1).max(1);
    let now = if alike == before.object { last } else { last + 1 };
    set_generation(object, now.max(least));
}

fn set_generation(object: &mut Object, generation: i64) {
    if object.metadata().generation != Some(generation) {
        object.metadata_mut().generation = Some(generation);
    }
}
