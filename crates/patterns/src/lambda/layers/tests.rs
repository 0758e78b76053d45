//! The layers against one fold over everything: whatever is cut, joined and replaced, the answer is the same, that of
//! all groups and that of each alone.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
        TimestampMillisecondArray, new_null_array,
    },
    compute::{and, filter_record_batch, kernels::cmp::not_distinct},
    datatypes::{DataType, SchemaRef},
};
use datafusion::common::ScalarValue;
use lakehouse::BatchVersion;
use model::{ErrorKind, Positions};
use sql::{SourceDefinition, Statement};
use streaming::{EvaluatedRows, Fold, ViewPlan};

use super::{BatchLayer, EPOCHS_MAX, GroupKeys, Layers};
use crate::rows::differences;

const SOURCE: &str = "CREATE SOURCE s (k TEXT, x DOUBLE PRECISION) WITH (topic = 's', partitions = 1)";
// Some of the keys are NULL, some are in the batch alone, some in the stream alone.
const BY_KEY: &str = "SELECT k, count(*) AS n, sum(x) AS total, avg(x) AS mean, max(x) AS worst, \
                      last_value(x) AS latest FROM s GROUP BY k";
const BY_HIDDEN_KEYS: &str =
    "SELECT count(*) AS n, sum(x) AS total FROM s GROUP BY _offset % 3, k, x * 0.0 HAVING count(*) > 2";
const OVER_EVERYTHING: &str = "SELECT count(*) AS n, sum(x) AS total FROM s WHERE k = 'k1'";

struct Case {
    source: SourceDefinition,
    plan: Arc<ViewPlan>,
    keys: Arc<GroupKeys>,
}

impl Case {
    fn new(query: &str) -> Self {
        let view = format!("CREATE MATERIALIZED VIEW v WITH (batch = '1 hour') AS {query}");
        let Statement::CreateSource(source) = sql::parse(SOURCE).unwrap().remove(0) else { panic!("not a source") };
        let Statement::CreateView(view) = sql::parse(&view).unwrap().remove(0) else { panic!("not a view") };
        let plan = Arc::new(ViewPlan::new(&view, std::slice::from_ref(&source)).unwrap());
        Self { source, keys: GroupKeys::new(&plan).unwrap(), plan }
    }

    fn layers(&self) -> Layers {
        Layers::new(Arc::clone(&self.plan), Arc::clone(&self.keys), None).unwrap()
    }

    fn rows(&self, from: i64, to: i64) -> RecordBatch {
        rows(&self.source.schema(), from, to)
    }

    fn one_fold(&self, end: i64) -> Fold {
        let mut fold = Fold::new(&self.plan).unwrap();
        fold.apply(&self.rows(0, end), None).unwrap();
        fold
    }

    /// Those rows, evaluated.
    fn evaluated(&self, from: i64, to: i64) -> EvaluatedRows {
        EvaluatedRows::new(&self.plan, &self.rows(from, to), None).unwrap()
    }

    /// A batch version in two pieces, as it may come back from the lake.
    fn batch_at(&self, end: i64) -> Arc<BatchLayer> {
        let states = self.one_fold(end).all_state().unwrap();
        let half = states.num_rows() / 2;
        let states = vec![states.slice(0, half), states.slice(half, states.num_rows() - half)];
        let version = BatchVersion { version: 1, positions: at(end), plan_hash: self.plan.hash(), states };
        BatchLayer::new(&self.keys, version).unwrap()
    }

    fn check(&self, layers: &mut Layers, end: i64) {
        let pinned = layers.pin().unwrap();
        assert_eq!(pinned.positions, at(end));
        let expected = self.one_fold(end).rows().unwrap();
        assert_eq!(differences(&pinned.rows().unwrap(), &expected).unwrap(), 0, "after {end} rows");
    }

    /// Reads every group by its key, those that HAVING leaves out and one that is not there too.
    fn check_groups(&self, layers: &mut Layers, end: i64) {
        let fold = self.one_fold(end);
        let (all, states) = (fold.rows().unwrap(), fold.all_state().unwrap());
        let key_at = |row: usize| -> Vec<ScalarValue> {
            let columns = states.columns().iter().take(self.plan.state_key_count());
            columns.map(|column| ScalarValue::try_from_array(column, row).unwrap()).collect()
        };
        let absent = key_at(0).iter().map(|value| absent(&value.data_type())).collect::<Vec<_>>();
        for key in (0..states.num_rows()).map(key_at).chain([absent]) {
            let pinned = layers.pin_group(&self.keys.encode(&key).unwrap()).unwrap();
            assert_eq!(pinned.positions, at(end));
            let expected = with_key(&all, self.plan.key_columns(), &key);
            let found = pinned.rows().unwrap();
            assert_eq!(differences(&found, &expected).unwrap(), 0, "{key:?} after {end} rows: {found:?} {expected:?}");
        }
    }
}

fn absent(data_type: &DataType) -> ScalarValue {
    ScalarValue::Utf8(Some("-7".to_owned())).cast_to(data_type).unwrap()
}

fn with_key(rows: &RecordBatch, key_columns: &[usize], key: &[ScalarValue]) -> RecordBatch {
    let mut hits = BooleanArray::from(vec![true; rows.num_rows()]);
    for (column, value) in key_columns.iter().zip(key) {
        hits = and(&hits, &not_distinct(rows.column(*column), &value.to_scalar().unwrap()).unwrap()).unwrap();
    }
    filter_record_batch(rows, &hits).unwrap()
}

