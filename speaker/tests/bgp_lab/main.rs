//! BGP with routers as they are: FRR and BIRD from Debian, in network namespaces.
//!
//! Needs root (FRR changes to its own user), the routers (scripts/install-test-tools.sh) and the
//! lab. Everything is looked for where it counts: in the forwarding table of the router. Names in
//! quotes are those of MetalLB's tests.

// clippy.toml allows it in tests, but does not see that what they share is a test too.
#![allow(clippy::unwrap_used)]

mod bfd;
mod calls;
mod captures;
mod echo;
mod ecmp;
mod peers;
mod sessions;
mod site;
mod timing;
mod troubles;
mod vrf;
