//! Sessions that are bound to a device, as to that of a VRF. The lab's kernel has no VRFs, and any device
//! is bound to in the same way: two switches have the same addresses, with a router on each, and the
//! routes of the node lead to the wrong one.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use vipgate_lab::routers::{Make, Router, Setup};
use vipgate_lab::{Bridge, Node, eventually};
use vipgate_speaker::bfd::fsm::Config;
use vipgate_speaker::bfd::io::{Bfd, Target};
use vipgate_speaker::bfd::wire::State;
use vipgate_speaker::bgp::fsm::PeerAs;
use vipgate_speaker::bgp::io::PeerConfig;

use crate::sessions::with_each_router;
use crate::site::{SOON, Site, Speaker, VIP4, VIP6, forwards, ip, towards};

with_each_router!(a_session_is_in_its_device, calls_come_from_its_device, bfd_is_in_its_device,);

/// `eth0` of the node leads to the router of the site, `eth1` to another one with its address.
struct Twice {
    site: Site,
    _red: Bridge,
    behind: Node,
}

impl Twice {
    fn new() -> Twice {
        let site = Site::new();
        let red = site.lab.bridge("red").unwrap();
        let behind = site.lab.node("behind").unwrap();
        behind.join(&red, "10.9.0.1/24").unwrap().add_address("fd08::1/64").unwrap();
        let cable = site.node.join(&red, "10.9.0.3/24").unwrap();
        cable.add_address("fd08::3/64").unwrap();
        let route = site.node.run("ip", ["route", "get", "10.9.0.1"]).unwrap();
        assert!(route.contains("dev eth0"), "the kernel's choice is the other one: {route}");
        Twice { site, _red: red, behind }
    }
}

fn setup() -> Setup {
    let setup = Setup { asn: 65003, bfd: true, ..Setup::new("10.9.0.1", "10.9.0.3") };
    setup.with(|peer| peer.bfd = Some(300))
}

fn in_red() -> PeerConfig {
    let mut config = towards("10.9.0.1");
    config.target.vrf = Some("eth1".to_owned());
    config.session.peer_as = PeerAs::Exactly(65003);
    config
}

/// The next hops are the addresses of the device, too.
fn a_session_is_in_its_device(make: Make) {
    let site = Twice::new();
    let router = Router::start(make, &site.behind, &setup()).unwrap();
    let other = Setup::new("10.9.0.1", "10.9.0.2");
    let _other = Router::start(make, &site.site.router, &other).unwrap();
    let speaker = Speaker::on(&site.site.node);
    let peering = speaker.peer(in_red());
    peering.announce(&[VIP4, VIP6]);
    forwards(&router, VIP4, &["10.9.0.3"]);
    forwards(&router, VIP6, &["fd08::3"]);
    // And without it the session is with the other one.
    peering.stop("", false);
    let outside = speaker.peer(towards("10.9.0.1"));
    outside.established();
    assert_eq!(outside.status().session.unwrap().peer_as, 65002);
}

fn calls_come_from_its_device(make: Make) {
    let site = Twice::new();
    let speaker = Speaker::on(&site.site.node);
    let mut config = in_red();
    config.session.passive = true;
    config.calls = Some(speaker.calls());
    let peering = speaker.peer(config);
    peering.announce(&[VIP4]);
    let router =
        Router::start(make, &site.behind, &setup().with(|peer| peer.dials = true)).unwrap();
    forwards(&router, VIP4, &["10.9.0.3"]);
    // Nobody listens anywhere else.
    let refused = site.site.router.enter(|| {
        let to: SocketAddr = "10.9.0.2:179".parse().unwrap();
        TcpStream::connect_timeout(&to, Duration::from_secs(2))
    });
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Packets go and come there, beside those of a session that is in no VRF.
fn bfd_is_in_its_device(make: Make) {
    let site = Twice::new();
    let setup_outside = Setup { bfd: true, ..Setup::new("10.9.0.1", "10.9.0.2") };
    let setup_outside = setup_outside.with(|peer| peer.bfd = Some(300));
    let behind = Router::start(make, &site.behind, &setup()).unwrap();
    let _other = Router::start(make, &site.site.router, &setup_outside).unwrap();
    let speaker = Speaker::on(&site.site.node);
    let bfd = site.site.node.enter(|| Bfd::start().unwrap());
    let peer = SocketAddr::new(ip("10.9.0.1"), 0);
    let target = |vrf: Option<&str>| Target {
        peer,
        local: None,
        device: None,
        vrf: vrf.map(str::to_owned),
        multihop: None,
    };
    let begin =
        |vrf| speaker.runtime.block_on(bfd.session(target(vrf), Config::default())).unwrap();
    let (outside, inside) = (begin(None), begin(Some("eth1")));
    // Routers begin BFD with BGP.
    let peering = [speaker.peer(in_red()), speaker.peer(towards("10.9.0.1"))];
    for session in [&outside, &inside] {
        eventually(SOON, || {
            let status = *session.status().borrow();
            anyhow::ensure!(status.state == State::Up, "{status:?}");
            Ok(())
        })
        .unwrap();
    }
    peering.iter().for_each(|one| one.established());
    // One is down when its router is gone, and the other one is not.
    drop(behind);
    eventually(SOON, || {
        let status = *inside.status().borrow();
        anyhow::ensure!(status.state == State::Down, "{status:?}");
        Ok(())
    })
    .unwrap();
    let status = *outside.status().borrow();
    assert!(status.state == State::Up && status.ups == 1, "{status:?}");
}
