use proptest::prelude::{any, proptest};
use vipgate_planner::MacAddr;

use super::{CLIENT6, LOWER, OURS, VIP6, solicitation_from};
use crate::l2::DropReason;
use crate::l2::ndp::{ALL_NODES, LEAST_LEN, Message, Ndp, group_mac, parse, solicited_node};

/// As Linux 6.18 sent them over veth and tcpdump captured them: a solicitation, the answer to it, and
/// a question of duplicate address detection with a nonce (RFC 7527).
const SOLICITATION: &str = "3333ff0000025ad1ab48f05186dd6000000000203aff20010db8000000000000000000000001\
    ff0200000000000000000001ff000002870027bc0000000020010db800000000000000000000000201015ad1ab48f051";
const ADVERTISEMENT: &str = "5ad1ab48f0519ac699e2a61386dd6000000000203aff20010db8000000000000000000000002\
    20010db80000000000000000000000018800b1b66000000020010db800000000000000000000000202019ac699e2a613";
const DETECTION: &str = "3333ff0000805ad1ab48f05186dd6000000000203aff00000000000000000000000000000000\
    ff0200000000000000000001ff000080870033f50000000020010db80000000000000000000000800e0152103ae77cf9";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The frame with another option part, and the checksum that belongs to it.
fn with_options(ndp: &Ndp, options: &[u8]) -> Vec<u8> {
    let mut bytes = Ndp { link_address: None, ..*ndp }.to_bytes();
    bytes.extend(options);
    let length = u16::try_from(24 + options.len()).unwrap();
    bytes[18..20].copy_from_slice(&length.to_be_bytes());
    seal(&mut bytes);
    bytes
}

/// Makes the checksum right again.
fn seal(bytes: &mut [u8]) {
    bytes[56..58].fill(0);
    let kind = etherparse::Icmpv6Type::Unknown {
        type_u8: bytes[54],
        code_u8: bytes[55],
        bytes5to8: bytes[58..62].try_into().unwrap(),
    };
    let (sender, receiver) = (bytes[22..38].try_into().unwrap(), bytes[38..54].try_into().unwrap());
    let sum = kind.calc_checksum(sender, receiver, &bytes[62..]).unwrap();
    bytes[56..58].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn reads_what_a_kernel_sends_and_writes_the_same_bytes() {
    let (one, two) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let asking = MacAddr([0x5a, 0xd1, 0xab, 0x48, 0xf0, 0x51]);
    let asked = MacAddr([0x9a, 0xc6, 0x99, 0xe2, 0xa6, 0x13]);
    let solicitation = Ndp {
        destination: MacAddr([0x33, 0x33, 0xff, 0, 0, 2]),
        source: asking,
        sender_ip: one,
        receiver_ip: solicited_node(two),
        message: Message::Solicitation,
        target: two,
        link_address: Some(asking),
    };
    assert_eq!(parse(&bytes(SOLICITATION)), Ok(solicitation));
    assert_eq!(solicitation.to_bytes(), bytes(SOLICITATION));
    // What we would answer is what the kernel answered.
    let answer = solicitation.reply_from(asked);
    assert_eq!(parse(&bytes(ADVERTISEMENT)), Ok(answer));
    assert_eq!(answer.to_bytes(), bytes(ADVERTISEMENT));

    let detection = parse(&bytes(DETECTION)).unwrap();
    assert_eq!(detection, Ndp::probe(asking, VIP6));
    assert!(detection.is_probe());
}

#[test]
fn agrees_with_etherparse() {
    let ours = [
        Ndp::probe(OURS, VIP6),
        Ndp::announcement(OURS, VIP6),
        solicitation_from(LOWER).reply_from(OURS),
    ];
    for ndp in ours {
        let bytes = ndp.to_bytes();
        let sliced = etherparse::SlicedPacket::from_ethernet(&bytes).unwrap();
        let Some(etherparse::NetSlice::Ipv6(ip)) = &sliced.net else { panic!("{sliced:?}") };
        let header = ip.header();
        assert_eq!(header.hop_limit(), 255);
        assert_eq!(
            (header.source_addr(), header.destination_addr()),
            (ndp.sender_ip, ndp.receiver_ip)
        );
        let Some(etherparse::TransportSlice::Icmpv6(icmp)) = &sliced.transport else {
            panic!("{sliced:?}")
        };
        assert!(icmp.is_checksum_valid(header.source(), header.destination()));
        let kind = if ndp.asks().is_some() { 135 } else { 136 };
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (kind, 0));
    }
}

#[test]
fn an_announcement_overrides_what_all_nodes_have() {
    let ndp = Ndp::announcement(OURS, VIP6);
    assert_eq!((ndp.receiver_ip, ndp.destination), (ALL_NODES, MacAddr([0x33, 0x33, 0, 0, 0, 1])));
    assert_eq!(
        ndp.message,
        Message::Advertisement { router: false, solicited: false, replaces: true }
    );
    assert_eq!((ndp.sender_ip, ndp.target, ndp.link_address), (VIP6, VIP6, Some(OURS)));
    assert_eq!((ndp.claims(), ndp.asks()), (VIP6, None));
}

