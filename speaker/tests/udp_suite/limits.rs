//! Bounds: silence, sessions in all and of a source, files, time at rest.

use std::fs::File;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use vipgate_speaker::udp::{DropReason, EndReason};

use crate::rig::{
    SOON, Server, answer, apply, ask, assert_silent, at, client, client_from, counters, dropped,
    ended, eventually, listener, share, udp, udp_with,
};

/// A session that asks and is answered ends sooner than one that goes on.
#[test]
fn silence_ends_sessions() {
    let server = Server::echo(at("127.46.41.2:7000"));
    let udp = udp_with(|config| {
        config.idle = Duration::from_millis(1500);
        config.idle_fresh = Duration::from_millis(300);
    });
    let vip = at("127.46.41.1:7000");
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let (question, talk) = (client(vip), client(vip));
    assert_eq!(ask(&question, b"1"), b"1");
    let begin = Instant::now();
    for _ in 0..2 {
        assert_eq!(ask(&talk, b"1"), b"1");
    }
    eventually("the question is over", || ended(&udp, EndReason::Idle) == 1);
    assert!(begin.elapsed() >= Duration::from_millis(295), "{:?}", begin.elapsed());
    assert_eq!(counters(&udp).open, 1);
    assert_eq!(ask(&talk, b"still here"), b"still here");
    let spoke = Instant::now();
    eventually("the talk is over", || ended(&udp, EndReason::Idle) == 2);
    assert!(spoke.elapsed() >= Duration::from_millis(1490), "{:?}", spoke.elapsed());
    // Whoever comes back is new.
    assert_eq!(ask(&talk, b"again"), b"again");
    assert_eq!(counters(&udp).sessions, 3);
}

/// An endpoint that speaks keeps a session alive, too.
#[test]
fn either_side_breaks_the_silence() {
    let server = Server::echo(at("127.46.42.2:7000"));
    let udp = udp_with(|config| config.idle_fresh = Duration::from_millis(400));
    let vip = at("127.46.42.1:7000");
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let client = client(vip);
    assert_eq!(ask(&client, b"subscribe"), b"subscribe");
    let (session, _) = server.heard()[0];
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(100));
        server.send(session, b"news");
        assert_eq!(answer(&client), b"news");
    }
    assert_eq!(counters(&udp).open, 1);
}

#[test]
fn above_the_limit_the_one_that_was_silent_for_longest_ends() {
    let server = Server::echo(at("127.46.43.2:7000"));
    let udp = udp_with(|config| {
        config.workers = 1.try_into().unwrap();
        config.sessions = 40;
    });
    let vip = at("127.46.43.1:7000");
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    // A quarter of all is the most that one source has.
    let from = |n: u8| client_from([127, 0, 0, 1 + n / 8].into(), vip);
    let clients: Vec<_> = (0..40).map(from).collect();
    for client in &clients {
        assert_eq!(ask(client, b"x"), b"x");
    }
    assert_eq!(counters(&udp).open, 40);
    // The first is heard again, so the second is the oldest.
    assert_eq!(ask(&clients[0], b"x"), b"x");
    let late = from(48);
    assert_eq!(ask(&late, b"late"), b"late");
    assert_eq!((counters(&udp).open, ended(&udp, EndReason::Crowded)), (40, 1));
    let sockets_of = |client: &std::net::UdpSocket| {
        let before = counters(&udp).sessions;
        assert_eq!(ask(client, b"?"), b"?");
        counters(&udp).sessions - before
    };
    assert_eq!(sockets_of(&clients[0]), 0, "kept");
    assert_eq!(sockets_of(&clients[39]), 0, "kept");
    assert_eq!(sockets_of(&clients[1]), 1, "had gone");
}

#[test]
fn a_source_has_a_limit_of_its_own_and_ends_only_its_own() {
    let server = Server::echo(at("127.46.44.2:7000"));
    let udp = udp_with(|config| {
        config.workers = 1.try_into().unwrap();
        config.sessions = 1000;
        config.sessions_per_source = 10;
    });
    let vip = at("127.46.44.1:7000");
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let other = client_from([127, 0, 0, 2].into(), vip);
    assert_eq!(ask(&other, b"x"), b"x");
    let greedy: Vec<_> = (0..50).map(|_| client(vip)).collect();
    for client in &greedy {
        assert_eq!(ask(client, b"x"), b"x", "the newest are served");
    }
    let counted = counters(&udp);
    assert_eq!(counted.open, 11);
    assert_eq!(ended(&udp, EndReason::SourceCrowded), 40);
    let before = counted.sessions;
    assert_eq!(ask(&other, b"x"), b"x");
    assert_eq!(counters(&udp).sessions, before, "the other's was kept");
}

/// A flood of sources that never hear an answer: what goes on goes on.
#[test]
fn a_flood_of_new_clients_does_not_end_what_goes_on() {
    let server = Server::echo(at("127.46.45.2:7000"));
    let udp = udp_with(|config| config.sessions = 200);
    let vip = at("127.46.45.1:7000");
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let talks: Vec<_> = (0..40).map(|n| client_from([127, 0, 1, n].into(), vip)).collect();
    for _ in 0..2 {
        for client in &talks {
            assert_eq!(ask(client, b"x"), b"x");
        }
    }
    let sessions = counters(&udp).sessions;
    for n in 0..3000_u16 {
        let [high, low] = n.to_be_bytes();
        let client = client_from([127, 1, high, low].into(), vip);
        client.send(b"flood").unwrap();
        if n % 50 == 0 {
            // Slowly enough that none is lost before it is read.
            eventually("they are read", || counters(&udp).datagrams_in >= 80 + u64::from(n));
        }
    }
    eventually("the flood is over", || counters(&udp).datagrams_in >= 3080);
    assert!(counters(&udp).sessions >= sessions + 2900);
    assert!(counters(&udp).open <= 200);
    let before = counters(&udp).sessions;
    for client in &talks {
        assert_eq!(ask(client, b"still"), b"still");
    }
    assert_eq!(counters(&udp).sessions, before, "not one of them had ended");
}

