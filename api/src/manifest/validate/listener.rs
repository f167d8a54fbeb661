//! Listeners, which Gateways and ListenerSets have alike.

use super::gateway::{certificate_ref, frontend_validation};
use super::metadata::note;
use super::{duplicates, length, names, port, selector};
use crate::gateway::{AllowedRoutes, Listener, NamespacesFrom, TlsConfig, TlsMode};
use crate::manifest::problem::Findings;

/// `spec.listeners` of a Gateway or ListenerSet.
pub(super) fn listeners(listeners: &[Listener], findings: &mut Findings) {
    length("spec.listeners", listeners.len(), 1, 64, findings);
    for (index, one) in listeners.iter().enumerate() {
        listener(&format!("spec.listeners[{index}]"), one, findings);
    }
    distinct_listeners(listeners, findings);
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
        certificate_ref(&format!("{path}.certificateRefs[{index}]"), one, findings);
    }
    length(&format!("{path}.options"), tls.options.len(), 0, 16, findings);
    if let Some(validation) = &tls.frontend_validation {
        frontend_validation(&format!("{path}.frontendValidation"), validation, findings);
    }
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
