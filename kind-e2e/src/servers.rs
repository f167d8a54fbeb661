//! Servers on nodes: what a VIP leads to. Each tells on connection who it is, so that a scenario
//! can tell which one answered, and each is gone when its handle is dropped.

mod datagrams;
mod dnsmasq;
mod echo;
mod mariadb;
mod redis;
mod wireguard;

pub use datagrams::{Datagrams, datagrams};
pub use dnsmasq::{Dnsmasq, dnsmasq};
pub use echo::{Echo, echo};
pub use mariadb::{MariaDb, mariadb};
pub use redis::{Redis, redis};
pub use wireguard::{Tunnel, WireGuard, WireGuardKeys, wireguard};
