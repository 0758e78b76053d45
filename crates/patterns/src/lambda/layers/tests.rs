//! The layers against one fold over everything: whatever is cut, joined and replaced, the answer is the same.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
        new_null_array,
    },
    datatypes::SchemaRef,
};
use lakehouse::BatchVersion;
use model::{ErrorKind, Positions};
use streaming::{Fold, SourceDefinition, Statement, ViewPlan, sql};

use super::{EPOCHS_MAX, Layers};
use crate::rows::differences;

const SOURCE: &str = "CREATE SOURCE s (k TEXT, x DOUBLE PRECISION) WITH (topic = 's', partitions = 1)";
const VIEW: &str = "CREATE MATERIALIZED VIEW v WITH (batch = '1 hour') AS \
                    SELECT k, count(*) AS n, sum(x) AS total, avg(x) AS mean, max(x) AS worst, last_value(x) AS latest \
                    FROM s GROUP BY k";

fn plan() -> (SourceDefinition, Arc<ViewPlan>) {
    let Statement::CreateSource(source) = sql::parse(SOURCE).unwrap().remove(0) else { panic!("not a source") };
    let Statement::CreateView(view) = sql::parse(VIEW).unwrap().remove(0) else { panic!("not a view") };
    let plan = ViewPlan::new(&view, std::slice::from_ref(&source)).unwrap();
    (source, Arc::new(plan))
}

/// The rows at offsets `from..to`: keys repeat, values are such that a sum of floats depends on its order.
fn rows(schema: &SchemaRef, from: i64, to: i64) -> RecordBatch {
    let offsets: Vec<i64> = (from..to).collect();
    let column = |name: &str| -> Option<ArrayRef> {
        Some(match name {
            "k" => Arc::new(StringArray::from_iter_values(offsets.iter().map(|i| format!("k{}", i % 7)))),
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

fn one_fold(source: &SourceDefinition, plan: &Arc<ViewPlan>, end: i64) -> Fold {
    let mut fold = Fold::new(plan).unwrap();
    fold.apply(&rows(&source.schema(), 0, end), None).unwrap();
    fold
}

fn batch_at(source: &SourceDefinition, plan: &Arc<ViewPlan>, end: i64) -> Arc<BatchVersion> {
    let states = vec![one_fold(source, plan, end).all_state().unwrap()];
    Arc::new(BatchVersion { version: 1, positions: at(end), plan_hash: plan.hash(), states })
}

fn check(layers: &Layers, source: &SourceDefinition, plan: &Arc<ViewPlan>, end: i64) {
    let pinned = layers.pin().unwrap();
    assert_eq!(pinned.positions, at(end));
    let expected = one_fold(source, plan, end).rows().unwrap();
    assert_eq!(differences(&pinned.rows().unwrap(), &expected).unwrap(), 0, "after {end} rows");
}

#[test]
fn whatever_is_cut_and_replaced_the_answer_is_that_of_one_fold() {
    let (source, plan) = plan();
    let schema = source.schema();
    let mut layers = Layers::new(Arc::clone(&plan), None).unwrap();
    let (mut end, mut cut) = (0, None);
    for step in 0..300_i64 {
        let next = end + 1 + step % 5;
        layers.fold(&rows(&schema, end, next), &at(next)).unwrap();
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
                assert_eq!(differences(&before, &one_fold(&source, &plan, h).rows().unwrap()).unwrap(), 0, "below {h}");
                layers.replace_batch(batch_at(&source, &plan, h)).unwrap();
                assert_eq!(layers.batch_positions(), at(h));
            }
            _ => {
                layers.close_epoch().unwrap();
            }
        }
        check(&layers, &source, &plan, end);
        assert!(layers.closed.len() <= EPOCHS_MAX);
    }
}

#[test]
fn many_epochs_are_joined_but_never_across_the_cut() {
    let (source, plan) = plan();
    let mut layers = Layers::new(Arc::clone(&plan), None).unwrap();
    let schema = source.schema();
    for end in 1..=3 * EPOCHS_MAX as i64 {
        layers.fold(&rows(&schema, end - 1, end), &at(end)).unwrap();
        if end == 10 { layers.cut().map(drop).unwrap() } else { layers.close_epoch().map(drop).unwrap() }
    }
    assert!(layers.closed.len() <= EPOCHS_MAX);
    layers.replace_batch(batch_at(&source, &plan, 10)).unwrap();
    check(&layers, &source, &plan, 3 * EPOCHS_MAX as i64);
}

#[test]
fn a_batch_that_ends_inside_an_epoch_is_refused() {
    let (source, plan) = plan();
    let mut layers = Layers::new(Arc::clone(&plan), None).unwrap();
    layers.fold(&rows(&source.schema(), 0, 10), &at(10)).unwrap();
    layers.close_epoch().unwrap();
    let refused = layers.replace_batch(batch_at(&source, &plan, 7)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    check(&layers, &source, &plan, 10);
}
