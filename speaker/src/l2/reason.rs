//! Why a received frame was dropped. Each reason is one value of a metric label.

use thiserror::Error;

/// Why a frame was not acted upon.
///
/// The first group is what the parsers rejects, the second what the responder refuses
/// although the frame is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum DropReason {
    /// Fewer bytes than its headers say, or than the message has.
    #[error("the frame is shorter than the message in it")]
    Short,
    /// Neither ARP nor IPv6, or not the one that the socket is for.
    #[error("the EtherType is not that of the protocol (ARP 0x0806, IPv6 0x86dd)")]
    EtherType,
    /// Not ARP for Ethernet.
    #[error("the ARP hardware type is not Ethernet (1)")]
    HardwareType,
    /// Not ARP for IPv4.
    #[error("the ARP protocol type is not IPv4 (0x0800)")]
    ProtocolType,
    /// Claims Ethernet but another address length.
    #[error("the ARP hardware address length is not 6")]
    HardwareLength,
    /// Claims IPv4 but another address length.
    #[error("the ARP protocol address length is not 4")]
    ProtocolLength,
    /// Neither request nor reply (RARP, InARP and such).
    #[error("the ARP operation is neither request nor reply")]
    Operation,
    /// No station can own the sender hardware address: it is zero, multicast or broadcast.
    #[error("the sender hardware address is zero or a group address")]
    SenderMac,
    /// Claims IPv6 but another version.
    #[error("the IP version is not 6")]
    IpVersion,
    /// Not ICMPv6, or another message than a neighbour solicitation or advertisement.
    #[error("the packet is no neighbour solicitation or advertisement")]
    NotNeighbour,
    /// It may have come through a router, so from outside the link.
    #[error("the hop limit is not 255")]
    HopLimit,
    /// An ICMPv6 code that nothing defines.
    #[error("the ICMPv6 code is not 0")]
    Code,
    /// Damaged on its way.
    #[error("the ICMPv6 checksum is wrong")]
    Checksum,
    /// An option of length 0, longer than the message, or a link-layer address that is not Ethernet's.
    #[error("an option does not fit")]
    Options,
    /// What RFC 4861 section 7.1 forbids: a multicast target, a probe with a link-layer address or to
    /// another group, an answer to all.
    #[error("the addresses of the message contradict each other")]
    Inconsistent,

    /// Sent by this host and handed back by the network.
    #[error("the frame is our own")]
    Own,
    /// Another member of the group claims a VIP of ours: one of the two is about to let go.
    #[error("the sender is a member of the group")]
    Member,
    /// Asks for an address that is not owned on this link; the filter may let some through.
    #[error("the address is not a VIP owned on this link")]
    NotOwned,
    /// A request whose Ethernet destination is neither this link nor all who may have the address.
    #[error("the request was sent to another station")]
    OtherDestination,
    /// This requester asks for this VIP faster than anybody needs to.
    #[error("the requester exceeds the reply rate limit")]
    RateLimited,
}

impl DropReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [DropReason; 20] = [
        DropReason::Short,
        DropReason::EtherType,
        DropReason::HardwareType,
        DropReason::ProtocolType,
        DropReason::HardwareLength,
        DropReason::ProtocolLength,
        DropReason::Operation,
        DropReason::SenderMac,
        DropReason::IpVersion,
        DropReason::NotNeighbour,
        DropReason::HopLimit,
        DropReason::Code,
        DropReason::Checksum,
        DropReason::Options,
        DropReason::Inconsistent,
        DropReason::Own,
        DropReason::Member,
        DropReason::NotOwned,
        DropReason::OtherDestination,
        DropReason::RateLimited,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            DropReason::Short => "short",
            DropReason::EtherType => "ether_type",
            DropReason::HardwareType => "hardware_type",
            DropReason::ProtocolType => "protocol_type",
            DropReason::HardwareLength => "hardware_length",
            DropReason::ProtocolLength => "protocol_length",
            DropReason::Operation => "operation",
            DropReason::SenderMac => "sender_mac",
            DropReason::IpVersion => "ip_version",
            DropReason::NotNeighbour => "not_neighbour",
            DropReason::HopLimit => "hop_limit",
            DropReason::Code => "code",
            DropReason::Checksum => "checksum",
            DropReason::Options => "options",
            DropReason::Inconsistent => "inconsistent",
            DropReason::Own => "own",
            DropReason::Member => "member",
            DropReason::NotOwned => "not_owned",
            DropReason::OtherDestination => "other_destination",
            DropReason::RateLimited => "rate_limited",
        }
    }
}
