//! vipgate as its users run it: the real binary on machines of the lab, real servers behind it,
//! and everything asserted from outside, on the wire and through sockets.

mod addresses;
mod examples;
mod loopback;
mod process;
mod reload;
mod site;
mod traffic;
