//! What a process says of its health, and where it is asked.

use std::io::{Read, Write};
use std::net::TcpListener;

use anyhow::ensure;
use vipgate_lab::{Lab, Process, Program, eventually};

use crate::hosts::{asked, told};
use crate::site::{SOON, Site, VIPGATE, gateway, pool};

/// Every address that the node listens at for TCP.
fn listening(node: &vipgate_lab::Node) -> Vec<String> {
    let text = node.run("ss", ["-Hltn"]).unwrap();
    let addresses = text.lines().filter_map(|line| line.split_whitespace().nth(3));
    let all: std::collections::BTreeSet<String> = addresses.map(str::to_owned).collect();
    all.into_iter().collect()
}

/// Standalone: ready when the VIPs are as far as they can be; asked on loopback only, unless told.
#[test]
fn a_host_is_ready_when_it_has_done_what_was_planned_and_is_asked_on_loopback() {
    let site = Site::new("health");
    site.write("pool.yaml", &pool("10.77.0.200-10.77.0.202"));
    site.write("gateway.yaml", &gateway("web", &[("tcp", 80)]));
    let vipgate = site.start();
    site.healthy(&vipgate);
    let ready = asked(&site.node, "127.0.0.1:7473", "/readyz").unwrap();
    assert!(ready.starts_with("HTTP/1.1 200 OK\r\n"), "{ready}");
    assert_eq!(told(&site.node, "/healthz").unwrap(), "alive\n");
    assert_eq!(listening(&site.node), ["10.77.0.200:80", "127.0.0.1:7473"].map(str::to_owned));
    drop(vipgate);

    let off = site.start_with(&site.manifests, &["--metrics", "off"]);
    site.healthy(&off);
    assert_eq!(listening(&site.node), ["10.77.0.200:80".to_owned()]);
    drop(off);
    let elsewhere = site.start_with(&site.manifests, &["--metrics", "10.77.0.1:7473"]);
    site.healthy(&elsewhere);
    assert!(listening(&site.node).contains(&"10.77.0.1:7473".to_owned()));
}

/// In a cluster, before the API server says anything, and while it says nothing of some kinds: what is awaited has a
/// name.
#[test]
fn a_controller_and_a_speaker_name_what_they_wait_for() {
    let lab = Lab::new("awaited").unwrap();
    let node = lab.node("node").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let kubeconfig = scratch.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
         contexts: [{name: x, context: {cluster: x, user: x}}]\n\
         clusters: [{name: x, cluster: {server: 'http://127.0.0.1:6443'}}]\nusers: [{name: x, user: {}}]\n",
    )
    .unwrap();
    let start = |arguments: &[&str]| -> Process {
        let program = Program::new(VIPGATE).args(arguments).env("KUBECONFIG", &kubeconfig);
        node.spawn(program).unwrap()
    };
    let (state, admin) = (scratch.path().join("state"), scratch.path().join("admin"));
    let (state, admin) = (state.to_str().unwrap(), admin.to_str().unwrap());
    let speaker = ["speaker", "--node", "node", "--group-address", "127.0.0.1", "--state", state];
    let _speaker = start(&[&speaker[..], &["--admin", admin]].concat());
    let _controller = start(&["controller", "--identity", "one"]);
    let waits = |at: &str, words: &[&str]| {
        eventually(SOON * 3, || {
            let answer = asked(&node, at, "/readyz")?;
            ensure!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
            ensure!(words.iter().all(|word| answer.contains(word)), "{at}: {words:?}: {answer}");
            Ok(())
        })
        .unwrap();
        assert!(asked(&node, at, "/healthz").unwrap().ends_with("\r\n\r\nalive\n"));
    };
    let first = "waits for an answer of the API server: which kinds are served";
    for at in ["127.0.0.1:7473", "127.0.0.1:7474"] {
        waits(at, &[first]);
    }

    // It says which kinds it serves, and then of no object whether there are any.
    let server = node.enter(|| TcpListener::bind("127.0.0.1:6443")).unwrap();
    std::thread::spawn(move || {
        for stream in server.incoming().flatten() {
            std::thread::spawn(move || discovery(stream));
        }
    });
    waits("127.0.0.1:7473", &["all objects of kind VirtualIP", "all objects of kind Node"]);
}

/// Answers which kinds there are in a group and version, and never which objects.
fn discovery(mut stream: std::net::TcpStream) {
    let resource = |name: &str, kind: &str| {
        format!(
            r#"{{"name":"{name}","singularName":"","namespaced":false,"kind":"{kind}","verbs":["list","watch"]}}"#
        )
    };
    let list = |version: &str, resources: &[String]| {
        let all = resources.join(",");
        let body = format!(
            r#"{{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"{version}","resources":[{all}]}}"#
        );
        Some(("200 OK", body))
    };
    let ours = [
        resource("virtualips", "VirtualIP"),
        resource("ipaddresspools", "IPAddressPool"),
        resource("speakers", "Speaker"),
    ];
    let core = [resource("nodes", "Node"), resource("namespaces", "Namespace")];
    let (mut question, mut chunk) = (Vec::new(), [0; 2048]);
    loop {
        while !question.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => question.extend(&chunk[..count]),
            }
        }
        let line = String::from_utf8_lossy(&question).lines().next().unwrap_or_default().to_owned();
        question.clear();
        let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
        let answer = match path {
            "/api/v1" => list("v1", &core),
            "/apis/vipgate.dev/v1alpha1" => list("vipgate.dev/v1alpha1", &ours),
            group if group.starts_with("/apis/") && group.matches('/').count() == 3 => {
                let gone = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no","reason":"NotFound","code":404}"#;
                Some(("404 Not Found", gone.to_owned()))
            }
            _ => None,
        };
        let Some((status, body)) = answer else {
            // Whoever asks waits until the test is over.
            std::thread::sleep(SOON * 10);
            return;
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
