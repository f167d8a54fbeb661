//! What stands still, and goes on later.

use anyhow::ensure;

use crate::Result;
use crate::ground::Ground;
use crate::l2::{answering, taken_over};
use crate::rig::Fate;

/// While the API server stands still, what works goes on, and a node that is lost then is replaced as ever.
pub(crate) fn the_api_server_stands_still(ground: &Ground<'_>) -> Result<Option<String>> {
    let vips = answering(ground)?;
    let vip = vips[0];
    let owner = ground.owner(vip)?;
    // The addresses of nodes are asked for before.
    let rig = ground.rig;
    rig.api_server(true)?;
    let asked = rig.kubectl(&["get", "--raw=/readyz", "--request-timeout=2s"], "");
    ensure!(asked.is_err(), "control: the API server answers");
    for vip in &vips {
        ground.client().answers((*vip, 8080), 20, "pod")?;
    }
    let (_, calls) = ground.client().meanwhile((vip, 8080), || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        rig.node(&owner, Fate::Lost)?;
        std::thread::sleep(std::time::Duration::from_secs_f64(crate::l2::FAIL_OVER + 2.0));
        Ok(())
    })?;
    let outage = calls.outage()?;
    ensure!(outage <= crate::l2::FAIL_OVER, "nobody served {vip} for {outage:.1} s: {calls}");
    rig.api_server(false)?;
    ground.settle()?;
    let next = ground.owner(vip)?;
    ensure!(next != owner, "{owner} took {vip} back");
    ground.only(&next, vip, 8080)?;
    Ok(Some(format!("{vip} of {owner}, lost without an API server: again after {outage:.1} s")))
}

/// The processes of a node stand still, and its kernel does not: another one takes its VIP. When they go on, one of both
/// has it, and the other knows: the larger part of the group, or of two the one that had it first (docs/ownership.md).
pub(crate) fn a_node_stands_still(ground: &Ground<'_>) -> Result<Option<String>> {
    let vip = answering(ground)?[0];
    let owner = ground.owner(vip)?;
    let (next, outage) = taken_over(ground, vip, &owner, Fate::Frozen)?;
    ground.settle()?;
    let last = ground.agreed(vip, 8080)?;
    ensure!(last == next || last == owner, "{last} has {vip}, after {owner} and {next}");
    ground.client().greeting(vip, 8080)?;
    Ok(Some(format!(
        "{vip} of {owner}, which stood still: by {next} after {outage:.1} s, and in the end by {last}"
    )))
}
