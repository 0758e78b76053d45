//! Elements of lists, against the plainest way to write them down.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Int64Type, Schema},
};

use super::{OUTPUT_ROWS, Unnest, UnnestColumns};
use crate::{Change, Operator, Weights, random::Random, zset::ZSet};

/// A row: a name, and two lists of numbers or NULLs.
type Row = (&'static str, Option<Vec<Option<i64>>>, Option<Vec<Option<i64>>>);

fn rows(rows: &[Row]) -> RecordBatch {
    let lists = |list: fn(&Row) -> &Option<Vec<Option<i64>>>| -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows.iter().map(|row| list(row).clone())))
    };
    let columns: [(&str, ArrayRef); 3] = [
        ("name", Arc::new(rows.iter().map(|(name, _, _)| Some(*name)).collect::<StringArray>())),
        ("one", lists(|row| &row.1)),
        ("other", lists(|row| &row.2)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// A row that comes out: the name, both elements and the number.
type Element = (&'static str, Option<i64>, Option<i64>, i64);

fn elements(elements: &[Element]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        ("name", Arc::new(elements.iter().map(|(name, ..)| Some(*name)).collect::<StringArray>())),
        ("one", Arc::new(elements.iter().map(|element| element.1).collect::<Int64Array>())),
        ("other", Arc::new(elements.iter().map(|element| element.2).collect::<Int64Array>())),
        ("number", Arc::new(elements.iter().map(|element| Some(element.3)).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn unnest(keeps_empty: bool) -> Unnest {
    let schema = elements(&[]).schema();
    Unnest::new(UnnestColumns { schema, lists: vec![1, 2], keeps_empty, is_numbered: true })
}

fn plainly(row: &Row, keeps_empty: bool) -> Vec<Element> {
    let (name, one, other) = row;
    let at = |list: &Option<Vec<Option<i64>>>, number: usize| list.as_ref().and_then(|list| *list.get(number)?);
    let length = |list: &Option<Vec<Option<i64>>>| list.as_ref().map_or(0, Vec::len);
    let count = length(one).max(length(other)).max(usize::from(keeps_empty));
    (0..count).map(|number| (*name, at(one, number), at(other, number), number as i64 + 1)).collect()
}

#[test]
fn each_element_is_a_row_and_where_there_is_none_there_is_none() {
    let some = |numbers: &[i64]| Some(numbers.iter().map(|number| Some(*number)).collect::<Vec<_>>());
    let cases: [(Row, &[Element], &[Element]); 6] = [
        (("equal", some(&[7, 7]), None), &[("equal", Some(7), None, 1), ("equal", Some(7), None, 2)], &[]),
        (("null", None, None), &[], &[("null", None, None, 1)]),
        (("empty", some(&[]), some(&[])), &[], &[("empty", None, None, 1)]),
        (("null inside", Some(vec![None]), None), &[("null inside", None, None, 1)], &[]),
        (
            ("shorter", some(&[1]), some(&[5, 6])),
            &[("shorter", Some(1), Some(5), 1), ("shorter", None, Some(6), 2)],
            &[],
        ),
        (("none beside", some(&[]), some(&[3])), &[("none beside", None, Some(3), 1)], &[]),
    ];
    for (row, expected, kept) in cases {
        for keeps_empty in [false, true] {
            let (mut unnest, mut out) = (unnest(keeps_empty), ZSet::default());
            unnest.push(0, Change::of_rows(rows(std::slice::from_ref(&row)))).unwrap();
            unnest
                .finish(&mut |change| {
                    out.add(&change);
                    Ok(())
                })
                .unwrap();
            out.assert_is(&elements(if keeps_empty && expected.is_empty() { kept } else { expected }));
        }
    }
}

#[test]
fn what_is_taken_back_takes_its_elements_back_wherever_changes_are_cut() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let keeps_empty = seed % 2 == 0;
        let list = |random: &mut Random| {
            (random.below(5) > 0)
                .then(|| (0..random.below(4)).map(|_| (random.below(5) > 0).then(|| random.below(3) as i64)).collect())
        };
        let (mut there, mut out): (Vec<Row>, ZSet) = (Vec::new(), ZSet::default());
        let mut unnest = unnest(keeps_empty);
        for _ in 0..30 {
            let mut changed: Vec<(Row, i64)> = Vec::new();
            for _ in 0..1 + random.below(6) {
                if !there.is_empty() && random.below(3) == 0 {
                    changed.push((there.swap_remove(random.below(there.len())), -1));
                } else {
                    let row: Row = (["a", "b", ""][random.below(3)], list(&mut random), list(&mut random));
                    there.push(row.clone());
                    changed.push((row, 1));
                }
            }
            let (changed, weights): (Vec<Row>, Vec<i64>) = changed.into_iter().unzip();
            // What comes in may be a part of something larger.
            let whole = rows(&changed);
            let cut = random.below(changed.len() + 1);
            for (first, count) in [(0, cut), (cut, changed.len() - cut)] {
                let weights = Weights::of(weights[first..first + count].to_vec());
                unnest.push(0, Change::new(whole.slice(first, count), weights).unwrap()).unwrap();
                if random.below(2) == 0 {
                    unnest
                        .finish(&mut |change| {
                            out.add(&change);
                            Ok(())
                        })
                        .unwrap();
                }
            }
            unnest
                .finish(&mut |change| {
                    out.add(&change);
                    Ok(())
                })
                .unwrap();
            let expected: Vec<Element> = there.iter().flat_map(|row| plainly(row, keeps_empty)).collect();
            out.assert_is(&elements(&expected));
        }
    }
}

/// The rows of each batch that comes of one row: a text of so many bytes beside a list of so many elements.
fn batches(text_bytes: usize, element_count: usize) -> Vec<usize> {
    let list: Vec<Option<i64>> = (0..element_count as i64).map(Some).collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("text", Arc::new(StringArray::from(vec!["x".repeat(text_bytes)]))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(list)]))),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("text", DataType::Utf8, true),
        Field::new("element", DataType::Int64, true),
    ]));
    let mut unnest = Unnest::new(UnnestColumns { schema, lists: vec![1], keeps_empty: false, is_numbered: false });
    unnest.push(0, Change::of_rows(rows)).unwrap();
    let (mut batches, mut next) = (Vec::new(), 0);
    unnest
        .finish(&mut |change| {
            for value in change.rows().column(1).as_primitive::<Int64Type>().values() {
                assert_eq!(*value, next, "elements come in their order");
                next += 1;
            }
            batches.push(change.row_count());
            Ok(())
        })
        .unwrap();
    assert_eq!(next, element_count as i64);
    batches
}

#[test]
fn a_long_list_and_a_long_text_come_in_batches() {
    assert_eq!(batches(1, 2 * OUTPUT_ROWS + 3), [OUTPUT_ROWS, OUTPUT_ROWS, 3]);
    assert_eq!(batches(8 * 1024 * 1024, 10), [4, 4, 2], "32 MiB at a time");
}

#[test]
fn what_is_no_list_is_refused() {
    let mut unnest = unnest(false);
    let name = rows(&[("x", None, None)]).project(&[0, 0, 0]).unwrap();
    unnest.push(0, Change::of_rows(name)).unwrap();
    assert!(unnest.finish(&mut |_| Ok(())).is_err());
    assert!(unnest.push(1, Change::of_rows(rows(&[]))).is_err());
}
