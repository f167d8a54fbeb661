//! Copies in the install namespace, seen as the objects that they are copies of.
//!
//! A speaker may read Secrets and ConfigMaps in that namespace only (docs/decisions/0008, 0018). The plan
//! is made from the places that Gateways and policies refer to, so each copy is put back where it comes
//! from.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use vipgate_api::k8s::{ConfigMap, ObjectMeta, Secret};
use vipgate_api::{ObjectKey, ObjectRef, Resource};
use vipgate_controller::copies::{SOURCE_NAME, SOURCE_NAMESPACE};

/// A kind of objects of which there are copies.
pub(super) trait Copied: Resource + Clone {
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
}

impl Copied for Secret {
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Copied for ConfigMap {
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Where each copy of a kind comes from.
#[derive(Debug)]
pub(super) struct Copies<T>(BTreeMap<ObjectKey, ObjectKey>, PhantomData<T>);

impl<T> Default for Copies<T> {
    fn default() -> Self {
        Self(BTreeMap::new(), PhantomData)
    }
}

impl<T: Copied> Copies<T> {
    /// Takes in an object of the install namespace. Returns what is gone with the version before it,
    /// and what it is a copy of, if it is one.
    pub(super) fn apply(&mut self, copy: &T) -> (Option<ObjectRef>, Option<Arc<T>>) {
        let key = copy.key();
        let source = source_of(copy);
        let before = match &source {
            Some(source) => self.0.insert(key, source.clone()),
            None => self.0.remove(&key),
        };
        let gone = before.filter(|before| source.as_ref() != Some(before)).map(reference::<T>);
        let original = source.map(|source| {
            let mut original = copy.clone();
            let metadata = original.metadata_mut();
            metadata.namespace = Some(source.namespace.clone());
            metadata.name = Some(source.name.clone());
            Arc::new(original)
        });
        (gone, original)
    }

    /// What goes with a copy that is gone.
    pub(super) fn gone(&mut self, copy: &ObjectKey) -> Option<ObjectRef> {
        self.0.remove(copy).map(reference::<T>)
    }
}

/// Whether an object of the install namespace is a copy.
pub(super) fn is_copy<T: Resource>(object: &T) -> bool {
    source_of(object).is_some()
}

fn source_of<T: Resource>(copy: &T) -> Option<ObjectKey> {
    let annotations = copy.metadata().annotations.as_ref()?;
    Some(ObjectKey::new(annotations.get(SOURCE_NAMESPACE)?, annotations.get(SOURCE_NAME)?))
}

fn reference<T: Resource>(key: ObjectKey) -> ObjectRef {
    ObjectRef { kind: T::KIND, key }
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
        let mut copies = Copies::<Secret>::default();
        let source = |name: &str| reference::<Secret>(ObjectKey::new("shop", name));
        let (gone, original) = copies.apply(&copy(Some("web")));
        assert_eq!(gone, None);
        assert_eq!(original.unwrap().key(), source("web").key);

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
