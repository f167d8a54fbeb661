//! Changes of the configuration while sessions go on.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vipgate_planner::{Service, Target};
use vipgate_speaker::proxy::BindError;
use vipgate_speaker::udp::EndReason;

use crate::rig::{
    Server, answer, apply, ask, assert_silent, at, bare, client, counters, ended, eventually,
    listener, route, share, udp, udp_with,
};

#[test]
fn a_session_stays_with_an_endpoint_that_left_and_new_ones_go_elsewhere() {
    let (old, new) =
        (Server::says(at("127.46.31.2:7000"), "old"), Server::says(at("127.46.31.3:7000"), "new"));
    let (udp, vip) = (udp(), at("127.46.31.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[old.address])])]);
    let clients: Vec<_> = (0..10).map(|_| client(vip)).collect();
    for client in &clients {
        assert_eq!(ask(client, b"1"), b"old");
    }
    let mut late = Vec::new();
    for round in 0..20 {
        // Again and again, with other weights.
        apply(&udp, &[listener("l", vip, vec![share(1 + round, &[new.address])])]);
        for client in &clients {
            assert_eq!(ask(client, b"2"), b"old");
        }
        // Kept: the next one's port must not be this one's.
        late.push(client(vip));
        assert_eq!(ask(late.last().unwrap(), b"3"), b"new");
    }
    let counted = counters(&udp);
    assert_eq!((counted.sessions, counted.ended.len()), (30, 0), "{counted:?}");
}

/// A client that goes on asking from one port is never silent, so silence does not free it from an endpoint
/// that is gone without a word.
#[test]
fn a_client_of_an_endpoint_that_left_and_is_silent_gets_another() {
    let (gone, new) =
        (Server::mute(at("127.46.37.2:7000")), Server::says(at("127.46.37.3:7000"), "new"));
    let udp = udp_with(|config| config.deserted = Duration::from_millis(300));
    let vip = at("127.46.37.1:7000");
    let quiet = client(vip);
    let old = Server::says(at("127.46.37.4:7000"), "old");
    apply(&udp, &[listener("l", vip, vec![share(1, &[old.address])])]);
    assert_eq!(ask(&quiet, b"1"), b"old");
    apply(&udp, &[listener("l", vip, vec![share(1, &[gone.address])])]);
    let client = client(vip);
    for _ in 0..5 {
        client.send(b"anybody?").unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(counters(&udp).sessions, 2, "an endpoint of the route may be as silent as it likes");
    apply(&udp, &[listener("l", vip, vec![share(1, &[new.address])])]);
    assert_eq!(ask(&client, b"anybody?"), b"new");
    assert_eq!(ended(&udp, EndReason::Deserted), 1);
    assert_eq!(
        ask(&quiet, b"2"),
        b"old",
        "one that answers keeps a client that was quiet for long"
    );
}

#[test]
fn what_was_queued_when_the_configuration_changed_is_served() {
    let server = Server::echo(at("127.46.32.2:7000"));
    let (udp, vip) = (udp(), at("127.46.32.1:7000"));
    let with = |weight| [listener("l", vip, vec![share(weight, &[server.address])])];
    apply(&udp, &with(1));
    let clients: Vec<_> = (0..100).map(|_| client(vip)).collect();
    for (round, client) in (1..).zip(&clients) {
        client.send(b"before").unwrap();
        apply(&udp, &with(round));
    }
    for client in &clients {
        assert_eq!(answer(client), b"before");
    }
}

/// Nor does an answer come from a port that the client did not speak to.
#[test]
fn a_listener_that_gets_another_port_ends_its_sessions() {
    let server = Server::echo(at("127.46.38.2:7000"));
    let (udp, before, after) = (udp(), at("127.46.38.1:7000"), at("127.46.38.1:7001"));
    let to = |vip| [listener("l", vip, vec![share(1, &[server.address])])];
    apply(&udp, &to(before));
    let client = client(before);
    assert_eq!(ask(&client, b"1"), b"1");
    apply(&udp, &to(after));
    eventually("it ends", || ended(&udp, EndReason::ListenerGone) == 1);
    assert_eq!(ask(&crate::rig::client(after), b"2"), b"2");
}

#[test]
fn a_session_ends_when_its_route_is_detached() {
    let server = Server::echo(at("127.46.33.2:7000"));
    let (udp, vip) = (udp(), at("127.46.33.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let client = client(vip);
    assert_eq!(ask(&client, b"1"), b"1");
    // An older route takes the listener, and ours stays attached: the session goes on.
    let other = Target { route: route("older"), shares: vec![share(1, &[])] };
    let mut superseded = listener("l", vip, Vec::new());
    superseded.service = Service::Udp(Some(Arc::new(other)));
    superseded.attached.insert(route("older"));
    apply(&udp, &[superseded.clone()]);
    assert_eq!(ask(&client, b"2"), b"2");
    // Gone.
    superseded.attached.remove(&route("r"));
    apply(&udp, &[superseded]);
    eventually("it ends", || ended(&udp, EndReason::RouteDetached) == 1);
    client.send(b"3").unwrap();
    assert_silent(&client);
}

#[test]
fn a_listener_that_goes_takes_its_sessions_and_its_port_can_be_had_again_at_once() {
    let server = Server::echo(at("127.46.34.2:7000"));
    let (udp, vip) = (udp(), at("127.46.34.1:7000"));
    let listeners = [listener("l", vip, vec![share(1, &[server.address])])];
    for round in 0..20 {
        apply(&udp, &listeners);
        assert_eq!(ask(&client(vip), b"x"), b"x", "{round}");
        apply(&udp, &[]);
    }
    eventually("others can have it", || UdpSocket::bind(vip).is_ok());
    // A renamed one has the same socket, but sessions are the listener's.
    apply(&udp, &listeners);
    let client = client(vip);
    assert_eq!(ask(&client, b"1"), b"1");
    apply(&udp, &[listener("m", vip, vec![share(1, &[server.address])])]);
    assert_eq!(ask(&client, b"2"), b"2");
    assert_eq!(counters(&udp).sessions, 1);
    assert_eq!(server.heard().len(), 22);
}

/// Ports get each other's numbers while clients speak and answers are on their way.
#[test]
fn no_answer_comes_from_another_vip_while_listeners_come_and_go() {
    let servers =
        [Server::says(at("127.46.38.2:7000"), "one"), Server::says(at("127.46.38.3:7000"), "two")];
    let (udp, vips) = (udp(), [at("127.46.38.4:7000"), at("127.46.38.5:7000")]);
    let one = [listener("one", vips[0], vec![share(1, &[servers[0].address])])];
    let two = [listener("two", vips[1], vec![share(1, &[servers[1].address])])];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = vips.into_iter().zip([b"one", b"two"]).map(|(vip, name)| {
            let stop = &stop;
            scope.spawn(move || {
                let client = client(vip);
                client.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                let (mut heard, mut buffer) = (0, [0; 16]);
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..8 {
                        let _ = client.send(b"who?");
                    }
                    while let Ok(length) = client.recv(&mut buffer) {
                        assert_eq!(&buffer[..length], name);
                        heard += 1;
                    }
                }
                heard
            })
        });
        let clients: Vec<_> = clients.collect();
        for _ in 0..100 {
            apply(&udp, &one);
            thread::sleep(Duration::from_millis(3));
            apply(&udp, &two);
            thread::sleep(Duration::from_millis(3));
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 20);
        }
    });
    assert_eq!(udp.snapshot().panics, 0);
}

#[test]
fn who_has_a_port_is_named() {
    let (udp, vip) = (udp(), at("127.46.35.1:7000"));
    let taken = UdpSocket::bind(vip).unwrap();
    let wanted = [bare("l", vip)];
    let outcome = udp.apply(&wanted).into_values().next().unwrap();
    let text = outcome.unwrap_err().to_string();
    let who = format!("(pid {}), which listens on {vip}", std::process::id());
    assert!(text.contains(&who), "{text}");
    drop(taken);
    apply(&udp, &wanted);
    // One that would share its port with anybody.
    let shared = at("127.46.35.2:7000");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&shared.into()).unwrap();
    let outcome = udp.apply(&[bare("l", shared)]).into_values().next().unwrap();
    assert!(matches!(outcome, Err(BindError::InUse { holder: Some(_), .. })), "{outcome:?}");
}

