//! The speakers as a group: who is alive, what each says of itself, and so who owns which VIP.
//!
//! ```text
//!   UDP ──> io (thread vipgate-group) ──> core ──┬─ session   handshake, seal, replays (wire, replay, key)
//!    ▲                                     │     ├─ swim      who is alive (foca)
//!    └────────────── Send ─────────────────┤     └─ store     what each says of itself
//!                                          │
//!                                       Changed ──> member ──> planner::ownership ──> what is served here
//!                                                      ▲                 │
//!   node (what could be served here) ── offers ────────┘                 └──> entries of our own, said to all
//! ```
//!
//! `core` and everything below it are plain state machines: no socket, no clock, no task; so the tests
//! run hours of a group in seconds. `io` owns the socket, on a thread of its own, so that no
//! load elsewhere in the process delays a heartbeat.
//!
//! Members are told of each other, or find each other by multicast (`beacon`).
//!
//! Guarantees: a datagram without the seal of the group is never answered and changes nothing; none is longer than
//! [`wire::MAX_DATAGRAM`]; a member that is gone is known to be gone by all within 800 ms. Caveat: any
//! member can say anything about any member: a group trusts its hosts.

pub mod beacon;
mod codec;
pub mod core;
mod counters;
pub mod io;
pub mod key;
pub mod member;
mod news;
mod record;
mod refusal;
mod replay;
pub mod session;
pub mod store;
pub mod swim;
pub mod takeover;
pub mod wire;

pub use counters::Counts;
pub use io::{Group, GroupError};
pub use key::{GroupKey, KeyError, Keyring};
pub use member::{Notes, Offers, Other, Standing};
pub use news::News;
pub use takeover::{Cause, Takeover};

#[cfg(test)]
mod tests;
