//! What a watch makes of a server that does not tell everything: a scripted one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;

use kube::{Client, Config};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::Scope;
use super::*;

/// An answer to a request whose path and query contain the text.
struct Answer(&'static str, u16, Value);

const LIST: &str = "limit=500";
const PAGE_TWO: &str = "continue=two";
const SECOND: &str = "limit=1";
const WATCH: &str = "watch=true";

fn backend(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "a", "resourceVersion": "5"},
        "spec": {"endpoints": [{"address": "10.0.0.1", "port": 1}]},
    })
}

fn list(items: &[Value], next: &str) -> Value {
    json!({
        "apiVersion": "vipgate.dev/v1alpha1", "kind": "BackendList", "items": items,
        "metadata": {"resourceVersion": "7", "continue": next},
    })
}

fn failure(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Told", "message": "as told"})
}

/// An event of a watch that ends it, as far as our place in the history goes.
fn too_old() -> Value {
    json!({"type": "ERROR", "object": failure(410)})
}

/// Answers in this order; to what it is not asked in this order with an error of its own.
async fn server(script: Vec<Answer>) -> (SocketAddr, Arc<Mutex<VecDeque<Answer>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let left = Arc::clone(&script);
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let line = String::from_utf8_lossy(&request).lines().next().unwrap().to_owned();
            let asked = |answer: &Answer| line.contains(answer.0);
            let next = {
                let mut script = script.lock().unwrap();
                if script.front().is_some_and(asked) { script.pop_front() } else { None }
            };
            let Some(Answer(_, code, body)) = next else {
                // The end of the script: nothing more comes.
                std::mem::forget(stream);
                continue;
            };
            let body = format!("{body}\n");
            let head = format!(
                "HTTP/1.1 {code} Told\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    (address, left)
}

/// What a watch tells of a server with this script, until it is played to its end.
async fn told(script: Vec<Answer>) -> Vec<String> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let local = tokio::task::LocalSet::new();
    let playing = local.run_until(async move {
        let (address, left) = server(script).await;
        let mut config = Config::new(format!("http://{address}").parse().unwrap());
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        let scope = Scope { kinds: vec![Kind::Backend], ..Scope::default() };
        let (events, mut out) = mpsc::channel(100);
        let watch = KindWatch::new(
            Kind::Backend,
            "v1alpha1",
            scope.api(&client, Kind::Backend, "v1alpha1"),
            scope.config(Kind::Backend),
            events,
            Known::default(),
            Arc::new(Notify::new()),
        );
        tokio::task::spawn_local(watch.run());
        let mut told = Vec::new();
        loop {
            // Looked at before the wait: what the last answer leads to comes some time after it.
            let played = left.lock().unwrap().is_empty();
            match timeout(Duration::from_millis(500), out.recv()).await {
                Ok(event) => told.push(text(&event.unwrap())),
                Err(_) if played => return told,
                Err(_) => {}
            }
        }
    });
    timeout(Duration::from_secs(30), playing).await.expect("the script is played")
}

fn text(event: &Event) -> String {
    match event {
        Event::Applied(object, ..) => format!("+{}", object.reference().key.name),
        Event::Deleted(object) => format!("-{}", object.key.name),
        Event::Synced(_) => "synced".to_owned(),
        Event::Unreadable(object, ..) => format!("?{}", object.key.name),
        Event::Trouble(_, why) => format!("trouble: {why}"),
        Event::Well(_) => "well".to_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_complete_list_no_longer_has_is_gone() {
    let told = told(vec![
        Answer(LIST, 200, list(&[backend("a"), backend("b")], "")),
        Answer(WATCH, 200, too_old()),
        Answer(LIST, 200, list(&[backend("b")], "")),
    ])
    .await;
    assert_eq!(told, ["+a", "+b", "synced", "+b", "-a", "synced"]);
}

#[tokio::test]
async fn an_empty_list_is_believed_only_when_a_second_one_agrees() {
    let begin = || {
        vec![
            Answer(LIST, 200, list(&[backend("a"), backend("b")], "")),
            Answer(WATCH, 200, too_old()),
            Answer(LIST, 200, list(&[], "")),
        ]
    };
    let mut disagreeing = begin();
    disagreeing.push(Answer(SECOND, 200, list(&[backend("a")], "two")));
    // It was wrong, so what follows from it would be too.
    disagreeing.push(Answer(LIST, 200, list(&[backend("a"), backend("b")], "")));
    assert_eq!(told(disagreeing).await, ["+a", "+b", "synced", "+a", "+b", "synced"]);

    let mut failing = begin();
    failing.push(Answer(SECOND, 503, failure(503)));
    failing.push(Answer(LIST, 200, list(&[backend("a")], "")));
    assert_eq!(told(failing).await, ["+a", "+b", "synced", "+a", "-b", "synced"]);

    let mut agreeing = begin();
    agreeing.push(Answer(SECOND, 200, list(&[], "")));
    assert_eq!(told(agreeing).await, ["+a", "+b", "synced", "-a", "-b", "synced"]);
}

#[tokio::test]
async fn half_a_list_takes_nothing_away() {
    let told = told(vec![
        Answer(LIST, 200, list(&[backend("a"), backend("b")], "")),
        Answer(WATCH, 200, too_old()),
        Answer(LIST, 200, list(&[backend("b")], "two")),
        Answer(PAGE_TWO, 410, failure(410)),
        Answer(LIST, 200, list(&[backend("b")], "two")),
        Answer(PAGE_TWO, 200, list(&[backend("a")], "")),
    ])
    .await;
    assert_eq!(told, ["+a", "+b", "synced", "+b", "+b", "+a", "synced"]);
}

#[tokio::test]
async fn what_cannot_be_read_keeps_its_last_good_version() {
    let mut broken = backend("a");
    broken["spec"]["endpoints"] = json!("none");
    let told = told(vec![
        Answer(LIST, 200, list(&[backend("a"), backend("b")], "")),
        Answer(WATCH, 200, json!({"type": "MODIFIED", "object": broken})),
        Answer(WATCH, 200, too_old()),
        // It is there, so it is not gone.
        Answer(LIST, 200, list(&[broken, backend("b")], "")),
    ])
    .await;
    assert_eq!(told, ["+a", "+b", "synced", "?a", "?a", "+b", "synced"]);
}

#[tokio::test]
async fn refusals_are_trouble_when_they_last_and_name_the_verb() {
    let refused = || Answer(LIST, 403, failure(403));
    let begins = vec![refused(), refused(), Answer(LIST, 200, list(&[], ""))];
    assert_eq!(told(begins).await, ["synced"]);

    let mut lasts: Vec<Answer> = (0..PATIENCE + 1).map(|_| refused()).collect();
    lasts.push(Answer(LIST, 200, list(&[], "")));
    let told = told(lasts).await;
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("may not list Backend"), "{told:?}");
    assert!(told[0].contains("get, list and watch on backends"), "{told:?}");
    assert_eq!(told[1..], ["well", "synced"]);
}
