//! Ranges against a plain set of offsets.

use std::collections::BTreeSet;

use super::{CheckedRanges, RANGES_MAX};
use crate::testing::Random;

#[test]
fn ranges_are_a_set_of_offsets() {
    let mut random = Random(3);
    for _ in 0..200 {
        let (mut ranges, mut set) = (CheckedRanges::default(), BTreeSet::new());
        for _ in 0..random.below(12) {
            let first = random.below(60) as i64;
            let last = first + random.below(8) as i64;
            ranges.add(first, last);
            set.extend(first..=last);
            let found: BTreeSet<i64> = (-2..80).filter(|offset| ranges.contains(*offset)).collect();
            assert_eq!(found, set, "{ranges:?}");
            let ends: Vec<(i64, i64)> = ranges.0.iter().map(|(first, last)| (*first, *last)).collect();
            assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ends:?} neither overlap nor touch");
        }
    }
}

#[test]
fn too_many_ranges_lose_the_shortest() {
    let mut ranges = CheckedRanges::default();
    ranges.add(i64::MAX - 5, i64::MAX);
    for i in 0..RANGES_MAX as i64 {
        ranges.add(i * 10, i * 10 + if i == 7 { 0 } else { 3 });
    }
    assert_eq!(ranges.0.len(), RANGES_MAX);
    assert!(!ranges.contains(70) && ranges.contains(60) && ranges.contains(80) && ranges.contains(i64::MAX));
}
