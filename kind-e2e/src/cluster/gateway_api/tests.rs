use super::*;

fn release(files: &[&str]) -> Result<tempfile::TempDir> {
    let module = tempfile::tempdir()?;
    let directory = module.path().join("config/crd/standard");
    std::fs::create_dir_all(&directory)?;
    for file in files {
        std::fs::write(directory.join(file), "")?;
    }
    Ok(module)
}

#[test]
fn a_release_is_its_crds_and_its_policy() -> Result<()> {
    let files = [
        "gateway.networking.k8s.io_gateways.yaml",
        "gateway.networking.k8s.io_vap_safeupgrades.yaml",
        "gateway.networking.x-k8s.io_xmeshes.yaml",
        "kustomization.yaml",
    ];
    let found = manifests(release(&files)?.path(), Channel::Standard)?;
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, files[..3]);
    let crds: Vec<_> = found.iter().filter_map(|path| crd_name(path)).collect();
    assert_eq!(crds, ["gateways.gateway.networking.k8s.io", "xmeshes.gateway.networking.x-k8s.io"]);
    Ok(())
}

#[test]
fn a_release_without_crds_or_channel_is_an_error() -> Result<()> {
    let module = release(&["kustomization.yaml"])?;
    let error = format!("{:#}", manifests(module.path(), Channel::Standard).unwrap_err());
    assert!(error.contains("there are none"), "{error}");
    let error = format!("{:#}", manifests(module.path(), Channel::Experimental).unwrap_err());
    assert!(error.contains("experimental"), "{error}");
    Ok(())
}
