//! Distinct aggregates, and those of booleans, against a model that looks at all rows there are.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array},
    datatypes::{DataType, Float64Type, Int64Type},
};

use super::super::new;
use crate::{AggregateKind, AggregateSignature, kernel::Input, random::Random};

const GROUPS: usize = 3;

fn signature(kind: AggregateKind, is_distinct: bool, argument: DataType, output: DataType) -> AggregateSignature {
    AggregateSignature { kind, is_distinct, argument_type: argument, output_type: output }
}

/// Rows of a group and an optional number below 4 come and go; `check(group's rows, what the kernel says, group)`.
fn follow(
    call: &AggregateSignature,
    array: impl Fn(&[Option<usize>]) -> ArrayRef,
    check: impl Fn(&[usize], &ArrayRef, usize),
) {
    for seed in 0..20 {
        let (mut random, mut kernel) = (Random(seed), new(call, true).unwrap());
        let mut there: BTreeMap<(usize, Option<usize>), i64> = BTreeMap::new();
        kernel.resize(GROUPS);
        for _ in 0..60 {
            let mut rows = Vec::new();
            for _ in 0..random.below(6) {
                let known: Vec<_> = there.keys().copied().collect();
                let (row, weight) = if random.below(2) == 0 && !known.is_empty() {
                    (known[random.below(known.len())], -1)
                } else {
                    ((random.below(GROUPS), (random.below(5) > 0).then(|| random.below(4))), 1)
                };
                *there.entry(row).or_default() += weight;
                there.retain(|_, count| *count != 0);
                rows.push((row, weight));
            }
            let groups: Vec<u32> = rows.iter().map(|((group, _), _)| *group as u32).collect();
            let weights: Vec<i64> = rows.iter().map(|(_, weight)| *weight).collect();
            let values: Vec<Option<usize>> = rows.iter().map(|((_, value), _)| *value).collect();
            let (values, weights) = (Some(array(&values)), Some(&weights[..]));
            kernel.update(&Input { groups: &groups, values, filter: None, weights, places: None }).unwrap();
            let all: Vec<u32> = (0..GROUPS as u32).collect();
            for group in 0..GROUPS {
                let values = there.keys().filter(|(g, _)| *g == group).filter_map(|(_, value)| *value);
                check(&values.collect::<Vec<_>>(), &kernel.evaluate(&all).unwrap(), group);
            }
            let mut restored = new(call, true).unwrap();
            restored.resize(GROUPS);
            restored.merge(&all, &kernel.state(&all).unwrap()).unwrap();
            assert_eq!(restored.state(&all).unwrap(), kernel.state(&all).unwrap());
            kernel = restored;
        }
    }
}

fn integers(values: &[Option<usize>]) -> ArrayRef {
    Arc::new(values.iter().map(|value| value.map(|value| value as i64 * 10)).collect::<Int64Array>())
}

#[test]
fn each_value_counts_once() {
    follow(
        &signature(AggregateKind::Count, true, DataType::Int64, DataType::Int64),
        integers,
        |values, found, group| {
            assert_eq!(found.as_primitive::<Int64Type>().value(group), values.len() as i64);
        },
    );
    follow(&signature(AggregateKind::Sum, true, DataType::Int64, DataType::Int64), integers, |values, found, group| {
        let found = (!found.is_null(group)).then(|| found.as_primitive::<Int64Type>().value(group));
        let expected = values.iter().map(|value| *value as i64 * 10).sum::<i64>();
        assert_eq!(found, (!values.is_empty()).then_some(expected));
    });
    // Two zeros are one value.
    let floats = |values: &[Option<usize>]| -> ArrayRef {
        Arc::new(
            values.iter().map(|value| value.map(|value| [0.0, -0.0, 1.5, f64::NAN][value])).collect::<Float64Array>(),
        )
    };
    follow(
        &signature(AggregateKind::Count, true, DataType::Float64, DataType::Int64),
        floats,
        |values, found, group| {
            let has_both = values.contains(&0) && values.contains(&1);
            assert_eq!(found.as_primitive::<Int64Type>().value(group), values.len() as i64 - i64::from(has_both));
        },
    );
    follow(
        &signature(AggregateKind::Avg, true, DataType::Float64, DataType::Float64),
        |values| Arc::new(values.iter().map(|value| value.map(|value| value as f64)).collect::<Float64Array>()),
        |values, found, group| {
            let found = (!found.is_null(group)).then(|| found.as_primitive::<Float64Type>().value(group));
            let expected = values.iter().sum::<usize>() as f64 / values.len() as f64;
            assert_eq!(found, (!values.is_empty()).then_some(expected));
        },
    );
}

#[test]
fn one_that_differs_decides() {
    let truths = |values: &[Option<usize>]| -> ArrayRef {
        Arc::new(values.iter().map(|value| value.map(|value| value == 1)).collect::<BooleanArray>())
    };
    for (kind, expected) in [
        (AggregateKind::All, (|values: &[usize]| values.iter().all(|value| *value == 1)) as fn(&[usize]) -> bool),
        (AggregateKind::Any, |values: &[usize]| values.contains(&1)),
    ] {
        follow(&signature(kind, true, DataType::Boolean, DataType::Boolean), truths, |values, found, group| {
            let found = (!found.is_null(group)).then(|| found.as_boolean().value(group));
            assert_eq!(found, (!values.is_empty()).then(|| expected(values)), "{kind} of {values:?}");
        });
    }
}
