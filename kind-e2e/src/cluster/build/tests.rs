use super::*;

#[test]
fn the_hash_is_the_published_one() {
    // From the test vectors of the authors of FNV.
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn a_module_names_the_release_of_a_package() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let text = "require a.example/one v1.2.3\nrequire (\n\ta.example/two v4.5.6 // indirect\n)\n";
    std::fs::write(directory.path().join("go.mod"), text)?;
    assert_eq!(required(directory.path(), "a.example/one")?, "v1.2.3");
    assert_eq!(required(directory.path(), "a.example/two")?, "v4.5.6");
    let error = required(directory.path(), "a.example").unwrap_err().to_string();
    assert!(error.contains("does not require a.example"), "{error}");
    Ok(())
}

#[test]
fn every_source_counts_and_nothing_else() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text);
    let hash = || Module::read(directory.path(), None).map(|module| module.hash);
    write("go.mod", "require k8s.io/x v1\n\tk8s.io/kubernetes v1.36.3\n")?;
    write("main.go", "package main")?;
    let before = hash()?;
    write("README.md", "words")?;
    assert_eq!(hash()?, before);
    write("main.go", "package main // changed")?;
    assert_ne!(hash()?, before);
    write("main.go", "package main")?;
    assert_eq!(hash()?, before);
    write("go.sum", "k8s.io/kubernetes v1.36.3 h1:")?;
    assert_ne!(hash()?, before);
    Ok(())
}

#[test]
fn a_lock_keeps_the_second_out_until_the_first_is_done() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("lock");
    let first = lock(&path)?;
    let second = File::open(&path)?;
    assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
    drop(first);
    // A program that another test starts just now has a copy of it until it is executed.
    crate::eventually(std::time::Duration::from_secs(5), || Ok(second.try_lock()?))
}
