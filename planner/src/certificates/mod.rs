//! Certificates: those that listeners show, those that their clients have to go back to, and the one
//! that a Gateway shows to backends: which objects they refer to, whether they may, and whether there is
//! in them what there has to be.
//!
//! What always holds: of an object in another namespace nothing is read, and nothing shows, unless a
//! ReferenceGrant there allows it. A listener that asks for certificates of clients is never served
//! without asking ([`Clients`]).

pub(crate) mod bundle;
mod clients;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use vipgate_api::gateway::{CertificateRef, ReferenceGrant, TlsMode};
use vipgate_api::k8s::{ConfigMap, Secret};
use vipgate_api::{GATEWAY_GROUP, Kind, ObjectKey, ObjectRef, Reason};

pub use self::clients::Clients;
use crate::admission::{Admission, AdmittedGateway, AdmittedListener};
use crate::plan::Certificate;
use crate::refusal::Refusal;
use crate::world::Shelf;

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificates {
    /// By Gateway, one entry for each of its listeners.
    pub listeners: BTreeMap<ObjectKey, Vec<Resolved>>,
    /// By Gateway, what it shows to backends that ask for a certificate, or why it shows none although
    /// it is to (ResolvedRefs=False).
    pub shown: BTreeMap<ObjectKey, Result<Arc<Certificate>, Refusal>>,
}

/// The certificates of one listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// Those that can be used, in the order of the references.
    pub usable: Vec<Arc<Certificate>>,
    /// References that lead to nothing usable (ResolvedRefs=False), those of [`Self::clients`] included.
    pub refusals: Vec<Refusal>,
    /// What is asked of its clients, if anything.
    pub clients: Option<Clients>,
}

impl Resolved {
    /// Why nobody is let in, if clients are to be checked and cannot be (Accepted=False).
    pub fn unverifiable(&self) -> Option<&Refusal> {
        self.clients.as_ref()?.check.as_ref().err()
    }
}

impl Certificates {
    /// The Secrets in use.
    pub fn secrets(&self) -> BTreeSet<ObjectKey> {
        let of_listeners = self.listeners.values().flatten().flat_map(|resolved| &resolved.usable);
        let all = of_listeners.chain(self.shown.values().flatten());
        all.map(|certificate| certificate.secret.clone()).collect()
    }

    /// The ConfigMaps that are referred to, and may be.
    pub fn bundles_wanted(&self) -> impl Iterator<Item = &ObjectKey> {
        self.clients().flat_map(|clients| &clients.wanted)
    }

    /// Those of them that are of use.
    pub fn bundles_in_use(&self) -> impl Iterator<Item = &ObjectKey> {
        self.clients().flat_map(|clients| &clients.used)
    }

    fn clients(&self) -> impl Iterator<Item = &Clients> {
        self.listeners.values().flatten().filter_map(|resolved| resolved.clients.as_ref())
    }
}

/// The objects that references lead to.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Secrets.
    pub secrets: &'a Shelf<Secret>,
    /// ConfigMaps.
    pub config_maps: &'a Shelf<ConfigMap>,
    /// Permissions.
    pub grants: &'a Shelf<ReferenceGrant>,
    /// Whether only Secrets of type `kubernetes.io/tls` are known; a manifest's may be of any.
    pub in_cluster: bool,
}

/// Resolves the references of every Gateway, and of every listener that ends TLS.
pub fn resolve(admission: &Admission, ground: Ground<'_>) -> Certificates {
    let mut certificates = Certificates::default();
    for (key, gateway) in &admission.gateways {
        let of_each = gateway.listeners.iter().map(|one| of_listener(key, one, ground));
        certificates.listeners.insert(key.clone(), of_each.collect());
        if let Some(shown) = shown(key, gateway, ground) {
            certificates.shown.insert(key.clone(), shown);
        }
    }
    certificates
}

/// Resolves those of these Gateways of ours anew: nothing else changed.
pub fn update(
    certificates: &mut Arc<Certificates>,
    admission: &Admission,
    ground: Ground<'_>,
    stale: &BTreeSet<ObjectKey>,
) {
    for key in stale {
        let Some(gateway) = admission.gateways.get(key) else { continue };
        let of_each = gateway.listeners.iter().map(|one| of_listener(key, one, ground));
        let of_each: Vec<Resolved> = of_each.collect();
        if certificates.listeners.get(key) != Some(&of_each) {
            Arc::make_mut(certificates).listeners.insert(key.clone(), of_each);
        }
        let shown = shown(key, gateway, ground);
        if certificates.shown.get(key) != shown.as_ref() {
            let all = &mut Arc::make_mut(certificates).shown;
            match shown {
                Some(shown) => drop(all.insert(key.clone(), shown)),
                None => drop(all.remove(key)),
            }
        }
    }
}

