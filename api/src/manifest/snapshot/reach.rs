//! How far changes of files reach: which files, and which objects, have to be decided anew.
//!
//! An object that a changed file names, or did, may be named by other files too; these may name further ones. Whatever is
//! connected with a change in this way is decided together, by the same rules as everything at first
//! (`settle.rs`). Nothing else can come out as another.

use std::collections::{BTreeMap, BTreeSet};

use super::{FileState, Snapshot};
use crate::ObjectRef;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Files, those that are gone included.
    pub(super) files: BTreeSet<String>,
    /// All objects that these name, or from which one of them is in use.
    pub(super) objects: BTreeSet<ObjectRef>,
}

impl Snapshot {
    /// What changes of these files reach; each with its state before, if it had any.
    pub(super) fn reach(&self, changed: &BTreeMap<String, Option<FileState>>) -> Reach {
        let mut reach = Reach::default();
        let mut open: Vec<&str> = changed.keys().map(String::as_str).collect();
        reach.files.extend(changed.keys().cloned());
        while let Some(path) = open.pop() {
            let before = changed.get(path).into_iter().flatten();
            let states = self.files.get(path).into_iter().chain(before);
            let strays = self.strays.get(path).into_iter().flatten();
            for object in states.flat_map(FileState::names).chain(strays) {
                if !reach.objects.contains(object) {
                    reach.objects.insert(object.clone());
                    self.follow(object, &mut reach.files, &mut open);
                }
            }
        }
        reach
    }

    /// Adds the files in which an object stands, or that name it.
    fn follow<'s>(
        &'s self,
        object: &ObjectRef,
        files: &mut BTreeSet<String>,
        open: &mut Vec<&'s str>,
    ) {
        let origin = self.held.get(object).map(|held| &held.origin.file);
        for file in self.rivals.get(object).into_iter().flatten().chain(origin) {
            if !files.contains(file) {
                files.insert(file.clone());
                open.push(file);
            }
        }
    }
}
