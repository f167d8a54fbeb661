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
use std::sync::Arc;

use vipgate_api::gateway::{NamespacesFrom, ParentReference, Route, RouteNamespaces, RouteSpec};
use vipgate_api::k8s::{NAMESPACE_NAME_LABEL, Namespace};
use vipgate_api::selector::{Labels, matches};
use vipgate_api::{Age, GATEWAY_GROUP, Kind, ObjectKey, ObjectRef, Reason, Stored};

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
    /// parentRefs that name a Gateway that does not exist: by route, what to check.
    pub dangling: BTreeMap<ObjectRef, Vec<Refusal>>,
}

/// One parentRef of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    /// As it stands in the spec.
    pub reference: Arc<ParentReference>,
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

/// What attaching depends on.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Classes, Gateways and listeners.
    pub admission: &'a Admission,
    /// The routes.
    pub routes: &'a Routes,
    /// For their labels.
    pub namespaces: &'a Shelf<Namespace>,
}

/// What became another by an update.
#[derive(Debug, Default)]
pub struct Changed {
    /// Routes, those that were to be looked at included.
    pub routes: BTreeSet<ObjectRef>,
    /// Gateways that have, or had, one of those that were to be looked at.
    pub gateways: BTreeSet<ObjectKey>,
}

/// Attaches every route.
pub fn attach(ground: Ground<'_>) -> Attachment {
    let empty = |gateway: &AdmittedGateway| vec![Vec::new(); gateway.listeners.len()];
    let gateways = &ground.admission.gateways;
    let listeners = gateways.iter().map(|(key, gateway)| (key.clone(), empty(gateway))).collect();
    let mut out = Attachment { listeners, ..Attachment::default() };
    out.add(ground, ground.routes.iter());
    for (key, gateway) in gateways {
        out.supersede(key, gateway, ground.routes);
    }
    out
}

impl Attachment {
    /// Attaches these routes anew, wherever they are attached now, and all those of these Gateways; all others
    /// stay where they are.
    pub fn update(&mut self, ground: Ground<'_>, stale: BTreeSet<ObjectRef>) -> Changed {
        let (gateways, mut stale): (BTreeSet<ObjectRef>, BTreeSet<ObjectRef>) =
            stale.into_iter().partition(|object| object.kind == Kind::Gateway);
        let mut changed = Changed::default();
        changed.gateways.extend(gateways.into_iter().map(|gateway| gateway.key));
        let before = self.routes_of(&changed.gateways, &stale);
        for route in stale.iter().chain(before.keys()) {
            self.dangling.remove(route);
            for parent in self.routes.remove(route).into_iter().flatten() {
                let slots = self.listeners.get_mut(&parent.gateway).into_iter().flatten();
                slots.for_each(|slot| slot.retain(|other| other != route));
                changed.gateways.insert(parent.gateway);
            }
        }
        for key in &changed.gateways {
            if let Some(gateway) = ground.admission.gateways.get(key) {
                // A Gateway that changed may have others, or in another order.
                let slots = self.listeners.entry(key.clone()).or_default();
                slots.resize(gateway.listeners.len(), Vec::new());
            }
        }
        let routes = stale.iter().chain(before.keys());
        self.add(ground, routes.filter_map(|route| ground.routes.get_key_value(route)));
        let parents = stale.iter().filter_map(|route| self.routes.get(route)).flatten();
        changed.gateways.extend(parents.map(|parent| parent.gateway.clone()));
        for key in &changed.gateways {
            if let Some(gateway) = ground.admission.gateways.get(key) {
                stale.extend(self.supersede(key, gateway, ground.routes));
            }
        }
        // Those that did not change themselves, and came out as they were, are no news.
        stale.retain(|route| {
            before.get(route).is_none_or(|old| self.routes.get(route) != Some(old))
        });
        let others = before.into_iter().filter(|(route, old)| self.routes.get(route) != Some(old));
        stale.extend(others.map(|(route, _)| route));
        changed.routes = stale;
        changed
    }

    /// The routes with a parentRef to one of these Gateways, but for these.
    fn routes_of(
        &self,
        gateways: &BTreeSet<ObjectKey>,
        but: &BTreeSet<ObjectRef>,
    ) -> BTreeMap<ObjectRef, Vec<Parent>> {
        if gateways.is_empty() {
            return BTreeMap::new();
        }
        let names = |parents: &[Parent]| parents.iter().any(|one| gateways.contains(&one.gateway));
        let routes = self.routes.iter();
        let routes = routes.filter(|(route, parents)| names(parents) && !but.contains(*route));
        routes.map(|(route, parents)| (route.clone(), parents.clone())).collect()
    }

