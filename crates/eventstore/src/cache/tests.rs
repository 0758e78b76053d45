//! Tests of the cache: random use against a list.

use proptest::prelude::*;

use super::BoundedCache;

#[derive(Clone, Debug)]
enum Use {
    Insert(u8, usize),
    Get(u8),
    AtOrBefore(u8),
    Remove(u8),
}

fn random_use() -> impl Strategy<Value = Use> {
    prop_oneof![
        (0_u8..8, 0_usize..12).prop_map(|(key, weight)| Use::Insert(key, weight)),
        (0_u8..8).prop_map(Use::Get),
        (0_u8..8).prop_map(Use::AtOrBefore),
        (0_u8..8).prop_map(Use::Remove),
    ]
}

const WEIGHT_MAX: usize = 10;

/// The cache as a list of (key, value, weight), the least recently used first.
#[derive(Default)]
struct List(Vec<(u8, usize, usize)>);

impl List {
    fn take(&mut self, key: u8) -> Option<(u8, usize, usize)> {
        let at = self.0.iter().position(|(k, ..)| *k == key)?;
        Some(self.0.remove(at))
    }

    fn touch(&mut self, key: u8) -> Option<(u8, usize)> {
        let entry = self.take(key)?;
        self.0.push(entry);
        Some((key, entry.1))
    }

    fn insert(&mut self, key: u8, value: usize, weight: usize) {
        self.take(key);
        if weight <= WEIGHT_MAX {
            self.0.push((key, value, weight));
        }
        while self.0.iter().map(|(.., weight)| weight).sum::<usize>() > WEIGHT_MAX {
            self.0.remove(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_is_the_list(uses in prop::collection::vec(random_use(), 1..80)) {
        let (mut cache, mut list) = (BoundedCache::new(WEIGHT_MAX), List::default());
        for (value, one) in uses.into_iter().enumerate() {
            match one {
                Use::Insert(key, weight) => {
                    cache.insert(key, value, weight);
                    list.insert(key, value, weight);
                }
                Use::Get(key) => prop_assert_eq!(cache.get(&key), list.touch(key).map(|(_, value)| value)),
                Use::AtOrBefore(key) => {
                    let found = list.0.iter().map(|(k, ..)| *k).filter(|k| *k <= key).max();
                    prop_assert_eq!(cache.at_or_before(&key), found.and_then(|found| list.touch(found)));
                }
                Use::Remove(key) => {
                    cache.remove(&key);
                    list.take(key);
                }
            }
            prop_assert_eq!(cache.weight(), list.0.iter().map(|(.., weight)| weight).sum::<usize>());
        }
    }
}
