//! What this node has to do: the plan.
//!
//! Nothing is decided here that another layer could decide: addresses come from allocation,
//! routes from attachment, endpoints from resolution; only the way an address is announced
//! depends on the node.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use vipgate_api::{Kind, ObjectKey, ObjectRef};

use crate::admission::{Admission, AdmittedGateway};
use crate::allocation::Allocation;
use crate::announce::announce;
use crate::attachment::Attachment;
use crate::node::Node;
use crate::plan::{Announce, Listener, ListenerId, Plan, Service, Vip};
use crate::resolution::{Resolution, VipSide};
use crate::world::World;

/// Puts the plan together; for no node in particular when there is none.
pub fn assemble(
    world: &World,
    admission: &Admission,
    allocation: &Allocation,
    attachment: &Attachment,
    resolution: &Resolution,
    node: Option<&Node>,
) -> Plan {
    let mut plan = Plan::default();
    for (ObjectRef { kind, key }, addresses) in &allocation.users {
        if *kind == Kind::Service {
            for address in &addresses.assigned {
                plan.vips.insert(*address, vip(*address, world, allocation, node));
            }
            continue;
        }
        let Some(gateway) = admission.gateways.get(key) else { continue };
        let stored = world.gateways.get(key);
        if let Some(generation) = stored.and_then(|stored| stored.object.metadata.generation) {
            let source = ObjectRef { kind: Kind::Gateway, key: key.clone() };
            plan.sources.insert(source, generation);
        }
        for address in &addresses.assigned {
            plan.vips.insert(*address, vip(*address, world, allocation, node));
            plan.listeners.extend(listeners(key, gateway, *address, attachment, resolution));
        }
    }
    plan.listeners.sort_by(|a, b| a.id.cmp(&b.id));
    plan
}

fn vip(address: IpAddr, world: &World, allocation: &Allocation, node: Option<&Node>) -> Vip {
    let claim = allocation.claims.0.get(&address).expect("an assigned address has a claim");
    let announce = match node {
        Some(node) => announce(address, &claim.pool, &world.pools, &world.l2_advertisements, node),
        None => Announce::ByNodes,
    };
    let probe = !claim.published && announce != Announce::Loopback;
    let kernel = claim.users.iter().all(|user| user.object.kind == Kind::Service);
    Vip { address, probe, announce, kernel }
}

/// The sockets of one Gateway on one of its addresses.
fn listeners(
    key: &ObjectKey,
    gateway: &AdmittedGateway,
    address: IpAddr,
    attachment: &Attachment,
    resolution: &Resolution,
) -> Vec<Listener> {
    let slots = attachment.listeners.get(key).map(Vec::as_slice).unwrap_or_default();
    gateway
        .served()
        .map(|(index, listener)| {
            let attached = slots.get(index).map(Vec::as_slice).unwrap_or_default();
            let first = attached.first().map(|route| (route.clone(), VipSide::of(address)));
            let resolved = first.and_then(|which| resolution.0.get(&which));
            Listener {
                id: ListenerId {
                    gateway: key.clone(),
                    set: None,
                    name: listener.name.clone(),
                    address,
                },
                bind: SocketAddr::new(address, listener.port),
                service: Service::Tcp(resolved.map(|resolved| Arc::clone(&resolved.target))),
                attached: attached.iter().cloned().collect(),
            }
        })
        .collect()
}
