//! BFD (RFC 5880): notices within fractions of a second that a router cannot be reached.
//!
//! ```text
//!   Bfd ──sessions, by a bounded queue──> thread `vipgate-bfd` ──changes──> whoever holds the session
//!                                           Fsm per session
//!                                           ├─ a socket per session to send (RFC 5881: its port is the session's)
//!                                           ├─ sockets to receive: ports 3784 and 4784, IPv4 and IPv6
//!                                           └─ with echo: a packet socket per link, for frames of ports 3784 and 3785
//! ```
//!
//! `wire` and `fsm` are plain: no socket, no clock, no task. `io` joins them on a thread and
//! runtime of its own, so that no load on the rest of the process delays a packet.
//!
//! Asynchronous mode, single hop (RFC 5881) and multihop (RFC 5883), without authentication or demand
//! mode. The echo function for IPv4 and a single hop.

pub mod fsm;
pub mod io;
pub mod wire;
