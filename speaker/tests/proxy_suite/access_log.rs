//! The access log, as a file has it.

use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use vipgate_planner::{AccessLog, ListenerSettings};
use vipgate_speaker::access_log::{self, Destination, Format, Log};
use vipgate_speaker::proxy::{Config, Proxy};

use crate::rig::{
    Backend, apply, assert_end, assert_reset, at, connect, connect_from, echo, eventually,
    listener, read_all, reset, set, share,
};
use crate::tls::{Issued, get, http, https, session, shake};

/// A change of settings.
type Change = fn(&mut ListenerSettings);

/// An engine that logs into a file.
struct Logged {
    proxy: Proxy,
    path: PathBuf,
    _folder: TempDir,
}

impl Logged {
    fn new(format: Format) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let to = Destination::File(path.clone());
        let log = Log::start(&access_log::AccessLog { to, format }).unwrap();
        let config = Config { workers: 2.try_into().unwrap(), ..Config::default() };
        let proxy = Proxy::start(config, log).unwrap();
        Self { proxy, path, _folder: folder }
    }

    /// So many lines, when they are there.
    fn lines(&self, count: u64) -> Vec<String> {
        eventually("the lines are written", || self.proxy.snapshot().logged >= count);
        let text = std::fs::read_to_string(&self.path).unwrap();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(lines.len() as u64, count, "{text}");
        lines
    }

    fn values(&self, count: u64) -> Vec<Value> {
        self.lines(count).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn every(one_of: u32) -> impl FnOnce(&mut ListenerSettings) {
    move |settings| settings.access_log = Some(AccessLog { one_of })
}

#[test]
fn a_line_says_who_where_what_and_how_it_ended() {
    let backend = Backend::echo(at("127.37.60.2:7000"));
    let (logged, bind) = (Logged::new(Format::Json), at("127.37.60.1:7000"));
    let listener = listener("l", bind, vec![share(1, &[backend.address])]);
    apply(&logged.proxy, &[set(listener, every(1))]);
    let began = Instant::now();
    let mut client = connect(bind);
    echo(&mut client, &[7; 1000]);
    std::thread::sleep(Duration::from_millis(50));
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_end(&mut client);
    let most = began.elapsed().as_millis() as f64 + 500.0;
    let line = &logged.values(1)[0];
    assert_eq!(line["client"], client.local_addr().unwrap().to_string());
    assert_eq!(line["vip"], bind.to_string());
    assert_eq!(line["gateway"], "default/gw");
    assert_eq!(line["listener"], "l");
    assert_eq!(line["route"], "TCPRoute default/r");
    assert_eq!(line["endpoint"], backend.address.to_string());
    assert_eq!((&line["bytes_up"], &line["bytes_down"]), (&1000.into(), &1000.into()));
    assert_eq!(line["reason"], "orderly");
    let lasted = line["duration_ms"].as_f64().unwrap();
    assert!((50.0..most).contains(&lasted), "{line}");
    assert!(line["connect_ms"].as_f64().unwrap() < lasted, "{line}");
    assert!(line.get("server_name").is_none() && line.get("via").is_none(), "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    reset(connect(bind));
    let line = &logged.values(2)[1];
    assert_eq!(line["reason"], "by_client");
}

#[test]
fn who_is_refused_is_logged_with_the_reason() {
    let backend = Backend::echo(at("127.37.61.2:7000"));
    let (logged, bind) = (Logged::new(Format::Json), at("127.37.61.1:7000"));
    let listener = |change: Change| {
        let listener = listener("l", bind, vec![share(1, &[backend.address])]);
        set(set(listener, every(1)), change)
    };
    let cases: [(&str, Change); 3] = [
        ("not_allowed", |s| s.denied = vec!["127.0.0.0/8".parse().unwrap()]),
        ("too_many", |s| s.connections = Some(0)),
        ("too_many_from_source", |s| s.connections_per_source = Some(0)),
    ];
    for (count, (reason, change)) in (1..).zip(cases) {
        apply(&logged.proxy, &[listener(change)]);
        // The reset may be there before connect(2) has returned.
        let from = at("127.37.61.9:1").ip();
        let refused = connect_from(from, bind).and_then(|mut client| read_all(&mut client));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let line = &logged.values(count)[count as usize - 1];
        assert_eq!(line["reason"], reason);
        assert!(line["client"].as_str().unwrap().starts_with(&format!("{from}:")), "{line}");
        assert_eq!(line["listener"], "l");
        assert!(line.get("route").is_none() && line.get("endpoint").is_none(), "{line}");
    }
    // A header that is none: no listener is known, the sender is.
    apply(&logged.proxy, &[listener(|s| s.proxy_from = vec!["127.0.0.0/8".parse().unwrap()])]);
    let mut client = connect(bind);
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert_reset(&mut client);
    let line = &logged.values(4)[3];
    assert_eq!(line["reason"], "proxy_header");
    assert_eq!(line["client"], client.local_addr().unwrap().to_string());
    assert!(line.get("listener").is_none() && line["vip"] == bind.to_string(), "{line}");
    // And a good one names the client, and who said so.
    let mut client = connect(bind);
    client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 40000 80\r\n").unwrap();
    echo(&mut client, b"in");
    reset(client);
    let line = &logged.values(5)[4];
    assert_eq!((&line["client"], &line["bytes_up"]), (&"192.0.2.7:40000".into(), &2.into()));
    assert!(line["via"].as_str().unwrap().starts_with("127."), "{line}");
}

#[test]
fn names_are_logged_and_say_nothing_else() {
    let backend = Backend::echo(at("127.37.62.2:7000"));
    let (logged, bind) = (Logged::new(Format::Text), at("127.37.62.1:7000"));
    let (web, secure) = (bind, at("127.37.62.1:7001"));
    let issued = Issued::new(&["a.example.com"]);
    apply(
        &logged.proxy,
        &[
            set(http("web", web, "a.example.com", backend.address), every(1)),
            set(https("secure", secure, "a.example.com", backend.address, &issued), every(1)),
        ],
    );
    let mut client = shake(secure, "a.example.com", &issued.client());
    client.write_all(b"secret").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    reset(client.sock);
    let line = &logged.lines(1)[0];
    assert!(line.contains(" listener=secure server_name=a.example.com "), "{line}");
    assert!(line.contains(" bytes_up=6 bytes_down=6 ") && line.ends_with(" reason=by_client"));

    // A Host that nobody has, and things that are no Host.
    let mut client = connect(web);
    client.write_all(&get("x-reason=orderly.example.com")).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    drop(client);
    let line = &logged.lines(2)[1];
    assert!(
        line.contains(" server_name=\"x-reason=orderly.example.com\" ")
            && line.ends_with(" reason=no_name"),
        "{line}"
    );
    for hostile in ["a b", "a\" reason=\"orderly", "a\u{1b}[2J", "a\0b"] {
        let mut client = connect(web);
        client.write_all(&get(hostile)).unwrap();
        let _ = client.read_to_string(&mut String::new());
    }
    // A server name in a hello that is none: a line feed in it.
    let mut hello = Vec::new();
    session("a.example.com", &issued.client()).write_tls(&mut hello).unwrap();
    let place = hello.windows(13).position(|bytes| bytes == b"a.example.com").unwrap();
    hello[place + 1] = b'\n';
    let mut client = connect(secure);
    client.write_all(&hello).unwrap();
    let _ = client.read(&mut [0; 64]);
    drop(client);
    for line in &logged.lines(7)[2..] {
        assert!(line.ends_with(" reason=not_understood"), "{line}");
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
        assert!(!line.contains("server_name"), "{line}");
    }
}

#[test]
fn one_of_three_is_logged_and_then_none() {
    let backend = Backend::echo(at("127.37.63.2:7000"));
    let (logged, bind) = (Logged::new(Format::Json), at("127.37.63.1:7000"));
    let listener = || listener("l", bind, vec![share(1, &[backend.address])]);
    let clients = |count: usize| {
        for _ in 0..count {
            echo(&mut connect(bind), b"x");
        }
        eventually("all are gone", || logged.proxy.snapshot().open == 0);
    };
    apply(&logged.proxy, &[set(listener(), every(3))]);
    clients(30);
    logged.lines(10);
    apply(&logged.proxy, &[listener()]);
    clients(10);
    apply(&logged.proxy, &[set(listener(), every(1))]);
    clients(2);
    logged.lines(12);
    assert_eq!(logged.proxy.snapshot().log_dropped, 0);
}

/// What was open when the engine ends is logged before it has ended.
#[test]
fn the_last_lines_are_written() {
    let backend = Backend::echo(at("127.37.64.2:7000"));
    let (logged, bind) = (Logged::new(Format::Json), at("127.37.64.1:7000"));
    let listener = listener("l", bind, vec![share(1, &[backend.address])]);
    apply(&logged.proxy, &[set(listener, every(1))]);
    let mut clients: Vec<_> = (0..200).map(|_| connect(bind)).collect();
    clients.iter_mut().for_each(|client| echo(client, b"x"));
    assert_eq!(logged.proxy.drain(Duration::ZERO), 200);
    let text = std::fs::read_to_string(&logged.path).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("drain_deadline")).count(), 200);
}
