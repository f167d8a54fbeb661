//! A line for each session that ended, of listeners whose policy asks for it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vipgate_planner::{AccessLog, Listener};
use vipgate_speaker::access_log::{AccessLog as Settings, Destination, Format, Log};
use vipgate_speaker::udp::{Config, Udp};

use crate::rig::{
    Server, apply, ask, assert_silent, at, client, client_from, eventually, listener, share,
    with_policy,
};

/// An engine that logs into a file of this directory.
fn logging(directory: &Path) -> (Udp, PathBuf) {
    let path = directory.join("access.log");
    let to = Destination::File(path.clone());
    let log = Log::start(&Settings { to, format: Format::Json }).unwrap();
    let config = Config { workers: 2.try_into().unwrap(), ..Config::default() };
    (Udp::start(config, log).unwrap(), path)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn logged(name: &str, vip: &str, server: &Server, one_of: u32) -> Listener {
    with_policy(listener(name, at(vip), vec![share(1, &[server.address])]), |settings| {
        settings.access_log = Some(AccessLog { one_of });
    })
}

#[test]
fn a_line_says_whose_session_it_was_what_came_and_went_and_why_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (udp, path) = logging(directory.path());
    let server = Server::echo(at("127.46.71.2:7000"));
    let quiet = listener("quiet", at("127.46.71.3:7000"), vec![share(1, &[server.address])]);
    let loud = logged("loud", "127.46.71.1:7000", &server, 1);
    let (vip, bind) = (loud.bind, quiet.bind);
    apply(&udp, &[loud, quiet.clone()]);
    let one = client(vip);
    for question in [&b"?"[..], b"12345", b""] {
        assert_eq!(ask(&one, question), question);
    }
    ask(&client(bind), b"not logged");
    // Long ones, which the kernel may join and cut again.
    let other = client(vip);
    (0..20).for_each(|_| assert_eq!(ask(&other, &[7; 1200]).len(), 1200));
    apply(&udp, &[quiet]);
    eventually("both are told of", || lines(&path).len() == 2);
    let said = lines(&path);
    let of = |client: &std::net::UdpSocket| {
        let own = client.local_addr().unwrap().to_string();
        said.iter().find(|line| line["client"] == own).unwrap_or_else(|| panic!("{said:?}"))
    };
    for (client, bytes) in [(&one, 6), (&other, 24_000)] {
        let line = of(client);
        assert_eq!((&line["bytes_up"], &line["bytes_down"]), (&bytes.into(), &bytes.into()));
        assert_eq!(line["vip"], vip.to_string());
        assert_eq!(line["protocol"], "UDP");
        assert_eq!((&line["listener"], &line["gateway"]), (&"loud".into(), &"default/gw".into()));
        assert_eq!(line["route"], "UDPRoute default/r");
        assert_eq!(line["endpoint"], server.address.to_string());
        assert_eq!(line["reason"], "listener_gone");
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0 && line.get("connect_ms").is_none());
    }
}

/// Whoever may not, or has no endpoint, is counted and has no line: under false addresses anybody could fill the log.
#[test]
fn what_begins_no_session_has_no_line_and_samples_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (udp, path) = logging(directory.path());
    let server = Server::echo(at("127.46.72.2:7000"));
    let mut strict = logged("strict", "127.46.72.1:7000", &server, 1);
    strict =
        with_policy(strict, |settings| settings.denied = vec!["127.0.8.0/24".parse().unwrap()]);
    let sampled = logged("sampled", "127.46.72.3:7000", &server, 5);
    let denied = client_from([127, 0, 8, 1].into(), strict.bind);
    let vip = sampled.bind;
    apply(&udp, &[strict, sampled]);
    denied.send(b"?").unwrap();
    assert_silent(&denied);
    (0..15).for_each(|_| drop(ask(&client(vip), b"?")));
    // The last lines are written before the engine is gone.
    udp.shutdown();
    let said = lines(&path);
    assert_eq!(said.len(), 3, "one of five: {said:?}");
    assert!(said.iter().all(|line| line["listener"] == "sampled"), "{said:?}");
    assert!(said.iter().all(|line| line["reason"] == "drain_deadline"), "{said:?}");
}
