//! Permission to refer to an object in another namespace.

use vipgate_api::gateway::{BackendRef, ReferenceGrant};
use vipgate_api::{GATEWAY_GROUP, ObjectKey, ObjectRef, Reason};

use crate::refusal::Refusal;
use crate::world::Shelf;

/// Checks that a route may refer to `target`, which is what `reference` names. Inside one
/// namespace it always may.
pub(super) fn check(
    route: &ObjectRef,
    reference: &BackendRef,
    target: &ObjectKey,
    grants: &Shelf<ReferenceGrant>,
) -> Result<(), Refusal> {
    if target.namespace == route.key.namespace {
        return Ok(());
    }
    let granted = grants
        .iter()
        .filter(|(key, _)| key.namespace == target.namespace)
        .any(|(_, stored)| permits(&stored.object, route, reference));
    if granted {
        return Ok(());
    }
    let kind = &reference.kind;
    let message = format!(
        "{kind} {target} is in another namespace and no ReferenceGrant there allows it: create one \
         in namespace {} with from: group {GATEWAY_GROUP}, kind {}, namespace {} and to: \
         group {:?}, kind {kind}",
        target.namespace, route.kind, route.key.namespace, reference.group
    );
    Err(Refusal::new(Reason::RefNotPermitted, message))
}

fn permits(grant: &ReferenceGrant, route: &ObjectRef, reference: &BackendRef) -> bool {
    let from = grant.spec.from.iter().any(|from| {
        from.group == GATEWAY_GROUP
            && from.kind == route.kind.name()
            && from.namespace == route.key.namespace
    });
    let to = grant.spec.to.iter().any(|to| {
        to.group == reference.group
            && to.kind == reference.kind
            && to.name.as_ref().is_none_or(|name| *name == reference.name)
    });
    from && to
}

/// Whether a route may refer to `target`.
pub(crate) fn may_refer(
    route: &ObjectRef,
    reference: &BackendRef,
    target: &ObjectKey,
    grants: &Shelf<ReferenceGrant>,
) -> bool {
    check(route, reference, target, grants).is_ok()
}
