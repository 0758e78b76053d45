//! Runs: their order, and where a word is found.

use super::{CHUNK_ROWS, Layout, Place, Run, lower_bound};
use crate::{
    pairs::{Pair, change, schema},
    random::Random,
    zset::ZSet,
};

fn layout(is_retracting: bool) -> Layout {
    Layout { schema: schema("l"), key: vec![1], is_retracting }
}

#[test]
fn the_first_row_of_a_word_is_found_from_anywhere_before_it() {
    let mut random = Random(5);
    for _ in 0..200 {
        let spread = [4, 1_000, u64::MAX][random.below(3)];
        let mut words: Vec<u64> = (0..random.below(500) + 1).map(|_| random.next() % spread).collect();
        words.sort_unstable();
        for _ in 0..50 {
            let from = random.below(words.len() + 1);
            let word = if random.below(2) == 0 { random.next() % spread } else { words[random.below(words.len())] };
            let expected = from + words[from..].partition_point(|found| *found < word);
            assert_eq!(lower_bound(&words, from, word), expected, "{word} from {from} in {words:?}");
        }
    }
}

#[test]
fn rows_of_a_run_are_found_across_its_chunks() {
    let rows: Vec<(Pair, i64)> = (0..3 * CHUNK_ROWS as i64).map(|row| ((3, row % 5), 1)).collect();
    let run = Run::new(&layout(false), &change("l", &rows, false)).unwrap();
    assert_eq!((run.chunks.len(), run.row_count()), (3, rows.len()));
    let words: Vec<u64> = run.chunks.iter().flat_map(|chunk| chunk.words.iter().copied()).collect();
    assert!(words.is_sorted());
    let mut distinct = words.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
    let mut from = Place::default();
    for word in distinct {
        let found: usize = run.seek(word, &mut from).map(|(_, piece)| piece.len()).sum();
        assert_eq!(found, words.iter().filter(|other| **other == word).count());
    }
    assert_eq!(run.seek(u64::MAX, &mut from).count(), 0);
}

#[test]
fn equal_rows_that_can_be_taken_back_are_one() {
    let rows: Vec<(Pair, i64)> = vec![((3, 1), 2), ((3, 2), 1), ((3, 1), 3), ((3, 2), -1), ((1, 7), 1), ((2, 7), 1)];
    let run = Run::new(&layout(true), &change("l", &rows, true)).unwrap();
    // Zeros of either sign are one key, and not one row.
    assert_eq!(run.row_count(), 3);
    let (mut found, mut expected) = (ZSet::default(), ZSet::default());
    run.changes().for_each(|change| found.add(&change));
    expected.add(&change("l", &rows, true));
    assert_eq!(found, expected);
}
