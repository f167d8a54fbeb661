//! What a session is told, from what is planned.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use vipgate_api::ObjectKey;
use vipgate_planner::Link;
use vipgate_planner::bgp::{self, Bfd, PeerAs, Place};

use super::roll::guarded;
use super::settings::{Found, NoEcho, Settings};
use super::{Board, Known, Sessions, Wanted};
use crate::bgp::wire::Family;

fn peer(place: Place) -> bgp::Peer {
    bgp::Peer {
        asn: 65001,
        peer_as: PeerAs::Exactly(65002),
        place,
        vrf: None,
        port: 179,
        source: None,
        router_id: None,
        hold_time: Duration::from_secs(90),
        keepalive_time: None,
        connect_time: Duration::from_secs(120),
        passive: false,
        multihop: false,
        ttl_security: false,
        graceful_restart: false,
        password: None,
        bfd: None,
    }
}

fn at(address: &str, interface: Option<&str>) -> Place {
    Place::At(address.parse().unwrap(), interface.map(str::to_owned))
}

fn link(index: u32, name: &str, addresses: &[&str]) -> Link {
    let addresses = addresses.iter().map(|net| net.parse().unwrap()).collect();
    Link { index, name: name.to_owned(), up: true, loopback: name == "lo", mac: None, addresses }
}

fn settings(peer: &bgp::Peer, links: &[Link]) -> Settings {
    Settings::of(peer, links, [10, 9, 0, 2].into())
}

