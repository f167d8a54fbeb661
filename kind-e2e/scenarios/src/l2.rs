//! VIPs on the network of the nodes: who answers for them, and who when that one is lost.

use std::net::IpAddr;

use anyhow::{Context, ensure};

use crate::Result;
use crate::ground::Ground;
use crate::manifests::{self, Server};
use crate::rig::Fate;
use crate::wait::{SOON, eventually};

/// For whoever runs it on a busy machine, or in containers; what it took is in the report. The limits that are promised
/// are measured by `make figures`.
pub(crate) const FAIL_OVER: f64 = 5.0;

/// A Gateway with a listener at port 8080 that answers; its VIPs.
pub(crate) fn answering(ground: &Ground<'_>) -> Result<Vec<IpAddr>> {
    ground.servers("echo", Server::Tcp, 1)?;
    ground.apply(&manifests::gateway("web", "protocol: TCP, port: 8080", None))?;
    ground.apply(&manifests::route("TCPRoute", ("web", "web"), "", &[("echo", 3000, 1)]))?;
    let vips = ground.gateway("web")?;
    for vip in &vips {
        eventually(SOON, || ground.client().greeting(*vip, 8080))?;
    }
    Ok(vips)
}

/// One node answers for a VIP, and it is the one that says that it serves it; none for an address that is no VIP.
pub(crate) fn one_node_answers(ground: &Ground<'_>) -> Result<Option<String>> {
    let vips = answering(ground)?;
    for vip in &vips {
        let owner = ground.owner(*vip)?;
        ground.only(&owner, *vip, 8080)?;
    }
    // Control: the asking finds nobody where nobody is.
    ground.delete(&manifests::gateway("web", "protocol: TCP, port: 8080", None))?;
    for vip in vips {
        eventually(SOON, || {
            let found = ground.client().who_has(vip, 8080)?;
            ensure!(found.is_empty(), "{found:?} answer for {vip}, which is no VIP any more");
            Ok(())
        })?;
    }
    Ok(None)
}

/// When the node that has a VIP is lost, another one serves it; when it is back, the VIP stays where it is.
pub(crate) fn a_lost_node_is_replaced(ground: &Ground<'_>) -> Result<Option<String>> {
    let vips = answering(ground)?;
    let mut notes = Vec::new();
    for vip in vips {
        ground.settle()?;
        let owner = ground.owner(vip)?;
        let (next, outage) = taken_over(ground, vip, &owner, Fate::Lost)?;
        notes.push(format!("{vip} of {owner}, which was lost: by {next} after {outage:.1} s"));
        ground.settle()?;
        ground.only(&next, vip, 8080)?;
    }
    Ok(Some(notes.join("; ")))
}

/// Does this to the owner of a VIP that somebody calls at port 8080; who has it then, and for how many seconds nobody
/// answered.
pub(crate) fn taken_over(
    ground: &Ground<'_>,
    vip: IpAddr,
    owner: &str,
    fate: Fate,
) -> Result<(String, f64)> {
    let (_, calls) = ground.client().meanwhile((vip, 8080), || {
        // Some good calls before, and after.
        std::thread::sleep(std::time::Duration::from_secs(1));
        ground.rig.node(owner, fate)?;
        std::thread::sleep(std::time::Duration::from_secs_f64(FAIL_OVER + 2.0));
        Ok(())
    })?;
    let outage = calls.outage()?;
    ensure!(outage <= FAIL_OVER, "nobody served {vip} for {outage:.1} s: {calls}");
    // On an idle machine there are some sixty.
    ensure!(calls.good() >= 3, "this machine is too busy to see an outage: {calls}");
    let others = ground.others(owner);
    let expected: Vec<String> = (others.iter())
        .map(|node| ground.client().mac_of_node(ground.address(node, crate::Family::of(vip))?))
        .collect::<Result<_>>()?;
    let found = eventually(SOON, || {
        let found = ground.client().who_has(vip, 8080)?;
        ensure!(found.len() == 1, "{found:?} answer for {vip}");
        Ok(found)
    })?;
    let at = expected.iter().position(|mac| found.contains(mac));
    let at = at.with_context(|| format!("{found:?} answers for {vip}, none of {expected:?}"))?;
    let next = others.into_iter().nth(at).context("one of the others")?;
    Ok((next, outage))
}
