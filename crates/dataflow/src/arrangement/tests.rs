//! Arrangements keep what was inserted, in few runs.

use super::Arrangement;
use crate::{
    pairs::{Pair, Side, change, schema},
    random::Random,
    run::{Layout, Run},
    zset::ZSet,
};

fn layout(is_retracting: bool) -> Layout {
    Layout { schema: schema("l"), key: vec![0], is_retracting }
}

#[test]
fn what_was_inserted_is_there_however_it_is_merged() {
    for seed in 0..30 {
        let (mut random, takes_back) = (Random(seed), seed % 2 == 0);
        let mut arrangement = Arrangement::new(layout(takes_back));
        let (mut side, mut expected) = (Side::default(), ZSet::default());
        for _ in 0..100 {
            let rows = change("l", &side.change(&mut random, 30, takes_back), takes_back);
            expected.add(&rows);
            let held: Vec<_> = arrangement.runs().cloned().collect();
            let before: Vec<usize> = held.iter().map(|run| run.row_count()).collect();
            arrangement.insert(Run::new(arrangement.layout(), &rows).unwrap()).unwrap();
            if random.below(4) == 0 {
                arrangement.work(random.below(40)).unwrap();
            }
            let mut found = ZSet::default();
            arrangement.runs().for_each(|run| run.changes().for_each(|change| found.add(&change)));
            assert_eq!(found, expected, "seed {seed}");
            assert_eq!(held.iter().map(|run| run.row_count()).collect::<Vec<_>>(), before, "a held run stays");
        }
    }
}

#[test]
fn the_number_of_runs_stays_small_and_the_work_in_proportion() {
    let mut arrangement = Arrangement::new(layout(false));
    let mut most = 0;
    for number in 0..2_000_i64 {
        let rows: Vec<(Pair, i64)> = (0..16).map(|row| ((3, number * 16 + row), 1)).collect();
        arrangement.insert(Run::new(arrangement.layout(), &change("l", &rows, false)).unwrap()).unwrap();
        most = most.max(arrangement.runs().count());
    }
    assert_eq!(arrangement.row_count(), 32_000);
    assert!(most <= 20, "{most} runs at once");
    arrangement.work(usize::MAX).unwrap();
    assert!(arrangement.runs().count() <= 8);
}

#[test]
fn what_was_taken_back_leaves_nothing() {
    let mut arrangement = Arrangement::new(layout(true));
    for weight in [1, -1] {
        let rows: Vec<(Pair, i64)> = (0..1_000).map(|value| ((3, value), weight)).collect();
        arrangement.insert(Run::new(arrangement.layout(), &change("l", &rows, true)).unwrap()).unwrap();
    }
    arrangement.work(usize::MAX).unwrap();
    arrangement.forget_dirty();
    assert_eq!((arrangement.row_count(), arrangement.bytes()), (0, 0));
}
