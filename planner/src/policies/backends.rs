//! BackendPolicies: on routes, and on Services and Backends from whatever route.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vipgate_api::vipgate::{BackendPolicy, BackendPolicySpec, Connect};
use vipgate_api::{Kind, ObjectKey, ObjectRef, Reason};

use super::contest::{Contest, Target, object};
use super::listeners::{both, does_not_exist};
use super::verdict::{self, Effect, Verdict};
use super::{Policies, fit};
use crate::attachment::Attachment;
use crate::refusal::Refusal;
use crate::resolution;
use crate::world::World;

pub(super) fn work_out(world: &World, attachment: &Attachment, policies: &mut Policies) {
    let contest = Contest::new(&world.backend_policies);
    for (target, spec) in contest.all() {
        if let Some(object) = object(target) {
            let mut said = spec.clone();
            said.target_refs.clear();
            policies.backends.insert(object, Arc::new(said));
        }
    }
    let targets = world.backend_policies.iter().flat_map(|(key, stored)| {
        let targets = stored.object.spec.target_refs.iter();
        targets.filter_map(|target| object((&key.namespace, target)))
    });
    let ground = Ground { world, users: users(world, attachment, &targets.collect()) };
    for (key, policy, outcomes) in contest.outcomes() {
        let verdicts: Vec<_> = (outcomes.into_iter())
            .map(|(target, outcome)| ground.verdict(policy, target, outcome))
            .collect();
        let object = ObjectRef::new(Kind::BackendPolicy, key.clone());
        policies.statuses.insert(object, verdict::status(&verdicts));
    }
}

/// What is said nearer, and where that says nothing, what is said farther away.
pub(super) fn over(near: &BackendPolicySpec, far: &BackendPolicySpec) -> BackendPolicySpec {
    let (near, far) = (near.clone(), far.clone());
    let connect = both(near.connect, far.connect, |near, far| Connect {
        timeout: near.timeout.or(far.timeout),
        tries: near.tries.or(far.tries),
    });
    BackendPolicySpec {
        target_refs: Vec::new(),
        balancing: near.balancing.or(far.balancing),
        session_affinity: near.session_affinity.or(far.session_affinity),
        proxy_protocol: near.proxy_protocol.or(far.proxy_protocol),
        client_address: near.client_address.or(far.client_address),
        connect,
        health_check: near.health_check.or(far.health_check),
        ejection: near.ejection.or(far.ejection),
        gone_endpoints: near.gone_endpoints.or(far.gone_endpoints),
    }
}

/// Who has to do with a route, Service or Backend.
#[derive(Default)]
struct Users {
    gateways: BTreeSet<ObjectKey>,
    /// Attached routes, or the route itself.
    routes: BTreeSet<ObjectRef>,
}

/// By those of the targets that have to do with a Gateway of ours.
fn users(
    world: &World,
    attachment: &Attachment,
    targets: &BTreeSet<ObjectRef>,
) -> BTreeMap<ObjectRef, Users> {
    let mut users: BTreeMap<ObjectRef, Users> = BTreeMap::new();
    for (route, parents) in &attachment.routes {
        let gateways: BTreeSet<ObjectKey> =
            parents.iter().map(|parent| parent.gateway.clone()).collect();
        let Some(stored) = world.routes.get(route) else { continue };
        let backends = resolution::backends(route, &stored.object);
        let all = backends.chain([route.clone()]);
        for object in all.filter(|object| targets.contains(object)) {
            let users = users.entry(object).or_default();
            users.gateways.extend(gateways.iter().cloned());
            users.routes.insert(route.clone());
        }
    }
    users
}

struct Ground<'a> {
    world: &'a World,
    users: BTreeMap<ObjectRef, Users>,
}

impl Ground<'_> {
    fn verdict<'t>(
        &self,
        policy: &BackendPolicy,
        target: Target<'t>,
        outcome: Result<(), Refusal>,
    ) -> Verdict<'t> {
        let users = object(target).and_then(|object| self.users.get(&object));
        let gateways = users.into_iter().flat_map(|users| &users.gateways);
        let ancestors = gateways.map(|key| verdict::gateway(key, None)).collect();
        let fate = outcome.and_then(|()| self.find(target)).map(|kind| {
            let mut effect = Effect::default();
            match users {
                None if kind.is_route() => effect
                    .remarks
                    .push("it is attached to no Gateway of ours, and counts when it is".to_owned()),
                None => effect.remarks.push(
                    "no route of a Gateway of ours names it, and it counts when one does"
                        .to_owned(),
                ),
                Some(users) => fit(policy, users, &mut effect),
            }
            effect
        });
        Verdict { target, ancestors, fate }
    }

    /// The kind of a target that exists.
    fn find(&self, target: Target<'_>) -> Result<Kind, Refusal> {
        let none = || Refusal::new(Reason::TargetNotFound, "it is of no kind that is forwarded to");
        let object = object(target).ok_or_else(none)?;
        let exists = match object.kind {
            Kind::Service => self.world.services.contains_key(&object.key),
            Kind::Backend => self.world.backends.contains_key(&object.key),
            kind if kind.is_route() => self.world.routes.contains_key(&object),
            _ => return Err(none()),
        };
        if exists { Ok(object.kind) } else { Err(does_not_exist(&object)) }
    }
}

/// Names the fields that mean nothing to sessions of UDP.
fn fit(policy: &BackendPolicy, users: &Users, effect: &mut Effect) {
    let (udp, others): (Vec<_>, Vec<_>) =
        users.routes.iter().partition(|route| route.kind == Kind::UdpRoute);
    if udp.is_empty() {
        return;
    }
    let (_, out) = fit::backend(policy.spec.clone(), true);
    if out.is_empty() {
        return;
    }
    let routes = udp.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("{} means nothing to the sessions of {routes}", out.join(", "));
    match others.is_empty() {
        true => effect.dead = Some(format!("{message}: remove it")),
        false => effect.remarks.push(message),
    }
}
