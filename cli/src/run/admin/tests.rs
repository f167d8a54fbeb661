//! What is asked on the admin socket, and who may have it.

use std::os::unix::fs::PermissionsExt;

use super::*;

struct Named(&'static str);

impl Reporter for Named {
    fn report(&self) -> StatusReport {
        StatusReport { node: self.0.to_owned(), ..StatusReport::default() }
    }

    fn rebalance(&self) -> Result<String, String> {
        Err("alone".to_owned())
    }
}

#[test]
fn the_status_is_what_the_reporter_says() {
    for question in ["{\"get\":\"status\"}", "{ \"get\": \"status\" }\n"] {
        let answer = reply(question, &Named("a")).unwrap();
        let report: StatusReport = serde_json::from_str(&answer).unwrap();
        assert_eq!(report, Named("a").report(), "{question}");
    }
}

#[test]
fn what_is_no_question_is_answered_with_an_error() {
    for (question, answer) in [
        ("", "EOF while parsing"),
        ("status", "expected value"),
        ("{}", "missing field `get`"),
        ("{\"get\":\"secrets\"}", "unknown variant `secrets`, expected `status`"),
        ("{\"get\":\"rebalance\"}", "alone"),
        ("{\"get\":\"status\",\"of\":\"x\"}", "unknown field `of`"),
        ("{\"get\":\"status\"}{}", "trailing characters"),
    ] {
        let reply = reply(question, &Named("a")).unwrap();
        let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
        let error = reply["error"].as_str().expect("an error");
        assert!(error.contains(answer), "{question}: {error}");
    }
}

#[tokio::test]
async fn the_socket_is_for_its_user_and_for_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/admin.sock");
    let socket = AdminSocket::bind(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = AdminSocket::bind(&path).unwrap_err().to_string();
    assert!(error.contains("in use by another vipgate"), "{error}");

    drop(socket);
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    AdminSocket::bind(&path).expect("what a dead process left is replaced");
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes");
    fs::write(&path, "mine").unwrap();
    let error = AdminSocket::bind(&path).unwrap_err().to_string();
    assert!(error.contains("choose another place with --admin SOCKET"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}
