//! The links of a Gateway: class, acceptance, listeners and ListenerSets, address, nodes, routes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;
use vipgate_api::gateway::ListenerSet;
use vipgate_api::{CONTROLLER_NAME, Kind, ObjectKey, ObjectRef, Reason};

use super::{controller, listener, object, reasons, route, vip};
use crate::why::cause::{Cause, Fill, Stage};
use crate::why::chain::Chain;
use crate::why::facts::{Facts, Place, Said, conditions};

/// All of them; of one address only, if one is meant.
pub(super) fn links(chain: &mut Chain<'_>, gateway: &ObjectRef, address: Option<IpAddr>) {
    if head(chain, gateway) {
        trunk(chain, gateway, address);
        route::of_gateway(chain, gateway);
        policies(chain, gateway);
    }
}

/// From the object to its class; whether it is ours.
pub(super) fn head(chain: &mut Chain<'_>, gateway: &ObjectRef) -> bool {
    if chain.facts.place == Place::Speaker {
        let text = "a speaker does not know it: ask the cluster with --kubeconfig FILE";
        chain.unknown(Stage::Object, gateway, text);
        return true;
    }
    object(chain, gateway);
    if !chain.facts.things.contains_key(gateway)
        && chain.is_open(Stage::Object, gateway, &[Kind::Gateway])
    {
        return true;
    }
    class(chain, gateway)
}

/// From the acceptance to the bound ports.
pub(super) fn trunk(chain: &mut Chain<'_>, gateway: &ObjectRef, address: Option<IpAddr>) {
    let facts = chain.facts;
    let status = facts.things.get(gateway).map(|thing| &thing["status"]);
    let said = status.map(conditions).unwrap_or_default();
    controller::lease(chain, gateway);
    if status.is_some() {
        controller::seen(chain, gateway, &ours(&said));
        listener::links(chain, gateway);
        accepted(chain, gateway, &said);
        self::address(chain, gateway, &said);
    }
    let vips: Vec<_> = facts
        .vips_of(gateway)
        .filter(|vip| address.is_none_or(|meant| vip.status.address == meant))
        .collect();
    let before = [Stage::Class, Stage::Accepted, Stage::Listener, Stage::Address];
    let has_address = !before.into_iter().any(|stage| chain.is_broken_at(stage));
    if vips.is_empty() && has_address && facts.unlisted(&[Kind::Gateway]).is_none() {
        let text = "no address is claimed for it";
        chain.broken(Cause::NotClaimed, gateway, text, Fill::none());
    }
    for one in vips {
        vip::links(chain, gateway, one);
        listener::sockets(chain, gateway, one);
    }
}

/// Without those that a Gateway is created with: the API server writes them, until a controller does.
fn ours(said: &[Said]) -> Vec<Said> {
    let is_default = |said: &&Said| said.holds.is_none() && said.message.starts_with("Waiting for");
    said.iter().filter(|said| !is_default(said)).cloned().collect()
}

fn class(chain: &mut Chain<'_>, gateway: &ObjectRef) -> bool {
    let facts = chain.facts;
    let Some(thing) = facts.things.get(gateway) else {
        // All that is known of it is what is wrong with it.
        let told = facts.told(gateway).find(|told| told.reason == Some(Reason::Invalid));
        if let Some(told) = told {
            chain.broken(Cause::ClassNotFound, gateway, told.message.clone(), Fill::none());
        }
        return false;
    };
    let name = thing["spec"]["gatewayClassName"].as_str().unwrap_or_default();
    let reference = ObjectRef::new(Kind::GatewayClass, ObjectKey::new("", name));
    let Some(class) = facts.things.get(&reference) else {
        let text = format!("there is no GatewayClass {name:?}{}", our_classes(facts));
        chain.broken(Cause::ClassNotFound, gateway, text, Fill::none());
        // A VIP or the status of a route tells that it is ours; one that is perhaps another's is not looked at.
        let is_ours = facts.vips_of(gateway).next().is_some() || route::tells_of(facts, gateway);
        return !chain.is_broken_at(Stage::Class) && is_ours;
    };
    let by = class["spec"]["controllerName"].as_str().unwrap_or_default();
    if by != CONTROLLER_NAME {
        let text = format!("GatewayClass {name} is of {by}{}", our_classes(facts));
        chain.broken(Cause::ClassNotOurs, gateway, text, Fill::none());
        return false;
    }
    match conditions(&class["status"]).into_iter().find(|said| said.fails("Accepted")) {
        Some(refused) => {
            chain.broken(Cause::ClassRefused, &reference, refused.message, Fill::none());
            false
        }
        None => {
            chain.good(Stage::Class, gateway, format!("GatewayClass {name} is served by vipgate"));
            true
        }
    }
}

