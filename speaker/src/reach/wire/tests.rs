use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::*;

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn paths() -> [Path; 2] {
    [("192.0.2.1", "192.0.2.200"), ("2001:db8::1", "2001:db8::200")].map(|(from, to)| Path {
        from: (OURS, from.parse().unwrap(), 40_001),
        to: (THEIRS, to.parse().unwrap(), 443),
    })
}

/// The way back.
fn back(path: &Path) -> Path {
    Path { from: path.to, to: path.from }
}

/// By somebody else's reading: lengths and checksums are right, and so is everything else.
#[test]
fn a_syn_is_what_others_take_for_one() {
    for path in paths() {
        for (bytes, is_syn) in [(syn(&path, 7), true), (rst(&path, 8), false)] {
            assert_eq!((&bytes[..6], &bytes[6..12]), (&THEIRS.0[..], &OURS.0[..]));
            let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("{packet:?}") };
            assert_eq!((tcp.source_port(), tcp.destination_port()), (40_001, 443));
            assert_eq!((tcp.syn(), tcp.rst(), tcp.ack()), (is_syn, !is_syn, false));
            assert_eq!(tcp.sequence_number(), if is_syn { 7 } else { 8 });
            let checksum = match packet.net.unwrap() {
                NetSlice::Ipv4(ip) => {
                    let header = ip.header();
                    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
                    assert_eq!(IpAddr::from(header.source()), path.from.1);
                    assert_eq!(IpAddr::from(header.destination()), path.to.1);
                    tcp.calc_checksum_ipv4(header.source(), header.destination())
                }
                NetSlice::Ipv6(ip) => {
                    let header = ip.header();
                    assert_eq!(IpAddr::from(header.source()), path.from.1);
                    assert_eq!(IpAddr::from(header.destination()), path.to.1);
                    tcp.calc_checksum_ipv6(header.source(), header.destination())
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(checksum.unwrap(), tcp.checksum());
        }
    }
}

#[test]
fn what_comes_back_is_read_and_nothing_else() {
    for path in paths() {
        let mut bytes = frame(&back(&path), 99, SYN | ACK, &[]);
        let tcp = bytes.len() - 20;
        bytes[tcp + 8..tcp + 12].copy_from_slice(&8_u32.to_be_bytes());
        let accepted = Answer { vip: path.to.1, port: 443, accepts: true, acknowledged: 8 };
        assert_eq!(read(&bytes, 40_001), Some(accepted));
        assert_eq!(read(&bytes, 40_002), None, "for another port");
        bytes[tcp + 13] = RST | ACK;
        assert_eq!(read(&bytes, 40_001), Some(Answer { accepts: false, ..accepted }));
        for flags in [0, ACK, RST, SYN, SYN | RST | ACK] {
            bytes[tcp + 13] = flags;
            assert_eq!(read(&bytes, 40_001), None, "{flags:#x}");
        }
        bytes[tcp + 13] = SYN | ACK;
        for short in 0..bytes.len() {
            assert_eq!(read(&bytes[..short], 40_001), None, "{short} bytes");
        }
        for at in [12, ETHERNET, if path.to.1.is_ipv4() { ETHERNET + 9 } else { ETHERNET + 6 }] {
            let mut other = bytes.clone();
            other[at] ^= 0x11;
            assert_eq!(read(&other, 40_001), None, "byte {at}");
        }
    }
}

/// What the kernel would do with the filter, run here.
fn passes(program: &[Instruction], bytes: &[u8], kind: u32) -> bool {
    let mut at = 0;
    let mut loaded = 0_u32;
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let load = |length: usize| -> Option<u32> {
            let from = bytes.get(k as usize..k as usize + length)?;
            Some(from.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
        };
        let value = match code {
            LOAD_WORD if k == PACKET_TYPE => Some(kind),
            LOAD_HALF => load(2),
            LOAD_BYTE => load(1),
            JUMP_EQUAL => {
                at += 1 + usize::from(if loaded == k { jt } else { jf });
                continue;
            }
            RETURN => return k > 0,
            other => panic!("{other:#x}"),
        };
        let Some(value) = value else { return false };
        loaded = value;
        at += 1;
    }
}

#[test]
fn the_filter_passes_what_is_read() {
    for path in paths() {
        let ether_type = ether_type(path.to.1);
        let bytes = frame(&back(&path), 99, SYN | ACK, &[]);
        let program = filter(ether_type, 40_001);
        assert!(passes(&program, &bytes, 0));
        assert!(!passes(&program, &bytes, OTHER_HOST));
        assert!(!passes(&filter(ether_type, 40_002), &bytes, 0));
        assert!(!passes(&program, &syn(&path, 1), 0), "what we send ourselves");
        let mut udp = bytes.clone();
        udp[if ether_type == IPV4 { 23 } else { 20 }] = 17;
        assert!(!passes(&program, &udp, 0));
        let other = if ether_type == IPV4 { IPV6 } else { IPV4 };
        assert!(!passes(&filter(other, 40_001), &bytes, 0));
    }
}
