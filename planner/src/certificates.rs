//! Certificates of listeners: which Secrets they refer to, whether they may, and whether what is in
//! them is a certificate with its key.
//!
//! What always holds: of a Secret in another namespace nothing is read, and nothing shows, unless a
//! ReferenceGrant there allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use vipgate_api::gateway::{CertificateRef, ReferenceGrant, TlsMode};
use vipgate_api::k8s::Secret;
use vipgate_api::{GATEWAY_GROUP, Kind, ObjectKey, ObjectRef, Reason};

use crate::admission::Admission;
use crate::plan::Certificate;
use crate::refusal::Refusal;
use crate::world::Shelf;

/// What came out: by Gateway, one entry for each of its listeners.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificates(pub BTreeMap<ObjectKey, Vec<Resolved>>);

/// The certificates of one listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Those that can be used, in the order of the references.
    pub usable: Vec<Arc<Certificate>>,
    /// Those that cannot (ResolvedRefs=False).
    pub refusals: Vec<Refusal>,
}

impl Certificates {
    /// The Secrets in use.
    pub fn secrets(&self) -> BTreeSet<ObjectKey> {
        let all = self.0.values().flatten().flat_map(|resolved| &resolved.usable);
        all.map(|certificate| certificate.secret.clone()).collect()
    }
}

/// Resolves the references of every listener that ends TLS. `in_cluster` says that only Secrets of type
/// `kubernetes.io/tls` are known; a manifest's may be of any.
pub fn resolve(
    admission: &Admission,
    secrets: &Shelf<Secret>,
    grants: &Shelf<ReferenceGrant>,
    in_cluster: bool,
) -> Certificates {
    let mut certificates = Certificates::default();
    for (key, gateway) in &admission.gateways {
        let of_each = gateway.listeners.iter().map(|listener| {
            let owner = match &listener.set {
                Some(set) => ObjectRef { kind: Kind::ListenerSet, key: set.clone() },
                None => ObjectRef { kind: Kind::Gateway, key: key.clone() },
            };
            let mut resolved = Resolved::default();
            if listener.tls != Some(TlsMode::Terminate) {
                return resolved;
            }
            for (index, reference) in listener.certificate_refs.iter().enumerate() {
                match one(&owner, reference, secrets, grants, in_cluster) {
                    Ok(certificate) => resolved.usable.push(Arc::new(certificate)),
                    Err(refusal) => {
                        let message = format!("tls.certificateRefs[{index}]: {}", refusal.message);
                        resolved.refusals.push(Refusal::new(refusal.reason, message));
                    }
                }
            }
            if listener.certificate_refs.is_empty() {
                let message =
                    "tls.certificateRefs is empty: name a Secret of type kubernetes.io/tls";
                resolved.refusals.push(Refusal::new(Reason::InvalidCertificateRef, message));
            }
            resolved
        });
        certificates.0.insert(key.clone(), of_each.collect());
    }
    certificates
}

fn one(
    owner: &ObjectRef,
    reference: &CertificateRef,
    secrets: &Shelf<Secret>,
    grants: &Shelf<ReferenceGrant>,
    in_cluster: bool,
) -> Result<Certificate, Refusal> {
    let invalid = |message: String| Refusal::new(Reason::InvalidCertificateRef, message);
    if !reference.group.is_empty() || reference.kind != "Secret" {
        return Err(invalid(format!(
            "kind {} of group {:?} is no certificate: write a Secret of the core group",
            reference.kind, reference.group
        )));
    }
    let namespace = reference.namespace.as_ref().unwrap_or(&owner.key.namespace);
    let key = ObjectKey::new(namespace, &reference.name);
    if *namespace != owner.key.namespace && !granted(owner, &key, grants) {
        let message = format!(
            "Secret {key} is in another namespace and no ReferenceGrant there allows it: create one in \
             namespace {namespace} with from: group {GATEWAY_GROUP}, kind {}, namespace {} and to: \
             group \"\", kind Secret",
            owner.kind, owner.key.namespace
        );
        return Err(Refusal::new(Reason::RefNotPermitted, message));
    }
    let Some(stored) = secrets.get(&key) else {
        let message = match in_cluster {
            true => format!(
                "there is no Secret {key} of type kubernetes.io/tls: check name and namespace; one of \
                 another type is not read (a type cannot be changed: make it anew with `kubectl create \
                 secret tls`)"
            ),
            false => format!("Secret {key} does not exist: check name and namespace"),
        };
        return Err(invalid(message));
    };
    read(&key, &stored.object).map_err(|why| invalid(format!("Secret {key}: {why}")))
}

fn granted(owner: &ObjectRef, secret: &ObjectKey, grants: &Shelf<ReferenceGrant>) -> bool {
    let here = grants.iter().filter(|(key, _)| key.namespace == secret.namespace);
    here.map(|(_, stored)| &stored.object.spec).any(|grant| {
        let from = grant.from.iter().any(|from| {
            from.group == GATEWAY_GROUP
                && from.kind == owner.kind.name()
                && from.namespace == owner.key.namespace
        });
        let to = grant.to.iter().any(|to| {
            to.group.is_empty()
                && to.kind == "Secret"
                && to.name.as_ref().is_none_or(|name| *name == secret.name)
        });
        from && to
    })
}

/// Reads a Secret of type `kubernetes.io/tls`; what is wrong with it if it is none.
fn read(key: &ObjectKey, secret: &Secret) -> Result<Certificate, String> {
    let data = |field: &str| {
        let found = secret.data.as_ref().and_then(|data| data.get(field));
        found
            .map(|bytes| bytes.0.as_slice())
            .ok_or_else(|| format!("data has no {field}: make it with `kubectl create secret tls`"))
    };
    let (pem, key_pem) = (data("tls.crt")?, data("tls.key")?);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("tls.crt is not PEM ({error}): put the certificate there"))?;
    let Some(own) = chain.first() else {
        return Err("tls.crt holds no certificate: put the server's own first".to_owned());
    };
    let private = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|error| format!("tls.key is no private key in PEM ({error})"))?;
    let names = names(own)?;
    let der = private.secret_der().to_vec();
    // Checks that the key can be used, and that it belongs to the certificate.
    CertifiedKey::from_der(chain.clone(), private, &aws_lc_rs::default_provider())
        .map_err(|error| format!("certificate and key cannot be used together: {error}"))?;
    Ok(Certificate {
        secret: key.clone(),
        names,
        chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
        key: der,
    })
}

/// DNS names that a certificate is for.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|error| format!("tls.crt holds no usable certificate ({error})"))?;
    Ok(parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
}
