use std::os::unix::fs::symlink;

use notify::event::CreateKind;

use super::*;

#[test]
fn the_names_on_the_way_are_the_links_and_the_end() {
    let scratch = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(scratch.path()).unwrap();
    fs::create_dir_all(base.join("releases/1/manifests")).unwrap();
    symlink("releases/1", base.join("current")).unwrap();
    symlink("../current/manifests", base.join("releases/m")).unwrap();
    let found = |path: &str| {
        let names = names_on_the_way(&base.join(path)).into_iter();
        let shown = |(at, name): (PathBuf, OsString)| {
            at.join(name).strip_prefix(&base).unwrap().display().to_string()
        };
        names.map(shown).collect::<Vec<_>>()
    };
    assert_eq!(found("releases/1"), ["releases/1"]);
    assert_eq!(found("current"), ["current", "releases/1"]);
    assert_eq!(found("releases/m"), ["releases/m", "current", "releases/1/manifests"]);
    assert_eq!(found("current/missing/deep"), ["current", "releases/1/missing"]);
    symlink("loop", base.join("loop")).unwrap();
    assert_eq!(found("loop").len(), MAX_LINKS + 1);
}

#[test]
fn only_what_can_change_a_reading_counts() {
    let names = Interest::Names(["m".into()].into());
    let mut interests = Interests {
        directories: [("/a".into(), names), ("/a/m".into(), Interest::Everything)].into(),
        ..Interests::default()
    };
    let mut counts = |kind, path: &str| interests.take_in(&Event::new(kind).add_path(path.into()));
    let made = EventKind::Create(CreateKind::File);
    assert!(counts(made, "/a/m"), "the directory itself");
    assert!(counts(made, "/a/m/x.yaml"));
    assert!(!counts(made, "/a/other"), "a neighbour of the directory");
    assert!(!counts(made, "/b/m"));
    assert!(!counts(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/a/m/x.yaml"));
    assert!(interests.take_in(&Event::new(EventKind::Other)), "events were lost");
}

#[test]
fn a_file_is_half_written_until_it_is_closed() {
    let mut interests = Interests::default();
    interests.directories.insert("/m".into(), Interest::Everything);
    let event = |kind| Event::new(kind).add_path("/m/x.yaml".into());
    assert!(interests.take_in(&event(WRITTEN)));
    assert!(interests.half_written());
    assert!(interests.take_in(&event(EventKind::Access(CLOSED_AFTER_WRITING))));
    assert!(!interests.half_written());
    interests.take_in(&event(WRITTEN));
    std::thread::sleep(HELD);
    assert!(!interests.half_written(), "one that is never closed is read all the same");
}
