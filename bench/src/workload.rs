//! What is measured.

use clap::ValueEnum;

use crate::peers::Peer;
use crate::service::{
    DATAGRAMS, ECHO, IPERF, READER, SECURE_CHECKER, SECURE_ECHO, SECURE_SOURCE, SINK, Service,
    THROUGH,
};

/// One kind of work, the same for every peer. What is to be compared with each other stands together: the rounds follow
/// this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Workload {
    /// One stream from sendfile(2) to a receiver that throws away: the endpoints cost next to nothing.
    Bulk1,
    /// The same through a listener that lets TLS pass: a ClientHello, then records of the same endpoints, which nobody
    /// encrypts or looks into.
    Through1,
    /// Eight streams.
    Bulk8,
    /// Eight of them.
    Through8,
    /// One stream between programs that copy, as most do.
    Copy1,
    /// Eight of them.
    Copy8,
    /// iperf3 itself, one stream.
    Iperf1,
    /// Eight of them.
    Iperf8,
    /// Connect, 64 bytes there and back, close; 64 at once.
    Connections,
    /// 64 bytes there and back on one connection.
    Pings1,
    /// The same on 64 connections.
    Pings64,
    /// Connect, a full handshake of TLS 1.3 with the proxy, 64 bytes there and back, close; 64 at once.
    Handshakes,
    /// One stream to the client that the proxy encrypts.
    Encrypt1,
    /// Eight of them.
    Encrypt8,
    /// Eight streams to the server that it decrypts.
    Decrypt8,
    /// Datagrams of 64 bytes there and back, 16 sockets with 16 under way each.
    Datagrams64,
    /// The same with 1,400 bytes.
    Datagrams1400,
    /// Memory of the proxy for each of 4,000 connections that are idle after 64 bytes there and back.
    Idle,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// What its figure is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Bytes moved, in time.
    Bytes,
    /// Things done, in time.
    Times,
    /// Time of one thing.
    Latency,
    /// What is held.
    Memory,
}

impl Workload {
    /// Connections that it keeps open, or sockets.
    pub(crate) fn connections(self) -> usize {
        match self {
            Self::Bulk1 | Self::Through1 | Self::Copy1 | Self::Iperf1 => 1,
            Self::Pings1 | Self::Encrypt1 => 1,
            Self::Bulk8 | Self::Through8 | Self::Copy8 | Self::Iperf8 => 8,
            Self::Encrypt8 | Self::Decrypt8 => 8,
            Self::Connections | Self::Pings64 | Self::Handshakes => 64,
            Self::Datagrams64 | Self::Datagrams1400 => 16,
            Self::Idle => 4_000,
        }
    }

    /// Where it goes.
    pub(crate) fn service(self) -> Service {
        Service::at(match self {
            Self::Bulk1 | Self::Bulk8 => SINK,
            Self::Through1 | Self::Through8 => THROUGH,
            Self::Copy1 | Self::Copy8 => READER,
            Self::Iperf1 | Self::Iperf8 => IPERF,
            Self::Connections | Self::Pings1 | Self::Pings64 | Self::Idle => ECHO,
            Self::Handshakes => SECURE_ECHO,
            Self::Encrypt1 | Self::Encrypt8 => SECURE_SOURCE,
            Self::Decrypt8 => SECURE_CHECKER,
            Self::Datagrams64 | Self::Datagrams1400 => DATAGRAMS,
        })
    }

    /// Whether there is something to see of a peer.
    pub(crate) fn is_for(self, peer: Peer) -> bool {
        peer.does(self.service().kind) && (self != Self::Idle || peer.is_program())
    }

    /// Of its figure.
    pub(crate) fn measure(self) -> Measure {
        match self {
            Self::Bulk1 | Self::Bulk8 | Self::Through1 | Self::Through8 => Measure::Bytes,
            Self::Copy1 | Self::Copy8 | Self::Iperf1 | Self::Iperf8 => Measure::Bytes,
            Self::Encrypt1 | Self::Encrypt8 | Self::Decrypt8 => Measure::Bytes,
            Self::Connections | Self::Handshakes | Self::Pings64 => Measure::Times,
            Self::Datagrams64 | Self::Datagrams1400 => Measure::Times,
            Self::Pings1 => Measure::Latency,
            Self::Idle => Measure::Memory,
        }
    }

    /// What it is called in tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Bulk1 => "bulk, cheap endpoints, 1 stream",
            Self::Through1 => "bulk, TLS passed through, cheap endpoints, 1 stream",
            Self::Bulk8 => "bulk, cheap endpoints, 8 streams",
            Self::Through8 => "bulk, TLS passed through, cheap endpoints, 8 streams",
            Self::Copy1 => "bulk, copying endpoints, 1 stream",
            Self::Copy8 => "bulk, copying endpoints, 8 streams",
            Self::Iperf1 => "iperf3, 1 stream",
            Self::Iperf8 => "iperf3, 8 streams",
            Self::Connections => "new connections",
            Self::Pings1 => "64 bytes there and back, 1 connection",
            Self::Pings64 => "64 bytes there and back, 64 connections",
            Self::Handshakes => "new connections, TLS 1.3 terminated, full handshakes",
            Self::Encrypt1 => "bulk to the client, TLS terminated, 1 stream",
            Self::Encrypt8 => "bulk to the client, TLS terminated, 8 streams",
            Self::Decrypt8 => "bulk to the server, TLS terminated, 8 streams",
            Self::Datagrams64 => "datagrams of 64 bytes there and back",
            Self::Datagrams1400 => "datagrams of 1,400 bytes there and back",
            Self::Idle => "memory of an idle pair",
        }
    }

    /// The same without TLS, for work that is to cost as much.
    pub(crate) fn without_tls(self) -> Option<Self> {
        match self {
            Self::Through1 => Some(Self::Bulk1),
            Self::Through8 => Some(Self::Bulk8),
            _ => None,
        }
    }
}

impl Measure {
    /// Of the figure.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Bytes => "Gbit/s",
            Self::Times => "1/s",
            Self::Latency => "µs (p50)",
            Self::Memory => "KiB",
        }
    }

    /// What the proxy's CPU time is divided by: bytes moved in GB, or what was done in thousands.
    pub(crate) fn cpu_unit(self) -> &'static str {
        match self {
            Self::Bytes => "CPU s/GB",
            Self::Times | Self::Latency => "CPU ms/1,000",
            Self::Memory => "CPU",
        }
    }

    /// Of the figure.
    pub(crate) fn better(self) -> Better {
        match self {
            Self::Bytes | Self::Times => Better::More,
            Self::Latency | Self::Memory => Better::Less,
        }
    }
}
