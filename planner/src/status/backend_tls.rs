//! Status of BackendTLSPolicies: one entry for each Gateway that sends to what the policy is about.

use std::collections::{BTreeMap, BTreeSet};

use vipgate_api::gateway::{ParentReference, PolicyAncestorStatus, PolicyStatus};
use vipgate_api::{
    CONTROLLER_NAME, Condition, ConditionType, GATEWAY_GROUP, Kind, ObjectKey, ObjectRef, Reason,
};

use super::Layers;
use crate::backend_tls::{Aim, Policies, Use, Verdict, described};
use crate::refusal::{Refusal, sum};

/// The statuses of those that concern Gateways of ours.
pub(super) fn statuses(layers: &Layers<'_>) -> BTreeMap<ObjectRef, PolicyStatus> {
    let policies = layers.backend_tls;
    let statuses = policies.verdicts.iter().map(|(key, verdict)| {
        let ancestors = gateways(policies, verdict).into_iter().take(PolicyStatus::MOST_ANCESTORS);
        let ancestors = ancestors.map(|gateway| PolicyAncestorStatus {
            ancestor_ref: ancestor(gateway),
            controller_name: CONTROLLER_NAME.to_owned(),
            conditions: vec![accepted(policies, verdict, gateway), resolved(verdict)],
        });
        let status = PolicyStatus { ancestors: ancestors.collect() };
        (ObjectRef::new(Kind::BackendTlsPolicy, key.clone()), status)
    });
    statuses.filter(|(_, status)| !status.ancestors.is_empty()).collect()
}

fn ancestor(gateway: &ObjectKey) -> ParentReference {
    ParentReference {
        group: GATEWAY_GROUP.to_owned(),
        kind: Kind::Gateway.name().to_owned(),
        namespace: Some(gateway.namespace.clone()),
        name: gateway.name.clone(),
        section_name: None,
        port: None,
    }
}

/// What sends to a target of a policy. A target that is not there is looked for by its name alone.
fn uses<'a>(policies: &'a Policies, aim: &'a Aim) -> impl Iterator<Item = &'a Use> {
    let missing =
        aim.refused.as_ref().is_some_and(|refusal| refusal.reason == Reason::TargetNotFound);
    let uses = policies.uses.get(&aim.target).into_iter().flatten();
    uses.filter(move |one| missing || aim.concerns(one))
}

fn gateways<'a>(policies: &'a Policies, verdict: &'a Verdict) -> BTreeSet<&'a ObjectKey> {
    let uses = verdict.aims.iter().flat_map(|aim| uses(policies, aim));
    uses.map(|one| &one.gateway).collect()
}

/// For one Gateway: the targets that it does not send to have no part in it.
fn accepted(policies: &Policies, verdict: &Verdict, gateway: &ObjectKey) -> Condition {
    let kind = ConditionType::Accepted;
    let concerned = |aim: &&Aim| uses(policies, aim).any(|one| one.gateway == *gateway);
    let aims: Vec<&Aim> = verdict.aims.iter().filter(concerned).collect();
    let refused = aims.iter().filter_map(|aim| aim.refused.as_ref());
    let mut refused: Vec<&Refusal> = refused.collect();
    // Whose policy another one is beats what does not exist.
    refused.sort_by_key(|refusal| refusal.reason != Reason::Conflicted);
    if let Some(mut refusal) = sum(refused) {
        let others = aims.iter().filter(|aim| aim.refused.is_none());
        let others: Vec<String> = others.map(|aim| named(aim)).collect();
        if !others.is_empty() && verdict.judgement.tls.is_ok() {
            refusal.message.push_str(&format!("; it counts for {}", others.join(" and ")));
        }
        return refusal.condition(kind);
    }
    let tls = match &verdict.judgement.tls {
        Ok(tls) => tls,
        Err(refusal) => return refusal.condition(kind),
    };
    let targets: Vec<String> = aims.iter().map(|aim| named(aim)).collect();
    let here = |one: &&Use| one.gateway == *gateway;
    let mut all = aims.iter().flat_map(|aim| uses(policies, aim)).filter(here);
    let mut message = match all.any(|one| one.exempt.is_none()) {
        true => format!("{} is asked for {} by TLS", targets.join(" and "), tls.server_name),
        false => format!("nothing is changed of how {} is spoken to", targets.join(" and ")),
    };
    for remark in &verdict.judgement.remarks {
        message.push_str(&format!("; {remark}"));
    }
    for exempt in exempt(policies, &aims, gateway) {
        message.push_str(&format!("; {exempt}"));
    }
    Condition::holds(kind, Reason::Accepted, message)
}

fn named(aim: &Aim) -> String {
    described(&aim.target, aim.section.as_deref())
}

/// Where the policy has no effect.
fn exempt(policies: &Policies, aims: &[&Aim], gateway: &ObjectKey) -> BTreeSet<String> {
    let uses = aims.iter().flat_map(|aim| uses(policies, aim));
    let uses = uses.filter(|one| one.gateway == *gateway);
    uses.filter_map(|Use { listener, route, exempt, .. }| {
        Some(format!("no effect on {route} at listener {listener}: {}", exempt.as_ref()?))
    })
    .collect()
}

fn resolved(verdict: &Verdict) -> Condition {
    let kind = ConditionType::ResolvedRefs;
    match sum(&verdict.judgement.refusals) {
        Some(refusal) => refusal.condition(kind),
        None => Condition::holds(kind, Reason::ResolvedRefs, "every reference is resolved"),
    }
}
