//! The lab: machines, switches and cables made of network namespaces, for tests and the demo.
//!
//! A scenario builds a [`Lab`], puts [`Bridge`]s (switches) and [`Node`]s (machines) in it, joins
//! them by [`Link`]s (cables), starts [`Process`]es and [`servers`] on the nodes, and looks at
//! the wire with a [`Capture`]. Everything is a handle: dropping it takes the thing away, also
//! while a test panics, and what a killed test left behind is swept by the next one.
//!
//! What always holds:
//! * Nothing outside namespaces the lab made is touched; no frame leaves them.
//! * Whoever lacks the privilege gets an error that says what to do. Nothing is skipped.
//! * Every wait has an end, multiplied by the environment variable `VIPGATE_LAB_PATIENCE`.
//!
//! It needs root, or the namespaces that [`enter::in_namespaces`] makes for an ordinary user.
//! Errors are [`anyhow::Error`]: they are read by people, no code decides by them.
//!
#![doc = include_str!("../README.md")]

mod bridge;
mod capture;
pub mod cluster;
pub mod enter;
mod frame;
mod lab;
mod leftovers;
mod link;
mod mac;
mod namespace;
mod node;
mod patience;
mod process;
pub mod prometheus;
pub mod routers;
pub mod servers;

pub use bridge::Bridge;
pub use capture::Capture;
pub use frame::{Advertised, Arp, ArpOp, Frame};
pub use lab::Lab;
pub use link::Link;
pub use mac::Mac;
pub use node::Node;
pub use patience::{eventually, patience};
pub use process::{Mark, Output, Process, Program};

/// Result of the lab's functions.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;
