//! Routers that call: we wait for them, or both sides dial.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use vipgate_lab::eventually;
use vipgate_lab::routers::{Make, Router, Setup};
use vipgate_speaker::bgp::fsm::State;
use vipgate_speaker::bgp::io::{Calls, PeerConfig};

use crate::sessions::with_each_router;
use crate::site::{SOON, Site, Speaker, VIP4, VIP6, forwards, towards};

with_each_router!(
    the_router_dials_and_we_wait,
    the_router_dials_over_ipv6,
    both_dial_and_one_connection_stays,
    a_password_holds_for_calls,
    ttl_security_holds_for_calls,
);

/// Whose connections stand on the node, by their local port: 179 are calls.
fn connections(site: &Site) -> Vec<String> {
    let shown = site.node.run("ss", ["-Htn", "state", "established"]).unwrap();
    let ends = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let bgp = ends.filter(|ends| ends[2].ends_with(":179") || ends[3].ends_with(":179"));
    bgp.map(|ends| format!("{} {}", ends[2], ends[3])).collect()
}

fn is_a_call(connection: &str) -> bool {
    connection.split(' ').next().is_some_and(|local| local.ends_with(":179"))
}

/// The session of a router that dials.
fn waiting(calls: &Calls, address: &str) -> PeerConfig {
    let mut config = towards(address);
    config.session.passive = true;
    config.calls = Some(calls.clone());
    config
}

fn dials() -> Setup {
    Setup::new("10.9.0.1", "10.9.0.2").with(|peer| peer.dials = true)
}

fn the_router_dials_and_we_wait(make: Make) {
    let site = Site::new();
    let speaker = Speaker::on(&site.node);
    let calls = speaker.calls();
    let peering = speaker.peer(waiting(&calls, "10.9.0.1"));
    peering.fails_with("it has not called for 2 s, and this BGPPeer is passive");
    peering.announce(&[VIP4, VIP6]);
    let router = Router::start(make, &site.router, &dials()).unwrap();
    forwards(&router, VIP4, &["10.9.0.2"]);
    forwards(&router, VIP6, &["fd09::2"]);
    let found = connections(&site);
    assert!(found.len() == 1 && is_a_call(&found[0]), "{found:?}");

    // The router restarts, and what was announced meanwhile is there too.
    drop(router);
    peering.fails_with("");
    peering.announce(&[VIP4]);
    let router = Router::start(make, &site.router, &dials()).unwrap();
    forwards(&router, VIP4, &["10.9.0.2"]);
    assert_eq!(peering.status().established, 2);

    peering.stop("", false);
    forwards(&router, VIP4, &[]);
    eventually(SOON, || {
        let listening = site.node.run("ss", ["-Htln", "sport = 179"])?;
        anyhow::ensure!(listening.is_empty(), "nobody wants calls any more: {listening}");
        Ok(())
    })
    .unwrap();
}

fn the_router_dials_over_ipv6(make: Make) {
    let site = Site::new();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(waiting(&speaker.calls(), "fd09::1"));
    peering.announce(&[VIP6]);
    let setup = Setup::new("fd09::1", "fd09::2").with(|peer| peer.dials = true);
    let router = Router::start(make, &site.router, &setup).unwrap();
    forwards(&router, VIP6, &["fd09::2"]);
    let found = connections(&site);
    assert!(found.len() == 1 && is_a_call(&found[0]), "{found:?}");
}

