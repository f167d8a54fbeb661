//! Service and EndpointSlice.

use std::net::IpAddr;

use super::metadata::note;
use super::{duplicates, length, names, port};
use crate::k8s::{Endpoint, EndpointSlice, IntOrString, SERVICE_NAME_LABEL, Service, ServicePort};
use crate::manifest::Mode;
use crate::manifest::problem::Findings;

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const SERVICE_TYPES: [&str; 4] = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];

pub(super) fn service(service: &Service, mode: Mode, findings: &mut Findings) {
    let Some(spec) = &service.spec else { return };
    let kind = spec.type_.as_deref().unwrap_or_default();
    note("spec.type", names::one_of(kind, &SERVICE_TYPES), findings);
    if kind == "LoadBalancer" && mode == Mode::Standalone {
        let message = "LoadBalancer is not served without a cluster (nothing forwards for a \
                       Service here): use a Gateway with a TCPRoute to this Service";
        findings.warning("spec.type", message);
    }
    let ports: &[ServicePort] = spec.ports.as_deref().unwrap_or_default();
    let headless = spec.cluster_ip.as_deref() == Some("None");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        findings.error("spec.ports", "is empty: write at least one port");
    }
    for (index, one) in ports.iter().enumerate() {
        service_port(&format!("spec.ports[{index}]"), one, ports.len(), findings);
    }
    duplicates(ports.iter().map(|one| (one.port, &one.protocol)), |first, index| {
        let message = format!("spec.ports[{first}] has this port and protocol already: remove one");
        findings.error(format!("spec.ports[{index}].port"), message);
    });
    distinct_names(ports.iter().map(|one| one.name.as_deref()), "spec.ports", findings);
}

fn service_port(path: &str, one: &ServicePort, among: usize, findings: &mut Findings) {
    port(&format!("{path}.port"), one.port, findings);
    protocol(path, one.protocol.as_deref(), findings);
    match one.name.as_deref().unwrap_or_default() {
        "" if among > 1 => {
            let message = "missing: with several ports each needs a name, such as `name: mysql`";
            findings.error(format!("{path}.name"), message);
        }
        "" => {}
        name => note(&format!("{path}.name"), names::label(name), findings),
    }
    let target = format!("{path}.targetPort");
    match &one.target_port {
        Some(IntOrString::Int(number)) => port(&target, *number, findings),
        Some(IntOrString::String(name)) => match name.parse::<u16>() {
            Ok(number) => {
                let message = format!("a name made of digits: write `targetPort: {number}`");
                findings.error(target, message);
            }
            Err(_) => note(&target, names::service_name(name), findings),
        },
        None => {}
    }
}

fn protocol(path: &str, protocol: Option<&str>, findings: &mut Findings) {
    let known = names::one_of(protocol.unwrap_or("TCP"), &PROTOCOLS);
    note(&format!("{path}.protocol"), known, findings);
}

fn distinct_names<'a>(
    names: impl Iterator<Item = Option<&'a str>>,
    path: &str,
    findings: &mut Findings,
) {
    // A missing name is reported on its own, and equal to nothing.
    let keys =
        names.enumerate().map(|(index, name)| name.filter(|name| !name.is_empty()).ok_or(index));
    duplicates(keys, |first, index| {
        let message = format!("is the name of {path}[{first}] too: choose another one");
        findings.error(format!("{path}[{index}].name"), message);
    });
}

pub(super) fn endpoint_slice(slice: &EndpointSlice, findings: &mut Findings) {
    let ipv4 = match slice.address_type.as_str() {
        "IPv4" => true,
        "IPv6" => false,
        "" => return findings.error("addressType", "missing: write `addressType: IPv4` or IPv6"),
        "FQDN" => {
            let message =
                "FQDN is not served: write the addresses with `addressType: IPv4` or IPv6";
            return findings.error("addressType", message);
        }
        other => {
            return findings.error("addressType", format!("must be IPv4 or IPv6, not {other:?}"));
        }
    };
    length("endpoints", slice.endpoints.len(), 0, 1000, findings);
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        endpoint_addresses(index, endpoint, ipv4, findings);
    }
    let ports = slice.ports.as_deref().unwrap_or_default();
    length("ports", ports.len(), 0, 100, findings);
    for (index, one) in ports.iter().enumerate() {
        let path = format!("ports[{index}]");
        one.port.iter().for_each(|number| port(&format!("{path}.port"), *number, findings));
        protocol(&path, one.protocol.as_deref(), findings);
        if let Some(name) = one.name.as_deref().filter(|name| !name.is_empty()) {
            note(&format!("{path}.name"), names::label(name), findings);
        }
    }
    // Here an empty name is a name like any other.
    duplicates(ports.iter().map(|one| &one.name), |first, index| {
        let message = format!("is the name of ports[{first}] too: each port needs its own name");
        findings.error(format!("ports[{index}].name"), message);
    });
    let labels = slice.metadata.labels.as_ref();
    if !labels.is_some_and(|labels| labels.contains_key(SERVICE_NAME_LABEL)) {
        let message = format!(
            "`{SERVICE_NAME_LABEL}` is missing, so the slice belongs to no Service: add it with the \
             Service's name"
        );
        findings.warning("metadata.labels", message);
    }
}

fn endpoint_addresses(index: usize, endpoint: &Endpoint, ipv4: bool, findings: &mut Findings) {
    let path = format!("endpoints[{index}].addresses");
    length(&path, endpoint.addresses.len(), 1, 100, findings);
    for (at, text) in endpoint.addresses.iter().enumerate() {
        let path = format!("{path}[{at}]");
        match text.parse::<IpAddr>() {
            Err(_) => findings.error(path, format!("{text:?} is not an IP address")),
            Ok(address) if address.is_ipv4() != ipv4 => {
                let (is, says) = if ipv4 { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
                let message = format!(
                    "{address} is {is}, but `addressType` says {says}: put it into a slice of its own"
                );
                findings.error(path, message);
            }
            Ok(address) if address.is_unspecified() || address.is_multicast() => {
                findings.error(path, format!("{address} is no address of a host"));
            }
            Ok(_) => {}
        }
    }
}
