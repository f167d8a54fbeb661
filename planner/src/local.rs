//! Services whose traffic stays on the node that it comes to (`externalTrafficPolicy: Local`): their
//! addresses are announced only from nodes with a ready endpoint, because elsewhere kube-proxy drops
//! what comes for them.

use std::collections::BTreeSet;

use vipgate_api::k8s::Service;
use vipgate_api::{Kind, ObjectKey};

use crate::claim::Claim;
use crate::node::Node;
use crate::resolution::ready_on;
use crate::world::World;

/// The Services of this kind that have no ready endpoint on the node. Endpoints are looked at only where
/// there are such Services.
pub(crate) fn lacking(world: &World, node: &Node) -> BTreeSet<ObjectKey> {
    let local = world.services.iter().filter(|(_, service)| is_local(&service.object));
    let mut lacking: BTreeSet<ObjectKey> = local.map(|(key, _)| key.clone()).collect();
    if !lacking.is_empty() {
        for here in ready_on(&world.endpoint_slices, &node.name) {
            lacking.remove(&here);
        }
    }
    lacking
}

/// Why an address cannot be announced from this node, if one of the Services that have it is lacking.
pub(crate) fn obstacle(
    claim: &Claim,
    lacking: &BTreeSet<ObjectKey>,
    node: &Node,
) -> Option<String> {
    let services = claim.users.iter().filter(|user| user.object.kind == Kind::Service);
    let service = services.map(|user| &user.object.key).find(|key| lacking.contains(key))?;
    Some(format!(
        "no ready endpoint of Service {service} is on node {}, and its externalTrafficPolicy is Local",
        node.name
    ))
}

fn is_local(service: &Service) -> bool {
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    policy == Some("Local")
}