#[test]
fn two_listeners_of_a_plan_cannot_have_one_port() {
    let (udp, vip) = (udp(), at("127.46.36.1:7000"));
    let outcomes = udp.apply(&[bare("a", vip), bare("b", vip)]);
    let texts: Vec<_> = outcomes.into_values().map(|o| o.map_err(|e| e.to_string())).collect();
    assert_eq!(texts[0], Ok(vip));
    assert!(
        texts[1].as_ref().unwrap_err().contains("is taken by default/gw listener a"),
        "{texts:?}"
    );
}

/// Where somebody has the port on all addresses and datagrams can be led elsewhere, another port of the
/// address serves. (Not on the loopback; the VIP need not be there to be bound.)
#[test]
fn a_port_that_somebody_has_on_all_addresses_is_served_at_another() {
    let daemon = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = daemon.local_addr().unwrap().port();
    let (udp, vip) = (udp(), std::net::SocketAddr::from(([192, 0, 2, 77], port)));
    let outcome =
        |udp: &vipgate_speaker::udp::Udp| udp.apply(&[bare("l", vip)]).into_values().next();
    assert!(matches!(outcome(&udp), Some(Err(BindError::InUse { holder: Some(_), .. }))));
    udp.allow_redirects(true);
    let served = outcome(&udp).unwrap().unwrap();
    assert_eq!(served.ip(), vip.ip());
    assert_ne!(served.port(), port);
    assert_eq!(outcome(&udp).unwrap().unwrap(), served, "and stays there");
    udp.allow_redirects(false);
    assert!(outcome(&udp).unwrap().is_err(), "nobody can be led there any more");
}
