//! The links of routes: to their parents, their backends, and the endpoints of these.

use std::collections::BTreeSet;

use serde_json::Value;
use vipgate_api::gateway::{ParentReference, Route};
use vipgate_api::{CONTROLLER_NAME, GATEWAY_GROUP, Kind, ObjectKey, ObjectRef, Reason};

use super::{controller, gateway, listener, object, reasons};
use crate::status::report::BackendStatus;
use crate::why::cause::{Cause, Fill, Stage};
use crate::why::chain::Chain;
use crate::why::facts::{Facts, Said, conditions};

/// The links of a route that was asked about, with those of its Gateways.
pub(super) fn links(chain: &mut Chain<'_>, route: &ObjectRef) {
    object(chain, route);
    let facts = chain.facts;
    if !facts.things.contains_key(route) {
        // It names no Gateway of ours, and that is all that is known of it.
        let told = facts.told(route).filter(|told| told.reason.is_some());
        for told in told {
            chain.broken(Cause::ParentNotFound, route, told.message.clone(), Fill::none());
        }
        return;
    }
    let parents = parents_of(facts, route);
    if parents.is_empty() {
        let text = "it has no parentRef to a Gateway or ListenerSet";
        chain.broken(Cause::NoParentRef, route, text, Fill::none());
    }
    let mut gateways = BTreeSet::new();
    for (reference, parent) in &parents {
        // One that is not told of on a host is another controller's, or none.
        let is_there = facts.things.contains_key(parent) || facts.told(parent).next().is_some();
        let gateway = match parent.kind {
            Kind::ListenerSet => gateway::gateway_of_set(facts, parent),
            _ => Some(parent.clone()),
        };
        match gateway.filter(|_| is_there) {
            Some(gateway) => {
                chain.good(Stage::Parent, route, format!("{} exists", shown(reference, parent)));
                gateways.insert(gateway);
            }
            // Our entries in the status of the route are looked at all the same.
            None if !is_there && chain.is_open(Stage::Parent, route, &[parent.kind]) => {
                gateways.extend((parent.kind == Kind::Gateway).then(|| parent.clone()));
            }
            None => {
                let text = format!("{parent}, which a parentRef names, does not exist");
                chain.broken(Cause::ParentNotFound, route, text, Fill::none());
            }
        }
    }
    for gateway in &gateways {
        if !gateway::head(chain, gateway) {
            continue;
        }
        gateway::trunk(chain, gateway, None);
        let said: Vec<Said> =
            entries(facts, route, gateway).into_iter().flat_map(conditions).collect();
        // Of a Gateway that is not read it is not known whether anything is to be said.
        if !said.is_empty() || facts.unlisted(&[Kind::Gateway, Kind::GatewayClass]).is_none() {
            controller::seen(chain, route, &said);
        }
        attached(chain, route, gateway);
        superseded(chain, route, gateway);
        backends(chain, route, gateway);
        gateway::policies(chain, gateway);
    }
}

/// The Gateways of a route, as far as they are known.
pub(super) fn gateways(facts: &Facts, route: &ObjectRef) -> Vec<ObjectRef> {
    let parents = parents_of(facts, route).into_iter();
    parents
        .filter_map(|(_, parent)| match parent.kind {
            Kind::ListenerSet => gateway::gateway_of_set(facts, &parent),
            _ => Some(parent),
        })
        .collect()
}

/// The links of all routes of a Gateway, as far as they have to do with what was asked about.
pub(super) fn of_gateway(chain: &mut Chain<'_>, gateway: &ObjectRef) {
    let facts = chain.facts;
    let routes: Vec<ObjectRef> = facts
        .things
        .keys()
        .filter(|object| object.kind.is_route() && is_meant(chain, object, gateway))
        .cloned()
        .collect();
    for route in &routes {
        attached(chain, route, gateway);
        backends(chain, route, gateway);
    }
    for (owner, listener) in listeners(facts, gateway) {
        let name = listener["name"].as_str().unwrap_or_default();
        let port = facts.things.get(owner).and_then(|thing| listener::port_of(thing, name));
        let meant = port.is_none_or(|port| chain.is_meant(port));
        let accepted = conditions(listener)
            .iter()
            .any(|said| said.kind == "Accepted" && said.holds == Some(true));
        if meant && accepted && listener["attachedRoutes"].as_u64() == Some(0) {
            let text = format!("listener {name}: no route is attached");
            chain.broken(Cause::NoRoute, owner, text, Fill { port, ..Fill::none() });
        }
    }
}

