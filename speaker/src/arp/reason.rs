//! Why a received frame was dropped. Each reason is one value of a metric label.

use thiserror::Error;

/// Why a frame was not acted upon.
///
/// The first group is what [`super::wire::parse`] rejects, the second what the responder refuses
/// although the frame is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum DropReason {
    /// Fewer bytes than an Ethernet header and an ARP packet have.
    #[error("the frame is shorter than an ARP packet over Ethernet (42 bytes)")]
    Short,
    /// Not ARP.
    #[error("the EtherType is not ARP (0x0806)")]
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
    #[error("the ARP sender hardware address is zero or a group address")]
    SenderMac,

    /// Sent by this host and handed back by the network.
    #[error("the frame is our own")]
    Own,
    /// Another member of the group claims a VIP of ours: one of the two is about to let go.
    #[error("the sender is a member of the group")]
    Member,
    /// Asks for an address that is not owned on this link; the filter may let some through.
    #[error("the address is not a VIP owned on this link")]
    NotOwned,
    /// A request whose Ethernet destination is neither broadcast nor this link.
    #[error("the request was sent to another station")]
    OtherDestination,
    /// This requester asks for this VIP faster than anybody needs to.
    #[error("the requester exceeds the reply rate limit")]
    RateLimited,
}

impl DropReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [DropReason; 13] = [
        DropReason::Short,
        DropReason::EtherType,
        DropReason::HardwareType,
        DropReason::ProtocolType,
        DropReason::HardwareLength,
        DropReason::ProtocolLength,
        DropReason::Operation,
        DropReason::SenderMac,
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
            DropReason::Own => "own",
            DropReason::Member => "member",
            DropReason::NotOwned => "not_owned",
            DropReason::OtherDestination => "other_destination",
            DropReason::RateLimited => "rate_limited",
        }
    }
}
