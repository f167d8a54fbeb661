//! The forwarding engine over real sockets.
//!
//! Everything is on 127.0.0.0/8; each test has an address of its own, so they run side by side.
//! What counts the process's files, memory or wake-ups runs in a child process of its own.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

mod balancing;
mod checks;
mod child;
mod config;
mod drain;
mod ejection;
mod forward;
mod gone;
mod half_open;
mod http;
mod https;
mod limits;
mod passthrough;
mod proxy_header;
mod reset;
mod rig;
mod route;
mod speed;
mod stream;
mod tls;