#[test]
fn an_interface_is_known_by_its_index_and_one_that_is_missing_is_named() {
    let links = [link(1, "lo", &[]), link(7, "eth0", &[])];
    for (place, found) in [
        (at("10.9.0.1", None), Ok("10.9.0.1:179")),
        (at("10.9.0.1", Some("eth9")), Ok("10.9.0.1:179")),
        (at("fe80::1", Some("eth0")), Ok("[fe80::1%7]:179")),
        (at("fe80::1", Some("eth9")), Err("no interface eth9: it has eth0")),
        (at("fe80::1", None), Err("say on which interface it is")),
        (Place::On("eth9".to_owned()), Err("no interface eth9: it has eth0")),
    ] {
        match (settings(&peer(place), &links).place, found) {
            (Ok(Found::At(address)), Ok(wanted)) => assert_eq!(address.to_string(), wanted),
            (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{why}"),
            (found, wanted) => panic!("{found:?}, not {wanted:?}"),
        }
    }
    let unnumbered = settings(&peer(Place::On("eth0".to_owned())), &links);
    assert_eq!(unnumbered.place, Ok(Found::On("eth0".to_owned(), 7)));
}

/// A link that is made anew under its name has another index, and sockets of the old one are dead.
#[test]
fn other_timers_of_bfd_are_the_same_session_and_anything_else_is_another() {
    let links = [link(7, "eth0", &["10.9.0.2/24"])];
    let bfd = Bfd {
        transmit_interval: Duration::from_millis(300),
        receive_interval: Duration::from_millis(300),
        multiplier: 3,
        passive: false,
        minimum_ttl: 254,
        echo: None,
    };
    let plain = peer(Place::On("eth0".to_owned()));
    let before = settings(&plain, &links);
    let with_bfd = bgp::Peer { bfd: Some(bfd), ..plain.clone() };
    assert!(before.same_session(&settings(&with_bfd, &links)));
    assert_ne!(before, settings(&with_bfd, &links));
    let other_hold = bgp::Peer { hold_time: Duration::from_secs(9), ..plain.clone() };
    assert!(!before.same_session(&settings(&other_hold, &links)));
    let password = Some(bgp::Password(b"s3cret".to_vec()));
    assert!(!before.same_session(&settings(&bgp::Peer { password, ..plain.clone() }, &links)));
    assert!(!before.same_session(&settings(&plain, &[link(8, "eth0", &["10.9.0.2/24"])])));
    assert!(before.same_session(&settings(&plain, &[link(7, "eth0", &[]), link(9, "x", &[])])));
}

/// Neither is a session without its VRF, nor one in a device that took its name.
#[test]
fn a_vrf_is_there_or_named() {
    let in_vrf = bgp::Peer { vrf: Some("red".to_owned()), ..peer(at("10.9.0.1", None)) };
    let without = settings(&in_vrf, &[link(7, "eth0", &[])]);
    let why = "spec.vrf: this node has no interface red: it has eth0";
    assert_eq!(without.place, Err(why.to_owned()));
    let with = settings(&in_vrf, &[link(7, "eth0", &[]), link(8, "red", &[])]);
    assert!(matches!(with.place, Ok(Found::At(_))));
    assert!(!without.same_session(&with));
    assert!(!with.same_session(&settings(&in_vrf, &[link(9, "red", &[])])));
}

/// A frame takes an echo to an IPv4 router on a network of the node: by that link, or not at all.
#[test]
fn echo_goes_by_the_link_of_the_router_or_says_why_not() {
    let mac = Some(vipgate_planner::MacAddr([2, 0, 0, 0, 0, 1]));
    let ethernet = |one: Link| Link { mac, ..one };
    let links = [
        ethernet(link(7, "eth0", &["10.9.0.2/16", "fd09::2/64"])),
        ethernet(link(8, "eth1", &["10.9.0.3/24"])),
        link(9, "tunnel", &["10.7.0.2/24"]),
    ];
    let bfd = Bfd {
        transmit_interval: Duration::from_millis(300),
        receive_interval: Duration::from_millis(300),
        multiplier: 3,
        passive: false,
        minimum_ttl: 254,
        echo: Some(Duration::from_millis(50)),
    };
    for (place, multihop, expected) in [
        (at("10.9.0.1", None), false, Ok(8)),
        (at("10.9.0.1", Some("eth0")), false, Ok(7)),
        (at("10.9.1.1", None), false, Ok(7)),
        (at("10.9.0.1", None), true, Err(NoEcho::Multihop)),
        (at("10.8.0.1", None), false, Err(NoEcho::Elsewhere)),
        (at("10.7.0.1", None), false, Err(NoEcho::NoEthernet)),
        (at("fd09::1", None), false, Err(NoEcho::Ipv6)),
        (Place::On("eth0".to_owned()), false, Err(NoEcho::Ipv6)),
    ] {
        let peer = bgp::Peer { bfd: Some(bfd), multihop, ..peer(place.clone()) };
        let beside = settings(&peer, &links).bfd.unwrap();
        assert_eq!(beside.echo, Some(expected), "{place:?}");
        let without = bgp::Peer { bfd: Some(Bfd { echo: None, ..bfd }), ..peer };
        assert_eq!(settings(&without, &links).bfd.unwrap().echo, None);
    }
}

#[test]
fn bfd_expects_routers_in_between_where_bgp_does() {
    let links = [link(7, "eth0", &["10.9.0.2/24"])];
    let bfd = Some(Bfd {
        transmit_interval: Duration::from_millis(300),
        receive_interval: Duration::from_millis(300),
        multiplier: 3,
        passive: false,
        minimum_ttl: 250,
        echo: None,
    });
    let (near, far): (IpAddr, IpAddr) = ([10, 9, 0, 1].into(), [10, 8, 0, 1].into());
    for (address, peer_as, multihop, least) in [
        (near, PeerAs::External, false, None),
        (far, PeerAs::External, false, None),
        (near, PeerAs::External, true, Some(250)),
        (near, PeerAs::Internal, false, None),
        (far, PeerAs::Internal, false, Some(250)),
        (far, PeerAs::Exactly(65001), false, Some(250)),
    ] {
        let peer = bgp::Peer { peer_as, multihop, bfd, ..peer(Place::At(address, None)) };
        let beside = settings(&peer, &links).bfd.unwrap();
        assert_eq!(beside.multihop, least, "{address} {peer_as:?} {multihop}");
    }
}

#[test]
fn graceful_restart_is_for_what_survives_and_only_if_asked_for() {
    let plain = peer(at("10.9.0.1", None));
    let surviving = [Family::Ipv4].into();
    assert_eq!(settings(&plain, &[]).session(&surviving).graceful_restart, None);
    let asked = bgp::Peer { graceful_restart: true, ..plain };
    let restart = settings(&asked, &[]).session(&surviving).graceful_restart.unwrap();
    assert_eq!(restart.families, surviving);
    assert!(restart.restarted, "it may follow a process that crashed");
}

fn key() -> ObjectKey {
    ObjectKey::new("vipgate-system", "tor")
}

fn error_of(board: &Board) -> String {
    board[&key()].report.last_error.clone().unwrap_or_default()
}

/// Who panics must not be shown as established for ever.
#[tokio::test]
async fn nothing_stays_of_what_a_session_said_that_panics() {
    let board = watch::Sender::new(Board::from([(key(), Known::failed("as it was"))]));
    let farewell = watch::Sender::new(None);
    let (mut seen, shown) = (board.subscribe(), board.clone());
    let session = async { panic!("on purpose") };
    let tracker = TaskTracker::new();
    let guarded = guarded(key(), session, tracker.clone(), shown, farewell.subscribe());
    let guarded = tracker.spawn(guarded);
    seen.changed().await.unwrap();
    assert!(error_of(&seen.borrow()).contains("a mistake in vipgate"));
    assert!(!guarded.is_finished(), "it is not begun anew at once");
    farewell.send_replace(Some("stopped".to_owned()));
    guarded.await.unwrap();
}

#[test]
fn a_thread_that_cannot_be_started_is_tried_again_and_said_once() {
    let sessions = Sessions::new("node");
    let peers = [(key(), peer(at("10.9.0.1", None)))].into();
    sessions.wanted.send_replace(Wanted { peers, ..Wanted::default() }.into());
    let mut board = sessions.board();
    let fails = || Err(io::Error::other("no more threads"));
    assert!(!sessions.is_started(fails));
    assert!(board.has_changed().unwrap());
    assert!(error_of(&board.borrow_and_update()).ends_with("no more threads"));
    assert!(!sessions.is_started(fails));
    assert!(!board.has_changed().unwrap());
    let (_alive, ended) = watch::channel(());
    assert!(sessions.is_started(|| Ok(ended)));
    assert!(sessions.is_started(|| panic!("there is one")));
}
