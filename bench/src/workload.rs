//! What is measured.

use clap::ValueEnum;

/// One kind of work that every peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Workload {
    /// One stream from sendfile(2) to a receiver that throws away: the endpoints cost next to nothing.
    Bulk1,
    /// Eight of them.
    Bulk8,
    /// One stream between programs that copy, as most do.
    Copy1,
    /// Eight of them.
    Copy8,
    /// Connect, 64 bytes there and back, close; 64 at once.
    Connections,
    /// 64 bytes there and back on one connection.
    Pings1,
    /// The same on 64 connections.
    Pings64,
    /// Memory of the proxy for each of 4,000 connections that are idle after 64 bytes there and back.
    Idle,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

impl Workload {
    /// Connections that it keeps open.
    pub(crate) fn connections(self) -> usize {
        match self {
            Self::Bulk1 | Self::Copy1 | Self::Pings1 => 1,
            Self::Bulk8 | Self::Copy8 => 8,
            Self::Connections | Self::Pings64 => 64,
            Self::Idle => 4_000,
        }
    }

    /// Port of the server that it needs.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Bulk1 | Self::Bulk8 => SINK,
            Self::Copy1 | Self::Copy8 => READER,
            Self::Connections | Self::Pings1 | Self::Pings64 | Self::Idle => ECHO,
        }
    }

    /// What it is called in tables, and its unit.
    pub(crate) fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Bulk1 => ("bulk, cheap endpoints, 1 stream", "Gbit/s"),
            Self::Bulk8 => ("bulk, cheap endpoints, 8 streams", "Gbit/s"),
            Self::Copy1 => ("bulk, copying endpoints, 1 stream", "Gbit/s"),
            Self::Copy8 => ("bulk, copying endpoints, 8 streams", "Gbit/s"),
            Self::Connections => ("new connections", "1/s"),
            Self::Pings1 => ("64 bytes there and back, 1 connection", "µs (p50)"),
            Self::Pings64 => ("64 bytes there and back, 64 connections", "1/s"),
            Self::Idle => ("memory of an idle pair", "KiB"),
        }
    }

    /// Of its figure.
    pub(crate) fn better(self) -> Better {
        match self {
            Self::Pings1 | Self::Idle => Better::Less,
            _ => Better::More,
        }
    }

    /// What the proxy's CPU time is divided by: bytes moved in GB, connections or requests in thousands.
    pub(crate) fn cpu_unit(self) -> &'static str {
        match self {
            Self::Bulk1 | Self::Bulk8 | Self::Copy1 | Self::Copy8 => "CPU s/GB",
            Self::Connections => "CPU ms/1,000",
            Self::Pings1 | Self::Pings64 => "CPU ms/1,000",
            Self::Idle => "",
        }
    }
}

/// Reads with `MSG_TRUNC`, and says at the end how much it was.
pub(crate) const SINK: u16 = 7001;
/// Sends back what it gets.
pub(crate) const ECHO: u16 = 7002;
/// Reads into a buffer, and says at the end how much it was.
pub(crate) const READER: u16 = 7003;
/// All of them.
pub(crate) const PORTS: [u16; 3] = [SINK, ECHO, READER];
