//! ARP for VIPs (RFC 826, RFC 5227): probe, announce, answer, defend.
//!
//! ```text
//!                     set_links, set_owned, probe           Conflict, Counts
//!                                │                                ▲
//!  ArpSpeaker ───────────────────┼────────────────────────────────┼─────────────
//!                     watch      │     bounded queue              │
//!  LinkTask (one per link, io) ──▼────────────────────────────────┴─────────────
//!      Responder: VIPs owned here ── Schedule (burst, then every 30 s)
//!                                 ├─ Defence  (once per 10 s, report)
//!                                 └─ ReplyLimit
//!      Probe …: addresses being asked for
//!         ▲ Frame (wire)   │ Frame
//!  ───────┼────────────────▼────────────────────────────────────────────────────
//!      PacketSocket, behind a filter that passes only our addresses
//! ```
//!
//! The kernel is kept from speaking about VIPs elsewhere (`host`); what is sent here passes it by.
//! `responder`, `probe`, `filter` and `wire` are plain state machines and functions: no socket, no
//! clock, no task. `io` joins them with the socket, and `speaker` is what the node uses.
//!
//! Guarantees: nothing is said about a VIP on a link that does not own it; a dead process says
//! nothing at all. Caveat: a conflict is reported and the VIP defended; whether to yield is the
//! node's decision.

mod counters;
mod defence;
mod error;
pub mod filter;
mod io;
mod limit;
pub mod probe;
mod reason;
pub mod responder;
mod schedule;
pub mod socket;
mod speaker;
pub mod wire;

pub use counters::Counts;
pub use defence::DEFEND_INTERVAL;
pub use error::ArpError;
pub use reason::DropReason;
pub use speaker::{ArpSpeaker, Conflict, ProbeOutcome};

#[cfg(test)]
mod tests;
