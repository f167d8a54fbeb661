//! GatewayClass and Gateway.

use std::net::IpAddr;

use super::metadata::{label, note};
use super::{duplicates, length, names, port, selector};
use crate::gateway::{
    AddressType, AllowedRoutes, Gateway, GatewayAddress, GatewayClass, Infrastructure, Listener,
    NamespacesFrom, TlsConfig, TlsMode,
};
use crate::manifest::problem::Findings;

pub(super) fn class(class: &GatewayClass, findings: &mut Findings) {
    let name = &class.spec.controller_name;
    let good = name.len() <= 253
        && name.split_once('/').is_some_and(|(domain, path)| {
            names::subdomain(domain).is_ok() && !path.is_empty() && path.bytes().all(is_path_byte)
        });
    if !good {
        let message =
            format!("{name:?} is not a domain and a path: ours is `{}`", crate::CONTROLLER_NAME);
        findings.error("spec.controllerName", message);
    }
    if class.spec.description.as_ref().is_some_and(|text| text.chars().count() > 64) {
        findings.error("spec.description", "is longer than 64 characters: shorten it");
    }
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte)
}

pub(super) fn gateway(gateway: &Gateway, findings: &mut Findings) {
    let spec = &gateway.spec;
    note("spec.gatewayClassName", names::reference(&spec.gateway_class_name), findings);
    length("spec.listeners", spec.listeners.len(), 1, 64, findings);
    for (index, one) in spec.listeners.iter().enumerate() {
        listener(&format!("spec.listeners[{index}]"), one, findings);
    }
    distinct_listeners(&spec.listeners, findings);
    addresses(&spec.addresses, findings);
    if let Some(infrastructure) = &spec.infrastructure {
        check_infrastructure(infrastructure, findings);
    }
}

fn distinct_listeners(listeners: &[Listener], findings: &mut Findings) {
    duplicates(listeners.iter().map(|one| &one.name), |first, index| {
        let message = format!(
            "{:?} is the name of spec.listeners[{first}] too: give each listener its own name",
            listeners[index].name
        );
        findings.error(format!("spec.listeners[{index}].name"), message);
    });
    let socket = |one: &Listener| (one.port, one.protocol.clone(), one.hostname.clone());
    duplicates(listeners.iter().map(socket), |first, index| {
        let Listener { port, protocol, .. } = &listeners[index];
        let message = format!(
            "spec.listeners[{first}] has port {port} and protocol {protocol} already: choose \
             another port{}",
            if takes_hostname(protocol) { " or hostname" } else { "" }
        );
        findings.error(format!("spec.listeners[{index}].port"), message);
    });
}

fn takes_hostname(protocol: &str) -> bool {
    !matches!(protocol, "TCP" | "UDP")
}

fn listener(path: &str, listener: &Listener, findings: &mut Findings) {
    note(&format!("{path}.name"), names::subdomain(&listener.name), findings);
    port(&format!("{path}.port"), listener.port, findings);
    protocol(path, &listener.protocol, findings);
    if let Some(hostname) = &listener.hostname {
        if !takes_hostname(&listener.protocol) && !hostname.is_empty() {
            let message = format!("{} has no hostnames: remove it", listener.protocol);
            findings.error(format!("{path}.hostname"), message);
        } else if !hostname.is_empty() {
            note(&format!("{path}.hostname"), names::hostname(hostname), findings);
        }
    }
    tls(path, &listener.protocol, listener.tls.as_ref(), findings);
    allowed_routes(&format!("{path}.allowedRoutes"), &listener.allowed_routes, findings);
}

fn protocol(path: &str, protocol: &str, findings: &mut Findings) {
    const KNOWN: [&str; 5] = ["TCP", "UDP", "TLS", "HTTP", "HTTPS"];
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let trimmed = |text: &str| !text.is_empty() && !text.starts_with('-') && !text.ends_with('-');
    let good = protocol.len() <= 255
        && match protocol.split_once('/') {
            Some((domain, name)) => {
                names::subdomain(domain).is_ok()
                    && !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
            }
            None => trimmed(protocol) && word(protocol),
        };
    let path = format!("{path}.protocol");
    if !good {
        let message = format!("{protocol:?} is not a protocol: write one of {}", KNOWN.join(", "));
        findings.error(path, message);
    } else if let Some(known) = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(protocol))
        && *known != protocol
    {
        findings.warning(path, format!("{protocol:?} is no protocol we know: write `{known}`"));
    }
}