/// Runs one ignored test of this binary alone in a process.
#[track_caller]
fn run_alone(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", test])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = output.status.success() && text.contains("1 passed");
    assert!(ran, "{test}: {text}{}", String::from_utf8_lossy(&output.stderr));
    print!("{text}");
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

#[test]
fn no_file_is_left_over() {
    run_alone("limits::child_files");
}

#[test]
#[ignore = "run by no_file_is_left_over in a process of its own"]
fn child_files() {
    let server = Server::echo(at("127.46.46.2:7000"));
    let vip = at("127.46.46.1:7000");
    // A port that a client gave back may be the next one's: that is the same client, and proven.
    let udp = udp_with(|config| config.idle = Duration::from_millis(200));
    let shares = vec![share(3, &[server.address]), share(1, &[at("127.46.46.3:7000")])];
    apply(&udp, &[listener("l", vip, shares)]);
    let before = open_files();
    for _ in 0..2000 {
        client(vip).send(b"x").unwrap();
    }
    eventually("all are heard", || {
        let counted = counters(&udp);
        counted.datagrams_in == 2000 && counted.open == 0
    });
    assert_eq!(open_files(), before);
    assert_eq!(udp.snapshot().panics, 0);
    println!("{:?}", counters(&udp));
}

/// Without files a session gives its own to the next, and nothing spins.
#[test]
fn without_files_sessions_replace_each_other() {
    run_alone("limits::child_exhaustion");
}

#[test]
#[ignore = "run by without_files_sessions_replace_each_other in a process of its own"]
fn child_exhaustion() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let server = Server::echo(at("127.46.47.2:7000"));
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum }).unwrap();
    let udp = udp_with(|config| {
        config.workers = 1.try_into().unwrap();
        config.sessions = 1000;
    });
    let vip = at("127.46.47.1:7000");
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let clients: Vec<_> = (0..5).map(|_| client(vip)).collect();
    assert_eq!(ask(&clients[0], b"1"), b"1");
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    for client in &clients {
        assert_eq!(ask(client, b"x"), b"x");
    }
    assert_eq!(counters(&udp).open, 1, "there is but one file");
    drop(hoard);
    for client in &clients {
        assert_eq!(ask(client, b"y"), b"y");
    }
    assert_eq!(dropped(&udp, DropReason::Exhausted), 0);
}

#[test]
fn a_session_costs_little_memory() {
    run_alone("limits::child_memory");
}

/// The test's own sockets cost kernel memory only, so what grows is the engine.
#[test]
#[ignore = "run by a_session_costs_little_memory in a process of its own"]
fn child_memory() {
    const SESSIONS: usize = 2000;
    const WARM: usize = 200;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        kib.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    };
    let server = std::net::UdpSocket::bind(at("127.46.49.2:7000")).unwrap();
    let udp = udp_with(|config| {
        config.sessions = 2 * SESSIONS + 100;
        config.sessions_per_source = 2 * SESSIONS + 100;
    });
    let vip = at("127.46.49.1:7000");
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.local_addr().unwrap()])])]);
    let mut kept = Vec::with_capacity(SESSIONS);
    let mut open = |count: usize| {
        for n in 0..count {
            let client = client_from([127, 0, 1, (n % 8) as u8].into(), vip);
            for _ in 0..2 {
                client.send(&[1; 64]).unwrap();
                let (_, session) = server.recv_from(&mut [0; 64]).unwrap();
                server.send_to(&[2; 64], session).unwrap();
                assert_eq!(answer(&client), [2; 64]);
            }
            kept.push(client);
        }
    };
    open(WARM);
    let before = resident();
    open(SESSIONS - WARM);
    assert_eq!(counters(&udp).open, SESSIONS as u64);
    let each = resident().saturating_sub(before) / (SESSIONS - WARM);
    println!("user space memory per session: {each} bytes");
    assert!(each <= 1024, "{each} bytes per session");
}

/// The voluntary switches of this process's workers: how often they went to sleep.
fn sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    // Any other thread may have ended since it was listed.
    let name = |task: &std::path::PathBuf| std::fs::read_to_string(task.join("comm"));
    let workers =
        tasks.filter(|task| name(task).is_ok_and(|name: String| name.starts_with("udp-")));
    let count = |task: std::path::PathBuf| {
        let status = std::fs::read_to_string(task.join("status")).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    workers.map(count).sum()
}

#[test]
fn at_rest_nothing_wakes_up() {
    run_alone("limits::child_idle");
}

#[test]
#[ignore = "run by at_rest_nothing_wakes_up in a process of its own"]
fn child_idle() {
    let server = Server::echo(at("127.46.48.2:7000"));
    let (udp, vip) = (udp(), at("127.46.48.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let clients: Vec<_> = (0..20).map(|_| client(vip)).collect();
    for client in &clients {
        assert_eq!(ask(client, b"x"), b"x");
    }
    thread::sleep(Duration::from_millis(100));
    let before = sleeps();
    assert!(before > 0);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(sleeps(), before, "sessions are silent, and none is due");
    clients[3].set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(ask(&clients[3], b"awake"), b"awake");
    assert_silent(&clients[4]);
}
