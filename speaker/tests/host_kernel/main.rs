//! The host against a real kernel, in network namespaces.
//!
//! Needs root, or a user namespace with a private `/run` as [`userns`] makes one. Fails without.

// clippy.toml allows it in tests, but does not see that what they share is a test too.
#![allow(clippy::unwrap_used)]

mod addresses;
mod guard;
mod links;
mod netns;
mod preserve;
mod silence;
mod unprivileged;
mod userns;

use std::net::IpAddr;

use vipgate_speaker::host::{Exposure, Exposures, Host, VipOutcomes};

/// VIPs of which nothing is served.
fn set(vips: &[&str]) -> Exposures {
    vips.iter().map(|vip| (ip(vip), Exposure::default())).collect()
}

/// A VIP of which these TCP ports are served, each by a socket on the other.
fn exposing(vip: &str, ports: &[(u16, u16)]) -> (IpAddr, Exposure) {
    let mut exposure = Exposure::default();
    ports.iter().for_each(|(port, served_at)| exposure.tcp(*port, *served_at));
    (ip(vip), exposure)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Makes the host have exactly these, which must work.
async fn hold(host: &Host, vips: &[&str]) {
    let outcomes = host.set_vips(set(vips)).await;
    let expected: VipOutcomes = vips.iter().map(|vip| (ip(vip), Ok(()))).collect();
    assert_eq!(outcomes, expected);
}
