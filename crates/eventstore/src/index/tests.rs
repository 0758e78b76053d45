//! Tests of the index's parts.

use super::{Offsets, Recent};

#[test]
fn offsets_are_kept_near_and_far() {
    let far = i64::from(u32::MAX);
    for given in
        [vec![5], vec![5, 6, 900], vec![5, 5 + far], vec![5, 7, 6 + far, 7 + far], vec![0, far * 4, far * 4 + 1]]
    {
        let mut offsets = Offsets::one(given[0]);
        for offset in &given[1..] {
            offsets.push(*offset);
        }
        let found: Vec<_> = (0..offsets.len()).filter_map(|version| offsets.get(version)).collect();
        assert_eq!(found, given);
        assert_eq!(offsets.get(given.len() as u64), None);
        assert_eq!(offsets.get(u64::MAX), None);
    }
}

#[test]
fn the_oldest_entry_leaves_unless_it_came_again() {
    let mut recent = Recent::new(3);
    for (key, value) in [("a", 1), ("b", 2), ("a", 3)] {
        recent.insert(key, value);
    }
    assert_eq!((recent.get(&"a"), recent.get(&"b")), (Some(&3), Some(&2)));
    recent.insert("c", 4);
    assert_eq!(recent.get(&"a"), Some(&3), "its last insertion counts");
    recent.insert("d", 5);
    assert_eq!((recent.get(&"a"), recent.get(&"b")), (Some(&3), None));
    recent.insert("e", 6);
    assert_eq!(recent.get(&"a"), None);
    assert_eq!(recent.entries.len(), 3);
}

#[test]
fn a_window_of_nothing_remembers_nothing() {
    let mut recent = Recent::new(0);
    recent.insert("a", 1);
    assert_eq!(recent.get(&"a"), None);
    assert!(recent.entries.is_empty() && recent.order.is_empty());
}
