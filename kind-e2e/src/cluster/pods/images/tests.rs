use super::*;

#[test]
fn an_image_is_known_without_registry_tag_and_digest() {
    for (image, name) in [
        ("echo", "echo"),
        ("echo:v1", "echo"),
        ("team/echo@sha256:00ff", "team/echo"),
        ("registry.example/team/echo:v1.6.0-dev.2", "team/echo"),
        ("registry.example:5000/echo:v1@sha256:00ff", "echo"),
        ("localhost/echo", "echo"),
    ] {
        assert_eq!(name_of(image), name, "{image}");
    }
}

#[test]
fn an_unknown_image_is_an_error_that_names_it() -> Result<()> {
    let images = Images::none().program("a", "/bin/a").nothing("b/c");
    assert_eq!(images.get("r.example/a:1")?, &Image::Program("/bin/a".into()));
    assert_eq!(images.get("b/c")?, &Image::Nothing);
    let error = images.get("r.example/b/d:2").unwrap_err().to_string();
    assert!(error.contains("b/d"), "{error}");
    Ok(())
}
