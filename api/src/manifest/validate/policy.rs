//! Policies: what they are attached to, and BackendTLSPolicy. Ours know by themselves what is wrong with
//! the rest of them.

use super::metadata::note;
use super::{bgp, duplicates, length, names};
use crate::gateway::{BackendTlsPolicy, PolicyTargetReference, SubjectAltNameType};
use crate::manifest::problem::Findings;
use crate::vipgate::Fault;

/// `spec.targetRefs` of a policy of the Gateway API.
fn targets(targets: &[PolicyTargetReference], findings: &mut Findings) {
    length("spec.targetRefs", targets.len(), 1, 16, findings);
    references(targets, findings);
    duplicates(targets, |first, index| {
        let message = format!("is the same as spec.targetRefs[{first}]: remove one of them");
        findings.error(format!("spec.targetRefs[{index}]"), message);
    });
}

fn references(targets: &[PolicyTargetReference], findings: &mut Findings) {
    for (index, target) in targets.iter().enumerate() {
        let path = format!("spec.targetRefs[{index}]");
        note(&format!("{path}.group"), names::group(&target.group), findings);
        note(&format!("{path}.kind"), names::kind(&target.kind), findings);
        note(&format!("{path}.name"), names::reference(&target.name), findings);
        if let Some(section) = &target.section_name {
            note(&format!("{path}.sectionName"), names::subdomain(section), findings);
        }
    }
}

/// The rules of the CRD (v1.6.1).
pub(super) fn backend_tls(policy: &BackendTlsPolicy, findings: &mut Findings) {
    let spec = &policy.spec;
    targets(&spec.target_refs, findings);
    let whole =
        |one: &PolicyTargetReference| (one.group.clone(), one.kind.clone(), one.name.clone());
    duplicates(spec.target_refs.iter().map(whole), |first, index| {
        let sections = [first, index].map(|one| spec.target_refs[one].section_name.is_some());
        if sections.contains(&false) && spec.target_refs[first] != spec.target_refs[index] {
            let message = format!(
                "is the object of spec.targetRefs[{first}] too: write `sectionName` in both, or keep one"
            );
            findings.error(format!("spec.targetRefs[{index}]"), message);
        }
    });
    length("spec.options", spec.options.len(), 0, 16, findings);
    let validation = &spec.validation;
    let refs = &validation.ca_certificate_refs;
    length("spec.validation.caCertificateRefs", refs.len(), 0, 8, findings);
    match (refs.is_empty(), &validation.well_known_ca_certificates) {
        (true, None) => findings.error(
            "spec.validation",
            "says nothing of whom to trust: write `caCertificateRefs`, or `wellKnownCACertificates: System`",
        ),
        (false, Some(_)) => findings.error(
            "spec.validation.wellKnownCACertificates",
            "stands beside `caCertificateRefs`: write one of them",
        ),
        _ => {}
    }
    for (index, reference) in refs.iter().enumerate() {
        let path = format!("spec.validation.caCertificateRefs[{index}]");
        note(&format!("{path}.group"), names::group(&reference.group), findings);
        note(&format!("{path}.kind"), names::kind(&reference.kind), findings);
        note(&format!("{path}.name"), names::reference(&reference.name), findings);
    }
    let hostname = &validation.hostname;
    let precise = match hostname.starts_with("*.") {
        true => {
            Err("must be one name, without `*`: it is what the backend is asked for".to_owned())
        }
        false => names::hostname(hostname),
    };
    note("spec.validation.hostname", precise, findings);
    subject_names(policy, findings);
}

fn subject_names(policy: &BackendTlsPolicy, findings: &mut Findings) {
    let subjects = &policy.spec.validation.subject_alt_names;
    length("spec.validation.subjectAltNames", subjects.len(), 0, 5, findings);
    for (index, subject) in subjects.iter().enumerate() {
        let path = format!("spec.validation.subjectAltNames[{index}]");
        let (wanted, written, other, extra) = match subject.kind {
            SubjectAltNameType::Hostname => ("hostname", &subject.hostname, "uri", &subject.uri),
            SubjectAltNameType::Uri => ("uri", &subject.uri, "hostname", &subject.hostname),
        };
        if written.as_deref().is_none_or(str::is_empty) {
            findings.error(
                format!("{path}.{wanted}"),
                format!("missing: the type asks for `{wanted}`"),
            );
        }
        if extra.as_deref().is_some_and(|text| !text.is_empty()) {
            findings.error(
                format!("{path}.{other}"),
                format!("the type asks for `{wanted}` alone: remove it"),
            );
        }
        if let Some(hostname) = &subject.hostname {
            note(&format!("{path}.hostname"), names::hostname(hostname), findings);
        }
        let is_uri = |uri: &str| {
            uri.len() <= 253
                && uri.split_once("://").is_some_and(|(scheme, rest)| {
                    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                        && !rest.is_empty()
                })
        };
        if subject.uri.as_deref().is_some_and(|uri| !is_uri(uri)) {
            let message =
                "must be a URI with scheme and authority, such as spiffe://example.com/ns/db";
            findings.error(format!("{path}.uri"), message);
        }
    }
}

/// Our own: the form of names, and what their specs know.
pub(super) fn ours(targets: &[PolicyTargetReference], faults: Vec<Fault>, findings: &mut Findings) {
    references(targets, findings);
    bgp::note(faults, findings);
}
