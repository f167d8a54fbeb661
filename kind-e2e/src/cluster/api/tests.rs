use super::*;

#[test]
fn the_head_of_an_answer_ends_with_an_empty_line() -> Result<()> {
    let mut answer = &b"HTTP/1.0 404 Not Found\r\nContent-Type: x\r\n\r\n{}"[..];
    assert_eq!(read_head(&mut answer)?, 404);
    assert_eq!(answer, b"{}");
    for cut in ["", "HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-"] {
        assert!(read_head(&mut cut.as_bytes()).is_err(), "{cut}");
    }
    Ok(())
}

#[test]
fn a_refusal_is_told_by_its_status() {
    let body = r#"{"kind":"Status","message":"pods \"x\" not found"}"#;
    let error = anyhow::Error::from(refusal("GET", "/x", 404, body)).context("a pod");
    assert!(is_not_found(&error));
    assert!(format!("{error:#}").ends_with("GET /x: 404 pods \"x\" not found"), "{error:#}");
    assert_eq!(refusal("GET", "/x", 502, "bad gateway\n").message, "bad gateway");
}

#[test]
fn events_of_a_watch() -> Result<()> {
    let (kind, object) = event(r#"{"type":"ADDED","object":{"kind":"Pod"}}"#)?;
    assert_eq!((kind.as_str(), object["kind"].as_str()), ("ADDED", Some("Pod")));
    let gone = event(r#"{"type":"ERROR","object":{"code":410,"message":"too old"}}"#);
    assert!(gone.unwrap_err().to_string().contains("too old"));
    assert!(event("{").is_err());
    Ok(())
}
