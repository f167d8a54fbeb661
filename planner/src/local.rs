//! Services whose traffic stays on the node that it comes to (`externalTrafficPolicy: Local`): their
//! addresses are announced only from nodes with a ready endpoint, because elsewhere kube-proxy drops
//! what comes for them.

use std::collections::{BTreeMap, BTreeSet};

use vipgate_api::ObjectKey;
use vipgate_api::k8s::Service;

use crate::resolution::ready_nodes;
use crate::world::World;

/// The Services of this kind, each with the nodes that have a ready endpoint of it. Endpoints are looked
/// at only where there are such Services.
pub(crate) fn nodes_of(world: &World) -> BTreeMap<ObjectKey, BTreeSet<&str>> {
    let local = world.services.iter().filter(|(_, service)| is_local(&service.object));
    let mut nodes: BTreeMap<ObjectKey, BTreeSet<&str>> =
        local.map(|(key, _)| (key.clone(), BTreeSet::new())).collect();
    if !nodes.is_empty() {
        for (service, node) in ready_nodes(&world.endpoint_slices) {
            if let Some(nodes) = nodes.get_mut(&service) {
                nodes.insert(node);
            }
        }
    }
    nodes
}

fn is_local(service: &Service) -> bool {
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    policy == Some("Local")
}
