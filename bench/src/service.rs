//! What clients come for: a port of the proxy, what happens there, and the server behind it.

/// What a proxy does at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    /// TLS ends there; behind it is TCP.
    Terminate,
    /// TLS goes through, to where its server name leads.
    Passthrough,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Where clients connect; each peer adds a number of its own.
    pub(crate) port: u16,
    pub(crate) kind: Kind,
    /// Port of the server.
    pub(crate) server: u16,
}

/// Reads with `MSG_TRUNC`, and says at the end how much it was.
pub(crate) const SINK: u16 = 7001;
/// Sends back what it gets.
pub(crate) const ECHO: u16 = 7002;
/// Reads into a buffer, and says at the end how much it was.
pub(crate) const READER: u16 = 7003;
/// iperf3.
pub(crate) const IPERF: u16 = 7004;
/// Sends for as long as it is asked to, and says at the end how much it was.
pub(crate) const SOURCE: u16 = 7005;
/// Looks at every byte of a stream that ends with their number, and says how many there were.
pub(crate) const CHECKER: u16 = 7007;
/// Sends back datagrams.
pub(crate) const DATAGRAMS: u16 = 7006;

/// The echo behind TLS that ends at the proxy.
pub(crate) const SECURE_ECHO: u16 = 7011;
/// The source behind it.
pub(crate) const SECURE_SOURCE: u16 = 7012;
/// The checker behind it.
pub(crate) const SECURE_CHECKER: u16 = 7014;
/// The sink behind TLS that goes through.
pub(crate) const THROUGH: u16 = 7013;

impl Service {
    /// All of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::plain(SINK),
        Self::plain(ECHO),
        Self::plain(READER),
        Self::plain(IPERF),
        Self::plain(SOURCE),
        Self::plain(CHECKER),
        Self { port: DATAGRAMS, kind: Kind::Udp, server: DATAGRAMS },
        Self { port: SECURE_ECHO, kind: Kind::Terminate, server: ECHO },
        Self { port: SECURE_SOURCE, kind: Kind::Terminate, server: SOURCE },
        Self { port: SECURE_CHECKER, kind: Kind::Terminate, server: CHECKER },
        Self { port: THROUGH, kind: Kind::Passthrough, server: SINK },
    ];

    const fn plain(port: u16) -> Self {
        Self { port, kind: Kind::Tcp, server: port }
    }

    /// The one that clients reach at a port.
    pub(crate) fn at(port: u16) -> Self {
        *Self::ALL.iter().find(|service| service.port == port).expect("ports are the constants")
    }
}
