//! The tables `ip vipgate` and `ip6 vipgate`: on a VIP only what is served there reaches the host.
//!
//! A VIP is an address of this host, so without a guard each daemon that listens on all addresses
//! would answer on it. And whoever rewrites destinations on this host (kube-proxy, Docker) may do
//! so with those of a VIP that a listener serves.
//!
//! ```text
//! table ip vipgate {
//!     set vips { type ipv4_addr; }
//!     set open { type ipv4_addr . inet_proto . inet_service; }     served at the port itself
//!     set inner { type ipv4_addr . inet_proto . inet_service; }    served for another port
//!     set control { type icmp_type; elements = { echo-request, ... } }
//!     map own { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
//!     chain guard { type filter hook input priority 110; policy accept;
//!         ip daddr != @vips accept
//!         ct direction reply accept
//!         ct status dnat ip daddr . meta l4proto . th dport @inner accept
//!         ip daddr . meta l4proto . th dport @open accept
//!         icmp type @control accept
//!         meta l4proto tcp reject with tcp reset
//!         reject with icmp port-unreachable
//!     }
//!     chain pre { type nat hook prerouting priority dstnat - 1; policy accept;
//!         fib daddr type local dnat ip to ip daddr . meta l4proto . th dport map @own
//!     }
//!     chain from-here { type nat hook output priority -101; ... the same }
//! }
//! ```
//!
//! # The guard
//! Its place is behind all others that may take a packet (IPVS has 98 and 99): what they take is
//! not for a socket of this host. What kube-proxy leads elsewhere does not come to the input hook
//! at all. "Accept" decides for this chain only: a firewall may still drop.
//!
//! Replies pass: a connection from this host to a VIP has the VIP as its source, too, and where
//! kube-proxy leads it elsewhere its answers come from there. ICMP passes as far as hosts need it:
//! echo, and errors about what the host sent; by IPv6 also what neighbours ask, which a packet
//! socket answers, and fragments but the first, which are of no use without that.
//!
//! # The maps
//! Each port of a listener is "rewritten" to where it is served: mostly to itself, which changes
//! nothing but that the connection has its destination, so that no later rule gives it another. Where a
//! socket of somebody else has the port on all addresses, ours listens on another one, `inner`,
//! which can be reached in no other way. The address must be here: after a crash the table stays,
//! and connections from this host to a VIP that moved away must not be changed.
//!
//! Rewriting needs connection tracking of all that passes this host. It is left out where nobody else
//! rewrites and no port is redirected; then what does not begin a connection passes on `lo`, and so does
//! what comes from a port that is served: nobody but we can send from there, and datagrams do not say
//! what they begin.
//!
//! # The chain `preserve`
//! Is beside these where connections to endpoints come from clients' addresses ([`preserve`]). What endpoints
//! answer has a client's address as its destination, so the guard lets it pass.

use std::net::IpAddr;

use vipgate_api::vipgate::Transport;

use super::expression::Expression::{
    Accept, And, Ct as LoadCt, DestinationNat, Equal, InSet, KindOfDestination, LaterFragment,
    Mapped, Meta as LoadMeta, NotEqual, NotInSet, Payload, Reject,
};
use super::expression::{Ct, Field, Header, Meta, Refusal, Register, Rule};
use super::preserve;
use super::ruleset::{Chain, ChainKind, Content, Elements, Family, Hook, Set, Table, Type};
use crate::host::Exposures;

const VIPS: &str = "vips";
const OPEN: &str = "open";
const INNER: &str = "inner";
const CONTROL: &str = "control";
const OWN: &str = "own";

