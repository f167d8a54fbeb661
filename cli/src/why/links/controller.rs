//! Whether somebody decides, and has seen the object as it is. On a host without a cluster the process that was
//! asked is the one.

use vipgate_api::ObjectRef;

use crate::why::cause::{Cause, Fill, Stage};
use crate::why::chain::Chain;
use crate::why::facts::{Lease, Place, Said};

/// Somebody decides.
pub(super) fn lease(chain: &mut Chain<'_>, about: &ObjectRef) {
    let Place::Cluster { lease, .. } = &chain.facts.place else { return };
    match lease {
        Lease::Held(holder) => {
            chain.good(Stage::Controller, about, format!("{holder} decides"));
        }
        Lease::Free => {
            chain.broken(Cause::NoController, about, "nobody has the Lease", Fill::none());
        }
        Lease::Late(holder, late) => {
            let seconds = late.as_secs();
            let text = format!("{holder} should have renewed its Lease {seconds} s ago");
            chain.broken(Cause::ControllerSilent, about, text, Fill::none());
        }
        Lease::Unknown(why) => {
            chain.unknown(Stage::Controller, about, format!("its Lease cannot be read: {why}"));
        }
    }
}

/// The status of an object, of which these conditions are ours, is of what the object is now.
pub(super) fn seen(chain: &mut Chain<'_>, about: &ObjectRef, said: &[Said]) {
    let facts = chain.facts;
    if !facts.in_cluster() {
        return;
    }
    let contested =
        said.iter().find(|said| said.kind == "vipgate.dev/Contested" && said.holds == Some(true));
    if let Some(contested) = contested {
        chain.broken(Cause::StatusOverwritten, about, contested.message.clone(), Fill::none());
    }
    if said.is_empty() {
        let text = "nothing is said of it in its status";
        chain.broken(Cause::StatusBehind, about, text, Fill::none());
    } else if let Some(now) = facts.generation(about)
        && let Some(seen) = said.iter().filter_map(|said| said.seen).min()
        && seen < now
    {
        let text = format!("its status is of generation {seen}, and it is of {now}");
        chain.broken(Cause::StatusBehind, about, text, Fill::none());
    }
}
