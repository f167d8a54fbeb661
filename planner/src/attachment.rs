//! Which route attaches to which listener, and why not.
//!
//! A parentRef names a Gateway and narrows its listeners by `sectionName` and `port`; of those that
//! are left, each takes the route or not (kind, namespace). One that takes it is enough. Whether
//! the listener itself is served has no influence, so a route does not change its status because
//! of somebody else's mistake.
//!
//! All attached routes are accepted and counted, but a TCP connection or a datagram carries nothing to
//! choose by: the oldest route has the listener. Where clients ask for a name, it has that name.

use std::collections::{BTreeMap, BTreeSet};

use vipgate_api::gateway::{NamespacesFrom, ParentReference, RouteNamespaces, RouteSpec};
use vipgate_api::k8s::{NAMESPACE_NAME_LABEL, Namespace};
use vipgate_api::selector::{Labels, matches};
use vipgate_api::{Age, GATEWAY_GROUP, Kind, ObjectKey, ObjectRef, Reason};

use crate::admission::{self, Admission, AdmittedGateway, AdmittedListener};
use crate::refusal::Refusal;
use crate::world::{Routes, Shelf};
use crate::{hostname, stream};

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    /// By route: its parentRefs that name Gateways of ours, in the order of the spec. A route
    /// without one is not here.
    pub routes: BTreeMap<ObjectRef, Vec<Parent>>,
    /// By Gateway, one entry for each listener: the attached routes, the one that has it first.
    pub listeners: BTreeMap<ObjectKey, Vec<Vec<ObjectRef>>>,
    /// parentRefs that name a Gateway that does not exist: the route, and what to check.
    pub dangling: Vec<(ObjectRef, Refusal)>,
}

/// One parentRef of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// As it stands in the spec.
    pub reference: ParentReference,
    /// The Gateway that it names.
    pub gateway: ObjectKey,
    /// Names of the listeners that take the route, or why none does.
    pub verdict: Result<Vec<String>, Refusal>,
    /// Those of the listeners that older routes have.
    pub superseded: Vec<Superseded>,
}

/// A listener that an older route has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// Its name.
    pub listener: String,
    /// The older route.
    pub by: ObjectRef,
}

/// Attaches every route.
pub fn attach(admission: &Admission, routes: &Routes, namespaces: &Shelf<Namespace>) -> Attachment {
    let mut attached = Attached::new(admission);
    let mut out = Attachment::default();
    for (key, stored) in routes {
        let labels = labels_of(&key.key.namespace, namespaces);
        let candidate = Candidate { key, age: &stored.age, labels, spec: &stored.object.spec };
        let mut parents: Vec<Parent> = Vec::new();
        for reference in &stored.object.spec.parent_refs {
            if reference.group != GATEWAY_GROUP
                || parents.iter().any(|parent| parent.reference == *reference)
            {
                continue;
            }
            let namespace = reference.namespace.as_ref().unwrap_or(&key.key.namespace);
            let named = ObjectKey::new(namespace, &reference.name);
            let (gateway, set) = match reference.kind.as_str() {
                "Gateway" => (named, None),
                "ListenerSet" => match admission.sets.get(&named) {
                    Some(set) => (set.gateway.clone(), Some(named)),
                    None if admission.foreign_sets.contains(&named) => continue,
                    None if admission.orphans.contains_key(&named) => continue,
                    None => {
                        out.dangling.push((key.clone(), missing("ListenerSet", &named)));
                        continue;
                    }
                },
                _ => continue,
            };
            match admission.gateways.get(&gateway) {
                Some(admitted) => {
                    let place = (&gateway, set.as_ref());
                    let refused = set.as_ref().and_then(|set| admission.sets[set].refused.as_ref());
                    let verdict = match refused {
                        Some(why) => Err(no_listeners(place, why)),
                        None => attached.try_attach(place, admitted, reference, &candidate),
                    };
                    let reference = reference.clone();
                    parents.push(Parent { reference, gateway, verdict, superseded: Vec::new() });
                }
                None if admission.foreign.contains(&gateway) => {}
                None if admission.classless.contains_key(&gateway) => {}
                None => out.dangling.push((key.clone(), missing("Gateway", &gateway))),
            }
        }
        if !parents.is_empty() {
            out.routes.insert(key.clone(), parents);
        }
    }
    out.listeners = attached.finish();
    supersede(&mut out, admission, routes);
    out
}

/// A route that wants to attach.
struct Candidate<'a> {
    key: &'a ObjectRef,
    age: &'a Age,
    /// Labels of its namespace.
    labels: Labels,
    spec: &'a RouteSpec,
}

