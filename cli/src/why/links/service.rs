//! The links of a Service of type LoadBalancer: ours or not, its address, its VIP, the endpoints that the kernel
//! forwards to.

use std::net::IpAddr;

use vipgate_api::k8s::{EndpointSlice, SERVICE_NAME_LABEL, Service};
use vipgate_api::{Kind, ObjectRef, Reason};
use vipgate_planner::services::{COMPANION_CLASS, SERVICE_CLASS};

use super::{controller, gateway, object, reasons, vip};
use crate::why::cause::{Cause, Fill, Stage};
use crate::why::chain::Chain;
use crate::why::facts::{Facts, Place, Said, conditions};

/// The condition that vipgate writes into Services.
const ASSIGNED: &str = "vipgate.dev/AddressAssigned";

/// All of them; of one address only, if one is meant.
pub(super) fn links(chain: &mut Chain<'_>, service: &ObjectRef, address: Option<IpAddr>) {
    let facts = chain.facts;
    match facts.place {
        Place::Host => {
            let text = "without a cluster Services are what routes lead to, and have no VIP";
            chain.broken(Cause::ServicesNeedCluster, service, text, Fill::none());
            return;
        }
        Place::Speaker => {
            let text = "a speaker does not know it: ask the cluster with --kubeconfig FILE";
            chain.unknown(Stage::Object, service, text);
        }
        Place::Cluster { .. } => {
            let is_unseen = !facts.things.contains_key(service)
                && chain.is_open(Stage::Object, service, &[Kind::Service]);
            if !is_unseen && !head(chain, service) {
                return;
            }
        }
    }
    let vips = facts.vips_of(service);
    let vips: Vec<_> =
        vips.filter(|vip| address.is_none_or(|meant| vip.status.address == meant)).collect();
    if vips.is_empty() && !chain.is_broken() {
        chain.broken(Cause::NotClaimed, service, "no address is claimed for it", Fill::none());
    }
    for one in vips {
        vip::links(chain, service, one);
    }
    if facts.in_cluster() {
        endpoints(chain, service);
    }
}

/// From the object to its address, by what is written in it; whether it is ours.
fn head(chain: &mut Chain<'_>, service: &ObjectRef) -> bool {
    let facts = chain.facts;
    object(chain, service);
    let Some(read) = facts.read::<Service>(service) else {
        chain.unknown(Stage::Class, service, "it has not the form of a Service");
        return false;
    };
    if !class(chain, service, &read) {
        return false;
    }
    let said = facts.things.get(service).map(|thing| conditions(&thing["status"]));
    let said = said.unwrap_or_default();
    // Others write conditions of their own into it.
    let ours: Vec<Said> =
        said.into_iter().filter(|said| said.kind.starts_with("vipgate.dev/")).collect();
    controller::lease(chain, service);
    controller::seen(chain, service, &ours);
    address(chain, service, &ours);
    true
}

fn class(chain: &mut Chain<'_>, service: &ObjectRef, read: &Service) -> bool {
    let spec = read.spec.as_ref();
    let kind = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    let class = spec.and_then(|spec| spec.load_balancer_class.as_deref());
    match (kind, class) {
        ("LoadBalancer", Some(COMPANION_CLASS)) => {
            let text = format!("it stands for Gateway {}", service.key);
            chain.broken(Cause::ServiceIsCompanion, service, text, Fill::none());
            false
        }
        ("LoadBalancer", Some(class)) if class != SERVICE_CLASS => {
            let text = format!("spec.loadBalancerClass is {class}, which is another program's");
            chain.broken(Cause::ServiceOtherClass, service, text, Fill::none());
            false
        }
        ("LoadBalancer", class) => {
            let text = class.unwrap_or("no loadBalancerClass: vipgate may take it");
            chain.good(Stage::Class, service, text);
            true
        }
        (other, _) => {
            let text = format!("spec.type is {other}");
            chain.broken(Cause::ServiceNotLoadBalancer, service, text, Fill::none());
            false
        }
    }
}

fn address(chain: &mut Chain<'_>, service: &ObjectRef, ours: &[Said]) {
    let Some(assigned) = ours.iter().find(|said| said.kind == ASSIGNED) else { return };
    if assigned.holds != Some(false) {
        chain.good(Stage::Address, service, assigned.message.clone());
        return;
    }
    let (reason, message) = (assigned.known(), assigned.message.clone());
    match reason {
        Some(Reason::OtherController) => {
            chain.broken(Cause::ServiceLeftToOther, service, message, Fill::none());
        }
        // The VIP says what it waits for.
        Some(Reason::Pending) => {}
        reason => match reason.and_then(reasons::of_address) {
            Some(cause) => {
                if matches!(cause, Cause::NoPool | Cause::PoolNotFound | Cause::AddressNotInPool) {
                    gateway::broken_pools(chain);
                }
                chain.broken_at(Stage::Address, cause, service, message, Fill::none());
            }
            None => chain.broken(Cause::AddressMissing, service, message, Fill::none()),
        },
    }
}

/// Where the kernel forwards to.
fn endpoints(chain: &mut Chain<'_>, service: &ObjectRef) {
    let (ready, all) = counted(chain.facts, service);
    if ready == 0 {
        let text = format!("none of {all} endpoints is ready");
        chain.broken(Cause::ServiceNoEndpoints, service, text, Fill::none());
    } else {
        chain.good(Stage::Endpoint, service, format!("{ready} of {all} endpoints are ready"));
    }
    let Some(thing) = chain.facts.things.get(service) else { return };
    let ranges = &thing["spec"]["loadBalancerSourceRanges"];
    if ranges.as_array().is_some_and(|ranges| !ranges.is_empty()) {
        let text = format!(
            "loadBalancerSourceRanges {ranges}: the kernel lets in only clients from there"
        );
        chain.note(Stage::Client, service, text);
    }
}

/// Endpoints of a Service that are ready, and all of them.
fn counted(facts: &Facts, service: &ObjectRef) -> (usize, usize) {
    let slices = facts.of_kind(Kind::EndpointSlice).filter(|(slice, thing)| {
        slice.key.namespace == service.key.namespace
            && thing["metadata"]["labels"][SERVICE_NAME_LABEL] == service.key.name.as_str()
    });
    let slices = slices.filter_map(|(slice, _)| facts.read::<EndpointSlice>(slice));
    let (mut ready, mut all) = (0, 0);
    for endpoint in slices.flat_map(|slice| slice.endpoints) {
        let is_ready = endpoint.conditions.as_ref().and_then(|one| one.ready).unwrap_or(true);
        ready += usize::from(is_ready);
        all += 1;
    }
    (ready, all)
}
