//! ConfigMaps with certificates of authorities: which of them are to be read (docs/decisions/0018).
//!
//! A cluster has thousands of ConfigMaps, of which a few hold what a Gateway or a policy refers to. So the
//! watch tells of all of them that they are there and have changed, and not what is in them; those that
//! are referred to, and our own copies, are read by name.
//!
//! What always holds: what is not referred to is neither read nor remembered; of what is read no more is
//! kept than its authorities.

use std::collections::{BTreeMap, BTreeSet};

use vipgate_api::ObjectKey;
use vipgate_api::k8s::{ConfigMap, ObjectMeta};

use crate::copies::{Copied, is_copy};

/// What is known of ConfigMaps.
#[derive(Debug, Default)]
pub struct Bundles {
    /// The namespace that copies are in.
    install: String,
    /// Copies of ours that are there.
    copies: BTreeSet<ObjectKey>,
    /// Those that were asked for, and whether what came back still holds as far as is known.
    asked: BTreeMap<ObjectKey, Standing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Fresh,
    Stale,
}

impl Bundles {
    /// Knows nothing; copies are in the namespace `install`.
    pub fn new(install: &str) -> Self {
        Self { install: install.to_owned(), ..Self::default() }
    }

    /// A ConfigMap is there, in a version that was not told of before; says whether it is a copy.
    pub fn changed(&mut self, metadata: &ObjectMeta) -> bool {
        let key = ObjectKey::of(metadata);
        let is_copy = self.is_copy(metadata);
        match is_copy {
            true => drop(self.copies.insert(key.clone())),
            false => drop(self.copies.remove(&key)),
        }
        if let Some(standing) = self.asked.get_mut(&key) {
            *standing = Standing::Stale;
        }
        is_copy
    }

    /// A ConfigMap is gone, which needs no question.
    pub fn gone(&mut self, key: &ObjectKey) {
        self.copies.remove(key);
        if let Some(standing) = self.asked.get_mut(key) {
            *standing = Standing::Fresh;
        }
    }

    /// Those to be asked for. `wanted` are those that are referred to.
    pub fn due(&self, wanted: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        let all = wanted.union(&self.copies);
        all.filter(|key| self.asked.get(key) != Some(&Standing::Fresh)).cloned().collect()
    }

    /// One was asked for, and there was an answer.
    pub fn read(&mut self, key: ObjectKey) {
        self.asked.insert(key, Standing::Fresh);
    }

    /// Forgets those that nobody refers to any more, and tells which.
    pub fn forget(&mut self, wanted: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        let needed = |key: &ObjectKey| wanted.contains(key) || self.copies.contains(key);
        let gone: Vec<ObjectKey> = self.asked.keys().filter(|key| !needed(key)).cloned().collect();
        for key in &gone {
            self.asked.remove(key);
        }
        gone
    }

    /// What of a ConfigMap is kept: of our copies everything, for nothing else may be in them.
    pub fn trimmed(&self, mut map: ConfigMap) -> ConfigMap {
        map.metadata.managed_fields = None;
        if self.is_copy(&map.metadata) {
            return map;
        }
        map.binary_data = None;
        map.metadata.annotations = None;
        if let Some(data) = &mut map.data {
            data.retain(|name, _| ConfigMap::ENTRIES.contains(&name.as_str()));
        }
        map
    }

    fn is_copy(&self, metadata: &ObjectMeta) -> bool {
        is_copy::<ConfigMap>(metadata, &self.install)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copies::SOURCE_NAME;

    fn metadata(name: &str, source: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            namespace: Some("web".to_owned()),
            name: Some(name.to_owned()),
            annotations: source.map(|name| [(SOURCE_NAME.to_owned(), name.to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    fn keys(names: &[&str]) -> Vec<ObjectKey> {
        names.iter().map(|name| ObjectKey::new("web", *name)).collect()
    }

    #[test]
    fn only_what_is_referred_to_is_read_and_again_when_it_changed() {
        let mut bundles = Bundles::new("vipgate-system");
        let wanted: BTreeSet<ObjectKey> = keys(&["ca"]).into_iter().collect();
        assert!(!bundles.changed(&metadata("other", None)));
        assert_eq!(bundles.due(&wanted), keys(&["ca"]));
        // That there is none is an answer, too.
        bundles.read(keys(&["ca"]).remove(0));
        assert_eq!(bundles.due(&wanted), []);
        bundles.changed(&metadata("other", None));
        assert_eq!(bundles.due(&wanted), []);
        bundles.changed(&metadata("ca", None));
        assert_eq!(bundles.due(&wanted), keys(&["ca"]));
        bundles.gone(&keys(&["ca"])[0]);
        assert_eq!(bundles.due(&wanted), []);
        assert_eq!(bundles.forget(&wanted), []);
        assert_eq!(bundles.forget(&BTreeSet::new()), keys(&["ca"]));
        assert_eq!(bundles.due(&wanted), keys(&["ca"]), "who is referred to again is read again");
    }

    #[test]
    fn our_copies_are_read_without_being_referred_to() {
        let (mut bundles, nobody) = (Bundles::new("web"), BTreeSet::new());
        assert!(bundles.changed(&metadata("vipgate-ca-1", Some("ca"))));
        assert!(!bundles.changed(&metadata("vipgate-ca-2", None)), "somebody else's");
        assert_eq!(bundles.due(&nobody), keys(&["vipgate-ca-1"]));
        bundles.read(keys(&["vipgate-ca-1"]).remove(0));
        assert_eq!(bundles.forget(&nobody), []);
        bundles.gone(&keys(&["vipgate-ca-1"])[0]);
        assert_eq!(bundles.forget(&nobody), keys(&["vipgate-ca-1"]));
    }

    #[test]
    fn of_what_is_read_the_authorities_are_kept() {
        let mut map = ConfigMap { metadata: metadata("ca", None), ..ConfigMap::default() };
        let entry = |name: &str| (name.to_owned(), "x".repeat(10));
        map.data = Some([entry("ca.crt"), entry("more")].into());
        map.metadata.annotations = Some([entry("last-applied")].into());
        let kept = Bundles::new("vipgate-system").trimmed(map);
        assert_eq!(kept.data.unwrap().into_keys().collect::<Vec<_>>(), ["ca.crt"]);
        assert_eq!(kept.metadata.annotations, None);
    }
}
