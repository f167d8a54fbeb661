//! Whether the VIPs of other members answer from here: asked for from time to time, on the wire that clients use.
//!
//! ```text
//!   plan, links, standing ──> roster ──> schedule ──> who has it? (l2) ──> visit ──> Reached, for whoever asks
//!      (io: one task)      whose VIPs      when        ARP or NDP       a SYN to each
//!                                                                        TCP port (wire)
//! ```
//!
//! # Flow
//! A VIP that a member announces on a LAN is asked for by one other member: of those that could take it over and
//! that ask at all, the first by rendezvous hash. First the question who has the address, which its owner has to
//! answer; then to that Ethernet address a SYN for each port that a listener has. SYN and ACK are answered with a RST.
//!
//! # Guarantees
//! * Nothing of it depends on the routes or rules of this host: frames leave by a packet socket. So a VIP that
//!   this host has on `lo` itself (routers are told of it from here), or that kube-proxy leads elsewhere here, is
//!   asked for on the wire all the same.
//! * The connection is never established: no listener accepts, counts, limits or logs it, and no endpoint sees it.
//! * At most 20 VIPs begin to be asked for in a second, at most 8 are at a time, and 16 ports of each. What came
//!   while the VIP moved does not count.
//! * Of more than 16 ports the others are asked for the next time, and until then what was found of each stands: a VIP
//!   is reached when all of its ports answered that were asked for, each the last time.
//!
//! # Caveats
//! * A listener that is bound and accepts nothing looks well: its kernel answers. So do endpoints that are gone.
//! * VIPs that only routers are told of are not asked for: which node a router takes is the router's, and
//!   differs with every port. Nor are ports of UDP, which have no answer of their own, and those of Services, which
//!   are other programs' to forward: of these the address alone is.

mod io;
mod lines;
mod result;
mod roster;
mod schedule;
mod turns;
mod visit;
mod wire;

pub use io::Asking;
pub(crate) use io::{Sources, start};
pub(crate) use result::Board;
pub use result::{Outcome, Reached, Snapshot};
