//! ListenerSets: which of them add their listeners to a Gateway of ours.
//!
//! The Gateway says from which namespaces (`allowedListeners`; none unless it says so). Among the
//! listeners of one port the Gateway's own go before those of the older set, and those before the
//! younger's (GEP-1713).

use std::collections::BTreeMap;

use vipgate_api::gateway::{Gateway, ListenerSet, NamespacesFrom};
use vipgate_api::k8s::Namespace;
use vipgate_api::selector::matches;
use vipgate_api::{GATEWAY_GROUP, ObjectKey, Reason};

use crate::attachment::labels_of;
use crate::plan::Source;
use crate::refusal::Refusal;
use crate::world::Shelf;

/// A ListenerSet that names a Gateway of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmittedSet {
    /// Which object this is about.
    pub source: Option<Source>,
    /// The Gateway.
    pub gateway: ObjectKey,
    /// Why it adds nothing, if so (Accepted=False).
    pub refused: Option<Refusal>,
}

/// The sets of each Gateway, the one that goes first in front.
pub(super) fn by_gateway(sets: &Shelf<ListenerSet>) -> BTreeMap<ObjectKey, Vec<&ObjectKey>> {
    let mut ordered: Vec<_> = sets.iter().collect();
    ordered.sort_by_key(|(key, stored)| (&stored.age, *key));
    let mut found: BTreeMap<ObjectKey, Vec<&ObjectKey>> = BTreeMap::new();
    for (key, stored) in ordered {
        let parent = &stored.object.spec.parent_ref;
        if parent.group == GATEWAY_GROUP && parent.kind == "Gateway" {
            let namespace = parent.namespace.as_ref().unwrap_or(&key.namespace);
            found.entry(ObjectKey::new(namespace, &parent.name)).or_default().push(key);
        }
    }
    found
}

/// Whether a Gateway takes listeners of sets in a namespace.
pub(super) fn allowed(
    gateway: &Gateway,
    gateway_key: &ObjectKey,
    namespace: &str,
    namespaces: &Shelf<Namespace>,
) -> Option<Refusal> {
    let rule = gateway.spec.allowed_listeners.as_ref().map(|allowed| &allowed.namespaces);
    let from = rule.map_or(NamespacesFrom::None, |rule| rule.from);
    let takes = match from {
        NamespacesFrom::All => true,
        NamespacesFrom::None => false,
        NamespacesFrom::Same => namespace == gateway_key.namespace,
        NamespacesFrom::Selector => rule
            .and_then(|rule| rule.selector.as_ref())
            .is_some_and(|selector| matches(selector, &labels_of(namespace, namespaces))),
    };
    (!takes).then(|| {
        let message = format!(
            "Gateway {gateway_key} takes no ListenerSets of namespace {namespace}: set its \
             spec.allowedListeners.namespaces.from to Same, All or Selector"
        );
        Refusal::new(Reason::NotAllowed, message)
    })
}
