//! Which listeners send to which backends.

use std::collections::BTreeMap;

use vipgate_api::gateway::{BackendRef, TlsMode};
use vipgate_api::{Kind, ObjectKey, ObjectRef, VIPGATE_GROUP};

use super::section;
use crate::admission::Admission;
use crate::attachment::Attachment;
use crate::resolution::may_refer;
use crate::world::World;

/// A listener that sends to a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// The Gateway.
    pub gateway: ObjectKey,
    /// Name of the listener.
    pub listener: String,
    /// By which route.
    pub route: ObjectRef,
    /// Name of the backend's port, where it has one.
    pub section: Option<String>,
    /// Why no policy has an effect on that, if none has.
    pub exempt: Option<&'static str>,
}

/// By backend, all that send there and may.
pub(super) fn collect(
    world: &World,
    admission: &Admission,
    attachment: &Attachment,
) -> BTreeMap<ObjectRef, Vec<Use>> {
    let mut uses: BTreeMap<ObjectRef, Vec<Use>> = BTreeMap::new();
    for (key, slots) in &attachment.listeners {
        let Some(gateway) = admission.gateways.get(key) else { continue };
        for (listener, route) in std::iter::zip(&gateway.listeners, slots)
            .flat_map(|(listener, routes)| routes.iter().map(move |route| (listener, route)))
        {
            let Some(stored) = world.routes.get(route) else { continue };
            let exempt = match (route.kind, listener.tls) {
                (Kind::UdpRoute, _) => Some("datagrams go as they are"),
                (_, Some(TlsMode::Passthrough)) => {
                    Some("what goes through is the TLS of its clients (Passthrough)")
                }
                _ => None,
            };
            let rule = stored.object.spec.rules.first();
            for reference in rule.into_iter().flat_map(|rule| &rule.backend_refs) {
                let Some(target) = target(&route.key, reference) else { continue };
                if !may_refer(route, reference, &target.key, &world.grants) {
                    continue;
                }
                let section = section(&target, reference.port, &world.services);
                uses.entry(target).or_default().push(Use {
                    gateway: key.clone(),
                    listener: listener.name.clone(),
                    route: route.clone(),
                    section,
                    exempt,
                });
            }
        }
    }
    uses
}

/// The backend that a route refers to, if it is of a kind that there can be.
pub(crate) fn target(route: &ObjectKey, reference: &BackendRef) -> Option<ObjectRef> {
    let kind = match (reference.group.as_str(), reference.kind.as_str()) {
        ("", "Service") => Kind::Service,
        (VIPGATE_GROUP, "Backend") => Kind::Backend,
        _ => return None,
    };
    let namespace = reference.namespace.as_ref().unwrap_or(&route.namespace);
    Some(ObjectRef::new(kind, ObjectKey::new(namespace, &reference.name)))
}
