use super::*;

#[test]
fn the_control_plane_knows_its_release() -> Result<()> {
    let version = build::required(&CONTROL_PLANE.source(), "k8s.io/kubernetes")?;
    let flags = kubernetes_version(&version)?;
    assert!(flags.contains(".gitVersion=v1."), "{flags}");
    assert!(flags.contains(".gitMajor=1 "), "{flags}");
    assert!(kubernetes_version("latest").is_err());
    Ok(())
}

#[test]
fn every_recipe_has_its_module() -> Result<()> {
    for recipe in [CONTROL_PLANE, CONFORMANCE, COREDNS, HELM, WIREGUARD] {
        let names = std::fs::read_to_string(recipe.source().join("go.mod"))?;
        let module = format!("module vipgate.dev/kind-e2e/{}\n", recipe.name);
        assert!(names.starts_with(&module), "{names}");
        if let Some((package, _)) = recipe.version_of {
            build::required(&recipe.source(), package)?;
        }
    }
    Ok(())
}
