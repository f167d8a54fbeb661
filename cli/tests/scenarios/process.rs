//! The process: how it starts, drains and ends.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use vipgate_lab::eventually;

use crate::site::{SOON, Site, VIP, VIPGATE, gateway, pool, route};

#[test]
fn sigterm_lets_connections_finish_and_leaves_the_host_as_it_was() {
    let site = Site::new("drain");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let before = site.node.run("nft", ["list", "ruleset"]).unwrap();
    let mut vipgate = site.start();
    site.healthy(&vipgate);
    assert_ne!(
        site.node.run("nft", ["list", "ruleset"]).unwrap(),
        before,
        "the kernel is silenced"
    );
    let mut stream = site.connect(&format!("{VIP}:80")).unwrap();
    let mut greeting = [0; 14];
    stream.read_exact(&mut greeting).unwrap();

    vipgate.process.signal(Signal::TERM).unwrap();
    eventually(SOON, || match site.connect(&format!("{VIP}:80")) {
        Ok(_) => anyhow::bail!("the listener is still open"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "at once, not by timeout");
            Ok(())
        }
    })
    .unwrap();
    for _ in 0..5 {
        stream.write_all(b"still here").unwrap();
        let mut back = [0; 10];
        stream.read_exact(&mut back).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!vipgate.process.has_ended(), "a connection is open");
    drop(stream);
    let ended = vipgate.process.wait(SOON).unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(!site.has_address(VIP));
    assert_eq!(site.node.run("nft", ["list", "ruleset"]).unwrap(), before);
    assert_eq!(site.who_has(VIP), Vec::<String>::new());
    assert!(!vipgate.admin.exists(), "the socket file is removed");
}

#[test]
fn the_drain_ends_at_its_deadline() {
    let site = Site::new("deadline");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let mut vipgate = site.start_with(&site.manifests, &["--drain-timeout", "1"]);
    site.healthy(&vipgate);
    let mut stream = site.connect(&format!("{VIP}:80")).unwrap();
    stream.read_exact(&mut [0; 14]).unwrap();
    let asked = Instant::now();
    assert_eq!(vipgate.process.terminate(SOON).unwrap().code(), Some(0));
    assert!(asked.elapsed() > Duration::from_millis(900), "not before the deadline");
    let error = stream.read(&mut [0; 16]).expect_err("cut, and told so");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_second_sigint_quits_at_once() {
    let site = Site::new("sigint");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let mut vipgate = site.start();
    site.healthy(&vipgate);
    let mut stream = site.connect(&format!("{VIP}:80")).unwrap();
    stream.read_exact(&mut [0; 14]).unwrap();
    vipgate.process.signal(Signal::INT).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(!vipgate.process.has_ended(), "the first one drains");
    vipgate.process.signal(Signal::INT).unwrap();
    assert_eq!(vipgate.process.wait(Duration::from_secs(3)).unwrap().code(), Some(130));
}

#[test]
fn the_first_answer_knows_the_manifests() {
    let site = Site::new("first");
    site.write_web(&["10.77.0.21:80"]);
    // Enough to read that somebody who asks at once comes before the end of it.
    for number in 0..500 {
        site.write(
            &format!("route-{number}.yaml"),
            &route(&format!("r{number}"), "web", "tcp", "web"),
        );
    }
    let vipgate = site.start();
    let report = eventually(SOON, || vipgate.report(&site.node)).unwrap();
    let kinds = report["objects"].as_array().unwrap().iter().map(|object| &object["kind"]);
    assert_eq!(kinds.filter(|kind| *kind == "TCPRoute").count(), 501);
}

#[test]
fn it_is_silent_when_idle() {
    let site = Site::new("idle");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    std::thread::sleep(Duration::from_secs(1));
    let lines = |process: &vipgate_lab::Process| process.output().stderr_text().lines().count();
    let before = lines(&vipgate.process);
    assert!(before > 0, "a VIP, a listener and a route were logged");
    assert!(before < 20, "one line per change:\n{}", vipgate.process.output().stderr_text());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(lines(&vipgate.process), before);
    for line in vipgate.process.output().stderr_text().lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON when it is not a terminal");
    }
}

#[test]
fn it_outlives_whoever_reads_its_log() {
    let scratch = tempfile::tempdir().unwrap();
    let (manifests, admin) = (scratch.path().join("m"), scratch.path().join("admin.sock"));
    std::fs::create_dir(&manifests).unwrap();
    let mut child = Command::new(VIPGATE)
        .args(["run", "--state"])
        .arg(scratch.path().join("state.json"))
        .arg("--admin")
        .args([&admin, &manifests])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    log.read_line(&mut line).unwrap();
    drop(log);
    // Each change is a line that cannot be written.
    std::fs::write(manifests.join("pool.yaml"), pool("127.77.42.1-127.77.42.9")).unwrap();
    std::fs::write(manifests.join("gateway.yaml"), gateway("web", &[("tcp", 18081)])).unwrap();
    let served = eventually(SOON, || {
        let status =
            Command::new(VIPGATE).args(["status", "--admin"]).arg(&admin).output().unwrap();
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        anyhow::ensure!(text.contains("127.77.42.1  served"), "{text}");
        Ok(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    let asked = rustix::process::kill_process(pid, Signal::TERM);
    let ended = child.wait().unwrap();
    served.unwrap();
    asked.unwrap();
    assert_eq!(ended.code(), Some(0), "first line: {line}");
}
