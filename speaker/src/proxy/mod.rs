//! Accepts TCP connections on VIPs and forwards them.
#![allow(dead_code, missing_docs)]
mod config;
mod stats;
pub use config::Config;
pub use stats::*;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use vipgate_planner::{Listener, ListenerId};
#[derive(Debug)]
/// x
pub struct Proxy {}
impl Proxy {
    pub fn start(_c: Config) -> io::Result<Self> { Ok(Self {}) }
    pub fn apply(&self, _l: &[Listener]) -> BTreeMap<ListenerId, Result<SocketAddr, io::Error>> { BTreeMap::new() }
    pub fn drain(&self, _d: Duration) {}
    pub fn snapshot(&self) -> Snapshot { Snapshot::default() }
}
