//! The forwarding of datagrams over real sockets.
//!
//! Everything is on the loopback; each test has an address of its own, so they run side by side. What
//! counts the process's files runs in a child process of its own.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

mod access_log;
mod amplification;
mod balancing;
mod bulk;
mod config;
mod cut;
mod drain;
mod forward;
mod limits;
mod policies;
mod refusal;
mod rig;
mod speed;
