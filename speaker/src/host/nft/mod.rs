//! Our nftables tables, spoken over netlink: the image has no `nft`.
//!
//! * [`wire`] — messages, attributes, batches: bytes.
//! * [`ruleset`] — tables, sets, chains, rules: types, written into a batch.
//! * [`io`] — the sockets.
//! * [`ArpSilence`] — the table `arp vipgate`, which keeps the kernel silent about VIPs.
//!
//! All our tables are named `vipgate`, one per family. Every change is one transaction, so no
//! packet meets half a table.

mod arp_silence;
mod io;
mod ruleset;
mod wire;

#[cfg(test)]
mod tests;

use rustix::io::Errno;

pub(super) use arp_silence::ArpSilence;
pub(super) use io::Disturbance;

/// Why nftables could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NftError {
    /// We may not.
    #[error(
        "cannot {doing} the nftables table `arp vipgate`: not permitted; this needs the \
         capability CAP_NET_ADMIN (run as root, or grant it to the service)"
    )]
    NotPermitted {
        /// What was tried.
        doing: &'static str,
    },
    /// The kernel lacks it.
    #[error(
        "cannot {doing} the nftables table `arp vipgate`: this kernel has no nftables for ARP \
         ({errno}); check CONFIG_NF_TABLES and CONFIG_NF_TABLES_ARP, and `modprobe nf_tables`"
    )]
    NotSupported {
        /// What was tried.
        doing: &'static str,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The table, chain, set or element is not there: somebody removed it.
    #[error(
        "cannot {doing} the nftables table `arp vipgate`: a part of it is gone; check what else \
         changes nftables here (`nft monitor`)"
    )]
    Gone {
        /// What was tried.
        doing: &'static str,
    },
    /// Anything else.
    #[error(
        "cannot {doing} the nftables table `arp vipgate`: {errno}{}{text}; `nft list table arp \
         vipgate` shows what is there",
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
    #[error("cannot {doing} the nftables table `arp vipgate`: the kernel gave no answer")]
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
