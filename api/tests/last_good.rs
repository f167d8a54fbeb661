//! What stays in use when files change, break, move and vanish.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use vipgate_api::manifest::{File, Listing, Mode, Problem, Snapshot, Update};
use vipgate_api::{Kind, Object, ObjectKey, ObjectRef};

/// A directory in memory and the snapshot that follows it.
struct Desk {
    files: BTreeMap<String, Result<Vec<u8>, Problem>>,
    unread: Vec<String>,
    snapshot: Snapshot,
}

impl Desk {
    fn new() -> Self {
        let snapshot = Snapshot::new(Mode::Standalone);
        Self { files: BTreeMap::new(), unread: Vec::new(), snapshot }
    }

    /// Writes a file and takes the directory in.
    fn write(&mut self, path: &str, text: impl Into<String>) -> Update {
        self.files.insert(path.to_owned(), Ok(text.into().into_bytes()));
        self.update()
    }

    fn remove(&mut self, path: &str) -> Update {
        self.files.remove(path);
        self.update()
    }

    fn make_unreadable(&mut self, path: &str) -> Update {
        let problem = Problem::of_file(path, "cannot be read: permission denied");
        self.files.insert(path.to_owned(), Err(problem));
        self.update()
    }

    fn update(&mut self) -> Update {
        let below = |path: &str, prefix: &str| std::path::Path::new(path).starts_with(prefix);
        let hidden = |path: &str| self.unread.iter().any(|prefix| below(path, prefix));
        let files = self
            .files
            .iter()
            .filter(|(path, _)| !hidden(path))
            .map(|(path, content)| File { path: path.clone(), content: content.clone() })
            .collect();
        let unread = self.unread.clone();
        self.snapshot.update(Listing { files, unread, ..Listing::default() })
    }

    /// What is in use: `lan=192.0.2.1@a.yaml`, sorted.
    fn in_use(&self) -> Vec<String> {
        let show = |(object, held): (&ObjectRef, &vipgate_api::manifest::Held)| {
            let Object::IpAddressPool(pool) = &held.object else { panic!("{object}") };
            format!("{}={}@{}", object.key.name, pool.spec.addresses.join(","), held.origin.file)
        };
        self.snapshot.objects().map(show).collect()
    }

    fn generation(&self, name: &str) -> i64 {
        let (_, held) =
            self.snapshot.objects().find(|(object, _)| object.key.name == name).unwrap();
        held.object.metadata().generation.unwrap()
    }
}

/// A pool; `!` as address makes it a bad one.
fn pool(name: &str, address: &str) -> String {
    format!(
        "---\napiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\nmetadata:\n  name: {name}\n\
         spec:\n  addresses: [\"{address}\"]\n"
    )
}

const BROKEN: &str = "---\napiVersion: vipgate.dev/v1alpha1\nkind: [IPAddressPool\n";

fn names(update: &Update) -> (Vec<String>, Vec<String>) {
    let applied = update.applied.iter().map(|(object, _)| object.metadata().name.clone().unwrap());
    let removed = update.removed.iter().map(|object| object.key.name.clone());
    (applied.collect(), removed.collect())
}

fn nothing_changed(update: &Update) -> bool {
    update.applied.is_empty() && update.removed.is_empty()
}

