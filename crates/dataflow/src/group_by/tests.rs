//! Groups against a model that computes each group from its rows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use super::{Argument, GroupBy, GroupInput};
use crate::{AggregateKind, AggregateSignature, Error, random::Random, zset::ZSet};

type OfGroup<'a> = dyn Fn(&[(Row, i64)]) -> Option<f64> + 'a;
type Row = (Option<&'static str>, Option<i64>, Option<f64>);

const CARRIERS: [Option<&str>; 4] = [Some("AA"), Some("B6"), None, Some("")];

fn schema(aggregates: &[AggregateSignature]) -> SchemaRef {
    let mut fields = vec![Field::new("carrier", DataType::Utf8, true)];
    fields.extend(aggregates.iter().map(|call| Field::new(call.kind.to_string(), call.output_type.clone(), true)));
    Arc::new(Schema::new(fields))
}

fn signature(kind: AggregateKind, argument: DataType, output: DataType) -> AggregateSignature {
    AggregateSignature { kind, is_distinct: false, argument_type: argument, output_type: output }
}

/// count(*), sum(x), sum(y), avg(y).
fn linear() -> Vec<AggregateSignature> {
    vec![
        signature(AggregateKind::Count, DataType::Int64, DataType::Int64),
        signature(AggregateKind::Sum, DataType::Int64, DataType::Int64),
        signature(AggregateKind::Sum, DataType::Float64, DataType::Float64),
        signature(AggregateKind::Avg, DataType::Float64, DataType::Float64),
    ]
}

fn push(group_by: &mut GroupBy, rows: &[(Row, i64)], aggregates: &[AggregateSignature]) -> crate::Result<()> {
    let carriers: ArrayRef = Arc::new(rows.iter().map(|(row, _)| row.0).collect::<StringArray>());
    let integers: ArrayRef = Arc::new(rows.iter().map(|(row, _)| row.1).collect::<Int64Array>());
    let floats: ArrayRef = Arc::new(rows.iter().map(|(row, _)| row.2).collect::<Float64Array>());
    let weights: Int64Array = rows.iter().map(|(_, weight)| Some(*weight)).collect();
    let arguments = aggregates.iter().map(|call| {
        let values = match (call.kind, &call.argument_type) {
            (AggregateKind::Count, _) => None,
            (_, DataType::Float64) => Some(Arc::clone(&floats)),
            _ => Some(Arc::clone(&integers)),
        };
        Argument { values, filter: None }
    });
    group_by.push(GroupInput {
        row_count: rows.len(),
        keys: vec![carriers],
        arguments: arguments.collect(),
        weights: Some(&weights),
        places: None,
    })
}

/// What the groups come to, computed from all rows at once.
fn model(rows: &[(Row, i64)], aggregates: &[AggregateSignature]) -> RecordBatch {
    let mut groups: BTreeMap<Option<&str>, Vec<(Row, i64)>> = BTreeMap::new();
    for (row, weight) in rows {
        groups.entry(row.0).or_default().push((*row, *weight));
    }
    groups.retain(|_, rows| rows.iter().map(|(_, weight)| weight).sum::<i64>() != 0);
    let each = |of: &OfGroup<'_>| groups.values().map(|rows| of(rows)).collect::<Vec<_>>();
    // Values are small multiples of 1/4, so that plain sums are exact.
    let total = |rows: &[(Row, i64)]| {
        let valid: Vec<_> = rows.iter().filter_map(|(row, weight)| Some((row.2?, *weight))).collect();
        let count: i64 = valid.iter().map(|(_, weight)| weight).sum();
        (count != 0).then(|| (valid.iter().map(|(value, weight)| value * *weight as f64).sum::<f64>(), count))
    };
    let integers = groups.values().map(|rows| {
        let valid: Vec<_> = rows.iter().filter_map(|(row, weight)| Some((row.1?, *weight))).collect();
        let count: i64 = valid.iter().map(|(_, weight)| weight).sum();
        (count != 0).then(|| valid.iter().map(|(value, weight)| value * weight).sum::<i64>())
    });
    let columns: Vec<ArrayRef> = vec![
        Arc::new(groups.keys().copied().collect::<StringArray>()),
        Arc::new(
            groups
                .values()
                .map(|rows| Some(rows.iter().map(|(_, weight)| weight).sum::<i64>()))
                .collect::<Int64Array>(),
        ),
        Arc::new(integers.collect::<Int64Array>()),
        Arc::new(Float64Array::from(each(&|rows| total(rows).map(|(sum, _)| sum)))),
        Arc::new(Float64Array::from(each(&|rows| total(rows).map(|(sum, count)| sum / count as f64)))),
    ];
    RecordBatch::try_new(schema(aggregates), columns).unwrap()
}

fn any_row(random: &mut Random) -> Row {
    let integer = (random.below(5) > 0).then(|| random.below(100) as i64 - 50);
    let float = (random.below(5) > 0).then(|| random.below(400) as f64 / 4.0 - 50.0);
    (CARRIERS[random.below(CARRIERS.len())], integer, float)
}

#[test]
fn the_sum_of_all_changes_is_what_the_groups_are() {
    let aggregates = linear();
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut group_by = GroupBy::new(schema(&aggregates), 1, aggregates.clone(), false).unwrap();
        let (mut all, mut out) = (Vec::new(), ZSet::default());
        for _ in 0..30 {
            let mut epoch: Vec<(Row, i64)> = (0..random.below(20)).map(|_| (any_row(&mut random), 1)).collect();
            // Rows that were there go again; some within the epoch in which they came.
            for _ in 0..random.below(16) {
                let there: Vec<(Row, i64)> = all.iter().chain(&epoch).copied().collect();
                if let Some((row, weight)) = there.get(random.below(there.len().max(1))) {
                    epoch.push((*row, -weight));
                }
            }
            let half = random.below(epoch.len() + 1);
            push(&mut group_by, &epoch[..half], &aggregates).unwrap();
            push(&mut group_by, &epoch[half..], &aggregates).unwrap();
            all.extend(epoch);
            let change = group_by.finish().unwrap();
            out.add(&change);
            out.assert_is(&model(&all, &aggregates));
            out.assert_is(&group_by.rows().unwrap());
            assert!(group_by.finish().unwrap().is_empty(), "nothing changes twice");
        }
    }
}

