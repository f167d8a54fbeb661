//! What is wrong, for people: the negative conditions, each once and at the object that caused it,
//! and what no condition can say because the object that is asked for is not there.

use std::collections::BTreeSet;

use serde::Serialize;
use vipgate_api::gateway::PolicyStatus;
use vipgate_api::{Condition, ConditionType, Kind, ObjectKey, ObjectRef, Reason};

use super::{GatewayStatus, Layers, ListenerStatus, RouteStatus, SetStatus, Statuses, route};
use crate::claim::VipUser;
use crate::resolution::Resolved;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where to look.
    pub object: ObjectRef,
    /// For programs. [`Reason::Pending`] is no fault: it goes away by itself.
    pub reason: Reason,
    /// For people: what is wrong and what to write instead.
    pub message: String,
}

/// All problems: what is broken before what is on its way, then by kind and name.
pub(super) fn problems(statuses: &Statuses, layers: &Layers<'_>) -> Vec<Problem> {
    let mut list = List::default();
    for (key, status) in &statuses.classes {
        list.false_ones(Kind::GatewayClass, key, &status.conditions);
    }
    for key in statuses.gateways.keys() {
        list.gateway(key, statuses, layers);
    }
    let dangling = layers.attachment.dangling.keys();
    let dangling = dangling.filter(|route| !statuses.routes.contains_key(*route));
    for key in statuses.routes.keys().chain(dangling) {
        list.route(key, statuses, layers);
    }
    for (key, status) in &statuses.services {
        list.false_ones(Kind::Service, key, &status.conditions);
    }
    for (object, status) in &statuses.policies {
        list.policy(object, status);
    }
    list.absent(layers);
    let is_told =
        |user: &ObjectRef| user.kind == Kind::Gateway && statuses.gateways.contains_key(&user.key);
    list.contested(layers, |user| !is_told(user));
    for (object, refusal) in &layers.routing.problems {
        list.add(object.kind, &object.key, refusal.reason, &refusal.message);
    }
    list.sorted()
}

/// All problems, where only the statuses of these Gateways and routes are new.
pub(super) fn update(
    statuses: &Statuses,
    layers: &Layers<'_>,
    stale: &BTreeSet<ObjectRef>,
) -> Vec<Problem> {
    // Of those that are not ours, problems stand that nothing here would say again.
    let is_ours = |object: &&ObjectRef| {
        object.kind != Kind::Gateway || layers.admission.gateways.contains_key(&object.key)
    };
    let stale: BTreeSet<&ObjectRef> = stale.iter().filter(is_ours).collect();
    let gateways = stale.iter().filter(|object| object.kind == Kind::Gateway);
    let gateways = gateways.filter_map(|object| layers.admission.gateways.get(&object.key));
    let sets: BTreeSet<&ObjectKey> = gateways.flat_map(|gateway| &gateway.sets).collect();
    let is_stale = |object: &ObjectRef| {
        stale.contains(object) || (object.kind == Kind::ListenerSet && sets.contains(&object.key))
    };
    let others = statuses.problems.iter().filter(|problem| !is_stale(&problem.object));
    let mut list = List(others.cloned().collect());
    for object in stale {
        match object.kind {
            Kind::Gateway => list.gateway(&object.key, statuses, layers),
            _ => list.route(object, statuses, layers),
        }
    }
    list.sorted()
}

#[derive(Default)]
struct List(Vec<Problem>);

impl List {
    /// All that is to be said of a Gateway of ours and of its ListenerSets.
    fn gateway(&mut self, key: &ObjectKey, statuses: &Statuses, layers: &Layers<'_>) {
        let (Some(status), Some(gateway)) =
            (statuses.gateways.get(key), layers.admission.gateways.get(key))
        else {
            return;
        };
        self.gateway_status(key, status);
        for remark in &gateway.remarks {
            self.add(Kind::Gateway, key, Reason::UnsupportedValue, remark);
        }
        self.contested(layers, |user| user.kind == Kind::Gateway && user.key == *key);
        for set in &gateway.sets {
            if let Some(status) = statuses.sets.get(set) {
                self.set(set, status);
            }
        }
    }

    /// All that is to be said of a route.
    fn route(&mut self, route: &ObjectRef, statuses: &Statuses, layers: &Layers<'_>) {
        if let Some(status) = statuses.routes.get(route) {
            self.route_status(route, status);
        }
        for refusal in layers.attachment.dangling.get(route).into_iter().flatten() {
            self.add(route.kind, &route.key, refusal.reason, refusal.message.clone());
        }
        let parents = layers.attachment.routes.get(route).into_iter().flatten();
        let attached = parents.filter(|parent| parent.verdict.is_ok());
        let resolved: Vec<&Resolved> =
            attached.flat_map(|parent| route::resolved(layers, route, parent)).collect();
        // Shares that are reset although the references are right.
        for starved in resolved.iter().flat_map(|resolved| &resolved.starved) {
            let message = format!("{starved}: its part of the connections is reset");
            self.add(route.kind, &route.key, Reason::NoEndpoints, message);
        }
        // Names that do not resolve now, where connections go by what they resolved to before.
        for why in resolved.iter().flat_map(|resolved| &resolved.doubtful) {
            self.add(route.kind, &route.key, Reason::NameNotResolved, why);
        }
    }

    fn sorted(mut self) -> Vec<Problem> {
        self.0.sort_by(|a, b| {
            (a.reason == Reason::Pending, &a.object).cmp(&(b.reason == Reason::Pending, &b.object))
        });
        self.0
    }

