//! IPAddressPool, L2Advertisement and Backend.

use std::net::IpAddr;

use ipnet::IpNet;

use super::metadata::note;
use super::selector::{selector, selectors};
use super::{duplicates, length, names, port};
use crate::crd::rules::MOST_RANGES;
use crate::manifest::problem::Findings;
use crate::vipgate::{
    AddressRange, Backend, BackendEndpoint, IpAddressPool, L2Advertisement, is_interface_name,
};

pub(super) fn pool(pool: &IpAddressPool, findings: &mut Findings) {
    let spec = &pool.spec;
    length("spec.addresses", spec.addresses.len(), 1, MOST_RANGES, findings);
    length("spec.exclusions", spec.exclusions.len(), 0, MOST_RANGES, findings);
    let offered = ranges("spec.addresses", &spec.addresses, findings);
    for (index, range) in &offered {
        if let Some(why) = unusable(range) {
            findings.error(format!("spec.addresses[{index}]"), why);
        }
    }
    for (index, excluded) in ranges("spec.exclusions", &spec.exclusions, findings) {
        let touches = offered.iter().any(|(_, range)| overlap(range, &excluded));
        if !touches && !offered.is_empty() {
            let message = format!("{excluded} excludes nothing: no entry of `addresses` has it");
            findings.warning(format!("spec.exclusions[{index}]"), message);
        }
    }
    let Some(allocation) = &spec.service_allocation else { return };
    let path = "spec.serviceAllocation";
    for (index, namespace) in allocation.namespaces.iter().enumerate() {
        note(&format!("{path}.namespaces[{index}]"), names::label(namespace), findings);
    }
    selectors(&format!("{path}.namespaceSelectors"), &allocation.namespace_selectors, findings);
    selectors(&format!("{path}.serviceSelectors"), &allocation.service_selectors, findings);
    selectors(&format!("{path}.gatewaySelectors"), &allocation.gateway_selectors, findings);
}

fn ranges(path: &str, texts: &[String], findings: &mut Findings) -> Vec<(usize, AddressRange)> {
    let mut ranges = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match text.parse::<AddressRange>() {
            Ok(range) => {
                if let Ok(net) = text.trim().parse::<IpNet>()
                    && net.addr() != net.network()
                {
                    let message = format!("{net} means all of {}: write that", net.trunc());
                    findings.warning(path, message);
                }
                ranges.push((index, range));
            }
            Err(error) => findings.error(path, error.to_string()),
        }
    }
    ranges
}

fn overlap(one: &AddressRange, two: &AddressRange) -> bool {
    one.contains(two.first) || two.contains(one.first)
}

/// Why a host cannot have an address of the range.
fn unusable(range: &AddressRange) -> Option<String> {
    const NEVER: [(&str, &str); 4] = [
        ("0.0.0.0/8", "addresses that mean \"this network\""),
        ("224.0.0.0/3", "multicast or reserved addresses"),
        ("::/128", "the unspecified address"),
        ("ff00::/8", "multicast addresses"),
    ];
    NEVER.into_iter().find_map(|(never, what)| {
        let never: AddressRange = never.parse().expect("the table holds valid networks");
        overlap(range, &never).then(|| format!("{range} has {what} ({never}): leave them out"))
    })
}

pub(super) fn l2_advertisement(advertisement: &L2Advertisement, findings: &mut Findings) {
    let spec = &advertisement.spec;
    for (index, name) in spec.ip_address_pools.iter().enumerate() {
        note(&format!("spec.ipAddressPools[{index}]"), names::subdomain(name), findings);
    }
    selectors("spec.ipAddressPoolSelectors", &spec.ip_address_pool_selectors, findings);
    selectors("spec.nodeSelectors", &spec.node_selectors, findings);
    for (index, name) in spec.interfaces.iter().enumerate() {
        if !is_interface_name(name) {
            let message = format!("{name:?} is not the name of an interface: see `ip link`");
            findings.error(format!("spec.interfaces[{index}]"), message);
        }
    }
    selectors("spec.serviceSelectors", &spec.service_selectors, findings);
    for (index, preferred) in spec.preferred_node_selectors.iter().enumerate() {
        let path = format!("spec.preferredNodeSelectors[{index}]");
        if !(1..=100).contains(&preferred.weight) {
            let message =
                format!("{} is no weight: write a number from 1 to 100", preferred.weight);
            findings.error(format!("{path}.weight"), message);
        }
        selector(&format!("{path}.preference"), &preferred.preference, findings);
    }
    if spec.preempt == Some(true) && spec.preferred_node_selectors.is_empty() {
        let message = "has no effect without `preferredNodeSelectors`: no node is preferred";
        findings.warning("spec.preempt".to_owned(), message.to_owned());
    }
}

pub(super) fn backend(backend: &Backend, findings: &mut Findings) {
    let endpoints = &backend.spec.endpoints;
    length("spec.endpoints", endpoints.len(), 1, 100, findings);
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{index}]");
        port(&format!("{path}.port"), endpoint.port, findings);
        match (&endpoint.address, &endpoint.hostname) {
            (Some(address), None) => {
                note(&format!("{path}.address"), host_address(address), findings);
            }
            (None, Some(name)) => {
                note(&format!("{path}.hostname"), hostname(name), findings);
            }
            (Some(_), Some(_)) => {
                let message = "has an `address` and a `hostname`: write one of the two".to_owned();
                findings.error(path, message);
            }
            (None, None) => {
                let message = "has no address: write an `address` or a `hostname`".to_owned();
                findings.error(path, message);
            }
        }
    }
    let key = |one: &BackendEndpoint| (one.address.clone(), one.hostname.clone(), one.port);
    duplicates(endpoints.iter().map(key), |first, index| {
        let message = format!("is the same as spec.endpoints[{first}]: remove one of them");
        let of = endpoints.get(index).is_some_and(|one| one.address.is_none());
        let field = if of { "hostname" } else { "address" };
        findings.error(format!("spec.endpoints[{index}].{field}"), message);
    });
}

fn host_address(text: &str) -> Result<(), String> {
    match text.parse::<IpAddr>() {
        Err(_) => Err(not_an_address(text)),
        Ok(address) if address.is_unspecified() || address.is_multicast() => {
            Err(format!("{address} is no address of a host"))
        }
        Ok(_) => Ok(()),
    }
}

fn hostname(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("{text} is an address: write `address: {text}`"));
    }
    if let Some((name, port)) = text.split_once(':')
        && port.parse::<u16>().is_ok()
    {
        return Err(format!(
            "{text:?} has a port in it: write `hostname: {name}` and `port: {port}`"
        ));
    }
    names::dns(text)
}

fn not_an_address(text: &str) -> String {
    // `10.0.0.1:3306` and `[2001:db8::1]:3306`: the port belongs into its own field.
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        let (ip, port) = (socket.ip(), socket.port());
        return format!("{text:?} has a port in it: write `address: {ip}` and `port: {port}`");
    }
    if names::dns(text).is_ok() {
        return format!("{text:?} is not an IP address but a name: write `hostname: {text}`");
    }
    format!(
        "{text:?} is not an IP address: write one, such as 192.0.2.10, or a DNS name as `hostname`"
    )
}
