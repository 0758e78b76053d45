//! Kernels whose rows can be taken back, against a model that looks at all rows there are.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, StringArray},
    datatypes::DataType,
};

use super::{super::new, write_entry};
use crate::{
    AggregateKind, AggregateSignature,
    kernel::{Input, Kernel, Places},
    random::Random,
};

/// A group, a value, and an offset.
type Row = (u32, Option<usize>, i64);

const GROUPS: usize = 3;
const TEXTS: [&str; 5] = ["", "a", "b", "ba", "ü"];
const FLOATS: [f64; 5] = [f64::NEG_INFINITY, -1.5, 0.25, 7.0, f64::NAN];

fn values(rows: &[(Row, i64)], of_text: bool) -> ArrayRef {
    if of_text {
        return Arc::new(
            rows.iter().map(|((_, value, _), _)| value.map(|value| TEXTS[value])).collect::<StringArray>(),
        );
    }
    Arc::new(rows.iter().map(|((_, value, _), _)| value.map(|value| FLOATS[value])).collect::<Float64Array>())
}

fn update(kernel: &mut dyn Kernel, rows: &[(Row, i64)], of_text: bool) {
    let groups: Vec<u32> = rows.iter().map(|((group, _, _), _)| *group).collect();
    let weights: Vec<i64> = rows.iter().map(|(_, weight)| *weight).collect();
    // One arrival time for all: partitions and offsets decide.
    let arrivals_us = vec![-5; rows.len()];
    let partitions: Vec<i32> = rows.iter().map(|((_, _, offset), _)| (*offset % 2) as i32).collect();
    let offsets: Vec<i64> = rows.iter().map(|((_, _, offset), _)| *offset).collect();
    let places = Places { arrivals_us: &arrivals_us, partitions: &partitions, offsets: &offsets };
    let (values, weights) = (Some(values(rows, of_text)), Some(&weights[..]));
    kernel.update(&Input { groups: &groups, values, filter: None, weights, places: Some(places) }).unwrap();
}

/// The value that a group comes to: the index into the values.
fn model(kind: AggregateKind, group: usize, there: &BTreeMap<Row, i64>) -> Option<usize> {
    let rows = there.iter().filter(|(row, weight)| row.0 as usize == group && **weight > 0).map(|(row, _)| *row);
    let place = |row: &Row| (row.2 % 2, row.2);
    match kind {
        AggregateKind::Min => rows.filter_map(|row| row.1).min(),
        AggregateKind::Max => rows.filter_map(|row| row.1).max(),
        AggregateKind::First { ignore_nulls } => {
            rows.filter(|row| row.1.is_some() || !ignore_nulls).min_by_key(place).and_then(|row| row.1)
        }
        AggregateKind::Last { ignore_nulls } => {
            rows.filter(|row| row.1.is_some() || !ignore_nulls).max_by_key(place).and_then(|row| row.1)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_there_decides_whatever_went_before() {
    let kinds = [
        AggregateKind::Min,
        AggregateKind::Max,
        AggregateKind::First { ignore_nulls: false },
        AggregateKind::First { ignore_nulls: true },
        AggregateKind::Last { ignore_nulls: false },
        AggregateKind::Last { ignore_nulls: true },
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        for of_text in [false, true] {
            let data_type = if of_text { DataType::Utf8 } else { DataType::Float64 };
            let call = AggregateSignature {
                kind,
                is_distinct: false,
                argument_type: data_type.clone(),
                output_type: data_type,
            };
            let (mut random, mut there) = (Random(number as u64), BTreeMap::<Row, i64>::new());
            let (mut kernel, mut offset) = (new(&call, true).unwrap(), 0);
            kernel.resize(GROUPS);
            for _ in 0..150 {
                let mut rows: Vec<(Row, i64)> = Vec::new();
                for _ in 0..random.below(6) {
                    let known: Vec<Row> = there.keys().copied().collect();
                    if random.below(2) == 0 && !known.is_empty() {
                        rows.push((known[random.below(known.len())], -1));
                    } else {
                        offset += 1;
                        let value = (random.below(6) > 0).then(|| random.below(TEXTS.len()));
                        rows.push(((random.below(GROUPS) as u32, value, offset), 1));
                    }
                    let (row, weight) = rows[rows.len() - 1];
                    *there.entry(row).or_default() += weight;
                    there.retain(|_, weight| *weight != 0);
                }
                // A retraction can come before what it takes back.
                rows.reverse();
                update(&mut *kernel, &rows, of_text);
                let groups: Vec<u32> = (0..GROUPS as u32).collect();
                let expected: Vec<(Row, i64)> =
                    groups.iter().map(|group| ((*group, model(kind, *group as usize, &there), 0), 1)).collect();
                assert_eq!(&kernel.evaluate(&groups).unwrap(), &values(&expected, of_text), "{kind}");
                // Its state is all there is of it.
                let mut restored = new(&call, true).unwrap();
                restored.resize(GROUPS);
                restored.merge(&groups, &kernel.state(&groups).unwrap()).unwrap();
                assert_eq!(restored.state(&groups).unwrap(), kernel.state(&groups).unwrap());
                kernel = restored;
            }
        }
    }
}

#[test]
fn a_value_that_was_only_taken_back_is_not_there() {
    let call = AggregateSignature {
        kind: AggregateKind::Min,
        is_distinct: false,
        argument_type: DataType::Float64,
        output_type: DataType::Float64,
    };
    let mut kernel = new(&call, true).unwrap();
    kernel.resize(1);
    for (value, weight, expected) in [(3, 1, 3), (1, -1, 3), (0, -1, 3), (1, 1, 3), (0, 2, 0)] {
        update(&mut *kernel, &[((0, Some(value), 0), weight)], false);
        assert_eq!(&kernel.evaluate(&[0]).unwrap(), &values(&[((0, Some(expected), 0), 1)], false));
    }
}

#[test]
fn what_was_taken_back_takes_no_memory() {
    let call = AggregateSignature {
        kind: AggregateKind::Max,
        is_distinct: false,
        argument_type: DataType::Utf8,
        output_type: DataType::Utf8,
    };
    let mut kernel = new(&call, true).unwrap();
    kernel.resize(1);
    let empty = kernel.memory_bytes();
    for weight in [1, -1] {
        let rows: Vec<(Row, i64)> = (0..5).map(|value| ((0, Some(value), 0), weight)).collect();
        update(&mut *kernel, &rows, true);
        assert_eq!(kernel.memory_bytes() > empty, weight == 1);
    }
}

#[test]
fn entries_sort_as_their_places_do() {
    let places = [(i64::MIN, 0, 0), (-1, 5, 9), (0, -1, 9), (0, 0, -1), (0, 0, 0), (0, 0, 1), (i64::MAX, 0, 0)];
    let entries = places.map(|place| {
        let mut entry = Vec::new();
        write_entry(&mut entry, place, b"value");
        assert_eq!(super::read_place(&entry), place);
        entry
    });
    assert!(entries.is_sorted());
}
