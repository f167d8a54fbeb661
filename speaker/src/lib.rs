//! Makes a plan true on this node: addresses, announcements, forwarding.

pub mod access_log;
pub mod bfd;
pub mod bgp;
mod clients;
mod deadline;
pub mod group;
pub mod host;
pub mod l2;
pub mod names;
pub mod node;
pub mod proxy;
mod published;
mod rate;
pub mod reach;
pub mod udp;
