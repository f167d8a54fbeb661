//! Finds the router on a link without being told its address (unnumbered BGP).
//!
//! ```text
//!   Discovery ── NeighbourTask (io) ── Neighbour (the router that was heard) ──> watch: its address
//!                     │ RA every 10 s        ▲ RA
//!                 raw ICMPv6 socket of one interface
//! ```
//!
//! Both sides send router advertisements (RFC 4861 section 4.2) and take the sender of the other's
//! for the neighbour. Ours say that we are no default router (lifetime 0). FRR refuses a connection
//! until it has heard one.
//!
//! `wire` and `neighbour` are plain. What always holds: only what comes with hop limit 255 from a
//! link-local address counts; nobody on the link can take the place of a router that is heard.

mod io;
pub mod neighbour;
pub mod wire;

pub(in crate::bgp) use io::with_port;
pub use io::{Discovery, DiscoveryError};