/// The rows at offsets `from..to`: keys repeat, values are such that a sum of floats depends on its order.
fn rows(schema: &SchemaRef, from: i64, to: i64) -> RecordBatch {
    let offsets: Vec<i64> = (from..to).collect();
    let column = |name: &str| -> Option<ArrayRef> {
        Some(match name {
            "k" => Arc::new(StringArray::from_iter(offsets.iter().map(|i| match i % 7 {
                5 => Some(format!("then{}", i / 40)),
                6 => None,
                n => Some(format!("k{n}")),
            }))),
            "x" => Arc::new(Float64Array::from_iter_values(
                offsets.iter().map(|i| 0.1 * *i as f64 + 1e15 * (i % 3 - 1) as f64),
            )),
            "_partition" => Arc::new(Int32Array::from(vec![0; offsets.len()])),
            "_offset" => Arc::new(Int64Array::from(offsets.clone())),
            "_arrival_time" => {
                let times = TimestampMillisecondArray::from(offsets.clone());
                arrow::compute::cast(&times, schema.field_with_name(name).ok()?.data_type()).ok()?
            }
            _ => return None,
        })
    };
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(field.name()).unwrap_or_else(|| new_null_array(field.data_type(), offsets.len())));
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

fn at(offset: i64) -> Positions {
    format!("s/0:{offset}").parse().unwrap()
}

#[test]
fn whatever_is_cut_and_replaced_the_answer_is_that_of_one_fold() {
    for query in [BY_KEY, BY_HIDDEN_KEYS, OVER_EVERYTHING] {
        let case = Case::new(query);
        let mut layers = case.layers();
        let (mut end, mut cut) = (0, None);
        for step in 0..300_i64 {
            let next = end + 1 + step % 5;
            layers.fold(case.evaluated(end, next), &at(next)).unwrap();
            end = next;
            match step % 60 {
                // A batch run begins here and ends much later, with many epochs closed and joined in between.
                20 => {
                    layers.cut().unwrap();
                    cut = Some(end);
                }
                55 => {
                    let h = cut.take().unwrap();
                    let before = layers.pin_at(&at(h)).rows().unwrap();
                    let expected = case.one_fold(h).rows().unwrap();
                    assert_eq!(differences(&before, &expected).unwrap(), 0, "below {h}");
                    layers.replace_batch(case.batch_at(h)).unwrap();
                    assert_eq!(layers.batch_positions(), at(h));
                }
                _ if step % 3 > 0 => {
                    layers.close_epoch().unwrap();
                }
                _ => {}
            }
            case.check(&mut layers, end);
            if step % 12 == 0 || step % 60 > 55 {
                case.check_groups(&mut layers, end);
            }
            assert!(layers.closed.len() <= EPOCHS_MAX);
        }
    }
}

#[test]
fn groups_are_found_however_often_the_open_epoch_changes() {
    let case = Case::new(BY_KEY);
    let mut layers = case.layers();
    // Each read takes over what changed since the one before; what that replaces is let go in time.
    for end in (0..6_000).step_by(100) {
        layers.fold(case.evaluated(end, end + 100), &at(end + 100)).unwrap();
        let key = case.keys.encode(&[ScalarValue::Utf8(None)]).unwrap();
        let found = layers.pin_group(&key).unwrap().rows().unwrap();
        assert_eq!(found.num_rows(), 1);
        let held: usize = layers.open_states.batches().map(RecordBatch::num_rows).sum();
        assert!(held <= 2 * layers.open_states.len().max(super::REPLACED_STATES_MAX), "{held}");
    }
    case.check_groups(&mut layers, 6_000);
}

#[test]
fn many_epochs_are_joined_but_never_across_the_cut() {
    let case = Case::new(BY_KEY);
    let mut layers = case.layers();
    for end in 1..=3 * EPOCHS_MAX as i64 {
        layers.fold(case.evaluated(end - 1, end), &at(end)).unwrap();
        if end == 10 { layers.cut().map(drop).unwrap() } else { layers.close_epoch().map(drop).unwrap() }
    }
    assert!(layers.closed.len() <= EPOCHS_MAX);
    layers.replace_batch(case.batch_at(10)).unwrap();
    case.check(&mut layers, 3 * EPOCHS_MAX as i64);
    case.check_groups(&mut layers, 3 * EPOCHS_MAX as i64);
}

#[test]
fn a_batch_that_ends_inside_an_epoch_is_refused() {
    let case = Case::new(BY_KEY);
    let mut layers = case.layers();
    layers.fold(case.evaluated(0, 10), &at(10)).unwrap();
    layers.close_epoch().unwrap();
    let refused = layers.replace_batch(case.batch_at(7)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    case.check(&mut layers, 10);
}

#[test]
fn a_key_that_does_not_fit_is_refused() {
    let case = Case::new(BY_HIDDEN_KEYS);
    let (text, number) = (ScalarValue::from("k1"), ScalarValue::from(1.0));
    for (key, fits) in [
        (vec![ScalarValue::from(1_i64), text.clone(), number.clone()], true),
        (vec![ScalarValue::from("1"), text.clone(), ScalarValue::from(1_i32)], true),
        (vec![text.clone(), text.clone(), number.clone()], false),
        (vec![text.clone(), number], false),
        (vec![], false),
    ] {
        let encoded = case.keys.encode(&key).map(drop).map_err(|e| e.kind());
        assert_eq!(encoded, if fits { Ok(()) } else { Err(ErrorKind::Invalid) }, "{key:?}");
    }
}
