//! VIPs that a router is told of.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::Result;
use crate::ground::Ground;
use crate::manifests::{self, Server};
use crate::rig::{Family, Fate};
use crate::wait::{SOON, eventually};

/// FRR learns a VIP from every node and leads the client there; from a node that is lost it forgets it, and from all when
/// the Gateway is gone.
pub(crate) fn the_router_follows(ground: &Ground<'_>) -> Result<Option<String>> {
    let facts = ground.facts();
    ground.servers("echo", Server::Tcp, 1)?;
    ground.apply(&manifests::routed(&facts.namespace, &facts.routers))?;
    let gateway = manifests::gateway("routed", "protocol: TCP, port: 8080", Some("routed"));
    ground.apply(&gateway)?;
    ground.apply(&manifests::route("TCPRoute", ("routed", "routed"), "", &[("echo", 3000, 1)]))?;
    let vips = ground.gateway("routed")?;
    for vip in &vips {
        knows(ground, *vip, &facts.edges)?;
        eventually(SOON, || ground.client().greeting(*vip, 8080))?;
        // Nobody answers for it on the network: the way is the router's.
        let found = ground.client().who_has(*vip, 8080)?;
        ensure!(found.is_empty(), "{found:?} answer for {vip} by themselves");
    }
    let lost = facts.edges.first().context("an edge")?;
    let others: Vec<String> = ground.others(lost).into_iter().collect();
    ground.rig.node(lost, Fate::Lost)?;
    for vip in &vips {
        knows(ground, *vip, &others)?;
        ground.client().answers((*vip, 8080), 5, "pod")?;
    }
    ground.settle()?;
    for vip in &vips {
        knows(ground, *vip, &facts.edges)?;
    }
    ground.delete(&gateway)?;
    for vip in vips {
        knows(ground, vip, &[])?;
    }
    Ok(None)
}

/// Waits until the router has ways to a VIP through exactly these nodes.
fn knows(ground: &Ground<'_>, vip: IpAddr, nodes: &[String]) -> Result<()> {
    let (family, length) = match Family::of(vip) {
        Family::V4 => ("ipv4", 32),
        Family::V6 => ("ipv6", 128),
    };
    // Before anybody is lost: its address is in its Node then as well.
    let addresses = nodes.iter().map(|node| ground.address(node, Family::of(vip)));
    let expected: BTreeSet<IpAddr> = addresses.collect::<Result<_>>()?;
    eventually(SOON * 2, || {
        let said = ground.rig.router(&format!("show bgp {family} unicast {vip}/{length} json"))?;
        let found = next_hops(&said)?;
        ensure!(found == expected, "{vip} goes to {found:?}, not {expected:?}: {said}");
        Ok(())
    })
}

/// Those of the valid paths in what FRR says of a prefix; nothing where it does not know it.
pub(crate) fn next_hops(said: &str) -> Result<BTreeSet<IpAddr>> {
    let route: Value = serde_json::from_str(said).with_context(|| format!("FRR says {said:?}"))?;
    let paths = route["paths"].as_array().cloned().unwrap_or_default();
    let hops = (paths.iter().filter(|path| path["valid"] == true))
        .flat_map(|path| path["nexthops"].as_array().cloned().unwrap_or_default());
    // An IPv6 path may have a link-local one beside it.
    let global = hops.filter(|hop| hop["scope"] != "link-local");
    let texts = global.filter_map(|hop| Some(hop["ip"].as_str()?.to_owned()));
    texts.map(|text| text.parse().with_context(|| text.clone())).collect()
}
