use super::*;

/// Programs that say they have these versions.
fn programs_with(etcd: &str, kubernetes: &str) -> Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir()?;
    for name in ALL {
        let says = if name == ETCD { etcd } else { kubernetes };
        let path = directory.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(directory)
}

fn found_in(directory: &tempfile::TempDir) -> Result<Programs> {
    Programs::located(&[directory.path().to_owned()]).and_then(Programs::checked)
}

#[test]
fn versions_are_read_as_the_programs_print_them() {
    let read = |text| Version::in_text(text).map(|Version(major, minor)| (major, minor));
    assert_eq!(read("Kubernetes v1.36.3\n"), Some((1, 36)));
    assert_eq!(read("etcd Version: 3.6.8\nGit SHA: x\nGo Version: go1.26.8\n"), Some((3, 6)));
    assert_eq!(read("Kubernetes v1.33.0-rc.1"), Some((1, 33)));
    assert_eq!(read("no such option"), None);
    assert!(Version(1, 9) < Version(1, 33) && Version(2, 0) > Version(1, 33));
}

#[test]
fn complete_and_new_enough_is_taken() -> Result<()> {
    let directory = programs_with("etcd Version: 3.6.0", "Kubernetes v1.33.0")?;
    assert_eq!(found_in(&directory)?.kubectl(), directory.path().join("kubectl"));
    Ok(())
}

#[test]
fn what_is_missing_is_named() -> Result<()> {
    // As envtest has it.
    let directory = programs_with("etcd Version: 3.6.0", "Kubernetes v1.33.0")?;
    std::fs::remove_file(directory.path().join(CONTROLLER_MANAGER))?;
    let error = found_in(&directory).unwrap_err();
    assert_eq!(error.to_string(), "there is no kube-controller-manager");
    Ok(())
}

#[test]
fn what_is_too_old_is_named() -> Result<()> {
    for (etcd, kubernetes, expected) in [
        ("etcd Version: 3.5.21", "Kubernetes v1.36.3", "etcd has version 3.5, at least 3.6"),
        ("etcd Version: 3.6.8", "Kubernetes v1.32.9", "apiserver has version 1.32, at least 1.33"),
        ("etcd Version: 3.6.8", "what?", "--version says"),
    ] {
        let error = found_in(&programs_with(etcd, kubernetes)?).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    Ok(())
}
