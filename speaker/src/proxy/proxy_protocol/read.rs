//! Reads a header from the first bytes of a connection.
//!
//! Always holds: nothing is kept between two looks, nothing is allocated, and an answer is never taken
//! back: it is the same for whatever follows in the stream, and for the same bytes in other pieces. Bytes
//! that cannot become a header are refused as soon as they are there. Addresses of IPv4 in IPv6 are IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, SIGNATURE};

/// The longest header of version 1, with its CR LF (2.1).
const MOST_V1: usize = 107;
/// What comes before the addresses of version 2: signature, version and command, family, length (2.2).
const FIXED_V2: usize = 16;
/// The longest rest of a header of version 2: addresses, and what senders add (certificate fields, names).
const MOST_REST: usize = 4096;
/// More than this is not looked at.
pub(in crate::proxy) const MOST: usize = FIXED_V2 + MOST_REST;

const V1: &[u8] = b"PROXY ";

/// `PP2_TYPE_CRC32C` (2.2.3).
const CRC32C: u8 = 0x03;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Verdict {
    /// The beginning of a header.
    NeedMore,
    /// A header of so many bytes. Without addresses the connection's own count: it says `LOCAL` or
    /// `UNKNOWN`, or speaks of something that is not TCP.
    Header(usize, Option<Addresses>),
    /// No header, or one that does not add up or is too long.
    Malformed,
}

/// Reads what there is.
pub(in crate::proxy) fn read(bytes: &[u8]) -> Verdict {
    match bytes.first() {
        None => Verdict::NeedMore,
        Some(b'P') => version_1(bytes),
        Some(b'\r') => version_2(bytes),
        Some(_) => Verdict::Malformed,
    }
}

/// Whether this may still become, or is, something that begins with `start`.
fn agrees(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 1024 443` and CR LF.
fn version_1(bytes: &[u8]) -> Verdict {
    let bytes = &bytes[..bytes.len().min(MOST_V1)];
    if !agrees(bytes, V1) {
        return Verdict::Malformed;
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        // Only what `UNKNOWN` is followed by is nobody's business.
        let could_be = bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r'));
        let over = bytes.len() == MOST_V1;
        return if could_be && !over { Verdict::NeedMore } else { Verdict::Malformed };
    };
    let line = bytes[..end].strip_suffix(b"\r").and_then(|line| std::str::from_utf8(line).ok());
    let Some(words) = line.and_then(|line| line.strip_prefix("PROXY ")) else {
        return Verdict::Malformed;
    };
    let addresses = match words.split_once(' ').unwrap_or((words, "")) {
        ("UNKNOWN", rest) if rest.bytes().all(|byte| matches!(byte, b' '..=b'~')) => Some(None),
        ("TCP4", rest) => line_addresses::<Ipv4Addr>(rest).map(Some),
        ("TCP6", rest) => line_addresses::<Ipv6Addr>(rest).map(Some),
        _ => None,
    };
    addresses.map_or(Verdict::Malformed, |addresses| Verdict::Header(end + 1, addresses))
}

/// Addresses, then ports, with one space between two (2.1).
fn line_addresses<A: FromStr + Into<IpAddr>>(text: &str) -> Option<Addresses> {
    let mut words = text.split(' ');
    let mut address = || Some(words.next()?.parse::<A>().ok()?.into().to_canonical());
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port);
    let (from, to) = (port()?, port()?);
    words.next().is_none().then(|| Addresses {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    })
}

/// 0 to 65535 without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

/// Signature, version and command, family and protocol, length of the rest; addresses, then TLVs.
fn version_2(bytes: &[u8]) -> Verdict {
    if !agrees(bytes, SIGNATURE) {
        return Verdict::Malformed;
    }
    let is_proxy = match bytes.get(12) {
        None => return Verdict::NeedMore,
        Some(0x20) => false,
        Some(0x21) => true,
        Some(_) => return Verdict::Malformed,
    };
    let family = match bytes.get(13) {
        None => return Verdict::NeedMore,
        // What is said beside LOCAL is to be passed over, whatever it is.
        Some(_) if !is_proxy => 0x00,
        Some(family) if family >> 4 <= 3 && family & 0xf <= 2 => *family,
        Some(_) => return Verdict::Malformed,
    };
    let Some(length) = bytes.get(14..FIXED_V2) else { return Verdict::NeedMore };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let addresses_length = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    if length > MOST_REST || length < addresses_length {
        return Verdict::Malformed;
    }
    let Some(header) = bytes.get(..FIXED_V2 + length) else { return Verdict::NeedMore };
    let (addresses, tlvs) = header[FIXED_V2..].split_at(addresses_length);
    // Without a family it is not said where TLVs begin; with LOCAL, not that there are any.
    if family >> 4 != 0 && !tlvs_add_up(header, tlvs) {
        return Verdict::Malformed;
    }
    let addresses = match family {
        0x11 => block_addresses::<4>(addresses),
        0x21 => block_addresses::<16>(addresses),
        _ => None,
    };
    Verdict::Header(header.len(), addresses)
}

/// Two addresses, two ports.
fn block_addresses<const N: usize>(block: &[u8]) -> Option<Addresses>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (from, rest) = rest.split_first_chunk()?;
    let (to, _) = rest.split_first_chunk()?;
    let end = |address: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new(IpAddr::from(*address).to_canonical(), u16::from_be_bytes(*port))
    };
    Some(Addresses { source: end(source, from), destination: end(destination, to) })
}

/// Whether the TLVs fill their place, and the checksum is right where there is one (2.2.3).
fn tlvs_add_up(header: &[u8], mut tlvs: &[u8]) -> bool {
    while let [kind, high, low, rest @ ..] = tlvs {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > rest.len() {
            return false;
        }
        let (value, next) = rest.split_at(length);
        if *kind == CRC32C {
            let at = header.len() - rest.len();
            let Ok(sum) = <[u8; 4]>::try_from(value) else { return false };
            if crc32c(header, at) != u32::from_be_bytes(sum) {
                return false;
            }
        }
        tlvs = next;
    }
    tlvs.is_empty()
}

/// The checksum of a header (RFC 9260 appendix A) whose own four bytes begin at `at` and count as zeros.
fn crc32c(header: &[u8], at: usize) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let own = at..at + 4;
    let bytes = header.iter().enumerate().map(|(place, byte)| match own.contains(&place) {
        true => 0,
        false => *byte,
    });
    !bytes.fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests;
