//! Services whose traffic stays on the node that it comes to (`externalTrafficPolicy: Local`): their
//! addresses are announced only from nodes with a ready endpoint, because elsewhere kube-proxy drops
//! what comes for them.

use vipgate_api::k8s::Service;
use vipgate_api::{Kind, ObjectKey};

use crate::claim::Claim;
use crate::node::Node;
use crate::resolution::SliceIndex;
use crate::world::World;

/// Why an address cannot be announced from this node, if one of the Services that have it wants a
/// ready endpoint here and there is none.
pub(crate) fn obstacle(
    claim: &Claim,
    world: &World,
    slices: &SliceIndex<'_>,
    node: &Node,
) -> Option<String> {
    let services = claim.users.iter().filter(|user| user.object.kind == Kind::Service);
    let lacking = services.map(|user| &user.object.key).find(|key| {
        let service = world.services.get(key);
        service.is_some_and(|service| is_local(&service.object)) && !is_here(key, slices, node)
    })?;
    Some(format!(
        "no ready endpoint of Service {lacking} is on node {}, and its externalTrafficPolicy is Local",
        node.name
    ))
}

fn is_local(service: &Service) -> bool {
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    policy == Some("Local")
}

fn is_here(service: &ObjectKey, slices: &SliceIndex<'_>, node: &Node) -> bool {
    slices.ready_on(service).any(|name| name == node.name)
}
