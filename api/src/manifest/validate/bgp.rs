//! BGPPeer, BGPAdvertisement, BFDProfile and Community: their specs know what is wrong with them; here is
//! what many kinds have in common.

use super::metadata::note as note_good;
use super::names;
use super::selector::selectors;
use crate::manifest::problem::Findings;
use crate::vipgate::{BgpAdvertisement, BgpPeer, Fault};

pub(super) fn note(faults: Vec<Fault>, findings: &mut Findings) {
    for Fault { path, message } in faults {
        findings.error(path, message);
    }
}

pub(super) fn peer(peer: &BgpPeer, findings: &mut Findings) {
    let spec = &peer.spec;
    note(spec.faults(), findings);
    selectors("spec.nodeSelectors", &spec.node_selectors, findings);
    if spec.router_id.is_some() && spec.node_selectors.is_empty() {
        let message = "every node has this identifier, and routers take it from one only: select that one \
            by `nodeSelectors`, unless there is no other";
        findings.warning("spec.routerID", message);
    }
    if spec.hold_time().is_some_and(|time| time.is_zero()) && spec.bfd_profile.is_none() {
        let message = "with 0 and without `bfdProfile` a lost path is never noticed";
        findings.warning("spec.holdTime", message);
    }
}

pub(super) fn advertisement(advertisement: &BgpAdvertisement, findings: &mut Findings) {
    let spec = &advertisement.spec;
    note(spec.faults(), findings);
    for (field, names) in [("ipAddressPools", &spec.ip_address_pools), ("peers", &spec.peers)] {
        for (index, name) in names.iter().enumerate() {
            note_good(&format!("spec.{field}[{index}]"), names::subdomain(name), findings);
        }
    }
    selectors("spec.ipAddressPoolSelectors", &spec.ip_address_pool_selectors, findings);
    selectors("spec.nodeSelectors", &spec.node_selectors, findings);
    selectors("spec.serviceSelectors", &spec.service_selectors, findings);
    selectors("spec.gatewaySelectors", &spec.gateway_selectors, findings);
}