/// What a listener shows, and what it asks of its clients.
fn of_listener(key: &ObjectKey, listener: &AdmittedListener, ground: Ground<'_>) -> Resolved {
    let mut resolved = Resolved::default();
    if listener.tls != Some(TlsMode::Terminate) {
        return resolved;
    }
    let owner = match &listener.set {
        Some(set) => ObjectRef { kind: Kind::ListenerSet, key: set.clone() },
        None => ObjectRef { kind: Kind::Gateway, key: key.clone() },
    };
    for (index, reference) in listener.certificate_refs.iter().enumerate() {
        match one(&owner, reference, Reason::InvalidCertificateRef, ground) {
            Ok(certificate) => resolved.usable.push(Arc::new(certificate)),
            Err(refusal) => {
                let message = format!("tls.certificateRefs[{index}]: {}", refusal.message);
                resolved.refusals.push(Refusal::new(refusal.reason, message));
            }
        }
    }
    if listener.certificate_refs.is_empty() {
        let message = "tls.certificateRefs is empty: name a Secret of type kubernetes.io/tls";
        resolved.refusals.push(Refusal::new(Reason::InvalidCertificateRef, message));
    }
    if let Some(check) = &listener.clients {
        let (clients, refusals) = clients::resolve(check, ground);
        resolved.refusals.extend(refusals);
        resolved.clients = Some(clients);
    }
    resolved
}

/// What a Gateway shows to backends, if it is to show anything.
fn shown(
    key: &ObjectKey,
    gateway: &AdmittedGateway,
    ground: Ground<'_>,
) -> Option<Result<Arc<Certificate>, Refusal>> {
    let reference = gateway.client_certificate.as_ref()?;
    let owner = ObjectRef { kind: Kind::Gateway, key: key.clone() };
    let shown = one(&owner, reference, Reason::InvalidClientCertificateRef, ground);
    Some(shown.map(Arc::new).map_err(|refusal| {
        let field = "spec.tls.backend.clientCertificateRef";
        let message =
            format!("{field}: {}; backends that ask for a certificate get none", refusal.message);
        Refusal::new(refusal.reason, message)
    }))
}

/// `invalid` is the reason for a reference that leads to nothing.
fn one(
    owner: &ObjectRef,
    reference: &CertificateRef,
    invalid: Reason,
    ground: Ground<'_>,
) -> Result<Certificate, Refusal> {
    let invalid = |message: String| Refusal::new(invalid, message);
    if !reference.group.is_empty() || reference.kind != "Secret" {
        return Err(invalid(format!(
            "kind {} of group {:?} is no certificate: write a Secret of the core group",
            reference.kind, reference.group
        )));
    }
    let namespace = reference.namespace.as_ref().unwrap_or(&owner.key.namespace);
    let key = ObjectKey::new(namespace, &reference.name);
    permitted(owner, "Secret", &key, ground.grants)?;
    let Some(stored) = ground.secrets.get(&key) else {
        let message = match ground.in_cluster {
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

/// Checks that `owner` may refer to an object of the core group. Inside one namespace it always may.
fn permitted(
    owner: &ObjectRef,
    kind: &str,
    key: &ObjectKey,
    grants: &Shelf<ReferenceGrant>,
) -> Result<(), Refusal> {
    let namespace = &key.namespace;
    if *namespace == owner.key.namespace || granted(owner, kind, key, grants) {
        return Ok(());
    }
    let message = format!(
        "{kind} {key} is in another namespace and no ReferenceGrant there allows it: create one in \
         namespace {namespace} with from: group {GATEWAY_GROUP}, kind {}, namespace {} and to: \
         group \"\", kind {kind}",
        owner.kind, owner.key.namespace
    );
    Err(Refusal::new(Reason::RefNotPermitted, message))
}

fn granted(
    owner: &ObjectRef,
    kind: &str,
    target: &ObjectKey,
    grants: &Shelf<ReferenceGrant>,
) -> bool {
    let here = grants.iter().filter(|(key, _)| key.namespace == target.namespace);
    here.map(|(_, stored)| &stored.object.spec).any(|grant| {
        let from = grant.from.iter().any(|from| {
            from.group == GATEWAY_GROUP
                && from.kind == owner.kind.name()
                && from.namespace == owner.key.namespace
        });
        let to = grant.to.iter().any(|to| {
            to.group.is_empty()
                && to.kind == kind
                && to.name.as_ref().is_none_or(|name| *name == target.name)
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
