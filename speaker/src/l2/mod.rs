//! ARP (RFC 826, RFC 5227) and NDP (RFC 4861, RFC 4862) for VIPs: probe, announce, answer, defend.
//!
//! ```text
//!                     set_links, set_owned, probe           Sighting, Counts
//!                                │                                ▲
//!  L2Speaker ────────────────────┼────────────────────────────────┼─────────────
//!                     watch      │     bounded queue              │
//!  LinkTask (link, protocol; io) ▼────────────────────────────────┴─────────────
//!      Responder: VIPs owned here ── Schedule (burst, then every 30 s)
//!                                 ├─ Defence  (once per 10 s, report)
//!                                 └─ ReplyLimit
//!      Probe …: addresses being asked for
//!         ▲ Frame          │ Frame               (arp, ndp: to bytes and back)
//!  ───────┼────────────────▼────────────────────────────────────────────────────
//!      PacketSocket, behind a filter that passes only our addresses; Groups (NDP)
//! ```
//!
//! The kernel is kept from speaking about VIPs elsewhere (`host`); what is sent here passes it by.
//! `responder`, `probe`, `filter`, `arp` and `ndp` are plain state machines and functions: no socket, no
//! clock, no task. `io` joins them with the socket, and `speaker` is what the node uses.
//!
//! Guarantees: nothing is said about a VIP on a link that does not own it; a dead process says
//! nothing at all. Caveat: a stranger that claims a VIP is reported, and the VIP defended; a member of the
//! group is reported only, and whether to yield is the node's decision.

pub mod arp;
mod counters;
mod defence;
mod error;
pub mod filter;
pub mod frame;
mod groups;
mod io;
mod limit;
pub mod ndp;
pub mod probe;
mod reason;
pub mod responder;
mod schedule;
pub mod socket;
mod speaker;

pub use counters::Counts;
pub use defence::DEFEND_INTERVAL;
pub use error::L2Error;
pub use frame::{Frame, Protocol};
pub use reason::DropReason;
pub use speaker::{L2Speaker, ProbeOutcome, Sighting};

#[cfg(test)]
mod tests;
