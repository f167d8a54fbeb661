//! Headers, OPEN, NOTIFICATION, ROUTE-REFRESH.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::super::{
    Capabilities, Cease, Control, Family, GracefulRestart, Kind, Message, Notification, Open,
    Refresh, WireError, decode, frame,
};
use super::{MARKER, hex, read, text};

fn ours() -> Open {
    Open {
        asn: 4_200_000_001,
        hold_time: 9,
        router_id: Ipv4Addr::new(10, 9, 0, 2),
        capabilities: Capabilities {
            families: Family::ALL.into(),
            as4: true,
            route_refresh: true,
            extended_next_hop: true,
            graceful_restart: Some(GracefulRestart {
                restarting: true,
                time: 120,
                families: BTreeMap::from([(Family::Ipv4, true), (Family::Ipv6, false)]),
            }),
            others: BTreeSet::new(),
        },
    }
}

#[test]
fn an_open_is_written_as_the_rfcs_say() {
    let expected = format!(
        "{MARKER} 0047 01
         04 5ba0 0009 0a090002 2a 02 28
         01 04 0001 00 01   01 04 0002 00 01
         02 00
         05 06 0001 0001 0002
         40 0a 8078 0001 01 80 0002 01 00
         41 04 fa56ea01"
    );
    assert_eq!(text(&Control::Open(ours()).encode()), text(&hex(&expected)));
}

#[test]
fn an_open_is_read_as_it_was_written() {
    assert_eq!(read(&Control::Open(ours()).encode()), Ok(Message::Open(ours())));
    let plain = Open { asn: 65001, capabilities: Capabilities::default(), ..ours() };
    assert_eq!(read(&Control::Open(plain.clone()).encode()), Ok(Message::Open(plain)));
}

fn open_with(parameters: &str) -> Result<Message, WireError> {
    let mut body = hex("04 fde9 005a 0a000001");
    body.extend(hex(parameters));
    decode(Kind::Open, &body, true)
}

fn capabilities(parameters: &str) -> Capabilities {
    match open_with(parameters) {
        Ok(Message::Open(open)) => open.capabilities,
        other => panic!("{other:?}"),
    }
}

#[test]
fn longer_parameters_and_several_of_them_are_read() {
    // RFC 9072.
    let extended = capabilities("ff ff 0009 02 0006 01 04 0002 00 01");
    assert_eq!(extended.families, BTreeSet::from([Family::Ipv6]));
    let several = capabilities("0c 02 06 01 04 0001 00 01 02 02 02 00");
    assert_eq!(several.families, BTreeSet::from([Family::Ipv4]));
    assert!(several.route_refresh);
}

/// zettabgp rejects any OPEN with the domain name of capability 73, which FRR sends when it has one.
#[test]
fn capabilities_that_are_not_ours_do_not_matter() {
    let strange = capabilities("14 02 12 49 08 04 68 6f 73 74 02 64 6e  01 04 0001 07 01 c8 00");
    assert!(strange.others.contains(&73));
    assert_eq!(strange.families, BTreeSet::from([Family::Ipv4]));
    let next_hops = capabilities("10 02 0e 05 0c 0001 0004 0002 0001 0001 0002");
    assert!(next_hops.extended_next_hop);
    assert!(!capabilities("0a 02 08 05 06 0001 0004 0002").extended_next_hop);
}

#[test]
fn a_malformed_open_says_where() {
    let cases = [
        ("05", WireError::Open("it ends too early")),
        ("00 00", WireError::Open("bytes are left after the optional parameters")),
        ("01 02", WireError::Open("an optional parameter is cut")),
        ("02 02 01", WireError::Open("an optional parameter is cut")),
        ("03 02 01 41", WireError::Open("a capability is cut")),
        ("06 02 04 41 04 0000", WireError::Open("a capability is cut")),
        ("05 02 03 41 01 00", WireError::Open("a capability has the wrong length")),
        ("05 02 03 01 01 00", WireError::Open("a capability has the wrong length")),
        ("02 01 00", WireError::Parameter(1)),
    ];
    for (parameters, error) in cases {
        assert_eq!(open_with(parameters), Err(error), "{parameters}");
    }
    let version = decode(Kind::Open, &hex("03 fde9 005a 0a000001 00"), true);
    assert_eq!(version, Err(WireError::Version(3)));
    let told = WireError::Version(3).notification();
    assert_eq!((told.code, told.subcode, told.data), (2, 1, vec![0, 4]));
}

