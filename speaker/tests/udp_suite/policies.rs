//! What policies say of a listener: who may, how many, how fast, how long.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_planner::{Listener, ListenerSettings, Rate};
use vipgate_speaker::udp::{DropReason, EndReason, Udp};

use crate::rig::{
    Server, answer, apply, ask, assert_silent, at, client, client_from, counters, dropped, ended,
    eventually, listener, share, udp, udp_with, with_policy,
};

/// The usual listener under a policy.
fn under(
    vip: SocketAddr,
    server: &Server,
    policy: impl FnOnce(&mut ListenerSettings),
) -> [Listener; 1] {
    [with_policy(listener("l", vip, vec![share(1, &[server.address])]), policy)]
}

/// Asks once; whether a session began for it.
fn begins(udp: &Udp, client: &UdpSocket) -> bool {
    let before = counters(udp).sessions;
    assert_eq!(ask(client, b"?"), b"?");
    counters(udp).sessions > before
}

fn from(last: u8) -> IpAddr {
    [127, 0, 7, last].into()
}

#[test]
fn only_allowed_clients_have_sessions_and_denied_goes_first() {
    let server = Server::echo(at("127.46.61.2:7000"));
    let (udp, vip) = (udp(), at("127.46.61.1:7000"));
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    apply(
        &udp,
        &under(vip, &server, |settings| {
            settings.allowed = nets(&["127.0.7.0/29"]);
            settings.denied = nets(&["127.0.7.2/31"]);
        }),
    );
    for (last, may) in [(1, true), (2, false), (3, false), (4, true), (7, true), (8, false)] {
        let client = client_from(from(last), vip);
        client.send(b"?").unwrap();
        match may {
            true => assert_eq!(answer(&client), b"?"),
            false => assert_silent(&client),
        }
    }
    let counted = counters(&udp);
    assert_eq!((counted.sessions, counted.open), (3, 3), "none for those that may not");
    assert_eq!(dropped(&udp, DropReason::NotAllowed), 3);
    assert_eq!(server.heard().len(), 3);
}

/// Configuration closes nothing: who has a session keeps it, and gets no other.
#[test]
fn whoever_is_denied_later_keeps_what_goes_on() {
    let server = Server::echo(at("127.46.62.2:7000"));
    let (udp, vip) = (udp(), at("127.46.62.1:7000"));
    apply(&udp, &under(vip, &server, |_| {}));
    let old = client_from(from(1), vip);
    assert_eq!(ask(&old, b"1"), b"1");
    apply(&udp, &under(vip, &server, |s| s.denied = vec!["127.0.7.0/24".parse().unwrap()]));
    assert_eq!(ask(&old, b"2"), b"2");
    let new = client_from(from(1), vip);
    new.send(b"3").unwrap();
    assert_silent(&new);
    assert_eq!(dropped(&udp, DropReason::NotAllowed), 1);
    apply(&udp, &under(vip, &server, |_| {}));
    assert_eq!(ask(&new, b"4"), b"4");
}

/// Over all workers together, whichever of them the kernel gives a client to.
#[test]
fn a_listener_has_as_many_sessions_as_it_may() {
    let server = Server::echo(at("127.46.63.2:7000"));
    for limit in [10_u32, 1, 3] {
        let udp = udp_with(|config| config.workers = 4.try_into().unwrap());
        let vip = at("127.46.63.1:7000");
        apply(&udp, &under(vip, &server, |settings| settings.connections = Some(limit)));
        let clients: Vec<_> = (0..60).map(|n| client_from(from(n), vip)).collect();
        for client in &clients {
            assert_eq!(ask(client, b"x"), b"x", "the newest are served");
            eventually("others have given way", || counters(&udp).open <= u64::from(limit));
        }
        assert_eq!(counters(&udp).open, u64::from(limit), "and no fewer than there may be");
        assert_eq!(ended(&udp, EndReason::ListenerCrowded), 60 - u64::from(limit));
        assert_eq!(counters(&udp).sessions, 60);
    }
}

