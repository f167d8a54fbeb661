//! Headers as senders write them, as nobody should, and in pieces; the corpus is in `corpus/README.md`.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use proptest::prelude::*;

use vipgate_planner::ProxyVersion;

use super::{Addresses, MOST, Verdict, crc32c, read};
use crate::proxy::proxy_protocol::write::{self, Known};

/// The files of a folder of the corpus: name without the ending, content.
fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "src/proxy/proxy_protocol/corpus", folder].iter().collect();
    let files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
        })
        .collect();
    assert!(files.len() > 10, "{folder} of the corpus is not there");
    files
}

/// Asserts that no answer is taken back as more comes, and returns the last.
#[track_caller]
fn in_every_prefix(bytes: &[u8]) -> Verdict {
    let verdict = read(bytes);
    for end in 0..bytes.len() {
        let early = read(&bytes[..end]);
        assert!(
            early == Verdict::NeedMore || early == verdict,
            "{early:?} after {end} of {} bytes, then {verdict:?}",
            bytes.len()
        );
    }
    verdict
}

#[test]
fn good_ones_are_read_when_they_are_whole_and_not_before() {
    for (name, bytes) in corpus("good") {
        let Verdict::Header(length, addresses) = in_every_prefix(&bytes) else {
            panic!("{name}: {:?}", read(&bytes));
        };
        assert_eq!(length, bytes.len(), "{name}");
        assert_eq!(read(&bytes[..length - 1]), Verdict::NeedMore, "{name}");
        let source = name.split_once('@').unwrap().1;
        let expected = (source != "own").then(|| source.parse::<SocketAddr>().unwrap());
        assert_eq!(addresses.map(|addresses| addresses.source), expected, "{name}");
        for behind in [&b"\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 5000], &bytes] {
            let more = [&bytes, behind].concat();
            assert_eq!(read(&more), Verdict::Header(length, addresses), "{name}");
        }
    }
}

#[test]
fn bad_ones_are_refused() {
    for (name, bytes) in corpus("bad") {
        assert_eq!(in_every_prefix(&bytes), Verdict::Malformed, "{name}");
    }
}

/// What is no header is known by its first byte that is none: nobody waits for the rest.
#[test]
fn what_cannot_become_a_header_is_refused_at_once() {
    for bytes in
        [&b"G"[..], b"\x16", b"PROXX", b"PROXY\t", b"PROXY TCP4 \x01", b"\r\n\r\n\0\r\nQUIT\r"]
    {
        assert_eq!(read(bytes), Verdict::Malformed, "{bytes:?}");
        assert_eq!(read(&bytes[..bytes.len() - 1]), Verdict::NeedMore, "{bytes:?}");
    }
}

/// Every byte of every file, changed in every bit and to some bytes that mean something.
#[test]
fn changed_bytes_do_no_harm() {
    let mut headers = 0;
    for (_, bytes) in corpus("good").into_iter().chain(corpus("bad")) {
        // The long ones are long by what nobody looks into.
        for place in 0..bytes.len().min(160) {
            let flipped = (0..8).map(|bit| bytes[place] ^ (1 << bit));
            for byte in flipped.chain(*b"\0\r\n 09:.\xff") {
                let mut changed = bytes.clone();
                changed[place] = byte;
                if let Verdict::Header(length, _) = in_every_prefix(&changed) {
                    assert!(length <= changed.len());
                    headers += 1;
                }
            }
        }
    }
    assert!(headers > 1000, "only {headers} were headers still");
}

#[test]
fn a_checksum_covers_every_byte() {
    let mut check = b"123456789".to_vec();
    check.extend([0; 4]);
    // The check value of CRC-32C is of the nine digits; with four zeros behind them, this.
    assert_eq!(crc32c(b"123456789", 100), 0xe306_9283);
    assert_eq!(crc32c(&check, 9), crc32c(&[&b"123456789"[..], b"\xff\xff\xff\xff"].concat(), 9));
    let summed = corpus("good").into_iter().filter(|(name, _)| name.contains("crc32c"));
    for (name, bytes) in summed {
        for place in 16..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let verdict = read(&changed);
            // The type of a TLV may become another one, which nobody checks.
            let is_type = changed[place] == 2;
            assert!(verdict == Verdict::Malformed || is_type, "{name}: byte {place}");
        }
    }
}

/// As a sender would write it.
fn version_1(addresses: &Addresses) -> Vec<u8> {
    let Addresses { source, destination } = addresses;
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.port(), destination.port());
    format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), destination.ip()).into_bytes()
}

/// As a sender would write it, with these TLVs.
fn version_2(addresses: &Addresses, tlvs: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let ends = [addresses.source, addresses.destination];
    let mut rest = Vec::new();
    for end in ends {
        match end.ip() {
            IpAddr::V4(ip) => rest.extend(ip.octets()),
            IpAddr::V6(ip) => rest.extend(ip.octets()),
        }
    }
    rest.extend(ends.iter().flat_map(|end| end.port().to_be_bytes()));
    for (kind, value) in tlvs {
        rest.push(*kind);
        rest.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        rest.extend(value);
    }
    let family = if ends[0].is_ipv4() { 0x11 } else { 0x21 };
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, family], &length, &rest].concat()
}

fn addresses() -> impl Strategy<Value = Addresses> {
    let four = any::<[([u8; 4], u16); 2]>().prop_map(|ends| ends.map(SocketAddr::from));
    // No IPv4 in IPv6: that is read as what it is.
    let six = any::<[([u16; 8], u16); 2]>().prop_map(|ends| {
        ends.map(|(mut words, port)| {
            words[0] |= 0x2000;
            SocketAddr::from((words, port))
        })
    });
    prop_oneof![four, six].prop_map(|[source, destination]| Addresses { source, destination })
}

/// Two ends, of which one may be of IPv4 and the other not.
fn mixed_addresses() -> impl Strategy<Value = Addresses> {
    (addresses(), addresses()).prop_map(|(one, other)| Addresses { source: one.source, ..other })
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        addresses in addresses(),
        tlvs in prop::collection::vec((4_u8.., prop::collection::vec(any::<u8>(), 0..99)), 0..9),
        behind in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for header in [version_1(&addresses), version_2(&addresses, &tlvs)] {
            let expected = Verdict::Header(header.len(), Some(addresses));
            let stream = [&header[..], &behind].concat();
            prop_assert_eq!(read(&stream), expected);
            for end in 0..header.len() {
                prop_assert_eq!(read(&header[..end]), Verdict::NeedMore);
            }
        }
    }

    #[test]
    fn what_we_write_we_read(
        addresses in mixed_addresses(),
        authority in prop::option::of("[a-z.]{0,300}"),
        alpn in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
        tls in prop::option::of(Just("TLSv1.3")),
    ) {
        let known = Known { authority: authority.as_deref(), alpn: alpn.as_deref(), tls };
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let header = write::header(version, &addresses, &known);
            prop_assert_eq!(read(&header), Verdict::Header(header.len(), Some(addresses)));
            let own = write::own(version);
            prop_assert_eq!(read(&own), Verdict::Header(own.len(), None));
        }
    }

    #[test]
    fn any_bytes_are_bounded(
        start in prop_oneof![
            Just(Vec::new()), Just(b"PROXY TCP".to_vec()), Just(b"\r\n\r\n\0\r\nQUIT\n".to_vec()),
        ],
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = [start, rest].concat();
        in_every_prefix(&bytes);
        bytes.resize(MOST, b' ');
        prop_assert_ne!(read(&bytes), Verdict::NeedMore, "nobody waits for more than {} bytes", MOST);
    }
}