    fn add(&mut self, kind: Kind, key: &ObjectKey, reason: Reason, message: impl Into<String>) {
        let object = ObjectRef { kind, key: key.clone() };
        let problem = Problem { object, reason, message: message.into() };
        // Of one object everything is added in a row, so looking back is enough.
        let mut before = self.0.iter().rev().take_while(|other| other.object == problem.object);
        if !before.any(|other| *other == problem) {
            self.0.push(problem);
        }
    }

    fn false_ones(&mut self, kind: Kind, key: &ObjectKey, conditions: &[Condition]) {
        for condition in conditions.iter().filter(|condition| !condition.is_true()) {
            self.add(kind, key, condition.reason, condition.message.clone());
        }
    }

    /// The first condition that does not hold is the cause of those behind it. What sums up the
    /// listeners is left to them.
    fn gateway_status(&mut self, key: &ObjectKey, status: &GatewayStatus) {
        if let Some(cause) = of(&status.conditions, ConditionType::ResolvedRefs) {
            self.add(Kind::Gateway, key, cause.reason, cause.message.clone());
        }
        if let Some(cause) = status.conditions.iter().find(|condition| !condition.is_true()) {
            let sums_up = matches!(cause.reason, Reason::ListenersNotValid | Reason::Invalid);
            if !sums_up || status.listeners.is_empty() {
                self.add(Kind::Gateway, key, cause.reason, cause.message.clone());
            }
        }
        for listener in &status.listeners {
            self.listener(Kind::Gateway, key, listener);
        }
    }

    fn set(&mut self, key: &ObjectKey, status: &SetStatus) {
        let cause = status.conditions.iter().find(|condition| !condition.is_true());
        let sums_up = [
            Reason::Invalid,
            Reason::ListenersNotValid,
            Reason::ParentNotAccepted,
            Reason::ParentNotProgrammed,
        ];
        if let Some(cause) = cause.filter(|cause| !sums_up.contains(&cause.reason)) {
            self.add(Kind::ListenerSet, key, cause.reason, cause.message.clone());
        }
        for listener in &status.listeners {
            self.listener(Kind::ListenerSet, key, listener);
        }
    }

    /// What is wrong with a listener itself; what it waits for is the Gateway's problem.
    fn listener(&mut self, kind: Kind, owner: &ObjectKey, listener: &ListenerStatus) {
        let own = listener.conditions.iter().filter(|condition| match condition.kind {
            ConditionType::Accepted | ConditionType::ResolvedRefs => !condition.is_true(),
            _ => condition.reason == Reason::PortUnavailable,
        });
        for condition in own {
            let message = format!("listener {}: {}", listener.name, condition.message);
            self.add(kind, owner, condition.reason, message);
        }
    }

    fn route_status(&mut self, route: &ObjectRef, status: &RouteStatus) {
        for parent in &status.parents {
            self.false_ones(route.kind, &route.key, &parent.conditions);
            if let Some(partly) = of(&parent.conditions, ConditionType::PartiallyInvalid) {
                self.add(route.kind, &route.key, partly.reason, partly.message.clone());
            }
        }
    }

    /// One cause is told once, for however many ancestors it holds.
    fn policy(&mut self, policy: &ObjectRef, status: &PolicyStatus) {
        for ancestor in &status.ancestors {
            self.false_ones(policy.kind, &policy.key, &ancestor.conditions);
            if let Some(partly) = of(&ancestor.conditions, ConditionType::PartiallyInvalid) {
                self.add(policy.kind, &policy.key, partly.reason, partly.message.clone());
            }
        }
    }

    /// References to objects that do not exist, where nobody writes a status.
    fn absent(&mut self, layers: &Layers<'_>) {
        for (key, class) in &layers.admission.classless {
            let message = format!(
                "spec.gatewayClassName: there is no GatewayClass {class:?}: create one with \
                 controllerName {}, or write the name of another",
                vipgate_api::CONTROLLER_NAME
            );
            self.add(Kind::Gateway, key, Reason::Invalid, message);
        }
        for (key, gateway) in &layers.admission.orphans {
            let message = format!(
                "spec.parentRef: Gateway {gateway} does not exist: check name and namespace (the \
                 set's own namespace is meant when none is written)"
            );
            self.add(Kind::ListenerSet, key, Reason::Invalid, message);
        }
        for (key, refusal) in &layers.backend_tls.aimless {
            self.add(Kind::BackendTlsPolicy, key, refusal.reason, refusal.message.clone());
        }
        for (key, message) in layers.pool_problems {
            self.add(Kind::IpAddressPool, key, Reason::Invalid, message.clone());
        }
    }

    /// Addresses in use that another host claims as well, at those of their users that are meant. They
    /// stay: clients know them.
    fn contested(&mut self, layers: &Layers<'_>, is_meant: impl Fn(&ObjectRef) -> bool) {
        for (address, mac) in layers.reports.values().flat_map(|report| &report.contested) {
            let Some(claim) = layers.allocation.claims.0.get(address) else { continue };
            let message = format!(
                "{address} is claimed by {mac} too, and defended: take it from that host, or \
                 exclude it from the pool and write another one into spec.addresses"
            );
            let users = claim.users.iter().map(|VipUser { object, .. }| object);
            for object in users.filter(|object| is_meant(object)) {
                self.add(object.kind, &object.key, Reason::AddressNotUsable, message.clone());
            }
        }
    }
}

fn of(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}
