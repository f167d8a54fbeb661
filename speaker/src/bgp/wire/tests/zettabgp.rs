//! The defects of zettabgp 0.6.0 that `wire` guards against, each by the least that shows it.
//!
//! A test that fails here after an update of the crate is good news: that guard may go. What would
//! hang or abort is run in a child process with a limit on memory and time.

use std::process::{Command, ExitStatus};

use rustix::process::{Resource, Rlimit, setrlimit};
use zettabgp::message::open::BgpOpenMessage;
use zettabgp::message::update::BgpUpdateMessage;
use zettabgp::prelude::{
    BgpASpath, BgpAddrs, BgpAttrItem, BgpLargeCommunity, BgpLargeCommunityList, BgpMessage,
    BgpNotificationMessage, BgpSessionParams, BgpTransportMode,
};
use zettabgp::{BgpCapability, prelude::BgpAddrV4};

use super::{hex, text};

fn params() -> BgpSessionParams {
    let mode = BgpTransportMode::IPv4;
    let mut params = BgpSessionParams::new(65001, 90, mode, [10, 0, 0, 1].into(), vec![]);
    params.fuzzy_pathid = false;
    params
}

fn attribute(item: &BgpAttrItem) -> String {
    let mut buffer = [0; 256];
    let length = item.encode_to(&params(), &mut buffer).unwrap();
    text(&buffer[..length])
}

/// RFC 4271: AS_SET is 1, AS_SEQUENCE is 2. OpenBGPD ends the session, others show `{65001}`.
#[test]
fn as_path_segments_have_each_others_type() {
    let path = BgpASpath::from(vec![65001_u32]);
    assert_eq!(attribute(&BgpAttrItem::ASPath(path)), "5002000601010000fde9");
}

#[test]
fn large_communities_are_marked_as_partial() {
    let one = BgpLargeCommunity { ga: 1, ldp1: 2, ldp2: 3 };
    let list = BgpLargeCommunityList { value: [one].into() };
    assert!(attribute(&BgpAttrItem::LargeCommunityList(list)).starts_with("f020"));
}

#[test]
fn the_text_of_a_notification_is_lost() {
    let mut notification = BgpNotificationMessage::new();
    notification.decode_from(&params(), &hex("06 02 04 6761 6e67")).unwrap();
    let mut buffer = [0; 64];
    let length = notification.encode_to(&params(), &mut buffer).unwrap();
    assert_eq!(length, 4, "two bytes of data, whatever there were");
}

#[test]
fn capability_73_with_a_domain_is_an_error_and_a_next_hop_for_ipv4_over_ipv6_is_unknown() {
    assert!(BgpCapability::from_buffer(&hex("49 08 04 686f7374 02 646e")).is_err());
    let (unknown, _) = BgpCapability::from_buffer(&hex("05 06 0001 0001 0002")).unwrap();
    assert_eq!(unknown, Err((5, hex("0001 0001 0002"))));
}

#[test]
fn the_length_of_many_capabilities_is_cut() {
    let mut open = BgpOpenMessage::new();
    open.caps = vec![BgpCapability::CapASN32(1); 40];
    let mut buffer = [0; 1024];
    let length = open.encode_to(&params(), &mut buffer).unwrap();
    assert_eq!((length - 10, buffer[9]), (320, 64));
}

/// RFC 8950: the 16 bytes of the next hop are read as the four of an IPv4 one.
#[test]
fn an_ipv6_next_hop_for_ipv4_is_read_as_an_ipv4_one() {
    let value = hex("0001 01 10 fd090000000000000000000000000002 00 20 c000020a");
    let read = BgpAttrItem::decode_from(&params(), 14, 0x80, value.len(), &value);
    assert!(format!("{read:?}").contains("253.9.0.0"), "{read:?}");
}

fn panics(work: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    std::panic::catch_unwind(work).is_err()
}

fn decode(body: &str) {
    let _result = BgpUpdateMessage::new().decode_from(&params(), &hex(body));
}

#[test]
fn short_attributes_panic() {
    for body in [
        "0000 0001 00",                     // the header of an attribute is cut
        "0000 0005 c0 08 02 00 00",         // half a community
        "0000 0006 c0 20 03 00 00 00",      // a quarter of a large community
        "0000 0005 80 0e 02 00 01",         // MP_REACH without SAFI
        "0000 0008 80 0e 05 0002 01 10 00", // the next hop is cut
        "0000 0004 80 0f 01 00",            // MP_UNREACH without AFI
    ] {
        assert!(panics(|| decode(body)), "{body}");
    }
}

/// The caller has to bound what it gives: 900 prefixes and a buffer of one message.
#[test]
fn prefixes_beyond_the_buffer_panic() {
    let nets = (0..900).map(|n: u32| BgpAddrV4::new(n.into(), 32)).collect();
    let updates = BgpAddrs::IPV4U(nets);
    let update = BgpUpdateMessage { updates, withdraws: BgpAddrs::None, attrs: vec![] };
    assert!(panics(move || {
        let _result = update.encode_to(&params(), &mut [0; 4077]);
    }));
}

/// Runs the ignored test of this name in a process of its own.
fn victim(name: &str) -> (ExitStatus, String) {
    let path = module_path!().split_once("::").map(|(_, path)| path).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", &format!("{path}::{name}")])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status, String::from_utf8_lossy(&said).into_owned())
}

/// Half a gigabyte and ten seconds of processor time, for a process that is expected to want more.
fn limit_myself() {
    let memory = Some(512 << 20);
    setrlimit(Resource::As, Rlimit { current: memory, maximum: memory }).unwrap();
    setrlimit(Resource::Cpu, Rlimit { current: Some(10), maximum: Some(10) }).unwrap();
}

/// 29 bytes of body, one of them too many in an AS_PATH.
#[test]
fn a_stray_byte_in_an_as_path_eats_all_memory() {
    let (status, said) = victim("victim_of_the_stray_byte");
    assert!(!status.success(), "{said}");
    assert!(said.contains("running 1 test"), "{said}");
    assert!(said.contains("memory allocation") || status.code().is_none(), "{status} {said}");
}

#[test]
#[ignore = "dies; run by a_stray_byte_in_an_as_path_eats_all_memory"]
fn victim_of_the_stray_byte() {
    limit_myself();
    decode("0000 0014 40010100 40020702 010000fd e900 40 03 04 0a000001");
}

/// An attribute within itself, as deep as a message holds (zettabgp takes 65,516 bytes for one).
#[test]
fn nested_attribute_sets_overflow_the_stack() {
    let (status, said) = victim("victim_of_the_nest");
    assert!(!status.success(), "{said}");
    assert!(said.contains("has overflowed its stack"), "{status} {said}");
}

#[test]
#[ignore = "dies; run by nested_attribute_sets_overflow_the_stack"]
fn victim_of_the_nest() {
    limit_myself();
    let mut nest: Vec<u8> = vec![];
    while nest.len() < 65_000 {
        let length = u16::try_from(nest.len() + 4).unwrap();
        let mut outer = hex("d0 80");
        outer.extend(length.to_be_bytes());
        outer.extend([0, 0, 0xfd, 0xe9]);
        outer.extend(nest);
        nest = outer;
    }
    let mut body = vec![0, 0];
    body.extend(u16::try_from(nest.len()).unwrap().to_be_bytes());
    body.extend(nest);
    let _result = BgpUpdateMessage::new().decode_from(&params(), &body);
}
