//! Walking through lists and mappings.

use std::slice::Iter;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess};

use super::{Error, Reader};
use crate::manifest::nearest::nearest;
use crate::manifest::path::Path;
use crate::manifest::tree::{Entry, Node};

/// The items of a list.
pub(super) struct Items<'n, 'r> {
    items: std::iter::Enumerate<Iter<'n, Node<'n>>>,
    list: &'r Reader<'n, 'r>,
}

impl<'n, 'r> Items<'n, 'r> {
    pub(super) fn new(items: &'n [Node<'n>], list: &'r Reader<'n, '_>) -> Self {
        Self { items: items.iter().enumerate(), list }
    }
}

impl<'n> SeqAccess<'n> for Items<'n, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'n>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = Path::Index(&self.list.path, index);
        let reader = Reader { node, path, context: self.list.context };
        seed.deserialize(reader).map(Some).map_err(|error| error.at(&path))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of a mapping.
pub(super) struct Fields<'n, 'r> {
    entries: Iter<'n, Entry<'n>>,
    /// The fields of the type; `None` when any key is good.
    known: Option<&'static [&'static str]>,
    mapping: &'r Reader<'n, 'r>,
    /// The entry whose key was given out and whose value was not.
    pending: Option<&'n Entry<'n>>,
}

impl<'n, 'r> Fields<'n, 'r> {
    /// A mapping with keys of its author's choice, such as labels.
    pub(super) fn all(entries: &'n [Entry<'n>], mapping: &'r Reader<'n, '_>) -> Self {
        Self { entries: entries.iter(), known: None, mapping, pending: None }
    }

    /// The fields of a type.
    pub(super) fn known(
        entries: &'n [Entry<'n>],
        known: &'static [&'static str],
        mapping: &'r Reader<'n, '_>,
    ) -> Self {
        Self { entries: entries.iter(), known: Some(known), mapping, pending: None }
    }

    /// Whether the type takes this entry.
    fn takes(&self, entry: &Entry<'_>) -> bool {
        let Some(known) = self.known else { return true };
        if matches!(self.mapping.path, Path::Root) && is_handled_before(&entry.key) {
            return false;
        }
        if !known.contains(&&*entry.key) {
            self.doubt_unknown(&entry.key, known);
            return false;
        }
        !entry.node.is_null()
    }

    fn doubt_unknown(&self, key: &str, known: &'static [&'static str]) {
        let path = Path::Key(&self.mapping.path, key);
        let context = self.mapping.context;
        context.findings.borrow_mut().warning_by(|| {
            let message = if context.unserved.contains(&&*without_indices(&path)) {
                "has no effect: vipgate does not serve this field".to_owned()
            } else {
                let hint = nearest(key, known).map_or_else(
                    || "remove it, or check where it belongs".to_owned(),
                    |name| format!("did you mean `{name}`?"),
                );
                format!("unknown field, has no effect: {hint}")
            };
            (path.to_string(), message)
        });
    }
}

/// What the caller has read already, and the status, which is not the author's to write.
fn is_handled_before(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "status")
}

fn without_indices(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Key(Path::Root, key) => (*key).to_owned(),
        Path::Key(parent, key) => format!("{}.{key}", without_indices(parent)),
        Path::Index(parent, _) => format!("{}[]", without_indices(parent)),
    }
}

impl<'n> MapAccess<'n> for Fields<'n, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'n>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        while let Some(entry) = self.entries.next() {
            if self.takes(entry) {
                self.pending = Some(entry);
                let key: StrDeserializer<'_, Error> = (*entry.key).into_deserializer();
                return seed.deserialize(key).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let entry = self.pending.take().expect("serde asks for a value after its key");
        let path = Path::Key(&self.mapping.path, &entry.key);
        let reader = Reader { node: &entry.node, path, context: self.mapping.context };
        seed.deserialize(reader).map_err(|error| error.at(&path))
    }
}
