//! GatewayClass, Gateway and ListenerSet.

use std::net::IpAddr;

use super::metadata::{label, note};
use super::{duplicates, length, listener, names, port, selector};
use crate::GATEWAY_GROUP;
use crate::gateway::{
    AddressType, AllowedListeners, CertificateRef, ClientTls, FrontendTls, FrontendValidation,
    Gateway, GatewayAddress, GatewayClass, GatewayTls, Infrastructure, ListenerSet, NamespacesFrom,
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
    listener::listeners(&spec.listeners, findings);
    addresses(&spec.addresses, findings);
    if let Some(infrastructure) = &spec.infrastructure {
        check_infrastructure(infrastructure, findings);
    }
    if let Some(allowed) = &spec.allowed_listeners {
        allowed_listeners(allowed, findings);
    }
    if let Some(tls) = &spec.tls {
        client_tls(tls, findings);
    }
}

pub(super) fn listener_set(set: &ListenerSet, findings: &mut Findings) {
    let parent = &set.spec.parent_ref;
    note("spec.parentRef.group", names::group(&parent.group), findings);
    note("spec.parentRef.kind", names::kind(&parent.kind), findings);
    note("spec.parentRef.name", names::reference(&parent.name), findings);
    if let Some(namespace) = &parent.namespace {
        note("spec.parentRef.namespace", names::label(namespace), findings);
    }
    if (parent.group.as_str(), parent.kind.as_str()) != (GATEWAY_GROUP, "Gateway") {
        let message = format!(
            "has no effect with kind {}: a ListenerSet adds to a Gateway: leave out `group` and `kind`",
            parent.kind
        );
        findings.warning("spec.parentRef", message);
    }
    listener::listeners(&set.spec.listeners, findings);
}

fn allowed_listeners(allowed: &AllowedListeners, findings: &mut Findings) {
    let path = "spec.allowedListeners.namespaces";
    match (allowed.namespaces.from, &allowed.namespaces.selector) {
        (NamespacesFrom::Selector, None) => {
            let message = "missing: `from: Selector` needs the labels of the namespaces, such as \
                           `selector: {matchLabels: {team: web}}`";
            findings.error(format!("{path}.selector"), message);
        }
        (NamespacesFrom::Selector, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            let message = "has no effect: write `from: Selector` beside it, or remove it";
            findings.warning(format!("{path}.selector"), message);
        }
    }
    if let Some(selector) = &allowed.namespaces.selector {
        selector::selector(&format!("{path}.selector"), selector, findings);
    }
}

fn client_tls(tls: &GatewayTls, findings: &mut Findings) {
    let backend = tls.backend.as_ref();
    if let Some(reference) = backend.and_then(|tls| tls.client_certificate_ref.as_ref()) {
        certificate_ref("spec.tls.backend.clientCertificateRef", reference, findings);
    }
    let Some(FrontendTls { default, per_port }) = &tls.frontend else { return };
    validation("spec.tls.frontend.default", default, findings);
    let path = "spec.tls.frontend.perPort";
    length(path, per_port.len(), 0, 64, findings);
    for (index, one) in per_port.iter().enumerate() {
        port(&format!("{path}[{index}].port"), one.port, findings);
        validation(&format!("{path}[{index}].tls"), &one.tls, findings);
    }
    duplicates(per_port.iter().map(|one| one.port), |first, index| {
        let message = format!("is the port of {path}[{first}] too: keep one of them");
        findings.error(format!("{path}[{index}].port"), message);
    });
}

fn validation(path: &str, tls: &ClientTls, findings: &mut Findings) {
    if let Some(validation) = &tls.validation {
        frontend_validation(&format!("{path}.validation"), validation, findings);
    }
}

/// How certificates of clients are checked.
pub(super) fn frontend_validation(
    path: &str,
    validation: &FrontendValidation,
    findings: &mut Findings,
) {
    let path = format!("{path}.caCertificateRefs");
    let references = &validation.ca_certificate_refs;
    length(&path, references.len(), 1, 16, findings);
    for (index, one) in references.iter().enumerate() {
        let path = format!("{path}[{index}]");
        note(&format!("{path}.group"), names::group(&one.group), findings);
        note(&format!("{path}.kind"), names::kind(&one.kind), findings);
        note(&format!("{path}.name"), names::reference(&one.name), findings);
        if let Some(namespace) = &one.namespace {
            note(&format!("{path}.namespace"), names::label(namespace), findings);
        }
    }
}

/// A reference to a Secret (`SecretObjectReference`).
pub(super) fn certificate_ref(path: &str, one: &CertificateRef, findings: &mut Findings) {
    note(&format!("{path}.group"), names::group(&one.group), findings);
    note(&format!("{path}.kind"), names::kind(&one.kind), findings);
    note(&format!("{path}.name"), names::reference(&one.name), findings);
    if let Some(namespace) = &one.namespace {
        note(&format!("{path}.namespace"), names::label(namespace), findings);
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
