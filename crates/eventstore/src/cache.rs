//! A cache with a bound: the least recently used entries leave first.
//!
//! What must hold: the weights of the entries together never exceed the bound.

use std::collections::BTreeMap;

/// An ordered cache bounded by weight.
#[derive(Debug)]
pub(crate) struct BoundedCache<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    // When each entry was last used, by a counter; the smallest is the next to leave.
    by_use: BTreeMap<u64, K>,
    uses: u64,
    weight: usize,
    weight_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    used: u64,
}

impl<K: Ord + Clone, V: Clone> BoundedCache<K, V> {
    /// An empty cache.
    pub(crate) fn new(weight_max: usize) -> Self {
        Self { entries: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, weight: 0, weight_max }
    }

    /// The entry of `key`.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.entries.contains_key(key).then(|| self.at_or_before(key)).flatten().map(|(_, value)| value)
    }

    /// The entry with the largest key that is not after `key`.
    pub(crate) fn at_or_before(&mut self, key: &K) -> Option<(K, V)> {
        let (found, entry) = self.entries.range_mut(..=key).next_back()?;
        self.by_use.remove(&entry.used);
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, found.clone());
        Some((found.clone(), entry.value.clone()))
    }

    /// Puts an entry in, in the place of an older one of the same key; one over the whole bound stays out.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) {
        self.remove(&key);
        if weight > self.weight_max {
            return;
        }
        self.uses += 1;
        self.weight += weight;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { value, weight, used: self.uses });
        while self.weight > self.weight_max {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.weight -= entry.weight;
            }
        }
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.used);
            self.weight -= entry.weight;
        }
    }

    /// The weight of all entries.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

#[cfg(test)]
mod tests;
