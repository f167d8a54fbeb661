//! UPDATEs as we send them.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::super::{
    Community, Encoding, Family, LONGEST, LargeCommunity, Message, NextHops, Path, TooLong,
    announce, end_of_rib, withdraw,
};
use super::{MARKER, hex, read, text};

fn external() -> Encoding {
    Encoding {
        asn: 4_200_000_001,
        internal: false,
        as4: true,
        extended_next_hop: false,
        next_hops: NextHops {
            ipv4: Some(Ipv4Addr::new(10, 9, 0, 2)),
            ipv6: Some("fd09::2".parse().unwrap()),
        },
    }
}

fn path() -> Path {
    Path {
        local_pref: Some(200),
        communities: BTreeSet::from([Community(0xfde9_0064)]),
        large_communities: BTreeSet::from([LargeCommunity([65001, 1, 2])]),
    }
}

fn nets(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|net| net.parse().unwrap()).collect()
}

fn only(messages: Vec<Vec<u8>>) -> String {
    assert_eq!(messages.len(), 1);
    text(&messages[0])
}

/// A message of type UPDATE with this body.
fn update(body: &str) -> String {
    let body = hex(body);
    format!("{MARKER}{:04x}02{}", 19 + body.len(), text(&body))
}

#[test]
fn ipv4_prefixes_go_the_old_way() {
    let sent = only(
        announce(&external(), &path(), Family::Ipv4, &nets(&["192.0.2.10/32", "198.51.100.77/25"]))
            .unwrap(),
    );
    let expected = update(
        "0000 003b
         40 01 01 00
         40 02 06 02 01 fa56ea01
         d0 08 0004 fde90064
         d0 20 000c 0000fde9 00000001 00000002
         40 03 04 0a090002
         20 c000020a 19 c6336400",
    );
    // 0x3b counted by hand is worth less than the sum of the parts.
    let expected = expected.replace("0000003b", &format!("0000{:04x}", 4 + 9 + 8 + 16 + 7));
    assert_eq!(sent, expected);
}

#[test]
fn ipv6_prefixes_go_in_mp_reach_which_comes_first() {
    let bare = Path::default();
    let sent = only(
        announce(&external(), &bare, Family::Ipv6, &nets(&["2001:db8:ffff::10/128"])).unwrap(),
    );
    let expected = update(
        "0000 0037
         90 0e 0026 0002 01 10 fd090000000000000000000000000002 00
            80 20010db8ffff00000000000000000010
         40 01 01 00
         40 02 06 02 01 fa56ea01",
    );
    assert_eq!(sent, expected);
}

#[test]
fn without_an_ipv4_next_hop_an_ipv6_one_is_used_only_where_negotiated() {
    let mut encoding = external();
    encoding.next_hops.ipv4 = None;
    let prefixes = nets(&["192.0.2.10/32"]);
    assert_eq!(announce(&encoding, &Path::default(), Family::Ipv4, &prefixes), Ok(vec![]));
    encoding.extended_next_hop = true;
    let sent = only(announce(&encoding, &Path::default(), Family::Ipv4, &prefixes).unwrap());
    let expected = update(
        "0000 002b
         90 0e 001a 0001 01 10 fd090000000000000000000000000002 00 20 c000020a
         40 01 01 00
         40 02 06 02 01 fa56ea01",
    );
    assert_eq!(sent, expected);
}

#[test]
fn a_peer_of_our_as_gets_an_empty_path_and_a_preference() {
    let internal = Encoding { internal: true, ..external() };
    let attributes = |path: &Path| {
        only(announce(&internal, path, Family::Ipv4, &nets(&["192.0.2.10/32"])).unwrap())
    };
    let preferred = attributes(&Path { local_pref: Some(7), ..Path::default() });
    assert!(preferred.contains("4001010040020040050400000007400304"), "{preferred}");
    assert!(attributes(&Path::default()).contains("40050400000064"), "100 when not given");
}

