//! Copies of certificates in the install namespace, seen as the Secrets that they are copies of.
//!
//! A speaker may read Secrets in that namespace only (docs/decisions/0008). The plan is made from
//! the places that listeners refer to, so each copy is put back where it comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use vipgate_api::k8s::Secret;
use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_controller::certificates::{SOURCE_NAME, SOURCE_NAMESPACE};

/// Where each copy comes from.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<ObjectKey, ObjectKey>);

impl Copies {
    /// A Secret of the install namespace as what it is a copy of; `None` when it is none.
    pub(super) fn original(&mut self, copy: &Secret) -> Option<Arc<Secret>> {
        let annotations = copy.metadata.annotations.as_ref()?;
        let of = |key: &str| annotations.get(key).cloned();
        let (namespace, name) = (of(SOURCE_NAMESPACE)?, of(SOURCE_NAME)?);
        let source = ObjectKey::new(namespace.clone(), name.clone());
        self.0.insert(ObjectKey::of(&copy.metadata), source);
        let mut original = copy.clone();
        original.metadata.namespace = Some(namespace);
        original.metadata.name = Some(name);
        Some(Arc::new(original))
    }

    /// What goes with a copy that is gone.
    pub(super) fn gone(&mut self, copy: &ObjectKey) -> Option<ObjectRef> {
        self.0.remove(copy).map(|key| ObjectRef { kind: Kind::Secret, key })
    }
}
