//! Joins against a model that compares every row with every row.

use super::{InnerJoin, JoinKeys};
use crate::{
    Operator,
    pairs::{Pair, Side, change, same, schema},
    random::Random,
    zset::ZSet,
};

fn keys(name: &str, is_retracting: bool) -> JoinKeys {
    JoinKeys { schema: schema(name), columns: vec![0], is_retracting }
}

/// The join of two sides, as a change of the left and of the right columns.
fn model(left: &Side, right: &Side) -> Vec<(Pair, Pair, i64)> {
    let mut joined = Vec::new();
    for (l, count) in &left.0 {
        for (r, times) in right.0.iter().filter(|(r, _)| l.0 != 0 && same(l.0, r.0)) {
            joined.push((*l, *r, count * times));
        }
    }
    joined
}

#[test]
fn what_went_out_is_the_join_of_what_came_in() {
    for seed in 0..60 {
        let (mut random, takes_back) = (Random(seed), seed % 2 == 0);
        let mut join = InnerJoin::new(keys("l", takes_back), keys("r", takes_back), false);
        let (mut left, mut right, mut out) = (Side::default(), Side::default(), ZSet::default());
        for _ in 0..25 {
            for _ in 0..random.below(3) {
                join.push(0, change("l", &left.change(&mut random, 12, takes_back), takes_back)).unwrap();
            }
            for _ in 0..random.below(3) {
                join.push(1, change("r", &right.change(&mut random, 12, takes_back), takes_back)).unwrap();
            }
            join.finish(&mut |change| {
                out.add(&change);
                Ok(())
            })
            .unwrap();
            let mut expected = ZSet::default();
            for (l, r, times) in model(&left, &right) {
                let (l, r) = (change("l", &[(l, 1)], false), change("r", &[(r, 1)], false));
                expected.add_joined(l.rows(), r.rows(), times);
            }
            assert_eq!(out, expected, "seed {seed}");
        }
    }
}

#[test]
fn one_key_with_many_rows_goes_out_in_pieces() {
    let mut join = InnerJoin::new(keys("l", false), keys("r", false), false);
    let many: Vec<(Pair, i64)> = (0..300).map(|value| ((3, value), 1)).collect();
    join.push(0, change("l", &many, false)).unwrap();
    join.push(1, change("r", &many, false)).unwrap();
    let (mut rows, mut largest) = (0, 0);
    join.finish(&mut |change| {
        rows += change.row_count();
        largest = largest.max(change.row_count());
        Ok(())
    })
    .unwrap();
    assert_eq!((rows, largest), (90_000, super::OUTPUT_ROWS));
}

#[test]
fn what_an_epoch_takes_back_within_itself_is_never_seen() {
    let mut join = InnerJoin::new(keys("l", true), keys("r", true), false);
    join.push(0, change("l", &[((3, 1), 1), ((3, 1), -1)], true)).unwrap();
    join.push(1, change("r", &[((3, 1), 1)], true)).unwrap();
    join.finish(&mut |change| panic!("{change:?} went out")).unwrap();
    assert!(join.push(2, change("r", &[], true)).is_err());
}
