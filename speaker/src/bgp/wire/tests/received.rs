//! Received UPDATEs: counted, and no defect ends anything.

use super::super::{Defect, Family, Kind, Message, Received, decode};
use super::hex;

fn check(body: &str) -> Received {
    match decode(Kind::Update, &hex(body), true) {
        Ok(Message::Update(received)) => received,
        other => panic!("{other:?}"),
    }
}

const ROUTE: &str = "40 01 01 00  40 02 06 02 01 0000fde9  40 03 04 0a000001";

#[test]
fn prefixes_are_counted() {
    let received = check(&format!("0005 18c00002 00 0014 {ROUTE} 20 01020304 00 18 0a0000"));
    let expected = Received { announced: 3, withdrawn: 2, ..Received::default() };
    assert_eq!(received, expected);
    let ipv6 = check(
        "0000 0035 90 0e 0024 0002 01 10 fd090000000000000000000000000002 00
         40 20010db800000000 20 20010db8 00
         40 01 01 00 40 02 06 02 01 0000fde9",
    );
    assert_eq!((ipv6.announced, ipv6.defect), (3, None), "{ipv6:?}");
}

#[test]
fn an_end_of_rib_is_one_only_when_there_is_nothing_else() {
    assert_eq!(check("0000 0000").end_of_rib, Some(Family::Ipv4));
    assert_eq!(check("0000 0007 90 0f 0003 0002 01").end_of_rib, Some(Family::Ipv6));
    assert_eq!(check("0000 0006 80 0f 03 0002 01").end_of_rib, Some(Family::Ipv6));
    assert_eq!(check("0000 0008 90 0f 0004 0002 01 00").end_of_rib, None);
    assert_eq!(check(&format!("0000 0014 {ROUTE}")).end_of_rib, None);
}

#[test]
fn every_defect_has_its_name() {
    let route = |more: &str| {
        let attributes = hex(&format!("{ROUTE} {more}"));
        let text: String = attributes.iter().map(|byte| format!("{byte:02x}")).collect();
        check(&format!("0000 {:04x} {text} 08 0a", attributes.len())).defect
    };
    assert_eq!(route(""), None);
    assert_eq!(route("40 06 00"), None, "an aggregate");
    let cases = [
        (check("0001").defect, Defect::Lengths),
        (check("0000 0001").defect, Defect::Lengths),
        (check("0002 21 00 0000").defect, Defect::Prefix),
        (check("0002 20 00 0000").defect, Defect::Prefix),
        (check("0000 0001 00").defect, Defect::AttributeLength),
        (check("0000 0003 40 01 05").defect, Defect::AttributeLength),
        (check("0000 0004 50 02 00 05").defect, Defect::AttributeLength),
        (check("0000 0004 40 01 01 09").defect, Defect::AttributeValue),
        (check("0000 0004 c0 01 01 00").defect, Defect::AttributeFlags),
        (check("0000 0000 08 0a").defect, Defect::Missing),
        (route("80 04 03 000000"), Defect::AttributeValue),
        (route("c0 08 03 000000"), Defect::AttributeValue),
        (route("c0 20 04 00000000"), Defect::AttributeValue),
        (route("80 0e 02 0001"), Defect::AttributeValue),
        (route("80 0e 05 0002 01 04 00"), Defect::AttributeValue),
        // A next hop of four bytes for IPv6; no numbers in a segment, or a segment of no type.
        (route("80 0e 09 0002 01 04 0a000001 00"), Defect::AttributeValue),
        (check("0000 0005 40 02 02 02 00").defect, Defect::AttributeValue),
        (check("0000 0009 40 02 06 05 01 0000fde9").defect, Defect::AttributeValue),
        (route("40 06 01 00"), Defect::AttributeValue),
        (route("80 0f 02 0001"), Defect::AttributeValue),
        (route("80 0f 04 0001 01 21"), Defect::Prefix),
        (route("40 01 01 00"), Defect::Duplicate),
    ];
    for (number, (found, expected)) in cases.into_iter().enumerate() {
        assert_eq!(found, Some(expected), "case {number}");
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    // EVPN, an unknown attribute, a nest of ATTR_SETs.
    let strange = check("0000 0010 80 0e 05 0019 46 04 00  c0 f0 01 00  c0 80 01 80");
    assert_eq!(strange.defect, Some(Defect::AttributeValue), "the next hop is cut");
    let strange = check("0000 0011 80 0e 06 0019 46 00 00 ff  c0 f0 01 00  c0 80 01 80");
    assert_eq!(strange.defect, None);
}

/// Cut anywhere, it is still an answer.
#[test]
fn every_prefix_of_an_update_is_checked() {
    let whole = hex(&format!("0005 18c00002 00 0014 {ROUTE} 20 01020304 18 0a0000"));
    for end in 0..whole.len() {
        let Ok(Message::Update(received)) = decode(Kind::Update, &whole[..end], true) else {
            panic!()
        };
        // Cut after a prefix it is whole, only shorter.
        assert!(received.defect.is_some() || received.announced < 2, "{end}: {received:?}");
    }
}