#[test]
fn a_bad_header_is_seen_as_soon_as_it_is_there_and_an_incomplete_one_waits() {
    let header = |length: &str, kind: &str| frame_error(&format!("{MARKER} {length} {kind}"));
    assert_eq!(header("0012", "04"), Some(WireError::Length(18)));
    assert_eq!(header("0000", "04"), Some(WireError::Length(0)));
    assert_eq!(header("1001", "02"), Some(WireError::Length(4097)));
    assert_eq!(header("ffff", "02"), Some(WireError::Length(0xffff)));
    assert_eq!(header("0014", "04"), Some(WireError::Length(20)), "a KEEPALIVE with a body");
    assert_eq!(header("001c", "01"), Some(WireError::Length(28)), "an OPEN too short");
    assert_eq!(header("0016", "02"), Some(WireError::Length(22)), "an UPDATE too short");
    assert_eq!(header("0014", "03"), Some(WireError::Length(20)), "a NOTIFICATION too short");
    assert_eq!(header("0013", "06"), Some(WireError::Type(6)));
    assert_eq!(header("1000", "02"), None, "the rest is to come");
    let mut torn = hex(&format!("{MARKER} 0013 04"));
    torn[7] = 0;
    assert_eq!(frame(&torn), Err(WireError::Marker));
    let told = WireError::Length(18).notification();
    assert_eq!((told.code, told.subcode, told.data), (1, 2, vec![0, 18]));
}

fn frame_error(header: &str) -> Option<WireError> {
    frame(&hex(header)).err()
}

#[test]
fn a_cease_carries_its_text_and_shows_it() {
    let drained = Notification::cease(Cease::AdministrativeShutdown, "node drained");
    let bytes = Control::Notification(drained.clone()).encode();
    assert_eq!(
        text(&bytes),
        text(&hex(&format!("{MARKER} 0022 03 06 02 0c 6e6f646520647261696e6564")))
    );
    assert_eq!(read(&bytes), Ok(Message::Notification(drained.clone())));
    assert_eq!(drained.to_string(), "Cease / Administrative Shutdown: \"node drained\"");

    let long = Notification::cease(Cease::AdministrativeReset, &"ö".repeat(200));
    assert_eq!(long.text(), Some("ö".repeat(64)));
    let without = Notification::cease(Cease::BfdDown, "text");
    assert_eq!(
        (without.data.as_slice(), without.to_string().as_str()),
        (&[][..], "Cease / BFD Down")
    );
}

#[test]
fn a_notification_is_shown_in_words_whatever_it_holds() {
    let shown = |code, subcode, data: &[u8]| {
        Notification { code, subcode, data: data.to_vec() }.to_string()
    };
    assert_eq!(shown(2, 2, &[]), "OPEN Message Error / Bad Peer AS");
    assert_eq!(shown(4, 0, &[]), "Hold Timer Expired");
    assert_eq!(shown(3, 77, &[]), "UPDATE Message Error / subcode 77");
    assert_eq!(shown(99, 1, &[]), "error 99/1");
    // A text that is cut, not text at all, or tries to move the cursor.
    assert_eq!(shown(6, 2, &[200, b'a']), "Cease / Administrative Shutdown");
    assert_eq!(shown(6, 2, &[2, 0xff, 0xff]), "Cease / Administrative Shutdown");
    assert_eq!(
        shown(6, 2, &[3, 0x1b, b'[', b'K']),
        "Cease / Administrative Shutdown: \"\\u{1b}[K\""
    );
    assert_eq!(shown(6, 2, &[]), "Cease / Administrative Shutdown");
}

#[test]
fn a_route_refresh_asks_for_a_family() {
    let refresh = |body: &str| decode(Kind::Refresh, &hex(body), true);
    assert_eq!(refresh("0001 00 01"), Ok(Message::Refresh(Refresh::Request(Family::Ipv4))));
    assert_eq!(refresh("0002 00 01"), Ok(Message::Refresh(Refresh::Request(Family::Ipv6))));
    assert_eq!(refresh("0002 01 01"), Ok(Message::Refresh(Refresh::Ignored)));
    assert_eq!(refresh("0019 00 46"), Ok(Message::Refresh(Refresh::Ignored)));
    assert_eq!(refresh("0001 00"), Err(WireError::Refresh));
    assert_eq!(refresh("0001 00 01 00"), Err(WireError::Refresh));
    assert_eq!(WireError::Refresh.notification().code, 7);
}