/// A route in the order of "the oldest wins".
type ByAge<'a> = (&'a Age, &'a ObjectRef);

/// Attached routes while they are being collected: by Gateway and listener, sorted oldest first.
struct Attached<'a>(BTreeMap<ObjectKey, Vec<BTreeSet<ByAge<'a>>>>);

impl<'a> Attached<'a> {
    fn new(admission: &Admission) -> Self {
        let empty = |gateway: &AdmittedGateway| vec![BTreeSet::new(); gateway.listeners.len()];
        Self(admission.gateways.iter().map(|(key, g)| (key.clone(), empty(g))).collect())
    }

    /// Attaches a route to the listeners of a Gateway that a parentRef means and that take it.
    fn try_attach(
        &mut self,
        (key, set): (&ObjectKey, Option<&ObjectKey>),
        gateway: &AdmittedGateway,
        reference: &ParentReference,
        route: &Candidate<'a>,
    ) -> Result<Vec<String>, Refusal> {
        if route.spec.rules.is_empty() && route.key.kind != Kind::HttpRoute {
            let message = "spec.rules is empty: write one rule with backendRefs";
            return Err(Refusal::new(Reason::UnsupportedValue, message));
        }
        let meant: Vec<_> = gateway
            .listeners_of(set)
            .filter(|(_, listener)| is_meant(reference, listener))
            .collect();
        if meant.is_empty() {
            return Err(no_match(key, set, gateway, reference));
        }
        let slots = self.0.get_mut(key).expect("every admitted Gateway has slots");
        let (mut taken, mut objections, mut nameless) = (Vec::new(), Vec::new(), Vec::new());
        let owner = &set.unwrap_or(key).namespace;
        for (index, listener) in meant {
            match objection(listener, owner, route) {
                Some(why) => objections.push(format!("listener {} {why}", listener.name)),
                None if names_of(listener, route.spec).is_empty() => {
                    let takes = listener.hostname.as_deref().unwrap_or_default();
                    nameless.push(format!("listener {} takes {takes}", listener.name));
                }
                None => taken.push((index, listener)),
            }
        }
        if taken.is_empty() && nameless.is_empty() {
            let message = format!("Gateway {key}: {}", objections.join("; "));
            return Err(Refusal::new(Reason::NotAllowedByListeners, message));
        }
        if taken.is_empty() {
            let message = format!(
                "spec.hostnames have none in common with the listeners of Gateway {key}: {}",
                nameless.join("; ")
            );
            return Err(Refusal::new(Reason::NoMatchingListenerHostname, message));
        }
        if let Some(refusal) = stream::objection(route.key.kind, route.spec) {
            return Err(refusal);
        }
        Ok(taken
            .into_iter()
            .map(|(index, listener)| {
                slots[index].insert((route.age, route.key));
                listener.name.clone()
            })
            .collect())
    }

    fn finish(self) -> BTreeMap<ObjectKey, Vec<Vec<ObjectRef>>> {
        let keys =
            |slot: BTreeSet<ByAge<'_>>| slot.into_iter().map(|(_, key)| key.clone()).collect();
        self.0
            .into_iter()
            .map(|(key, slots)| (key, slots.into_iter().map(keys).collect()))
            .collect()
    }
}

/// The names by which a route serves a listener; one that stands for every name where there are no
/// names.
pub(crate) fn names_of(listener: &AdmittedListener, route: &RouteSpec) -> Vec<Option<String>> {
    match listener.protocol.as_str() {
        "HTTP" | "HTTPS" | "TLS" => {
            hostname::common(listener.hostname.as_deref(), &route.hostnames)
        }
        _ => vec![None],
    }
}

fn is_meant(reference: &ParentReference, listener: &AdmittedListener) -> bool {
    reference.section_name.as_ref().is_none_or(|name| *name == listener.name)
        && reference.port.is_none_or(|port| port == listener.port)
}

/// What speaks against a route on a listener, if anything: completes "listener web …". `owner` is
/// the namespace of the Gateway or ListenerSet that the listener is of.
fn objection(listener: &AdmittedListener, owner: &str, route: &Candidate<'_>) -> Option<String> {
    let takes = |kind: Kind| {
        listener.supported_kinds.iter().any(|k| k.group == kind.group() && k.kind == kind.name())
    };
    if !takes(route.key.kind) {
        let (protocol, kind) = (&listener.protocol, route.key.kind);
        return Some(if !admission::takes(protocol, kind) {
            format!("has protocol {protocol}, which takes no {kind}: attach to another listener")
        } else {
            format!("takes no {kind}: add the kind to its allowedRoutes.kinds")
        });
    }
    namespace_objection(&listener.namespaces, owner, route)
}