/// Nor does one listener take the places of another.
#[test]
fn a_flood_of_one_listener_ends_neither_what_goes_on_there_nor_anything_elsewhere() {
    let server = Server::echo(at("127.46.64.2:7000"));
    let udp = udp();
    let (vip, other) = (at("127.46.64.1:7000"), at("127.46.64.3:7000"));
    let [limited] = under(vip, &server, |settings| settings.connections = Some(40));
    apply(&udp, &[limited, listener("m", other, vec![share(1, &[server.address])])]);
    let elsewhere: Vec<_> = (0..20).map(|n| client_from(from(n), other)).collect();
    let talks: Vec<_> = (0..12).map(|n| client_from(from(n), vip)).collect();
    for client in elsewhere.iter().chain(&talks).chain(&talks) {
        assert_eq!(ask(client, b"x"), b"x");
    }
    for n in 0..1000_u16 {
        let [high, low] = n.to_be_bytes();
        client_from([127, 1, high, low].into(), vip).send(b"flood").unwrap();
        if n % 50 == 0 {
            eventually("they are read", || counters(&udp).datagrams_in >= 24 + u64::from(n));
        }
    }
    eventually("the flood is over", || counters(&udp).datagrams_in >= 1024);
    eventually("there are no more than may be", || counters(&udp).open <= 40);
    let sessions =
        |udp: &Udp| udp.snapshot().listeners.into_values().map(|l| l.sessions).sum::<u64>();
    let before = sessions(&udp);
    for client in elsewhere.iter().chain(&talks) {
        assert_eq!(ask(client, b"still"), b"still");
    }
    assert_eq!(sessions(&udp), before, "not one of them had ended");
    assert!(ended(&udp, EndReason::ListenerCrowded) >= 900);
}

#[test]
fn a_source_has_as_many_sessions_of_a_listener_as_it_may() {
    let server = Server::echo(at("127.46.65.2:7000"));
    for limit in [3_u32, 1] {
        let udp = udp_with(|config| config.workers = 4.try_into().unwrap());
        let vip = at("127.46.65.1:7000");
        apply(&udp, &under(vip, &server, |s| s.connections_per_source = Some(limit)));
        let others: Vec<_> = (100..120).map(|n| client_from(from(n), vip)).collect();
        for client in &others {
            assert_eq!(ask(client, b"x"), b"x");
        }
        let own: Vec<_> = (0..40).map(|_| client_from(from(1), vip)).collect();
        let most = 20 + u64::from(limit);
        for client in &own {
            assert_eq!(ask(client, b"x"), b"x", "the newest are served");
            eventually("others of its own have given way", || counters(&udp).open <= most);
        }
        assert_eq!(counters(&udp).open, most);
        assert_eq!(ended(&udp, EndReason::SourceCrowded), 40 - u64::from(limit));
        assert!(!begins(&udp, &own[39]), "the last one is among those that are left");
        for client in &others {
            assert!(!begins(&udp, client), "nobody else's had ended");
        }
    }
}

/// What began before there was a limit counts, and is closed by no change of configuration.
#[test]
fn a_limit_that_comes_later_holds_for_those_that_begin() {
    let server = Server::echo(at("127.46.66.2:7000"));
    let (udp, vip) = (udp(), at("127.46.66.1:7000"));
    apply(&udp, &under(vip, &server, |_| {}));
    let clients: Vec<_> = (0..10).map(|_| client_from(from(1), vip)).collect();
    for client in &clients {
        assert_eq!(ask(client, b"x"), b"x");
    }
    apply(
        &udp,
        &under(vip, &server, |settings| {
            settings.connections = Some(8);
            settings.connections_per_source = Some(4);
        }),
    );
    for client in &clients {
        assert!(!begins(&udp, client), "none ended");
    }
    let late: Vec<_> = (0..12).map(|_| client_from(from(1), vip)).collect();
    for client in &late {
        assert_eq!(ask(client, b"late"), b"late");
    }
    eventually("it is reached step by step", || counters(&udp).open <= 4);
    assert_eq!(counters(&udp).open, 4);
    // Without it there may be more again.
    apply(&udp, &under(vip, &server, |_| {}));
    for client in &late {
        assert_eq!(ask(client, b"again"), b"again");
    }
    // (Which of the first ones are still there depends on who had which.)
    assert!((12..16).contains(&counters(&udp).open), "{:?}", counters(&udp));
}

