use serde_json::json;

use super::*;

#[test]
fn keys_become_files() -> Result<()> {
    let secret = json!({"kind": "Secret", "data": {"tls.crt": "Y2VydA==", "tls.key": "a2V5"}});
    let files = contents(&secret)?;
    assert_eq!(files["tls.crt"], b"cert");
    assert_eq!(chosen(files.clone(), &[])?, files);
    let items = [json!({"key": "tls.crt", "path": "some/crt"})];
    let picked = chosen(files.clone(), &items)?;
    assert_eq!(picked, Files::from([("some/crt".to_owned(), b"cert".to_vec())]));

    let error = chosen(files.clone(), &[json!({"key": "ca.crt", "path": "ca"})]).unwrap_err();
    assert!(error.to_string().contains("ca.crt"), "{error}");
    assert!(chosen(files, &[json!({"key": "tls.crt", "path": "../crt"})]).is_err());
    Ok(())
}

#[test]
fn a_config_map_is_text() -> Result<()> {
    let map =
        json!({"kind": "ConfigMap", "data": {"Corefile": ".:53"}, "binaryData": {"b": "AAE="}});
    let files = contents(&map)?;
    assert_eq!((&files["Corefile"][..], &files["b"][..]), (&b".:53"[..], &[0, 1][..]));
    Ok(())
}