/// The status of each listener of a Gateway and its ListenerSets, with the object that it is of.
fn listeners<'a>(facts: &'a Facts, gateway: &'a ObjectRef) -> Vec<(&'a ObjectRef, &'a Value)> {
    let owners = std::iter::once(gateway).chain(gateway::sets_of(facts, gateway));
    owners
        .filter_map(|owner| Some((owner, facts.things.get(owner)?)))
        .flat_map(|(owner, thing)| {
            let all = thing["status"]["listeners"].as_array().into_iter().flatten();
            all.map(move |listener| (owner, listener))
        })
        .collect()
}

/// The parentRefs of a route that can be ours.
fn parents_of(facts: &Facts, route: &ObjectRef) -> Vec<(ParentReference, ObjectRef)> {
    let Some(read) = facts.read::<Route>(route) else { return Vec::new() };
    let parent = |reference: ParentReference| {
        let kinds = [Kind::Gateway, Kind::ListenerSet];
        let kind = kinds.into_iter().find(|kind| kind.name() == reference.kind)?;
        (reference.group == GATEWAY_GROUP).then_some(())?;
        let namespace = reference.namespace.clone().unwrap_or_else(|| route.key.namespace.clone());
        let key = ObjectKey::new(namespace, reference.name.clone());
        Some((reference, ObjectRef::new(kind, key)))
    };
    read.spec.parent_refs.into_iter().filter_map(parent).collect()
}

fn shown(reference: &ParentReference, parent: &ObjectRef) -> String {
    let section = reference.section_name.iter().map(|name| format!(" listener {name}"));
    let port = reference.port.iter().map(|port| format!(" port {port}"));
    format!("{parent}{}{}", section.collect::<String>(), port.collect::<String>())
}

/// Whether a parentRef leads to a Gateway, by itself or through one of its ListenerSets.
fn leads_to(facts: &Facts, parent: &ObjectRef, gateway: &ObjectRef) -> bool {
    parent == gateway
        || (parent.kind == Kind::ListenerSet
            && gateway::gateway_of_set(facts, parent).as_ref() == Some(gateway))
}

/// Whether a route is of the Gateway and of the port that were asked about.
fn is_meant(chain: &Chain<'_>, route: &ObjectRef, gateway: &ObjectRef) -> bool {
    let facts = chain.facts;
    parents_of(facts, route).iter().any(|(reference, parent)| {
        let section = reference.section_name.as_deref();
        let of_section =
            section.and_then(|name| listener::port_of(facts.things.get(parent)?, name));
        let port = reference.port.or(of_section);
        leads_to(facts, parent, gateway) && port.is_none_or(|port| chain.is_meant(port))
    })
}

/// Whether vipgate says something of a route in connection with a Gateway, which then is ours.
pub(super) fn tells_of(facts: &Facts, gateway: &ObjectRef) -> bool {
    let mut routes = facts.things.keys().filter(|object| object.kind.is_route());
    routes.any(|route| !entries(facts, route, gateway).is_empty())
}

/// Our entries in the status of a route that are about a Gateway.
fn entries<'a>(facts: &'a Facts, route: &ObjectRef, gateway: &ObjectRef) -> Vec<&'a Value> {
    let Some(thing) = facts.things.get(route) else { return Vec::new() };
    let all = thing["status"]["parents"].as_array().into_iter().flatten();
    let is_ours = |entry: &&Value| {
        entry["controllerName"] == CONTROLLER_NAME
            && leads_to(facts, &parent_of(entry, route), gateway)
    };
    all.filter(is_ours).collect()
}

/// The parent that an entry in the status of a route is about.
fn parent_of(entry: &Value, route: &ObjectRef) -> ObjectRef {
    let reference = &entry["parentRef"];
    let text = |field: &str, default: &str| reference[field].as_str().unwrap_or(default).to_owned();
    let kind = match text("kind", "Gateway").as_str() {
        "ListenerSet" => Kind::ListenerSet,
        _ => Kind::Gateway,
    };
    let key = ObjectKey::new(text("namespace", &route.key.namespace), text("name", ""));
    ObjectRef::new(kind, key)
}

/// Whether a route is attached. Of several parentRefs to a Gateway each has to lead somewhere.
fn attached(chain: &mut Chain<'_>, route: &ObjectRef, gateway: &ObjectRef) {
    for entry in entries(chain.facts, route, gateway) {
        for said in conditions(entry) {
            match said.kind.as_str() {
                "Accepted" if said.holds == Some(false) => {
                    let cause = reasons::of_route(&said);
                    // Who lets routes in is the parent.
                    let fill = match cause {
                        Cause::RouteNotAllowed => Fill::edit(parent_of(entry, route)),
                        _ => Fill::none(),
                    };
                    chain.broken_at(Stage::Route, cause, route, said.message, fill);
                }
                "Accepted" => chain.good(Stage::Route, route, said.message),
                "PartiallyInvalid" if said.holds == Some(true) => {
                    chain.broken(Cause::RulesDropped, route, said.message, Fill::none());
                }
                _ => {}
            }
        }
    }
}

