//! What can go wrong with ARP and NDP, in words for the operator.

use std::io;

use thiserror::Error;

/// Why a link does not speak ARP or NDP, or an address could not be probed on it.
#[derive(Debug, Error)]
pub enum L2Error {
    /// The probe names no link.
    #[error("no interface to ask on: check `interfaces` of the L2Advertisement")]
    NoLinks,
    /// The host has no such link.
    #[error(
        "there is no interface {link} on this host: check `interfaces` of the L2Advertisement \
         against `ip link`"
    )]
    NoSuchLink {
        /// Name of the link.
        link: String,
    },
    /// The link has no Ethernet address: a tunnel, loopback and such.
    #[error(
        "interface {link} has no Ethernet address and speaks no ARP or NDP: announce elsewhere"
    )]
    NotEthernet {
        /// Name of the link.
        link: String,
    },
    /// Nothing can be sent, so silence proves nothing.
    #[error(
        "interface {link} is down or has no carrier: check `ip link show {link}` and the cable"
    )]
    LinkDown {
        /// Name of the link.
        link: String,
    },
    /// The process may not open packet sockets.
    #[error(
        "not permitted to send and receive ARP or NDP on {link}: CAP_NET_RAW is missing; run as root or \
         grant the capability"
    )]
    Permission {
        /// Name of the link.
        link: String,
    },
    /// The packet socket could not be set up for another reason.
    #[error("no packet socket for {link}: {source}; check the limit on open files and `ip link`")]
    Open {
        /// Name of the link.
        link: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// A probe could not be sent, so silence proves nothing.
    #[error("no probe could be sent on {link}: {source}; check `ip link show {link}`")]
    Send {
        /// Name of the link.
        link: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// The link vanished, or the speaker stops.
    #[error("interface {link} went away while it was being asked on")]
    Gone {
        /// Name of the link.
        link: String,
    },
}

impl L2Error {
    /// The error for a packet socket that was not granted.
    pub(super) fn open(link: &str, source: io::Error) -> L2Error {
        let link = link.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => L2Error::Permission { link },
            _ if source.raw_os_error() == Some(libc::ENODEV) => L2Error::NoSuchLink { link },
            _ => L2Error::Open { link, source },
        }
    }
}
