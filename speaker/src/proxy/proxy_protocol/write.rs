//! What a backend is told of a client, before the client's first byte.

use std::net::{IpAddr, Ipv6Addr};

use vipgate_planner::ProxyVersion;

use super::{Addresses, SIGNATURE};

/// Version 2, command PROXY.
const V2_PROXY: u8 = 0x21;
/// The same, command LOCAL: a connection of the proxy's own.
const V2_LOCAL: u8 = 0x20;
/// Neither a family nor, with LOCAL, anything else.
const NOTHING: [u8; 3] = [0; 3];
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// `PP2_TYPE_*`: what TLS agreed on (RFC 7301), the server name (RFC 6066), and TLS itself.
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;
/// `PP2_SUBTYPE_SSL_VERSION`.
const SSL_VERSION: u8 = 0x21;
/// `PP2_CLIENT_SSL`: the client speaks TLS to us.
const CLIENT_SSL: u8 = 0x01;
/// Of a certificate of the client nothing is said; 0 would mean that there is one, and that it is right.
const NO_CERTIFICATE: [u8; 4] = [0, 0, 0, 1];
/// A name of RFC 1035 has less than 256 bytes, ALPN at most 255 (RFC 7301): longer is nothing that is passed on.
const LONGEST: usize = 255;

/// What is known besides; said by version 2 alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Known<'a> {
    /// The name that the client asked for.
    pub(in crate::proxy) authority: Option<&'a str>,
    /// The protocol inside TLS that was agreed on.
    pub(in crate::proxy) alpn: Option<&'a [u8]>,
    /// The version of TLS, where that ended here, such as `TLSv1.3`.
    pub(in crate::proxy) tls: Option<&'static str>,
}

/// The header. Of two families, that of IPv4 is written as IPv6 (`::ffff:a.b.c.d`). At most 107 bytes in
/// version 1, less than 650 in version 2.
pub(in crate::proxy) fn header(
    version: ProxyVersion,
    addresses: &Addresses,
    known: &Known<'_>,
) -> Vec<u8> {
    let Addresses { source, destination } = *addresses;
    match version {
        ProxyVersion::V1 => {
            let (family, from, at) = match (source.ip(), destination.ip()) {
                (from @ IpAddr::V4(_), at @ IpAddr::V4(_)) => ("TCP4", from, at),
                (from, at) => ("TCP6", IpAddr::V6(wide(from)), IpAddr::V6(wide(at))),
            };
            let (from_port, at_port) = (source.port(), destination.port());
            format!("PROXY {family} {from} {at} {from_port} {at_port}\r\n").into_bytes()
        }
        ProxyVersion::V2 => {
            let mut body = Vec::with_capacity(128);
            let family = match (source.ip(), destination.ip()) {
                (IpAddr::V4(from), IpAddr::V4(at)) => {
                    body.extend(from.octets());
                    body.extend(at.octets());
                    TCP_OVER_IPV4
                }
                (from, at) => {
                    body.extend(wide(from).octets());
                    body.extend(wide(at).octets());
                    TCP_OVER_IPV6
                }
            };
            body.extend(source.port().to_be_bytes());
            body.extend(destination.port().to_be_bytes());
            if let Some(alpn) = known.alpn {
                say(&mut body, ALPN, alpn);
            }
            if let Some(authority) = known.authority {
                say(&mut body, AUTHORITY, authority.as_bytes());
            }
            if let Some(version) = known.tls {
                let mut tls = vec![CLIENT_SSL];
                tls.extend(NO_CERTIFICATE);
                say(&mut tls, SSL_VERSION, version.as_bytes());
                say(&mut body, SSL, &tls);
            }
            let mut header = SIGNATURE.to_vec();
            header.extend([V2_PROXY, family]);
            header.extend(length(&body));
            header.extend(body);
            header
        }
    }
}

/// The header of a connection that is of no client.
pub(in crate::proxy) fn own(version: ProxyVersion) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        ProxyVersion::V2 => [&SIGNATURE[..], &[V2_LOCAL], &NOTHING].concat(),
    }
}

/// Appends a type, a length and a value.
fn say(body: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if value.len() <= LONGEST {
        body.push(kind);
        body.extend(length(value));
        body.extend(value);
    }
}

fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).expect("three values of at most 255 bytes").to_be_bytes()
}

fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(source: &str, destination: &str) -> Addresses {
        Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v1(source: &str, destination: &str) -> String {
        let known = Known { authority: Some("a.example"), ..Known::default() };
        String::from_utf8(header(ProxyVersion::V1, &addresses(source, destination), &known))
            .unwrap()
    }

    #[test]
    fn version_one_is_a_line() {
        assert_eq!(
            v1("192.0.2.1:5000", "198.51.100.7:443"),
            "PROXY TCP4 192.0.2.1 198.51.100.7 5000 443\r\n"
        );
        assert_eq!(
            v1("[2001:db8::1]:1", "[2001:db8::2]:2"),
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"
        );
        assert_eq!(
            v1("192.0.2.1:5000", "[2001:db8::2]:443"),
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 5000 443\r\n"
        );
        let longest = format!("[{}]:65535", ["ffff"; 8].join(":"));
        assert!(v1(&longest, &longest).len() <= 107);
    }

    #[test]
    fn version_two_is_binary() {
        let plain = header(
            ProxyVersion::V2,
            &addresses("192.0.2.1:5000", "198.51.100.7:443"),
            &Known::default(),
        );
        let expected = [
            &SIGNATURE[..],
            &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7, 0x13, 0x88, 0x01, 0xbb],
        ];
        assert_eq!(plain, expected.concat());
        let mixed = header(
            ProxyVersion::V2,
            &addresses("[2001:db8::1]:1", "198.51.100.7:2"),
            &Known::default(),
        );
        assert_eq!(mixed[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(mixed[42..48], [0xff, 0xff, 198, 51, 100, 7]);
        assert_eq!(mixed[48..], [0, 1, 0, 2]);
    }

    #[test]
    fn version_two_says_what_tls_said() {
        let addresses = addresses("192.0.2.1:5000", "198.51.100.7:443");
        let known = Known { authority: Some("a.example"), alpn: Some(b"h2"), tls: Some("TLSv1.3") };
        let header = header(ProxyVersion::V2, &addresses, &known);
        let expected = [
            &[1, 0, 2][..],
            b"h2",
            &[2, 0, 9],
            b"a.example",
            &[0x20, 0, 15, 1, 0, 0, 0, 1, 0x21, 0, 7],
            b"TLSv1.3",
        ];
        let expected = expected.concat();
        assert_eq!(header[28..], expected);
        assert_eq!(header[14..16], u16::try_from(12 + expected.len()).unwrap().to_be_bytes());
    }

    #[test]
    fn what_is_too_long_for_a_name_is_left_out() {
        let addresses = addresses("192.0.2.1:5000", "198.51.100.7:443");
        let name = "a".repeat(70_000);
        let known = Known { authority: Some(&name), ..Known::default() };
        assert_eq!(header(ProxyVersion::V2, &addresses, &known).len(), 28);
    }
}