#[test]
fn sessions_begin_no_faster_than_they_may() {
    let server = Server::echo(at("127.46.67.2:7000"));
    let (udp, vip) = (udp(), at("127.46.67.1:7000"));
    let rate = |per_second, burst| {
        under(vip, &server, |settings| settings.rate = Some(Rate { per_second, burst }))
    };
    apply(&udp, &rate(1, 5));
    let clients: Vec<_> = (0..30).map(|_| client(vip)).collect();
    let start = Instant::now();
    for client in &clients {
        client.send(b"x").unwrap();
    }
    eventually("all are decided", || {
        counters(&udp).sessions + dropped(&udp, DropReason::TooFast) == 30
    });
    let meanwhile = start.elapsed().as_secs();
    let began = counters(&udp).sessions;
    assert!((5..=5 + meanwhile).contains(&began), "{began} in {meanwhile} s");
    eventually("those that began are answered", || counters(&udp).datagrams_out == began);
    let is_served = |client: &&UdpSocket| {
        client.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        client.recv(&mut [0; 8]).is_ok()
    };
    let served: Vec<_> = clients.iter().filter(is_served).collect();
    assert_eq!(served.len() as u64, began);
    // What goes on is not slowed down.
    for _ in 0..50 {
        for client in &served {
            client.set_read_timeout(Some(crate::rig::SOON)).unwrap();
            assert_eq!(ask(client, b"on"), b"on");
        }
    }
    apply(&udp, &rate(1000, 1000));
    // The first one finds what the old rate has left, and leaves what the new one would.
    let late = client(vip);
    late.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    eventually("a new rate holds at once", || {
        late.send(b"x").unwrap();
        late.recv(&mut [0; 8]).is_ok()
    });
}

/// A policy's time holds for whatever goes on and for whatever does not, and others keep the engine's.
#[test]
fn a_listener_says_how_long_its_sessions_may_be_silent() {
    let server = Server::echo(at("127.46.68.2:7000"));
    let udp = udp_with(|config| {
        config.idle = Duration::from_secs(2);
        config.idle_fresh = Duration::from_millis(1500);
    });
    let (short, long, usual) =
        (at("127.46.68.1:7000"), at("127.46.68.3:7000"), at("127.46.68.4:7000"));
    let to = |name, vip| listener(name, vip, vec![share(1, &[server.address])]);
    let idle =
        |listener, idle| with_policy(listener, |settings| settings.idle_timeout = Some(idle));
    let (hour, moment) = (Duration::from_secs(3600), Duration::from_millis(250));
    apply(&udp, &[idle(to("s", short), moment), idle(to("t", long), hour), to("u", usual)]);
    let clients = [short, long, usual].map(client);
    let start = Instant::now();
    for client in &clients {
        assert_eq!(ask(client, b"x"), b"x");
    }
    let open = |udp: &Udp| {
        let listeners = udp.snapshot().listeners;
        listeners.into_values().map(|counted| counted.open).collect::<Vec<_>>()
    };
    let asked = Instant::now();
    eventually("the short one is over", || open(&udp)[0] == 0);
    assert!(asked.elapsed() < Duration::from_millis(1490), "{:?}", asked.elapsed());
    assert!(start.elapsed() >= moment);
    eventually("the usual one is over", || open(&udp)[2] == 0);
    assert!(start.elapsed() >= Duration::from_millis(1495));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(open(&udp), [0, 1, 0], "an hour is not over");
    // A change holds for those that there are.
    apply(&udp, &[idle(to("s", short), moment), idle(to("t", long), moment), to("u", usual)]);
    eventually("it is over, too", || open(&udp)[1] == 0);
}
