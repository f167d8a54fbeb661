//! ListenerPolicies: from Gateways and ListenerSets to listeners.

use std::collections::BTreeMap;
use std::sync::Arc;

use vipgate_api::gateway::{ParentReference, PolicyTargetReference};
use vipgate_api::vipgate::{Limits, ListenerPolicy, ListenerPolicySpec, ListenerTls, TcpKeepalive};
use vipgate_api::{Kind, ObjectKey, ObjectRef, Reason};

use super::contest::{Contest, Target, object};
use super::verdict::{self, Effect, Verdict};
use super::{Policies, fit, settings};
use crate::admission::{Admission, AdmittedListener};
use crate::refusal::Refusal;
use crate::world::World;

pub(super) fn work_out(world: &World, admission: &Admission, policies: &mut Policies) {
    let references = References::new(admission);
    let contest = Contest::new(&world.listener_policies);
    let mut proxied = BTreeMap::new();
    for (key, gateway) in &admission.gateways {
        for (place, listener) in gateway.listeners.iter().enumerate() {
            let Some(said) = effective(&references, &contest, key, listener) else { continue };
            let begins_with_header = said.proxy_protocol.is_some();
            let (said, _) = fit::listener(said, listener, begins_with_header);
            let settings = settings::of_listener(&said, listener);
            policies.listeners.insert((key.clone(), place), Arc::new(settings));
            proxied.insert((key, place), begins_with_header);
        }
    }
    let ground = Ground { admission, proxied };
    for (key, policy, outcomes) in contest.outcomes() {
        let verdicts: Vec<_> = (outcomes.into_iter())
            .map(|(target, outcome)| ground.verdict(policy, target, outcome))
            .collect();
        let object = ObjectRef::new(Kind::ListenerPolicy, key.clone());
        policies.statuses.insert(object, verdict::status(&verdicts));
    }
}

/// Every listener, and every Gateway and ListenerSet, as targets name them.
struct References(BTreeMap<(Kind, ObjectKey, Option<String>), PolicyTargetReference>);

impl References {
    fn new(admission: &Admission) -> Self {
        let mut all = BTreeMap::new();
        for (gateway, admitted) in &admission.gateways {
            let listeners = admitted.listeners.iter().flat_map(|listener| {
                let owner = owner(gateway, listener);
                [(owner.clone(), None), (owner, Some(listener.name.clone()))]
            });
            let itself = (ObjectRef::new(Kind::Gateway, gateway.clone()), None);
            for (ObjectRef { kind, key }, section_name) in listeners.chain([itself]) {
                let reference = PolicyTargetReference {
                    group: kind.group().to_owned(),
                    kind: kind.name().to_owned(),
                    name: key.name.clone(),
                    section_name: section_name.clone(),
                };
                all.insert((kind, key, section_name), reference);
            }
        }
        Self(all)
    }

    fn get(&self, object: &ObjectRef, section: Option<&String>) -> Option<Target<'_>> {
        let place = (object.kind, object.key.clone(), section.cloned());
        let ((_, key, _), reference) = self.0.get_key_value(&place)?;
        Some((key.namespace.as_str(), reference))
    }
}

/// The Gateway or ListenerSet that a listener stands in.
fn owner(gateway: &ObjectKey, listener: &AdmittedListener) -> ObjectRef {
    match &listener.set {
        Some(set) => ObjectRef::new(Kind::ListenerSet, set.clone()),
        None => ObjectRef::new(Kind::Gateway, gateway.clone()),
    }
}

/// All that is said of a listener, by itself, by what it stands in, and by its Gateway.
fn effective<'a>(
    references: &'a References,
    contest: &Contest<'a, ListenerPolicy>,
    gateway: &ObjectKey,
    listener: &AdmittedListener,
) -> Option<ListenerPolicySpec> {
    let owner = owner(gateway, listener);
    let of_gateway = ObjectRef::new(Kind::Gateway, gateway.clone());
    let behind = (owner != of_gateway).then_some((&of_gateway, None));
    let places = [(&owner, Some(&listener.name)), (&owner, None)].into_iter().chain(behind);
    places.filter_map(|(object, section)| contest.said(references.get(object, section)?)).fold(
        None,
        |near, far| match near {
            None => Some(far.clone()),
            Some(near) => Some(over(&near, far)),
        },
    )
}

