//! Routes, as far as all kinds are alike, and ReferenceGrant.

use super::metadata::note;
use super::{duplicates, length, names, port};
use crate::Kind;
use crate::gateway::{BackendRef, ParentReference, ReferenceGrant, Route, RouteRule, RouteSpec};
use crate::manifest::problem::Findings;

const MAX_WEIGHT: u32 = 1_000_000;

/// TCPRoute, UDPRoute and TLSRoute: nothing in what they forward chooses a rule.
pub(super) fn stream(kind: Kind, route: &Route, version: &str, findings: &mut Findings) {
    parents(&route.spec.parent_refs, findings);
    let rules = &route.spec.rules;
    match (version, rules.len()) {
        (_, 0) => findings.error("spec.rules", "is empty: write one rule with `backendRefs`"),
        (_, 1) => {}
        ("v1alpha2", count) => {
            length("spec.rules", count, 1, 16, findings);
            let message = "has no effect: only the first rule is served; put all \
                           `backendRefs` into it";
            findings.warning("spec.rules[1]", message);
        }
        (_, count) => {
            let protocol = kind.name().trim_end_matches("Route");
            let message = format!(
                "has {count} rules: {version} takes one, for {protocol} has nothing to choose a rule \
                 by; put all `backendRefs` into one rule"
            );
            findings.error("spec.rules[1]", message);
        }
    }
    for (index, rule) in rules.iter().enumerate() {
        let backends = format!("spec.rules[{index}].backendRefs");
        length(&backends, rule.backend_refs.len(), 1, 16, findings);
    }
    check_rules(route, findings);
}

/// What rules of all kinds of routes have.
pub(super) fn check_rules(route: &Route, findings: &mut Findings) {
    for (index, rule) in route.spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        if let Some(name) = &rule.name {
            note(&format!("{path}.name"), names::subdomain(name), findings);
        }
        for (index, backend) in rule.backend_refs.iter().enumerate() {
            backend_ref(&format!("{path}.backendRefs[{index}]"), backend, findings);
        }
    }
    duplicates_named(route, findings);
}

/// `spec.hostnames`: names, perhaps with `*.` in front, no addresses.
pub(super) fn hostnames(hostnames: &[String], most: usize, findings: &mut Findings) {
    length("spec.hostnames", hostnames.len(), 0, most, findings);
    for (index, hostname) in hostnames.iter().enumerate() {
        note(&format!("spec.hostnames[{index}]"), names::hostname(hostname), findings);
    }
}

/// TLSRoute has needed them since v1alpha3.
pub(super) fn needs_hostnames(spec: &RouteSpec, version: &str, findings: &mut Findings) {
    if spec.hostnames.is_empty() && version != "v1alpha2" {
        let message = format!(
            "missing: a TLSRoute of {version} needs the server names that it is for, such as \
             `hostnames: [db.example.com]`"
        );
        findings.error("spec.hostnames", message);
    }
}

fn duplicates_named(route: &Route, findings: &mut Findings) {
    // Rules without a name are distinct by their place.
    let name = |(index, rule): (usize, &RouteRule)| rule.name.clone().ok_or(index);
    duplicates(route.spec.rules.iter().enumerate().map(name), |first, index| {
        let message = format!("is the name of spec.rules[{first}] too: choose another one");
        findings.error(format!("spec.rules[{index}].name"), message);
    });
}

fn backend_ref(path: &str, backend: &BackendRef, findings: &mut Findings) {
    note(&format!("{path}.group"), names::group(&backend.group), findings);
    note(&format!("{path}.kind"), names::kind(&backend.kind), findings);
    note(&format!("{path}.name"), names::reference(&backend.name), findings);
    if let Some(namespace) = &backend.namespace {
        note(&format!("{path}.namespace"), names::label(namespace), findings);
    }
    match backend.port {
        Some(number) => port(&format!("{path}.port"), number, findings),
        None if backend.group.is_empty() && backend.kind == "Service" => {
            let message = format!(
                "missing: a Service needs the port, such as `port: 80` below `name: {}`",
                backend.name
            );
            findings.error(format!("{path}.port"), message);
        }
        None => {}
    }
    if backend.weight > MAX_WEIGHT {
        let message = format!("must be from 0 to {MAX_WEIGHT}, not {}", backend.weight);
        findings.error(format!("{path}.weight"), message);
    }
}

pub(super) fn parents(parents: &[ParentReference], findings: &mut Findings) {
    length("spec.parentRefs", parents.len(), 0, 32, findings);
    if parents.is_empty() {
        let message = "missing: the route attaches to nothing; name a Gateway, such as \
                       `parentRefs: [{name: web}]`";
        findings.warning("spec.parentRefs", message);
    }
    for (index, parent) in parents.iter().enumerate() {
        let path = format!("spec.parentRefs[{index}]");
        note(&format!("{path}.group"), names::group(&parent.group), findings);
        note(&format!("{path}.kind"), names::kind(&parent.kind), findings);
        note(&format!("{path}.name"), names::reference(&parent.name), findings);
        if let Some(namespace) = &parent.namespace {
            note(&format!("{path}.namespace"), names::label(namespace), findings);
        }
        if let Some(section) = &parent.section_name {
            note(&format!("{path}.sectionName"), names::subdomain(section), findings);
        }
        if let Some(number) = parent.port {
            port(&format!("{path}.port"), number, findings);
        }
    }
    distinct_parents(parents, findings);
}

/// Several references to one parent must all use the same fields to tell listeners apart, with
/// different values (CEL of `parentRefs`).
fn distinct_parents(parents: &[ParentReference], findings: &mut Findings) {
    let parent = |one: &ParentReference| {
        (one.group.clone(), one.kind.clone(), one.namespace.clone(), one.name.clone())
    };
    duplicates(parents.iter().map(parent), |first, index| {
        let (one, two) = (&parents[first], &parents[index]);
        let same_fields = one.section_name.is_some() == two.section_name.is_some()
            && one.port.is_some() == two.port.is_some();
        if !same_fields {
            let message = format!(
                "is the parent of spec.parentRefs[{first}] too: write `sectionName` (or `port`) in \
                 both, or keep one"
            );
            findings.error(format!("spec.parentRefs[{index}]"), message);
        }
    });
    duplicates(parents, |first, index| {
        let message = format!(
            "is the same as spec.parentRefs[{first}]: write a `sectionName` to name another \
             listener, or remove it"
        );
        findings.error(format!("spec.parentRefs[{index}]"), message);
    });
}

pub(super) fn grant(grant: &ReferenceGrant, findings: &mut Findings) {
    length("spec.from", grant.spec.from.len(), 1, 16, findings);
    for (index, from) in grant.spec.from.iter().enumerate() {
        let path = format!("spec.from[{index}]");
        note(&format!("{path}.group"), names::group(&from.group), findings);
        note(&format!("{path}.kind"), names::kind(&from.kind), findings);
        note(&format!("{path}.namespace"), names::label(&from.namespace), findings);
    }
    length("spec.to", grant.spec.to.len(), 1, 16, findings);
    for (index, to) in grant.spec.to.iter().enumerate() {
        let path = format!("spec.to[{index}]");
        note(&format!("{path}.group"), names::group(&to.group), findings);
        note(&format!("{path}.kind"), names::kind(&to.kind), findings);
        if let Some(name) = &to.name {
            note(&format!("{path}.name"), names::reference(name), findings);
        }
    }
}