#[test]
fn a_keepalive_is_a_header_and_nothing_else() {
    let bytes = Control::Keepalive.encode();
    assert_eq!(text(&bytes), text(&hex(&format!("{MARKER} 0013 04"))));
    assert_eq!(read(&bytes), Ok(Message::Keepalive));
    let refresh = hex(&format!("{MARKER} 0017 05 0002 00 01"));
    assert_eq!(read(&refresh), Ok(Message::Refresh(Refresh::Request(Family::Ipv6))));
}

/// RFC 4271 sections 6.1 and 6.2, RFC 7313 section 5.
#[test]
fn each_error_is_told_by_its_numbers() {
    for (error, code, subcode, data) in [
        (WireError::Marker, 1, 1, ""),
        (WireError::Length(18), 1, 2, "0012"),
        (WireError::Type(9), 1, 3, "09"),
        (WireError::Version(3), 2, 1, "0004"),
        (WireError::Parameter(1), 2, 4, ""),
        (WireError::Open("short"), 2, 0, ""),
        (WireError::Refresh, 7, 1, "05"),
    ] {
        assert_eq!(
            error.notification(),
            Notification { code, subcode, data: hex(data) },
            "{error}"
        );
    }
    let expired = Notification::hold_time_expired();
    assert_eq!(expired, Notification { code: 4, subcode: 0, data: vec![] });
}

/// RFC 4486 section 3, RFC 9384.
#[test]
fn each_cease_has_its_number() {
    for (cease, subcode, words) in [
        (Cease::AdministrativeShutdown, 2, "Administrative Shutdown"),
        (Cease::PeerDeconfigured, 3, "Peer De-configured"),
        (Cease::AdministrativeReset, 4, "Administrative Reset"),
        (Cease::ConnectionRejected, 5, "Connection Rejected"),
        (Cease::OtherConfigurationChange, 6, "Other Configuration Change"),
        (Cease::Collision, 7, "Connection Collision Resolution"),
        (Cease::BfdDown, 10, "BFD Down"),
    ] {
        let notification = Notification::cease(cease, "");
        assert_eq!((notification.code, notification.subcode), (6, subcode));
        assert_eq!(notification.to_string(), format!("Cease / {words}"));
    }
}

/// As the registry of IANA has them; routers say these, and people look for them.
#[test]
fn numbers_of_a_peer_are_shown_in_the_words_of_the_rfcs() {
    type Details = &'static [(u8, &'static str)];
    let errors: [(&str, u8, Details); 6] = [
        (
            "Message Header Error",
            1,
            &[
                (1, "Connection Not Synchronized"),
                (2, "Bad Message Length"),
                (3, "Bad Message Type"),
            ],
        ),
        (
            "OPEN Message Error",
            2,
            &[
                (1, "Unsupported Version Number"),
                (2, "Bad Peer AS"),
                (3, "Bad BGP Identifier"),
                (4, "Unsupported Optional Parameter"),
                (6, "Unacceptable Hold Time"),
                (7, "Unsupported Capability"),
                (11, "Role Mismatch"),
            ],
        ),
        (
            "UPDATE Message Error",
            3,
            &[
                (1, "Malformed Attribute List"),
                (2, "Unrecognized Well-known Attribute"),
                (3, "Missing Well-known Attribute"),
                (4, "Attribute Flags Error"),
                (5, "Attribute Length Error"),
                (6, "Invalid ORIGIN Attribute"),
                (8, "Invalid NEXT_HOP Attribute"),
                (9, "Optional Attribute Error"),
                (10, "Invalid Network Field"),
                (11, "Malformed AS_PATH"),
            ],
        ),
        (
            "Finite State Machine Error",
            5,
            &[
                (1, "Unexpected Message in OpenSent State"),
                (2, "Unexpected Message in OpenConfirm State"),
                (3, "Unexpected Message in Established State"),
            ],
        ),
        (
            "Cease",
            6,
            &[
                (1, "Maximum Number of Prefixes Reached"),
                (8, "Out of Resources"),
                (9, "Hard Reset"),
            ],
        ),
        ("ROUTE-REFRESH Message Error", 7, &[]),
    ];
    for (error, code, details) in errors {
        let shown = |subcode| Notification { code, subcode, data: vec![] }.to_string();
        assert_eq!(shown(0), error);
        assert_eq!(shown(99), format!("{error} / subcode 99"));
        for (subcode, words) in details {
            assert_eq!(shown(*subcode), format!("{error} / {words}"));
        }
    }
    let send_hold = Notification { code: 8, subcode: 0, data: vec![] };
    assert_eq!(send_hold.to_string(), "Send Hold Timer Expired");
}