#[test]
fn a_group_that_comes_to_the_same_does_not_change() {
    let aggregates = linear();
    let mut group_by = GroupBy::new(schema(&aggregates), 1, aggregates.clone(), false).unwrap();
    let row = |value: i64| (Some("AA"), Some(value), Some(0.5));
    push(&mut group_by, &[(row(1), 1), (row(2), 1)], &aggregates).unwrap();
    assert_eq!(group_by.finish().unwrap().row_count(), 1);
    push(&mut group_by, &[(row(2), -1), (row(2), 1)], &aggregates).unwrap();
    assert!(group_by.finish().unwrap().is_empty());
    push(&mut group_by, &[(row(2), -1), (row(3), 1)], &aggregates).unwrap();
    assert_eq!(group_by.finish().unwrap().row_count(), 2, "the old row and the new one");
}

#[test]
fn what_was_restored_goes_out_once_and_is_taken_back_whole() {
    let aggregates = linear();
    let mut first = GroupBy::new(schema(&aggregates), 1, aggregates.clone(), false).unwrap();
    let row = |carrier, value: i64| (Some(carrier), Some(value), Some(0.25));
    push(&mut first, &[(row("AA", 1), 1), (row("B6", 2), 1)], &aggregates).unwrap();
    let mut second = GroupBy::new(schema(&aggregates), 1, aggregates.clone(), false).unwrap();
    second.restore_state(&first.all_state().unwrap()).unwrap();
    assert_eq!(second.dirty_state().unwrap().num_rows(), 0);
    let mut out = ZSet::default();
    out.add(&second.finish().unwrap());
    out.assert_is(&first.rows().unwrap());
    push(&mut second, &[(row("AA", 1), -1), (row("B6", 5), 1)], &aggregates).unwrap();
    out.add(&second.finish().unwrap());
    out.assert_is(&second.rows().unwrap());
    assert_eq!(second.group_count(), 1);
}

#[test]
fn one_group_without_keys_always_has_a_row() {
    let aggregates = vec![signature(AggregateKind::Count, DataType::Int64, DataType::Int64)];
    let global = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let mut group_by = GroupBy::new(global, 0, aggregates, false).unwrap();
    let mut out = ZSet::default();
    for (weights, expected) in [(vec![], 0), (vec![1, 1], 2), (vec![-1, -1], 0)] {
        let weights = Int64Array::from(weights);
        let arguments = vec![Argument::default()];
        let input =
            GroupInput { row_count: weights.len(), keys: vec![], arguments, weights: Some(&weights), places: None };
        group_by.push(input).unwrap();
        out.add(&group_by.finish().unwrap());
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![expected]));
        out.assert_is(&RecordBatch::try_from_iter([("n", expected)]).unwrap());
    }
}

#[test]
fn a_filter_that_is_null_leaves_its_row_out() {
    let aggregates = vec![signature(AggregateKind::Count, DataType::Int64, DataType::Int64)];
    let global = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let mut group_by = GroupBy::new(global, 0, aggregates, false).unwrap();
    // What lies under a NULL is anything, also true.
    let filter = BooleanArray::new(vec![true, true, false].into(), Some(vec![true, false, true].into()));
    let arguments = vec![Argument { values: None, filter: Some(filter) }];
    group_by.push(GroupInput { row_count: 3, keys: vec![], arguments, weights: None, places: None }).unwrap();
    let expected: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert_eq!(group_by.rows().unwrap().column(0), &expected);
}

#[test]
fn a_compact_state_refuses_to_take_back_and_keeps_what_it_has() {
    let aggregates = vec![signature(AggregateKind::Max, DataType::Int64, DataType::Int64)];
    let mut group_by = GroupBy::new(schema(&aggregates), 1, aggregates.clone(), false).unwrap();
    push(&mut group_by, &[((Some("AA"), Some(7), None), 1)], &aggregates).unwrap();
    let before = group_by.all_state().unwrap();
    let refused = push(&mut group_by, &[((Some("AA"), Some(7), None), -1)], &aggregates);
    assert!(matches!(refused, Err(Error::Retraction { .. })), "{refused:?}");
    assert_eq!(group_by.all_state().unwrap(), before);
}
