//! A result that is worked out again only when one of its inputs changed.

use std::sync::Arc;

/// One layer of the planner: its last result, and whether that is still true.
#[derive(Debug)]
pub(crate) struct Layer<T> {
    value: Arc<T>,
    stale: bool,
    runs: u64,
}

impl<T: Default> Default for Layer<T> {
    /// A layer that has not run.
    fn default() -> Self {
        Self { value: Arc::default(), stale: true, runs: 0 }
    }
}

impl<T: PartialEq> Layer<T> {
    /// An input changed.
    pub(crate) fn touch(&mut self) {
        self.stale = true;
    }

    /// Runs the layer if it has to. The answer says whether the result is another than before:
    /// only then do the layers behind it have to run. An equal result keeps its identity.
    pub(crate) fn refresh(&mut self, run: impl FnOnce() -> T) -> bool {
        if !std::mem::take(&mut self.stale) {
            return false;
        }
        self.runs += 1;
        let value = run();
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

    /// How often it ran.
    pub(crate) fn runs(&self) -> u64 {
        self.runs
    }
}