/// Behind IPVS, and all filters.
const GUARD_PRIORITY: i32 = 110;
/// `dstnat`, which kube-proxy and Docker have, less one.
const NAT_PRIORITY: i32 = -101;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const TCP_FLAGS: Field = Field { header: Header::Transport, offset: 13, len: 1 };
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const SOURCE_PORT: Field = Field { header: Header::Transport, offset: 0, len: 2 };
const DESTINATION_PORT: Field = Field { header: Header::Transport, offset: 2, len: 2 };
const ICMP_TYPE: Field = Field { header: Header::Transport, offset: 0, len: 1 };
/// `IP_CT_DIR_REPLY`.
const REPLY: u8 = 1;
/// `IPS_DST_NAT`: the destination was changed. To be given itself is no change.
const REWRITTEN: u32 = 1 << 5;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;

/// What differs between the families.
struct Version {
    family: Family,
    source: Field,
    destination: Field,
    vip: &'static [Type],
    port: &'static [Type],
    place: &'static [Type],
    /// The number of its ICMP in the IP header, and how `nft` calls its types.
    icmp: (u8, &'static [Type]),
    /// ICMP types that pass.
    control: &'static [u8],
    /// The code of "port unreachable".
    unreachable: u8,
    /// Words that an address takes in registers.
    words: u32,
}

const fn ip_field(offset: u32, len: u32) -> Field {
    Field { header: Header::Network, offset, len }
}

const V4: Version = Version {
    family: Family::Ip,
    source: ip_field(12, 4),
    destination: ip_field(16, 4),
    vip: &[Type::Ipv4],
    port: &[Type::Ipv4, Type::Protocol, Type::Port],
    place: &[Type::Ipv4, Type::Port],
    icmp: (1, &[Type::Icmp]),
    // Echo reply and request, destination unreachable, time exceeded, parameter problem.
    control: &[0, 8, 3, 11, 12],
    unreachable: 3,
    words: 1,
};

const V6: Version = Version {
    family: Family::Ip6,
    source: ip_field(8, 16),
    destination: ip_field(24, 16),
    vip: &[Type::Ipv6],
    port: &[Type::Ipv6, Type::Protocol, Type::Port],
    place: &[Type::Ipv6, Type::Port],
    icmp: (58, &[Type::Icmp6]),
    // Unreachable, too big, time exceeded, parameter problem, echo, neighbour discovery.
    control: &[1, 2, 3, 4, 128, 129, 133, 134, 135, 136, 137],
    unreachable: 4,
    words: 4,
};

/// What the two tables hold for these VIPs; `tracked` is whether connections are, `preserving` whether the
/// chain of [`preserve`] is among it.
pub(super) fn contents(exposures: &Exposures, tracked: bool, preserving: bool) -> [Content; 2] {
    [V4, V6].map(|version| {
        let mut content = version.content(exposures, tracked);
        content.chains.extend(preserving.then(preserve::chain));
        content
    })
}

impl Version {
    fn content(&self, exposures: &Exposures, tracked: bool) -> Content {
        let [mut vips, mut open, mut inner, mut own] = [const { Elements::new() }; 4];
        for (vip, exposure) in exposures {
            let Some(vip) = self.bytes(*vip) else { continue };
            for (transport, port, served_at) in exposure.ports() {
                let direct = port == served_at;
                let (set, through) =
                    if direct { (&mut open, port) } else { (&mut inner, served_at) };
                set.insert(key(&vip, transport, through), Vec::new());
                own.insert(key(&vip, transport, port), [&vip[..], &padded(served_at)].concat());
            }
            vips.insert(vip, Vec::new());
        }
        let control = self.control.iter().map(|kind| (vec![*kind], Vec::new())).collect();
        let set = |name, keys, elements| Set { name, keys, values: &[], elements };
        let mut sets = vec![
            set(VIPS, self.vip, vips),
            set(CONTROL, self.icmp.1, control),
            set(OPEN, self.port, open),
        ];
        let mut chains = vec![self.guard(tracked)];
        if tracked {
            sets.push(set(INNER, self.port, inner));
            sets.push(Set { name: OWN, keys: self.port, values: self.place, elements: own });
            chains.push(self.rewrite("pre", Hook::Prerouting));
            chains.push(self.rewrite("from-here", Hook::Output));
        }
        Content { table: self.table(), sets, chains }
    }

