//! The frames of a visit: a SYN to one Ethernet address, what comes back, and the RST that ends it; TCP
//! (RFC 9293) over IPv4 without options or IPv6 without extension headers.

use std::net::IpAddr;

use vipgate_planner::MacAddr;

use crate::l2::filter::{
    Instruction, JUMP_EQUAL, LOAD_HALF, LOAD_WORD, OTHER_HOST, PACKET_TYPE, RETURN,
};

/// Bytes of a frame that are looked at.
pub(super) const LONGEST: usize = 128;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const ETHERNET: usize = 14;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Hops: the other side is on the link, and who is there as well as behind a bridge need not know.
const TTL: u8 = 64;
const WINDOW: u16 = 1024;
const DO_NOT_FRAGMENT: u16 = 0x4000;

/// The two ends of a connection that is never made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Our station, and the address and port that we ask from.
    pub(super) from: (MacAddr, IpAddr, u16),
    /// The station that has the VIP, the VIP and its port.
    pub(super) to: (MacAddr, IpAddr, u16),
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The VIP.
    pub(super) vip: IpAddr,
    /// Its port.
    pub(super) port: u16,
    /// Whether it would make the connection, or refuses it.
    pub(super) accepts: bool,
    /// The number behind that of the SYN that it answers.
    pub(super) acknowledged: u32,
}

/// The EtherType of an address's packets.
pub(super) fn ether_type(address: IpAddr) -> u16 {
    if address.is_ipv4() { IPV4 } else { IPV6 }
}

/// Asks for a connection.
pub(super) fn syn(path: &Path, sequence: u32) -> Vec<u8> {
    // What an Ethernet frame has room for: some drop a SYN that does not say it.
    let room: u16 = if path.to.1.is_ipv4() { 1460 } else { 1440 };
    let [high, low] = room.to_be_bytes();
    frame(path, sequence, SYN, &[2, 4, high, low])
}

/// Takes it back.
pub(super) fn rst(path: &Path, sequence: u32) -> Vec<u8> {
    frame(path, sequence, RST, &[])
}

fn frame(path: &Path, sequence: u32, flags: u8, options: &[u8]) -> Vec<u8> {
    let (from, to) = (path.from, path.to);
    let words = 5 + u8::try_from(options.len() / 4).expect("options of a few bytes");
    let mut tcp = Vec::with_capacity(24);
    tcp.extend(from.2.to_be_bytes());
    tcp.extend(to.2.to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend([words << 4, flags]);
    tcp.extend(WINDOW.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(options);
    let length = u16::try_from(tcp.len()).expect("a short segment");

    let mut out = Vec::with_capacity(ETHERNET + 40 + tcp.len());
    out.extend(to.0.0);
    out.extend(from.0.0);
    out.extend(ether_type(to.1).to_be_bytes());
    let pseudo = match (from.1, to.1) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip = vec![0x45, 0];
            ip.extend((20 + length).to_be_bytes());
            ip.extend([0, 0]);
            ip.extend(DO_NOT_FRAGMENT.to_be_bytes());
            ip.extend([TTL, TCP, 0, 0]);
            ip.extend(source.octets());
            ip.extend(destination.octets());
            let checksum = !sum(0, &ip);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            out.extend(&ip);
            sum(sum(0, &source.octets()), &destination.octets())
        }
        (source, destination) => {
            out.extend([0x60, 0, 0, 0]);
            out.extend(length.to_be_bytes());
            out.extend([TCP, TTL]);
            let octets = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            out.extend(octets(source));
            out.extend(octets(destination));
            sum(sum(0, &octets(source)), &octets(destination))
        }
    };
    let pseudo = sum(sum(pseudo, &[0, TCP]), &length.to_be_bytes());
    let checksum = !sum(pseudo, &tcp);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    out.extend(&tcp);
    out
}

/// Reads what came back to a port of ours; nothing if it is of another sort. Checksums are not looked at: what
/// did not cross a wire has none yet, and nobody hits the number that is acknowledged by chance.
pub(super) fn read(bytes: &[u8], ours: u16) -> Option<Answer> {
    let half = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let (vip, tcp) = match half(12)? {
        IPV4 => {
            let header: &[u8; 20] = bytes.get(ETHERNET..)?.first_chunk()?;
            let fragment = half(ETHERNET + 6)? & !DO_NOT_FRAGMENT != 0;
            if header[0] != 0x45 || header[9] != TCP || fragment {
                return None;
            }
            let source: [u8; 4] = *header[12..].first_chunk()?;
            (IpAddr::from(source), ETHERNET + 20)
        }
        IPV6 => {
            let header: &[u8; 40] = bytes.get(ETHERNET..)?.first_chunk()?;
            if header[0] >> 4 != 6 || header[6] != TCP {
                return None;
            }
            let source: [u8; 16] = *header[8..].first_chunk()?;
            (IpAddr::from(source), ETHERNET + 40)
        }
        _ => return None,
    };
    let header: &[u8; 20] = bytes.get(tcp..)?.first_chunk()?;
    let accepts = match header[13] & (SYN | RST | ACK) {
        flags if flags == SYN | ACK => true,
        flags if flags == RST | ACK => false,
        _ => return None,
    };
    (half(tcp + 2)? == ours).then_some(Answer {
        vip,
        port: half(tcp)?,
        accepts,
        acknowledged: u32::from_be_bytes(*header[8..].first_chunk()?),
    })
}

const LOAD_BYTE: u16 = 0x30;

/// Passes TCP to this port, and nothing else: on a busy link everything but that costs four instructions.
pub(super) fn filter(ether_type: u16, port: u16) -> Vec<Instruction> {
    let step = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let (version, protocol, to) = if ether_type == IPV4 { (0x45, 23, 36) } else { (0, 20, 56) };
    let mut wanted = vec![
        (LOAD_HALF, to, u32::from(port)),
        (LOAD_BYTE, protocol, u32::from(TCP)),
        (LOAD_HALF, 12, u32::from(ether_type)),
    ];
    if version != 0 {
        wanted.push((LOAD_BYTE, 14, version));
    }
    // Of each two instructions the second leads to the end when it does not hold; before that are two for the
    // sort of frame, and the one by which it passes.
    let count = 2 * wanted.len();
    let mut program = Vec::with_capacity(count + 4);
    for (number, (load, at, value)) in wanted.into_iter().enumerate() {
        let rest = u8::try_from(count - 2 * (number + 1)).expect("a short program");
        program.extend([step(load, 0, 0, at), step(JUMP_EQUAL, 0, rest + 3, value)]);
    }
    program.extend([
        step(LOAD_WORD, 0, 0, PACKET_TYPE),
        step(JUMP_EQUAL, 1, 0, OTHER_HOST),
        step(RETURN, 0, 0, LONGEST as u32),
        step(RETURN, 0, 0, 0),
    ]);
    program
}

/// The sum in one's complement of RFC 1071, begun with another; a last odd byte has a zero behind it.
fn sum(begun: u16, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|two| {
        u32::from(u16::from_be_bytes([two[0], two.get(1).copied().unwrap_or_default()]))
    });
    let sum: u32 = u32::from(begun) + words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).expect("twice folded")
}

#[cfg(test)]
mod tests;
