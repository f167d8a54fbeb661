//! Scenarios of a cluster with vipgate in it, written once and run in two places: in the lab of network namespaces
//! (`cli/tests/cluster/shared/`) and on a kind cluster (the program of this crate, which `kind-e2e/run.sh` starts).
//!
//! ```text
//! scenarios (smoke, l2, bgp, gateway, upgrade, chaos)
//!     └─ what they ask: Client (bash, arping, openssl on the client), Ground (objects, by kubectl)
//!            └─ Rig: run kubectl, a script on the client, a question to the router; lose or stop a node
//!                   ├─ the lab: namespaces, a real API server, speakers as processes
//!                   └─ Kind: docker exec, kubectl, helm
//! ```
//!
//! What always holds:
//! * The seam is low: commands, not answers. What a scenario asserts, and the command that it asks with, are the same in
//!   both places; a rig adds no assertion and leaves none out.
//! * A scenario takes away the objects that it made, and sets the nodes right again, also when it fails.
//! * Every wait has an end.
//! * Nothing here is for Linux alone: what needs Linux runs on the client, which is a container or a namespace.

mod bgp;
mod chaos;
mod client;
mod gateway;
mod ground;
pub mod kind;
mod l2;
mod manifests;
pub mod report;
mod rig;
mod smoke;
mod suites;
mod upgrade;
mod wait;

pub use rig::{Facts, Family, Fate, Rig};
pub use suites::{Outcome, SUITES, Scenario, Suite, run, scenarios};
pub use wait::eventually;

/// Errors are read by people; no code decides by them.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
