//! Semi and anti joins against a model that looks each key up.

use super::{Keep, PresenceJoin};
use crate::{
    Operator,
    join::JoinKeys,
    pairs::{Pair, Side, change, same, schema},
    random::Random,
    zset::ZSet,
};

fn keys(name: &str, is_retracting: bool) -> JoinKeys {
    JoinKeys { schema: schema(name), columns: vec![0], is_retracting }
}

fn model(left: &Side, right: &Side, keep: Keep, nulls_are_equal: bool) -> Vec<(Pair, i64)> {
    let is_present = |key: usize| (nulls_are_equal || key != 0) && right.0.keys().any(|(other, _)| same(*other, key));
    let kept = left.0.iter().filter(|((key, _), _)| is_present(*key) == (keep == Keep::Present));
    kept.map(|(pair, count)| (*pair, *count)).collect()
}

#[test]
fn what_went_out_is_every_left_row_that_is_kept() {
    for seed in 0..60 {
        for (keep, nulls_are_equal) in
            [(Keep::Present, false), (Keep::Absent, false), (Keep::Present, true), (Keep::Absent, true)]
        {
            let (mut random, takes_back) = (Random(seed), seed % 2 == 0);
            let mut join = PresenceJoin::new(keep, nulls_are_equal, keys("l", takes_back), keys("r", takes_back));
            let (mut left, mut right, mut out) = (Side::default(), Side::default(), ZSet::default());
            for _ in 0..25 {
                let (rows, on_right) = (random.below(10), random.below(4));
                join.push(0, change("l", &left.change(&mut random, rows, takes_back), takes_back)).unwrap();
                join.push(1, change("r", &right.change(&mut random, on_right, takes_back), takes_back)).unwrap();
                join.finish(&mut |change| {
                    out.add(&change);
                    Ok(())
                })
                .unwrap();
                let mut expected = ZSet::default();
                expected.add(&change("l", &model(&left, &right, keep, nulls_are_equal), true));
                assert_eq!(out, expected, "seed {seed}, {keep:?}, {nulls_are_equal}");
            }
        }
    }
}

#[test]
fn a_key_that_stays_present_moves_no_row() {
    let mut join = PresenceJoin::new(Keep::Present, false, keys("l", true), keys("r", true));
    join.push(0, change("l", &[((3, 1), 1)], true)).unwrap();
    join.push(1, change("r", &[((3, 1), 1), ((3, 2), 1)], true)).unwrap();
    let mut rows = 0;
    join.finish(&mut |change| {
        rows += change.row_count();
        Ok(())
    })
    .unwrap();
    assert_eq!(rows, 1);
    join.push(1, change("r", &[((3, 1), -1), ((3, 9), 1)], true)).unwrap();
    join.push(1, change("r", &[((3, 2), -1)], true)).unwrap();
    join.finish(&mut |change| panic!("{change:?} went out")).unwrap();
}