/// What is said nearer, and where that says nothing, what is said farther away.
fn over(near: &ListenerPolicySpec, far: &ListenerPolicySpec) -> ListenerPolicySpec {
    let (near, far) = (near.clone(), far.clone());
    let limits = both(near.limits, far.limits, |near, far| Limits {
        connections: near.connections.or(far.connections),
        connections_per_source: near.connections_per_source.or(far.connections_per_source),
        // A burst belongs to its rate.
        burst: match near.new_connections_per_second {
            Some(_) => near.burst,
            None => near.burst.or(far.burst),
        },
        new_connections_per_second: near
            .new_connections_per_second
            .or(far.new_connections_per_second),
    });
    let tcp_keepalive = both(near.tcp_keepalive, far.tcp_keepalive, |near, far| TcpKeepalive {
        time: near.time.or(far.time),
        interval: near.interval.or(far.interval),
        probes: near.probes.or(far.probes),
    });
    let tls = both(near.tls, far.tls, |near, far| ListenerTls {
        min_version: near.min_version.or(far.min_version),
        cipher_suites: near.cipher_suites.or(far.cipher_suites),
    });
    ListenerPolicySpec {
        target_refs: Vec::new(),
        proxy_protocol: near.proxy_protocol.or(far.proxy_protocol),
        allowed_source_ranges: near.allowed_source_ranges.or(far.allowed_source_ranges),
        denied_source_ranges: near.denied_source_ranges.or(far.denied_source_ranges),
        limits,
        idle_timeout: near.idle_timeout.or(far.idle_timeout),
        handshake_timeout: near.handshake_timeout.or(far.handshake_timeout),
        tcp_keepalive,
        tls,
        access_log: near.access_log.or(far.access_log),
    }
}

pub(super) fn both<T>(near: Option<T>, far: Option<T>, over: impl FnOnce(T, T) -> T) -> Option<T> {
    match (near, far) {
        (Some(near), Some(far)) => Some(over(near, far)),
        (near, far) => near.or(far),
    }
}

/// A listener that a target means: its Gateway, its place in that, itself.
type Meant<'a> = (&'a ObjectKey, usize, &'a AdmittedListener);

/// What verdicts are made from.
struct Ground<'a> {
    admission: &'a Admission,
    /// Of listeners that policies are about: whether connections may begin with a PROXY header.
    proxied: BTreeMap<(&'a ObjectKey, usize), bool>,
}

