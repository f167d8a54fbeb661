//! Which changes of the directory are noticed: those in it, and those of it.

use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;

/// Long enough on a slow machine, too.
const SOON: Duration = Duration::from_secs(10);
/// Longer than any change is held back.
const QUIET: Duration = Duration::from_millis(2_500);

fn write(directory: &Path, name: &str) {
    fs::create_dir_all(directory).unwrap();
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    fs::write(directory.join("namespace.yaml"), text).unwrap();
}

/// Waits until the directory was read with this namespace in it, and no other.
async fn sees(source: &mut Source, name: &str) {
    let wait = async {
        loop {
            source.changed().await;
            let names: Vec<_> =
                source.snapshot.objects().map(|(o, _)| o.key.name.clone()).collect();
            if names == [name] {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{name} is not noticed"));
}

fn open(directory: &Path) -> Source {
    let mut source = Source::open(directory).unwrap();
    source.read();
    source
}

#[tokio::test]
async fn a_change_below_is_noticed_and_reading_is_none() {
    let scratch = tempfile::tempdir().unwrap();
    write(scratch.path(), "one");
    let mut source = open(scratch.path());
    write(scratch.path(), "two");
    sees(&mut source, "two").await;
    let quiet = tokio::time::timeout(QUIET, source.changed()).await;
    assert!(quiet.is_err(), "what only read the directory changed nothing in it");
}

#[tokio::test]
async fn a_directory_that_is_made_anew_is_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("manifests");
    write(&directory, "one");
    let mut source = open(&directory);
    fs::remove_dir_all(&directory).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    source.read();
    write(&directory, "two");
    sees(&mut source, "two").await;
    write(&directory, "three");
    sees(&mut source, "three").await;

    // At once, so that nobody looks while it is away and the inode may be the same.
    fs::remove_dir_all(&directory).unwrap();
    write(&directory, "four");
    sees(&mut source, "four").await;
    write(&directory, "five");
    sees(&mut source, "five").await;
}

#[tokio::test]
async fn a_directory_that_is_moved_into_place_is_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let (directory, next) = (scratch.path().join("manifests"), scratch.path().join("next"));
    write(&directory, "one");
    let mut source = open(&directory);
    write(&next, "two");
    fs::rename(&directory, scratch.path().join("before")).unwrap();
    fs::rename(&next, &directory).unwrap();
    sees(&mut source, "two").await;
    write(&directory, "three");
    sees(&mut source, "three").await;
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let [first, second, link, new] =
        ["first", "second", "link", "new"].map(|n| scratch.path().join(n));
    write(&first, "one");
    write(&second, "two");
    symlink(&first, &link).unwrap();
    let mut source = open(&link);
    symlink(&second, &new).unwrap();
    fs::rename(&new, &link).unwrap();
    sees(&mut source, "two").await;
    write(&second, "three");
    sees(&mut source, "three").await;
}