/// RFC 4271 section 6.8: both sides have a connection of their own before either has heard a word. With
/// our router ID above the router's (10.9.0.1) ours stays, below it the call. Whatever happens, one does,
/// and the session is steady.
fn both_dial_and_one_connection_stays(make: Make) {
    let site = Site::new();
    let router = Router::start(make, &site.router, &dials()).unwrap();
    let speaker = Speaker::on(&site.node);
    let calls = speaker.calls();
    // Somebody has to be waited for, or nobody could call.
    let _nobody = speaker.peer(waiting(&calls, "10.9.0.77"));
    for (id, the_call_stays) in [([10, 9, 0, 2], false), ([9, 9, 0, 2], true)] {
        // What carries data is dropped both ways, and connections are made all the same.
        let nft = |text: &str| site.node.run("nft", [text]).unwrap();
        nft("add table inet mute; \
             add chain inet mute in { type filter hook input priority 0; }; \
             add chain inet mute out { type filter hook output priority 0; }; \
             add rule inet mute in tcp dport 179 tcp flags & psh == psh drop; \
             add rule inet mute in tcp sport 179 tcp flags & psh == psh drop; \
             add rule inet mute out tcp dport 179 tcp flags & psh == psh drop; \
             add rule inet mute out tcp sport 179 tcp flags & psh == psh drop");
        let mut config = towards("10.9.0.1");
        config.calls = Some(calls.clone());
        config.session.router_id = id.into();
        let peering = speaker.peer(config);
        peering.announce(&[VIP4]);
        eventually(SOON, || {
            let found = connections(&site);
            anyhow::ensure!(found.len() == 2, "no collision: {found:?} {}", router.tell());
            Ok(())
        })
        .unwrap();
        nft("delete table inet mute");
        forwards(&router, VIP4, &["10.9.0.2"]);
        let status = eventually(SOON, || {
            let (found, status) = (connections(&site), peering.status());
            anyhow::ensure!(found.len() == 1, "{found:?}");
            anyhow::ensure!(status.state == State::Established, "{status:?}");
            Ok(status)
        })
        .unwrap();
        std::thread::sleep(Duration::from_secs(2));
        let (found, now) = (connections(&site), peering.status());
        assert_eq!((now.established, &now.last_error), (status.established, &None), "{now:?}");
        assert_eq!(found.len(), 1, "{found:?}");
        let call = is_a_call(&found[0]);
        println!("{make:?}, router ID {id:?}: call {call}, established {}", now.established);
        // Established more than once: words were lost for long, and both ends closed what the other one kept.
        if now.established == 1 {
            assert_eq!(call, the_call_stays, "{id:?}: {found:?}");
        }
        peering.stop("again", false);
        forwards(&router, VIP4, &[]);
    }
}

/// TCP MD5: keys are the listener's, by the address of the peer.
fn a_password_holds_for_calls(make: Make) {
    let site = Site::new();
    let speaker = Speaker::on(&site.node);
    let calls = speaker.calls();
    let mut config = waiting(&calls, "10.9.0.1");
    config.target.password = Some(b"s3cret".to_vec());
    let peering = speaker.peer(config);
    peering.announce(&[VIP4]);
    {
        let _unsigned = Router::start(make, &site.router, &dials()).unwrap();
        let seen = || site.node.run("nstat", ["-asz", "TcpExtTCPMD5NotFound"]).unwrap();
        counted(seen);
        assert_eq!(peering.status().established, 0);
    }
    let setup = dials().with(|peer| peer.password = Some("other".to_owned()));
    {
        let _wrong = Router::start(make, &site.router, &setup).unwrap();
        counted(|| site.node.run("nstat", ["-asz", "TcpExtTCPMD5Failure"]).unwrap());
        assert_eq!(peering.status().established, 0);
    }
    let setup = dials().with(|peer| peer.password = Some("s3cret".to_owned()));
    let router = Router::start(make, &site.router, &setup).unwrap();
    forwards(&router, VIP4, &["10.9.0.2"]);
    peering.stop("", false);
    drop(router);

    // Who follows has no password, and the listener forgets the one that was.
    let peering = speaker.peer(waiting(&calls, "10.9.0.1"));
    peering.announce(&[VIP4]);
    let router = Router::start(make, &site.router, &dials()).unwrap();
    forwards(&router, VIP4, &["10.9.0.2"]);
}

/// Waits until a counter of the kernel, of which this is shown, is not zero.
fn counted(shown: impl Fn() -> String) {
    eventually(SOON, || {
        let text = shown();
        let line = text.lines().find(|line| line.starts_with("TcpExt"));
        let count = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("0");
        anyhow::ensure!(count != "0", "{text}");
        Ok(())
    })
    .unwrap();
}

