//! Our nftables tables, spoken over netlink: the image has no `nft`.
//!
//! * [`wire`] — messages, attributes, batches: bytes.
//! * [`expression`] — the steps of rules.
//! * [`ruleset`] — tables, sets, chains: types, the difference of two states, messages.
//! * [`arp_silence`] — the table `arp vipgate`, which keeps the kernel silent about VIPs.
//! * [`guard`] — the tables `ip vipgate` and `ip6 vipgate`: what of a VIP reaches this host.
//! * [`preserve`] — a chain of these tables: answers to clients' addresses are for this host.
//! * [`rivals`] — whether others rewrite destinations.
//! * [`io`] — the sockets.
//! * [`Tables`] — all of them, kept as they are wanted.
//!
//! All our tables are named `vipgate`, one per family. Every change is one transaction as far as it
//! fits into one, so no packet meets half a table.

mod arp_silence;
mod expression;
mod guard;
mod io;
pub(super) mod preserve;
mod rivals;
mod ruleset;
mod tables;
mod wire;

#[cfg(test)]
mod tests;

use rustix::io::Errno;

pub(super) use io::Disturbance;
pub(super) use ruleset::Family;
pub(super) use tables::Tables;

/// Of each of our tables.
const NAME: &str = "vipgate";

/// Whether others rewrite destinations on this host, asked once.
pub(super) fn destinations_are_rewritten() -> Result<bool, NftError> {
    rivals::are_there(&mut io::Committer::open()?)
}

/// As it is compared: IFNAMSIZ is 16, the closing zero included, and the register counts whole.
fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// Why nftables could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NftError {
    /// We may not.
    #[error(
        "cannot {doing} the nftables tables `vipgate`: not permitted; this needs the \
         capability CAP_NET_ADMIN (run as root, or grant it to the service)"
    )]
    NotPermitted {
        /// What was tried.
        doing: &'static str,
    },
    /// The kernel lacks it.
    #[error(
        "cannot {doing} the nftables tables `vipgate`: this kernel lacks a part of \
         nftables ({errno}); check CONFIG_NF_TABLES, CONFIG_NF_TABLES_ARP, CONFIG_NF_TABLES_IPV4, \
         CONFIG_NF_TABLES_IPV6 and CONFIG_NFT_REJECT, and `modprobe nf_tables`"
    )]
    NotSupported {
        /// What was tried.
        doing: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The table, chain, set or element is not there: somebody removed it.
    #[error(
        "cannot {doing} the nftables tables `vipgate`: a part of them is gone, or this \
         kernel lacks it (CONFIG_NFT_REJECT); check what else changes nftables here (`nft monitor`)"
    )]
    Gone {
        /// What was tried.
        doing: &'static str,
    },
    /// Anything else.
    #[error(
        "cannot {doing} the nftables tables `vipgate`: {errno}{}{text}; `nft list ruleset` \
         shows what is there",
        if text.is_empty() { "" } else { ": " }
    )]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// What the kernel answered.
        errno: Errno,
        /// Its own words, maybe none.
        text: String,
    },
    /// No answer came, though the kernel answers before it returns.
    #[error("cannot {doing} the nftables tables `vipgate`: the kernel gave no answer")]
    Unanswered {
        /// What was tried.
        doing: &'static str,
    },
}

impl NftError {
    fn from_errno(doing: &'static str, errno: Errno, text: &str) -> Self {
        match errno {
            Errno::PERM | Errno::ACCESS => Self::NotPermitted { doing },
            Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => {
                Self::NotSupported { doing, errno }
            }
            Errno::NOENT => Self::Gone { doing },
            errno => Self::Refused { doing, errno, text: text.to_owned() },
        }
    }
}
