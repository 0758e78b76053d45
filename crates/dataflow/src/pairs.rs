//! Rows of two columns, as tests of operators with two sides need them: a key that can be NULL or a float's zero of either
//! sign, and a value.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef},
};

use crate::{Change, Weights, random::Random};

/// A key as an index into [`KEYS`], and a value.
pub(crate) type Pair = (usize, i64);

/// Keys that are few, so that much meets; two are one.
pub(crate) const KEYS: [Option<f64>; 6] = [None, Some(0.0), Some(-0.0), Some(1.5), Some(2.0), Some(f64::NAN)];

/// Which keys are one, as SQL has it.
pub(crate) fn same(left: usize, right: usize) -> bool {
    left == right || (left.min(right), left.max(right)) == (1, 2)
}

pub(crate) fn schema(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(format!("{name}_key"), DataType::Float64, true),
        Field::new(format!("{name}_value"), DataType::Int64, true),
    ]))
}

/// What is on a side: how often each row.
#[derive(Clone, Default)]
pub(crate) struct Side(pub(crate) BTreeMap<Pair, i64>);

impl Side {
    /// A random change that leaves no row fewer than 0 times there.
    pub(crate) fn change(&mut self, random: &mut Random, rows_max: usize, takes_back: bool) -> Vec<(Pair, i64)> {
        let mut change = Vec::new();
        for _ in 0..random.below(rows_max + 1) {
            let there: Vec<Pair> = self.0.keys().copied().collect();
            let (pair, weight) = if takes_back && random.below(3) == 0 && !there.is_empty() {
                (there[random.below(there.len())], -1)
            } else {
                ((random.below(KEYS.len()), random.below(4) as i64), 1)
            };
            *self.0.entry(pair).or_default() += weight;
            self.0.retain(|_, count| *count != 0);
            change.push((pair, weight));
        }
        change
    }
}

/// A change of a side.
pub(crate) fn change(name: &str, pairs: &[(Pair, i64)], takes_back: bool) -> Change {
    let keys: ArrayRef = Arc::new(pairs.iter().map(|((key, _), _)| KEYS[*key]).collect::<Float64Array>());
    let values: ArrayRef = Arc::new(pairs.iter().map(|((_, value), _)| Some(*value)).collect::<Int64Array>());
    let rows = RecordBatch::try_new(schema(name), vec![keys, values]).unwrap();
    let weights = pairs.iter().map(|(_, weight)| *weight).collect::<Vec<_>>();
    if takes_back { Change::new(rows, Weights::of(weights)).unwrap() } else { Change::of_rows(rows) }
}
