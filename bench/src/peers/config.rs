//! The peers' configurations, a file for each.

mod envoy;
mod haproxy;
mod nft;
mod nginx;
mod vipgate;

pub(super) use envoy::envoy;
pub(super) use haproxy::haproxy;
pub(super) use nft::nft;
pub(super) use nginx::nginx;
pub(super) use vipgate::vipgate;

use crate::service::Kind;

/// A port of a peer, and what it is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    pub(super) front: u16,
    pub(super) kind: Kind,
    /// Port of the server.
    pub(super) back: u16,
}

/// Room for datagrams that wait to be read, as vipgate has it; the kernel gives no more than `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;

/// One text for each port.
fn each(ports: &[Port], one: impl Fn(&Port) -> String) -> String {
    ports.iter().map(one).collect()
}
