//! An upgrade of the chart, while somebody calls.

use anyhow::ensure;

use crate::Result;
use crate::ground::Ground;
use crate::l2::answering;
use crate::wait::{SOON, eventually};

/// Every speaker is replaced, and whoever calls meanwhile is answered. What becomes of a connection that is open when its
/// node hands the VIP over is told, not asked for: nothing of vipgate leads it back to that node yet.
pub(crate) fn callers_notice_no_upgrade(ground: &Ground<'_>) -> Result<Option<String>> {
    let vips = answering(ground)?;
    let mut notes = Vec::new();
    for vip in vips {
        ground.settle()?;
        let owner = ground.owner(vip)?;
        let done = ground.client().meanwhile((vip, 8080), || {
            std::thread::sleep(std::time::Duration::from_secs(1));
            ground.rig.upgrade()?;
            eventually(SOON * 2, || {
                let now = ground.owner(vip)?;
                ensure!(now != owner, "{owner} still has {vip}");
                Ok(())
            })?;
            std::thread::sleep(std::time::Duration::from_secs(3));
            Ok(())
        });
        // Also when nobody was served meanwhile: the next scenario needs its speakers.
        let upgraded = ground.rig.upgraded();
        let ((), calls) = done?;
        upgraded?;
        ensure!(calls.missed() == 0, "somebody was missed: {calls}");
        notes.push(format!("{vip}, handed over by {owner}: {calls}"));
        ground.settle()?;
        ground.client().greeting(vip, 8080)?;
    }
    Ok(Some(notes.join("; ")))
}
