//! An upgrade of the chart, while somebody calls.

use anyhow::ensure;

use crate::Result;
use crate::ground::Ground;
use crate::l2::answering;
use crate::wait::{SOON, eventually};

/// Every speaker is replaced. A connection that is open when its node hands its VIP over still answers after that, and
/// whoever calls meanwhile is answered.
pub(crate) fn nobody_notices_an_upgrade(ground: &Ground<'_>) -> Result<Option<String>> {
    let vips = answering(ground)?;
    let mut notes = Vec::new();
    for vip in vips {
        ground.settle()?;
        let owner = ground.owner(vip)?;
        let (moved, calls) = ground.client().meanwhile((vip, 8080), || {
            std::thread::sleep(std::time::Duration::from_secs(1));
            ground.rig.upgrade()?;
            eventually(SOON * 2, || {
                let now = ground.owner(vip)?;
                ensure!(now != owner, "{owner} still has {vip}");
                Ok(())
            })?;
            let moved = ground.client().now()?;
            // On the connection they ask ten times a second.
            std::thread::sleep(std::time::Duration::from_secs(3));
            Ok(moved)
        })?;
        calls.held_beyond(moved + 1.0)?;
        let (good, bad) = calls.counts();
        ensure!(bad == 0, "of {} calls {bad} were not answered at once: {calls:?}", good + bad);
        notes.push(format!("{vip}: {good} calls during the hand-over, none missed"));
        ground.rig.upgraded()?;
        ground.settle()?;
        ground.client().greeting(vip, 8080)?;
    }
    Ok(Some(notes.join("; ")))
}
