//! The listener protocols of the Gateway API, and which kinds of routes each takes here.
//!
//! The one place to change when a protocol comes to be served.

use vipgate_api::gateway::RouteGroupKind;
use vipgate_api::{GATEWAY_GROUP, Kind};

/// What a listener's `protocol` means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    /// As it is written in `protocol`.
    pub(super) name: &'static str,
    transport: Transport,
    /// Nothing in a connection tells which listener is meant, so the port cannot be shared.
    exclusive: bool,
    /// Kinds of routes that we serve on it; none means that it is not served.
    kinds: &'static [Kind],
}

/// Ports of different transports have nothing to do with each other.
#[derive(Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

const PROTOCOLS: [Protocol; 5] = [
    Protocol { name: "TCP", transport: Transport::Tcp, exclusive: true, kinds: &[Kind::TcpRoute] },
    Protocol { name: "UDP", transport: Transport::Udp, exclusive: true, kinds: &[] },
    Protocol { name: "TLS", transport: Transport::Tcp, exclusive: false, kinds: &[] },
    Protocol { name: "HTTP", transport: Transport::Tcp, exclusive: false, kinds: &[] },
    Protocol { name: "HTTPS", transport: Transport::Tcp, exclusive: false, kinds: &[] },
];

impl Protocol {
    /// The protocol of this name; `None` for names that the Gateway API does not define.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        PROTOCOLS.iter().find(|protocol| protocol.name == name)
    }

    /// Whether listeners of these protocols exclude each other on one port.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        self.transport == other.transport && (self.exclusive || other.exclusive)
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

/// Names of the protocols that are served, for people.
pub(super) fn served() -> String {
    let served = PROTOCOLS.iter().filter(|protocol| protocol.is_served());
    served.map(|protocol| protocol.name).collect::<Vec<_>>().join(" or ")
}
