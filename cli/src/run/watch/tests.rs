use std::os::unix::fs::symlink;

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
    let mut counts = |what, path: &str| interests.take_in(what, path.into());
    assert!(counts(ReadFlags::CREATE, "/a/m"), "the directory itself");
    assert!(counts(ReadFlags::CREATE, "/a/m/x.yaml"));
    assert!(counts(ReadFlags::CLOSE_WRITE, "/a/m/x.yaml"));
    assert!(counts(ReadFlags::MOVED_TO, "/a/m/conf.d"), "it may be a directory");
    assert!(!counts(ReadFlags::MODIFY, "/a/m/log"), "no manifest is written there");
    assert!(!counts(ReadFlags::CREATE, "/a/other"), "a neighbour of the directory");
    assert!(!counts(ReadFlags::CREATE, "/b/m"));
    assert!(!counts(ReadFlags::IGNORED, "/a/m"), "we ended the watch");
    assert!(interests.lost.is_empty());
    assert!(interests.take_in(ReadFlags::DELETE_SELF, "/a/m".into()));
    assert_eq!(interests.lost, ["/a/m".into()].into());
}

#[test]
fn a_file_is_half_written_until_it_is_closed() {
    let mut interests = Interests::default();
    interests.directories.insert("/m".into(), Interest::Everything);
    let file = || PathBuf::from("/m/x.yaml");
    assert!(interests.take_in(ReadFlags::MODIFY, file()));
    assert!(interests.half_written());
    assert!(interests.take_in(ReadFlags::ATTRIB, file()));
    assert!(interests.half_written(), "somebody changed its mode");
    assert!(interests.take_in(ReadFlags::CLOSE_WRITE, file()));
    assert!(!interests.half_written());
    interests.take_in(ReadFlags::MODIFY, file());
    std::thread::sleep(HELD);
    assert!(!interests.half_written(), "one that is never closed is read all the same");
}

/// One that truncates a file and writes it anew may be overtaken by a reading in the middle.
#[tokio::test]
async fn a_reading_during_which_something_changed_is_made_again() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("x.yaml");
    fs::write(&file, "whole").unwrap();
    let mut changes = Changes::of(scratch.path()).unwrap();
    let readings = std::cell::Cell::new(0);
    let read = |root: &Path| {
        readings.set(readings.get() + 1);
        if readings.get() == 3 {
            // Half of it is written as it is read; the rest comes later.
            fs::write(&file, "").unwrap();
        }
        let listing = vipgate_api::manifest::read_directory(root);
        if readings.get() == 3 {
            fs::write(&file, "whole again").unwrap();
        }
        listing
    };
    let content = |listing: &Listing| listing.files[0].content.clone().unwrap();
    assert_eq!(content(&changes.read(read).0), b"whole");
    assert_eq!(readings.get(), 2, "the place is new, so it was read twice");
    fs::write(&file, "something else").unwrap();
    assert_eq!(content(&changes.reading(read).await.0), b"whole again");
    assert_eq!(readings.get(), 4);
}

/// Somebody who never stops holds up nothing but his own file.
#[tokio::test]
async fn a_file_that_is_written_without_a_pause_is_left_out_in_the_end() {
    let scratch = tempfile::tempdir().unwrap();
    let [busy, quiet] = ["busy.yaml", "quiet.yaml"].map(|name| scratch.path().join(name));
    fs::write(&busy, "0").unwrap();
    fs::write(&quiet, "old").unwrap();
    let link = scratch.path().join("link");
    symlink(scratch.path(), &link).unwrap();
    let mut changes = Changes::of(&link).unwrap();
    let read_calmly = vipgate_api::manifest::read_directory;
    let read = |root: &Path| {
        fs::write(&busy, "more").unwrap();
        read_calmly(root)
    };
    let begun = Instant::now();
    changes.read(read).1.unwrap();
    fs::write(&quiet, "new").unwrap();
    let (listing, watched) = changes.reading(read).await;
    watched.unwrap();
    assert!(begun.elapsed() >= AT_LAST);
    let shown = |name: &str| link.join(name).display().to_string();
    let [file] = listing.files.as_slice() else { panic!("{listing:?}") };
    assert_eq!((&file.path, file.content.as_deref().unwrap()), (&shown("quiet.yaml"), &b"new"[..]));
    assert_eq!(listing.unread, [shown("busy.yaml")]);
    // What came last is not forgotten.
    let (listing, _) = changes.reading(read_calmly).await;
    assert_eq!((listing.files.len(), listing.unread.len()), (2, 0));
}

#[test]
fn an_empty_file_that_is_open_is_waited_for_longer() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("x.yaml");
    fs::write(&file, "").unwrap();
    let mut interests = Interests::default();
    interests.directories.insert(scratch.path().to_owned(), Interest::Everything);
    assert!(interests.take_in(ReadFlags::MODIFY, file.clone()));
    std::thread::sleep(HELD);
    assert!(interests.half_written());
    fs::write(&file, "something").unwrap();
    assert!(!interests.half_written());
}

/// The kernel may tell of it long after; here it is told of nothing, because nobody is there to be told.
#[tokio::test]
async fn a_file_that_has_become_empty_is_looked_at_again() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("x.yaml");
    fs::write(&file, "whole").unwrap();
    let mut changes = Changes::of(scratch.path()).unwrap();
    let reading = std::cell::Cell::new(0);
    let read = |root: &Path| {
        reading.set(reading.get() + 1);
        let mut listing = vipgate_api::manifest::read_directory(root);
        if reading.get() == 1 {
            // As it is between the truncation and the word about it.
            listing.files[0].content = Ok(Vec::new());
        }
        listing
    };
    changes.read(vipgate_api::manifest::read_directory).1.unwrap();
    fs::write(&file, "new").unwrap();
    let late = async {
        tokio::time::sleep(SETTLE + HELD / 2).await;
        fs::write(&file, "newer").unwrap();
    };
    let ((listing, _), ()) = tokio::join!(changes.reading(read), late);
    assert_eq!(listing.files[0].content.clone().unwrap(), b"newer");
    // One that is to be empty is, a little later.
    fs::write(&file, "").unwrap();
    let begun = Instant::now();
    let (listing, _) = changes.reading(vipgate_api::manifest::read_directory).await;
    assert_eq!(listing.files[0].content.clone().unwrap(), b"");
    assert!((HELD..AT_LAST).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}
