//! What a listener knows its clients by (GEP-91).

use std::collections::BTreeSet;
use std::sync::Arc;

use vipgate_api::gateway::{CaCertificateRef, FrontendValidationMode};
use vipgate_api::{ObjectKey, ObjectRef, Reason};

use super::{Ground, bundle, permitted};
use crate::admission::ClientCheck;
use crate::plan::ClientValidation;
use crate::refusal::Refusal;

/// What a listener asks of its clients, and what of it can be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Clients {
    /// How they are checked. Where not one authority is known that could be trusted nobody is let in,
    /// not even by a listener that lets everybody in: the refusal says why.
    pub check: Result<Arc<ClientValidation>, Refusal>,
    /// The ConfigMaps that it refers to and may refer to.
    pub wanted: BTreeSet<ObjectKey>,
    /// Those of them that are of use.
    pub used: BTreeSet<ObjectKey>,
}

/// Resolves the references to authorities; with those that lead to nothing.
pub(super) fn resolve(check: &ClientCheck, ground: Ground<'_>) -> (Clients, Vec<Refusal>) {
    let (mut roots, mut refusals) = (Vec::new(), Vec::new());
    let (mut wanted, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (index, reference) in check.validation.ca_certificate_refs.iter().enumerate() {
        let found = named(&check.owner, reference, ground).and_then(|key| {
            wanted.insert(key.clone());
            let found = bundle::find(&key, ground.config_maps)
                .map_err(|why| Refusal::new(Reason::InvalidCACertificateRef, why))?;
            used.insert(key);
            Ok(found)
        });
        match found {
            Ok(found) => roots.extend(found),
            Err(refusal) => {
                let field = format!("{}.caCertificateRefs[{index}]", check.field);
                let message = format!("{field}: {}", refusal.message);
                refusals.push(Refusal::new(refusal.reason, message));
            }
        }
    }
    roots.sort();
    roots.dedup();
    let optional = check.validation.mode == FrontendValidationMode::AllowInsecureFallback;
    let check = match roots.is_empty() {
        false => Ok(Arc::new(ClientValidation { roots, optional })),
        true => {
            let message = format!(
                "{} asks clients for a certificate, and there is no authority to know them by, so \
                 nobody is let in: {}",
                check.field,
                match refusals.first() {
                    Some(first) => &first.message,
                    None => "caCertificateRefs is empty",
                }
            );
            Err(Refusal::new(Reason::NoValidCACertificate, message))
        }
    };
    (Clients { check, wanted, used }, refusals)
}

/// The ConfigMap that a reference names, if it may.
fn named(
    owner: &ObjectRef,
    reference: &CaCertificateRef,
    ground: Ground<'_>,
) -> Result<ObjectKey, Refusal> {
    let CaCertificateRef { group, kind, name, namespace } = reference;
    if !bundle::is_kind(group, kind) {
        let message = format!(
            "kind {kind} of group {group:?} holds no certificates of authorities: write a ConfigMap \
             of the core group, with {}",
            bundle::ENTRY
        );
        return Err(Refusal::new(Reason::InvalidCACertificateKind, message));
    }
    let key = ObjectKey::new(namespace.as_ref().unwrap_or(&owner.key.namespace), name);
    permitted(owner, "ConfigMap", &key, ground.grants)?;
    Ok(key)
}