/// Whether an older route has what this one is attached to.
fn superseded(chain: &mut Chain<'_>, route: &ObjectRef, gateway: &ObjectRef) {
    let facts = chain.facts;
    let name = route.to_string();
    for vip in facts.vips_of(gateway) {
        let listeners = vip.status.listeners.iter().filter(|one| chain.is_meant(one.port));
        let found: Vec<_> = listeners.filter(|one| one.superseded.contains(&name)).collect();
        for listener in found {
            let others: Vec<&str> =
                listener.routes.iter().map(|route| route.route.as_str()).collect();
            let text = format!("listener {} is that of {}", listener.name, others.join(", "));
            let fill = Fill::at(vip.status.address).port(listener.port);
            chain.broken(Cause::Superseded, route, text, fill);
        }
    }
}

/// backendRefs and endpoints.
fn backends(chain: &mut Chain<'_>, route: &ObjectRef, gateway: &ObjectRef) {
    let facts = chain.facts;
    let entries = entries(facts, route, gateway);
    let attached = |said: &Said| said.kind == "Accepted" && said.holds == Some(true);
    if !entries.iter().any(|entry| conditions(entry).iter().any(attached)) {
        return;
    }
    let rule = facts.read::<Route>(route).and_then(|route| route.spec.rules.into_iter().next());
    let refs = rule.map(|rule| rule.backend_refs).unwrap_or_default();
    if refs.is_empty() {
        let text = "it has no backendRef";
        chain.broken(Cause::NoBackendRef, route, text, Fill::none());
        return;
    }
    if refs.iter().all(|one| one.weight == 0) {
        let text = "all of its backendRefs have weight 0";
        chain.broken(Cause::NoWeight, route, text, Fill::none());
    }
    for entry in &entries {
        for said in conditions(entry).into_iter().filter(|said| said.kind == "ResolvedRefs") {
            if said.holds == Some(false) {
                let cause = reasons::of_route(&said);
                chain.broken_at(Stage::Backend, cause, route, said.message, Fill::none());
            } else {
                chain.good(Stage::Backend, route, said.message);
            }
        }
    }
    endpoints(chain, route, gateway);
}

fn endpoints(chain: &mut Chain<'_>, route: &ObjectRef, gateway: &ObjectRef) {
    let facts = chain.facts;
    for told in facts.told(route) {
        let cause = match told.reason {
            Some(Reason::NoEndpoints) => Cause::NoEndpoints,
            Some(Reason::NameNotResolved) => Cause::NameNotResolved,
            _ => continue,
        };
        chain.broken(cause, route, told.message.clone(), Fill::none());
    }
    let name = route.to_string();
    for vip in facts.vips_of(gateway) {
        let meant = vip.status.listeners.iter().filter(|listener| chain.is_meant(listener.port));
        let routes = meant.flat_map(|listener| &listener.routes).filter(|one| one.route == name);
        let backends: Vec<&BackendStatus> = routes.flat_map(|route| &route.backends).collect();
        for backend in backends.into_iter().filter(|backend| !backend.endpoints.is_empty()) {
            endpoints_of(chain, route, backend);
        }
    }
}

fn endpoints_of(chain: &mut Chain<'_>, route: &ObjectRef, backend: &BackendStatus) {
    let all = backend.endpoints.len();
    let bad: Vec<_> = backend.endpoints.iter().filter(|endpoint| !endpoint.healthy).collect();
    let each: Vec<String> =
        bad.iter().map(|one| format!("{}: {}", one.address, one.state)).collect();
    let each = each.join("; ");
    let name = &backend.backend;
    match bad.first() {
        Some(first) if bad.len() == all && backend.share > 0.0 => {
            let fill = Fill::at(first.address.ip()).port(first.address.port());
            let text = format!("{name}: none of {all} could be reached ({each})");
            chain.broken(Cause::EndpointsUnreachable, route, text, fill);
        }
        Some(_) => {
            let text = format!("{name}: {} of {all} could not be reached ({each})", bad.len());
            chain.note(Stage::Endpoint, route, text);
        }
        None => chain.good(Stage::Endpoint, route, format!("{name}: {all} ready")),
    }
}
