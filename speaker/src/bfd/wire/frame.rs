//! Frames as a packet socket has them: Ethernet, IPv4 without options, UDP.
//!
//! An echo packet is addressed to its own sender, and a frame takes it to the other side all the same.

use std::net::Ipv4Addr;

use vipgate_planner::MacAddr;

/// Where echo packets go (RFC 5881 section 4).
pub const ECHO_PORT: u16 = 3785;
/// The TTL of what has crossed no router.
pub const TTL: u8 = 255;
/// Bytes before what UDP carries.
pub const HEADERS: usize = PAYLOAD;

const IPV4: u16 = 0x0800;
const IP: usize = 14;
const UDP: usize = IP + 20;
const PAYLOAD: usize = UDP + 8;
/// Class selector 6, as of control packets.
const CLASS: u8 = 0xc0;
const DO_NOT_FRAGMENT: u16 = 0x4000;

/// The way between us and the other side, as its frames show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our station.
    pub ours: MacAddr,
    /// Theirs.
    pub theirs: MacAddr,
    /// Our address on the link.
    pub address: Ipv4Addr,
}

/// A frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The station it is for.
    pub to: MacAddr,
    /// The station it comes from.
    pub from: MacAddr,
    /// The address it comes from.
    pub source: Ipv4Addr,
    /// The address it is for.
    pub destination: Ipv4Addr,
    /// How many more routers it may cross.
    pub ttl: u8,
    /// The UDP port it is for.
    pub port: u16,
    /// What it carries.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Reads a frame; nothing if it is of another sort, a fragment, or not whole.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Frame<'_>> {
        let header: &[u8; PAYLOAD] = bytes.first_chunk()?;
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let mac = |at: usize| MacAddr([0, 1, 2, 3, 4, 5].map(|n| header[at + n]));
        let address = |at: usize| Ipv4Addr::from([0, 1, 2, 3].map(|n| header[at + n]));
        let sort = (half(12), header[IP], header[IP + 9], half(IP + 6) & !DO_NOT_FRAGMENT);
        if sort != (IPV4, 0x45, 17, 0) || sum(&header[IP..UDP]) != 0xffff {
            return None;
        }
        let (whole, udp) = (usize::from(half(IP + 2)), usize::from(half(UDP + 4)));
        // A short frame is filled up.
        if whole != 20 + udp || udp < 8 || bytes.len() < IP + whole {
            return None;
        }
        Some(Frame {
            to: mac(0),
            from: mac(6),
            source: address(IP + 12),
            destination: address(IP + 16),
            ttl: header[IP + 8],
            port: half(UDP + 2),
            payload: &bytes[PAYLOAD..IP + whole],
        })
    }
}

/// An echo packet on its way to the other side. Both addresses are ours: the router's reverse path filter lets
/// only such a source pass.
#[must_use]
pub fn echo<const N: usize>(path: &Path, payload: &[u8; N]) -> Vec<u8> {
    let length =
        |bytes: usize| u16::try_from(bytes).expect("an echo packet is short").to_be_bytes();
    let mut frame = Vec::with_capacity(PAYLOAD + N);
    frame.extend(path.theirs.0);
    frame.extend(path.ours.0);
    frame.extend(IPV4.to_be_bytes());
    frame.extend([0x45, CLASS]);
    frame.extend(length(20 + 8 + N));
    frame.extend([0, 0]);
    frame.extend(DO_NOT_FRAGMENT.to_be_bytes());
    frame.extend([TTL, 17, 0, 0]);
    frame.extend(path.address.octets());
    frame.extend(path.address.octets());
    set_checksum(&mut frame);
    frame.extend(ECHO_PORT.to_be_bytes());
    frame.extend(ECHO_PORT.to_be_bytes());
    frame.extend(length(8 + N));
    // No checksum, as RFC 768 allows: the tag in the payload is a better one.
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// Makes of a frame that was read the one that takes it back where it came from, as a router that forwards it
/// would.
pub fn turn_round(frame: &mut [u8]) {
    let (to, rest) = frame.split_at_mut(6);
    to.swap_with_slice(&mut rest[..6]);
    frame[IP + 8] = frame[IP + 8].saturating_sub(1);
    set_checksum(frame);
}

fn set_checksum(frame: &mut [u8]) {
    frame[IP + 10..IP + 12].fill(0);
    let checksum = !sum(&frame[IP..UDP]);
    frame[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// The sum in one's complement of RFC 1071.
fn sum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).expect("twice folded")
}