/// RFC 6793: AS_TRANS in the path, the truth beside it.
#[test]
fn a_peer_with_two_byte_as_numbers_gets_ours_in_as4_path() {
    let old = Encoding { as4: false, ..external() };
    let prefixes = nets(&["192.0.2.10/32"]);
    let sent = only(announce(&old, &Path::default(), Family::Ipv4, &prefixes).unwrap());
    assert!(sent.contains("40020402015ba0c011060201fa56ea01"), "{sent}");
    let small = Encoding { asn: 65001, ..old };
    let sent = only(announce(&small, &Path::default(), Family::Ipv4, &prefixes).unwrap());
    assert!(sent.contains("400204 0201fde9 4003".replace(' ', "").as_str()), "{sent}");
}

#[test]
fn withdrawals_and_ends_of_rib() {
    assert_eq!(
        only(withdraw(Family::Ipv4, &nets(&["192.0.2.10/32"]))),
        update("0005 20c000020a 0000")
    );
    assert_eq!(
        only(withdraw(Family::Ipv6, &nets(&["2001:db8::/32"]))),
        update("0000 000c 90 0f 0008 0002 01 20 20010db8")
    );
    assert_eq!(text(&end_of_rib(Family::Ipv4)), update("0000 0000"));
    assert_eq!(text(&end_of_rib(Family::Ipv6)), update("0000 0007 90 0f 0003 0002 01"));
}

fn many(family: Family, count: u32) -> Vec<IpNet> {
    (0..count)
        .map(|number| match family {
            Family::Ipv4 => IpNet::from(Ipv4Net::new(Ipv4Addr::from(number), 32).unwrap()),
            Family::Ipv6 => {
                IpNet::from(Ipv6Net::new(Ipv6Addr::from(u128::from(number)), 128).unwrap())
            }
        })
        .collect()
}

/// The number in the issue: 1,000 prefixes in at most 20 UPDATEs per attribute set.
#[test]
fn a_thousand_prefixes_share_few_messages_none_of_which_is_too_long() {
    let mut encoding = external();
    let mut sizes = Vec::new();
    for family in Family::ALL {
        for extended in [false, true] {
            encoding.extended_next_hop = extended;
            encoding.next_hops.ipv4 = (!extended).then_some(Ipv4Addr::new(10, 9, 0, 2));
            let prefixes = many(family, 1_000);
            let sent = announce(&encoding, &path(), family, &prefixes).unwrap();
            let gone = withdraw(family, &prefixes);
            sizes.extend([sent.len(), gone.len()]);
            for (messages, announced) in [(sent, true), (gone, false)] {
                let mut count = 0;
                for message in messages {
                    assert!(message.len() <= LONGEST);
                    let Ok(Message::Update(update)) = read(&message) else { panic!() };
                    assert_eq!(update.defect, None);
                    count += if announced { update.announced } else { update.withdrawn };
                }
                assert_eq!(count, 1_000);
            }
        }
    }
    assert_eq!(sizes, [2, 2, 2, 2, 5, 5, 5, 5]);
}

/// Whatever the number of communities and prefixes, the message fits or is refused.
#[test]
fn messages_are_bounded_for_every_size_of_the_attributes() {
    // Every size around the limits, and some below.
    for count in (0..900).step_by(60).chain(900..1_050_u32) {
        let communities = (0..count).map(Community).collect();
        let path = Path { communities, ..path() };
        for family in Family::ALL {
            match announce(&external(), &path, family, &many(family, 300)) {
                Ok(messages) => {
                    assert!(messages.iter().all(|message| message.len() <= LONGEST));
                    assert!(!messages.is_empty());
                }
                Err(TooLong { communities }) => {
                    assert!(count > 990, "{count}");
                    assert_eq!(communities, count as usize + 1);
                }
            }
        }
    }
}

#[test]
fn communities_are_shown_as_people_write_them() {
    assert_eq!(Community(0xfde9_0064).to_string(), "65001:100");
    assert_eq!(LargeCommunity([64500, 1, 4_294_967_295]).to_string(), "64500:1:4294967295");
}
