//! A result that is worked out again only when one of its inputs changed, and only in the parts that are
//! about what changed.

use std::collections::BTreeSet;
use std::sync::Arc;

/// One layer of the planner: its last result, and what of that may not be true any more. `K` names the
/// parts of a result that can be worked out by themselves, where there are such parts.
#[derive(Debug)]
pub(crate) struct Layer<T, K = ()> {
    value: Arc<T>,
    stale: Stale<K>,
    runs: u64,
}

/// What is out of date.
#[derive(Debug)]
pub(crate) enum Stale<K> {
    /// What is about these.
    Parts(BTreeSet<K>),
    /// Perhaps everything.
    All,
}

impl<T: Default, K> Default for Layer<T, K> {
    /// A layer that has not run.
    fn default() -> Self {
        Self { value: Arc::default(), stale: Stale::All, runs: 0 }
    }
}

impl<T: PartialEq, K: Ord> Layer<T, K> {
    /// An input changed that everything may depend on.
    pub(crate) fn touch(&mut self) {
        self.stale = Stale::All;
    }

    /// An input changed that only these parts depend on.
    pub(crate) fn touch_parts(&mut self, parts: impl IntoIterator<Item = K>) {
        if let Stale::Parts(stale) = &mut self.stale {
            stale.extend(parts);
        }
    }

    /// Runs the layer if it has to. The answer says whether the result is another than before:
    /// only then do the layers behind it have to run. An equal result keeps its identity.
    pub(crate) fn refresh(&mut self, run: impl FnOnce() -> T) -> bool {
        self.begin().is_some() && {
            let value = run();
            self.replace(value)
        }
    }

    /// What has to be worked out anew, if anything. Whoever takes it has to do it: by
    /// [`Self::replace`], or part by part in [`Self::value_mut`].
    pub(crate) fn begin(&mut self) -> Option<Stale<K>> {
        let stale = std::mem::replace(&mut self.stale, Stale::Parts(BTreeSet::new()));
        if matches!(&stale, Stale::Parts(parts) if parts.is_empty()) {
            return None;
        }
        self.runs += 1;
        Some(stale)
    }

    /// Says whether this is another result than the last; an equal one keeps its identity.
    pub(crate) fn replace(&mut self, value: T) -> bool {
        let changed = value != *self.value;
        if changed {
            self.value = Arc::new(value);
        }
        changed
    }

    /// The last result.
    pub(crate) fn value(&self) -> &Arc<T> {
        &self.value
    }

    /// The last result, to be brought up to date in its stale parts. One that somebody else has is to be
    /// copied before it is changed ([`Arc::make_mut`]), and only if it is.
    pub(crate) fn value_mut(&mut self) -> &mut Arc<T> {
        &mut self.value
    }

    /// How often it ran.
    pub(crate) fn runs(&self) -> u64 {
        self.runs
    }
}
