//! Numbers for things that come and go: each keeps its number for as long as its key is there.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Values by key and by number.
#[derive(Debug)]
pub(crate) struct Slots<K, V> {
    numbers: BTreeMap<K, u32>,
    values: Vec<Option<Arc<V>>>,
    /// Numbers without a key.
    free: Vec<u32>,
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), values: Vec::new(), free: Vec::new() }
    }
}

impl<K: Ord + Clone, V> Slots<K, V> {
    /// The number of a key; a free one if it is new.
    pub(crate) fn number(&mut self, key: &K) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            number(self.values.len() - 1)
        });
        self.numbers.insert(key.clone(), number);
        number
    }

    /// What a key has now.
    pub(crate) fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.values[*self.numbers.get(key)? as usize].as_ref()
    }

    /// Gives a key a value.
    pub(crate) fn set(&mut self, key: &K, value: V) {
        let number = self.number(key);
        self.values[number as usize] = Some(Arc::new(value));
    }

    /// Takes away the keys that are not wanted. Whether there were any.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&K) -> bool) -> bool {
        let before = self.numbers.len();
        self.numbers.retain(|key, number| {
            let keep = wanted(key);
            if !keep {
                self.values[*number as usize] = None;
                self.free.push(*number);
            }
            keep
        });
        self.numbers.len() != before
    }

    /// Replaces every value.
    pub(crate) fn map(&mut self, new: impl Fn(&V) -> V) {
        for value in self.values.iter_mut().flatten() {
            *value = Arc::new(new(value));
        }
    }

    /// All of them, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.numbers
            .iter()
            .filter_map(|(key, number)| Some((key, self.values[*number as usize].as_ref()?)))
    }

    /// All of them, by number.
    pub(crate) fn values(&self) -> &[Option<Arc<V>>] {
        &self.values
    }
}

/// A place in a list as the number that goes into tokens.
pub(crate) fn number(place: usize) -> u32 {
    u32::try_from(place).expect("a process has fewer than 2^32 listeners")
}