impl<'a> Ground<'a> {
    fn verdict<'t>(
        &self,
        policy: &ListenerPolicy,
        target: Target<'t>,
        outcome: Result<(), Refusal>,
    ) -> Verdict<'t> {
        match self.find(target) {
            Ok((ancestor, listeners)) => {
                let fate = outcome.map(|()| self.effect(policy, target, &listeners));
                Verdict { target, ancestors: vec![ancestor], fate }
            }
            // What is wrong with the policy itself comes first.
            Err(missing) => {
                let fate = outcome.and(Err(missing));
                Verdict { target, ancestors: Vec::new(), fate }
            }
        }
    }

    /// The ancestor of a target, and the listeners that are meant.
    fn find(&self, target: Target<'_>) -> Result<(ParentReference, Vec<Meant<'a>>), Refusal> {
        let section = target.1.section_name.as_ref();
        let object = object(target).ok_or_else(|| missing("is of no kind that has listeners"))?;
        let (gateway, set) = match object.kind {
            Kind::Gateway => (&object.key, None),
            Kind::ListenerSet => (self.gateway_of(&object)?, Some(&object.key)),
            _ => return Err(missing(&format!("{object} has no listeners"))),
        };
        let Some((gateway, admitted)) = self.admission.gateways.get_key_value(gateway) else {
            return Err(self.not_ours(gateway));
        };
        let all = admitted.listeners.iter().enumerate();
        let all = all.filter(|(_, listener)| listener.set.as_ref() == set);
        let listeners: Vec<_> = all
            .filter(|(_, listener)| section.is_none_or(|section| listener.name == *section))
            .map(|(place, listener)| (gateway, place, listener))
            .collect();
        if let Some(section) = section.filter(|_| listeners.is_empty()) {
            let names = admitted.listeners_of(set).map(|(_, listener)| listener.name.as_str());
            let names: Vec<&str> = names.collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("{object} has no listener named {section:?}: it has {has}");
            return Err(missing(&message));
        }
        let own = section.filter(|_| set.is_none());
        Ok((verdict::gateway(gateway, own), listeners))
    }

    fn gateway_of(&self, set: &ObjectRef) -> Result<&'a ObjectKey, Refusal> {
        if let Some(admitted) = self.admission.sets.get(&set.key) {
            return Ok(&admitted.gateway);
        }
        Err(match self.admission.orphans.get(&set.key) {
            Some(gateway) => {
                missing(&format!("{set} is for Gateway {gateway}, which does not exist"))
            }
            None if self.admission.foreign_sets.contains(&set.key) => {
                missing(&format!("{set} is for a Gateway of another controller"))
            }
            None => does_not_exist(set),
        })
    }

    fn not_ours(&self, gateway: &ObjectKey) -> Refusal {
        if self.admission.foreign.contains(gateway) {
            return missing(&format!("Gateway {gateway} is of a class of another controller"));
        }
        match self.admission.classless.get(gateway) {
            Some(class) => {
                missing(&format!("Gateway {gateway} is of class {class:?}, which does not exist"))
            }
            None => does_not_exist(&ObjectRef::new(Kind::Gateway, gateway.clone())),
        }
    }

    fn effect(
        &self,
        policy: &ListenerPolicy,
        target: Target<'_>,
        listeners: &[Meant<'a>],
    ) -> Effect {
        let mut effect = Effect::default();
        if listeners.is_empty() && target.1.kind == Kind::ListenerSet.name() {
            effect.remarks.push("none of its listeners is served".to_owned());
            return effect;
        }
        // Of each field, the listeners that it means nothing to.
        let mut unfit: BTreeMap<&str, Vec<&AdmittedListener>> = BTreeMap::new();
        for (gateway, place, listener) in listeners {
            let proxied = self.proxied.get(&(*gateway, *place)).copied().unwrap_or_default();
            let (_, out) = fit::listener(policy.spec.clone(), listener, proxied);
            for field in out {
                unfit.entry(field).or_default().push(listener);
            }
        }
        let mut dead = Vec::new();
        for (field, without) in unfit {
            let names = without.iter().map(|one| format!("{} ({})", one.name, protocol(one)));
            let names = names.collect::<Vec<_>>().join(", ");
            match without.len() == listeners.len() {
                true => dead.push(format!("{field} means nothing to listener {names}")),
                false => effect.remarks.push(format!("{field} means nothing to listener {names}")),
            }
        }
        if !dead.is_empty() {
            effect.dead = Some(format!("{}: remove it", dead.join("; ")));
        }
        // The API server sees one number at a time.
        let limits = policy.spec.limits.as_ref();
        if limits.is_some_and(|l| l.burst.is_some() && l.new_connections_per_second.is_none()) {
            effect.remarks.push(
                "limits.burst counts where another policy says newConnectionsPerSecond".to_owned(),
            );
        }
        effect
    }
}

/// What a listener speaks, as far as it matters here.
fn protocol(listener: &AdmittedListener) -> String {
    match listener.tls {
        Some(mode) if listener.protocol == "TLS" => format!("TLS {mode:?}"),
        _ => listener.protocol.clone(),
    }
}

fn missing(message: &str) -> Refusal {
    Refusal::new(Reason::TargetNotFound, message)
}

pub(super) fn does_not_exist(object: &ObjectRef) -> Refusal {
    missing(&format!(
        "{object} does not exist: check the name (a policy is for objects of its own namespace)"
    ))
}
