//! The listener protocols of the Gateway API, and which kinds of routes each takes here.
//!
//! The one place to change when a protocol comes to be served.

use vipgate_api::gateway::RouteGroupKind;
use vipgate_api::vipgate::Transport;
use vipgate_api::{GATEWAY_GROUP, Kind};

/// What a listener's `protocol` means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    /// As it is written in `protocol`.
    pub(super) name: &'static str,
    /// Ports of different transports have nothing to do with each other.
    pub(super) transport: Transport,
    /// How a connection tells which listener of a port is meant.
    told_by: ToldBy,
    /// Kinds of routes that we serve on it; none means that it is not served.
    kinds: &'static [Kind],
}

/// What tells the listeners of one port apart.
#[derive(Debug, PartialEq, Eq)]
enum ToldBy {
    /// Nothing, so the port cannot be shared.
    Nothing,
    /// The Host of the first request.
    Host,
    /// The server name of the TLS handshake.
    ServerName,
}

const PROTOCOLS: [Protocol; 5] = [
    Protocol {
        name: "TCP",
        transport: Transport::Tcp,
        told_by: ToldBy::Nothing,
        kinds: &[Kind::TcpRoute],
    },
    Protocol {
        name: "UDP",
        transport: Transport::Udp,
        told_by: ToldBy::Nothing,
        kinds: &[Kind::UdpRoute],
    },
    Protocol {
        name: "TLS",
        transport: Transport::Tcp,
        told_by: ToldBy::ServerName,
        kinds: &[Kind::TlsRoute],
    },
    Protocol {
        name: "HTTP",
        transport: Transport::Tcp,
        told_by: ToldBy::Host,
        kinds: &[Kind::HttpRoute],
    },
    Protocol {
        name: "HTTPS",
        transport: Transport::Tcp,
        told_by: ToldBy::ServerName,
        kinds: &[Kind::HttpRoute],
    },
];

impl Protocol {
    /// The protocol of this name; `None` for names that the Gateway API does not define.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        PROTOCOLS.iter().find(|protocol| protocol.name == name)
    }

    /// Whether listeners of these protocols exclude each other on one port.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        self.transport == other.transport
            && (self.told_by == ToldBy::Nothing || self.told_by != other.told_by)
    }

    /// Whether the same thing tells its listeners apart: a hostname of the one is one of the other.
    pub(super) fn is_told_as(&self, other: &Self) -> bool {
        self.transport == other.transport && self.told_by == other.told_by
    }

    /// Whether its clients speak TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.told_by == ToldBy::ServerName
    }

    /// Whether hostnames tell its listeners apart.
    pub(super) fn has_hostnames(&self) -> bool {
        self.told_by != ToldBy::Nothing
    }

    /// Whether it is served at all.
    pub(super) fn is_served(&self) -> bool {
        !self.kinds.is_empty()
    }

    /// The kinds of routes it takes, as `supportedKinds` lists them.
    pub(super) fn supported_kinds(&self) -> Vec<RouteGroupKind> {
        self.kinds
            .iter()
            .map(|kind| RouteGroupKind {
                group: GATEWAY_GROUP.to_owned(),
                kind: kind.name().to_owned(),
            })
            .collect()
    }
}

/// Whether listeners of a protocol take routes of a kind, unless they say otherwise.
pub(crate) fn takes(protocol: &str, kind: Kind) -> bool {
    Protocol::named(protocol).is_some_and(|protocol| protocol.kinds.contains(&kind))
}

/// Names of the protocols that are served, for people.
pub(super) fn served() -> String {
    let served = PROTOCOLS.iter().filter(|protocol| protocol.is_served());
    served.map(|protocol| protocol.name).collect::<Vec<_>>().join(" or ")
}