/// RFC 5082, both ways: a SYN with the router's ordinary TTL of 1 is not heard; all of ours have 255,
/// from the answer to its SYN on, or a router that asks for it would hear nothing.
fn ttl_security_holds_for_calls(make: Make) {
    let site = Site::new();
    let speaker = Speaker::on(&site.node);
    let calls = speaker.calls();
    let mut config = waiting(&calls, "10.9.0.1");
    config.target.ttl_security = true;
    let peering = speaker.peer(config);
    peering.announce(&[VIP4]);
    // Another peer of the listener is not asked for it.
    let other = speaker.peer(waiting(&calls, "10.9.0.5"));
    other.announce(&[VIP4]);
    {
        let _router = Router::start(make, &site.router, &dials()).unwrap();
        let begin = Instant::now();
        let mut tried = false;
        while begin.elapsed() < Duration::from_secs(6) {
            let waits = site.router.run("ss", ["-Htn", "state", "syn-sent"]).unwrap();
            tried |= waits.contains("10.9.0.2:179");
            assert_eq!(connections(&site), Vec::<String>::new());
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(tried, "the router has called, and nobody heard it");
        assert_eq!(peering.status().established, 0);
    }
    let near = site.lab.node("near").unwrap();
    near.join(&site.lan, "10.9.0.5/24").unwrap();
    let setup = Setup::new("10.9.0.5", "10.9.0.2").with(|peer| peer.dials = true);
    let plain = Router::start(make, &near, &setup).unwrap();
    let setup = dials().with(|peer| peer.ttl_security = true);
    let router = Router::start(make, &site.router, &setup).unwrap();
    forwards(&router, VIP4, &["10.9.0.2"]);
    forwards(&plain, VIP4, &["10.9.0.2"]);
}

/// Calls, and says what comes back: nothing is ever said to a stranger.
fn call(site: &Site, from: &str) -> std::io::Result<Vec<u8>> {
    let from: IpAddr = from.parse().unwrap();
    site.router.enter(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        let to: SocketAddr = "10.9.0.2:179".parse().unwrap();
        socket.connect_timeout(&to.into(), Duration::from_secs(2))?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        // It may be closed before that.
        let _sent = stream.write_all(&[0xff; 64]);
        let mut heard = vec![0; 4096];
        let length = stream.read(&mut heard)?;
        heard.truncate(length);
        Ok(heard)
    })
}

#[test]
fn a_call_from_elsewhere_is_closed_unread() {
    let site = Site::new();
    site.router.run("ip", ["address", "add", "10.9.0.99/24", "dev", "eth0"]).unwrap();
    let speaker = Speaker::on(&site.node);
    let calls = speaker.calls();
    let peering = speaker.peer(waiting(&calls, "10.9.0.1"));
    let listens = |site: &Site| site.node.run("ss", ["-Htln", "sport = 179"]).unwrap();
    eventually(SOON, || {
        anyhow::ensure!(!listens(&site).is_empty(), "nobody listens");
        Ok(())
    })
    .unwrap();
    let shown = listens(&site);
    assert!(!shown.contains("[::]"), "for the family of the peer alone: {shown}");
    for _ in 0..20 {
        match call(&site, "10.9.0.99") {
            Ok(heard) => assert!(heard.is_empty(), "a stranger is told nothing: {heard:?}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    // The peer itself is spoken to, and what it says is read: the marker is all ones, no length fits.
    let heard = call(&site, "10.9.0.1").unwrap();
    assert!(heard.starts_with(&[0xff; 16]) && heard[18] == 1, "an OPEN: {heard:?}");
    let error = peering.fails_with("Message Header Error");
    assert!(error.starts_with("ended by us"), "{error}");
}

#[test]
fn a_port_that_is_taken_is_left_alone_and_said() {
    let site = Site::new();
    let daemon = site.node.enter(|| TcpListener::bind("0.0.0.0:179")).unwrap();
    let speaker = Speaker::on(&site.node);
    let calls = speaker.calls();
    let peering = speaker.peer(waiting(&calls, "10.9.0.1"));
    peering
        .fails_with("TCP port 179 of this node is in use, so it cannot be called: stop the other");
    // Others dial as if nothing was.
    let other = speaker.peer(PeerConfig { calls: Some(calls), ..towards("10.9.0.5") });
    other.fails_with("10.9.0.5:179");
    drop(daemon);
    peering.announce(&[VIP4]);
    let router = Router::start(Make::Frr, &site.router, &dials()).unwrap();
    forwards(&router, VIP4, &["10.9.0.2"]);
    assert_eq!(peering.status().last_error, None);
}

/// FRR dials its unnumbered neighbours, too; only who is known by its router advertisements may call.
#[test]
fn an_unnumbered_router_that_calls() {
    let site = Site::new();
    site.node.run("ip", ["address", "flush", "dev", "eth0", "scope", "global"]).unwrap();
    for (machine, address) in [(&site.router, "fe80::9:1/64"), (&site.node, "fe80::9:2/64")] {
        machine.run("ip", ["address", "add", address, "dev", "eth0", "nodad"]).unwrap();
    }
    let setup = Setup::new("", "eth0").with(|peer| peer.dials = true);
    let router = Router::start(Make::Frr, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let discovery = speaker.discover("eth0");
    let mut config = waiting(&speaker.calls(), "10.9.0.1");
    config.target.address =
        vipgate_speaker::bgp::io::Address::Found { neighbour: discovery.found(), port: 179 };
    config.session.peer_as = vipgate_speaker::bgp::fsm::PeerAs::External;
    let peering = speaker.peer(config);
    peering.announce(&[VIP4]);
    forwards(&router, VIP4, &["fe80::9:2"]);
    let found = connections(&site);
    assert!(found.len() == 1 && is_a_call(&found[0]), "{found:?}");
}
