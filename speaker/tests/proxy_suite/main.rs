//! The forwarding engine over real sockets.
//!
//! Everything is on 127.0.0.0/8; each test has an address of its own, so they run side by side.
//! What counts the process's files, memory or wake-ups runs in a child process of its own.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

mod access_log;
mod admission;
mod backend_stream;
mod backend_tls;
mod balancing;
mod by_route;
mod ca;
mod checks;
mod child;
mod client_certs;
mod config;
mod crowd;
mod drain;
mod ejection;
mod flood;
mod forward;
mod gone;
mod greeting;
mod half_open;
mod helper;
mod http;
mod https;
mod idle;
mod introduction;
mod limits;
mod passthrough;
mod ports;
mod proxy_header;
mod reset;
mod rig;
mod route;
mod speed;
mod stream;
mod tls;