    fn table(&self) -> Table {
        Table { family: self.family, name: super::NAME }
    }

    fn guard(&self, tracked: bool) -> Chain {
        let mut rules =
            vec![vec![Payload(self.destination, Register::FIRST), NotInSet(VIPS), Accept]];
        if tracked {
            rules.push(vec![LoadCt(Ct::Direction), Equal(vec![REPLY]), Accept]);
            let mut redirected = vec![
                LoadCt(Ct::Status),
                And(REWRITTEN.to_ne_bytes().to_vec()),
                NotEqual(vec![0; 4]),
            ];
            redirected.extend(self.load(self.destination, DESTINATION_PORT));
            redirected.extend([InSet(INNER), Accept]);
            rules.push(redirected);
        }
        if self.family == Family::Ip6 {
            rules.push(vec![LaterFragment, Accept]);
        }
        let mut served = self.load(self.destination, DESTINATION_PORT);
        served.extend([InSet(OPEN), Accept]);
        rules.push(served);
        if !tracked {
            rules.push(vec![
                LoadMeta(Meta::InputInterfaceName, Register::FIRST),
                Equal(super::interface_name("lo")),
                LoadMeta(Meta::Protocol, Register::FIRST),
                Equal(vec![TCP]),
                Payload(TCP_FLAGS, Register::FIRST),
                And(vec![SYN | ACK]),
                NotEqual(vec![SYN]),
                Accept,
            ]);
            let mut answer = vec![
                LoadMeta(Meta::InputInterfaceName, Register::FIRST),
                Equal(super::interface_name("lo")),
            ];
            answer.extend(self.load(self.source, SOURCE_PORT));
            answer.extend([InSet(OPEN), Accept]);
            rules.push(answer);
        }
        let protocol =
            |number: u8| vec![LoadMeta(Meta::Protocol, Register::FIRST), Equal(vec![number])];
        let mut control = protocol(self.icmp.0);
        control.extend([Payload(ICMP_TYPE, Register::FIRST), InSet(CONTROL), Accept]);
        let mut reset = protocol(TCP);
        reset.push(Reject(Refusal::Reset));
        rules.extend([control, reset, vec![Reject(Refusal::Unreachable(self.unreachable))]]);
        Chain {
            name: "guard",
            kind: ChainKind::Filter,
            hook: Hook::Input,
            priority: GUARD_PRIORITY,
            rules,
        }
    }

    fn rewrite(&self, name: &'static str, hook: Hook) -> Chain {
        let mut rule = vec![KindOfDestination, Equal(LOCAL.to_ne_bytes().to_vec())];
        rule.extend(self.load(self.destination, DESTINATION_PORT));
        let port = Register::behind(self.words);
        rule.extend([Mapped(OWN), DestinationNat(self.family as u8, port)]);
        Chain { name, kind: ChainKind::Nat, hook, priority: NAT_PRIORITY, rules: vec![rule] }
    }

    /// Loads a key of `open`, `inner` or `own`.
    fn load(&self, address: Field, port: Field) -> Rule {
        vec![
            Payload(address, Register::FIRST),
            LoadMeta(Meta::Protocol, Register::behind(self.words)),
            Payload(port, Register::behind(self.words + 1)),
        ]
    }

    /// The address as it is in the header, if it is of this family.
    fn bytes(&self, ip: IpAddr) -> Option<Vec<u8>> {
        match (ip, self.family) {
            (IpAddr::V4(ip), Family::Ip) => Some(ip.octets().to_vec()),
            (IpAddr::V6(ip), Family::Ip6) => Some(ip.octets().to_vec()),
            _ => None,
        }
    }
}

fn key(vip: &[u8], transport: Transport, port: u16) -> Vec<u8> {
    let protocol = match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
        Transport::Sctp => SCTP,
    };
    [vip, &[protocol, 0, 0, 0], &padded(port)].concat()
}

/// Parts of a concatenation take whole registers.
fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}
