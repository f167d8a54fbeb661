//! UPDATEs as we send them (RFC 4271 section 4.3, RFC 4760, RFC 8950).
//!
//! zettabgp composes them, from lists that are cut here to what a message holds: it panics when
//! its buffer ends. Three attributes are given to it as bytes: AS_PATH, whose segment types it
//! swaps, AS4_PATH, which it does not have, and large communities, which it marks as partial.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;
use zettabgp::message::update::BgpUpdateMessage;
use zettabgp::prelude::{
    BgpAddr, BgpAddrV4, BgpAddrV6, BgpAddrs, BgpAttrItem, BgpAttrOrigin, BgpAttrUnknown,
    BgpCommunity, BgpCommunityList, BgpLocalpref, BgpMPUpdates, BgpMPWithdraws, BgpMessage,
    BgpNextHop, BgpOrigin, BgpSessionParams, BgpTransportMode,
};

use super::frame::{self, HEADER, Kind, LONGEST};
use super::{AS_TRANS, Family};

/// A community (RFC 1997), its two halves in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity(pub [u32; 3]);

/// Routers are to prefer other paths: this one is about to go away (RFC 8326).
pub const GRACEFUL_SHUTDOWN: Community = Community(0xffff_0000);

/// What we say of a prefix, apart from whom we say it to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// For peers of our own AS only; 100 when not given.
    pub local_pref: Option<u32>,
    /// Communities.
    pub communities: BTreeSet<Community>,
    /// Large communities.
    pub large_communities: BTreeSet<LargeCommunity>,
}

/// The addresses of this node that a peer is to send traffic to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHops {
    /// For IPv4 prefixes.
    pub ipv4: Option<Ipv4Addr>,
    /// For IPv6 prefixes, and for IPv4 ones where that is negotiated and there is no other.
    pub ipv6: Option<Ipv6Addr>,
}

/// How a session writes routes; fixed when it is established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Our AS number.
    pub asn: u32,
    /// The peer is of the same AS.
    pub internal: bool,
    /// The peer reads AS numbers of four bytes.
    pub as4: bool,
    /// The peer takes IPv6 next hops for IPv4 prefixes.
    pub extended_next_hop: bool,
    /// Where to send traffic.
    pub next_hops: NextHops,
}

/// The attributes leave no room for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{communities} communities do not fit into one BGP message: take some off the BGPAdvertisements"
)]
pub struct TooLong {
    /// How many there are of both kinds.
    pub communities: usize,
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [administrator, one, two] = self.0;
        write!(f, "{administrator}:{one}:{two}")
    }
}

impl Encoding {
    /// The next hop for prefixes of this family, if there is one the peer would take.
    #[must_use]
    pub fn next_hop(&self, family: Family) -> Option<IpAddr> {
        let NextHops { ipv4, ipv6 } = self.next_hops;
        match family {
            Family::Ipv4 => ipv4
                .map(IpAddr::from)
                .or_else(|| ipv6.map(IpAddr::from).filter(|_| self.extended_next_hop)),
            Family::Ipv6 => ipv6.map(IpAddr::from),
        }
    }

    /// Our AS, before the path, which is empty; nothing between peers of one AS.
    fn as_paths(&self) -> Vec<BgpAttrItem> {
        const SEQUENCE: u8 = 2;
        let long = [[SEQUENCE, 1].as_slice(), &self.asn.to_be_bytes()].concat();
        let short = |asn: u16| [[SEQUENCE, 1].as_slice(), &asn.to_be_bytes()].concat();
        if self.internal {
            return vec![attribute(2, TRANSITIVE, vec![])];
        }
        if self.as4 {
            return vec![attribute(2, TRANSITIVE, long)];
        }
        match u16::try_from(self.asn) {
            Ok(asn) => vec![attribute(2, TRANSITIVE, short(asn))],
            Err(_) => vec![
                attribute(2, TRANSITIVE, short(AS_TRANS)),
                attribute(17, OPTIONAL | TRANSITIVE, long),
            ],
        }
    }

    fn attributes(&self, path: &Path) -> Vec<BgpAttrItem> {
        let mut attributes = vec![BgpAttrItem::Origin(BgpOrigin::new(BgpAttrOrigin::Igp))];
        attributes.extend(self.as_paths());
        if self.internal {
            let value = path.local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
            attributes.push(BgpAttrItem::LocalPref(BgpLocalpref::new(value)));
        }
        if !path.communities.is_empty() {
            let list = path.communities.iter().map(|one| BgpCommunity::new(one.0)).collect();
            attributes.push(BgpAttrItem::CommunityList(BgpCommunityList::from_vec(list)));
        }
        if !path.large_communities.is_empty() {
            let numbers = path.large_communities.iter().flat_map(|one| one.0);
            let value = numbers.flat_map(u32::to_be_bytes).collect();
            attributes.push(attribute(32, OPTIONAL | TRANSITIVE | EXTENDED_LENGTH, value));
        }
        attributes
    }
}

/// What routers assume where no other is given.
const DEFAULT_LOCAL_PREF: u32 = 100;
const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;
/// More than a list of 4,096 bytes and all around it takes.
const SCRATCH: usize = 3 * LONGEST;

fn attribute(kind: u8, flags: u8, value: Vec<u8>) -> BgpAttrItem {
    let mut attribute = BgpAttrUnknown::new(kind, flags);
    attribute.value = value;
    BgpAttrItem::Unknown(attribute)
}

