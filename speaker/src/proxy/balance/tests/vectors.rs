//! Values that all versions have to agree on, worked out by another implementation of XXH3 (that of its
//! author, by way of its Python binding) from the description in [`hash`](super::super::hash). A change that
//! makes one of these fail has nodes of two versions send a client to two places.

use std::net::SocketAddr;

use vipgate_planner::Balancing;
use xxhash_rust::xxh3::xxh3_64;

use super::super::hash::{Client, EndpointKey, ShareKey};
use super::super::maglev::Maglev;
use super::{Fake, balancer, pick};

const ENDPOINTS: [&str; 5] =
    ["10.244.1.5:8080", "10.244.1.6:8080", "10.244.2.5:8080", "10.244.2.5:8081", "[fd00::5]:8080"];

/// Two of one name, and one that gets nothing.
const SHARES: [(&str, u64, u32); 4] = [
    ("Service default/a:80", 0, 3),
    ("Service default/b:80", 0, 1),
    ("Service default/b:80", 1, 1),
    ("Backend default/c", 0, 0),
];

const SCORES: [(&str, [u64; 5]); 3] = [
    (
        "192.0.2.1",
        [
            0x863a_26a9_31d2_787f,
            0x415c_cf37_c120_cc0f,
            0x79cc_8117_3cc8_d296,
            0xec16_2c7b_2d61_eaec,
            0x411e_fc55_e89f_adba,
        ],
    ),
    (
        "192.0.2.2",
        [
            0x92fd_e699_ef29_69e1,
            0x20b1_b245_9c57_4aef,
            0x953b_dfe3_d777_f79c,
            0xc8fe_01da_c502_5c27,
            0x1dde_ff28_822a_4759,
        ],
    ),
    (
        "2001:db8::1",
        [
            0x6040_8d28_bb92_aa56,
            0x251b_1901_2f76_7581,
            0xeb56_3a7a_c2e7_7623,
            0x550b_7314_e333_edab,
            0xd87e_4bf8_9319_d190,
        ],
    ),
];

/// Client; endpoint by source hash, and by Maglev; share.
const PICKS: [(&str, usize, usize, usize); 8] = [
    ("192.0.2.1", 3, 3, 0),
    ("192.0.2.2", 3, 3, 2),
    ("198.51.100.77", 4, 3, 1),
    ("203.0.113.255", 4, 3, 2),
    ("10.0.0.1", 1, 0, 0),
    ("2001:db8::1", 2, 3, 1),
    ("2001:db8::2", 1, 0, 0),
    ("fe80::1", 1, 4, 0),
];

/// Of the slots of the Maglev table, two bytes each, the high one first.
const TABLE: u64 = 0xf358_2fc6_7b15_b0b6;

fn client(address: &str) -> Client {
    Client::of(address.parse().unwrap())
}

fn endpoints() -> Vec<SocketAddr> {
    ENDPOINTS.iter().map(|address| address.parse().unwrap()).collect()
}

#[test]
fn scores() {
    for (address, scores) in SCORES {
        let ours = endpoints().into_iter().map(|e| client(address).score(&EndpointKey::of(e)));
        assert_eq!(ours.collect::<Vec<_>>(), scores, "{address}");
    }
}

#[test]
fn picks() {
    let (hash, maglev) =
        (balancer(Balancing::SourceHash, &endpoints()), balancer(Balancing::Maglev, &endpoints()));
    let all = Fake::good(ENDPOINTS.len());
    for (address, by_hash, by_maglev, share) in PICKS {
        let client = client(address);
        assert_eq!(pick(&hash, &client, &all), Some(by_hash), "{address}");
        assert_eq!(pick(&maglev, &client, &all), Some(by_maglev), "{address}");
        let shares = SHARES.map(|(name, nth, weight)| (ShareKey::of(name, nth), weight));
        assert_eq!(client.share(shares.into_iter()), Some(share), "{address}");
    }
}

#[test]
fn table() {
    let slots = Maglev::new(&endpoints());
    let bytes: Vec<u8> =
        slots.slots().flat_map(|place| u16::try_from(place).unwrap().to_be_bytes()).collect();
    assert_eq!(xxh3_64(&bytes), TABLE);
}