fn report(update: &Update) -> Vec<String> {
    update.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn objects_come_change_and_go() {
    let mut desk = Desk::new();
    let update = desk.write("a.yaml", pool("lan", "192.0.2.1") + &pool("wan", "192.0.2.2"));
    assert_eq!(names(&update), (vec!["lan".into(), "wan".into()], vec![]));
    assert!(update.complete && update.problems.is_empty());

    let update = desk.write("a.yaml", pool("lan", "192.0.2.9") + &pool("wan", "192.0.2.2"));
    assert_eq!(names(&update), (vec!["lan".into()], vec![]));
    assert_eq!((desk.generation("lan"), desk.generation("wan")), (2, 1));

    assert!(nothing_changed(&desk.update()), "the same bytes change nothing");

    let update = desk.write("a.yaml", pool("lan", "192.0.2.9"));
    assert_eq!(names(&update), (vec![], vec!["wan".into()]));
    let update = desk.remove("a.yaml");
    assert_eq!(names(&update), (vec![], vec!["lan".into()]));
    assert!(desk.in_use().is_empty() && update.complete);
}

#[test]
fn a_bad_object_keeps_its_last_good_version_and_its_neighbours_move_on() {
    let mut desk = Desk::new();
    desk.write("a.yaml", pool("lan", "192.0.2.1") + &pool("wan", "192.0.2.2"));
    let update = desk.write("a.yaml", pool("lan", "!") + &pool("wan", "192.0.2.9"));
    assert_eq!(names(&update), (vec!["wan".into()], vec![]));
    assert_eq!(desk.in_use(), ["lan=192.0.2.1@a.yaml", "wan=192.0.2.9@a.yaml"]);
    assert!(update.complete, "every object has a version");
    let said = &report(&update)[0];
    assert!(
        said.starts_with("a.yaml:7: IPAddressPool default/lan: spec.addresses[0]: \"!\" is not"),
        "{said}"
    );
    assert!(said.ends_with("(until then its last good version stays in use)"), "{said}");
    // Still so when something else changes, and over when the document goes.
    desk.write("b.yaml", pool("other", "192.0.2.5"));
    assert_eq!(desk.in_use()[0], "lan=192.0.2.1@a.yaml");
    let update = desk.write("a.yaml", pool("wan", "192.0.2.9"));
    assert_eq!(names(&update).1, ["lan"]);
}

#[test]
fn a_bad_object_that_was_never_good_makes_the_picture_incomplete() {
    let mut desk = Desk::new();
    let update = desk.write("a.yaml", pool("lan", "!"));
    assert!(!update.complete && desk.in_use().is_empty());
    assert!(!report(&update)[0].contains("last good"));
    assert!(!desk.update().complete, "an update without change does not heal it");
    let update = desk.write("a.yaml", pool("lan", "192.0.2.1"));
    assert!(update.complete);
}

#[test]
fn a_broken_document_keeps_what_vanished_from_its_file() {
    let mut desk = Desk::new();
    let update = desk.write("a.yaml", BROKEN);
    assert!(!update.complete, "nobody knows what it was");
    desk.write("a.yaml", pool("lan", "192.0.2.1") + &pool("wan", "192.0.2.2"));
    let update = desk.write("a.yaml", pool("lan", "192.0.2.9") + BROKEN);
    assert_eq!(desk.in_use(), ["lan=192.0.2.9@a.yaml", "wan=192.0.2.2@a.yaml"]);
    assert!(update.complete, "one document is broken, one object is kept for it");
    assert!(report(&update)[0].ends_with("(until then its last good version stays in use)"));
    assert!(desk.update().complete && desk.in_use().len() == 2, "and stays so");
    // A second broken document stands for something that was never seen.
    let update = desk.write("a.yaml", pool("lan", "192.0.2.9") + BROKEN + BROKEN);
    assert!(!update.complete && desk.in_use().len() == 2);
    // With the last broken document the kept object goes.
    let update = desk.write("a.yaml", pool("lan", "192.0.2.9"));
    assert_eq!(names(&update), (vec![], vec!["wan".into()]));
    assert!(update.complete);
}

#[test]
fn a_file_that_cannot_be_read_keeps_all_its_objects() {
    let mut desk = Desk::new();
    let update = desk.make_unreadable("a.yaml");
    assert!(!update.complete, "nobody knows what is in it");
    desk.write("a.yaml", pool("lan", "192.0.2.1") + &pool("wan", "192.0.2.2"));
    let update = desk.make_unreadable("a.yaml");
    assert!(nothing_changed(&update) && update.complete);
    assert!(report(&update)[0].ends_with("denied (until then its 2 objects stay as they were)"));
    // Bytes that are no text are the same case.
    desk.files.insert("a.yaml".into(), Ok(vec![0xff, 0xfe]));
    let update = desk.update();
    assert!(nothing_changed(&update) && update.complete);
    // What was incomplete before stays incomplete.
    desk.write("a.yaml", pool("lan", "192.0.2.1") + &pool("bad", "!"));
    assert!(!desk.make_unreadable("a.yaml").complete);
    let update = desk.remove("a.yaml");
    assert_eq!(names(&update).1, ["lan"]);
}

#[test]
fn a_directory_that_cannot_be_listed_is_not_an_empty_one() {
    let mut desk = Desk::new();
    desk.write("dir/sub/a.yaml", pool("lan", "192.0.2.1"));
    desk.write("dir/sub2/a.yaml", pool("next", "192.0.2.3"));
    desk.write("dir/b.yaml", pool("wan", "192.0.2.2"));
    desk.unread = vec!["dir/sub".to_owned()];
    let update = desk.update();
    assert!(nothing_changed(&update) && update.complete);
    assert_eq!(names(&desk.remove("dir/sub2/a.yaml")).1, ["next"], "its name only begins alike");
    desk.unread = vec!["dir".to_owned()];
    assert!(nothing_changed(&desk.update()));
    desk.unread.clear();
    assert_eq!(names(&desk.remove("dir/sub/a.yaml")).1, ["lan"]);
    // One that could never be listed hides nobody knows what.
    desk.unread = vec!["dir/secret".to_owned()];
    assert!(!desk.update().complete);
    assert!(!desk.update().complete, "not even when asked twice");
    desk.unread.clear();
    assert!(desk.update().complete);
}

#[test]
fn of_two_definitions_the_first_by_path_and_place_counts() {
    let mut desk = Desk::new();
    desk.write("b.yaml", pool("lan", "192.0.2.2"));
    let update = desk.write("c.yaml", pool("lan", "192.0.2.3"));
    assert!(nothing_changed(&update) && update.complete);
    assert_eq!(
        report(&update),
        ["c.yaml:2: IPAddressPool default/lan: is defined in b.yaml:2 too, and that one counts: \
         remove one of them"]
    );
    desk.write("a.yaml", pool("lan", "192.0.2.1") + &pool("lan", "192.0.2.11"));
    assert_eq!(desk.in_use(), ["lan=192.0.2.1@a.yaml"]);
    desk.remove("a.yaml");
    assert_eq!(desk.in_use(), ["lan=192.0.2.2@b.yaml"]);
    // Breaking the one that counts brings the other one not up.
    for broken in [pool("lan", "!"), BROKEN.to_owned()] {
        let update = desk.write("b.yaml", broken);
        assert!(nothing_changed(&update) && update.complete);
        assert_eq!(desk.in_use(), ["lan=192.0.2.2@b.yaml"]);
        assert_eq!(
            report(&update)[1],
            "c.yaml:2: IPAddressPool default/lan: b.yaml:2 defines it \
            too and is bad now, so its last good version stays in use: repair or remove that one"
        );
    }
    desk.write("b.yaml", "");
    assert_eq!(desk.in_use(), ["lan=192.0.2.3@c.yaml"]);
}

#[test]
fn a_bad_first_definition_does_not_hide_a_good_second_one() {
    let mut desk = Desk::new();
    desk.write("a.yaml", pool("lan", "!"));
    let update = desk.write("b.yaml", pool("lan", "192.0.2.2"));
    assert_eq!(desk.in_use(), ["lan=192.0.2.2@b.yaml"]);
    assert!(update.complete);
    desk.write("a.yaml", pool("lan", "192.0.2.1"));
    assert_eq!(desk.in_use(), ["lan=192.0.2.1@a.yaml"]);
}

#[test]
fn a_bad_definition_above_a_good_one_says_the_same_however_often_it_is_read() {
    let mut desk = Desk::new();
    let text = pool("lan", "!") + &pool("lan", "192.0.2.1");
    let first = report(&desk.write("a.yaml", text.clone()));
    let again = report(&desk.write("a.yaml", text + "# with a remark\n"));
    assert_eq!(first, again);
    assert_eq!(desk.in_use(), ["lan=192.0.2.1@a.yaml"]);
}

#[test]
fn a_file_that_comes_back_broken_keeps_what_is_still_in_use_from_it() {
    let mut desk = Desk::new();
    desk.write("a.yaml", pool("lan", "!"));
    desk.write("c.yaml", pool("lan", "192.0.2.1"));
    desk.remove("c.yaml");
    assert_eq!(desk.in_use(), ["lan=192.0.2.1@c.yaml"], "a bad document says that it is there");
    let update = desk.write("c.yaml", BROKEN);
    assert!(update.complete, "the broken document stands for it");
    assert_eq!(desk.in_use(), ["lan=192.0.2.1@c.yaml"]);
}

#[test]
fn an_object_that_moves_to_another_file_is_followed() {
    let mut desk = Desk::new();
    desk.write("a.yaml", pool("lan", "192.0.2.1"));
    desk.files.insert("a.yaml".into(), Ok(Vec::new()));
    let update = desk.write("b.yaml", pool("lan", "192.0.2.1"));
    assert_eq!(names(&update), (vec!["lan".into()], vec![]), "its place is another one");
    assert_eq!(desk.generation("lan"), 1, "what it says is the same");
    // Moved and broken in one go: the version from the old place stays.
    desk.files.remove("b.yaml");
    let update = desk.write("c.yaml", pool("lan", "!"));
    assert!(nothing_changed(&update) && update.complete);
    assert_eq!(desk.in_use(), ["lan=192.0.2.1@b.yaml"]);
}

#[test]
fn the_generation_counts_changes_of_the_spec() {
    let with = |meta: &str, address: &str| pool("lan", address).replace("name: lan", meta);
    let mut desk = Desk::new();
    for (text, generation) in [
        (with("name: lan", "192.0.2.1"), 1),
        (with("name: lan\n  labels: {a: b}", "192.0.2.1"), 1),
        (with("name: lan", "192.0.2.2"), 2),
        (with("name: lan\n  generation: 7", "192.0.2.2"), 7),
        (with("name: lan\n  generation: 7", "192.0.2.3"), 8),
        (with("name: lan", "192.0.2.3"), 8),
        (with("name: lan", "!"), 8),
        (with("name: lan", "192.0.2.3"), 8),
        (with("name: lan", "192.0.2.4"), 9),
    ] {
        desk.write("a.yaml", text.clone());
        assert_eq!(desk.generation("lan"), generation, "{text}");
    }
}

#[test]
fn age_is_the_creation_time_then_the_place() {
    let mut desk = Desk::new();
    let dated = pool("dated", "192.0.2.3")
        .replace("name: dated", "name: dated\n  creationTimestamp: 2026-01-31T12:00:00Z");
    let text = pool("one", "192.0.2.1") + &pool("two", "192.0.2.2") + &dated;
    let mut applied = desk.write("b.yaml", text).applied;
    applied.extend(desk.write("a.yaml", pool("three", "192.0.2.4")).applied);
    applied.sort_by(|a, b| a.1.cmp(&b.1));
    let order: Vec<String> =
        applied.iter().map(|(object, _)| object.reference().key.name.clone()).collect();
    assert_eq!(order, ["dated", "three", "one", "two"]);
}

#[test]
fn fields_of_an_object_in_use_have_their_lines() {
    let mut desk = Desk::new();
    desk.write("a.yaml", pool("lan", "192.0.2.1") + &pool("wan", "192.0.2.2"));
    let wan = ObjectRef { kind: Kind::IpAddressPool, key: ObjectKey::new("default", "wan") };
    let line = |field: &str| desk.snapshot.origin(&wan, field).unwrap().line;
    assert_eq!(line(""), 9);
    assert_eq!(line("metadata.name"), 12);
    assert_eq!(line("spec.addresses[0]"), 14);
    assert_eq!(line("spec.addresses[5]"), 14, "the list, when it has no such item");
    assert_eq!(line("spec.serviceAllocation.priority"), 13, "the spec, when it has no such field");
    assert_eq!(line("nonsense"), 9);
    let none = ObjectRef { kind: Kind::Gateway, key: ObjectKey::new("default", "wan") };
    assert_eq!(desk.snapshot.origin(&none, ""), None);
}

#[test]
fn kinds_that_are_not_read_are_named_once() {
    let mut desk = Desk::new();
    let other =
        |kind: &str| format!("---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: x}}\n");
    desk.write("a.yaml", other("Deployment") + &other("Deployment") + &other("DaemonSet"));
    let update = desk.write("b.yaml", other("Deployment"));
    let skipped: Vec<String> = update.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(
        skipped,
        [
            "a.yaml:2: skipped: vipgate does not read Deployment (apps/v1)",
            "a.yaml:10: skipped: vipgate does not read DaemonSet (apps/v1)",
        ]
    );
    assert!(update.complete && update.problems.is_empty());
}
