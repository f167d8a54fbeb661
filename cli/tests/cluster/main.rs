//! vipgate in a cluster: the real binary as controller and speaker, against a real API server,
//! everything asserted from outside: in the API, on the wire and through sockets.

// Clippy takes the functions that tests share for product code.
#![allow(clippy::unwrap_used)]

mod assignments;
mod authorities;
mod bgp;
mod bgp_objects;
mod callers;
mod certificates;
mod chart;
mod check;
mod companions;
mod contests;
mod controllers;
mod crds;
mod draining;
mod gateways;
mod graceful_restart;
mod group;
mod installed;
mod interrupted;
mod kube_proxy;
mod l2;
mod names;
mod nearness;
mod neighbours;
mod policies;
mod reach;
mod refusals;
mod rights;
mod routed;
mod scale;
mod service_claims;
mod services;
mod shared;
mod site;
mod speakers;
mod tls;
mod truth;
mod versions;
