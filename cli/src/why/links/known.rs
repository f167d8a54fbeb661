//! Whether there is what was asked about; if not, what is said of what there is.

use std::net::IpAddr;

use anyhow::{Result, bail};
use vipgate_api::{Kind, ObjectRef};

use super::gateway;
use crate::why::facts::{Facts, Place};

/// How many names are listed to somebody who wrote a wrong one.
const NAMES: usize = 10;

/// What is said of an address that is no VIP.
pub(super) fn not_a_vip(vip: IpAddr, known: &[String]) -> String {
    match known {
        [] => format!("{vip} is no VIP: there is none at all"),
        [.., _] if known.len() <= NAMES => {
            format!("{vip} is no VIP; these are: {}", known.join(", "))
        }
        _ => format!("{vip} is no VIP; there are {} others", known.len()),
    }
}

/// Whether an object asks for this address.
pub(super) fn asks_for(facts: &Facts, object: &ObjectRef, address: IpAddr) -> bool {
    let Some(thing) = facts.things.get(object) else { return false };
    let is = |text: Option<&str>| text.and_then(|text| text.parse().ok()) == Some(address);
    match object.kind {
        Kind::Gateway => {
            let asked = thing["spec"]["addresses"].as_array().into_iter().flatten();
            asked.into_iter().any(|one| is(one["value"].as_str()))
        }
        Kind::Service => is(thing["spec"]["loadBalancerIP"].as_str()),
        _ => false,
    }
}

/// The ports of a Gateway or Service; `None` when they are not known.
pub(super) fn ports(facts: &Facts, object: &ObjectRef) -> Option<Vec<u16>> {
    let number = |port: &serde_json::Value| u16::try_from(port["port"].as_u64()?).ok();
    let of = |thing: &serde_json::Value, field: &str| -> Vec<u16> {
        thing["spec"][field].as_array().into_iter().flatten().filter_map(number).collect()
    };
    let thing = facts.things.get(object)?;
    if object.kind == Kind::Service {
        return Some(of(thing, "ports"));
    }
    let sets = gateway::sets_of(facts, object);
    let of_sets = sets.filter_map(|set| facts.things.get(set)).flat_map(|set| of(set, "listeners"));
    Some(of(thing, "listeners").into_iter().chain(of_sets).collect())
}

/// Whether there is such a port, if one is meant; if not, which there are.
pub(super) fn port(facts: &Facts, wanted: Option<(ObjectRef, u16)>) -> Result<()> {
    let Some((object, port)) = wanted else { return Ok(()) };
    match ports(facts, &object) {
        Some(all) if !all.contains(&port) => {
            bail!("{object} has no port {port}{}", other_ports(facts, &all))
        }
        _ => Ok(()),
    }
}

/// Which ports there are, for one who asked for another; that of a ListenerSet may not have been seen.
pub(super) fn other_ports(facts: &Facts, ports: &[u16]) -> String {
    let unlisted = facts.unlisted(&[Kind::Gateway, Kind::ListenerSet]);
    let unseen = unlisted.map(|why| format!(" that is known: {why}")).unwrap_or_default();
    format!("{unseen}; it has {}", listed(ports))
}

/// In order, each once.
fn listed(ports: &[u16]) -> String {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
}

/// Whether there is such an object; if not, which there are.
pub(super) fn object(facts: &Facts, object: &ObjectRef) -> Result<()> {
    if facts.things.contains_key(object) || facts.told(object).next().is_some() {
        return Ok(());
    }
    match facts.place {
        Place::Speaker => bail!(
            "a speaker knows no {}s: ask the cluster with --kubeconfig FILE, or ask for a VIP",
            object.kind
        ),
        // Whatever their names are.
        Place::Host if object.kind == Kind::Service => return Ok(()),
        Place::Host | Place::Cluster { .. } => {}
    }
    if let Some(why) = facts.unlisted(&[object.kind]) {
        bail!("whether {object} exists is not known: {why}");
    }
    let of_kind: Vec<String> =
        facts.of_kind(object.kind).map(|(one, _)| one.key.to_string()).collect();
    let named = object.key.to_string();
    let elsewhere = of_kind.iter().find(|key| key.ends_with(&format!("/{}", object.key.name)));
    let candidates: Vec<&str> = of_kind.iter().map(String::as_str).collect();
    let near = elsewhere.map(String::as_str).or_else(|| near(&named, &candidates));
    let known = match (near, &of_kind[..]) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, []) => format!("there is no {} at all", object.kind),
        (None, some) if some.len() <= NAMES => format!("there are: {}", some.join(", ")),
        (None, many) => format!("there are {} others", many.len()),
    };
    bail!("{object} does not exist; {known}")
}

/// The name that was probably meant: at most a third of its letters away.
fn near<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let all = candidates.iter().map(|one| (strsim::osa_distance(name, one), *one));
    let near = all.filter(|(distance, one)| distance * 3 <= one.chars().count());
    near.min_by_key(|(distance, _)| *distance).map(|(_, one)| one)
}
