//! BGP: tells routers that this node takes the traffic of its VIPs (RFC 4271).
//!
//! ```text
//!            set_routes, stop            Status                  bfd::Status
//!                  │                       ▲                          │
//!  Peer (io) ──────┼───────────────────────┼──────────────────────────┼───────
//!                  │ newest only           │ newest only              │
//!  PeerTask (io) ──▼───────────────────────┴──────────────────────────▼───────
//!      Fsm (fsm): the session ── timers, negotiation, backoff, planned stop
//!      Rib (rib): what the peer should have and has ── fewest UPDATEs
//!         │ Control, routes           ▲ Message
//!      wire: bytes ── zettabgp behind a guard
//!  ───────▼───────────────────────────┴───────────────────────────────────────
//!      TCP socket, one per peer; and where peers call, one listener for all of them
//! ```
//!
//! `wire`, `fsm` and `rib` are plain: no socket, no clock, no task. `io` joins them, one task per
//! peer, so that a slow or hostile peer delays no other.
//!
//! Guarantees: nothing a peer sends is installed anywhere; a session that is lost is tried again
//! until it is stopped; after it is established the peer has exactly the routes last set. Caveats:
//! we listen only while a peer is passive; no add-path, no longer messages than 4,096 bytes.

pub mod fsm;
pub mod io;
pub mod peers;
pub mod rib;
pub mod unnumbered;
pub mod wire;
