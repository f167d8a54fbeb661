//! The kernel's own way: destinations are rewritten as packets come in.

use super::{Port, each};
use crate::service::Kind;
use crate::site::{FRONT, SERVER};

/// A table for `nft -f`.
pub(in crate::peers) fn nft(ports: &[Port]) -> String {
    let rules = each(ports, |port| {
        let protocol = if port.kind == Kind::Udp { "udp" } else { "tcp" };
        let Port { front, back, .. } = port;
        format!("    ip daddr {FRONT} {protocol} dport {front} dnat to {SERVER}:{back}\n")
    });
    format!(
        "table ip bench {{\n  chain in {{\n    type nat hook prerouting priority dstnat;\n{rules}  }}\n}}\n"
    )
}