/// The classes that could be written instead, as the end of a sentence.
fn our_classes(facts: &Facts) -> String {
    let ours = facts.of_kind(Kind::GatewayClass);
    let ours = ours.filter(|(_, class)| class["spec"]["controllerName"] == CONTROLLER_NAME);
    let names: Vec<&str> = ours.map(|(class, _)| class.key.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!("; vipgate serves {}", names.join(", ")) }
}

/// The class that is meant where parameters are refused and the Gateway names none: one that was not read.
fn class_with_parameters(facts: &Facts, gateway: &ObjectRef, cause: Cause) -> Option<ObjectRef> {
    facts.unlisted(&[Kind::GatewayClass])?;
    let spec = &facts.things.get(gateway)?["spec"];
    let is_of_class = spec["infrastructure"]["parametersRef"].is_null();
    let name = spec["gatewayClassName"].as_str()?;
    (cause == Cause::GatewayParameters && is_of_class)
        .then(|| ObjectRef::new(Kind::GatewayClass, ObjectKey::new("", name)))
}

fn accepted(chain: &mut Chain<'_>, gateway: &ObjectRef, said: &[Said]) {
    match said.iter().find(|said| said.kind == "Accepted") {
        Some(refused) if refused.fails("Accepted") => {
            // Its listeners say what is wrong with them.
            let by_listeners = refused.known() == Some(Reason::ListenersNotValid);
            if !(by_listeners && chain.is_broken_at(Stage::Listener)) {
                let (cause, text) = (reasons::of_gateway(refused), refused.message.clone());
                match class_with_parameters(chain.facts, gateway, cause) {
                    Some(class) => chain.broken(Cause::ClassRefused, &class, text, Fill::none()),
                    None => chain.broken(cause, gateway, text, Fill::none()),
                }
            }
        }
        Some(accepted) => chain.good(Stage::Accepted, gateway, accepted.message.clone()),
        None => {}
    }
    if let Some(shown) = said.iter().find(|said| said.fails("ResolvedRefs")) {
        chain.broken(Cause::ClientCertificate, gateway, shown.message.clone(), Fill::none());
    }
}

fn address(chain: &mut Chain<'_>, gateway: &ObjectRef, said: &[Said]) {
    let facts = chain.facts;
    let Some(programmed) = said.iter().find(|said| said.kind == "Programmed") else { return };
    let lacks = [Some(Reason::AddressNotAssigned), Some(Reason::AddressNotUsable)];
    if !programmed.fails("Programmed") || !lacks.contains(&programmed.known()) {
        let pools: BTreeSet<&str> =
            facts.vips_of(gateway).map(|vip| vip.status.pool.as_str()).collect();
        if !pools.is_empty() {
            let pools: Vec<&str> = pools.into_iter().collect();
            let text = format!("there is one for it in pool {}", pools.join(", "));
            chain.good(Stage::Address, gateway, text);
        }
        return;
    }
    obstacles(chain, gateway, &programmed.message);
}

