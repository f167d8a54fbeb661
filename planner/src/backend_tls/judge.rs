//! What a BackendTLSPolicy asks for, and whether that can be done.

use std::collections::BTreeSet;

use vipgate_api::gateway::{
    BackendTlsPolicySpec, BackendTlsValidation, LocalObjectReference, SubjectAltName,
    SubjectAltNameType,
};
use vipgate_api::k8s::ConfigMap;
use vipgate_api::{ObjectKey, Reason};

use crate::certificates::bundle;
use crate::plan::{BackendTls, SubjectName};
use crate::refusal::Refusal;
use crate::world::Shelf;

/// The set of well-known authorities that there is.
const SYSTEM: &str = "System";

/// What a policy comes to, whatever it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// How its backends are spoken to, or why they are not spoken to at all (Accepted=False).
    pub tls: Result<BackendTls, Refusal>,
    /// References that lead to nothing (ResolvedRefs=False).
    pub refusals: Vec<Refusal>,
    /// What of it is not heeded, and why; for people.
    pub remarks: Vec<String>,
    /// The ConfigMaps that it refers to.
    pub wanted: BTreeSet<ObjectKey>,
    /// Those of them that are of use.
    pub used: BTreeSet<ObjectKey>,
}

pub(super) fn judge(
    policy: &ObjectKey,
    spec: &BackendTlsPolicySpec,
    config_maps: &Shelf<ConfigMap>,
) -> Judgement {
    let validation = &spec.validation;
    let (mut roots, mut refusals) = (Vec::new(), Vec::new());
    let (mut wanted, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (index, reference) in validation.ca_certificate_refs.iter().enumerate() {
        let found = named(policy, reference).and_then(|key| {
            wanted.insert(key.clone());
            let found = bundle::find(&key, config_maps)
                .map_err(|why| Refusal::new(Reason::InvalidCACertificateRef, why))?;
            used.insert(key);
            Ok(found)
        });
        match found {
            Ok(found) => roots.extend(found),
            Err(refusal) => {
                let field = format!("spec.validation.caCertificateRefs[{index}]");
                let message = format!("{field}: {}", refusal.message);
                refusals.push(Refusal::new(refusal.reason, message));
            }
        }
    }
    roots.sort();
    roots.dedup();
    let tls = names(validation).map_err(|why| Refusal::new(Reason::Invalid, why));
    let tls = tls.and_then(|subject_names| {
        let roots = trusted(validation, roots, &refusals)?;
        let server_name = validation.hostname.to_ascii_lowercase();
        Ok(BackendTls { server_name, subject_names, roots, certificate: None })
    });
    let remarks = (spec.options.keys())
        .map(|option| format!("the option {option} is none that vipgate knows, and is not heeded"));
    Judgement { tls, refusals, remarks: remarks.collect(), wanted, used }
}

/// The authorities to trust: those that are named, or those of the host.
fn trusted(
    validation: &BackendTlsValidation,
    roots: Vec<Vec<u8>>,
    refusals: &[Refusal],
) -> Result<Option<Vec<Vec<u8>>>, Refusal> {
    let invalid = |message: String| Err(Refusal::new(Reason::Invalid, message));
    let well_known = validation.well_known_ca_certificates.as_deref();
    let well_known = well_known.filter(|name| !name.is_empty());
    match (validation.ca_certificate_refs.is_empty(), well_known) {
        (true, Some(SYSTEM)) => Ok(None),
        (true, Some(other)) => invalid(format!(
            "spec.validation.wellKnownCACertificates: {other:?} is no set of authorities that vipgate \
             knows: write {SYSTEM}, or caCertificateRefs"
        )),
        (true, None) => invalid(format!(
            "spec.validation names no authority: write caCertificateRefs, or \
             wellKnownCACertificates: {SYSTEM}"
        )),
        (false, Some(_)) => invalid(
            "spec.validation has both caCertificateRefs and wellKnownCACertificates: leave one out"
                .to_owned(),
        ),
        (false, None) if roots.is_empty() => {
            let why = refusals.first().map(|first| first.message.as_str()).unwrap_or_default();
            let message = format!(
                "there is no authority to know the backend by, so it is not spoken to: {why}"
            );
            Err(Refusal::new(Reason::NoValidCACertificate, message))
        }
        (false, None) => Ok(Some(roots)),
    }
}

/// The ConfigMap that a reference names: of the policy's own namespace.
fn named(policy: &ObjectKey, reference: &LocalObjectReference) -> Result<ObjectKey, Refusal> {
    let LocalObjectReference { group, kind, name } = reference;
    if !bundle::is_kind(group, kind) {
        let message = format!(
            "kind {kind} of group {group:?} holds no certificates of authorities: write a ConfigMap \
             of the core group, with {}",
            bundle::ENTRY
        );
        return Err(Refusal::new(Reason::InvalidKind, message));
    }
    Ok(ObjectKey::new(&policy.namespace, name))
}

/// The names of which a backend has to have one, beside what a CRD that is older than our checks lets pass.
fn names(validation: &BackendTlsValidation) -> Result<Vec<SubjectName>, String> {
    let hostname = validation.hostname.as_str();
    if !is_name(hostname) {
        return Err(format!(
            "spec.validation.hostname: {hostname:?} is no DNS name that a backend could be asked for: \
             write one such as db.example.com"
        ));
    }
    let subjects = validation.subject_alt_names.iter().enumerate();
    subjects
        .map(|(index, subject)| {
            let written = match subject.kind {
                SubjectAltNameType::Hostname => subject.hostname.as_deref(),
                SubjectAltNameType::Uri => subject.uri.as_deref(),
            };
            name(subject, written.unwrap_or_default())
                .map_err(|why| format!("spec.validation.subjectAltNames[{index}]: {why}"))
        })
        .collect()
}

fn name(subject: &SubjectAltName, written: &str) -> Result<SubjectName, String> {
    match subject.kind {
        SubjectAltNameType::Hostname if is_name(written.strip_prefix("*.").unwrap_or(written)) => {
            Ok(SubjectName::Hostname(written.to_ascii_lowercase()))
        }
        SubjectAltNameType::Hostname => {
            Err(format!("{written:?} is no DNS name: write one, such as db.example.com"))
        }
        SubjectAltNameType::Uri if written.contains(':') => {
            Ok(SubjectName::Uri(written.to_owned()))
        }
        SubjectAltNameType::Uri => Err(format!(
            "{written:?} is no URI: write one, such as spiffe://example.com/ns/db/sa/db"
        )),
    }
}

/// Whether something is a DNS name that TLS can ask for (no wildcard, no IP address).
fn is_name(name: &str) -> bool {
    let name = rustls_pki_types::DnsName::try_from(name);
    name.is_ok_and(|name| name.as_ref().parse::<std::net::IpAddr>().is_err())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(validation: Value) -> Judgement {
        let spec = json!({
            "targetRefs": [{"group": "", "kind": "Service", "name": "db"}],
            "validation": validation,
        });
        let spec = serde_json::from_value(spec).unwrap();
        judge(&ObjectKey::new("default", "db"), &spec, &Shelf::new())
    }

    fn refused(validation: Value) -> (Reason, String) {
        let refusal = judged(validation).tls.unwrap_err();
        (refusal.reason, refusal.message)
    }

    #[test]
    fn the_authorities_of_the_host_are_trusted_where_that_is_asked_for() {
        let tls = judged(json!({
            "hostname": "DB.example.com",
            "wellKnownCACertificates": "System",
            "subjectAltNames": [
                {"type": "Hostname", "hostname": "*.Example.com"},
                {"type": "URI", "uri": "spiffe://Example/db"},
            ],
        }))
        .tls
        .unwrap();
        assert_eq!((tls.server_name.as_str(), &tls.roots), ("db.example.com", &None));
        assert_eq!(
            tls.subject_names,
            [
                SubjectName::Hostname("*.example.com".to_owned()),
                SubjectName::Uri("spiffe://Example/db".to_owned()),
            ]
        );
    }

    /// Whatever cannot be meant is refused: nothing is left out of a check.
    #[test]
    fn what_a_crd_older_than_our_checks_lets_pass_is_refused() {
        let system = "System";
        for (validation, field) in [
            (json!({"hostname": "db"}), "names no authority"),
            (json!({"hostname": "db", "wellKnownCACertificates": ""}), "names no authority"),
            (json!({"hostname": "db", "wellKnownCACertificates": "Ours"}), "\"Ours\""),
            (json!({"hostname": "", "wellKnownCACertificates": system}), "hostname"),
            (json!({"hostname": "*.db", "wellKnownCACertificates": system}), "hostname"),
            (json!({"hostname": "10.0.0.1", "wellKnownCACertificates": system}), "hostname"),
            (
                json!({"hostname": "db", "wellKnownCACertificates": system, "subjectAltNames":
                    [{"type": "Hostname", "uri": "spiffe://a/b"}]}),
                "subjectAltNames[0]",
            ),
            (
                json!({"hostname": "db", "wellKnownCACertificates": system, "subjectAltNames":
                    [{"type": "URI", "uri": "db"}]}),
                "subjectAltNames[0]",
            ),
            (
                json!({"hostname": "db", "wellKnownCACertificates": system, "caCertificateRefs":
                    [{"group": "", "kind": "ConfigMap", "name": "ca"}]}),
                "both",
            ),
        ] {
            let (reason, message) = refused(validation.clone());
            assert_eq!(reason, Reason::Invalid, "{validation}");
            assert!(message.contains(field), "{message}");
        }
    }

    #[test]
    fn a_policy_that_knows_no_authority_speaks_to_nobody() {
        for (kind, reason) in
            [("ConfigMap", Reason::InvalidCACertificateRef), ("Secret", Reason::InvalidKind)]
        {
            let reference = json!([{"group": "", "kind": kind, "name": "ca"}]);
            let judged = judged(json!({"hostname": "db", "caCertificateRefs": reference}));
            assert_eq!(judged.tls.unwrap_err().reason, Reason::NoValidCACertificate);
            assert_eq!(judged.refusals[0].reason, reason);
            assert_eq!(judged.wanted.len(), usize::from(kind == "ConfigMap"));
            assert!(judged.used.is_empty());
        }
    }
}