/// Messages that announce these prefixes of one family with one path: as few as can be.
///
/// Prefixes without a next hop the peer would take (see [`Encoding::next_hop`]) give none.
///
/// # Errors
/// When the attributes leave no room for a prefix.
pub fn announce(
    encoding: &Encoding,
    path: &Path,
    family: Family,
    prefixes: &[IpNet],
) -> Result<Vec<Vec<u8>>, TooLong> {
    let Some(next_hop) = encoding.next_hop(family) else { return Ok(Vec::new()) };
    let too_long = TooLong { communities: path.communities.len() + path.large_communities.len() };
    // 20 bytes each at most, and what is no community takes less than 100.
    if too_long.communities > LONGEST / 4 {
        return Err(too_long);
    }
    let attributes = encoding.attributes(path);
    let compose = |prefixes: &[IpNet]| match (family, next_hop) {
        (Family::Ipv4, IpAddr::V4(_)) => {
            let mut attributes = attributes.clone();
            attributes.push(BgpAttrItem::NextHop(BgpNextHop::new(next_hop)));
            body(list(Family::Ipv4, prefixes), BgpAddrs::None, attributes)
        }
        (family, next_hop) => {
            let nexthop = match next_hop {
                IpAddr::V4(address) => BgpAddr::V4(address),
                IpAddr::V6(address) => BgpAddr::V6(address),
            };
            // First, as RFC 7606 section 5.1 asks.
            let reach = BgpMPUpdates { nexthop, addrs: list(family, prefixes) };
            let mut attributes = attributes.clone();
            attributes.insert(0, BgpAttrItem::MPUpdates(reach));
            body(BgpAddrs::None, BgpAddrs::None, attributes)
        }
    };
    let around = compose(&[]).len();
    let room = (LONGEST - HEADER).checked_sub(around).ok_or(too_long)?;
    let chunks = chunks(prefixes, room).ok_or(too_long)?;
    Ok(chunks.map(|chunk| frame::message(Kind::Update, &compose(chunk))).collect())
}

/// Messages that withdraw these prefixes of one family: as few as can be.
#[must_use]
pub fn withdraw(family: Family, prefixes: &[IpNet]) -> Vec<Vec<u8>> {
    let compose = |prefixes: &[IpNet]| match family {
        Family::Ipv4 => body(BgpAddrs::None, list(family, prefixes), vec![]),
        Family::Ipv6 => {
            let unreach = BgpMPWithdraws::new(list(family, prefixes));
            body(BgpAddrs::None, BgpAddrs::None, vec![BgpAttrItem::MPWithdraws(unreach)])
        }
    };
    let room = LONGEST - HEADER - compose(&[]).len();
    let chunks = chunks(prefixes, room).expect("a message holds more than a hundred prefixes");
    chunks.map(|chunk| frame::message(Kind::Update, &compose(chunk))).collect()
}

/// The message that says: this was all (RFC 4724 section 2).
#[must_use]
pub fn end_of_rib(family: Family) -> Vec<u8> {
    let attributes = match family {
        Family::Ipv4 => vec![],
        Family::Ipv6 => {
            let nothing = list(Family::Ipv6, &[]);
            vec![BgpAttrItem::MPWithdraws(BgpMPWithdraws::new(nothing))]
        }
    };
    frame::message(Kind::Update, &body(BgpAddrs::None, BgpAddrs::None, attributes))
}

/// Cuts the list into pieces that take at most `room` bytes each; nothing if none would fit.
fn chunks(prefixes: &[IpNet], room: usize) -> Option<impl Iterator<Item = &[IpNet]>> {
    let longest = prefixes.iter().map(size).max().unwrap_or(1);
    let per_message = room / longest;
    (per_message > 0).then(|| prefixes.chunks(per_message))
}

/// The bytes a prefix takes.
fn size(prefix: &IpNet) -> usize {
    1 + usize::from(prefix.prefix_len().div_ceil(8))
}

fn list(family: Family, prefixes: &[IpNet]) -> BgpAddrs {
    match family {
        Family::Ipv4 => BgpAddrs::IPV4U(prefixes.iter().filter_map(ipv4).collect()),
        Family::Ipv6 => BgpAddrs::IPV6U(prefixes.iter().filter_map(ipv6).collect()),
    }
}

fn ipv4(prefix: &IpNet) -> Option<BgpAddrV4> {
    match prefix.trunc() {
        IpNet::V4(net) => Some(BgpAddrV4::new(net.addr(), net.prefix_len())),
        IpNet::V6(_) => None,
    }
}

fn ipv6(prefix: &IpNet) -> Option<BgpAddrV6> {
    match prefix.trunc() {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some(BgpAddrV6::new(net.addr(), net.prefix_len())),
    }
}

/// The body of an UPDATE, by zettabgp, in a buffer with room to spare.
fn body(updates: BgpAddrs, withdraws: BgpAddrs, attrs: Vec<BgpAttrItem>) -> Vec<u8> {
    // The transport mode says of which family the plain lists are, not what carries the session.
    let mode = BgpTransportMode::IPv4;
    let mut params = BgpSessionParams::new(0, 0, mode, Ipv4Addr::UNSPECIFIED, vec![]);
    params.fuzzy_pathid = false;
    let update = BgpUpdateMessage { updates, withdraws, attrs };
    let mut buffer = vec![0; SCRATCH];
    let length = update.encode_to(&params, &mut buffer).expect("the lists are bounded");
    buffer.truncate(length);
    buffer
}