/// What stands in the way of an address, by what is told of it beyond the condition.
pub(super) fn obstacles(chain: &mut Chain<'_>, user: &ObjectRef, message: &str) {
    let facts = chain.facts;
    let told = facts.told(user).filter_map(|told| reasons::of_address(told.reason?));
    let causes: Vec<Cause> = told.collect();
    let is_held = facts.vips_of(user).any(|vip| vip.status.nodes.iter().any(vip::is_conflict));
    let wants_pool =
        causes.iter().any(|cause| matches!(cause, Cause::NoPool | Cause::AddressNotInPool));
    if wants_pool || causes.contains(&Cause::PoolNotFound) {
        broken_pools(chain);
    }
    // What rests on kinds that could not be listed is not known, and what the condition says is.
    let is_open = |cause: &Cause| facts.unlisted(cause.rests_on()).is_some();
    let (open, causes): (Vec<Cause>, Vec<Cause>) = causes.into_iter().partition(is_open);
    for cause in open {
        chain.broken(cause, user, message, Fill::none());
    }
    match causes.first() {
        Some(cause) => chain.broken(*cause, user, message, Fill::none()),
        // The nodes tell of that, further down.
        None if is_held => {}
        None => chain.broken(Cause::AddressMissing, user, message, Fill::none()),
    }
}

/// Pools that are not used are the nearest cause of an address that no pool has.
pub(super) fn broken_pools(chain: &mut Chain<'_>) {
    let facts = chain.facts;
    for (pool, thing) in facts.of_kind(Kind::IpAddressPool) {
        let said = conditions(&thing["status"]);
        if let Some(refused) = said.iter().find(|said| said.fails("Accepted")) {
            chain.broken(Cause::PoolInvalid, pool, refused.message.clone(), Fill::none());
        }
    }
}

/// The ListenerSets that name a Gateway.
pub(super) fn sets_of<'a>(
    facts: &'a Facts,
    gateway: &'a ObjectRef,
) -> impl Iterator<Item = &'a ObjectRef> {
    let sets = facts.of_kind(Kind::ListenerSet);
    sets.filter(move |(set, _)| gateway_of_set(facts, set).as_ref() == Some(gateway))
        .map(|(set, _)| set)
}

/// The Gateway that a ListenerSet names.
pub(super) fn gateway_of_set(facts: &Facts, set: &ObjectRef) -> Option<ObjectRef> {
    let parent = facts.read::<ListenerSet>(set)?.spec.parent_ref;
    let namespace = parent.namespace.unwrap_or_else(|| set.key.namespace.clone());
    Some(ObjectRef::new(Kind::Gateway, ObjectKey::new(namespace, parent.name)))
}

/// Policies that say something of this Gateway or of what is behind it.
pub(super) fn policies(chain: &mut Chain<'_>, gateway: &ObjectRef) {
    let facts = chain.facts;
    let policies = facts.things.iter().filter(|(object, _)| object.kind.is_policy());
    for (policy, thing) in policies {
        let ancestors = thing["status"]["ancestors"].as_array().into_iter().flatten();
        for ancestor in ancestors.filter(|one| is_about(one, policy, gateway)) {
            let said = conditions(ancestor);
            let bad = said.iter().find(|said| {
                said.holds == Some(false)
                    || (said.kind == "PartiallyInvalid" && said.holds == Some(true))
            });
            match bad {
                Some(bad) => {
                    let text = bad.message.clone();
                    chain.broken(Cause::PolicyNotFollowed, policy, text, Fill::none());
                }
                None => restrictions(chain, policy, &thing["spec"]),
            }
        }
    }
}

fn is_about(ancestor: &Value, policy: &ObjectRef, gateway: &ObjectRef) -> bool {
    let parent = &ancestor["ancestorRef"];
    let namespace = parent["namespace"].as_str().unwrap_or(&policy.key.namespace);
    ancestor["controllerName"] == CONTROLLER_NAME
        && parent["kind"].as_str().unwrap_or("Gateway") == "Gateway"
        && namespace == gateway.key.namespace
        && parent["name"] == gateway.key.name.as_str()
}

/// What turns clients away although nothing is wrong.
fn restrictions(chain: &mut Chain<'_>, policy: &ObjectRef, spec: &Value) {
    if policy.kind != Kind::ListenerPolicy {
        return;
    }
    for (field, means) in [
        ("allowedSourceRanges", "only clients from there are let in"),
        ("deniedSourceRanges", "clients from there are turned away"),
        ("limits", "clients beyond that are turned away"),
        ("proxyProtocol", "connections without its header are turned away, where it is required"),
    ] {
        if !spec[field].is_null() {
            chain.note(Stage::Client, policy, format!("{field} {}: {means}", spec[field]));
        }
    }
}
