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
    /// Takes in a Secret of the install namespace. Returns what is gone with the version before it,
    /// and what it is a copy of, if it is one.
    pub(super) fn apply(&mut self, copy: &Secret) -> (Option<ObjectRef>, Option<Arc<Secret>>) {
        let key = ObjectKey::of(&copy.metadata);
        let source = source_of(copy);
        let before = match &source {
            Some(source) => self.0.insert(key, source.clone()),
            None => self.0.remove(&key),
        };
        let gone = before.filter(|before| source.as_ref() != Some(before)).map(secret);
        let original = source.map(|source| {
            let mut original = copy.clone();
            original.metadata.namespace = Some(source.namespace);
            original.metadata.name = Some(source.name);
            Arc::new(original)
        });
        (gone, original)
    }

    /// What goes with a copy that is gone.
    pub(super) fn gone(&mut self, copy: &ObjectKey) -> Option<ObjectRef> {
        self.0.remove(copy).map(secret)
    }
}

/// Whether a Secret of the install namespace is a copy.
pub(super) fn is_copy(secret: &Secret) -> bool {
    source_of(secret).is_some()
}

fn source_of(copy: &Secret) -> Option<ObjectKey> {
    let annotations = copy.metadata.annotations.as_ref()?;
    Some(ObjectKey::new(annotations.get(SOURCE_NAMESPACE)?, annotations.get(SOURCE_NAME)?))
}

fn secret(key: ObjectKey) -> ObjectRef {
    ObjectRef { kind: Kind::Secret, key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(source: Option<&str>) -> Secret {
        let mut copy = Secret::default();
        copy.metadata.namespace = Some("vipgate-system".to_owned());
        copy.metadata.name = Some("vipgate-tls-1".to_owned());
        copy.metadata.annotations = source.map(|name| {
            let note = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            [note(SOURCE_NAMESPACE, "shop"), note(SOURCE_NAME, name)].into()
        });
        copy
    }

    #[test]
    fn a_copy_stands_for_its_source_and_takes_it_along() {
        let mut copies = Copies::default();
        let source = |name: &str| secret(ObjectKey::new("shop", name));
        let (gone, original) = copies.apply(&copy(Some("web")));
        assert_eq!(gone, None);
        assert_eq!(ObjectKey::of(&original.unwrap().metadata), source("web").key);

        let (gone, original) = copies.apply(&copy(Some("other")));
        assert_eq!((gone, original.is_some()), (Some(source("web")), true));
        let (gone, original) = copies.apply(&copy(None));
        assert_eq!((gone, original), (Some(source("other")), None));
        assert_eq!(copies.apply(&copy(None)), (None, None));

        copies.apply(&copy(Some("web")));
        let key = ObjectKey::new("vipgate-system", "vipgate-tls-1");
        assert_eq!(copies.gone(&key), Some(source("web")));
        assert_eq!(copies.gone(&key), None);
    }
}