fn namespace_objection(
    rule: &RouteNamespaces,
    owner: &str,
    route: &Candidate<'_>,
) -> Option<String> {
    let namespace = &route.key.key.namespace;
    match rule.from {
        NamespacesFrom::All => None,
        NamespacesFrom::Same if namespace == owner => None,
        NamespacesFrom::Same => Some(format!(
            "takes routes of namespace {owner} only, this one is in {namespace}: set its \
             allowedRoutes.namespaces.from to All or Selector"
        )),
        NamespacesFrom::Selector => match &rule.selector {
            Some(selector) if matches(selector, &route.labels) => None,
            Some(_) => Some(format!(
                "takes no routes of namespace {namespace}: give the Namespace the labels that \
                 its allowedRoutes.namespaces.selector asks for"
            )),
            None => Some(
                "takes routes by selector but has none: set its allowedRoutes.namespaces.selector"
                    .to_owned(),
            ),
        },
        NamespacesFrom::None => {
            Some("takes no routes: its allowedRoutes.namespaces.from is None".to_owned())
        }
    }
}

fn no_match(
    key: &ObjectKey,
    set: Option<&ObjectKey>,
    gateway: &AdmittedGateway,
    reference: &ParentReference,
) -> Refusal {
    let asked = match (&reference.section_name, reference.port) {
        (Some(name), Some(port)) => format!("named {name:?} on port {port}"),
        (Some(name), None) => format!("named {name:?}"),
        (None, Some(port)) => format!("on port {port}"),
        (None, None) => "at all".to_owned(),
    };
    let have: Vec<String> =
        gateway.listeners_of(set).map(|(_, l)| format!("{} ({})", l.name, l.port)).collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    let whose = match set {
        Some(set) => format!("ListenerSet {set}"),
        None => format!("Gateway {key}"),
    };
    let message = format!("{whose} has no listener {asked}: it has {have}");
    Refusal::new(Reason::NoMatchingParent, message)
}

fn missing(kind: &str, parent: &ObjectKey) -> Refusal {
    let message = format!(
        "parentRefs: {kind} {parent} does not exist: check name and namespace (the route's own \
         namespace is meant when none is written)"
    );
    Refusal::new(Reason::NoMatchingParent, message)
}

/// The ListenerSet is there, but its Gateway takes none of its listeners.
fn no_listeners((gateway, set): (&ObjectKey, Option<&ObjectKey>), why: &Refusal) -> Refusal {
    let set = set.map(ToString::to_string).unwrap_or_default();
    let why = &why.message;
    let message = format!("ListenerSet {set} adds no listeners to Gateway {gateway}: {why}");
    Refusal::new(Reason::NoMatchingParent, message)
}

/// Labels of a namespace, with the one that an API server always sets.
pub(crate) fn labels_of(name: &str, namespaces: &Shelf<Namespace>) -> Labels {
    let stored = namespaces.get(&ObjectKey::new("", name));
    let mut labels = stored.and_then(|s| s.object.metadata.labels.clone()).unwrap_or_default();
    labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.to_owned());
    labels
}

/// Tells every route which of its listeners older ones have: all the names by which it would serve
/// them.
fn supersede(attachment: &mut Attachment, admission: &Admission, routes: &Routes) {
    for (route, parents) in &mut attachment.routes {
        for parent in parents {
            let Ok(taken) = &parent.verdict else { continue };
            let listeners = &admission.gateways[&parent.gateway].listeners;
            let slots = &attachment.listeners[&parent.gateway];
            parent.superseded = std::iter::zip(listeners, slots)
                .filter(|(listener, slot)| taken.contains(&listener.name) && slot.contains(route))
                .filter_map(|(listener, slot)| {
                    let names = |route: &ObjectRef| {
                        routes.get(route).map(|r| names_of(listener, &r.object.spec))
                    };
                    let own = names(route)?;
                    let older: Vec<_> = slot.iter().take_while(|other| *other != route).collect();
                    let has = |name: &Option<String>| {
                        older.iter().find(|other| names(other).is_some_and(|n| n.contains(name)))
                    };
                    let by: Vec<_> = own.iter().map(has).collect::<Option<_>>()?;
                    let by = (*by.first()?).to_owned().clone();
                    Some(Superseded { listener: listener.name.clone(), by })
                })
                .collect();
        }
    }
}