fn tls(path: &str, protocol: &str, tls: Option<&TlsConfig>, findings: &mut Findings) {
    let path = format!("{path}.tls");
    let Some(tls) = tls else {
        if protocol == "TLS" {
            findings.error(
                path,
                "missing: a TLS listener needs it, such as `tls: {mode: Passthrough}`",
            );
        }
        return;
    };
    match (protocol, tls.mode) {
        ("HTTP" | "TCP" | "UDP", _) => {
            let message = format!(
                "{protocol} has no TLS: remove it, or write `protocol: {}`",
                if protocol == "HTTP" { "HTTPS" } else { "TLS" }
            );
            findings.error(path, message);
            return;
        }
        ("HTTPS", TlsMode::Passthrough) => {
            let message = "HTTPS ends TLS here: write `mode: Terminate`, or `protocol: TLS`";
            findings.error(format!("{path}.mode"), message);
        }
        _ => {}
    }
    let ends_here = tls.mode == TlsMode::Terminate;
    if ends_here && tls.certificate_refs.is_empty() && tls.options.is_empty() {
        let message = "is empty: `mode: Terminate` needs a certificate: name a Secret here, or \
                       write `mode: Passthrough`";
        findings.error(format!("{path}.certificateRefs"), message);
    }
    length(&format!("{path}.certificateRefs"), tls.certificate_refs.len(), 0, 64, findings);
    for (index, one) in tls.certificate_refs.iter().enumerate() {
        let path = format!("{path}.certificateRefs[{index}]");
        note(&format!("{path}.group"), names::group(&one.group), findings);
        note(&format!("{path}.kind"), names::kind(&one.kind), findings);
        note(&format!("{path}.name"), names::reference(&one.name), findings);
        if let Some(namespace) = &one.namespace {
            note(&format!("{path}.namespace"), names::label(namespace), findings);
        }
    }
    length(&format!("{path}.options"), tls.options.len(), 0, 16, findings);
}

fn allowed_routes(path: &str, allowed: &AllowedRoutes, findings: &mut Findings) {
    length(&format!("{path}.kinds"), allowed.kinds.len(), 0, 8, findings);
    for (index, one) in allowed.kinds.iter().enumerate() {
        note(&format!("{path}.kinds[{index}].group"), names::group(&one.group), findings);
        note(&format!("{path}.kinds[{index}].kind"), names::kind(&one.kind), findings);
    }
    let path = format!("{path}.namespaces");
    match (allowed.namespaces.from, &allowed.namespaces.selector) {
        (NamespacesFrom::Selector, None) => {
            let message = "missing: `from: Selector` needs the labels of the namespaces, such as \
                           `selector: {matchLabels: {team: web}}`";
            findings.error(format!("{path}.selector"), message);
        }
        (NamespacesFrom::None, _) => {
            let message = "None is no choice for routes: write All, Selector or Same, or remove \
                           the listener";
            findings.error(format!("{path}.from"), message);
        }
        (NamespacesFrom::All | NamespacesFrom::Same, Some(_)) => {
            let message = "has no effect: write `from: Selector` beside it, or remove it";
            findings.warning(format!("{path}.selector"), message);
        }
        _ => {}
    }
    if let Some(selector) = &allowed.namespaces.selector {
        selector::selector(&format!("{path}.selector"), selector, findings);
    }
}

fn addresses(addresses: &[GatewayAddress], findings: &mut Findings) {
    length("spec.addresses", addresses.len(), 0, 16, findings);
    for (index, address) in addresses.iter().enumerate() {
        let path = format!("spec.addresses[{index}].value");
        let Some(value) = address.value.as_deref().filter(|value| !value.is_empty()) else {
            continue;
        };
        match &address.kind {
            AddressType::IpAddress => {
                if value.parse::<IpAddr>().is_err() {
                    let message = format!(
                        "{value:?} is not an IP address: write one, such as `value: 192.0.2.10`, \
                         or leave `value` out to have one chosen"
                    );
                    findings.error(path, message);
                }
            }
            AddressType::Hostname => note(&path, names::hostname(value), findings),
            AddressType::Other(_) => {}
        }
    }
    let given = |address: &GatewayAddress, index: usize| {
        let value = address.value.clone().filter(|value| !value.is_empty());
        let kind: String = address.kind.clone().into();
        // Addresses to choose are never the same one. Different spellings of an address are.
        let value = value.map(|value| value.parse::<IpAddr>().map_or(value, |ip| ip.to_string()));
        (kind, value.ok_or(index))
    };
    let keys = addresses.iter().enumerate().map(|(index, address)| given(address, index));
    duplicates(keys, |first, index| {
        let message = format!("is the same as spec.addresses[{first}]: remove one of them");
        findings.error(format!("spec.addresses[{index}].value"), message);
    });
}

fn check_infrastructure(infrastructure: &Infrastructure, findings: &mut Findings) {
    let path = "spec.infrastructure";
    length(&format!("{path}.labels"), infrastructure.labels.len(), 0, 8, findings);
    for (key, value) in &infrastructure.labels {
        label(&format!("{path}.labels"), key, value, findings);
    }
    length(&format!("{path}.annotations"), infrastructure.annotations.len(), 0, 16, findings);
    for key in infrastructure.annotations.keys() {
        let path = format!("{path}.annotations.{}", key.escape_debug());
        note(&path, names::qualified(key), findings);
    }
}