    /// Attaches routes that are attached nowhere.
    fn add<'a>(
        &mut self,
        ground: Ground<'a>,
        routes: impl Iterator<Item = (&'a ObjectRef, &'a Stored<Route>)>,
    ) {
        let mut attached = Attached(BTreeMap::new());
        for (key, stored) in routes {
            let (parents, dangling) = attached.attach(ground, key, stored);
            if !parents.is_empty() {
                self.routes.insert(key.clone(), parents);
            }
            if !dangling.is_empty() {
                self.dangling.insert(key.clone(), dangling);
            }
        }
        for (gateway, newcomers) in attached.0 {
            let slots = self.listeners.get_mut(gateway).expect("every admitted Gateway has slots");
            for (slot, mut newcomers) in std::iter::zip(slots, newcomers) {
                if newcomers.is_empty() {
                    continue;
                }
                let old = slot.iter().filter_map(|route| ground.routes.get_key_value(route));
                newcomers.extend(old.map(|(key, stored)| (&stored.age, key)));
                let sorted = newcomers.into_iter().map(|(_, key)| key.clone()).collect();
                *slot = sorted;
            }
        }
    }

    /// Tells every route of a Gateway which of its listeners older ones have: all the names by which it
    /// would serve them. Returns the routes to which that is news.
    fn supersede(
        &mut self,
        key: &ObjectKey,
        gateway: &AdmittedGateway,
        routes: &Routes,
    ) -> Vec<ObjectRef> {
        let slots = &self.listeners[key];
        let by_slot: Vec<_> = std::iter::zip(&gateway.listeners, slots)
            .map(|(listener, slot)| superseded(listener, slot, routes))
            .collect();
        let mut news = Vec::new();
        for route in slots.iter().flatten() {
            let parents = self.routes.get_mut(route).into_iter().flatten();
            for parent in parents.filter(|parent| parent.gateway == *key) {
                let Ok(taken) = &parent.verdict else { continue };
                let listeners = std::iter::zip(&gateway.listeners, &by_slot);
                let by = listeners
                    .filter(|(listener, by)| !by.is_empty() && taken.contains(&listener.name));
                let by = by.filter_map(|(listener, by)| {
                    let by = (*by.get(route)?).clone();
                    Some(Superseded { listener: listener.name.clone(), by })
                });
                let superseded: Vec<Superseded> = by.collect();
                if parent.superseded != superseded {
                    parent.superseded = superseded;
                    news.push(route.clone());
                }
            }
        }
        news
    }
}

/// Of the routes of a listener, the oldest first, those all of whose names older ones have; each with the
/// one that has its first.
fn superseded<'a>(
    listener: &AdmittedListener,
    slot: &'a [ObjectRef],
    routes: &Routes,
) -> BTreeMap<&'a ObjectRef, &'a ObjectRef> {
    let mut superseded = BTreeMap::new();
    if slot.len() < 2 {
        return superseded;
    }
    let mut owners: BTreeMap<Option<String>, &ObjectRef> = BTreeMap::new();
    for route in slot {
        let Some(stored) = routes.get(route) else { continue };
        let names = names_of(listener, &stored.object.spec);
        if let Some(by) = names.first().and_then(|name| owners.get(name))
            && names.iter().all(|name| owners.contains_key(name))
        {
            superseded.insert(route, *by);
        }
        for name in names {
            owners.entry(name).or_insert(route);
        }
    }
    superseded
}

/// A route that wants to attach.
struct Candidate<'a> {
    key: &'a ObjectRef,
    age: &'a Age,
    namespaces: &'a Shelf<Namespace>,
    spec: &'a RouteSpec,
}

/// A route in the order of "the oldest wins".
type ByAge<'a> = (&'a Age, &'a ObjectRef);

/// Routes that are about to be attached: by Gateway and listener, sorted oldest first.
struct Attached<'a>(BTreeMap<&'a ObjectKey, Vec<BTreeSet<ByAge<'a>>>>);

impl<'a> Attached<'a> {
    /// Attaches a route. Its parentRefs that name Gateways of ours, and what is wrong with those that
    /// name none that exists.
    fn attach(
        &mut self,
        Ground { admission, namespaces, .. }: Ground<'a>,
        key: &'a ObjectRef,
        stored: &'a Stored<Route>,
    ) -> (Vec<Parent>, Vec<Refusal>) {
        let candidate = Candidate { key, age: &stored.age, namespaces, spec: &stored.object.spec };
        let (mut parents, mut dangling) = (Vec::<Parent>::new(), Vec::new());
        for reference in &stored.object.spec.parent_refs {
            if reference.group != GATEWAY_GROUP
                || parents.iter().any(|parent| *parent.reference == *reference)
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
                        dangling.push(missing("ListenerSet", &named));
                        continue;
                    }
                },
                _ => continue,
            };
            match admission.gateways.get_key_value(&gateway) {
                Some((known, admitted)) => {
                    let refused = set.as_ref().and_then(|set| admission.sets[set].refused.as_ref());
                    let verdict = match refused {
                        Some(why) => Err(no_listeners((&gateway, set.as_ref()), why)),
                        None => {
                            self.try_attach((known, set.as_ref()), admitted, reference, &candidate)
                        }
                    };
                    let reference = Arc::new(reference.clone());
                    parents.push(Parent { reference, gateway, verdict, superseded: Vec::new() });
                }
                None if admission.foreign.contains(&gateway) => {}
                None if admission.classless.contains_key(&gateway) => {}
                None => dangling.push(missing("Gateway", &gateway)),
            }
        }
        (parents, dangling)
    }

    /// Attaches a route to the listeners of a Gateway that a parentRef means and that take it.
    fn try_attach(
        &mut self,
        (key, set): (&'a ObjectKey, Option<&ObjectKey>),
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
        let empty = || vec![BTreeSet::new(); gateway.listeners.len()];
        let slots = self.0.entry(key).or_insert_with(empty);
        Ok(taken
            .into_iter()
            .map(|(index, listener)| {
                slots[index].insert((route.age, route.key));
                listener.name.clone()
            })
            .collect())
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
            Some(selector) if matches(selector, &labels_of(namespace, route.namespaces)) => None,
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
