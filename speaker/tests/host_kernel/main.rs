//! The host against a real kernel, in network namespaces.
//!
//! Needs root, or a user namespace with a private `/run` as [`userns`] makes one. Fails without.

// clippy.toml allows it in tests, but does not see that what they share is a test too.
#![allow(clippy::unwrap_used)]

mod addresses;
mod links;
mod netns;
mod silence;
mod unprivileged;
mod userns;

use std::collections::BTreeSet;
use std::net::IpAddr;

use vipgate_speaker::host::{Host, VipOutcomes};

/// A set of VIPs.
fn set(vips: &[&str]) -> BTreeSet<IpAddr> {
    vips.iter().map(|vip| ip(vip)).collect()
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
