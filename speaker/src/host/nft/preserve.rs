//! The chain `preserve`: what endpoints answer to a client's address is for this host, if a socket of this
//! host speaks for the client.
//!
//! ```text
//!     chain preserve { type filter hook prerouting priority mangle; policy accept;
//!         meta l4proto tcp socket transparent 1 meta mark set meta mark | 0x1000
//!     }
//! ```
//!
//! A connection to an endpoint may come from the client's own address (IP_TRANSPARENT, ip(7)). Its answers
//! carry that address as their destination, and by its routes this host would forward them to the client. The
//! mark says that they stay ([`detour`](crate::host::detour)).
//!
//! Only packets with a socket of that kind are marked, the very connection's: what the client itself has with the
//! endpoint is forwarded as ever. Where somebody else has transparent sockets on this host (a service mesh, a
//! transparent proxy), their packets are for this host too, and their own marks are left as they are.
//!
//! The priority is that of mangle: before routing, and after connection tracking, which sees the connection like
//! any other. The bit is one that none of kube-proxy (0x4000, 0x8000), Calico (0xffff0000), Cilium (0x0f00, 0xffff00ff),
//! the AWS CNI (0x80) and Tailscale (0xff0000) uses.

use super::expression::Expression::{Equal, Mark, Meta as LoadMeta, Transparent};
use super::expression::{Meta, Register};
use super::ruleset::{Chain, ChainKind, Hook};

/// The bit of the mark.
pub(in crate::host) const MARK: u32 = 0x1000;
/// `NF_IP_PRI_MANGLE`.
const PRIORITY: i32 = -150;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// The chain, the same in both families.
pub(super) fn chain() -> Chain {
    let rule = vec![
        LoadMeta(Meta::Protocol, Register::FIRST),
        Equal(vec![TCP]),
        Transparent,
        Equal(vec![1]),
        Mark(MARK),
    ];
    Chain {
        name: "preserve",
        kind: ChainKind::Filter,
        hook: Hook::Prerouting,
        priority: PRIORITY,
        rules: vec![rule],
    }
}
