//! vipgate as its users run it: the real binary on machines of the lab, real servers behind it,
//! and everything asserted from outside, on the wire and through sockets.

// Clippy takes the functions that tests share for product code.
#![allow(clippy::unwrap_used)]

mod addresses;
mod bgp;
mod bgp_echo;
mod bgp_figures;
mod check;
mod controls;
mod examples;
mod figures;
mod files;
mod flaps;
mod group;
mod guard;
mod health;
mod hosts;
mod http_ingress;
mod ipv6;
mod links;
mod loopback;
mod names;
mod policies;
mod process;
mod reach;
mod reload;
mod routed;
mod site;
mod status;
mod tls;
mod traffic;
mod udp;
mod wire;
mod wireguard;