#[test]
fn an_answer_goes_to_who_asked_and_to_all_when_it_has_no_address() {
    let solicited = Message::Advertisement { router: false, solicited: true, replaces: true };
    let answer = solicitation_from(LOWER).reply_from(OURS);
    assert_eq!(
        (answer.destination, answer.receiver_ip, answer.message),
        (LOWER, CLIENT6, solicited)
    );
    // Without an option the frame itself says who asked.
    let bare = Ndp { link_address: None, ..solicitation_from(LOWER) };
    assert_eq!(bare.reply_from(OURS), answer);
    assert_eq!(Ndp::probe(LOWER, VIP6).reply_from(OURS), Ndp::announcement(OURS, VIP6));
}

#[test]
fn groups_are_those_of_the_standards() {
    let address = "2001:db8::1234:5678".parse().unwrap();
    let group = solicited_node(address);
    assert_eq!(group.to_string(), "ff02::1:ff34:5678");
    assert_eq!(group_mac(group).to_string(), "33:33:ff:34:56:78");
}

#[test]
fn every_prefix_is_short_and_padding_is_ignored() {
    let good = bytes(SOLICITATION);
    for length in 0..good.len() {
        assert_eq!(parse(&good[..length]), Err(DropReason::Short), "{length} bytes");
    }
    let mut padded = good.clone();
    padded.resize(120, 0xaa);
    assert_eq!(parse(&padded), parse(&good));
}

#[test]
fn names_what_is_wrong() {
    let cases = [
        (12, 0x08, DropReason::EtherType),
        (14, 0x45, DropReason::IpVersion),
        (18, 1, DropReason::Short),
        (19, 23, DropReason::Short),
        (20, 17, DropReason::NotNeighbour),
        (20, 0, DropReason::NotNeighbour),
        (21, 254, DropReason::HopLimit),
        (21, 64, DropReason::HopLimit),
        (54, 134, DropReason::NotNeighbour),
        (54, 137, DropReason::NotNeighbour),
        (55, 1, DropReason::Code),
        (56, 0x55, DropReason::Checksum),
        (69, 0x55, DropReason::Checksum),
        (85, 0x55, DropReason::Checksum),
    ];
    for (at, value, reason) in cases {
        let mut bytes = bytes(SOLICITATION);
        bytes[at] = value;
        assert_eq!(parse(&bytes), Err(reason), "byte {at} = {value}");
    }
}

#[test]
fn options_have_to_fit() {
    let asks = solicitation_from(LOWER);
    let read = |options: &[u8]| parse(&with_options(&asks, options)).map(|ndp| ndp.link_address);
    let ours = [&[1, 1][..], &LOWER.0].concat();
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&ours), Ok(Some(LOWER)));
    assert_eq!(read(&[&nonce[..], &ours].concat()), Ok(Some(LOWER)), "others are walked over");
    assert_eq!(read(&[&[2, 1][..], &LOWER.0].concat()), Ok(None), "not of this message");
    let refused: [&[u8]; 5] = [
        &[1, 0, 2, 0, 0, 0, 0, 1],
        &[14, 2, 2, 0, 0, 0, 0, 1],
        &[14],
        &[14, 1, 0, 0],
        &[1, 2, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for options in refused {
        assert_eq!(read(options), Err(DropReason::Options), "{options:?}");
    }
}

#[test]
fn contradictions_are_refused() {
    let asks = solicitation_from(LOWER);
    let says = Ndp::announcement(LOWER, VIP6);
    let solicited = Message::Advertisement { router: false, solicited: true, replaces: true };
    let cases = [
        Ndp { target: ALL_NODES, ..asks },
        Ndp { sender_ip: ALL_NODES, ..asks },
        // A probe gives no address of its sender, and goes to the group of its target.
        Ndp { link_address: Some(LOWER), ..Ndp::probe(LOWER, VIP6) },
        Ndp { receiver_ip: ALL_NODES, ..Ndp::probe(LOWER, VIP6) },
        // Nobody solicits for all.
        Ndp { message: solicited, ..says },
    ];
    for ndp in cases {
        assert_eq!(parse(&ndp.to_bytes()), Err(DropReason::Inconsistent), "{ndp:?}");
    }
    for nobody in [MacAddr([0; 6]), MacAddr([0xff; 6]), group_mac(ALL_NODES)] {
        let by_option = Ndp { link_address: Some(nobody), ..asks };
        let by_frame = Ndp { source: nobody, ..asks };
        for ndp in [by_option, by_frame] {
            assert_eq!(parse(&ndp.to_bytes()), Err(DropReason::SenderMac), "{ndp:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _either = parse(&bytes);
    }

    /// Mutations of a good frame with a right checksum get deeper than random bytes do.
    #[test]
    fn what_is_accepted_is_written_back(
        mutations in proptest::collection::vec((14..LEAST_LEN + 8, any::<u8>()), 0..4),
    ) {
        let mut bytes = solicitation_from(LOWER).to_bytes();
        for (at, value) in mutations {
            bytes[at] = value;
        }
        seal(&mut bytes);
        if let Ok(ndp) = parse(&bytes) {
            assert_eq!(parse(&ndp.to_bytes()), Ok(ndp));
        }
    }
}
